//! criu(8), which saves processes and brings them back: found, started in its
//! RPC mode (`criu swrk`), asked, and answered while it is at work.
//!
//! It is a program of its own and not a library because it has to be: what it
//! restores become children of whoever asked for it, and it may die half-way.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};

use crate::error::{Error, Result, Step};
use crate::init::sync::{Channel, Message};
use crate::sys;
use crate::sys::process::Fork;

mod message;
mod wire;

pub use message::{Action, Feature, Flag, Number, Options, Response, Text};

/// More than any message has.
const MAX_MESSAGE: usize = 64 * 1024;
/// Complaints that fit into one line of ours.
const MAX_COMPLAINTS: usize = 4;
/// Milliseconds it has to undo what it has done.
const ABANDONED_FOR: u16 = 10_000;
/// Where programs are where no `PATH` says so.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program: `--criu`, or the `criu` in `PATH`.
///
/// # Errors
/// That it is not there, with a hint.
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return is_program(path).then(|| path.to_owned()).ok_or_else(|| {
            Error::new("cannot find criu").path(path).message("--criu names no program that can be executed")
        });
    }
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("criu"))
        .find(|path| is_program(path))
        .ok_or_else(|| {
            Error::new("cannot find criu").hint("checkpoint and restore need criu(8) in PATH, or --criu PATH")
        })
}

/// criu wants more than any user may.
///
/// # Errors
/// That this is not root.
pub fn needs_root(step: &'static str) -> Result<()> {
    match nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(Error::sys(step, libc::EPERM).hint("criu needs root")),
    }
}

fn is_program(path: &Path) -> bool {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return false };
    path.is_file() && sys::process::may_execute(&name).is_ok()
}

/// A running `criu swrk`. Dropped, it is killed.
#[derive(Debug)]
pub struct Criu {
    socket: OwnedFd,
    pidfd: OwnedFd,
    waited: bool,
}

/// What criu says while it is at work: the name of the notice (criu(8),
/// "action scripts"), the process it is about, and an fd that comes with it.
#[derive(Debug)]
pub struct Notice {
    /// `post-restore`, …
    pub name: String,
    /// In our pid namespace.
    pub pid: Option<i32>,
    /// The terminal of `orphan-pts-master`.
    pub fd: Option<OwnedFd>,
}

impl Criu {
    /// Starts it, in a cgroup if one is given. `pass` are fds that it keeps, by
    /// the numbers they have here; `prepare` runs in the new process, before it
    /// becomes criu.
    ///
    /// # Errors
    /// The errno of the fork; what `prepare` or the execve says.
    pub fn start(
        program: &Path,
        cgroup: Option<BorrowedFd<'_>>,
        pass: &[RawFd],
        prepare: impl FnOnce() -> Result<()>,
    ) -> Result<Self> {
        let step = "cannot start criu";
        let (ours, child) = Channel::pair()?;
        match sys::process::fork(0, cgroup).step(step)? {
            Fork::Child => {
                drop(ours);
                let error = match prepare() {
                    Ok(()) => execute(program, pass, &child),
                    Err(e) => e,
                };
                let _ = child.send(&Message::Failed(Box::new(error)));
                sys::process::exit_now(1)
            }
            Fork::Parent { pidfd, .. } => {
                drop(child);
                let mut said = vec![0; MAX_MESSAGE];
                let received = sys::socket::recv_fd(&ours, &mut said).step(step);
                let started = received.and_then(|(len, socket)| match (socket, ours.recv()?) {
                    (Some(socket), None) => Ok(socket),
                    (_, Some(Message::Failed(e))) => Err(*e),
                    _ => match Message::decode(said.get(..len).unwrap_or_default()) {
                        Ok(Message::Failed(e)) => Err(*e),
                        _ => Err(Error::new(step).message("it died")),
                    },
                });
                match started {
                    Ok(socket) => Ok(Self { socket, pidfd, waited: false }),
                    Err(e) => {
                        let _ = sys::process::wait(&pidfd);
                        Err(e)
                    }
                }
            }
        }
    }

    /// Asks for something and serves its notices until it is done.
    ///
    /// # Errors
    /// That criu could not do it, in its words; what `serve` says, of which criu
    /// is told that it shall undo what it did; what `wait` says instead of
    /// waiting for the next message.
    pub fn ask(
        &self,
        action: Action,
        options: &Options,
        mut wait: impl FnMut(BorrowedFd<'_>) -> Result<()>,
        mut serve: impl FnMut(Notice) -> Result<()>,
    ) -> Result<Response> {
        self.send(&message::request(action, options))?;
        loop {
            wait(self.socket.as_fd())?;
            let (response, fd) = self.recv()?;
            let Some(name) = response.notice else {
                return if response.success { Ok(response) } else { Err(failed(&response)) };
            };
            let served = serve(Notice { name, pid: response.pid, fd });
            self.send(&message::answer(served.is_ok()))?;
            if let Err(e) = served {
                // It undoes what it has done, and then says so.
                let _ = self.recv();
                return Err(e);
            }
        }
    }

    /// Can this be done here?
    ///
    /// # Errors
    /// When criu does not say.
    pub fn can(&self, feature: Feature) -> Result<bool> {
        self.send(&message::question(feature))?;
        let (response, _) = self.recv()?;
        if response.success { Ok(response.features.contains(&(feature as u32))) } else { Err(failed(&response)) }
    }

    /// Waits for its end.
    pub fn end(mut self) {
        self.waited = true;
        // What it waits for, if it waits for another request.
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let _ = sys::process::wait(&self.pidfd);
    }

    /// Has it undo what it has done, as far as it comes: that nobody listens
    /// any more is a failure for it. Killed, it could leave half made processes.
    pub fn abandon(self) {
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let _ = sys::process::wait_exit(&self.pidfd, ABANDONED_FOR);
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        loop {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop).step("cannot talk to criu"),
            }
        }
    }

    fn recv(&self) -> Result<(Response, Option<OwnedFd>)> {
        let step = "cannot talk to criu";
        let mut buf = vec![0; MAX_MESSAGE];
        let (len, fd) = loop {
            match sys::socket::recv_fd(&self.socket, &mut buf) {
                Err(Errno::EINTR) => {}
                other => break other.step(step)?,
            }
        };
        if len == 0 {
            return Err(Error::new(FAILED).message("it ended without an answer"));
        }
        let read = buf.get(..len).and_then(Response::read);
        read.map(|response| (response, fd)).ok_or_else(|| Error::new(step).message("its answer is none"))
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        if !self.waited {
            let _ = sys::process::pidfd_kill(&self.pidfd, libc::SIGKILL);
            let _ = sys::process::wait(&self.pidfd);
        }
    }
}

const FAILED: &str = "criu failed";

/// Is this what criu said, and not what was made of it here?
pub fn is_from(error: &Error) -> bool {
    error.is_step(FAILED)
}

fn failed(response: &Response) -> Error {
    let e = Error::new(FAILED);
    let e = match &response.message {
        Some(text) => e.message(text.trim()),
        None => e,
    };
    // Its own numbers, negative at times, are the kernel's.
    match response.errno.map(i32::saturating_abs) {
        Some(errno @ 1..) => e.errno(errno),
        _ => e,
    }
}

/// In the child: becomes criu, with stdio, its socket and `pass` open and nothing else.
///
/// The socket is made here, so that for criu, which looks at who has made it,
/// the fds that are named to it are its own. It could not mount anything in
/// directories of another process's mount namespace.
fn execute(program: &Path, pass: &[RawFd], channel: &Channel) -> Error {
    let step = "cannot start criu";
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (socket, theirs) = match pair {
        Ok(pair) => pair,
        Err(e) => return Error::sys(step, e),
    };
    if let Err(e) = sys::socket::send_fd(channel, &[0], theirs.as_fd()) {
        return Error::sys(step, e);
    }
    let number = socket.as_raw_fd();
    let keep: Vec<RawFd> = pass.iter().copied().chain([number, channel.as_raw()]).collect();
    let ready = sys::fd::close_except(3, &keep).and_then(|()| {
        for fd in pass.iter().copied().chain([number]) {
            sys::fd::inherited(fd).map_or(Err(Errno::EBADF), |fd| sys::fd::set_cloexec(fd, false))?;
        }
        sys::process::default_signals();
        sys::process::set_signal_mask(&SigSet::empty())
    });
    if let Err(e) = ready {
        return Error::sys(step, e);
    }
    let text = |text: &OsStr| CString::new(text.as_bytes()).unwrap_or_default();
    let args = [c"criu".to_owned(), c"swrk".to_owned(), text(number.to_string().as_ref())];
    let mut env: Vec<CString> = std::env::vars_os()
        .map(|(key, value)| {
            text([key.as_os_str(), "=".as_ref(), &value].into_iter().collect::<std::ffi::OsString>().as_ref())
        })
        .collect();
    if std::env::var_os("PATH").is_none() {
        env.push(text(format!("PATH={DEFAULT_PATH}").as_ref()));
    }
    Error::sys(step, sys::process::exec(&text(program.as_os_str()), &args, &env)).path(program)
}

/// The first complaints in a log of criu's: `Error (criu/files-reg.c:1830): …`.
/// The first is the cause more often than the last, which only says that it failed.
pub fn complaints(log: &str) -> Option<String> {
    // It goes on without more open files than it may have.
    const HARMLESS: &str = "RLIMIT_NOFILE";
    let mut found: Vec<&str> = Vec::new();
    for line in log.lines().filter(|line| !line.contains(HARMLESS)) {
        let Some(text) = line.find("Error (").and_then(|from| line.get(from..)) else { continue };
        if !found.contains(&text.trim()) && found.len() < MAX_COMPLAINTS {
            found.push(text.trim());
        }
    }
    (!found.is_empty()).then(|| found.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_found() {
        let log = "(00.1) Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE\n(00.1) pie: Error\n\
                   (00.2) Error (criu/x.c:7): no\n(00.3) Error (criu/x.c:7): no\n(00.4) Error (criu/y.c:8): FAILED.\n";
        assert_eq!(complaints(log).as_deref(), Some("Error (criu/x.c:7): no; Error (criu/y.c:8): FAILED."));
        assert_eq!(complaints("all is well"), None);
    }

    #[test]
    fn a_program_that_is_none_is_named() {
        let text = find(Some(Path::new("/etc/passwd"))).unwrap_err().to_string();
        assert!(text.contains("/etc/passwd") && text.contains("--criu"), "{text}");
    }
}
