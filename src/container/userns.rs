//! A user namespace that is joined by path.
//!
//! All that is made for the container must be owned by that namespace, the
//! pid namespace that init is born in as well. So it is entered first, by a
//! process that then gives birth to init, as a child of ours and not of its
//! own, and is done.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::error::{Error, Result, Step};
use crate::init::userns::of_process;
use crate::spec::plan::{IdMaps, NamespaceKind, Plan};
use crate::sys;
use crate::sys::process::Fork;
use crate::sys::procfs::Procfs;

/// What the maps of the namespace are. A config may give them again, and must
/// then be right (containerd and CRI-O send both).
///
/// # Errors
/// Names the field that says something else.
pub fn take_maps(plan: &mut Plan, userns: &OwnedFd, proc: &Procfs) -> Result<()> {
    let found = maps_of(userns, proc)?;
    let same = |field: &str, given: &[_], found: &[_]| match given.is_empty() || given == found {
        true => Ok(()),
        false => {
            let text = IdMaps::text(found).trim_end().replace('\n', ", ");
            let text = if text.is_empty() { "none" } else { &text };
            Err(Error::field(field, format!("the namespace that is joined has another map: {text}")))
        }
    };
    same("linux.uidMappings", &plan.ids.uid, &found.uid)?;
    same("linux.gidMappings", &plan.ids.gid, &found.gid)?;
    if plan.ids.is_empty() {
        plan.cgroup.owner = plan.cgroup.owner.and_then(|uid| IdMaps::on_host(&found.uid, uid));
    }
    plan.ids = found;
    plan.process.as_ref().map_or(Ok(()), |process| crate::spec::check_ids(process, &plan.ids))
}

/// Only processes show maps: one enters the namespace for it.
fn maps_of(userns: &OwnedFd, proc: &Procfs) -> Result<IdMaps> {
    let step = "cannot read the maps of the user namespace";
    let (ours, theirs) = pair()?;
    match sys::process::fork(0, None).step(step)? {
        Fork::Child => {
            let entered = sys::process::join(userns, NamespaceKind::User.clone_flag());
            let _ = nix::unistd::write(&theirs, &[entered.err().map_or(0, |e| e as u8)]);
            sys::process::do_nothing()
        }
        Fork::Parent { pid, pidfd } => {
            drop(theirs);
            let mut errno = [0];
            let read = match nix::unistd::read(&ours, &mut errno).step(step) {
                Ok(1) if errno == [0] => of_process(pid, proc),
                Ok(1) => Err(Error::sys("cannot join the user namespace", Errno::from_raw(errno[0].into()))),
                Ok(_) => Err(Error::new(step).message("the process that looks at it has died")),
                Err(e) => Err(e),
            };
            let _ = sys::process::pidfd_kill(&pidfd, libc::SIGKILL);
            let _ = sys::process::wait(&pidfd);
            read
        }
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).step("cannot make a socket pair")
}

/// Forks a child of ours that is in a user namespace, with new namespaces that belong to it.
///
/// # Errors
/// The errno of clone3(2) or setns(2).
pub fn fork_in(
    userns: &OwnedFd,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    proc: &Procfs,
) -> std::result::Result<Fork, Errno> {
    let (ours, theirs) = pair().map_err(|_| Errno::EMFILE)?;
    match sys::process::fork(0, cgroup)? {
        Fork::Child => {
            drop(ours);
            let born = sys::process::join(userns, NamespaceKind::User.clone_flag())
                .and_then(|()| sys::process::fork_sibling(flags));
            let sent = match born {
                Ok(Fork::Child) => return Ok(Fork::Child),
                Ok(Fork::Parent { pidfd, .. }) => sys::socket::send_fd(&theirs, &[0], pidfd.as_fd()).map(drop),
                Err(e) => nix::unistd::write(&theirs, &[e as u8]).map(drop),
            };
            sys::process::exit_now(sent.is_err().into())
        }
        Fork::Parent { pidfd: midwife, .. } => {
            drop(theirs);
            let mut errno = [0];
            let received = sys::socket::recv_fd(&ours, &mut errno);
            let _ = sys::process::wait(&midwife);
            match received? {
                (_, Some(pidfd)) => Ok(Fork::Parent { pid: pid_of(&pidfd, proc)?, pidfd }),
                (1, None) => Err(Errno::from_raw(errno[0].into())),
                _ => Err(Errno::ECHILD),
            }
        }
    }
}

/// The number of a process as procfs has it.
fn pid_of(pidfd: &OwnedFd, proc: &Procfs) -> nix::Result<i32> {
    let name = std::ffi::CString::new(format!("self/fdinfo/{}", pidfd.as_raw_fd())).map_err(|_| Errno::EINVAL)?;
    let text = String::from_utf8_lossy(&proc.read(&name)?).into_owned();
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.filter(|pid| *pid > 0).ok_or(Errno::ESRCH)
}
