//! Extended attributes by fd.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};

use super::check;

/// The names of an open file's extended attributes; empty where the filesystem has none.
///
/// # Errors
/// The errno of flistxattr(2).
pub fn list(fd: impl AsFd) -> nix::Result<Vec<CString>> {
    let fd = fd.as_fd().as_raw_fd();
    let mut buf = vec![0u8; 64 * 1024];
    // SAFETY: pointer and length of one buffer.
    let ret = unsafe { libc::flistxattr(fd, buf.as_mut_ptr().cast(), buf.len()) };
    let len = match check(ret as libc::c_long) {
        Err(nix::errno::Errno::EOPNOTSUPP) => 0,
        other => usize::try_from(other?).unwrap_or(0),
    };
    let names = buf[..len].split(|b| *b == 0).filter(|n| !n.is_empty());
    Ok(names.filter_map(|n| CString::new(n).ok()).collect())
}

/// One attribute's value.
///
/// # Errors
/// The errno of fgetxattr(2).
pub fn get(fd: impl AsFd, name: &CStr) -> nix::Result<Vec<u8>> {
    let mut buf = vec![0u8; 64 * 1024];
    // SAFETY: a C string, pointer and length of one buffer.
    let ret = unsafe { libc::fgetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    buf.truncate(usize::try_from(check(ret as libc::c_long)?).unwrap_or(0));
    Ok(buf)
}

/// Sets one attribute.
///
/// # Errors
/// The errno of fsetxattr(2).
pub fn set(fd: impl AsFd, name: &CStr, value: &[u8]) -> nix::Result<()> {
    // SAFETY: a C string, pointer and length of one slice.
    let ret = unsafe { libc::fsetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    check(ret.into()).map(drop)
}
