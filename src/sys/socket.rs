//! Passing fds over Unix sockets.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg,
    sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::stat::Mode;
use nix::sys::time::{TimeSpec, TimeVal};

/// One sendmsg(2): a payload and exactly one fd, as conmon and containerd want it.
/// Gives how much of the payload was taken.
///
/// # Errors
/// The errno of sendmsg(2).
pub fn send_fd(to: impl AsFd, payload: &[u8], fd: BorrowedFd<'_>) -> nix::Result<usize> {
    let fds = [fd.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(to.as_fd().as_raw_fd(), &[IoSlice::new(payload)], &control, flags, None)
}

/// Receives one message and the fd that may come with it (close-on-exec).
///
/// # Errors
/// The errno of recvmsg(2).
pub fn recv_fd(from: impl AsFd, buf: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut space = cmsg_space!(std::os::fd::RawFd);
    let mut iov = [IoSliceMut::new(buf)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let msg = recvmsg::<()>(from.as_fd().as_raw_fd(), &mut iov, Some(&mut space), flags)?;
    let mut got = None;
    for control in msg.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just installed these fds for us.
            got = fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).next();
        }
    }
    Ok((msg.bytes, got))
}

/// Connects to a stream socket by path, however long the path is.
///
/// # Errors
/// The errno of socket(2), open(2) or connect(2).
pub fn connect_stream(path: &Path) -> nix::Result<OwnedFd> {
    let sock = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    with_short_name(path, |addr| connect(sock.as_raw_fd(), addr))?;
    Ok(sock)
}

/// Like [`connect_stream`], but neither connecting nor anything sent later
/// waits longer than `patience` for the other side (`SO_SNDTIMEO`, unix(7)).
///
/// # Errors
/// `EAGAIN` when it takes too long.
pub fn connect_stream_within(path: &Path, patience: Duration) -> nix::Result<OwnedFd> {
    let sock = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeSpec::from_duration(patience);
    setsockopt(&sock, sockopt::SendTimeout, &TimeVal::new(patience.tv_sec(), patience.tv_nsec() / 1000))?;
    with_short_name(path, |addr| connect(sock.as_raw_fd(), addr))?;
    Ok(sock)
}

/// Calls `f` with an address of at most 108 bytes that means `path`: a longer
/// one goes through `/proc/self/fd/N/name`.
///
/// # Errors
/// The errno of open(2) on the directory, or of `f`.
pub fn with_short_name<T>(path: &Path, f: impl FnOnce(&UnixAddr) -> nix::Result<T>) -> nix::Result<T> {
    match UnixAddr::new(path) {
        Ok(addr) => f(&addr),
        Err(Errno::ENAMETOOLONG) => {
            let dir = path.parent().ok_or(Errno::EINVAL)?;
            let name = path.file_name().ok_or(Errno::EINVAL)?;
            let fd = nix::fcntl::open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
            let short = Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string()).join(name);
            f(&UnixAddr::new(&short)?)
        }
        Err(e) => Err(e),
    }
}

/// Accepts one connection (close-on-exec), however often a signal interrupts.
///
/// # Errors
/// The errno of accept4(2).
pub fn accept(listener: impl AsFd) -> nix::Result<OwnedFd> {
    loop {
        match nix::sys::socket::accept4(listener.as_fd().as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: the kernel has just made this fd for us.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Turns on an option of a netlink socket (netlink(7)).
///
/// # Errors
/// `ENOPROTOOPT` when the kernel does not know it.
pub fn netlink_option(sock: impl AsFd, option: libc::c_int) -> nix::Result<()> {
    let (fd, on) = (sock.as_fd().as_raw_fd(), 1 as libc::c_int);
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: pointer and length of one number.
    super::check(unsafe { libc::setsockopt(fd, libc::SOL_NETLINK, option, (&raw const on).cast(), len) }.into())
        .map(drop)
}

/// Sets `IFF_UP` on an interface (netdevice(7), `SIOCSIFFLAGS`).
///
/// # Errors
/// The errno of ioctl(2).
pub fn interface_up(sock: impl AsFd, name: &std::ffi::CStr) -> nix::Result<()> {
    let fd = sock.as_fd().as_raw_fd();
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes().iter().take(libc::IFNAMSIZ - 1)) {
        *to = *from as libc::c_char;
    }
    // SAFETY: SIOCGIFFLAGS reads the name and fills in the flags.
    super::check(unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request) }.into())?;
    // SAFETY: flags are the field in use after SIOCGIFFLAGS.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    // SAFETY: SIOCSIFFLAGS reads name and flags.
    super::check(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) }.into()).map(drop)
}
