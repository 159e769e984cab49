//! `linux.namespaces`, `linux.timeOffsets` and what needs a namespace of its own.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespace, LinuxNamespaceType, Spec};

use super::faults::{Faults, keyed};
use super::plan::{IdMaps, IdRange, NamespaceKind, Namespaces, TimeOffset};

/// The longest name the kernel takes for a host or domain.
const UTS_NAME_MAX: usize = 64;

/// The kernel takes no more ranges in a map (user_namespaces(7), Linux 4.15).
const MAX_RANGES: usize = 340;
/// A map is written at once, and has to be shorter than a page.
const MAX_TEXT: usize = 4095;

/// Resolves `linux.namespaces`.
pub(crate) fn resolve(linux: &Linux, faults: &mut Faults) -> Namespaces {
    let mut out = Namespaces::default();
    let mut seen = 0;
    for (i, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let at = format!("linux.namespaces[{i}]");
        let kind = kind(namespace.typ());
        if seen & kind.clone_flag() != 0 {
            faults.add(&at, format!("a second namespace of type {:?}", kind.spec_name()));
            continue;
        }
        seen |= kind.clone_flag();
        add(&mut out, i, kind, namespace, &at, faults);
    }
    out
}

/// Resolves `linux.uidMappings` and `linux.gidMappings`.
pub(crate) fn id_maps(linux: &Linux, namespaces: &Namespaces, faults: &mut Faults) -> IdMaps {
    let mut map = |name: &str, given: &Option<Vec<LinuxIdMapping>>| {
        let at = format!("linux.{name}");
        let ranges = given.as_deref().unwrap_or_default();
        if namespaces.is_new(NamespaceKind::User) && ranges.is_empty() {
            faults.add(&at, "missing, and a new user namespace has no ids without it");
        }
        if !namespaces.has(NamespaceKind::User) && !ranges.is_empty() {
            faults.add(&at, "needs a user namespace");
        }
        id_map(&at, ranges, faults)
    };
    IdMaps { uid: map("uidMappings", linux.uid_mappings()), gid: map("gidMappings", linux.gid_mappings()) }
}

/// One map, with the faults that the kernel would only call `EINVAL`.
pub(crate) fn id_map(at: &str, ranges: &[LinuxIdMapping], faults: &mut Faults) -> Vec<IdRange> {
    let range = |r: &LinuxIdMapping| IdRange { container: r.container_id(), host: r.host_id(), size: r.size() };
    let map: Vec<IdRange> = ranges.iter().map(range).collect();
    check_map(at, &map, faults);
    map
}

/// Checks a map.
pub(crate) fn check_map(at: &str, map: &[IdRange], faults: &mut Faults) {
    if map.len() > MAX_RANGES {
        faults.add(at, format!("{} ranges, and the kernel takes {MAX_RANGES}", map.len()));
    }
    let length = IdMaps::text(map).len();
    if length > MAX_TEXT {
        faults.add(at, format!("{length} bytes as a text, and the kernel takes {MAX_TEXT}"));
    }
    for (i, range) in map.iter().enumerate() {
        let at = format!("{at}[{i}]");
        if range.size == 0 {
            faults.add(format!("{at}.size"), "0 ids");
        }
        // The last number of all stands for "none".
        for (name, first) in [("containerID", range.container), ("hostID", range.host)] {
            if u64::from(first) + u64::from(range.size) > u64::from(u32::MAX) {
                faults.add(
                    format!("{at}.{name}"),
                    format!("{first} and {} more are more than there are ids", range.size),
                );
            }
        }
        for (j, other) in map.iter().take(i).enumerate() {
            if overlap(other.container, range.container, other.size, range.size) {
                faults.add(&at, format!("container ids of [{j}] as well"));
            }
            if overlap(other.host, range.host, other.size, range.size) {
                faults.add(&at, format!("host ids of [{j}] as well"));
            }
        }
    }
}

fn overlap(a: u32, b: u32, a_size: u32, b_size: u32) -> bool {
    u64::from(a) < u64::from(b) + u64::from(b_size) && u64::from(b) < u64::from(a) + u64::from(a_size)
}

fn add(out: &mut Namespaces, i: usize, kind: NamespaceKind, ns: &LinuxNamespace, at: &str, faults: &mut Faults) {
    let Some(path) = ns.path().as_ref().filter(|p| !p.as_os_str().is_empty()) else {
        out.new |= kind.clone_flag();
        return;
    };
    let at = format!("{at}.path");
    faults.text(&at, &path.to_string_lossy());
    if !path.is_absolute() {
        faults.add(at, format!("{path:?} is not absolute"));
    }
    // Even if faulty: what needs this namespace is not at fault.
    out.join.push((i, kind, path.clone()));
}

const fn kind(typ: LinuxNamespaceType) -> NamespaceKind {
    match typ {
        LinuxNamespaceType::Mount => NamespaceKind::Mount,
        LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
        LinuxNamespaceType::Uts => NamespaceKind::Uts,
        LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
        LinuxNamespaceType::User => NamespaceKind::User,
        LinuxNamespaceType::Pid => NamespaceKind::Pid,
        LinuxNamespaceType::Network => NamespaceKind::Network,
        LinuxNamespaceType::Time => NamespaceKind::Time,
    }
}

/// Resolves `linux.timeOffsets`.
pub(crate) fn time_offsets(linux: &Linux, namespaces: &Namespaces, faults: &mut Faults) -> Vec<TimeOffset> {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|o| !o.is_empty()) else { return Vec::new() };
    if !namespaces.is_new(NamespaceKind::Time) {
        faults.add("linux.timeOffsets", "needs a new time namespace");
    }
    let mut out = Vec::new();
    for (clock, offset) in offsets {
        let at = keyed("linux.timeOffsets", clock);
        let nanos = offset.nanosecs().unwrap_or_default();
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            faults.add(at, "unknown clock, expected \"monotonic\" or \"boottime\"");
        } else if nanos > 999_999_999 {
            faults.add(format!("{at}.nanosecs"), format!("{nanos} is more than 999999999"));
        } else {
            out.push(TimeOffset { clock: clock.clone(), secs: offset.secs().unwrap_or_default(), nanos });
        }
    }
    out.sort_by(|a, b| a.clock.cmp(&b.clock));
    out
}

/// Resolves `hostname` and `domainname`.
pub(crate) fn uts_names(spec: &Spec, namespaces: &Namespaces, faults: &mut Faults) -> (Option<String>, Option<String>) {
    let mut name = |field: &str, value: &Option<String>| {
        let value = value.as_deref().filter(|v| !v.is_empty())?;
        if !namespaces.has(NamespaceKind::Uts) {
            faults.add(field, "needs a uts namespace");
        }
        if value.len() > UTS_NAME_MAX {
            faults.add(field, format!("longer than {UTS_NAME_MAX} bytes"));
        }
        faults.text(field, value)
    };
    (name("hostname", spec.hostname()), name("domainname", spec.domainname()))
}
