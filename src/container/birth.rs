//! Where a process is born: in which cgroup and namespaces.
//!
//! All that is made for a container must be owned by its user namespace, the
//! pid namespace that init is born in as well. So one that is joined is entered
//! first, by a process that then gives birth to the one we want, as a child of
//! ours and not of its own, and is done.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::launch::not_forked;
use super::namespaces::ChildrenIn;
use super::rootless;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, Step};
use crate::init::userns::of_process;
use crate::spec::plan::{IdMaps, NamespaceKind, Plan};
use crate::sys;
use crate::sys::process::Fork;
use crate::sys::procfs::Procfs;

const USER: u64 = NamespaceKind::User.clone_flag();
const PID: u64 = NamespaceKind::Pid.clone_flag();

/// A process to be born.
#[derive(Debug)]
pub struct Birth<'a> {
    /// What to say when it fails.
    pub step: &'static str,
    /// `CLONE_NEW*` of the namespaces that are made for it.
    pub flags: u64,
    /// Its cgroup.
    pub cgroup: Option<&'a Cgroup>,
    /// Namespaces to join before the new ones are made, in this order, with
    /// their `CLONE_NEW*` flag: themselves, or a pidfd of a process in them.
    pub first: Vec<(BorrowedFd<'a>, u64)>,
    /// The pid namespace, given in the same way.
    pub pidns: Option<BorrowedFd<'a>>,
    /// procfs.
    pub proc: &'a Procfs,
}

impl Birth<'_> {
    /// Forks.
    ///
    /// # Errors
    /// The errno of clone3(2) or setns(2), with what the cgroup has to do with
    /// it; what systemd says when it is to move the process.
    pub fn fork(&self) -> Result<Fork> {
        // Whoever may enter the pid namespace only as somebody of the user namespace does it there.
        let in_userns = self.first.iter().any(|(_, kind)| *kind == USER);
        let late = self.pidns.filter(|_| in_userns && rootless::is());
        let early = self.pidns.filter(|_| late.is_none());
        let children_in = early.map(|pidns| ChildrenIn::join(self.proc, pidns)).transpose()?;
        let forked = match self.once(self.cgroup.map(Cgroup::fd), late, None) {
            // From where we are it is not ours to put a process there. The
            // user's systemd has the system's do it (cgroups(7), "Delegation containment").
            Err(e) if e.raw_errno() == Some(libc::EACCES) && self.cgroup.is_some_and(Cgroup::adopts) => {
                self.once(None, late, self.cgroup)
            }
            other => other,
        };
        if let Ok(Fork::Child) = forked {
            // Where to go back to is the parent's affair.
            std::mem::forget(children_in);
        }
        forked
    }

    fn once(
        &self,
        cgroup: Option<BorrowedFd<'_>>,
        pidns: Option<BorrowedFd<'_>>,
        adopted_by: Option<&Cgroup>,
    ) -> Result<Fork> {
        let failed = |e| not_forked(self.step, e, self.cgroup);
        let adopt = |pid| adopted_by.map_or(Ok(()), |cgroup| cgroup.adopt(pid));
        if self.first.is_empty() {
            let forked = sys::process::fork(self.flags, cgroup).map_err(failed)?;
            if let Fork::Parent { pid, pidfd } = &forked {
                adopt(*pid).inspect_err(|_| end(pidfd))?;
            }
            return Ok(forked);
        }
        let (ours, theirs) = pair()?;
        match sys::process::fork(0, cgroup).map_err(failed)? {
            Fork::Child => {
                drop(ours);
                Ok(self.midwife(pidns, &theirs))
            }
            Fork::Parent { pid, pidfd } => {
                drop(theirs);
                adopt(pid).inspect_err(|_| end(&pidfd))?;
                nix::unistd::write(&ours, &[0]).map_err(failed)?;
                let mut said = [0; 2];
                let received = sys::socket::recv_fd(&ours, &mut said);
                let _ = sys::process::wait(&pidfd);
                match (received.map_err(failed)?, said) {
                    ((_, Some(pidfd)), _) => {
                        Ok(Fork::Parent { pid: pid_of(&pidfd, self.proc).map_err(failed)?, pidfd })
                    }
                    ((2, None), [errno, kind]) => match NamespaceKind::ALL.get(usize::from(kind)) {
                        Some(kind) => {
                            Err(Error::sys(format!("cannot join the {} namespace", kind.spec_name()), i32::from(errno)))
                        }
                        None => Err(failed(Errno::from_raw(errno.into()))),
                    },
                    _ => Err(failed(Errno::ECHILD)),
                }
            }
        }
    }
}

impl Birth<'_> {
    /// In the process between: returns in the one that is born.
    fn midwife(&self, pidns: Option<BorrowedFd<'_>>, parent: &OwnedFd) -> Fork {
        // Until we are in the cgroup that is passed on; or nobody is left who wants a child.
        if nix::unistd::read(parent, &mut [0]) != Ok(1) {
            sys::process::exit_now(1);
        }
        // What went wrong: the errno, and with which namespace, if with one.
        let number = |flag| NamespaceKind::ALL.iter().position(|kind| kind.clone_flag() == flag).unwrap_or(usize::MAX);
        let mut joined = self.first.iter().copied().chain(pidns.map(|fd| (fd, PID)));
        let born = joined
            .try_for_each(|(fd, kind)| sys::process::join(fd, kind).map_err(|e| [e as u8, number(kind) as u8]))
            .and_then(|()| sys::process::fork_sibling(self.flags).map_err(|e| [e as u8, u8::MAX]));
        let sent = match born {
            Ok(Fork::Child) => return Fork::Child,
            Ok(Fork::Parent { pidfd, .. }) => sys::socket::send_fd(parent, &[0], pidfd.as_fd()).map(drop),
            Err(said) => nix::unistd::write(parent, &said).map(drop),
        };
        sys::process::exit_now(sent.is_err().into())
    }
}

fn end(pidfd: &OwnedFd) {
    let _ = sys::process::pidfd_kill(pidfd, libc::SIGKILL);
    let _ = sys::process::wait(pidfd);
}

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
            let entered = sys::process::join(userns, USER);
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
            end(&pidfd);
            read
        }
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).step("cannot make a socket pair")
}

/// The number of a process as procfs has it.
fn pid_of(pidfd: &OwnedFd, proc: &Procfs) -> nix::Result<i32> {
    let name = std::ffi::CString::new(format!("self/fdinfo/{}", pidfd.as_raw_fd())).map_err(|_| Errno::EINVAL)?;
    let text = String::from_utf8_lossy(&proc.read(&name)?).into_owned();
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.filter(|pid| *pid > 0).ok_or(Errno::ESRCH)
}
