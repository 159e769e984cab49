//! File descriptors: small files, close_range(2), fds by number.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use super::check;

/// Borrows an fd that the caller of this process gave us by number (stdio,
/// `--preserve-fds`), which nobody in here owns. `None` when it is not open.
pub fn inherited(fd: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: fcntl(F_GETFD) on any number is harmless.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and inherited fds are never closed by this process before execve.
    Some(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Sets close-on-exec on all of `first..=last` (close_range(2), Linux 5.11).
///
/// # Errors
/// The errno of close_range(2).
pub fn cloexec_range(first: u32, last: u32) -> nix::Result<()> {
    close_range(first, last, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes all of `first..=last` except `keep` (sorted or not).
///
/// The owners of those fds must never use them again: this is the last act
/// before execve, in a process that ends with it.
///
/// # Errors
/// The errno of close_range(2).
pub fn close_except(first: u32, keep: &[RawFd]) -> nix::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut from = first;
    for fd in keep {
        if fd > from {
            close_range(from, fd - 1, 0)?;
        }
        from = from.max(fd + 1);
    }
    close_range(from, u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: u32) -> nix::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// The errno of fcntl(2).
pub fn set_cloexec(fd: impl AsFd, on: bool) -> nix::Result<()> {
    let flags = if on { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(fd, FcntlArg::F_SETFD(flags)).map(drop)
}

/// dup2(2) onto a number that nobody owns (0, 1, 2) or whose owner means the
/// new file from here on, without close-on-exec.
///
/// # Errors
/// The errno of dup2(2).
pub fn dup_onto(fd: impl AsFd, number: RawFd) -> nix::Result<()> {
    let from = fd.as_fd().as_raw_fd();
    if from == number {
        return set_cloexec(fd, false);
    }
    // SAFETY: plain numbers; the target stays open, as its owner expects.
    check(unsafe { libc::dup2(from, number) }.into()).map(drop)
}

/// Makes sure that 0, 1 and 2 are open, so that no file of ours lands there.
///
/// # Errors
/// The errno of open(2) on `/dev/null`.
pub fn fill_stdio() -> nix::Result<()> {
    loop {
        // SAFETY: a constant path; the result is checked.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        check(fd.into())?;
        if fd > 2 {
            // SAFETY: just opened and owned by nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            return Ok(());
        }
        // SAFETY: as above; this one stays open for the life of the process.
        set_cloexec(unsafe { BorrowedFd::borrow_raw(fd) }, false)?;
    }
}

/// The two kinds of flock(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Alone.
    Exclusive,
    /// Together with other shared ones.
    Shared,
}

/// flock(2) without waiting; false when somebody else holds it. The lock is the
/// open file's: a fork shares it, and it goes with the last copy of the fd.
/// (nix's guard unlocks when it is dropped, also in a fork that only means to
/// close its copy.)
///
/// # Errors
/// The errno of flock(2).
pub fn try_lock(fd: impl AsFd, share: Share) -> nix::Result<bool> {
    let kind = if share == Share::Exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
    // SAFETY: numbers only.
    match check(unsafe { libc::flock(fd.as_fd().as_raw_fd(), kind | libc::LOCK_NB) }.into()) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes ownership of what a system call returned.
pub(crate) fn own(ret: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = RawFd::try_from(check(ret)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just returned it, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Writes a small file below a directory fd in one write(2), as procfs and cgroupfs want it.
///
/// # Errors
/// The errno of openat(2) or write(2).
pub fn write_at(dir: impl AsFd, name: &CStr, data: &[u8]) -> nix::Result<()> {
    let fd = nix::fcntl::openat(
        dir,
        name,
        OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW,
        nix::sys::stat::Mode::empty(),
    )?;
    write_all(&fd, data)
}

/// Writes everything.
///
/// # Errors
/// The errno of write(2).
pub fn write_all(fd: impl AsFd, mut data: &[u8]) -> nix::Result<()> {
    while !data.is_empty() {
        match nix::unistd::write(&fd, data) {
            Ok(0) => return Err(Errno::EIO),
            Ok(n) => data = &data[n..],
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads to the end.
///
/// # Errors
/// The errno of read(2).
pub fn read_all(fd: impl AsFd) -> nix::Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match nix::unistd::read(&fd, &mut buf) {
            Ok(0) => return Ok(data),
            Ok(n) => data.extend_from_slice(&buf[..n]),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reads a small file below a directory fd.
///
/// # Errors
/// The errno of openat(2) or read(2).
pub fn read_at(dir: impl AsFd, name: &CStr) -> nix::Result<Vec<u8>> {
    let fd = nix::fcntl::openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    read_all(&fd)
}
