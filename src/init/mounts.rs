//! `mounts`: each made detached, configured, and attached by fd, in the order of the config.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FchmodatFlags, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::copyup::{self, Said};
use super::namespaces::own_cgroups;
use super::overlay;
use super::sources::Sources;
use crate::cgroup;
use crate::error::{Error, Result, Step};
use crate::spec::plan::{Mount, MountAttr, MountKind, Plan};
use crate::sys::mount::{self, FsContext};
use crate::sys::path::{Create, Root, is_type, read_link};
use crate::sys::procfs::Procfs;
use crate::sys::xattr;

/// What is left to do when everything is mounted: filesystems that stayed
/// writable so that later mounts could make their destinations in them.
#[derive(Debug, Default)]
pub struct Late(Vec<(String, OwnedFd)>);

/// What mounts are made of.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// procfs.
    pub proc: &'a Procfs,
    /// What was opened before.
    pub sources: Option<&'a Sources>,
    /// The container's cgroup, as the host has it mounted.
    pub cgroup: Option<&'a Path>,
}

/// Makes every mount of the plan.
///
/// # Errors
/// Names `mounts[i]`, the destination, and what the kernel said.
pub fn make_all(means: Means<'_>, root: &mut Root) -> Result<Late> {
    let mut late = Late::default();
    for (i, m) in means.plan.mounts.iter().enumerate() {
        let given = means.sources.and_then(|s| s.binds.get(i)?.as_ref());
        let made = make(means, root, m, given, &mut late);
        let tree = made.map_err(|e| e.in_field(format!("mounts[{}]", m.index)).path(&m.destination))?;
        if let (Some(tree), true) = (tree, m.destination == "/") {
            // A layered image as the config's first mount: what comes after is in it.
            *root = Root::new(tree);
        }
    }
    Ok(late)
}

/// Makes the filesystems read-only that were to be.
///
/// # Errors
/// Names the destination.
pub fn finish(late: Late) -> Result<()> {
    late.0.iter().try_for_each(|(destination, fd)| {
        mount::set_attr(fd, libc::MOUNT_ATTR_RDONLY, 0, 0, false)
            .step_at("cannot make the mount read-only", destination)
    })
}

/// Makes one mount; `None` when it turned out to be a symlink to copy.
fn make(means: Means<'_>, root: &Root, m: &Mount, given: Option<&OwnedFd>, late: &mut Late) -> Result<Option<OwnedFd>> {
    let tree = match &m.kind {
        MountKind::Bind { source, recursive } => match bind(root, m, source, *recursive, given)? {
            Some(tree) => tree,
            None => return Ok(None),
        },
        MountKind::Fs { fstype, source, flags, data } => {
            let label = means.plan.mount_label.as_deref();
            new_filesystem(root, m, &Filesystem { fstype, source: source.as_deref(), flags, data, label }, late)?
        }
        MountKind::Cgroup => cgroup_mount(means, root, m)?,
        MountKind::Remount => existing(root, m)?,
    };
    let deep = m.recursive_attr;
    if !deep.is_empty() {
        mount::set_attr(&tree, deep.set, deep.clear, 0, true).step("cannot set recursive mount attributes")?;
    }
    for p in &m.propagation {
        mount::set_attr(&tree, 0, 0, p.kind, p.recursive).step("cannot set the mount's propagation")?;
    }
    Ok(Some(tree))
}

/// Where the mount goes; made if missing.
fn destination(root: &Root, m: &Mount, create: Create) -> Result<OwnedFd> {
    let step = "cannot open the mount destination";
    if m.dest_nofollow {
        match root.find_nofollow(&m.destination) {
            Err(Errno::ENOENT) => {}
            other => return other.step(step),
        }
    }
    root.find_or_create(&m.destination, create).map(|(fd, _)| fd).step(step)
}

/// proc and sysfs may only be mounted on a directory reached without symlinks:
/// the runtime and the kernel's own users know them by their path
/// (CVE-2019-19921, CVE-2023-27561).
fn plain_directory(root: &Root, m: &Mount) -> Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(root, Path::new(&m.destination), how) {
        Err(Errno::ELOOP | Errno::ENOTDIR) => {
            Err(Error::new("proc and sysfs must be mounted on an ordinary directory")
                .hint("the path is a symlink or a file in the rootfs"))
        }
        Err(Errno::ENOENT) => {
            destination(root, m, Create::Dir)?;
            openat2(root, Path::new(&m.destination), how)
                .step("proc and sysfs must be mounted on an ordinary directory")
        }
        other => other.step("cannot open the mount destination"),
    }
}

fn bind(root: &Root, m: &Mount, source: &Path, recursive: bool, given: Option<&OwnedFd>) -> Result<Option<OwnedFd>> {
    let path = CString::new(source.as_os_str().as_bytes()).map_err(|_| Error::new("NUL byte in the mount source"))?;
    if m.copy_symlink && copy_symlink(root, m, source)? {
        return Ok(None);
    }
    let tree = match given {
        Some(given) => given.try_clone().step("cannot bind")?,
        None => mount::clone_tree_at(&path, recursive, !m.src_nofollow)
            .map_err(|e| Error::sys("cannot bind", e).message(format!("source {}", source.display())))?,
    };
    let stat = fstat(&tree).step("cannot stat the mount source")?;
    set_attributes(&tree, m.attr)?;
    let create = if is_type(&stat, SFlag::S_IFDIR) { Create::Dir } else { Create::File };
    let to = destination(root, m, create)?;
    guard_proc(m, &tree, &to)?;
    let onto_dir = is_type(&fstat(&to).step("cannot stat the mount destination")?, SFlag::S_IFDIR);
    if onto_dir != (create == Create::Dir) {
        // The kernel would say EINVAL; docker explains ENOTDIR to its users.
        let (from, onto) = if onto_dir { ("a file", "a directory") } else { ("a directory", "a file") };
        return Err(Error::sys(format!("cannot mount {from} onto {onto}"), Errno::ENOTDIR));
    }
    mount::attach(&tree, &to).step("cannot attach the mount")?;
    Ok(Some(tree))
}

/// Nothing but procfs may cover /proc or anything in it, whatever symlinks of
/// the image lead there: labels and sysctls of the workload would go to an
/// impostor (CVE-2019-16884). The plan has let through the few files below
/// /proc that may be covered by their own name (lxcfs).
fn guard_proc(m: &Mount, tree: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let is_proc =
        |fd: &OwnedFd| fstatfs(fd).map(|s| s.filesystem_type() == PROC_SUPER_MAGIC).step("cannot stat the mount");
    let destination = Path::new(&m.destination);
    let covers = destination == Path::new("/proc") || (is_proc(to)? && !destination.starts_with("/proc/"));
    if covers && !is_proc(tree)? {
        return Err(Error::new("only procfs may be mounted over /proc or in it"));
    }
    Ok(())
}

/// `copy-symlink`: a source that is a symlink is made again at the destination.
fn copy_symlink(root: &Root, m: &Mount, source: &Path) -> Result<bool> {
    let Ok(target) = nix::fcntl::readlink(source) else { return Ok(false) };
    let step = "cannot copy the symlink";
    let (dir, name) = root.parent(&m.destination).step(step)?;
    match nix::unistd::symlinkat(target.as_os_str(), &dir, name.as_c_str()) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => {
            let there = root.find_nofollow(&m.destination).step(step)?;
            match read_link(&there) {
                Ok(same) if same == target => Ok(true),
                _ => Err(Error::sys(step, Errno::EEXIST).message("something else is there")),
            }
        }
        Err(e) => Err(Error::sys(step, e)),
    }
}

struct Filesystem<'a> {
    fstype: &'a CStr,
    source: Option<&'a CStr>,
    flags: &'a [CString],
    data: &'a [(CString, Option<CString>)],
    /// SELinux label, for those that cannot be told by a parameter.
    label: Option<&'a str>,
}

fn new_filesystem(root: &Root, m: &Mount, fs: &Filesystem<'_>, late: &mut Late) -> Result<OwnedFd> {
    let is = |name: &CStr| fs.fstype == name;
    let to = if is(c"proc") || is(c"sysfs") { plain_directory(root, m)? } else { destination(root, m, Create::Dir)? };
    let mut attr = m.attr.set;
    if is(c"overlay") {
        let tree = overlay::make(fs.data, fs.flags, attr)?;
        guard_proc(m, &tree, &to)?;
        mount::attach(&tree, &to).step("cannot attach the mount")?;
        return Ok(tree);
    }
    // Later mounts may have to make their destinations in it.
    let read_only_later = is(c"tmpfs") && attr & libc::MOUNT_ATTR_RDONLY != 0;
    if read_only_later {
        attr &= !libc::MOUNT_ATTR_RDONLY;
    }
    let mode = fstat(&to).step("cannot stat the mount destination")?.st_mode & 0o7777;
    let says = |name: &CStr| fs.data.iter().any(|(key, _)| key.as_c_str() == name);
    let said = Said { mode: says(c"mode"), uid: says(c"uid"), gid: says(c"gid") };
    let inherit_mode = is(c"tmpfs") && !said.mode;
    let tree = match create(fs, attr) {
        Err(e) if is(c"sysfs") && e.raw_errno() == Some(libc::EPERM) => host_sysfs(attr).map_err(|_| e)?,
        other => other?,
    };
    if inherit_mode {
        // A tmpfs over an existing directory looks like the directory did.
        let mode = nix::sys::stat::Mode::from_bits_truncate(mode);
        nix::sys::stat::fchmodat(&tree, c".", mode, FchmodatFlags::FollowSymlink)
            .step("cannot set the mode of the tmpfs")?;
    }
    if let (true, Some(label)) = (is(c"mqueue"), fs.label) {
        set_label(&tree, label).map_err(|e| e.in_field("linux.mountLabel"))?;
    }
    guard_proc(m, &tree, &to)?;
    if m.tmpcopyup {
        copyup::copy(&to, &tree, said).map_err(|e| e.during("cannot copy the directory into the tmpfs"))?;
    }
    mount::attach(&tree, &to).step("cannot attach the mount")?;
    if read_only_later {
        let fd = tree.try_clone().step("cannot keep the mount")?;
        late.0.push((m.destination.clone(), fd));
    }
    Ok(tree)
}

/// sysfs shows a network namespace, and only who owns that may mount it anew: a
/// user namespace with the host's network gets the host's, as crun does it.
fn host_sysfs(attr: u64) -> nix::Result<OwnedFd> {
    let tree = mount::clone_tree_at(c"/sys", true, true)?;
    mount::set_attr(&tree, attr, 0, 0, true)?;
    Ok(tree)
}

/// mqueue takes no label as a parameter, but its root directory does.
fn set_label(tree: &OwnedFd, label: &str) -> Result<()> {
    let step = "cannot set the selinux label of the mount";
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = nix::fcntl::openat(tree, c".", flags, nix::sys::stat::Mode::empty()).step(step)?;
    xattr::set(&dir, c"security.selinux", label.as_bytes()).step(step)
}

fn create(fs: &Filesystem<'_>, attr: u64) -> Result<OwnedFd> {
    let name = fs.fstype.to_string_lossy();
    let context = FsContext::open(fs.fstype).map_err(|e| {
        let error = Error::sys(format!("cannot open filesystem type {name:?}"), e);
        if e == Errno::ENODEV { error.hint("this kernel does not have it") } else { error }
    })?;
    let failed = |e: Errno| {
        let error = Error::sys(format!("cannot mount {name}"), e);
        if e == Errno::EPERM && fs.fstype == c"proc" {
            // `mount_too_revealing` in the kernel.
            return error.hint(
                "in a user namespace it takes a /proc that nothing is mounted over, and a pid namespace of its own",
            );
        }
        context.complaint().map_or(error.clone(), |text| error.message(text))
    };
    if let Some(source) = fs.source {
        context.set(c"source", Some(source)).map_err(failed)?;
    }
    for flag in fs.flags {
        context.set(flag, None).map_err(failed)?;
    }
    for (key, value) in fs.data {
        context.set(key, value.as_deref()).map_err(failed)?;
    }
    context.mount(attr).map_err(failed)
}

/// The cgroup2 hierarchy, as the container's cgroup namespace shows it. Without
/// one the host's mount is bound: mounting anew from the initial namespace
/// would reset options of the host's own mount.
fn cgroup_mount(means: Means<'_>, root: &Root, m: &Mount) -> Result<OwnedFd> {
    let to = destination(root, m, Create::Dir)?;
    let tree = if own_cgroups(means.plan, means.proc).step("cannot look at the cgroup namespace")? {
        let fs = Filesystem { fstype: c"cgroup2", source: Some(c"cgroup"), flags: &[], data: &[], label: None };
        match create(&fs, m.attr.set) {
            // A namespace that was joined is somebody else's, and only its
            // owner may mount what it shows: the container's own part, then.
            Err(e) if matches!(e.raw_errno(), Some(libc::EPERM | libc::EBUSY)) => {
                bind_cgroup(means.cgroup, m).map_err(|_| e)
            }
            made => made,
        }
    } else {
        bind_cgroup(None, m)
    }?;
    guard_proc(m, &tree, &to)?;
    mount::attach(&tree, &to).step("cannot attach the mount")?;
    Ok(tree)
}

/// A cgroup in the host's mount of the hierarchy, all of it if none is named.
fn bind_cgroup(cgroup: Option<&Path>, m: &Mount) -> Result<OwnedFd> {
    let host = match cgroup {
        Some(path) => path,
        None => cgroup::mount_point()
            .ok_or_else(|| Error::new("cannot mount cgroup: the host has no cgroup v2 hierarchy"))?,
    };
    let path = CString::new(host.as_os_str().as_bytes()).map_err(|_| Error::new("NUL byte in a path"))?;
    let tree = mount::clone_tree_at(&path, false, true).step_at("cannot bind", host)?;
    set_attributes(&tree, m.attr).map(|()| tree)
}

/// Changes the attributes of one mount. Those that a user namespace's mount
/// table has inherited can be added to there, and not be taken away
/// (mount_namespaces(7), "Restrictions on mount namespaces"): they stay, as
/// with runc and crun.
fn set_attributes(mount: &OwnedFd, attr: MountAttr) -> Result<()> {
    let step = "cannot set mount attributes";
    if attr.is_empty() {
        return Ok(());
    }
    match mount::set_attr(mount, attr.set, attr.clear, 0, false) {
        Err(Errno::EPERM) => {
            let stay = locked(mount).step(step)?;
            // No access time may replace another: what was asked for goes.
            let (set, clear) = match stay & libc::MOUNT_ATTR__ATIME {
                0 => (attr.set, attr.clear),
                _ => (attr.set & !ACCESS_TIME, attr.clear & !ACCESS_TIME),
            };
            mount::set_attr(mount, set, clear & !stay, 0, false).step(step)
        }
        done => done.step(step),
    }
}

/// All that says how access times are kept.
const ACCESS_TIME: u64 = libc::MOUNT_ATTR__ATIME | libc::MOUNT_ATTR_NODIRATIME;

/// The attributes a mount has, as far as they can be locked.
fn locked(mount: &OwnedFd) -> nix::Result<u64> {
    let flags = fstatvfs(mount)?.flags();
    let pairs = [
        (FsFlags::ST_RDONLY, libc::MOUNT_ATTR_RDONLY),
        (FsFlags::ST_NOSUID, libc::MOUNT_ATTR_NOSUID),
        (FsFlags::ST_NODEV, libc::MOUNT_ATTR_NODEV),
        (FsFlags::ST_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    ];
    let has = pairs.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |all, (_, attr)| all | attr);
    Ok(has | ACCESS_TIME)
}

/// `remount`: what is mounted there changes its attributes.
fn existing(root: &Root, m: &Mount) -> Result<OwnedFd> {
    let fd = root.find(&m.destination).step("cannot open the mount destination")?;
    if !mount::mount_identity(fd.as_fd()).step("cannot stat the mount")?.1 {
        return Err(Error::new("cannot remount: nothing is mounted there"));
    }
    set_attributes(&fd, m.attr).map(|()| fd)
}
