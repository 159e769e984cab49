//! System calls as such: by number, by the ways of other architectures, and
//! what becomes of them under a filter.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use super::check;
use super::trace::ptrace;

/// A system call by number; a failure is the negated errno.
pub fn raw(number: i64, args: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: tests only make calls to which their arguments do no harm.
    let result = unsafe { libc::syscall(number as libc::c_long, a, b, c, d, e, f) };
    match check(result as i64) {
        Ok(n) => n,
        Err(e) => -i64::from(e.raw_os_error().unwrap_or(0)),
    }
}

/// A system call of i386, made in a 64-bit process; a failure is the negated
/// errno. Where the kernel has none of these it is a SIGSEGV.
#[cfg(target_arch = "x86_64")]
pub fn i386(number: u32, args: [u32; 2]) -> i64 {
    let mut result = u64::from(number);
    // SAFETY: rbx, which the compiler keeps for itself, is put back; the kernel
    // may clobber r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) u64::from(args[0]) => _,
            inout("rax") result,
            in("rcx") u64::from(args[1]),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    i64::from(result as i32)
}

/// There is none on this machine.
#[cfg(not(target_arch = "x86_64"))]
pub fn i386(_: u32, _: [u32; 2]) -> i64 {
    -i64::from(libc::ENOSYS)
}

static TRAPPED: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// `si_errno` and `si_syscall`, of which the second follows a pointer (sigaction(2)).
extern "C" fn on_sigsys(_: i32, info: *const i32, _: *mut libc::c_void) {
    const SI_ERRNO: usize = 1;
    const SI_SYSCALL: usize = 6;
    for (slot, at) in TRAPPED.iter().zip([SI_ERRNO, SI_SYSCALL]) {
        // SAFETY: the kernel hands over a siginfo_t of 128 bytes.
        slot.store(unsafe { info.add(at).read() }, Ordering::Relaxed);
    }
}

/// A system call with SIGSYS caught: its result, `si_errno` and `si_syscall`, -1 if none came.
pub fn with_sigsys(number: i64, args: [u64; 6]) -> (i64, i32, i32) {
    // SAFETY: the handler only stores to atomics.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigsys as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut());
    }
    let result = raw(number, args);
    (result, TRAPPED[0].load(Ordering::Relaxed), TRAPPED[1].load(Ordering::Relaxed))
}

/// A system call made by a child whose tracer we are: the tracer's message,
/// if it was asked, and the call's result.
pub fn traced(number: i64) -> io::Result<(Option<u64>, i64)> {
    let (mut from, to) = super::pipe();
    // SAFETY: this process has one thread.
    let pid = check(unsafe { libc::fork() })? as i32;
    if pid == 0 {
        let _ = ptrace(libc::PTRACE_TRACEME, 0, 0);
        let _ = super::kill(std::process::id() as i32, libc::SIGSTOP);
        let result = raw(number, [0; 6]);
        let _ = io::Write::write_all(&mut &to, &result.to_ne_bytes());
        std::process::exit(0);
    }
    drop(to);
    let message = trace(pid)?;
    let mut result = [0; 8];
    io::Read::read_exact(&mut from, &mut result)?;
    Ok((message, i64::from_ne_bytes(result)))
}

/// Lets a child that has stopped go on to its end, and notes what a filter says.
fn trace(pid: i32) -> io::Result<Option<u64>> {
    let (mut message, mut status) = (None, 0);
    // SAFETY: writes one int.
    let mut wait = || check(unsafe { libc::waitpid(pid, &mut status, libc::__WALL) }).map(|_| status);
    wait()?;
    ptrace(libc::PTRACE_SETOPTIONS, pid, libc::PTRACE_O_TRACESECCOMP as usize)?;
    loop {
        ptrace(libc::PTRACE_CONT, pid, 0)?;
        let status = wait()?;
        if !libc::WIFSTOPPED(status) {
            return Ok(message);
        }
        if status >> 16 == libc::PTRACE_EVENT_SECCOMP {
            let mut data = 0u64;
            ptrace(libc::PTRACE_GETEVENTMSG, pid, (&raw mut data) as usize)?;
            message = Some(data);
        }
    }
}

/// Loads a filter that has one system call fail, for good: for what a command
/// does between fork and exec.
pub fn forbid(number: i64, errno: u16) -> io::Result<()> {
    let op = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let program = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32, 0, 1),
        op(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | u32::from(errno), 0, 0),
        op(libc::BPF_RET, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    load(&program)
}

fn load(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads the program, which outlives the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) }).map(|_| ())
}

/// The command runs with `number` failing, under `filters` filters.
pub fn confine(command: &mut std::process::Command, number: i64, errno: u16, filters: usize) {
    let act = move || (0..filters).try_for_each(|_| forbid(number, errno));
    // SAFETY: a plain system call on local data.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, act) };
}
