//! User namespaces that nobody lives in: maps for id-mapped mounts.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;

use super::credentials::of_process;
use crate::error::{Error, Result, Step};
use crate::spec::plan::{IdMaps, NamespaceKind};
use crate::sys::process::{self, Fork};
use crate::sys::procfs::Procfs;

const STEP: &str = "cannot make a user namespace for the mount's ids";

/// A user namespace with these maps.
///
/// # Errors
/// Names the map and the errno.
pub fn with_maps(maps: &IdMaps, proc: &Procfs) -> Result<OwnedFd> {
    match process::fork(NamespaceKind::User.clone_flag(), None).step(STEP)? {
        Fork::Child => process::do_nothing(),
        Fork::Parent { pid, pidfd } => {
            let made = write_maps(pid, maps, proc).and_then(|()| of(pid, proc));
            let _ = process::pidfd_kill(&pidfd, libc::SIGKILL);
            let _ = process::wait(&pidfd);
            made
        }
    }
}

/// Writes the maps of a process's new user namespace.
///
/// # Errors
/// Names the map and the errno.
pub fn write_maps(pid: i32, maps: &IdMaps, proc: &Procfs) -> Result<()> {
    for (file, map, field) in [("gid_map", &maps.gid, "gidMappings"), ("uid_map", &maps.uid, "uidMappings")] {
        proc.write(&of_process(pid, file)?, IdMaps::text(map).as_bytes())
            .step("cannot write the id map")
            .map_err(|e| e.message(field))?;
    }
    Ok(())
}

/// The user namespace of a process.
///
/// # Errors
/// The errno of opening it.
pub fn of(pid: i32, proc: &Procfs) -> Result<OwnedFd> {
    let dir = CString::new(format!("{pid}/ns")).map_err(|_| Error::new(STEP))?;
    proc.magic_link(&dir, c"user", OFlag::O_RDONLY).step("cannot open the user namespace")
}
