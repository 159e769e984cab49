//! The channel between the two sides: a close-on-exec `SOCK_SEQPACKET` pair.
//!
//! Each message is one packet: a tag byte and, for an error, its JSON. The end
//! of the channel without a message means that the other side died, or, after
//! [`Message::Ready`], that the program is running.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::error::{Error, Result, Step};

/// The longest message: an error's text with a hook's output fits many times over.
const MAX_MESSAGE: usize = 64 * 1024;

/// What the two sides say to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// init → host: namespaces and mounts stand; run prestart and createRuntime.
    RunHooks,
    /// host → init: go on.
    Continue,
    /// init → host: everything is set up.
    Ready,
    /// init → host: limits and the like are not for a user namespace to set; set them.
    SetAttributes,
    /// init → host: the time namespace waits for its offsets.
    SetTimeOffsets,
    /// init → host: the network namespace waits for its devices.
    MoveDevices,
    /// init → starter: the next thing is the execve.
    Executing,
    /// init → starter: its filter's listener will have this number; take it.
    Listener(RawFd),
    /// host → init: the state is written, the host lets go.
    Released,
    /// init → host: it failed.
    Failed(Box<Error>),
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::RunHooks => vec![b'H'],
            Self::Continue => vec![b'C'],
            Self::Ready => vec![b'R'],
            Self::SetAttributes => vec![b'A'],
            Self::SetTimeOffsets => vec![b'T'],
            Self::MoveDevices => vec![b'D'],
            Self::Executing => vec![b'X'],
            Self::Listener(number) => [&b"N"[..], &number.to_ne_bytes()].concat(),
            Self::Released => vec![b'L'],
            Self::Failed(error) => {
                let mut bytes = vec![b'E'];
                bytes.extend(serde_json::to_vec(error).unwrap_or_default());
                bytes
            }
        }
    }

    /// Reads one packet.
    ///
    /// # Errors
    /// For a packet that is none of ours: the two sides are of one binary, so
    /// this means that something else wrote to the channel.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let bad = || Error::new("unknown message from init");
        match bytes {
            b"H" => Ok(Self::RunHooks),
            b"C" => Ok(Self::Continue),
            b"R" => Ok(Self::Ready),
            b"A" => Ok(Self::SetAttributes),
            b"T" => Ok(Self::SetTimeOffsets),
            b"D" => Ok(Self::MoveDevices),
            b"X" => Ok(Self::Executing),
            b"L" => Ok(Self::Released),
            [b'N', a, b, c, d] => Ok(Self::Listener(RawFd::from_ne_bytes([*a, *b, *c, *d]))),
            [b'E', json @ ..] => serde_json::from_slice(json).map(|e| Self::Failed(Box::new(e))).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

/// One end of the channel.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends, close-on-exec.
    ///
    /// # Errors
    /// The errno of socketpair(2).
    pub fn pair() -> Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .step("cannot make the channel to init")?;
        Ok((Self(a), Self(b)))
    }

    /// Wraps a connected socket.
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// `EPIPE` when the other side is gone.
    pub fn send(&self, message: &Message) -> Result<()> {
        use std::os::fd::AsRawFd;
        loop {
            match send(self.0.as_raw_fd(), &message.encode(), MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop).step("cannot write to the channel"),
            }
        }
    }

    /// Receives one message; `None` at the end of the channel.
    ///
    /// # Errors
    /// The errno of recv(2), or a packet that is none of ours.
    pub fn recv(&self) -> Result<Option<Message>> {
        self.recv_into(&mut vec![0; MAX_MESSAGE])
    }

    fn recv_into(&self, buf: &mut [u8]) -> Result<Option<Message>> {
        use std::os::fd::AsRawFd;
        loop {
            match recv(self.0.as_raw_fd(), buf, MsgFlags::empty()) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(None),
                Ok(n) => return Message::decode(&buf[..n]).map(Some),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::sys("cannot read from the channel", e)),
            }
        }
    }

    /// Asks the other side for something and waits until it is done.
    ///
    /// # Errors
    /// As [`Channel::send`] and [`Channel::expect`].
    pub fn ask(&self, message: &Message) -> Result<()> {
        self.send(message)?;
        self.expect(&Message::Continue)
    }

    /// Receives `want`, one of those without contents, or fails because the
    /// other side is gone. Init is in its cgroup already when it waits so, and
    /// pays for every page.
    ///
    /// # Errors
    /// `ECONNRESET` when the channel ends, else as [`Channel::recv`].
    pub fn expect(&self, want: &Message) -> Result<()> {
        match self.recv_into(&mut [0; 16])? {
            Some(got) if got == *want => Ok(()),
            Some(_) => Err(Error::new("unexpected message on the channel")),
            None => Err(Error::sys("the other side of the channel is gone", Errno::ECONNRESET)),
        }
    }
}

impl Channel {
    /// Blocks until the other side says something, by nothing but one read(2).
    ///
    /// # Errors
    /// `ECONNRESET` when the channel ends instead.
    pub fn wait(&self) -> Result<()> {
        // Whatever else the read comes to was made of it by an agent, who then has what is waited for.
        match nix::unistd::read(&self.0, &mut [0; 16]) {
            // The second when it was gone before it had read all that we said.
            Ok(0) | Err(Errno::ECONNRESET) => {
                Err(Error::sys("the other side of the channel is gone", Errno::ECONNRESET))
            }
            _ => Ok(()),
        }
    }

    /// The fd's number, for the list of those kept open.
    pub fn as_raw(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd;
        self.0.as_raw_fd()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_and_the_end_is_seen() {
        let (a, b) = Channel::pair().unwrap();
        let failed = Message::Failed(Box::new(Error::sys("x", libc::EPERM).path("/y")));
        let listener = Message::Listener(70_000);
        let plain = [Message::RunHooks, Message::Continue, Message::Ready, Message::Executing, Message::Released];
        let asked = [Message::SetAttributes, Message::SetTimeOffsets, Message::MoveDevices, listener, failed];
        for message in plain.into_iter().chain(asked) {
            a.send(&message).unwrap();
            assert_eq!(b.recv().unwrap(), Some(message));
        }
        drop(a);
        assert_eq!(b.recv().unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn decode_never_panics(bytes: Vec<u8>) {
            let _ = Message::decode(&bytes);
        }
    }
}
