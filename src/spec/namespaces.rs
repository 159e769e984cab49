//! `linux.namespaces`, `linux.timeOffsets` and what needs a namespace of its own.

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Spec};

use super::faults::{Faults, keyed};
use super::plan::{NamespaceKind, Namespaces, TimeOffset};

/// The longest name the kernel takes for a host or domain.
const UTS_NAME_MAX: usize = 64;

/// What is said wherever a config asks for a user namespace.
pub(crate) const NO_USERNS: &str = "user namespaces are not supported yet";

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
        if kind == NamespaceKind::User {
            faults.add(&at, NO_USERNS);
            continue;
        }
        add(&mut out, i, kind, namespace, &at, faults);
    }
    for (name, mappings) in [("uidMappings", linux.uid_mappings()), ("gidMappings", linux.gid_mappings())] {
        if mappings.as_ref().is_some_and(|m| !m.is_empty()) {
            faults.add(format!("linux.{name}"), NO_USERNS);
        }
    }
    out
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
