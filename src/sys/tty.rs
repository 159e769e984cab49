//! Terminals: the pty pair, its size, raw mode.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use super::check;
use super::fd::own;

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// Unlocks a pty master and opens its slave without naming it (`TIOCGPTPEER`,
/// Linux 4.13): nothing the container puts at `/dev/pts/N` is ever looked at
/// (CVE-2025-52565).
///
/// # Errors
/// The errno of ioctl(2).
pub fn open_slave(master: impl AsFd) -> nix::Result<OwnedFd> {
    let fd = master.as_fd().as_raw_fd();
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    check(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &raw const unlock) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags and returns a new fd.
    own(unsafe { libc::ioctl(fd, libc::TIOCGPTPEER, flags) }.into())
}

/// Makes the terminal the controlling one of this session.
///
/// # Errors
/// The errno of ioctl(2).
pub fn make_controlling(tty: impl AsFd) -> nix::Result<()> {
    // SAFETY: TIOCSCTTY takes a number.
    check(unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// The size of a terminal.
///
/// # Errors
/// The errno of ioctl(2): `ENOTTY` when it is none.
pub fn size(tty: impl AsFd) -> nix::Result<Size> {
    let mut ws = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills in a winsize.
    check(unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut ws) }.into())?;
    Ok(Size { rows: ws.ws_row, cols: ws.ws_col })
}

/// Sets the size of a terminal.
///
/// # Errors
/// The errno of ioctl(2).
pub fn set_size(tty: impl AsFd, size: Size) -> nix::Result<()> {
    let ws = libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    check(unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const ws) }.into()).map(drop)
}

/// Clears ONLCR, so that captured lines do not end in CR LF (as runc does).
///
/// # Errors
/// The errno of tcsetattr(3).
pub fn clear_onlcr(tty: impl AsFd) -> nix::Result<()> {
    let mut termios = tcgetattr(&tty)?;
    termios.output_flags.remove(OutputFlags::ONLCR);
    tcsetattr(&tty, SetArg::TCSANOW, &termios)
}

/// Puts a terminal in raw mode; gives back what it was.
///
/// # Errors
/// `ENOTTY` when it is none.
pub fn set_raw(tty: impl AsFd) -> nix::Result<Termios> {
    let old = tcgetattr(&tty)?;
    let mut raw = old.clone();
    cfmakeraw(&mut raw);
    // Output stays as it was: the container's terminal sends bare LF, which
    // ours turns into CR LF if that is how it was set.
    raw.output_flags = old.output_flags;
    tcsetattr(&tty, SetArg::TCSANOW, &raw)?;
    Ok(old)
}

/// Restores a terminal.
///
/// # Errors
/// The errno of tcsetattr(3).
pub fn restore(tty: impl AsFd, termios: &Termios) -> nix::Result<()> {
    tcsetattr(&tty, SetArg::TCSANOW, termios)
}
