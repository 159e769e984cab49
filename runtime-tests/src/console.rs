//! The receiving side of `--console-socket`, and talking to a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::sys;

/// A socket waiting for a descriptor, as the engines make one.
pub struct FdSocket {
    listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
    // Below /tmp: a socket's path has room for 107 bytes, a build directory may be deep.
    _dir: tempfile::TempDir,
}

impl FdSocket {
    /// Listens on a path of its own.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let dir = tempfile::tempdir_in("/tmp").expect("a directory for the socket");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("bind");
        Self { listener, path, _dir: dir }
    }

    /// Takes the descriptor that must already wait there: engines accept only
    /// after the runtime has exited (engine-contract §1.2).
    #[track_caller]
    pub fn take(&self) -> (String, OwnedFd) {
        assert!(sys::readable(&self.listener, 0), "nobody has connected to the socket");
        let (stream, _) = self.listener.accept().expect("accept");
        assert!(sys::readable(&stream, 0), "connected, but nothing sent");
        let (bytes, mut fds) = sys::recv_fds(&stream).expect("recvmsg");
        assert_eq!(fds.len(), 1, "exactly one descriptor in the one message");
        assert!(sys::readable(&stream, 1000), "the connection must be closed after the message");
        let (rest, more) = sys::recv_fds(&stream).expect("recvmsg");
        assert!(rest.is_empty() && more.is_empty(), "one message only");
        (String::from_utf8(bytes).expect("a name"), fds.remove(0))
    }

    /// Has anybody connected?
    pub fn is_untouched(&self) -> bool {
        !sys::readable(&self.listener, 0)
    }
}

/// The controlling side of a pty.
pub struct Terminal {
    /// The master.
    pub master: File,
    seen: String,
    patience: Duration,
}

impl Terminal {
    /// Takes over a master.
    pub fn new(master: impl Into<File>) -> Self {
        Self { master: master.into(), seen: String::new(), patience: Duration::from_secs(10) }
    }

    /// Waits longer for what is to be seen: an engine is behind it.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Reads until `text` has been seen; gives everything since the last call.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + self.patience;
        while !self.seen.contains(text) {
            assert!(Instant::now() < end, "no {text:?} on the terminal, only {:?}", self.seen);
            if !self.read_some() {
                assert!(self.seen.contains(text), "terminal closed without {text:?}: {:?}", self.seen);
            }
        }
        std::mem::take(&mut self.seen)
    }

    /// Reads until the other side is closed.
    pub fn rest(&mut self) -> String {
        let end = Instant::now() + self.patience;
        while Instant::now() < end && self.read_some() {}
        std::mem::take(&mut self.seen)
    }

    /// False when the other side is closed (EIO, for a pty).
    fn read_some(&mut self) -> bool {
        if !sys::readable(&self.master, 100) {
            return true;
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(n) if n > 0 => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
                true
            }
            _ => false,
        }
    }
}
