//! What the caller gets besides the exit status: pid-file, console, pidfd.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Step};
use crate::sys;

/// Sockets and files the caller named, opened or made absolute early: relative
/// to the caller's directory, and before any side effect.
#[derive(Debug, Default)]
pub struct Outputs {
    pid_file: Option<PathBuf>,
    /// Connected `--console-socket`.
    pub console: Option<OwnedFd>,
    pidfd_socket: Option<OwnedFd>,
}

impl Outputs {
    /// Connects the sockets.
    ///
    /// # Errors
    /// Names the flag and the path.
    pub fn open(pid_file: Option<&Path>, console: Option<&Path>, pidfd_socket: Option<&Path>) -> Result<Self> {
        let connect = |path: &Path, flag: &str| {
            sys::socket::connect_stream(path).map_err(|e| Error::sys(format!("cannot connect to {flag}"), e).path(path))
        };
        let absolute = |path: &Path| std::path::absolute(path).step_at("cannot find --pid-file", path);
        Ok(Self {
            pid_file: pid_file.map(absolute).transpose()?,
            console: console.map(|path| connect(path, "--console-socket")).transpose()?,
            pidfd_socket: pidfd_socket.map(|path| connect(path, "--pidfd-socket")).transpose()?,
        })
    }

    /// Tells the caller of the process: pidfd (`payload` is `standard` for init,
    /// `setns` for exec, as runc has it) and, last, the pid-file.
    ///
    /// # Errors
    /// Names the flag and the path.
    pub fn announce(&self, pid: i32, pidfd: impl AsFd, payload: &str) -> Result<()> {
        if let Some(socket) = &self.pidfd_socket {
            sys::socket::send_fd(socket, payload.as_bytes(), pidfd.as_fd()).step("cannot send to --pidfd-socket")?;
        }
        match &self.pid_file {
            Some(path) => write_pid_file(path, pid).step_at("cannot write --pid-file", path),
            None => Ok(()),
        }
    }

    /// Takes back the pid-file of a process that came to nothing: conmon takes
    /// its mere existence for success.
    pub fn retract(&self) {
        if let Some(path) = &self.pid_file {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Decimal digits and nothing else: containerd does not trim. In one piece, by
/// a hidden file and a rename.
fn write_pid_file(path: &Path, pid: i32) -> std::io::Result<()> {
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let temp = path.with_file_name(format!(".{}", name.to_string_lossy()));
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&temp)?;
        std::io::Write::write_all(&mut file, pid.to_string().as_bytes())?;
        std::fs::rename(&temp, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&temp);
    })
}

/// Where a process gets its terminal from.
///
/// # Errors
/// For combinations that leave the master with nobody.
pub fn check_terminal(terminal: bool, socket: bool, detached: bool) -> Result<()> {
    match (terminal, socket, detached) {
        (true, false, true) => Err(Error::new("cannot allocate a terminal without --console-socket when detached")
            .in_field("process.terminal")),
        (false, true, _) => Err(Error::new("cannot use --console-socket without process.terminal")),
        (true, true, false) => Err(Error::new("cannot use --console-socket in the foreground")),
        _ => Ok(()),
    }
}
