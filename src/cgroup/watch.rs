//! The kernel running out of memory in a cgroup: what it did, and waiting for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::{Cgroup, fs};
use crate::error::{Result, Step};

/// What was killed in a cgroup and those below it for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Oom {
    /// How many processes.
    pub killed: u64,
    /// `memory.max` in bytes, if it was this cgroup's own limit that was
    /// reached; else it was one above or below, or the machine's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// `memory.events` of a cgroup, open, and what it said last.
#[derive(Debug)]
pub struct OomWatch {
    /// `None` without the memory controller, and once the cgroup is gone.
    file: Option<OwnedFd>,
    seen: u64,
}

impl Cgroup {
    /// What was killed for want of memory since the cgroup was made; `None` if
    /// nothing was, and without the memory controller.
    pub fn oom(&self) -> Option<Oom> {
        let value = |file: &str, key: &str| fs::flat_value(&fs::read(self.fd(), file).ok()?, key).filter(|n| *n > 0);
        let killed = value("memory.events", "oom_kill")?;
        // The limit that is reached has the `oom`, the cgroup of the victim the `oom_kill`.
        let limit =
            value("memory.events.local", "oom").and_then(|_| fs::read(self.fd(), "memory.max").ok()?.parse().ok());
        Some(Oom { killed, limit })
    }

    /// Begins to watch: what was before does not count.
    pub fn watch_oom(&self) -> OomWatch {
        let file = fs::open_events(self.fd(), "memory.events").ok();
        let mut watch = OomWatch { file, seen: 0 };
        watch.rose();
        watch
    }
}

impl OomWatch {
    /// Has there been an oom since the last call?
    pub fn rose(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        match fs::read_again(file) {
            Ok(text) => {
                // Kills are what counts; kernels before 4.13 only know that it came to the point.
                let now = fs::flat_value(&text, "oom_kill").or(fs::flat_value(&text, "oom")).unwrap_or(0);
                std::mem::replace(&mut self.seen, now) < now
            }
            Err(Errno::EINTR) => false,
            Err(_) => {
                self.file = None;
                false
            }
        }
    }

    /// Waits until there is news in `memory.events`, `process` has ended, or
    /// it is `deadline`. True: the process has ended.
    pub fn wait(&self, process: BorrowedFd<'_>, deadline: Instant) -> Result<bool> {
        let mut fds = vec![PollFd::new(process, PollFlags::POLLIN)];
        fds.extend(self.file.iter().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)));
        // Rounded up, so that the last millisecond is not spent spinning.
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) => Ok(fds[0].revents().is_some_and(|got| !got.is_empty())),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e).step("cannot wait for the container's events"),
        }
    }
}
