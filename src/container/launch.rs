//! The host's half of making a process: fork it into its cgroup, serve it
//! until it is ready, let go of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::stat::ended_without_execve;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, Step};
use crate::hooks::HookState;
use crate::init::sync::{Channel, Message};
use crate::seccomp::{Listener, notify};
use crate::sys;
use crate::sys::process::Exit;

/// Signals that ask us to end: during a launch they undo it, in the foreground
/// they are the container's.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// More fds than any caller hands over.
const MAX_INHERITED: u32 = 1 << 16;

/// Signals held back while something is half made, and read from an fd instead.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Blocks all signals from here on.
    ///
    /// # Errors
    /// The errno of sigprocmask(2) or signalfd(2).
    pub fn hold() -> Result<Self> {
        let step = "cannot hold signals back";
        sys::process::block_signals().step(step)?;
        let set = SigSet::from_iter(ENDING);
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self).step(step)
    }

    /// The error to end with if a signal has come.
    pub fn check(&self) -> Result<()> {
        match self.0.read_signal() {
            Ok(Some(info)) => {
                let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                let name = Signal::try_from(number).map_or("a signal", Signal::as_str);
                Err(Error::new(format!("interrupted by {name}")).exit(128 + number))
            }
            _ => Ok(()),
        }
    }
}

impl Interrupts {
    /// The signal, if that is why something failed.
    pub fn explain(&self, error: Error) -> Error {
        self.check().err().unwrap_or(error)
    }

    /// Waits until there is something to read from `fd`.
    ///
    /// # Errors
    /// The signal that came instead; the errno of poll(2).
    pub fn wait_for(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.wait(fd, PollFlags::POLLIN)
    }

    /// Waits for `events`, or the end of the channel, whatever they are. What has
    /// happened already counts before a signal: one that comes as the program
    /// begins is the program's.
    fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Result<()> {
        loop {
            let mut fds = [PollFd::new(fd, events), PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds.first().is_some_and(|fd| fd.any() == Some(true)) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => self.check()?,
                Err(e) => return Err(Error::sys("cannot wait for init", e)),
            }
        }
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A process being made. Dropped before it was let go, it is killed and reaped.
#[derive(Debug)]
pub struct Child {
    /// In our pid namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    channel: Option<Channel>,
    released: bool,
}

impl Child {
    /// Takes charge of a forked process.
    pub fn new(pid: i32, pidfd: OwnedFd, channel: Channel) -> Self {
        Self { pid, pidfd, channel: Some(channel), released: false }
    }

    /// Serves the process until it says that it is ready; `serve` does what it asks for.
    ///
    /// # Errors
    /// What the process says, or how it died, or the signal that interrupted us.
    pub fn until_ready(
        &mut self,
        interrupts: &Interrupts,
        mut serve: impl FnMut(&Message) -> Result<()>,
    ) -> Result<()> {
        loop {
            let channel = self.channel()?;
            interrupts.wait_for(channel.as_fd())?;
            match channel.recv()? {
                Some(Message::Ready) => return Ok(()),
                Some(Message::Failed(error)) => return Err(*error),
                Some(
                    asked @ (Message::RunHooks
                    | Message::SetAttributes
                    | Message::SetTimeOffsets
                    | Message::MoveDevices),
                ) => {
                    serve(&asked)?;
                    channel.send(&Message::Continue)?;
                }
                Some(_) => return Err(Error::new("unexpected message from init")),
                None => return Err(self.death()),
            }
        }
    }

    /// What was really the matter when something done for the process failed: if
    /// it has ended by then, its own last word, and that its cgroup and whatever
    /// else went with it is missing is only the consequence.
    pub fn explain(&self, error: Error) -> Error {
        let Some(channel) = &self.channel else { return error };
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) {
            return error;
        }
        match channel.recv() {
            Ok(Some(Message::Failed(own))) => *own,
            Ok(None) => self.death(),
            _ => error,
        }
    }

    /// Lets it go on: what it waits for has been done.
    ///
    /// # Errors
    /// `EPIPE` when it is gone.
    pub fn go_on(&self) -> Result<()> {
        self.channel()?.send(&Message::Continue)
    }

    fn channel(&self) -> Result<&Channel> {
        self.channel.as_ref().ok_or_else(|| Error::new("the channel to init is closed"))
    }

    /// Why a process that ended its channel without a word did so.
    fn death(&self) -> Error {
        let _ = sys::process::pidfd_kill(&self.pidfd, libc::SIGKILL);
        let text = match sys::process::wait(&self.pidfd) {
            Ok(Exit::Signal(signal)) => format!("killed by signal {signal}"),
            Ok(Exit::Code(code)) => format!("exit status {code}"),
            Err(_) => "for an unknown reason".to_owned(),
        };
        Error::new("container init died while it was set up").message(text)
    }

    /// Lets the process go on without us: from here on it lives. The channel,
    /// which ends with its execve, is given back.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn release(&mut self) -> Result<Channel> {
        let channel = self.channel.take().ok_or_else(|| Error::new("the channel to init is closed"))?;
        channel.send(&Message::Released).map_err(|_| self.death())?;
        self.released = true;
        Ok(channel)
    }
}

impl Child {
    /// Kills and reaps it, if it is not gone already.
    pub fn end(&self) {
        let _ = sys::process::pidfd_kill(&self.pidfd, libc::SIGKILL);
        let _ = sys::process::wait(&self.pidfd);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.released {
            self.end();
        }
    }
}

/// Waits for `events` on a channel, or until the other side has closed it.
fn wait(fd: BorrowedFd<'_>, events: PollFlags) -> Result<()> {
    loop {
        match poll(&mut [PollFd::new(fd, events)], PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::sys("cannot wait for init", e)),
        }
    }
}

/// The agent that a process's filter asks, and what it is told of the process.
#[derive(Debug)]
pub struct Agent<'a> {
    /// Where it listens.
    pub listener: &'a Listener,
    /// The process, in our pid namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: BorrowedFd<'a>,
    /// Its container.
    pub state: HookState<'a>,
}

/// A process about to execute its program.
#[derive(Debug)]
pub struct Executing<'a> {
    /// In our pid namespace.
    pub pid: i32,
    /// It loads a filter before, and may not be able to say anything after.
    pub filtered: bool,
    /// Whom the filter asks.
    pub agent: Option<Agent<'a>>,
}

/// Waits for a released process's execve.
///
/// # Errors
/// What the process says, or that it died before, or the signal that came
/// first, or why the agent could not be given its listener.
pub fn until_execve(channel: &Channel, interrupts: Option<&Interrupts>, process: Executing<'_>) -> Result<()> {
    let Executing { pid, filtered, mut agent } = process;
    let mut executing = false;
    // startContainer hooks run meanwhile, which may take as long as they like.
    // Its end is waited for, not its first message: that would only wake us
    // when init needs the processor.
    loop {
        let events = if agent.is_some() { PollFlags::POLLIN } else { PollFlags::empty() };
        match interrupts {
            Some(interrupts) => interrupts.wait(channel.as_fd(), events)?,
            None => wait(channel.as_fd(), events)?,
        }
        match channel.recv()? {
            Some(Message::Executing) => executing = true,
            Some(Message::Listener(number)) => {
                let Some(agent) = agent.take() else { return Err(Error::new("a second seccomp listener")) };
                hand_over(&agent, number, channel)?;
            }
            Some(Message::Failed(error)) => return Err(*error),
            Some(_) => return Err(Error::new("unexpected message from init")),
            None if executing && filtered && ended_without_execve(pid) => {
                let e = Error::new("the container's init died before it could execute the program");
                return Err(e.in_field("linux.seccomp").hint("the filter must allow execve, and sendto to say why"));
            }
            None if executing && agent.is_none() => return Ok(()),
            None => return Err(Error::new("the container's init died before it could execute the program")),
        }
    }
}

/// Takes the listener from the process, which waits meanwhile, to the agent.
fn hand_over(agent: &Agent<'_>, number: RawFd, channel: &Channel) -> Result<()> {
    match notify::take(agent.pidfd, number, channel.as_fd())? {
        Some(listener) => {
            notify::deliver(agent.listener, listener, agent.pid, &agent.state)?;
            channel.send(&Message::Continue)
        }
        None => match channel.recv()? {
            Some(Message::Failed(error)) => Err(*error),
            _ => Err(Error::new("the process was gone before its seccomp listener could be taken")),
        },
    }
}

/// Why a process could not be made in a cgroup, with what the cgroup has to do with it.
pub fn not_forked(step: &'static str, errno: Errno, cgroup: Option<&Cgroup>) -> Error {
    let e = Error::sys(step, errno);
    let Some(cgroup) = cgroup else { return e };
    match errno {
        Errno::EAGAIN => {
            e.path(cgroup.path()).hint("as many processes as linux.resources.pids.limit, or a limit above, allows")
        }
        Errno::EBUSY => {
            e.path(cgroup.path()).hint("it hands on controllers to sub-cgroups, and so can hold no process itself")
        }
        _ => e,
    }
}

/// Says that want of memory was what killed `who`, and which limit, if the kernel says so.
pub fn explain_oom(error: Error, who: &str, cgroup: Option<&Cgroup>) -> Error {
    let Some(oom) = cgroup.and_then(Cgroup::oom) else { return error };
    let e = Error::new(format!("{who} was OOM-killed (memory limit too low?)"));
    match oom.limit {
        Some(limit) => e.in_field("linux.resources.memory.limit").message(format!("memory.max is {limit}")),
        None => e.message("not by its own limit: the machine or a cgroup above it has run out of memory"),
    }
}

/// Fds of the caller that go to the process: those of sd_listen_fds(3), then
/// those of `--preserve-fds`.
#[derive(Debug)]
pub struct InheritedFds {
    /// Numbers from 3 on. Those that are not open now are simply not there
    /// (engine-contract §2.3), so an fd of ours that takes such a number later
    /// is not taken for one of them.
    pub numbers: Vec<RawFd>,
    /// How many are socket-activation fds.
    pub listen: u32,
}

impl InheritedFds {
    /// Looks before this process opens anything that stays open.
    pub fn find(preserve: u32) -> Self {
        let number = |key: &str| std::env::var(key).ok().and_then(|v| v.parse::<u32>().ok());
        let for_us = number("LISTEN_PID").is_none_or(|pid| pid == std::process::id());
        let listen = number("LISTEN_FDS").filter(|_| for_us).unwrap_or(0).min(MAX_INHERITED);
        let end = 3 + listen.saturating_add(preserve).min(MAX_INHERITED);
        let open = |fd: &RawFd| sys::fd::inherited(*fd).is_some();
        Self { numbers: (3..end).filter_map(|fd| RawFd::try_from(fd).ok()).filter(open).collect(), listen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_happened_counts_before_a_signal() {
        let interrupts = Interrupts::hold().unwrap();
        let (ours, theirs) = nix::unistd::pipe().unwrap();
        nix::sys::signal::raise(Signal::SIGHUP).unwrap();
        drop(theirs);
        interrupts.wait(ours.as_fd(), PollFlags::empty()).unwrap();
        // It is still there for whoever comes next, and interrupts a wait for nothing.
        let (ours, _theirs) = nix::unistd::pipe().unwrap();
        let e = interrupts.wait(ours.as_fd(), PollFlags::empty()).unwrap_err();
        assert_eq!(e.to_string(), "interrupted by SIGHUP");
    }
}
