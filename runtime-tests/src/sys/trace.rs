//! Killing a command at its n-th system call, or its child at the child's, or
//! having that one call fail.
//!
//! strace's `--inject=…:signal=KILL:when=N` counts per process but can't be
//! told which process is meant: parent and child would both die at their
//! N-th call. This small tracer can, and takes no start-up time.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{check, kill};
use crate::reaper;

/// Whose system calls are counted, and who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The command itself is killed at its n-th call.
    Parent,
    /// A process it made is killed at its n-th call; the command lives on.
    Child,
    /// All of them, when the command reaches its n-th call.
    All,
}

/// What happens at the n-th call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// SIGKILL, before the call is made.
    Kill,
    /// The call is not made and returns this errno (x86_64 only).
    Fail(i32),
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The n-th call was reached, and the harm done there.
    Harmed {
        /// The number of the system call it was about to make.
        syscall: u64,
        /// The command's wait status.
        status: i32,
    },
    /// It ended before anybody made an n-th call.
    Completed {
        /// The command's wait status.
        status: i32,
    },
}

#[derive(Default)]
struct Tracee {
    calls: usize,
    inside: bool,
}

struct Tracer {
    parent: i32,
    who: Who,
    nth: usize,
    harm: Harm,
    tracees: HashMap<i32, Tracee>,
    harmed: Option<u64>,
    /// The process whose call was skipped and still has to be told so.
    failing: Option<i32>,
}

/// Runs a command to its end, doing harm as told.
///
/// In a thread of its own: when that ends, whatever the command left running
/// is no longer traced.
pub fn harm_at(command: &mut Command, who: Who, nth: usize, harm: Harm) -> io::Result<End> {
    std::thread::scope(|scope| scope.spawn(|| trace(command, who, nth, harm)).join().expect("the tracer"))
}

/// Spawns a command that stands still right after its exec, and stops at each
/// of its system calls, as its children do, once it is told to go on by
/// `PTRACE_SYSCALL`. The first of these stops is the end of the exec itself.
/// The caller waits for it.
///
/// Seized, not `PTRACE_TRACEME`: the tracing of a new process then begins with
/// a stop that is forgotten when the tracer ends. The old way is a real
/// SIGSTOP, which one that was just made then keeps, and never goes on.
pub(super) fn spawn_traced(command: &mut Command, more_options: i32) -> io::Result<i32> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE;
    let (mut here, there) = UnixStream::pair()?;
    let spawners = there.try_clone()?;
    // SAFETY: only plain system calls are made.
    unsafe { command.pre_exec(move || until_seized(&there)) };
    let (spawned, seized) = std::thread::scope(|scope| {
        // Spawn comes back only after exec, and the tracer is this thread.
        let spawning = scope.spawn(move || {
            let spawned = reaper::spawn(command);
            // It may have failed before there was anybody to tell a pid.
            spawners.shutdown(Shutdown::Both).and(spawned)
        });
        let seized = seize(&mut here, options | more_options);
        // Not seized, it reads the end and gives up.
        let _ = here.shutdown(Shutdown::Write);
        (spawning.join().expect("no panic"), seized)
    });
    #[allow(clippy::zombie_processes)] // waited for by pid
    let pid = spawned?.id() as i32;
    seized?;
    let mut status = 0;
    // SAFETY: writes one int.
    check(unsafe { libc::waitpid(pid, &mut status, libc::__WALL) })?;
    Ok(pid)
}

/// In the child: tells its pid and waits until the tracer has it.
fn until_seized(mut tracer: &UnixStream) -> io::Result<()> {
    tracer.write_all(&std::process::id().to_ne_bytes())?;
    tracer.read_exact(&mut [0])
}

/// In the tracer: seizes the process that tells its pid, and lets it go on.
fn seize(child: &mut UnixStream, options: i32) -> io::Result<()> {
    let mut pid = [0; size_of::<i32>()];
    child.read_exact(&mut pid)?;
    ptrace(libc::PTRACE_SEIZE, i32::from_ne_bytes(pid), options as usize)?;
    child.write_all(&[1])
}

fn trace(command: &mut Command, who: Who, nth: usize, harm: Harm) -> io::Result<End> {
    let parent = spawn_traced(command, 0)?;
    let mut tracer = Tracer { parent, who, nth, harm, tracees: HashMap::new(), harmed: None, failing: None };
    tracer.tracees.insert(parent, Tracee { calls: 0, inside: true });
    ptrace(libc::PTRACE_SYSCALL, parent, 0)?;
    let status = tracer.until_parent_ends()?;
    reaper::done(parent);
    Ok(match tracer.harmed {
        Some(syscall) => End::Harmed { syscall, status },
        None => End::Completed { status },
    })
}

/// The stop of a seized process that none of the other events is the reason of:
/// the first one of a new process. (The libc crate lacks it.)
pub(super) const PTRACE_EVENT_STOP: i32 = 128;

/// The type of ptrace's requests, which C libraries don't agree on.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// For the requests that take a number, or nothing, as data.
pub(super) fn ptrace(request: Request, pid: i32, data: usize) -> io::Result<()> {
    // SAFETY: no request used with this function takes a pointer.
    check(unsafe { libc::ptrace(request, pid, std::ptr::null_mut::<libc::c_void>(), data) }).map(|_| ())
}

impl Tracer {
    fn until_parent_ends(&mut self) -> io::Result<i32> {
        loop {
            let mut status = 0;
            // SAFETY: writes one int. Not other threads' children: __WNOTHREAD.
            let pid = check(unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) })? as i32;
            if libc::WIFSTOPPED(status) {
                let signal = self.stopped(pid, status);
                // It may have been killed in between.
                let _ = ptrace(libc::PTRACE_SYSCALL, pid, signal as usize);
            } else {
                self.tracees.remove(&pid);
                if pid == self.parent {
                    return Ok(status);
                }
            }
        }
    }

    /// What to do at a stop; gives the signal to be delivered.
    fn stopped(&mut self, pid: i32, status: i32) -> i32 {
        let signal = libc::WSTOPSIG(status);
        let tracee = self.tracees.entry(pid).or_default();
        if signal == libc::SIGTRAP | 0x80 {
            tracee.inside = !tracee.inside;
            if tracee.inside {
                tracee.calls += 1;
                self.call(pid);
            } else if self.failing == Some(pid) {
                self.failing = None;
                if let Harm::Fail(errno) = self.harm {
                    let _ = poke_register(pid, RAX, -i64::from(errno));
                }
            }
            return 0;
        }
        // Stops of the tracing itself are no signals; a new process begins with one.
        if status >> 16 == 0 { signal } else { 0 }
    }

    /// A system call is about to be made.
    fn call(&mut self, pid: i32) {
        let calls = self.tracees[&pid].calls;
        let counted = (pid == self.parent) != (self.who == Who::Child);
        if self.harmed.is_some() || !counted || calls != self.nth {
            return;
        }
        self.harmed = Some(syscall_number(pid));
        if let Harm::Fail(_) = self.harm {
            // No call has this number, so none is made.
            let _ = poke_register(pid, ORIG_RAX, -1);
            self.failing = Some(pid);
            return;
        }
        let all: Vec<i32> = self.tracees.keys().copied().collect();
        for victim in all.into_iter().filter(|p| *p == pid || self.who == Who::All) {
            let _ = kill(victim, libc::SIGKILL);
        }
    }
}

/// Indexes in x86_64's `user_regs_struct`.
const RAX: usize = 10;
const ORIG_RAX: usize = 15;

/// Changes one register of a stopped process (x86_64).
fn poke_register(pid: i32, index: usize, value: i64) -> io::Result<()> {
    let offset = (index * 8) as *mut libc::c_void;
    // SAFETY: PTRACE_POKEUSER takes an offset and a value, no pointers of ours.
    check(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, offset, value) }).map(|_| ())
}

/// The number of the call a stopped process is entering, for messages.
fn syscall_number(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
}
