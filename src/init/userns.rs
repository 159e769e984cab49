//! User namespaces that nobody lives in: maps for id-mapped mounts.

use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;

use super::credentials;
use crate::error::{Error, Result, Step};
use crate::spec::plan::{IdMaps, IdRange, NamespaceKind};
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
            let maps = [("gid_map", &maps.gid, "gidMappings"), ("uid_map", &maps.uid, "uidMappings")];
            let written = maps
                .iter()
                .try_for_each(|(file, map, name)| write_map(pid, file, map, proc).map_err(|e| e.message(*name)));
            let made = written.and_then(|()| of(pid, proc));
            let _ = process::pidfd_kill(&pidfd, libc::SIGKILL);
            let _ = process::wait(&pidfd);
            made
        }
    }
}

/// Writes `uid_map` or `gid_map` of a process's new user namespace.
///
/// # Errors
/// The errno of the write (user_namespaces(7)).
pub fn write_map(pid: i32, file: &str, map: &[IdRange], proc: &Procfs) -> Result<()> {
    let text = IdMaps::text(map);
    proc.write(&credentials::of_process(pid, file)?, text.as_bytes()).step("cannot write the id map")
}

/// The maps of the user namespace a process is in.
///
/// # Errors
/// The errno of reading them, or a map that is none.
pub fn of_process(pid: i32, proc: &Procfs) -> Result<IdMaps> {
    let step = "cannot read the id map";
    let read = |file| -> Result<Vec<IdRange>> {
        let text = proc.read(&credentials::of_process(pid, file)?).step(step)?;
        let number = |n: &str| n.parse().map_err(|_| Error::new(step).message(format!("{n:?} is not a number")));
        let line = |line: &str| match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
            [container, host, size] => {
                Ok(IdRange { container: number(container)?, host: number(host)?, size: number(size)? })
            }
            _ => Err(Error::new(step).message(format!("{line:?} is not a range"))),
        };
        String::from_utf8_lossy(&text).lines().map(line).collect()
    };
    Ok(IdMaps { uid: read("uid_map")?, gid: read("gid_map")? })
}

/// The user namespace of a process, 0 for this one.
///
/// # Errors
/// The errno of opening it.
pub fn of(pid: i32, proc: &Procfs) -> Result<OwnedFd> {
    proc.magic_link(&credentials::of_process(pid, "ns")?, c"user", OFlag::O_RDONLY)
        .step("cannot open the user namespace")
}
