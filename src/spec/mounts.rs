//! `mounts`: destinations, sources, types and options.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount as SpecMount;

use super::faults::Faults;
use super::idmaps::{self, Wanted};
use super::mount_options::{self, Action, Depth, Group};
use super::plan::{IdMaps, Mount, MountAttr, MountKind, Propagation};

/// Files below `/proc` that lxcfs and its like may replace; nothing else there may be covered.
const PROC_FILES: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Filesystems whose superblock is filled or shared, so that `ro` may only be said of the mount.
const RO_ON_MOUNT_ONLY: [&str; 7] = ["proc", "sysfs", "tmpfs", "cgroup", "cgroup2", "mqueue", "devpts"];

/// Filesystems that take no label at mount time.
const UNLABELLED: [&str; 3] = ["proc", "sysfs", "mqueue"];

/// Parameters that carry an SELinux label.
pub const LABELS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// The annotation that chooses how `mountLabel` is applied.
pub(crate) const LABEL_ANNOTATION: &str = "run.oci.mount_context_type";

/// What `mounts` depends on besides itself.
pub(crate) struct Context<'a> {
    /// For relative sources.
    pub bundle: &'a Path,
    /// Parameter and label to be given to fresh filesystems.
    pub label: Option<(CString, CString)>,
    /// The container's own maps, if it has a user namespace and the config gives them.
    pub ids: &'a IdMaps,
    /// It has a user namespace.
    pub userns: bool,
}

impl<'a> Context<'a> {
    /// `linux.mountLabel` and the way the annotations want it applied.
    pub fn new(
        bundle: &'a Path,
        label: Option<&str>,
        annotations: &BTreeMap<String, String>,
        (ids, userns): (&'a IdMaps, bool),
        faults: &mut Faults,
    ) -> Self {
        let kind = annotations.get(LABEL_ANNOTATION).map_or("context", String::as_str);
        if !LABELS.contains(&kind) {
            let path = super::faults::keyed("annotations", LABEL_ANNOTATION);
            faults.add(path, format!("unknown kind of label {kind:?}"));
        }
        let label = label.and_then(|l| faults.cstring("linux.mountLabel", l));
        Self { bundle, ids, userns, label: label.and_then(|l| Some((CString::new(kind).ok()?, l))) }
    }
}

/// Resolves all of `mounts`.
pub(crate) fn resolve(mounts: &[SpecMount], cx: &Context, faults: &mut Faults) -> Vec<Mount> {
    mounts.iter().enumerate().filter_map(|(i, m)| resolve_one(i, m, cx, faults)).collect()
}

/// A path without `.`, `..` and repeated slashes, always starting with `/`.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The options of one mount, sorted by what they are about.
#[derive(Default)]
struct Options {
    bind: Option<bool>,
    remount: bool,
    attr: MountAttr,
    recursive_attr: MountAttr,
    propagation: Vec<Propagation>,
    id_map: Option<Wanted>,
    flags: Vec<(Group, &'static str)>,
    tmpcopyup: Option<usize>,
    copy_symlink: bool,
    src_nofollow: bool,
    dest_nofollow: bool,
    data: Vec<(CString, Option<CString>)>,
}

fn resolve_one(index: usize, mount: &SpecMount, cx: &Context, faults: &mut Faults) -> Option<Mount> {
    let at = format!("mounts[{index}]");
    let options = Options::parse(mount.options().as_deref().unwrap_or_default(), &at, faults);
    let destination = destination(mount, &at, faults);
    let kind = kind(mount, &options, cx, &at, faults);
    let (destination, kind) = (destination?, kind?);
    let id_map = idmaps::resolve(mount, options.id_map.as_ref(), &kind, cx, &at, faults);
    check_destination(&destination, &kind, index == 0, &at, faults);
    check_owner(&kind, cx.ids, &at, faults);
    if let Some(i) = options.tmpcopyup
        && !matches!(&kind, MountKind::Fs { fstype, .. } if fstype.as_bytes() == b"tmpfs")
    {
        faults.add(format!("{at}.options[{i}]"), "tmpcopyup is for tmpfs only");
    }
    Some(Mount {
        index,
        destination,
        kind,
        attr: options.attr,
        recursive_attr: options.recursive_attr,
        id_map,
        propagation: options.propagation,
        tmpcopyup: options.tmpcopyup.is_some(),
        copy_symlink: options.copy_symlink,
        src_nofollow: options.src_nofollow,
        dest_nofollow: options.dest_nofollow,
    })
}

/// Ids that a filesystem is to give its files must be ids of the container's;
/// the kernel would only say EINVAL.
fn check_owner(kind: &MountKind, ids: &IdMaps, at: &str, faults: &mut Faults) {
    let MountKind::Fs { data, .. } = kind else { return };
    for (key, value) in data {
        let (map, name) = match key.to_bytes() {
            b"uid" => (&ids.uid, "uidMappings"),
            b"gid" => (&ids.gid, "gidMappings"),
            _ => continue,
        };
        let id = value.as_ref().and_then(|v| v.to_str().ok()?.parse().ok());
        if let Some(id) = id.filter(|id| IdMaps::on_host(map, *id).is_none()) {
            let option = key.to_string_lossy();
            faults.add(format!("{at}.options"), format!("{option}={id}: no such id in linux.{name}"));
        }
    }
}

impl Options {
    fn parse(options: &[String], at: &str, faults: &mut Faults) -> Self {
        let mut parsed = Self::default();
        for (i, option) in options.iter().enumerate() {
            let path = format!("{at}.options[{i}]");
            if let Some(wanted) = Wanted::parse(option, i) {
                parsed.id_map = Some(wanted);
                continue;
            }
            match mount_options::find(option) {
                Some(action) => parsed.apply(action, i),
                None => parsed.add_data(option, &path, faults),
            }
        }
        parsed
    }

    fn apply(&mut self, action: Action, index: usize) {
        match action {
            Action::Nothing => {}
            Action::Bind { recursive } => self.bind = Some(recursive || self.bind == Some(true)),
            Action::Remount => self.remount = true,
            Action::Attr(change, Depth::One) => change.apply(&mut self.attr),
            Action::Attr(change, Depth::Tree) => change.apply(&mut self.recursive_attr),
            Action::Super(name, group) => {
                self.flags.retain(|(g, _)| *g != group);
                self.flags.push((group, name));
            }
            Action::Propagation(kind, depth) => {
                self.propagation.push(Propagation { kind, recursive: depth == Depth::Tree });
            }
            Action::TmpCopyUp => self.tmpcopyup = Some(index),
            Action::CopySymlink => self.copy_symlink = true,
            Action::SrcNoFollow => self.src_nofollow = true,
            Action::DestNoFollow => self.dest_nofollow = true,
        }
    }

    /// An option for the filesystem. mount(2) took all of them joined with
    /// commas, so one string may hold several.
    fn add_data(&mut self, option: &str, path: &str, faults: &mut Faults) {
        for part in split_unquoted(option).into_iter().filter(|p| !p.is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            };
            // mount(2) needed the quotes because of commas in labels; fsconfig(2) takes the bare label.
            let value = match value {
                Some(v) if LABELS.contains(&key) => Some(v.trim_matches('"')),
                other => other,
            };
            let key = faults.cstring(path, key);
            let value = value.map(|v| faults.cstring(path, v));
            if let (Some(key), Some(value)) = (key, value.map_or(Some(None), |v| v.map(Some))) {
                self.data.push((key, value));
            }
        }
    }
}

/// Splits at commas that are neither quoted nor escaped (overlay's `\,`).
fn split_unquoted(option: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, c) in option.char_indices() {
        match c {
            _ if escaped => {}
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.extend(option.get(start..i));
                start = i + 1;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    parts.extend(option.get(start..));
    parts
}

fn destination(mount: &SpecMount, at: &str, faults: &mut Faults) -> Option<String> {
    let path = format!("{at}.destination");
    let given = mount.destination().to_string_lossy();
    if given.is_empty() {
        faults.add(path, "missing");
        return None;
    }
    let absolute = if given.starts_with('/') { given.into_owned() } else { format!("/{given}") };
    // So that everybody knows the root when they see it.
    let absolute = if clean(&absolute) == "/" { "/".to_owned() } else { absolute };
    faults.text(path, &absolute)
}

/// A root that is a mount of the config's (a layered image as an overlay) must
/// hold files; the kernel's own views do not.
fn can_be_root(kind: &MountKind) -> bool {
    const VIEWS: [&[u8]; 5] = [b"proc", b"sysfs", b"mqueue", b"devpts", b"cgroup2"];
    match kind {
        MountKind::Fs { fstype, .. } => !VIEWS.contains(&fstype.as_bytes()),
        MountKind::Cgroup => false,
        MountKind::Bind { .. } | MountKind::Remount => true,
    }
}

/// A cover over parts of `/proc` can fake what the runtime and LSMs read
/// there (CVE-2019-16884, CVE-2019-19921), so only known files may get one.
fn check_destination(destination: &str, kind: &MountKind, first: bool, at: &str, faults: &mut Faults) {
    let cleaned = clean(destination);
    if cleaned == "/" && !(first && can_be_root(kind)) {
        faults.add(format!("{at}.destination"), "only the first mount can be the root, and it must hold files");
    }
    let Some(below) = cleaned.strip_prefix("/proc") else { return };
    let refused = match below.strip_prefix('/') {
        Some(file) => !PROC_FILES.contains(&file),
        // A bind may be one of a procfs; that is looked at when it is mounted.
        None if below.is_empty() => {
            matches!(kind, MountKind::Cgroup)
                || matches!(kind, MountKind::Fs { fstype, .. } if fstype.as_bytes() != b"proc")
        }
        None => false,
    };
    if refused && below.is_empty() {
        faults.add(format!("{at}.type"), "only procfs can be mounted on /proc");
    } else if refused {
        faults.add(format!("{at}.destination"), format!("{cleaned:?} is inside /proc"));
    }
}

fn kind(mount: &SpecMount, options: &Options, cx: &Context, at: &str, faults: &mut Faults) -> Option<MountKind> {
    let typ = mount.typ().as_deref().unwrap_or_default();
    if options.remount {
        return Some(MountKind::Remount);
    }
    if let Some(recursive) = options.bind.or((typ == "bind").then_some(false)) {
        return bind(mount, recursive, cx, at, faults);
    }
    match typ {
        "cgroup" | "cgroup2" => Some(MountKind::Cgroup),
        "" | "none" => {
            faults.add(format!("{at}.type"), "missing: neither a filesystem nor a bind mount");
            None
        }
        _ => filesystem(mount, typ, options, cx, at, faults),
    }
}

fn bind(mount: &SpecMount, recursive: bool, cx: &Context, at: &str, faults: &mut Faults) -> Option<MountKind> {
    let path = format!("{at}.source");
    let source = mount.source().as_ref().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    if source.is_empty() {
        faults.add(path, "missing: a bind mount needs a source");
        return None;
    }
    let source: PathBuf = cx.bundle.join(faults.text(path, &source)?);
    Some(MountKind::Bind { source, recursive })
}

fn filesystem(
    mount: &SpecMount,
    typ: &str,
    options: &Options,
    cx: &Context,
    at: &str,
    faults: &mut Faults,
) -> Option<MountKind> {
    let fstype = faults.cstring(format!("{at}.type"), typ);
    let source = match mount.source().as_ref().map(|s| s.to_string_lossy()).filter(|s| !s.is_empty()) {
        Some(source) => Some(faults.cstring(format!("{at}.source"), &source)?),
        None => None,
    };
    let read_only = options.attr.set & libc::MOUNT_ATTR_RDONLY != 0 && !RO_ON_MOUNT_ONLY.contains(&typ);
    let names = read_only.then_some("ro").into_iter().chain(options.flags.iter().map(|(_, name)| *name));
    let flags = names.filter_map(|n| CString::new(n).ok()).collect();
    let mut data = options.data.clone();
    if let Some((key, label)) = &cx.label
        && !UNLABELLED.contains(&typ)
        && !data.iter().any(|(k, _)| k == key)
    {
        data.push((key.clone(), Some(label.clone())));
    }
    Some(MountKind::Fs { fstype: fstype?, source, flags, data })
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
