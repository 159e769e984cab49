//! Network interfaces of a container.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

pub mod address;
pub mod devices;
pub mod netlink;

/// Brings `lo` up in the current network namespace (netdevice(7)).
///
/// # Errors
/// The errno of socket(2) or ioctl(2).
pub fn loopback_up() -> nix::Result<()> {
    // Any socket family serves; a kernel without IPv4 has Unix sockets at least.
    let sock = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    crate::sys::socket::interface_up(sock, c"lo")
}
