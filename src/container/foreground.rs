//! The foreground: signals are the container's, the terminal is passed
//! through, children are reaped, and the status is the container's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SpecialCharacterIndices, Termios, tcgetattr};

use super::notify::Notify;
use crate::error::{Error, Result, Step};
use crate::sys;
use crate::sys::process::Exit;
use crate::sys::tty;

/// A process to attend to.
#[derive(Debug)]
pub struct Foreground<'a> {
    /// Its pid, in our namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: &'a OwnedFd,
    /// Where its sd_notify messages come from.
    pub notify: Option<Notify>,
}

/// Waits for the process, passing its terminal through `relay`. All signals
/// must be blocked.
///
/// # Errors
/// The errno of poll(2) and the like; the process is not killed then.
pub fn attend(front: Foreground<'_>, mut relay: Option<Relay>) -> Result<i32> {
    let step = "cannot read signals";
    let signals = SignalFd::with_flags(&sys::process::every_signal(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .step(step)?;
    let exit = loop {
        if let Some(exit) = turn(&front, &signals, relay.as_mut())? {
            break exit;
        }
    };
    if let Some(relay) = &mut relay {
        relay.drain();
    }
    Ok(exit.shell_status())
}

/// One turn of the loop: waits for something to happen and deals with it.
fn turn(front: &Foreground<'_>, signals: &SignalFd, relay: Option<&mut Relay>) -> Result<Option<Exit>> {
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    if let Some(notify) = &front.notify {
        fds.push(PollFd::new(notify.as_fd(), PollFlags::POLLIN));
    }
    let relay_at = fds.len();
    if let Some(relay) = &relay {
        fds.extend(relay.wishes());
    }
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(Error::sys("cannot wait for the container", e)),
    }
    let ready: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
    drop(fds);
    if let (Some(notify), Some(true)) = (&front.notify, ready.get(1)) {
        notify.forward(front.pid)?;
    }
    let mut resized = false;
    while let Ok(Some(info)) = signals.read_signal() {
        match i32::try_from(info.ssi_signo).unwrap_or(0) {
            libc::SIGCHLD => {
                if let Some(exit) = reap(front.pid)? {
                    return Ok(Some(exit));
                }
            }
            libc::SIGWINCH if relay.is_some() => resized = true,
            // Urgent socket data is nobody's wish to signal the container.
            libc::SIGURG => {}
            signal => forward(front.pidfd, signal),
        }
    }
    if let Some(relay) = relay {
        if resized {
            relay.resize();
        }
        relay.pass(ready.get(relay_at..).unwrap_or_default());
    }
    Ok(None)
}

fn forward(pidfd: &OwnedFd, signal: i32) {
    // It may just have ended; that is told by SIGCHLD.
    let _ = sys::process::pidfd_kill(pidfd, signal);
}

/// Reaps whoever has ended; the exit of the one we attend to.
fn reap(pid: i32) -> Result<Option<Exit>> {
    let mut ours = None;
    loop {
        match sys::process::reap_any() {
            Ok(Some((ended, exit))) if ended == pid => ours = Some(exit),
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::ECHILD) => return Ok(ours),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::sys("cannot wait for the container", e)),
        }
    }
}

/// Passes bytes between our terminal and the container's.
#[derive(Debug)]
pub struct Relay {
    master: OwnedFd,
    /// Our stdin's mode as it was; put back when this is dropped.
    saved: Option<Termios>,
    input_open: bool,
    output_open: bool,
    pending: Vec<u8>,
}

impl Relay {
    /// Takes the terminal that init sends over `socket`, gives it the size of
    /// ours, and puts ours in raw mode.
    ///
    /// # Errors
    /// When none was sent.
    pub fn start(socket: &OwnedFd) -> Result<Self> {
        let step = "cannot receive the container's terminal";
        let mut name = [0; 64];
        let (_, master) = sys::socket::recv_fd(socket, &mut name).step(step)?;
        let master = master.ok_or_else(|| Error::new(step).message("none was sent"))?;
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).step(step)?;
        // What is captured from us is to have plain lines (as with runc).
        tty::clear_onlcr(&master).step(step)?;
        // Without a terminal of our own the bytes are passed all the same.
        let saved = tty::set_raw(std::io::stdin()).ok();
        let relay = Self { master, saved, input_open: true, output_open: true, pending: Vec::new() };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of ours.
    fn resize(&self) {
        let size = [stdin(), stdout()].into_iter().find_map(|fd| tty::size(fd?).ok());
        if let Some(size) = size.filter(|s| s.rows > 0 && s.cols > 0) {
            let _ = tty::set_size(&self.master, size);
        }
    }

    /// What to wait for: output always, input while there is room for it.
    fn wishes(&self) -> Vec<PollFd<'_>> {
        let mut wish = PollFlags::empty();
        if self.output_open {
            wish |= PollFlags::POLLIN;
        }
        if !self.pending.is_empty() {
            wish |= PollFlags::POLLOUT;
        }
        let mut fds = Vec::new();
        if self.output_open {
            fds.push(PollFd::new(self.master.as_fd(), wish));
        }
        if let (true, true, Some(stdin)) = (self.input_open, self.pending.is_empty(), stdin()) {
            fds.push(PollFd::new(stdin, PollFlags::POLLIN));
        }
        fds
    }

    fn pass(&mut self, ready: &[bool]) {
        let at_stdin = usize::from(self.output_open);
        if self.output_open && ready.first() == Some(&true) {
            self.flush_input();
            self.copy_output();
        }
        if ready.get(at_stdin) == Some(&true) {
            self.take_input();
        }
    }

    fn take_input(&mut self) {
        let mut buf = [0; 4096];
        let Some(stdin) = stdin() else { return };
        match nix::unistd::read(stdin, &mut buf) {
            Ok(0) => {
                // Whoever reads the terminal learns of the end as a person would tell it: by its end-of-file key.
                self.input_open = false;
                self.pending.extend(self.end_of_file());
            }
            Ok(n) => self.pending.extend_from_slice(&buf[..n]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.input_open = false,
        }
        self.flush_input();
    }

    fn end_of_file(&self) -> Option<u8> {
        let modes = tcgetattr(&self.master).ok()?;
        modes.control_chars.get(SpecialCharacterIndices::VEOF as usize).copied()
    }

    fn flush_input(&mut self) {
        while !self.pending.is_empty() {
            match nix::unistd::write(&self.master, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => return self.pending.clear(),
            }
        }
    }

    fn copy_output(&mut self) {
        let mut buf = [0; 8192];
        match nix::unistd::read(&self.master, &mut buf) {
            Ok(n @ 1..) => {
                if let Some(stdout) = stdout() {
                    let _ = write_patiently(stdout, &buf[..n]);
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // EIO: every slave is closed.
            _ => self.output_open = false,
        }
    }

    /// Copies what was written before the end.
    fn drain(&mut self) {
        while self.output_open {
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(1..) => self.copy_output(),
                _ => return,
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tty::restore(std::io::stdin(), saved);
        }
    }
}

fn stdin() -> Option<BorrowedFd<'static>> {
    sys::fd::inherited(0)
}

fn stdout() -> Option<BorrowedFd<'static>> {
    sys::fd::inherited(1)
}

/// Writes everything, also to a caller's non-blocking stdout.
fn write_patiently(fd: BorrowedFd<'_>, mut data: &[u8]) -> nix::Result<()> {
    while !data.is_empty() {
        match nix::unistd::write(fd, data) {
            Ok(n) => data = &data[n..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => drop(poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::NONE)?),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
