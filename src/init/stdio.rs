//! stdin, stdout and stderr without a terminal: handed over as they are.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat, major, minor};
use nix::unistd::{Uid, fchown};

use crate::error::{Error, Result, Step};
use crate::spec::plan::{IdMaps, Process};
use crate::sys;
use crate::sys::path::{Root, is_type};
use crate::sys::procfs::Procfs;

/// Gives stdio to the container's user, and replaces the host's null device by
/// the container's.
///
/// # Errors
/// Names the step.
pub fn hand_over(process: &Process, root: &Root, proc: &Procfs) -> Result<()> {
    let mut null = None;
    for number in 0..=2 {
        let Some(fd) = sys::fd::inherited(number) else { continue };
        let stat = fstat(fd).step("cannot stat stdio")?;
        if is_null(&stat) {
            if null.is_none() {
                null = container_null(root, proc)?;
            }
            if let Some(null) = &null {
                sys::fd::dup_onto(null, number).step("cannot reopen stdio on /dev/null")?;
            }
        } else if !is_type(&stat, SFlag::S_IFCHR) && stat.st_uid != process.uid {
            give(fd, process.uid)?;
        }
    }
    Ok(())
}

/// Gives stdio to the user of a process in a user namespace, which the process
/// could not do itself. For the host side, before there is one.
///
/// # Errors
/// The errno of fstat(2) or fchown(2).
pub fn give_to(ids: &IdMaps, process: &Process) -> Result<()> {
    let Some(uid) = IdMaps::on_host(&ids.uid, process.uid) else { return Ok(()) };
    for fd in (0..=2).filter_map(sys::fd::inherited) {
        let stat = fstat(fd).step("cannot stat stdio")?;
        if !is_type(&stat, SFlag::S_IFCHR) && stat.st_uid != uid {
            give(fd, uid)?;
        }
    }
    Ok(())
}

/// So that `/dev/stdout` can be opened again by the user (engine-contract §2.3).
/// Odd files that have no owner to change are left alone.
fn give(fd: BorrowedFd<'_>, uid: u32) -> Result<()> {
    match fchown(fd, Some(Uid::from_raw(uid)), None) {
        Ok(()) | Err(Errno::EPERM | Errno::EROFS | Errno::EINVAL | Errno::ENOENT | Errno::ENOSYS) => Ok(()),
        Err(e) => Err(Error::sys("cannot give stdio to the user", e)),
    }
}

fn is_null(stat: &FileStat) -> bool {
    is_type(stat, SFlag::S_IFCHR) && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

/// The container's null device; `None` when what is at that path is something
/// else, which is then never opened (CVE-2026-88265).
fn container_null(root: &Root, proc: &Procfs) -> Result<Option<OwnedFd>> {
    let Ok(node) = root.find("/dev/null") else { return Ok(None) };
    let step = "cannot open the container's /dev/null";
    if !is_null(&fstat(&node).step(step)?) {
        return Ok(None);
    }
    let number = CString::new(node.as_raw_fd().to_string()).map_err(|_| Error::new(step))?;
    match proc.magic_link(c"self/fd", &number, OFlag::O_RDWR) {
        Ok(fd) => Ok(Some(fd)),
        // A nodev mount or a device filter: the host's null serves as well.
        Err(Errno::EACCES | Errno::EPERM) => Ok(None),
        Err(e) => Err(Error::sys(step, e)),
    }
}
