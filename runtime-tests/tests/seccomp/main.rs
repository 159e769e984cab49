//! Seccomp, with the real kernel: what processes under a filter can do, what
//! they can't, and who decides.

mod actions;
mod agent;
mod arches;
mod arguments;
mod exec;
mod hooks;
mod minimal;
mod notify;
mod profiles;
mod rights;
mod trouble;
mod unavailable;

use runtime_tests::{Case, Value, json};

/// What a process that a filter has ended leaves as exit status: 128 + SIGSYS.
const KILLED: i32 = 128 + 31;
/// An errno that no system call of the tests gives by itself.
const ODD: i64 = 77;

/// A profile that allows what no rule is about.
fn allowing(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

/// A rule without conditions.
fn rule(names: &[&str], action: &str) -> Value {
    json!({ "names": names, "action": action })
}

/// A rule that has calls fail with an errno.
fn errno(names: &[&str], errno: i64) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno })
}

/// A container with this profile.
fn with(profile: Value) -> Case {
    let mut c = Case::new();
    c.set("/linux/seccomp", profile);
    c
}

/// A container whose `getppid`, which fails nowhere else, fails with [`ODD`].
fn odd() -> Case {
    with(allowing(json!([errno(&["getppid"], ODD)])))
}

/// The probe's operation that makes a call with some arguments.
fn call(number: i64, args: &[u64]) -> String {
    args.iter().fold(format!("call:{number}"), |text, arg| format!("{text}:{arg}"))
}

/// `getppid`: 0 for the first process, [`ODD`] under [`odd`]'s filter.
fn getppid() -> String {
    call(libc::SYS_getppid, &[])
}

/// Makes one call in a new container; gives the result, or the negated errno.
#[track_caller]
fn result_of(c: &mut Case, number: i64, args: &[u64]) -> i64 {
    let op = call(number, args);
    c.attempts(&[&op])[&op].as_i64().expect("a number")
}

/// Runs the probe, which the filter must end.
#[track_caller]
fn killed(c: &mut Case, args: &[&str]) {
    let argv: Vec<&str> = ["/bin/probe"].into_iter().chain(args.iter().copied()).collect();
    c.args(&argv);
    let out = c.run().exits(KILLED);
    assert_eq!(out.stdout, "", "it went on");
}

/// What a program of the tests, the shell or the probe, calls without being told to.
const USUAL: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "chdir",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "dup",
    "dup2",
    "dup3",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fcntl",
    "fstat",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getrandom",
    "gettid",
    "getuid",
    "ioctl",
    "kill",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "setpgid",
    "sigaltstack",
    "stat",
    "statx",
    "tgkill",
    "time",
    "uname",
    "vfork",
    "wait4",
    "write",
    "writev",
];

/// A profile that denies what is not usual.
fn denying(action: &str, more: &[&str]) -> Value {
    let names: Vec<&str> = USUAL.iter().chain(more).copied().collect();
    json!({ "defaultAction": action, "syscalls": [rule(&names, "SCMP_ACT_ALLOW")] })
}
