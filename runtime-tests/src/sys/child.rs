//! Waiting for commands with their cost, and counting what they do.

use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::check;
use super::trace::{PTRACE_EVENT_STOP, ptrace, spawn_traced};
use crate::reaper;

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its process id.
    pub pid: i32,
    /// Its wait status.
    pub status: i32,
    /// User and system time of it and of all it has waited for.
    pub cpu: Duration,
}

fn wait4(pid: i32, flags: i32) -> io::Result<Option<Ended>> {
    loop {
        let mut status = 0;
        // SAFETY: zeroed is a valid rusage, and both pointers outlive the call.
        let (got, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (check(libc::wait4(pid, &mut status, flags, &mut usage)), usage)
        };
        match got {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
            Ok(0) => return Ok(None),
            Ok(pid) => {
                let cpu = time(usage.ru_utime) + time(usage.ru_stime);
                return Ok(Some(Ended { pid: pid as i32, status, cpu }));
            }
        }
    }
}

fn time(t: libc::timeval) -> Duration {
    Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000)
}

/// Waits for a child to end.
pub fn wait(pid: i32) -> io::Result<Ended> {
    wait4(pid, 0)?.ok_or_else(|| io::Error::other("wait4 gave no process"))
}

/// Any child that has ended already; also one that became ours when its parent ended.
pub fn wait_any() -> Option<Ended> {
    wait4(-1, libc::WNOHANG).ok().flatten()
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// SIGINT, SIGTERM and SIGHUP only make [`interrupted`] true from now on.
pub fn catch_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::signal(signal, interrupt as *const () as libc::sighandler_t) };
    }
}

/// Has such a signal come?
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// What a command and all processes it made did until it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The command's wait status.
    pub status: i32,
    /// System calls begun.
    pub syscalls: u64,
    /// Processes and threads, itself included.
    pub tasks: u64,
    /// Programs executed, itself included.
    pub execs: u64,
    /// The largest resident set of any of them, in KiB. Per process image:
    /// unlike `ru_maxrss` without what it was before its first exec.
    pub peak_kib: u64,
}

/// Runs a command to its end and counts. What it leaves running goes on untraced.
pub fn count(command: &mut Command) -> io::Result<Counts> {
    // Tracing ends with the thread that does it.
    std::thread::scope(|scope| scope.spawn(|| count_here(command)).join().expect("the tracer"))
}

fn count_here(command: &mut Command) -> io::Result<Counts> {
    let parent = spawn_traced(command, libc::PTRACE_O_TRACEEXIT)?;
    let mut counter = Counter { counts: Counts { tasks: 1, execs: 1, ..Counts::default() }, inside: HashMap::new() };
    counter.inside.insert(parent, true);
    ptrace(libc::PTRACE_SYSCALL, parent, 0)?;
    loop {
        let mut status = 0;
        // SAFETY: writes one int. Not other threads' children: __WNOTHREAD.
        let pid = check(unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) })? as i32;
        if libc::WIFSTOPPED(status) {
            let signal = counter.stopped(pid, status);
            // It may have been killed in between.
            let _ = ptrace(libc::PTRACE_SYSCALL, pid, signal as usize);
        } else if pid == parent {
            reaper::done(pid);
            return Ok(Counts { status, ..counter.counts });
        }
    }
}

struct Counter {
    counts: Counts,
    /// The processes known so far: inside a system call?
    inside: HashMap<i32, bool>,
}

impl Counter {
    /// Counts a stop; gives the signal to be delivered.
    fn stopped(&mut self, pid: i32, status: i32) -> i32 {
        let signal = libc::WSTOPSIG(status);
        let first = !self.inside.contains_key(&pid);
        let inside = self.inside.entry(pid).or_default();
        if signal == libc::SIGTRAP | 0x80 {
            *inside = !*inside;
            if *inside {
                self.counts.syscalls += 1;
            }
            return 0;
        }
        match status >> 16 {
            libc::PTRACE_EVENT_EXEC => self.counts.execs += 1,
            libc::PTRACE_EVENT_EXIT => self.counts.peak_kib = self.counts.peak_kib.max(peak(pid)),
            PTRACE_EVENT_STOP if first => self.counts.tasks += 1,
            0 => return signal,
            _ => {}
        }
        0
    }
}

/// `VmHWM` of a process in KiB; 0 if it is gone.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn counts_what_a_shell_does() {
        let counts = count(Command::new("/bin/sh").args(["-c", "(exit 0); (exec /bin/true); exit 3"])).expect("traced");
        assert_eq!((counts.tasks, counts.execs), (3, 2), "{counts:?}");
        assert_eq!(libc::WEXITSTATUS(counts.status), 3);
        assert!(counts.syscalls > 20 && counts.peak_kib > 100, "{counts:?}");
    }

    /// However young it is when the command ends, and the tracing with it.
    #[test]
    fn what_runs_on_is_let_go() {
        let dir = tempfile::tempdir().expect("a directory");
        for n in 0..200 {
            let done = dir.path().join(n.to_string());
            let script = format!("(echo done >{}) & exit 0", done.display());
            let mut command = Command::new("/bin/sh");
            // Not our output: one that stays would keep it open for ever.
            command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            assert_eq!(count(&mut command).expect("traced").status, 0);
            crate::command::wait_for("the background process", || done.exists().then_some(()));
        }
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let mut nowhere = Command::new("/bin/true");
        nowhere.current_dir("/nonexistent");
        for command in [&mut Command::new("/nonexistent"), &mut nowhere] {
            let e = count(command).expect_err("it did not run");
            assert_eq!(e.kind(), io::ErrorKind::NotFound, "{e}");
        }
    }
}
