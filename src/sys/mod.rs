//! The kernel as this project speaks it: thin typed wrappers for what nix and
//! libc lack. The only home of `unsafe`.
//!
//! Every wrapper makes one system call and gives back its errno; naming the
//! step is the caller's business ([`crate::error::Step`]).

pub mod bpf;
pub mod fd;
pub mod ids;
pub mod lsm;
pub mod mount;
pub mod path;
pub mod process;
pub mod procfs;
pub mod sched;
pub mod seccomp;
pub mod socket;
pub mod tty;
pub mod xattr;

use nix::errno::Errno;

/// The outcome of a raw system call: its value, or the errno.
pub(crate) fn check(ret: libc::c_long) -> nix::Result<libc::c_long> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}
