//! `linux.netDevices`: moves network devices of the host into the container
//! (config-linux.md, "Network Devices"), and back when the container does not
//! come to be.
//!
//! A device travels under a name that nobody else has, and gets the one it is
//! to have when it has arrived: in one request the kernel moves first and then
//! refuses the name, and nothing says where the device is by then.

use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::address::{self, Address};
use super::netlink::{Netlink, Refusal, Request, attribute, u32_at};
use crate::error::{Error, Result, Step};
use crate::log;
use crate::spec::plan::{NamespaceKind, NetDevice};
use crate::sys::process::join;
use crate::sys::procfs::Procfs;

/// The devices of the host that are in the container so far.
#[derive(Debug)]
pub struct Moves {
    host: Side,
    container: Side,
    devices: Vec<Device>,
}

/// A device as it was on the host.
#[derive(Debug)]
struct Device {
    link: Link,
    addresses: Vec<Address>,
    /// What it is called while it travels.
    passing: String,
    /// Its number in the container, once it was seen there.
    inside: Option<u32>,
}

impl Moves {
    /// Prepares to move devices to the network namespace of a process.
    ///
    /// # Errors
    /// The errno of opening `/proc/PID/ns/net`, setns(2) or socket(2).
    pub fn begin(proc: &Procfs, pid: i32) -> Result<Self> {
        let of = |who: &str| {
            let dir = CString::new(format!("{who}/ns")).map_err(|_| Errno::EINVAL)?;
            proc.magic_link(&dir, c"net", OFlag::O_RDONLY)
        };
        let ours = of("self").step("cannot open the network namespace")?;
        let theirs = of(&pid.to_string()).step("cannot open the container's network namespace")?;
        let inside = open_in(&theirs, &ours)?;
        let outside = Netlink::open().step("cannot open a netlink socket")?;
        Ok(Self {
            host: Side { namespace: ours, socket: outside },
            container: Side { namespace: theirs, socket: inside },
            devices: Vec::new(),
        })
    }

    /// Moves a device into the container, gives it its name and addresses there, and sets it up.
    ///
    /// # Errors
    /// Names the device and the step. [`Moves::give_back`] knows where it is then.
    pub fn take(&mut self, wanted: &NetDevice) -> Result<()> {
        let failed = |step| move |e: Refusal| e.step(step).in_field(&wanted.field);
        let link = self.host.find(&wanted.host).map_err(failed("cannot find the network device"))?;
        let addresses = self.host.addresses(link.number);
        let mut device = Device {
            addresses: addresses.map_err(failed("cannot list the addresses of the network device"))?,
            link,
            passing: passing_name(),
            inside: None,
        };
        let arrived = self.bring_in(&mut device, wanted);
        // What has failed may have been done all the same.
        self.devices.push(device);
        arrived
    }

    fn bring_in(&mut self, device: &mut Device, wanted: &NetDevice) -> Result<()> {
        let failed = |step| move |e: Refusal| e.step(step).in_field(&wanted.field);
        let container = &mut self.container;
        let sent = self.host.send(device.link.number, container, &device.passing);
        sent.map_err(|e| unmovable(e.errno, failed("cannot move the network device into the container")(e)))?;
        let step = "cannot find the network device in the container";
        let number = container.find(&device.passing).map_err(failed(step))?.number;
        device.inside = Some(number);
        let mut name = wanted.name.clone().unwrap_or_else(|| device.link.name.clone());
        container.rename(number, &name).map_err(|e| unnameable(e, &name, wanted))?;
        if wanted.is_template() {
            name = container.look(number).map_err(failed(step))?.name;
        }
        for address in device.addresses.iter().filter(|a| a.goes_along()) {
            let given = container.give(address.request(number, &device.link.name, &name));
            let step = "cannot give the network device its address in the container";
            given.map_err(|e| unaddressable(e, step, address).in_field(&wanted.field))?;
        }
        container.set_up(number).map_err(failed("cannot set the network device up in the container"))
    }

    /// Gives all devices back to the host, with the names and addresses they had there. What
    /// cannot be done is warned of.
    pub fn give_back(mut self) {
        while let Some(device) = self.devices.pop() {
            if let Err(e) = self.bring_back(&device) {
                log::warn(&format!("the network device {:?} is not as it was: {e}", device.link.name));
            }
        }
    }

    fn bring_back(&mut self, device: &Device) -> Result<()> {
        let failed = |step| move |e: Refusal| e.step(step);
        let (host, container) = (&mut self.host, &mut self.container);
        let number = match device.inside {
            Some(number) => number,
            None => match container.find(&device.passing) {
                Ok(link) => link.number,
                Err(e) if e.errno == Errno::ENODEV => return Ok(()),
                Err(e) => return Err(e.step("cannot find it in the container")),
            },
        };
        container.send(number, host, &device.passing).map_err(failed("cannot move it back"))?;
        let back = host.find(&device.passing).map_err(failed("cannot find it on the host"))?;
        if back.identity != device.link.identity {
            let returned = host.send(back.number, container, &device.passing);
            return returned
                .map_err(failed("cannot return what was put in its place"))
                .and(Err(Error::new("another device was put in its place")));
        }
        let number = back.number;
        // Each for itself, whatever becomes of the others.
        let mut done = vec![host.rename(number, &device.link.name).map_err(failed("cannot give it its name"))];
        for address in device.addresses.iter().filter(|a| a.comes_back()) {
            let given = host.give(address.request(number, &device.link.name, &device.link.name));
            done.push(given.map_err(|e| unaddressable(e, "cannot give it its address", address)));
        }
        if device.link.up {
            done.push(host.set_up(number).map_err(failed("cannot set it up")));
        }
        done.into_iter().collect()
    }
}

/// A network namespace, and a socket in it.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    socket: Netlink,
}

/// What the kernel tells of a device.
#[derive(Debug)]
struct Link {
    number: u32,
    name: String,
    up: bool,
    /// Whoever else is in the container's namespace can put another device at its number, but
    /// not one with this hardware or other end.
    identity: [Option<Vec<u8>>; 4],
}

impl Link {
    /// Reads the body of an `RTM_NEWLINK`.
    fn parse(told: &[u8]) -> Option<Self> {
        let rest = told.get(size_of::<libc::ifinfomsg>()..)?;
        let name = String::from_utf8_lossy(attribute(rest, libc::IFLA_IFNAME)?).trim_end_matches('\0').to_owned();
        let kind = attribute(rest, libc::IFLA_LINKINFO).and_then(|info| attribute(info, libc::IFLA_INFO_KIND));
        let [hardware, other_end, of_namespace] =
            [libc::IFLA_PERM_ADDRESS, libc::IFLA_LINK, libc::IFLA_LINK_NETNSID].map(|kind| attribute(rest, kind));
        let identity = [kind, hardware, other_end, of_namespace].map(|value| value.map(<[u8]>::to_vec));
        Some(Self { number: u32_at(told, 4)?, name, up: u32_at(told, 8)? & UP != 0, identity })
    }
}

impl Side {
    /// The device of a name, or an alternative name.
    fn find(&mut self, name: &str) -> Result<Link, Refusal> {
        self.link(&Request::new(libc::RTM_GETLINK, &body(0, 0)).text(libc::IFLA_IFNAME, name))
    }

    /// The device of a number.
    fn look(&mut self, number: u32) -> Result<Link, Refusal> {
        self.link(&Request::new(libc::RTM_GETLINK, &body(number, 0)))
    }

    fn link(&mut self, request: &Request) -> Result<Link, Refusal> {
        let bodies = self.socket.call(request)?;
        bodies.first().and_then(|told| Link::parse(told)).ok_or_else(|| Errno::EBADMSG.into())
    }

    fn addresses(&mut self, number: u32) -> Result<Vec<Address>, Refusal> {
        let all = self.socket.dump(&Request::new(libc::RTM_GETADDR, &address::body(0, 0, 0, number)))?;
        let all: Vec<_> = all.iter().filter_map(|told| Address::parse(told, number)).collect();
        let (v6, mut v4): (Vec<_>, Vec<_>) = all.into_iter().partition(Address::is_v6);
        // In the order to give them in: of IPv6 the kernel puts the newest first.
        v4.extend(v6.into_iter().rev());
        Ok(v4)
    }

    /// Lets another namespace have a device.
    fn send(&mut self, number: u32, to: &Side, name: &str) -> Result<(), Refusal> {
        let fd = to.namespace.as_raw_fd().to_ne_bytes();
        let request = change(number, 0).attr(libc::IFLA_NET_NS_FD, &fd).text(libc::IFLA_IFNAME, name);
        self.socket.call(&request).map(drop)
    }

    fn rename(&mut self, number: u32, name: &str) -> Result<(), Refusal> {
        self.socket.call(&change(number, 0).text(libc::IFLA_IFNAME, name)).map(drop)
    }

    /// Adds an address, unless it is there: the kernel makes some by itself.
    fn give(&mut self, address: Request) -> Result<(), Refusal> {
        match self.socket.call(&address) {
            Err(e) if e.errno == Errno::EEXIST => Ok(()),
            other => other.map(drop),
        }
    }

    fn set_up(&mut self, number: u32) -> Result<(), Refusal> {
        self.socket.call(&change(number, UP)).map(drop)
    }
}

const UP: u32 = libc::IFF_UP as u32;

/// A request to change a device, and to set `flags`.
fn change(number: u32, flags: u32) -> Request {
    Request::new(libc::RTM_NEWLINK, &body(number, flags))
}

/// `struct ifinfomsg`: the device's number, and flags to be set.
fn body(number: u32, flags: u32) -> Vec<u8> {
    [0, number, flags, flags].map(u32::to_ne_bytes).concat()
}

/// A name that no device has.
fn passing_name() -> String {
    format!("ol-{:012x}", RandomState::new().hash_one(0) >> 16)
}

/// Opens a socket in another network namespace, which this process enters for that.
fn open_in(theirs: &OwnedFd, ours: &OwnedFd) -> Result<Netlink> {
    let kind = NamespaceKind::Network.clone_flag();
    join(theirs, kind).step("cannot enter the container's network namespace")?;
    let socket = Netlink::open();
    // Before anything else: hooks are to be run in our own.
    join(ours, kind).step("cannot come back from the container's network namespace")?;
    socket.step("cannot open a netlink socket in the container's network namespace")
}

fn unmovable(errno: Errno, e: Error) -> Error {
    match errno {
        Errno::EINVAL => e.hint("no loopback device can leave its network namespace, nor can some other kinds"),
        Errno::EEXIST => e.hint("an alternative name of it is taken there"),
        _ => e,
    }
}

fn unnameable(e: Refusal, name: &str, wanted: &NetDevice) -> Error {
    let taken = e.errno == Errno::EEXIST;
    let e = e.step("cannot name the network device in the container").in_field(wanted.name_field());
    match taken {
        true => e.message(format!("the name {name:?}, meant for the host's {:?}, is taken there", wanted.host)),
        false => e,
    }
}

fn unaddressable(e: Refusal, step: &'static str, address: &Address) -> Error {
    let text = e.text.clone().map(|text| format!(": {text}")).unwrap_or_default();
    e.step(step).message(format!("{address}{text}"))
}
