//! What the kernel tells of a process or thread (proc_pid_stat(5)).

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::sys;

/// The fields of `/proc/PID/stat` that we need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, …
    pub state: u8,
    /// The kernel's `PF_…`.
    pub flags: u32,
    /// How many threads there are.
    pub threads: u32,
    /// In clock ticks after the boot.
    pub start_time: u64,
}

impl Stat {
    /// That of a process.
    ///
    /// # Errors
    /// The errno of open(2) or read(2).
    pub fn read(pid: i32) -> nix::Result<Self> {
        let path = std::path::Path::new("/proc").join(pid.to_string()).join("stat");
        let fd = open(&path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let text = sys::fd::read_all(&fd)?;
        Self::parse(&text).ok_or(Errno::EPROTO)
    }

    /// The second field, the command in parentheses, may hold anything at all:
    /// what follows begins after the last parenthesis.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|b| *b == b')')?;
        let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        // These are fields 3, 9, 20 and 22.
        let state = *fields.next()?.as_bytes().first()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        let start_time = fields.nth(1)?.parse().ok()?;
        Some(Self { state, flags, threads, start_time })
    }

    /// On its way out for good: the last thread is in exit(2), where the init
    /// of a pid namespace waits for everybody else to die first.
    pub fn ending(self) -> bool {
        const PF_EXITING: u32 = 4;
        self.flags & PF_EXITING != 0 && self.threads <= 1
    }
}

/// Is this a process that has ended, or is about to, and never executed a
/// program after its fork? Not known any more when it has been reaped.
pub fn ended_without_execve(pid: i32) -> bool {
    const PF_FORKNOEXEC: u32 = 0x40;
    Stat::read(pid).is_ok_and(|stat| stat.flags & PF_FORKNOEXEC != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_nasty_name() {
        let text = b"12 (a) R 1 (b) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 9876 23";
        assert_eq!(Stat::parse(text), Some(Stat { state: b'S', flags: 9, threads: 20, start_time: 9876 }));
        assert!(Stat::parse(b"12 (x").is_none() && Stat::parse(b"").is_none());
    }
}
