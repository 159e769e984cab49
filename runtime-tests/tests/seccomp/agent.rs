//! An agent: it is told of processes and decides what their filters leave to it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use runtime_tests::sys::notif::{self, Request};
use runtime_tests::{Case, Value, sys};

/// No test waits longer for what must come.
const PATIENCE_MS: i32 = 20_000;

/// Listens where a case's config says.
pub struct Agent {
    pub socket: UnixListener,
    pub path: PathBuf,
}

/// What it was told of one process.
pub struct Told {
    pub report: Value,
    pub listener: File,
    /// How many descriptors came.
    pub fds: usize,
    /// What the runtime sent it over; it has nothing more to say.
    pub connection: UnixStream,
}

impl Agent {
    /// Listens, and puts the path into the config.
    pub fn new(c: &mut Case) -> Self {
        let path = c.dir.join("agent.sock");
        let socket = UnixListener::bind(&path).expect("the agent's socket");
        c.set("/linux/seccomp/listenerPath", path.to_str().expect("UTF-8"));
        Self { socket, path }
    }

    /// The next connection.
    pub fn connection(&self) -> UnixStream {
        assert!(sys::readable(&self.socket, PATIENCE_MS), "nobody connects");
        self.socket.accept().expect("a connection").0
    }

    /// Takes the next process.
    pub fn accept(&self) -> Told {
        let connection = self.connection();
        assert!(sys::readable(&connection, PATIENCE_MS), "nothing is sent");
        let (bytes, mut fds) = sys::recv_fds(&connection).expect("a message");
        let report = serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{e}: {bytes:?}"));
        let count = fds.len();
        Told { report, listener: fds.swap_remove(0).into(), fds: count, connection }
    }

    /// Has nobody connected, and does nobody within some time?
    pub fn is_left_alone(&self) -> bool {
        !sys::readable(&self.socket, 300)
    }
}

/// Decides every call until nobody is left who could make one; gives the numbers.
pub fn serve(listener: File, decide: impl Fn(&File, &Request) + Send + 'static) -> JoinHandle<Vec<i32>> {
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        loop {
            match notif::receive(&listener) {
                Ok(Some(request)) => {
                    seen.push(request.nr);
                    decide(&listener, &request);
                }
                Ok(None) => return seen,
                // Whoever asked is gone, or it was a signal of ours.
                Err(e) if [Some(libc::ENOENT), Some(libc::EINTR)].contains(&e.raw_os_error()) => {}
                Err(e) => panic!("the agent cannot receive: {e}"),
            }
        }
    })
}

/// Every call is made as if there were no filter.
pub fn let_through(listener: &File, request: &Request) {
    // It may have been killed since.
    let _ = notif::go_on(listener, request.id);
}

/// A path in the caller's memory.
pub fn path_at(listener: &File, request: &Request, address: u64) -> io::Result<String> {
    let mut memory = File::open(format!("/proc/{}/mem", request.pid))?;
    // Only now is it certain that the number is still the caller's.
    if !notif::still_waits(listener, request.id) {
        return Err(io::ErrorKind::NotFound.into());
    }
    memory.seek(SeekFrom::Start(address))?;
    let mut bytes = vec![0; 256];
    let n = memory.read(&mut bytes)?;
    bytes.truncate(bytes[..n].iter().position(|b| *b == 0).unwrap_or(n));
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Makes directories below `/tmp` and null devices for the caller; whatever
/// else it wants to make is a read-only file system.
pub fn make_for_it(listener: &File, request: &Request) {
    let [a, b, c, d, ..] = request.args;
    let done = match i64::from(request.nr) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => path_at(listener, request, a).and_then(|path| mkdir(request, &path)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mknod => path_at(listener, request, a).and_then(|path| mknod(request, &path, b, c)),
        libc::SYS_mkdirat => path_at(listener, request, b).and_then(|path| mkdir(request, &path)),
        libc::SYS_mknodat => path_at(listener, request, b).and_then(|path| mknod(request, &path, c, d)),
        _ => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
    };
    let result = done.map_or_else(|e| -i64::from(e.raw_os_error().unwrap_or(libc::EIO)), |()| 0);
    let _ = notif::answer(listener, request.id, result);
}

fn inside(request: &Request, path: &str) -> String {
    format!("/proc/{}/root{path}", request.pid)
}

fn mkdir(request: &Request, path: &str) -> io::Result<()> {
    if !path.starts_with("/tmp/") {
        return Err(io::Error::from_raw_os_error(libc::EROFS));
    }
    fs::create_dir(inside(request, path))
}

fn mknod(request: &Request, path: &str, mode: u64, device: u64) -> io::Result<()> {
    let null = libc::makedev(1, 3) as u64;
    if mode as u32 & libc::S_IFMT != libc::S_IFCHR || device != null {
        return Err(io::Error::from_raw_os_error(libc::EROFS));
    }
    sys::mknod(inside(request, path), libc::S_IFCHR, 1, 3)?;
    fs::set_permissions(inside(request, path), fs::Permissions::from_mode(0o666))
}
