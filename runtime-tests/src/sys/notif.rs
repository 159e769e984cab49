//! An agent's side of seccomp_unotify(2).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::check;

/// `struct seccomp_notif`: a call that waits for an answer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// By which it is answered.
    pub id: u64,
    /// The thread, in our pid namespace.
    pub pid: u32,
    flags: u32,
    /// The number of the system call.
    pub nr: i32,
    arch: u32,
    ip: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

#[repr(C)]
#[derive(Debug, Default)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
#[derive(Debug, Default)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

const RECV: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;
const ID_VALID: u64 = 0x4008_2102;
const ADDFD: u64 = 0x4018_2103;
const FLAG_CONTINUE: u32 = 1;

fn ioctl<T>(listener: &File, request: u64, argument: &mut T) -> io::Result<i64> {
    let fd = listener.as_raw_fd();
    // SAFETY: each caller gives the structure that its request has in its number.
    check(unsafe { libc::ioctl(fd, request as libc::Ioctl, std::ptr::from_mut(argument)) })
}

/// The next call; `None` when nobody is left who could make one.
pub fn receive(listener: &File) -> io::Result<Option<Request>> {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one struct.
    check(unsafe { libc::poll(&mut poll, 1, -1) })?;
    if poll.revents & libc::POLLIN == 0 {
        return Ok(None);
    }
    let mut request = Request::default();
    match ioctl(listener, RECV, &mut request) {
        Ok(_) => Ok(Some(request)),
        Err(e) => Err(e),
    }
}

/// The call returns this; a negative one is an errno.
pub fn answer(listener: &File, id: u64, result: i64) -> io::Result<()> {
    let mut response = Response { id, val: result.max(0), error: result.min(0) as i32, flags: 0 };
    ioctl(listener, SEND, &mut response).map(|_| ())
}

/// The call is made as if there had been no filter.
pub fn go_on(listener: &File, id: u64) -> io::Result<()> {
    ioctl(listener, SEND, &mut Response { id, flags: FLAG_CONTINUE, ..Response::default() }).map(|_| ())
}

/// Is whoever asked still waiting?
pub fn still_waits(listener: &File, id: u64) -> bool {
    let mut id = id;
    ioctl(listener, ID_VALID, &mut id).is_ok()
}

/// Gives the caller a copy of `fd`; its number there.
pub fn add_fd(listener: &File, id: u64, fd: &impl AsFd) -> io::Result<i64> {
    ioctl(listener, ADDFD, &mut AddFd { id, srcfd: fd.as_fd().as_raw_fd() as u32, ..AddFd::default() })
}
