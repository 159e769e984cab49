//! The agent: a process outside that decides calls which a filter leaves to it
//! (runtime-spec config-linux.md, "The Container Process State").

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::Listener;
use crate::error::{Error, Result, Step};
use crate::hooks::HookState;
use crate::sys;

/// How long an agent may take to accept a connection and to make room for what is sent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at whether init has loaded its filter, which takes less.
const INTERVAL_MS: u16 = 1;
const STEP: &str = "cannot hand the seccomp listener to its agent";

/// What an agent is told, with the listener.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a HookState<'a>,
}

/// Takes the listener that a process has, or is just about to have, as `number`.
///
/// The process does nothing for it: after its filter is in force, anything it
/// did might wait for an agent that has no listener yet. `channel` is readable
/// when the process has failed or is gone.
///
/// # Errors
/// `None` when there is something to read from the channel first; the errno of pidfd_getfd(2).
pub fn take(pidfd: impl AsFd, number: RawFd, channel: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let step = "cannot take the seccomp listener from the process";
    loop {
        match sys::process::pidfd_getfd(&pidfd, number) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno::EBADF) => {}
            Err(Errno::ESRCH) => return Ok(None),
            Err(e @ Errno::EPERM) => return Err(Error::sys(step, e).hint("it takes CAP_SYS_PTRACE")),
            Err(e) => return Err(Error::sys(step, e)),
        }
        match poll(&mut [PollFd::new(channel, PollFlags::POLLIN)], PollTimeout::from(INTERVAL_MS)) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(None),
            Err(e) => return Err(Error::sys(step, e)),
        }
    }
}

/// Hands a listener to the agent: one connection, one message (engine-contract §2.12).
///
/// # Errors
/// Names the field and the path: nobody is there, or does not accept in time.
pub fn deliver(to: &Listener, listener: OwnedFd, pid: i32, state: &HookState<'_>) -> Result<()> {
    let report =
        ProcessState { oci_version: state.oci_version, fds: ["seccompFd"], pid, metadata: &to.metadata, state };
    let text = serde_json::to_vec(&report).map_err(|e| Error::new(STEP).message(e.to_string()))?;
    send(to, &text, listener.as_fd()).map_err(|e| {
        let error = Error::sys(STEP, e).in_field("linux.seccomp.listenerPath").path(&to.path);
        match e {
            Errno::ECONNREFUSED | Errno::ENOENT => error.hint("no agent listens there"),
            Errno::EPIPE | Errno::ECONNRESET => error.hint("the agent hung up"),
            Errno::EAGAIN => error.hint(format!("the agent did not take it within {} s", PATIENCE.as_secs())),
            _ => error,
        }
    })
}

fn send(to: &Listener, text: &[u8], listener: BorrowedFd<'_>) -> nix::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let socket = sys::socket::connect_stream_within(&to.path, PATIENCE)?;
    let mut sent = sys::socket::send_fd(&socket, text, listener)?;
    // A long message may go in parts; the fd is with the first.
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        if Instant::now() > deadline {
            return Err(Errno::EAGAIN);
        }
        sent += nix::sys::socket::send(socket.as_raw_fd(), rest, nix::sys::socket::MsgFlags::MSG_NOSIGNAL)?;
    }
    Ok(())
}

/// Is there a socket where the agent should be? Told before anything is touched.
///
/// # Errors
/// Names the field and the path.
pub fn check(to: &Listener) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let field = "linux.seccomp.listenerPath";
    let found = std::fs::metadata(&to.path).step_at("", &to.path).map_err(|e| e.in_field(field))?;
    if found.file_type().is_socket() { Ok(()) } else { Err(Error::field(field, "not a socket").path(&to.path)) }
}
