//! Device nodes and the links of `/dev`.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, makedev, minor, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::error::{Error, Result, Step};
use crate::spec::plan::{Device, DeviceType, NamespaceKind, Plan};
use crate::sys::mount;
use crate::sys::path::{Create, Parents, Root, is_type, stat_at, unlink_at};

/// The links every container has (runtime-spec config-linux, "Dev symbolic links").
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

/// Makes the devices and links, unless the config binds a `/dev` of its own.
///
/// # Errors
/// Names the device, its field and its path.
pub fn populate(plan: &Plan, root: &Root) -> Result<()> {
    if !plan.populate_dev {
        return Ok(());
    }
    let mut parents = Parents::of(root);
    let own_mounts = plan.namespaces.has(NamespaceKind::Mount);
    for device in &plan.devices {
        make(&mut parents, device, own_mounts).map_err(|e| {
            let field = device.index.map_or("default device".to_owned(), |i| format!("linux.devices[{i}]"));
            e.in_field(field).path(&device.path)
        })?;
    }
    for (path, target) in LINKS {
        link(&mut parents, path, target, false).map_err(|e| e.path(path))?;
    }
    // The container's own pty multiplexer, whatever the rootfs brought along.
    link(&mut parents, "/dev/ptmx", "pts/ptmx", true).map_err(|e| e.path("/dev/ptmx"))
}

fn node_type(kind: DeviceType) -> SFlag {
    match kind {
        DeviceType::Char => SFlag::S_IFCHR,
        DeviceType::Block => SFlag::S_IFBLK,
        DeviceType::Fifo => SFlag::S_IFIFO,
    }
}

fn make(parents: &mut Parents<'_>, device: &Device, own_mounts: bool) -> Result<()> {
    let step = "cannot make the device";
    let root = parents.root();
    let (dir, name) = parents.parent(&device.path).step(step)?;
    let kind = node_type(device.kind);
    let number = if device.kind == DeviceType::Fifo { 0 } else { makedev(device.major.into(), device.minor.into()) };
    let mode = Mode::from_bits_truncate(device.mode);
    match mknodat(dir, name.as_c_str(), kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return check_existing(dir, &name, kind, number),
        Err(Errno::EPERM) if own_mounts => return bind_host_device(root, device, number),
        Err(e) => return Err(Error::sys(step, e)),
    }
    // The mode is as it should be: init has cleared its umask.
    if device.uid == 0 && device.gid == 0 {
        return Ok(());
    }
    // By an fd, for somebody may have put something else there since.
    let step = "cannot set the device's owner";
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let node = openat(dir, name.as_c_str(), flags, Mode::empty()).step(step)?;
    is_device(&fstat(&node).step(step)?, kind, number)?;
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    fchownat(&node, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH).step(step)
}

/// What is there already must be the same device: a symlink or file in its
/// place would have the program write to something else (CVE-2026-88265).
fn check_existing(dir: BorrowedFd<'_>, name: &std::ffi::CStr, kind: SFlag, number: u64) -> Result<()> {
    is_device(&stat_at(dir, name).step("cannot stat the device")?, kind, number)
}

fn is_device(stat: &FileStat, kind: SFlag, number: u64) -> Result<()> {
    if is_type(stat, kind) && (kind == SFlag::S_IFIFO || stat.st_rdev == number) {
        return Ok(());
    }
    Err(Error::sys("cannot make the device", Errno::EEXIST)
        .message("something else is there in the rootfs")
        .hint("mount a tmpfs on /dev"))
}

/// Where mknod is not allowed, the host's node is bound instead.
fn bind_host_device(root: &Root, device: &Device, number: u64) -> Result<()> {
    let step = "cannot make the device, nor bind the host's";
    let host = open(Path::new(&device.path), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).step(step)?;
    let stat = fstat(&host).step(step)?;
    if !is_type(&stat, node_type(device.kind)) || stat.st_rdev != number {
        let found = format!("the host's node is {}:{}", major(stat.st_rdev), minor(stat.st_rdev));
        return Err(Error::sys(step, Errno::EPERM).message(found));
    }
    let tree = mount::clone_tree(host.as_fd(), false).step(step)?;
    let (to, _) = root.find_or_create(&device.path, Create::File).step(step)?;
    mount::attach(&tree, &to).step(step)
}

/// Makes a link unless something is there; `replace` puts it in place of a file that differs.
fn link(parents: &mut Parents<'_>, path: &str, target: &str, replace: bool) -> Result<()> {
    let step = "cannot make the link";
    let (dir, name) = parents.parent(path).step(step)?;
    match symlinkat(target, dir, name.as_c_str()) {
        Err(Errno::EEXIST) if replace => {
            let same = nix::fcntl::readlinkat(dir, name.as_c_str()).is_ok_and(|t| t == target);
            if same {
                return Ok(());
            }
            match unlink_at(dir, &name) {
                // The config has mounted one there: podman does with --privileged in a user namespace.
                Err(Errno::EBUSY) => Ok(()),
                gone => gone.and_then(|()| symlinkat(target, dir, name.as_c_str())).step(step),
            }
        }
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        // A read-only /dev in the rootfs keeps what it has.
        Err(Errno::EROFS) => Ok(()),
        Err(e) => Err(Error::sys(step, e)),
    }
}
