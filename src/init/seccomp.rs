//! The filter: the last thing that is done before the execve.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::Common;
use super::sync::{Channel, Message};
use crate::error::{Error, Result, Step};
use crate::seccomp::Filter;
use crate::spec::plan::Process;
use crate::sys::{self, ids, seccomp};

/// By which a filter may be loaded without `no_new_privs`.
pub const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The capability that must be kept until the filter is loaded: seccomp(2)
/// takes one from a process with `no_new_privs`, or with `CAP_SYS_ADMIN`.
pub fn needed_right(filter: Option<&Filter>, process: &Process) -> u64 {
    if filter.is_some() && !process.no_new_privileges { CAP_SYS_ADMIN } else { 0 }
}

/// Loads the filter. From here on every system call may be refused, so if a
/// listener has to be handed over, the other side fetches it by itself.
///
/// # Errors
/// Names the field and the errno.
pub fn load(filter: &Filter, process: &Process, common: &Common) -> Result<()> {
    let channel = &common.channel;
    let step = "cannot load the seccomp filter";
    let field = |e: Error| e.in_field("linux.seccomp");
    let listener = filter.setup.listener.as_ref();
    let mut flags = filter.setup.flags;
    if needed_right(Some(filter), process) != 0 {
        raise(CAP_SYS_ADMIN).step(step).map_err(field)?;
    }
    if listener.is_some() {
        flags |= seccomp::NEW_LISTENER;
        if common.rootless {
            // An unprivileged user may take nothing from a process that hides.
            // This one has only the program's rights left, and no directory open.
            ids::set_dumpable(true).step(step)?;
        }
        channel.send(&Message::Listener(next_number(channel).step(step)?))?;
    }
    let number = seccomp::load(&filter.program, flags).map_err(|e| field(refused(step, e)))?;
    if let Some(listener) = listener {
        if channel.wait().is_err() {
            // Nobody is left to be told, and whatever is called from here on
            // may wait for an agent that will never have the listener.
            sys::process::die();
        }
        // The filter may have it fail, then there is nothing to be done about it.
        let _ = if listener.may_close { nix::unistd::close(number) } else { Ok(()) };
    }
    Ok(())
}

/// Makes a capability effective that is only permitted, if it is.
fn raise(cap: u64) -> nix::Result<()> {
    match ids::get_caps()? {
        (effective, permitted, inheritable) if permitted & !effective & cap != 0 => {
            ids::set_caps(effective | cap, permitted, inheritable)
        }
        _ => Ok(()),
    }
}

/// The number that the next descriptor will get: the lowest that is free.
fn next_number(channel: &Channel) -> nix::Result<i32> {
    let number = fcntl(channel, FcntlArg::F_DUPFD_CLOEXEC(0))?;
    nix::unistd::close(number).map(|()| number)
}

/// What an errno of seccomp(2) means here.
pub fn refused(step: &'static str, errno: Errno) -> Error {
    let e = Error::sys(step, errno);
    match errno {
        Errno::EACCES => e.hint("without process.noNewPrivileges it takes CAP_SYS_ADMIN"),
        Errno::ENOSYS => e.hint("this kernel has no seccomp, or a filter around this process hides it"),
        Errno::EPERM => e.hint("a filter around this process forbids it"),
        Errno::EINVAL => e.hint("this kernel does not know one of linux.seccomp.flags or of the actions"),
        Errno::EBUSY => e.hint("the caller's own filter has a listener already"),
        Errno::ENOMEM => e.hint("the filters of this process and of those around it are too long together"),
        _ => e,
    }
}
