//! Keeps the host's binary out of reach of containers (CVE-2019-5736).
//!
//! A process of ours that enters a container can be found there as
//! `/proc/PID/exe`, and a program that is `#!/proc/self/exe` even runs it. So
//! before that we execute ourselves again from a read-only mount of our own
//! binary that is attached nowhere: what is opened through it can't be opened
//! for writing, by any path and with any capability, and since the mount is in
//! no namespace nobody can change its flags. Where that is not permitted, a
//! sealed copy in memory serves: that one has to copy the whole binary each time.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open, readlink};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::error::{Error, Result, Step};
use crate::sys;
use crate::sys::mount;

const SELF: &std::ffi::CStr = c"/proc/self/exe";
const STEP: &str = "cannot protect the runtime's own binary";

/// Returns when this process runs from a protected copy of the binary and
/// nobody can look into it; executes itself again to get there.
///
/// # Errors
/// When neither a read-only mount nor a sealed copy can be had.
pub fn ensure() -> Result<()> {
    let exe = open(SELF, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).step_at(STEP, "/proc/self/exe")?;
    if !is_protected(&exe).step(STEP)? {
        let copy = read_only_mount(&exe).or_else(|_| sealed_copy())?;
        return Err(execute(&copy));
    }
    // Before any namespace is joined (CVE-2016-9962); children inherit it.
    sys::ids::set_dumpable(false).step(STEP)
}

fn is_protected(exe: &OwnedFd) -> nix::Result<bool> {
    if fstatvfs(exe)?.flags().contains(FsFlags::ST_RDONLY) {
        // A read-only mount of the host's can be made writable again while a
        // container holds the binary open. Ours, attached nowhere and the
        // binary its root, has no other name than this.
        return Ok(readlink(SELF)?.as_bytes() == b"/");
    }
    // Only a memfd has seals, and only tmpfs has memfds.
    if fstatfs(exe)?.filesystem_type() != nix::sys::statfs::TMPFS_MAGIC {
        return Ok(false);
    }
    let readable = open(SELF, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let seals = fcntl(&readable, FcntlArg::F_GET_SEALS).unwrap_or(0);
    Ok(SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE))
}

/// A clone of the mount the binary is on, of which the binary is the root.
fn read_only_mount(exe: &OwnedFd) -> Result<OwnedFd> {
    let tree = mount::clone_tree(exe.as_fd(), false).step(STEP)?;
    mount::set_attr(&tree, libc::MOUNT_ATTR_RDONLY, 0, 0, false).step(STEP)?;
    Ok(tree)
}

fn sealed_copy() -> Result<OwnedFd> {
    let hint = "a read-only mount of it was not permitted, nor a sealed copy";
    let fail = |e: Error| e.hint(hint);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = memfd_create(c"orlop", flags).step(STEP).map_err(fail)?;
    let mut from = std::fs::File::open("/proc/self/exe").step(STEP).map_err(fail)?;
    let mut to = std::fs::File::from(copy);
    std::io::copy(&mut from, &mut to).and_then(|_| to.flush()).step(STEP).map_err(fail)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&to, FcntlArg::F_ADD_SEALS(seals)).step(STEP).map_err(fail)?;
    Ok(to.into())
}

/// Executes the copy with the same arguments and environment; returns only on failure.
fn execute(copy: &OwnedFd) -> Error {
    let strings = |s: Vec<std::ffi::OsString>| s.into_iter().filter_map(|s| CString::new(s.into_vec()).ok()).collect();
    let args: Vec<CString> = strings(std::env::args_os().collect());
    let env = std::env::vars_os().map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        key
    });
    let env: Vec<CString> = strings(env.collect());
    // Rust's start-up has SIGPIPE ignored, which would be taken for the caller's wish.
    sys::process::default_sigpipe();
    Error::sys(STEP, sys::process::exec_fd(copy, &args, &env))
}
