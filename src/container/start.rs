//! `start`: lets a created container's init become its program.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, connect, socket};

use super::handle::{Handle, START_SOCKET};
use super::launch::{Interrupts, until_execve};
use super::state::{State, Status};
use super::{Runtime, kill, notify};
use crate::error::{Error, Result, Step};
use crate::hooks;
use crate::init::sync::{Channel, Message};
use crate::sys;

/// Starts a created container and returns when its program runs.
///
/// # Errors
/// The texts of engine-contract §1.10 for other states; what init says when
/// its program cannot be executed.
pub fn start(rt: &Runtime, id: &str) -> Result<()> {
    let (handle, state) = Handle::open_with_state(rt, id)?;
    let lock = handle.lock()?;
    let (status, init) = handle.status(&state)?;
    match status {
        Status::Created => {}
        Status::Running => return Err(Error::new("cannot start an already running container")),
        Status::Paused => return Err(Error::new("cannot start a container in the paused state")),
        Status::Stopped | Status::Creating => return Err(Error::new("cannot start a container that has stopped")),
    }
    if state.orlop.process.is_none() {
        return Err(Error::field("process", "the config had none, so there is nothing to start"));
    }
    let Some(init) = init else { return Err(Error::new("cannot start a container that has stopped")) };
    let notify = notify::listen(&handle)?;
    let channel = dial(&handle)?;
    channel.send(&Message::Continue).map_err(|e| e.during("cannot start the container"))?;
    until_execve(&channel, None, state.init_executing(init.as_fd())).inspect_err(|_| {
        // So that the container is stopped when `start` has failed.
        let _ = kill::end(&state);
    })?;
    handle.forget_created()?;
    poststart(&state, None)?;
    drop(lock);
    notify.map_or(Ok(()), |notify| notify.forward_until_ready(&init, state.init_process_pid, None))
}

fn dial(handle: &Handle) -> Result<Channel> {
    let step = "cannot reach the container's init";
    let sock = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).step(step)?;
    let path = handle.path().join(START_SOCKET);
    match sys::socket::with_short_name(&path, |addr| connect(sock.as_raw_fd(), addr)) {
        Ok(()) => Ok(Channel::new(sock)),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Err(Error::new("cannot start a container that has stopped")),
        Err(e) => Err(Error::sys(step, e).path(path)),
    }
}

/// poststart hooks; a failure ends the container (runtime-spec 1.2).
///
/// # Errors
/// Names the hook; the signal that interrupted it.
pub fn poststart(state: &State, interrupts: Option<&Interrupts>) -> Result<()> {
    let own = &state.orlop;
    let report = state.report("running");
    let done = hooks::run_all(&own.poststart, &report, Some(&own.bundle), None, interrupts.map(Interrupts::as_fd));
    done.map_err(|e| {
        let _ = kill::end(state);
        match interrupts {
            Some(interrupts) => interrupts.explain(e),
            None => e,
        }
    })
}
