//! Namespaces as the host side sees them: opened, checked, compared.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::{Error, Result, Step};
use crate::spec::plan::{NamespaceKind, Namespaces, Plan};
use crate::sys;
use crate::sys::procfs::Procfs;

/// Opens the namespaces to be joined and checks that each is of its type.
///
/// # Errors
/// Names `linux.namespaces[i].path`.
pub fn open_joined(namespaces: &Namespaces) -> Result<Vec<(usize, NamespaceKind, OwnedFd)>> {
    let mut opened = Vec::new();
    for (index, kind, path) in &namespaces.join {
        let failed = |e: Errno| {
            Error::sys(format!("cannot open the {} namespace", kind.spec_name()), e)
                .in_field(format!("linux.namespaces[{index}].path"))
                .path(path)
        };
        let fd = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty()).map_err(failed)?;
        match sys::process::namespace_type(&fd) {
            Ok(flag) if flag == kind.clone_flag() => opened.push((*index, *kind, fd)),
            Ok(flag) => {
                let is =
                    NamespaceKind::ALL.iter().find(|k| k.clone_flag() == flag).map_or("unknown", |k| k.spec_name());
                return Err(Error::field(
                    format!("linux.namespaces[{index}].path"),
                    format!("is a {is} namespace, not {}", kind.spec_name()),
                )
                .path(path));
            }
            Err(Errno::ENOTTY | Errno::EINVAL) => {
                return Err(Error::field(format!("linux.namespaces[{index}].path"), "is not a namespace").path(path));
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(opened)
}

/// Are network devices to be moved to a network namespace that is our own?
///
/// # Errors
/// Names `linux.netDevices`; the errno of fstat(2) and the like.
pub fn check_net_devices(plan: &Plan, joined: &[(usize, NamespaceKind, OwnedFd)], proc: &Procfs) -> Result<()> {
    let joined = joined.iter().find(|(_, kind, _)| *kind == NamespaceKind::Network);
    let Some((index, _, namespace)) = joined.filter(|_| !plan.net_devices.is_empty()) else { return Ok(()) };
    let step = "cannot compare network namespaces";
    let own = proc.magic_link(c"self/ns", c"net", OFlag::O_RDONLY).step(step)?;
    let inode = |fd: &OwnedFd| nix::sys::stat::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).step(step);
    if inode(&own)? == inode(namespace)? {
        let text = format!("they are there already: linux.namespaces[{index}].path is the network namespace of orlop");
        return Err(Error::field("linux.netDevices", text).during("invalid config"));
    }
    Ok(())
}

/// The `CLONE_NEW*` flags of the namespaces in which a process differs from
/// us: joining just those works without privileges over the others.
///
/// # Errors
/// The errno of opening or reading `/proc/PID/ns`.
pub fn differing(proc: &Procfs, pid: i32) -> Result<u64> {
    let (ours, theirs) = (directory(proc, "self")?, directory(proc, &pid.to_string())?);
    let mut flags = 0;
    for kind in NamespaceKind::ALL {
        if inode(&ours, kind)? != inode(&theirs, kind)? {
            flags |= kind.clone_flag();
        }
    }
    Ok(flags)
}

/// `/proc/PID/ns` of a process (`self` for our own).
///
/// # Errors
/// The errno of opening it.
pub fn directory(proc: &Procfs, process: &str) -> Result<OwnedFd> {
    let step = "cannot compare namespaces";
    let name = std::ffi::CString::new(format!("{process}/ns")).map_err(|_| Error::new(step))?;
    proc.file(&name, OFlag::O_PATH | OFlag::O_DIRECTORY).step(step)
}

/// The inode number of a namespace in a [`directory`]; `None` where the kernel has no such kind.
///
/// # Errors
/// The errno of fstatat(2).
pub fn inode(directory: &OwnedFd, kind: NamespaceKind) -> Result<Option<u64>> {
    match nix::sys::stat::fstatat(directory, kind.proc_name(), nix::fcntl::AtFlags::empty()) {
        Ok(stat) => Ok(Some(stat.st_ino)),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(Error::sys("cannot compare namespaces", e)),
    }
}

/// Children of this process are born in another pid namespace, until this is dropped.
#[derive(Debug)]
pub struct ChildrenIn(OwnedFd);

impl ChildrenIn {
    /// Enters for children (setns(2) with a pid namespace changes only them).
    ///
    /// # Errors
    /// The errno of setns(2).
    pub fn join(proc: &Procfs, namespace: BorrowedFd<'_>) -> Result<Self> {
        let step = "cannot join the pid namespace";
        let own = proc.magic_link(c"self/ns", c"pid", OFlag::O_RDONLY).step(step)?;
        sys::process::join(namespace, NamespaceKind::Pid.clone_flag()).step(step)?;
        Ok(Self(own))
    }
}

impl Drop for ChildrenIn {
    fn drop(&mut self) {
        // Hooks are children too, and belong to our own namespace. Our own
        // active namespace can always be joined again.
        let _ = sys::process::join(&self.0, NamespaceKind::Pid.clone_flag());
    }
}
