//! `kill`: a signal for init, or an end for everybody.

use nix::errno::Errno;

use super::Runtime;
use super::handle::{Handle, open_cgroup};
use super::state::State;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::sys;

/// Sends a signal to init. SIGKILL to a container without a pid namespace of
/// its own goes to its whole cgroup, since init's end would not be everyone's.
/// With `all` every process gets the signal, and a stopped container is fine.
///
/// # Errors
/// `container not running`.
pub fn kill(rt: &Runtime, id: &str, signal: i32, all: bool) -> Result<()> {
    let (_, state) = Handle::open_with_state(rt, id)?;
    let everyone = all || (signal == libc::SIGKILL && !state.orlop.own_pids);
    let init = state.init()?;
    if everyone && let Some(cgroup) = open_cgroup(&state)? {
        return if init.is_some() || all { signal_all(&cgroup, signal) } else { Err(not_running(id)) };
    }
    match init {
        Some(init) => signal_init(&init, signal, id),
        None if all => Ok(()),
        None => Err(not_running(id)),
    }
}

fn not_running(id: &str) -> Error {
    Error::new("container not running").message(format!("{id:?}"))
}

fn signal_init(init: &std::os::fd::OwnedFd, signal: i32, id: &str) -> Result<()> {
    match sys::process::pidfd_kill(init, signal) {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => Err(not_running(id)),
        Err(e) => Err(Error::sys(format!("cannot send signal {signal}"), e)),
    }
}

fn signal_all(cgroup: &Cgroup, signal: i32) -> Result<()> {
    if signal == libc::SIGKILL {
        return cgroup.kill();
    }
    for pid in cgroup.processes()? {
        // The list is of this moment; who has left it since is not signalled by number.
        let Ok(pidfd) = sys::process::pidfd_open(pid) else { continue };
        if cgroup.processes()?.contains(&pid) {
            match sys::process::pidfd_kill(&pidfd, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => return Err(Error::sys(format!("cannot send signal {signal} to process {pid}"), e)),
            }
        }
    }
    Ok(())
}

/// Ends everything in a container and waits until init is gone.
///
/// # Errors
/// When it does not die within 10 s.
pub fn end(state: &State) -> Result<()> {
    let init = state.init()?;
    if let Some(cgroup) = open_cgroup(state)? {
        // A frozen cgroup lets SIGKILL through (Linux 5.2).
        cgroup.kill()?;
    }
    let Some(init) = init else { return Ok(()) };
    match sys::process::pidfd_kill(&init, libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => return Err(Error::sys("cannot kill init", e)),
    }
    match sys::process::wait_exit(&init, 10_000) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new("cannot kill init").message("it is still there after 10 s")),
        Err(e) => Err(Error::sys("cannot wait for init's end", e)),
    }
}
