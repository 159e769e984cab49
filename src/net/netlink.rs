//! rtnetlink(7): requests to the kernel, and what it answers.
//!
//! A packet is a row of messages, a message is a header, a body of fixed size
//! and attributes, all in the machine's own byte order and padded to four bytes.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, socket,
};

use crate::error::Error;
use crate::sys::socket::netlink_option;

/// The size of a message's header, `struct nlmsghdr`.
const HEADER: usize = 16;
/// Longer than any packet that the kernel makes for a reader who has room for it.
const PACKET: usize = 64 * 1024;
/// How often a list is asked for again that changed while it was read.
const TRIES: usize = 32;
/// What went wrong, in words (`NLMSGERR_ATTR_MSG`, linux/netlink.h).
const ATTR_TEXT: u16 = 1;

/// A request: the kind of message, its flags, its body and attributes.
#[derive(Debug, Clone)]
pub struct Request {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl Request {
    /// A request without attributes.
    pub fn new(kind: u16, body: &[u8]) -> Self {
        let mut payload = body.to_vec();
        pad(&mut payload);
        Self { kind, flags: 0, payload }
    }

    /// Adds `NLM_F_*` flags.
    #[must_use]
    pub fn flags(mut self, flags: i32) -> Self {
        self.flags |= flags as u16;
        self
    }

    /// Adds an attribute, which may have up to 65531 bytes.
    #[must_use]
    pub fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.payload.extend(length.to_ne_bytes());
        self.payload.extend(kind.to_ne_bytes());
        self.payload.extend(value);
        pad(&mut self.payload);
        self
    }

    /// Adds a text with a NUL byte at its end.
    #[must_use]
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.attr(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Its body and attributes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn packet(&self, flags: i32, seq: u32) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.payload.len()).unwrap_or(u32::MAX);
        let mut packet = length.to_ne_bytes().to_vec();
        packet.extend(self.kind.to_ne_bytes());
        packet.extend((self.flags | flags as u16).to_ne_bytes());
        packet.extend(seq.to_ne_bytes());
        // The port of the sender: the kernel knows.
        packet.extend([0; 4]);
        packet.extend(&self.payload);
        packet
    }
}

/// Why the kernel refused something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The errno.
    pub errno: Errno,
    /// What else it says (`NETLINK_EXT_ACK`).
    pub text: Option<String>,
}

impl Refusal {
    /// Names the step that failed.
    pub fn step(self, step: &'static str) -> Error {
        let e = Error::sys(step, self.errno);
        match self.text {
            Some(text) => e.message(text),
            None => e,
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, text: None }
    }
}

/// A socket that asks the kernel about the network namespace it was opened in.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    seq: u32,
}

impl Netlink {
    /// Opens one in the current network namespace.
    ///
    /// # Errors
    /// The errno of socket(2) or connect(2).
    pub fn open() -> nix::Result<Self> {
        let protocol = SockProtocol::NetlinkRoute;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        // Connected to the kernel (port 0), it hears nobody else in that namespace.
        connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // More to say of errors, and lists of just what was asked for: both can be done without.
        let _ = netlink_option(&fd, libc::NETLINK_EXT_ACK);
        let _ = netlink_option(&fd, libc::NETLINK_GET_STRICT_CHK);
        Ok(Self::over(fd))
    }

    fn over(fd: OwnedFd) -> Self {
        Self { fd, seq: 0 }
    }

    /// Has one thing done. Gives the bodies of what the kernel answers, without its acknowledgement.
    ///
    /// # Errors
    /// What the kernel says, or the errno of send(2) or recv(2).
    pub fn call(&mut self, request: &Request) -> Result<Vec<Vec<u8>>, Refusal> {
        self.exchange(request, libc::NLM_F_ACK).map(|answer| answer.bodies)
    }

    /// Asks for a list, again if it changed while it was read.
    ///
    /// # Errors
    /// As [`Netlink::call`]; `EAGAIN` when it does not stop changing.
    pub fn dump(&mut self, request: &Request) -> Result<Vec<Vec<u8>>, Refusal> {
        for _ in 0..TRIES {
            let answer = self.exchange(request, libc::NLM_F_DUMP)?;
            if !answer.interrupted {
                return Ok(answer.bodies);
            }
        }
        Err(Errno::EAGAIN.into())
    }

    fn exchange(&mut self, request: &Request, flags: i32) -> Result<Answer, Refusal> {
        self.seq = self.seq.wrapping_add(1);
        let packet = request.packet(libc::NLM_F_REQUEST | flags, self.seq);
        retry(|| send(self.fd.as_raw_fd(), &packet, MsgFlags::empty()))?;
        let (mut answer, mut buf) = (Answer::default(), vec![0; PACKET]);
        loop {
            let len = retry(|| recv(self.fd.as_raw_fd(), &mut buf, MsgFlags::MSG_TRUNC))?;
            if answer.read(buf.get(..len).ok_or(Errno::EMSGSIZE)?, self.seq)? {
                return Ok(answer);
            }
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// What has come so far of an answer.
#[derive(Debug, Default)]
struct Answer {
    bodies: Vec<Vec<u8>>,
    /// The list changed while the kernel wrote it: something may be missing.
    interrupted: bool,
}

impl Answer {
    /// Takes a packet in; true when that was the last one.
    fn read(&mut self, packet: &[u8], seq: u32) -> Result<bool, Refusal> {
        let mut rest = packet;
        if rest.is_empty() {
            // No kernel sends that; whoever reads on would wait for ever.
            return Err(Errno::EBADMSG.into());
        }
        while !rest.is_empty() {
            let (message, tail) = Message::split(rest).ok_or(Errno::EBADMSG)?;
            rest = tail;
            // The late answer to a request that was given up.
            if message.seq != seq {
                continue;
            }
            self.interrupted |= message.has(libc::NLM_F_DUMP_INTR);
            match i32::from(message.kind) {
                libc::NLMSG_ERROR | libc::NLMSG_DONE => return message.outcome().map(|()| true),
                libc::NLMSG_NOOP => {}
                libc::NLMSG_OVERRUN => return Err(Errno::ENOBUFS.into()),
                _ => self.bodies.push(message.body.to_vec()),
            }
        }
        Ok(false)
    }
}

/// One message of a packet.
#[derive(Debug)]
struct Message<'a> {
    kind: u16,
    flags: u16,
    seq: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of a packet and what follows; `None` when its length is not possible.
    fn split(packet: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = usize::try_from(u32_at(packet, 0)?).ok()?;
        let body = packet.get(HEADER..length)?;
        let message = Self { kind: u16_at(packet, 4)?, flags: u16_at(packet, 6)?, seq: u32_at(packet, 8)?, body };
        // The padding of the last one may be missing.
        Some((message, packet.get(padded(length)..).unwrap_or_default()))
    }

    fn has(&self, flag: i32) -> bool {
        i32::from(self.flags) & flag != 0
    }

    /// What an `NLMSG_ERROR` or `NLMSG_DONE` says: 0 or an errno, and perhaps why.
    fn outcome(&self) -> Result<(), Refusal> {
        let code = match u32_at(self.body, 0) {
            Some(code) => code.cast_signed(),
            // The end of a list need not say that all is well.
            None if i32::from(self.kind) == libc::NLMSG_DONE => 0,
            None => return Err(Errno::EBADMSG.into()),
        };
        match code {
            0 => Ok(()),
            code => Err(Refusal { errno: Errno::from_raw(code.wrapping_neg()), text: self.explanation() }),
        }
    }

    fn explanation(&self) -> Option<String> {
        if !self.has(libc::NLM_F_ACK_TLVS) {
            return None;
        }
        // An error repeats the request, or at least its header.
        let repeated = match i32::from(self.kind) == libc::NLMSG_ERROR {
            true if self.has(libc::NLM_F_CAPPED) => HEADER,
            true => usize::try_from(u32_at(self.body, 4)?).ok()?,
            false => 0,
        };
        let at = repeated.checked_add(3)? & !3;
        let text = attribute(self.body.get(at.checked_add(4)?..)?, ATTR_TEXT)?;
        Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
    }
}

/// The attributes in a row of them, up to the first of impossible length.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // The two highest bits say how the value is written.
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let (kind, value) = (u16_at(bytes, 2)? & KIND, bytes.get(4..length)?);
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Two bytes of a message as a number.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Four bytes of a message as a number.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(padded(bytes.len()), 0);
}

#[cfg(test)]
#[path = "netlink_tests.rs"]
mod tests;
