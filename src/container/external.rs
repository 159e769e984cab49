//! Mounts that are the host's and not the container's own: criu saves where
//! they are and a name for each, and on restore asks what has that name.
//!
//! The name is the destination as the config has it, never a path that the image
//! or the container could bend (CVE-2026-119101, CVE-2026-115520, CVE-2026-119614):
//! - where a mount is, the kernel says, and that what is there is what the
//!   config bound, its device and inode say;
//! - on restore the config says what is bound, and before anything runs it is
//!   looked at again: the right files, at the right place, read-only if they
//!   are to be, in the right namespaces.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, minor};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::namespaces::{directory, inode};
use crate::error::{Error, Result, Step};
use crate::spec::plan::{Device, Mount, MountKind, NamespaceKind, Plan};
use crate::sys::mount::mount_identity;
use crate::sys::path::{Root, is_type};
use crate::sys::procfs::Procfs;

/// The name of what masks files.
pub const MASK: &str = "mask";

/// A mount of the config that is the host's.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// As the config has it.
    pub mount: &'a Mount,
    /// Where it is on the host.
    pub source: &'a Path,
    /// With all that is mounted in it.
    pub recursive: bool,
}

impl Bind<'_> {
    /// The same in an image and in the config it is restored with, whatever the
    /// order there: podman's differs each time.
    pub fn name(&self) -> String {
        format!("mount-{}", plain(&self.mount.destination))
    }

    /// JSON path.
    pub fn field(&self) -> String {
        format!("mounts[{}]", self.mount.index)
    }

    /// The name of what is mounted in it, at a path relative to it.
    pub fn name_inside(&self, relative: &Path) -> String {
        format!("{}+{}", self.name(), plain(&relative.to_string_lossy()))
    }

    fn source(&self) -> Result<FileStat> {
        let nofollow = if self.mount.src_nofollow { OFlag::O_NOFOLLOW } else { OFlag::empty() };
        open(self.source, OFlag::O_PATH | OFlag::O_CLOEXEC | nofollow, Mode::empty())
            .and_then(|fd| fstat(&fd))
            .step_at("cannot stat the mount source", self.source)
            .map_err(|e| e.in_field(format!("{}.source", self.field())))
    }
}

/// Letters, digits and `.-_` as they are, all else as `%` and its number: a
/// name ends at the first `]` for criu.
fn plain(path: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(b).to_string(),
        other => format!("%{other:02x}"),
    };
    path.bytes().map(byte).collect()
}

/// The name of a device that was bound.
pub fn device_name(device: &Device) -> String {
    format!("device-{}", plain(&device.path))
}

/// The mounts of the host's in a list: binds, but for a source that was copied
/// as a symlink; and the cgroup hierarchy without a namespace of its own, `own_cgroups`.
pub fn binds(mounts: &[Mount], own_cgroups: bool) -> impl Iterator<Item = Bind<'_>> {
    mounts.iter().filter_map(move |mount| match &mount.kind {
        MountKind::Bind { source, recursive } if !(mount.copy_symlink && source.is_symlink()) => {
            Some(Bind { mount, source, recursive: *recursive })
        }
        MountKind::Cgroup if !own_cgroups => {
            Some(Bind { mount, source: crate::cgroup::mount_point()?, recursive: false })
        }
        _ => None,
    })
}

/// All of the config's.
pub fn of_plan(plan: &Plan) -> impl Iterator<Item = Bind<'_>> {
    binds(&plan.mounts, plan.namespaces.is_new(NamespaceKind::Cgroup))
}

/// The mount points of a running container that are external, with their names;
/// `added` is a mount that the config does not have, and the container perhaps has.
///
/// # Errors
/// Names the config's field when something else is mounted there now.
pub fn of_container(plan: &Plan, added: &Mount, pid: i32, proc: &Procfs) -> Result<Vec<(String, String)>> {
    let there = There::open(pid, proc)?;
    let mut found = Vec::new();
    for bind in of_plan(plan) {
        let place = there.bound(&bind).map_err(|e| e.in_field(bind.field()).path(&bind.mount.destination))?;
        found.push((place, bind.name()));
    }
    let mut inside = Vec::new();
    for (bind, (place, _)) in of_plan(plan).zip(&found).filter(|(bind, _)| bind.recursive) {
        let below = there.points.iter().filter_map(|(_, point)| Some((point, point.strip_prefix(place).ok()?)));
        for (point, relative) in below.filter(|(_, relative)| !relative.as_os_str().is_empty()) {
            // What the config has there has a name already, or is the container's own.
            let configured = plan.mounts.iter().map(|m| &m.destination);
            let own = configured.chain(&plan.masked_paths).chain(&plan.readonly_paths).any(|p| Path::new(p) == point);
            inside.extend(point.to_str().filter(|_| !own).map(|p| (p.to_owned(), bind.name_inside(relative))));
        }
    }
    found.extend(inside);
    for bind in binds(std::slice::from_ref(added), true) {
        found.extend(there.bound(&bind).ok().map(|place| (place, bind.name())));
    }
    for device in &plan.devices {
        // Made as a node, unless there is a user namespace.
        if let Some((_, place)) = there.mounted(&device.path)? {
            found.push((place, device_name(device)));
        }
    }
    for path in &plan.masked_paths {
        let null =
            |stat: &FileStat| is_type(stat, SFlag::S_IFCHR) && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
        if let Some((stat, place)) = there.mounted(path)?
            && null(&stat)
        {
            found.push((place, MASK.to_owned()));
        }
    }
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    Ok(found)
}

/// Is what was restored what the config says? Before it runs.
///
/// # Errors
/// Names the field that something else was made of.
pub fn verify(plan: &Plan, pid: i32, join: &[(usize, NamespaceKind, OwnedFd)], proc: &Procfs) -> Result<()> {
    let step = "what was restored is not what the config says";
    let (ours, theirs) = (directory(proc, "self")?, directory(proc, &pid.to_string())?);
    for kind in NamespaceKind::ALL {
        let (own, its) = (inode(&ours, kind)?, inode(&theirs, kind)?);
        let joined = join.iter().find(|(_, k, _)| *k == kind);
        let right = match joined {
            Some((_, _, fd)) => Some(fstat(fd).step(step)?.st_ino) == its,
            None => !plan.namespaces.is_new(kind) || own != its,
        };
        if !right {
            let field = joined.map_or("linux.namespaces".to_owned(), |(i, ..)| format!("linux.namespaces[{i}]"));
            let text = format!("the {} namespace is another one", kind.spec_name());
            return Err(Error::new(step).in_field(field).message(text));
        }
    }
    let there = There::open(pid, proc)?;
    for bind in of_plan(plan) {
        let place = there.bound(&bind).and_then(|_| there.protected(&bind));
        place.map_err(|e| e.during(step).in_field(bind.field()).path(&bind.mount.destination))?;
    }
    Ok(())
}

/// A process's view of its mounts.
struct There {
    root: Root,
    points: Vec<(u64, PathBuf)>,
}

impl There {
    fn open(pid: i32, proc: &Procfs) -> Result<Self> {
        let step = "cannot look at the container's mounts";
        let name = |rest: &str| CString::new(format!("{pid}{rest}")).map_err(|_| Error::new(step));
        let root = proc.magic_link(&name("")?, c"root", OFlag::O_PATH | OFlag::O_DIRECTORY).step(step)?;
        let table = proc.read(&name("/mountinfo")?).step(step)?;
        Ok(Self { root: Root::new(root), points: mount_points(&table) })
    }

    /// What is mounted at a path, and the mount point as the kernel has it; `None` if nothing is.
    fn mounted(&self, path: &str) -> Result<Option<(FileStat, String)>> {
        let step = "cannot look at the container's mounts";
        let Ok(fd) = self.root.find(path) else { return Ok(None) };
        let (id, is_root) = mount_identity(&fd).step_at(step, path)?;
        let point = self.points.iter().find(|(known, _)| *known == id).filter(|_| is_root);
        let Some((_, point)) = point.filter(|(_, point)| point != Path::new("/")) else { return Ok(None) };
        let point = point.to_str().filter(|p| !p.contains(']'));
        let point = point.ok_or_else(|| Error::new("criu cannot name the mount point").path(path))?;
        Ok(Some((fstat(&fd).step_at(step, path)?, point.to_owned())))
    }

    /// Where a bind mount of the config is.
    fn bound(&self, bind: &Bind<'_>) -> Result<String> {
        let source = bind.source()?;
        match self.mounted(&bind.mount.destination)? {
            Some((stat, place)) if (stat.st_dev, stat.st_ino) == (source.st_dev, source.st_ino) => Ok(place),
            Some(_) => Err(Error::new("something else is mounted there").hint(format!(
                "not {}, as the config has it: that was replaced, or the container has moved directories",
                bind.source.display()
            ))),
            None => Err(Error::new("nothing is mounted there").hint("the container has moved it")),
        }
    }

    /// Is it read-only, if it is to be?
    fn protected(&self, bind: &Bind<'_>) -> Result<()> {
        let asked = (bind.mount.attr.set | bind.mount.recursive_attr.set) & libc::MOUNT_ATTR_RDONLY != 0;
        let fd = self.root.find(&bind.mount.destination).step("cannot look at the container's mounts")?;
        let flags = fstatvfs(&fd).step("cannot look at the container's mounts")?.flags();
        match asked && !flags.contains(FsFlags::ST_RDONLY) {
            true => Err(Error::new("the mount is writable")),
            false => Ok(()),
        }
    }
}

/// Ids and mount points of a `mountinfo` (proc_pid_mountinfo(5)).
pub fn mount_points(table: &[u8]) -> Vec<(u64, PathBuf)> {
    let line = |line: &[u8]| {
        let mut words = line.split(|b| *b == b' ');
        let id = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let point = unescape(words.nth(3)?);
        Some((id, PathBuf::from(std::ffi::OsStr::from_bytes(&point))))
    };
    table.split(|b| *b == b'\n').filter_map(line).collect()
}

/// `\040` and the like.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// The name in the image of a namespace that is not the container's own (as runc and crun have it).
pub fn namespace(kind: NamespaceKind) -> &'static str {
    if kind == NamespaceKind::Network { "extRootNetNS" } else { "extRootPidNS" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_ends_them() {
        assert_eq!(plain("/a]:/etc b\u{e9}"), "%2fa%5d%3a%2fetc%20b%c3%a9");
        assert_ne!(plain("/a/b"), plain("/a%2fb"));
    }

    #[test]
    fn mount_tables_are_read() {
        let table = b"21 1 0:5 / / rw - ext4 a rw\n37 21 8:1 /x /a\\040b\\134c ro,nosuid master:1 - tmpfs t rw\n";
        assert_eq!(mount_points(table), [(21, "/".into()), (37, "/a b\\c".into())]);
    }
}
