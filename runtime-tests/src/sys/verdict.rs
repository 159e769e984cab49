//! What becomes of a system call, tried in a child that ends with it.

use std::io;

use super::check;

/// How long a call may take; no verdict is waited for longer.
const SECONDS: u32 = 10;

/// A system call of this machine's or, by `int 0x80`, of i386.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Is it one of i386?
    pub i386: bool,
    /// Its number.
    pub number: u64,
    /// Its arguments; i386 gets the lower halves of the first five.
    pub args: [u64; 6],
}

/// Makes the call in a child: its errno (0: it succeeded), or the signal that ended the child.
///
/// # Errors
/// fork(2) or waitpid(2) failed.
pub fn of(call: &Call) -> io::Result<Result<i32, i32>> {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the probe has one thread, so the child may do anything; what the
    // call does to it ends with it. So does a further child that the call makes.
    let pid = unsafe {
        match check(libc::fork())? {
            0 => {
                libc::setrlimit(libc::RLIMIT_CORE, &limit);
                libc::alarm(SECONDS);
                let result = if call.i386 { i386(call) } else { native(call) };
                libc::_exit(if (-4095..0).contains(&result) { -result as i32 } else { 0 })
            }
            pid => pid as i32,
        }
    };
    let mut status = 0;
    // SAFETY: writes one int.
    check(unsafe { libc::waitpid(pid, &mut status, libc::__WALL) })?;
    Ok(if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(libc::WEXITSTATUS(status)) })
}

/// The result as the kernel has it: a failure is the negated errno.
unsafe fn native(call: &Call) -> i64 {
    let [a, b, c, d, e, f] = call.args;
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(call.number as libc::c_long, a, b, c, d, e, f) };
    check(result).unwrap_or_else(|e| -i64::from(e.raw_os_error().unwrap_or(0)))
}

/// As [`native`]; a kernel without i386 sends SIGSEGV.
#[cfg(target_arch = "x86_64")]
unsafe fn i386(call: &Call) -> i64 {
    let [a, b, c, d, e, _] = call.args.map(|arg| u64::from(arg as u32));
    let mut result = call.number;
    // SAFETY: rbx, which the compiler keeps for itself, is put back; the rest is the caller's.
    unsafe {
        std::arch::asm!(
            "xchg {a}, rbx", "int 0x80", "xchg {a}, rbx",
            a = inout(reg) a => _,
            inout("rax") result,
            in("rcx") b, in("rdx") c, in("rsi") d, in("rdi") e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    i64::from(result as i32)
}

/// There is none on this machine.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn i386(_: &Call) -> i64 {
    -i64::from(libc::ENOSYS)
}
