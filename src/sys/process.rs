//! Processes: clone3(2), pidfds, waiting, namespaces, execve.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use super::check;
use super::fd::own;

const CLONE_PIDFD: u64 = 0x1000;
/// Defined here because libc's constant overflows its `c_int` to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// What [`fork`] returned, and where.
#[derive(Debug)]
pub enum Fork {
    /// We are the child.
    Child,
    /// We are the parent: the child's pid (in our pid namespace) and pidfd.
    Parent {
        /// Process id.
        pid: i32,
        /// Its pidfd.
        pidfd: OwnedFd,
    },
}

/// clone3(2) with fork semantics: new namespaces by `flags`, born in `cgroup` if given (Linux 5.7).
///
/// The process must have one thread, so that no lock can be held by another
/// at the moment of the copy; orlop never starts a second one.
///
/// # Errors
/// The errno of clone3(2).
pub fn fork(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Fork> {
    clone(flags, libc::SIGCHLD, cgroup)
}

/// As [`fork`], but the child is one of our parent's, and ends with the signal that we would.
///
/// # Errors
/// The errno of clone3(2).
pub fn fork_sibling(flags: u64) -> nix::Result<Fork> {
    clone(flags | libc::CLONE_PARENT as u64, 0, None)
}

fn clone(flags: u64, exit_signal: i32, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Fork> {
    let mut pidfd: RawFd = -1;
    // SAFETY: an all-zero clone_args asks for nothing.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = exit_signal as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM and no stack: the child gets a copy of everything,
    // as with fork(2). The caller has one thread.
    let ret = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) })?;
    if ret == 0 {
        return Ok(Fork::Child);
    }
    let pid = i32::try_from(ret).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel has just written it.
    Ok(Fork::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Ends the process at once: no destructor, no atexit handler of the parent's runs twice.
pub fn exit_now(status: i32) -> ! {
    // Not _exit(3), which tries for ever where a filter has it fail.
    // SAFETY: a number.
    unsafe { libc::syscall(libc::SYS_exit_group, status) };
    die()
}

/// Ends the process without a system call, which a filter could keep waiting:
/// by an instruction that is none.
pub fn die() -> ! {
    // SAFETY: the kernel answers with a SIGILL, which also a pid namespace's first process dies of.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("ud2", options(noreturn))
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("udf #0", options(noreturn))
    }
    // SAFETY: as above.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        std::arch::asm!("unimp", options(noreturn))
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    std::process::abort()
}

/// pidfd_open(2).
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// pidfd_send_signal(2).
///
/// # Errors
/// `ESRCH` when the process is gone.
pub fn pidfd_kill(pidfd: impl AsFd, signal: i32) -> nix::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: no siginfo is given.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0) })
        .map(drop)
}

/// pidfd_getfd(2): a copy of another process's descriptor (Linux 5.6).
///
/// # Errors
/// `EBADF` when it has none of that number, `EPERM` without the right to trace it.
pub fn pidfd_getfd(pidfd: impl AsFd, number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), number, 0) })
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this status.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

impl Exit {
    /// The status a shell reports: the code, or 128 + signal.
    pub fn shell_status(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Waits for a child by pidfd and reaps it.
///
/// # Errors
/// `ECHILD` when it is not our child.
pub fn wait(pidfd: impl AsFd) -> nix::Result<Exit> {
    loop {
        match wait_once(libc::P_PIDFD, pidfd.as_fd().as_raw_fd(), libc::WEXITED) {
            Ok(Some((_, exit))) => return Ok(exit),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reaps one ended child, whichever; `None` when none has ended.
///
/// # Errors
/// `ECHILD` when there are no children.
pub fn reap_any() -> nix::Result<Option<(i32, Exit)>> {
    wait_once(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG)
}

/// Waits up to `millis` for a process to end, whoever's child it is; false = it has not.
///
/// # Errors
/// The errno of poll(2).
pub fn wait_exit(pidfd: impl AsFd, millis: u16) -> nix::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(millis)) {
            Err(Errno::EINTR) => {}
            other => return other.map(|n| n > 0),
        }
    }
}

fn wait_once(kind: libc::idtype_t, id: RawFd, options: i32) -> nix::Result<Option<(i32, Exit)>> {
    // SAFETY: all-zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in info.
    check(unsafe { libc::waitid(kind, id as libc::id_t, &raw mut info, options) }.into())?;
    // SAFETY: for waitid, si_pid and si_status are the fields in use.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let exit = if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) };
    Ok(Some((pid, exit)))
}

/// setns(2) with a namespace fd (`kind` one flag) or a pidfd (`kind` any of them).
///
/// # Errors
/// The errno of setns(2).
pub fn join(fd: impl AsFd, kind: u64) -> nix::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::setns(fd.as_fd().as_raw_fd(), kind as i32) }.into()).map(drop)
}

/// unshare(2).
///
/// # Errors
/// The errno of unshare(2).
pub fn unshare(flags: u64) -> nix::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::unshare(flags as i32) }.into()).map(drop)
}

/// The type of a namespace fd as its `CLONE_NEW*` flag (`NS_GET_NSTYPE`, Linux 4.11).
///
/// # Errors
/// `ENOTTY` when it is no namespace.
pub fn namespace_type(fd: impl AsFd) -> nix::Result<u64> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: takes no argument.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) }.into()).map(|flag| flag as u64)
}

/// Really all signals. [`SigSet::all`] leaves out those that the C library has
/// for itself, and what musl has for itself includes 34, SIGRTMIN elsewhere.
pub fn every_signal() -> SigSet {
    // SAFETY: a set is bits, and the kernel takes any of them.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        std::ptr::write_bytes(&raw mut set, 0xff, 1);
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Blocks every signal; gives back the mask that was.
///
/// # Errors
/// The errno of sigprocmask(2).
pub fn block_signals() -> nix::Result<SigSet> {
    let mut old = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&every_signal()), Some(&mut old))?;
    Ok(old)
}

/// Sets the signal mask.
///
/// # Errors
/// The errno of sigprocmask(2).
pub fn set_signal_mask(mask: &SigSet) -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None)
}

/// Sets SIGPIPE back to its default: Rust's runtime ignores it, and ignored
/// signals survive execve.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL is no handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Sets every signal back to its default: what the caller ignores is not the
/// container's business. (clone3 has reset handlers, but not what is ignored.)
pub fn default_signals() {
    // All zero is SIG_DFL with no flags, in the kernel's layout, which has no
    // reserved signals as the C library's wrapper has.
    let default = [0u64; 4];
    for signal in 1..=64 {
        let old = std::ptr::null_mut::<u64>();
        // SAFETY: no handler of ours is set; KILL and STOP are refused, which is fine.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, size_of::<u64>()) };
    }
}

/// setsid(2). Already being a leader is fine.
pub fn new_session() {
    // SAFETY: no arguments.
    unsafe { libc::setsid() };
}

/// A C array of strings for execve(2): pointers into `strings`, ended by null.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

/// An execve(2) for which nothing is left to be done but the call itself.
#[derive(Debug)]
pub struct Exec<'a> {
    path: &'a CStr,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    strings: std::marker::PhantomData<&'a [CString]>,
}

impl<'a> Exec<'a> {
    /// Allocates what it takes.
    pub fn new(path: &'a CStr, args: &'a [CString], env: &'a [CString]) -> Self {
        Self { path, args: pointers(args), env: pointers(env), strings: std::marker::PhantomData }
    }

    /// execve(2); returns only on failure.
    pub fn go(&self) -> Errno {
        // SAFETY: C strings in null-ended arrays, all borrowed for as long as `self` lives.
        unsafe { libc::execve(self.path.as_ptr(), self.args.as_ptr(), self.env.as_ptr()) };
        Errno::last()
    }
}

/// execve(2); returns only on failure.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    Exec::new(path, args, env).go()
}

/// execveat(2) of an fd itself; returns only on failure.
pub fn exec_fd(fd: impl AsFd, args: &[CString], env: &[CString]) -> Errno {
    let (args, env) = (pointers(args), pointers(env));
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: as above, with an empty path for AT_EMPTY_PATH.
    unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), args.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH) };
    Errno::last()
}

/// umask(2); gives back the old one.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: a number.
    unsafe { libc::umask(mask) }
}

/// getcwd(2) as the kernel says it: `(unreachable)/x` outside of the root.
///
/// # Errors
/// The errno of getcwd(2): `ENOENT` when the directory was removed.
pub fn kernel_cwd() -> nix::Result<Vec<u8>> {
    let mut buf = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: pointer and length of one buffer.
    let len = check(unsafe { libc::syscall(libc::SYS_getcwd, buf.as_mut_ptr(), buf.len()) })?;
    buf.truncate(usize::try_from(len).unwrap_or(1).saturating_sub(1));
    Ok(buf)
}

/// faccessat2(2) with the effective ids: may this file be executed? (Linux 5.8)
///
/// # Errors
/// `EACCES` when it may not, or the errno of the path walk.
pub fn may_execute(path: &CStr) -> nix::Result<()> {
    // SAFETY: a C string and numbers.
    check(unsafe { libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) })
        .map(drop)
}

/// setdomainname(2).
///
/// # Errors
/// The errno of setdomainname(2).
pub fn set_domainname(name: &str) -> nix::Result<()> {
    // SAFETY: pointer and length of one string.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Waits for a signal that ends this process, holding on to nothing: no open
/// file, no blocked signal. It does not outlive its parent.
pub fn do_nothing() -> ! {
    let parent = nix::unistd::getppid();
    let ready = super::ids::set_parent_death_signal(libc::SIGKILL)
        .and_then(|()| super::fd::close_except(0, &[]))
        .and_then(|()| set_signal_mask(&SigSet::empty()));
    // A parent that died before that was asked for is not noticed otherwise.
    while ready.is_ok() && nix::unistd::getppid() == parent {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
    exit_now(0)
}
