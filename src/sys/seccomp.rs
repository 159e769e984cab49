//! seccomp(2): loading a filter program.

use std::os::fd::RawFd;

use super::check;

/// One classic BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub const NEW_LISTENER: u64 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;

/// Loads a filter for this thread (`SECCOMP_SET_MODE_FILTER`). With
/// [`NEW_LISTENER`] among the flags gives the listener's number, else 0.
///
/// The listener is close-on-exec. It is a bare number because whoever loads a
/// filter may not be able to close anything any more.
///
/// # Errors
/// The errno of seccomp(2): `EACCES` with neither `no_new_privs` nor
/// `CAP_SYS_ADMIN`, `EINVAL` for a program or a flag the kernel does not know.
pub fn load(program: &[Insn], flags: u64) -> nix::Result<RawFd> {
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const Insn,
    }
    let len = u16::try_from(program.len()).map_err(|_| nix::errno::Errno::E2BIG)?;
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: the kernel reads `len` instructions, which are there, laid out as it wants them.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(ret).map(|fd| fd as RawFd)
}

/// Would a filter be loaded with these flags? Asked with a program that is none.
///
/// # Errors
/// `EINVAL` for a flag that the kernel does not know, `ENOSYS` where it has no
/// seccomp, and whatever a filter around us makes of the call.
pub fn probe(flags: u64) -> nix::Result<()> {
    let program = std::ptr::null::<u8>();
    // SAFETY: the kernel can read no program at the null pointer, and loads none.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, program) };
    match check(ret) {
        Ok(_) | Err(nix::errno::Errno::EFAULT) => Ok(()),
        Err(e) => Err(e),
    }
}
