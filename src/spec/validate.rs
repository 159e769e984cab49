//! From a parsed config to a plan: the top level, and what belongs to no table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxPersonalityDomain, Spec};

use super::faults::Faults;
use super::plan::{CgroupPlan, Hooks, IdMaps, MountKind, NamespaceKind, Namespaces, Plan, Propagation};
use super::{devices, hooks, mount_options, mounts, namespaces, netdevices};
use super::{process, rdt, resources, scheduling, seccomp, sysctl};
use crate::seccomp::tables::Arch;

/// The newest minor version of the specification understood here.
const MINOR: u64 = 3;

/// Annotations with this before a property's name set that property of the
/// container's systemd unit (a runc extension).
pub const UNIT_PROPERTY: &str = "org.systemd.property.";

/// The annotation with the path of a config file of criu's, whose action
/// scripts run as root; empty for none.
pub const CRIU_CONFIG: &str = "org.criu.config";

/// The annotation that leaves the supplementary groups alone.
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Do the container's annotations ask to leave the supplementary groups alone?
pub fn keeps_original_groups(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(KEEP_GROUPS).is_some_and(|v| v == "1")
}

/// Resolves a whole config.
pub(crate) fn plan(spec: &Spec, bundle: &Path, faults: &mut Faults) -> Plan {
    if let Err(message) = check_version(spec.version()) {
        faults.add("ociVersion", message);
    }
    let none = no_linux();
    let linux = spec.linux().as_ref().unwrap_or(&none);
    let annotations = annotations(spec, faults);
    let namespaces = namespaces::resolve(linux, faults);
    let (hostname, domainname) = namespaces::uts_names(spec, &namespaces, faults);
    let mount_label = text("linux.mountLabel", linux.mount_label(), faults);
    let ids = namespaces::id_maps(linux, &namespaces, faults);
    let cx = mounts::Context::new(
        bundle,
        mount_label.as_deref(),
        &annotations,
        (&ids, namespaces.has(NamespaceKind::User)),
        faults,
    );
    let mounts = mounts::resolve(spec.mounts().as_deref().unwrap_or_default(), &cx, faults);
    let binds_dev =
        |m: &super::plan::Mount| matches!(m.kind, MountKind::Bind { .. }) && mounts::clean(&m.destination) == "/dev";
    let mut process = spec.process().as_ref().map(|p| process::resolve(p, faults));
    if let Some(process) = &mut process {
        process.keep_groups = keeps_original_groups(&annotations);
    }
    let (rootfs, root_readonly) = root(spec, bundle, faults);
    if let Some(process) = &process {
        process::check_ids(process, &ids, faults);
    }
    let cgroup = CgroupPlan { owner: cgroup_owner(spec, &namespaces, &ids), ..cgroup(linux, faults) };
    Plan {
        oci_version: spec.version().clone(),
        bundle: bundle.to_owned(),
        rootfs,
        root_readonly,
        root_propagation: root_propagation(linux, faults),
        hostname,
        domainname,
        time_offsets: namespaces::time_offsets(linux, &namespaces, faults),
        net_devices: net_devices(linux, &namespaces, faults),
        populate_dev: !mounts.iter().any(binds_dev),
        mounts,
        devices: devices::resolve(linux.devices().as_deref().unwrap_or_default(), faults),
        masked_paths: paths("linux.maskedPaths", linux.masked_paths(), faults),
        readonly_paths: paths("linux.readonlyPaths", linux.readonly_paths(), faults),
        sysctl: sysctls(linux, &namespaces, faults),
        namespaces,
        ids,
        personality: personality(linux, faults),
        memory_policy: linux.memory_policy().as_ref().and_then(|p| scheduling::memory_policy(p, faults)),
        process,
        hooks: spec.hooks().as_ref().map_or_else(Hooks::default, |h| hooks::resolve(h, faults)),
        cgroup,
        rdt: linux.intel_rdt().as_ref().map(|r| rdt::resolve(r, faults)),
        seccomp: filter(linux, bundle, &annotations, faults),
        annotations,
        mount_label,
        warnings: Vec::new(),
    }
}

/// `linux` of a config that has none. Not oci-spec's own default, which is a
/// whole container with namespaces, masks and rules.
fn no_linux() -> Linux {
    serde_json::from_str("{}").unwrap_or_default()
}

/// Semantic versions from 1.0.0's release candidates to the newest minor.
fn check_version(version: &str) -> Result<(), String> {
    if version.is_empty() {
        return Err("missing".to_owned());
    }
    match parse_version(version) {
        None => Err(format!("{version:?} is not a semantic version")),
        Some((1, minor)) if minor <= MINOR => Ok(()),
        Some(_) => Err(format!("version {version} is not supported, only 1.0.0 to 1.{MINOR}")),
    }
}

/// Major and minor number of a semantic version.
fn parse_version(version: &str) -> Option<(u64, u64)> {
    let (version, build) = version.split_once('+').map_or((version, None), |(v, b)| (v, Some(b)));
    let (numbers, pre) = version.split_once('-').map_or((version, None), |(v, p)| (v, Some(p)));
    let identifier = |i: &str| !i.is_empty() && i.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !build.into_iter().chain(pre).all(|tail| tail.split('.').all(identifier)) {
        return None;
    }
    let mut numbers = numbers.split('.').map(|n| {
        let plain = n == "0" || !n.starts_with('0') && n.bytes().all(|b| b.is_ascii_digit());
        n.parse::<u64>().ok().filter(|_| plain)
    });
    let (major, minor, _patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some((major, minor))
}

fn root(spec: &Spec, bundle: &Path, faults: &mut Faults) -> (PathBuf, bool) {
    let Some(root) = spec.root() else {
        faults.add("root", "missing");
        return <_>::default();
    };
    if root.path().as_os_str().is_empty() {
        faults.add("root.path", "missing");
    }
    faults.text("root.path", &root.path().to_string_lossy());
    // Collecting the components drops `.` ones, so that a path of "." is the bundle itself.
    let path = bundle.join(root.path()).components().collect();
    (path, root.readonly().unwrap_or_default())
}

fn annotations(spec: &Spec, faults: &mut Faults) -> BTreeMap<String, String> {
    let annotations: BTreeMap<_, _> = spec.annotations().clone().unwrap_or_default().into_iter().collect();
    if annotations.contains_key("") {
        faults.add("annotations", "has an empty key");
    }
    annotations
}

fn filter(
    linux: &Linux,
    bundle: &Path,
    annotations: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<crate::seccomp::Filter> {
    let cx = seccomp::Context { bundle, annotations, native: Arch::native() };
    seccomp::resolve(linux.seccomp().as_ref()?, &cx, faults)
}

/// A text, `None` when unset or empty.
fn text(at: &str, value: &Option<String>, faults: &mut Faults) -> Option<String> {
    faults.text(at, value.as_deref().filter(|v| !v.is_empty())?)
}

fn paths(at: &str, paths: &Option<Vec<String>>, faults: &mut Faults) -> Vec<String> {
    let mut out = Vec::new();
    for (i, path) in paths.iter().flatten().enumerate() {
        let at = format!("{at}[{i}]");
        if path.starts_with('/') {
            out.extend(faults.text(at, path));
        } else {
            faults.add(at, format!("{path:?} is not absolute"));
        }
    }
    out
}

fn sysctls(linux: &Linux, namespaces: &Namespaces, faults: &mut Faults) -> Vec<super::plan::Sysctl> {
    linux.sysctl().as_ref().map(|s| sysctl::resolve(s, namespaces, faults)).unwrap_or_default()
}

fn net_devices(linux: &Linux, namespaces: &Namespaces, faults: &mut Faults) -> Vec<super::plan::NetDevice> {
    linux.net_devices().as_ref().map(|d| netdevices::resolve(d, namespaces, faults)).unwrap_or_default()
}

fn root_propagation(linux: &Linux, faults: &mut Faults) -> Option<Propagation> {
    let name = linux.rootfs_propagation().as_deref().filter(|p| !p.is_empty())?;
    let found = mount_options::propagation(name);
    if found.is_none() {
        faults.add("linux.rootfsPropagation", format!("unknown propagation {name:?}"));
    }
    found
}

/// `PER_LINUX` and `PER_LINUX32`.
fn personality(linux: &Linux, faults: &mut Faults) -> Option<u64> {
    let personality = linux.personality().as_ref()?;
    if personality.flags().as_ref().is_some_and(|f| !f.is_empty()) {
        faults.add("linux.personality.flags", "no flag is supported");
    }
    Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

fn cgroup(linux: &Linux, faults: &mut Faults) -> CgroupPlan {
    let path = linux.cgroups_path().as_ref().map(|p| p.to_string_lossy().into_owned());
    let path = text("linux.cgroupsPath", &path, faults);
    let Some(resources) = linux.resources() else { return CgroupPlan { path, ..CgroupPlan::default() } };
    CgroupPlan {
        path,
        settings: resources::resolve(resources, faults),
        devices: devices::rules(resources.devices().as_deref().unwrap_or_default(), faults),
        owner: None,
        check_usage: resources::checks_usage(resources),
    }
}

/// The host's number of `process.user.uid` if the cgroup is to be handed to that user: the container
/// gets a cgroup namespace of its own and in it a cgroup mount to write to
/// (runtime-spec, config-linux.md, "Cgroup ownership").
fn cgroup_owner(spec: &Spec, namespaces: &Namespaces, ids: &IdMaps) -> Option<u32> {
    let writable = |m: &oci_spec::runtime::Mount| {
        let read_only = |option: &String| matches!(option.as_str(), "ro" | "rro");
        m.source().as_deref() == Some(Path::new("cgroup"))
            && mounts::clean(&m.destination().to_string_lossy()) == "/sys/fs/cgroup"
            && !m.options().iter().flatten().any(read_only)
    };
    let handed_over = namespaces.is_new(NamespaceKind::Cgroup) && spec.mounts().iter().flatten().any(writable);
    // A process that comes later, by exec, is root unless it says otherwise.
    let user = || spec.process().as_ref().map_or(0, |p| p.user().uid());
    if handed_over { IdMaps::on_host(&ids.uid, user()) } else { None }
}
