//! The one way to `/proc`: a handle on the host's procfs, checked to be one,
//! through which names are resolved without leaving it.
//!
//! It is opened before any namespace is entered, so nothing that a container
//! mounts over its own `/proc` can stand in its way (CVE-2019-16884,
//! CVE-2025-52881); `RESOLVE_NO_XDEV` refuses over-mounts, `NO_MAGICLINKS` the
//! links that leave procfs. `self` in it is resolved for the calling process
//! at each use, so the handle serves after fork and setns as well.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::fd::{read_all, write_all};

/// The inode number of the root of every procfs (`PROC_ROOT_INO`).
const PROC_ROOT_INO: u64 = 1;

/// A checked handle on procfs.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// Opens `/proc` and checks that it is the root of a procfs.
    ///
    /// # Errors
    /// `ENODEV` when something else is mounted there, else the errno of open(2).
    pub fn open() -> nix::Result<Self> {
        let fd = nix::fcntl::open(c"/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        if fstatfs(&fd)?.filesystem_type() != PROC_SUPER_MAGIC || fstat(&fd)?.st_ino != PROC_ROOT_INO {
            return Err(Errno::ENODEV);
        }
        Ok(Self(fd))
    }

    /// Opens a file below it, without leaving it.
    ///
    /// # Errors
    /// The errno of openat2(2); `EXDEV` when something is mounted over the way.
    pub fn file(&self, name: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.0, name, how)
    }

    /// Follows a magic link (`PID/ns/net`) whose directory is resolved as above.
    ///
    /// # Errors
    /// The errno of openat2(2) or openat(2).
    pub fn magic_link(&self, dir: &CStr, name: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
        let dir = self.file(dir, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        nix::fcntl::openat(&dir, name, flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// The errno of openat2(2) or read(2).
    pub fn read(&self, name: &CStr) -> nix::Result<Vec<u8>> {
        read_all(self.file(name, OFlag::O_RDONLY)?)
    }

    /// Writes a whole value in one write(2).
    ///
    /// # Errors
    /// The errno of openat2(2) or write(2).
    pub fn write(&self, name: &CStr, data: &[u8]) -> nix::Result<()> {
        write_all(self.file(name, OFlag::O_WRONLY)?, data)
    }
}

impl Procfs {
    /// Another handle on the same procfs.
    ///
    /// # Errors
    /// The errno of fcntl(2).
    pub fn try_clone(&self) -> std::io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The path `self/fd/N` below procfs of an fd of this process.
pub fn self_fd(fd: impl AsFd) -> std::ffi::CString {
    use std::os::fd::AsRawFd;
    // A number holds no NUL byte, so the fallback is never taken.
    std::ffi::CString::new(format!("self/fd/{}", fd.as_fd().as_raw_fd())).unwrap_or_default()
}
