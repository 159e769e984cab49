//! A connection to systemd: over the system or session bus, or straight to
//! the manager's own socket. Blocking, with a deadline for everything.
//!
//! Ours rather than a library's. zbus is 67 crates. rustbus 0.19.3 (+107 KiB
//! and an old nix, syn and thiserror beside ours) cannot give up on a peer that
//! is silent or hangs up while logging in, says getuid() there, which is wrong
//! in a user namespace, and reads messages of any size.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket};
use serde::{Deserialize, Serialize};

use super::wire::{Kind, Malformed, Message, Value};
use crate::error::{Error, Result, Step};
use crate::sys::socket::with_short_name;

/// How long an answer is waited for, and a job (contract §2.13).
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

const STEP: &str = "cannot talk to systemd";
const HINT: &str = "is systemd running? else use --cgroup-manager cgroupfs";

/// Signals kept for later; a busy systemd sends one for each job it has.
const MAX_KEPT: usize = 4096;

/// Where a systemd listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address {
    /// The socket; `@name` is an abstract one.
    pub socket: PathBuf,
    /// It is the manager's own socket: there is no bus in between.
    pub direct: bool,
}

impl Address {
    fn new(socket: impl Into<PathBuf>, direct: bool) -> Self {
        Self { socket: socket.into(), direct }
    }
}

/// The sockets to try, best first. For the system's manager the bus comes
/// first, which is the documented interface; without a bus daemon root can
/// still talk to the manager itself, as systemctl does.
///
/// # Errors
/// A user's manager and nothing in the environment that says where it is.
pub(super) fn addresses(user: bool, env: impl Fn(&str) -> Option<String>) -> Result<Vec<Address>> {
    let set = |name| env(name).filter(|v| !v.is_empty());
    if !user {
        let given = set("DBUS_SYSTEM_BUS_ADDRESS").map(|text| parse(&text));
        return Ok(given.unwrap_or_else(|| {
            vec![Address::new("/run/dbus/system_bus_socket", false), Address::new("/run/systemd/private", true)]
        }));
    }
    let mut found = set("DBUS_SESSION_BUS_ADDRESS").map(|text| parse(&text)).unwrap_or_default();
    if let Some(dir) = set("XDG_RUNTIME_DIR").map(PathBuf::from) {
        found.extend([Address::new(dir.join("bus"), false), Address::new(dir.join("systemd/private"), true)]);
    }
    if found.is_empty() {
        return Err(Error::new("no session bus of systemd")
            .message("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")
            .hint("set XDG_RUNTIME_DIR=/run/user/UID, log in (or loginctl enable-linger), or use --cgroup-manager cgroupfs"));
    }
    Ok(found)
}

/// The Unix sockets of a list of D-Bus addresses (`unix:path=/x,guid=…;…`).
fn parse(list: &str) -> Vec<Address> {
    let socket = |address: &str| {
        let keys = address.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
        keys.into_iter().find_map(|(key, value)| match key {
            "path" => Some(unescape(value)),
            "abstract" => Some([b"@", unescape(value).as_slice()].concat()),
            _ => None,
        })
    };
    list.split(';').filter_map(socket).map(|s| Address::new(OsStr::from_bytes(&s), false)).collect()
}

/// `%20` is a space.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code.filter(|_| byte == b'%') {
            Some(code) => {
                out.push(code);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// What came back from a call.
#[derive(Debug)]
pub(super) enum Failure {
    /// The peer said no: the error's name and its text.
    Refused { name: String, text: String },
    /// There is no talking to it.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Broken(e)
    }
}

/// A connection, logged in.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    path: PathBuf,
    /// Readable: we are told to stop, so stop waiting.
    interrupt: Option<OwnedFd>,
    patience: Duration,
    serial: u32,
    /// Received, and not yet a whole message.
    input: Vec<u8>,
    kept: VecDeque<Message>,
}

impl Connection {
    /// Connects and logs in. Every wait ends when `interrupt` becomes readable.
    ///
    /// # Errors
    /// Nobody there, not let in, no answer in `patience`.
    pub fn open(address: &Address, interrupt: Option<BorrowedFd<'_>>, patience: Duration) -> Result<Self> {
        let path = &address.socket;
        let socket = connect_to(path, patience).map_err(|e| Error::sys(STEP, e).path(path).hint(HINT))?;
        let interrupt = interrupt.map(|fd| fd.try_clone_to_owned()).transpose().step(STEP)?;
        let mut connection = Self {
            socket,
            path: path.clone(),
            interrupt,
            patience,
            serial: 0,
            input: Vec::new(),
            kept: VecDeque::new(),
        };
        connection.log_in()?;
        Ok(connection)
    }

    /// From here on nothing interrupts the waiting, which is for so long at most.
    pub fn undoing(&mut self, patience: Duration) {
        self.interrupt = None;
        self.patience = patience;
    }

    /// EXTERNAL without saying who we are: the kernel has told the peer, and
    /// knows better than we do in a user namespace.
    fn log_in(&mut self) -> Result<()> {
        self.write(b"\0AUTH EXTERNAL\r\n")?;
        let mut answer = self.line()?;
        if answer.starts_with("DATA") {
            self.write(b"DATA\r\n")?;
            answer = self.line()?;
        }
        if !answer.starts_with("OK") {
            let e = self.error(format!("it did not let us in: {answer:?}"));
            return Err(e.hint("it takes root for the system's systemd, and its own user for a user's"));
        }
        self.write(b"BEGIN\r\n")
    }

    fn line(&mut self) -> Result<String> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(end) = self.input.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.input.len() > 4096 {
                return Err(self.error("it does not speak D-Bus"));
            }
            self.read(deadline)?;
        }
    }

    /// Sends a call; gives the number by which to know the answer.
    pub fn send(&mut self, mut call: Message) -> Result<u32> {
        self.serial += 1;
        call.serial = self.serial;
        self.write(&call.encode())?;
        Ok(self.serial)
    }

    /// Waits for the answer to a call.
    ///
    /// # Errors
    /// [`Failure::Refused`], or no answer.
    pub fn answer(&mut self, serial: u32) -> Result<Message, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let message = self.receive(deadline)?;
            match message.kind {
                Kind::Reply if message.reply_to == Some(serial) => return Ok(message),
                Kind::Error if message.reply_to == Some(serial) => {
                    let text = message.body.first().and_then(Value::text).unwrap_or_default().to_owned();
                    return Err(Failure::Refused { name: message.error.unwrap_or_default(), text });
                }
                // Signals that were asked for; they may come before the answer.
                Kind::Signal if self.kept.len() < MAX_KEPT => self.kept.push_back(message),
                _ => {}
            }
        }
    }

    /// Waits for a signal that is the one looked for.
    ///
    /// # Errors
    /// It did not come in time.
    pub fn signal(&mut self, wanted: impl Fn(&Message) -> bool) -> Result<Message> {
        let deadline = Instant::now() + self.patience;
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at).ok_or_else(|| self.error("a signal was lost"));
        }
        loop {
            let message = self.receive(deadline)?;
            if message.kind == Kind::Signal && wanted(&message) {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message> {
        let malformed = |Malformed(why)| Error::new(STEP).message(format!("its message makes no sense: {why}"));
        loop {
            let length = Message::length(&self.input).map_err(malformed)?;
            match length.filter(|n| *n <= self.input.len()) {
                Some(n) => {
                    let bytes: Vec<u8> = self.input.drain(..n).collect();
                    if let Some(message) = Message::decode(&bytes).map_err(malformed)? {
                        return Ok(message);
                    }
                }
                None => self.read(deadline)?,
            }
        }
    }

    /// Reads what there is, once there is something.
    fn read(&mut self, deadline: Instant) -> Result<()> {
        self.wait(PollFlags::POLLIN, deadline)?;
        let mut page = [0; 4096];
        match nix::unistd::read(&self.socket, &mut page) {
            Ok(0) | Err(Errno::ECONNRESET) => Err(self.error("it hung up")),
            Ok(n) => {
                self.input.extend_from_slice(&page[..n]);
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(e) => Err(Error::sys(STEP, e).path(&self.path)),
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        while !bytes.is_empty() {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(n) => bytes = &bytes[n..],
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, deadline)?,
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(self.error("it hung up")),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::sys(STEP, e).path(&self.path)),
            }
        }
        Ok(())
    }

    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = format!("no answer in {} s", self.patience.as_secs());
                return Err(self.error(text).hint("systemd is overloaded, or what listens there is not systemd"));
            }
            // Rounded up, so that the last millisecond is not spent spinning.
            let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut fds = vec![PollFd::new(self.socket.as_fd(), flags)];
            fds.extend(self.interrupt.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, left) {
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::sys(STEP, e).path(&self.path)),
                Ok(_) if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) => {
                    return Err(self.error("told to stop while waiting for it"));
                }
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) => {}
            }
        }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(STEP).path(&self.path).message(message)
    }
}

/// Connects without ever waiting for long: a full backlog counts as no answer.
fn connect_to(path: &Path, patience: Duration) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let sock = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let deadline = Instant::now() + patience;
    loop {
        let done = match path.as_os_str().as_bytes().strip_prefix(b"@") {
            Some(name) => connect(sock.as_raw_fd(), &UnixAddr::new_abstract(name)?),
            None => with_short_name(path, |addr| connect(sock.as_raw_fd(), addr)),
        };
        match done {
            Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
            done => return done.map(|()| sock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(user: bool, env: &[(&str, &str)]) -> Result<Vec<String>> {
        let get = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let show = |a: Address| format!("{}{}", a.socket.display(), if a.direct { " direct" } else { "" });
        Ok(addresses(user, get)?.into_iter().map(show).collect())
    }

    #[test]
    fn where_systemd_listens() {
        let system = ["/run/dbus/system_bus_socket", "/run/systemd/private direct"];
        assert_eq!(find(false, &[]).unwrap(), system);
        assert_eq!(find(false, &[("DBUS_SYSTEM_BUS_ADDRESS", "")]).unwrap(), system);
        assert_eq!(find(false, &[("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/x%20y,guid=1")]).unwrap(), ["/x y"]);
        let run = ["/run/user/7/bus", "/run/user/7/systemd/private direct"];
        assert_eq!(find(true, &[("XDG_RUNTIME_DIR", "/run/user/7")]).unwrap(), run);
        let both =
            [("XDG_RUNTIME_DIR", ""), ("DBUS_SESSION_BUS_ADDRESS", "tcp:host=x;unix:abstract=/tmp/a;unix:path=/b")];
        assert_eq!(find(true, &both).unwrap(), ["@/tmp/a", "/b"]);
        let e = find(true, &[("XDG_RUNTIME_DIR", "")]).unwrap_err().to_string();
        assert!(e.contains("XDG_RUNTIME_DIR") && e.contains("enable-linger"), "{e}");
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("a%2fb%zz%4"), b"a/b%zz%4");
    }
}
