//! An IP address of a network device, as rtnetlink(7) tells of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::netlink::{Request, attribute, attributes, u32_at};

const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;

/// What makes an address what it is; the rest is its state, or in the body.
const KEPT: [u16; 7] = [
    libc::IFA_ADDRESS,
    libc::IFA_LOCAL,
    libc::IFA_LABEL,
    libc::IFA_BROADCAST,
    libc::IFA_CACHEINFO,
    IFA_RT_PRIORITY,
    IFA_PROTO,
];

/// The flags that somebody has set; the others are the kernel's.
const KEPT_FLAGS: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_HOMEADDRESS
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MCAUTOJOIN;

/// An address. Everything in it but the device is as the kernel told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Reads the body of an `RTM_NEWADDR`; `None` when it is of another device or no IP address.
    pub fn parse(body: &[u8], device: u32) -> Option<Self> {
        let [family, prefix, flags, scope] = *body.first_chunk()?;
        let of_ip = matches!(i32::from(family), libc::AF_INET | libc::AF_INET6);
        if u32_at(body, 4)? != device || !of_ip {
            return None;
        }
        let rest = body.get(8..)?;
        // The flags have outgrown their byte.
        let flags = attribute(rest, libc::IFA_FLAGS).and_then(|value| u32_at(value, 0)).unwrap_or(flags.into());
        let kept = attributes(rest).filter(|(kind, _)| KEPT.contains(kind));
        let attributes = kept.map(|(kind, value)| (kind, value.to_vec())).collect();
        Some(Self { family, prefix, scope, flags, attributes })
    }

    /// Is it one of IPv6?
    pub fn is_v6(&self) -> bool {
        i32::from(self.family) == libc::AF_INET6
    }

    /// Does it go with its device (config-linux.md, "Network Devices")? Those that are not permanent
    /// somebody on the host renews, and the kernel makes those of a narrower scope itself.
    pub fn goes_along(&self) -> bool {
        self.scope == libc::RT_SCOPE_UNIVERSE && self.flags & libc::IFA_F_PERMANENT != 0
    }

    /// Does it come back with its device? The kernel makes temporary ones itself.
    pub fn comes_back(&self) -> bool {
        !self.is_v6() || self.flags & libc::IFA_F_TEMPORARY == 0
    }

    /// The request that gives it to a device, which had the name `old` and has the name `new`.
    pub fn request(&self, device: u32, old: &str, new: &str) -> Request {
        let request = Request::new(libc::RTM_NEWADDR, &body(self.family, self.prefix, self.scope, device));
        let request = self.attributes.iter().fold(request, |request, (kind, value)| match *kind {
            libc::IFA_LABEL => request.text(*kind, &renamed(value, old, new)),
            libc::IFA_CACHEINFO => request.attr(*kind, &self.lifetimes(value)),
            _ => request.attr(*kind, value),
        });
        request
            .flags(libc::NLM_F_CREATE | libc::NLM_F_EXCL)
            .attr(libc::IFA_FLAGS, &(self.flags & KEPT_FLAGS).to_ne_bytes())
    }
}

impl Address {
    /// `struct ifa_cacheinfo`. IPv4 says "for ever" of all that is permanent, also of what is to be
    /// preferred no longer.
    fn lifetimes(&self, told: &[u8]) -> Vec<u8> {
        let mut told = told.to_vec();
        if let (true, Some(preferred)) = (self.flags & libc::IFA_F_DEPRECATED != 0, told.first_chunk_mut::<4>()) {
            *preferred = [0; 4];
        }
        told
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |wanted| self.attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| &**value);
        let bytes = value(libc::IFA_LOCAL).or_else(|| value(libc::IFA_ADDRESS)).unwrap_or_default();
        if let Some(v4) = bytes.first_chunk::<4>().filter(|_| bytes.len() == 4) {
            write!(f, "{}/{}", Ipv4Addr::from(*v4), self.prefix)
        } else if let Some(v6) = bytes.first_chunk::<16>() {
            write!(f, "{}/{}", Ipv6Addr::from(*v6), self.prefix)
        } else {
            write!(f, "{bytes:?}/{}", self.prefix)
        }
    }
}

/// `struct ifaddrmsg`.
pub fn body(family: u8, prefix: u8, scope: u8, device: u32) -> [u8; 8] {
    let [a, b, c, d] = device.to_ne_bytes();
    [family, prefix, 0, scope, a, b, c, d]
}

/// A label is the name of the device, perhaps with a colon and more, and follows it as in the
/// kernel when a device is renamed. It may as well be something else.
fn renamed(label: &[u8], old: &str, new: &str) -> String {
    const LABEL_MAX: usize = 15;
    let label = String::from_utf8_lossy(label).trim_end_matches('\0').to_owned();
    match label.strip_prefix(old) {
        Some("") => new.to_owned(),
        Some(rest) if rest.starts_with(':') && new.len() + rest.len() <= LABEL_MAX => format!("{new}{rest}"),
        Some(rest) if rest.starts_with(':') => new.to_owned(),
        _ => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(family: i32, flags: u8, scope: u8, device: u32) -> Vec<u8> {
        let mut body = body(family as u8, 24, scope, device).to_vec();
        body[2] = flags;
        body
    }

    /// The payload of a request is what the kernel would answer, but for the order.
    fn attributes_of(request: &Request) -> Vec<(u16, Vec<u8>)> {
        attributes(&request.payload()[8..]).map(|(kind, value)| (kind, value.to_vec())).collect()
    }

    #[test]
    fn what_goes_along() {
        let parse = |flags, scope| Address::parse(&message(libc::AF_INET, flags, scope, 3), 3).unwrap();
        let permanent = libc::IFA_F_PERMANENT as u8;
        assert!(parse(permanent, 0).goes_along());
        assert!(!parse(0, 0).goes_along(), "leased");
        assert!(!parse(permanent, libc::RT_SCOPE_LINK).goes_along(), "link");
        assert!(parse(permanent, libc::RT_SCOPE_LINK).comes_back());
        let temporary = Address::parse(&message(libc::AF_INET6, libc::IFA_F_TEMPORARY as u8, 0, 3), 3).unwrap();
        assert!(!temporary.comes_back());
        assert_eq!(Address::parse(&message(libc::AF_INET, permanent, 0, 4), 3), None, "another device's");
        assert_eq!(Address::parse(&message(libc::AF_PHONET, permanent, 0, 3), 3), None, "not IP");
        assert_eq!(Address::parse(&message(libc::AF_INET, permanent, 0, 3)[..7], 3), None, "cut short");
    }

    #[test]
    fn is_given_as_it_was() {
        let mut body = message(libc::AF_INET, libc::IFA_F_PERMANENT as u8, 0, 3);
        let all = libc::IFA_F_PERMANENT | libc::IFA_F_SECONDARY | libc::IFA_F_NOPREFIXROUTE;
        let told = Request::new(0, &body)
            .attr(libc::IFA_ADDRESS, &[10, 0, 0, 9])
            .attr(libc::IFA_LOCAL, &[10, 0, 0, 1])
            .text(libc::IFA_LABEL, "eth0:x")
            .attr(libc::IFA_FLAGS, &all.to_ne_bytes())
            .attr(77, b"news");
        body = told.payload().to_vec();
        let address = Address::parse(&body, 3).unwrap();
        assert_eq!(address.to_string(), "10.0.0.1/24");
        let given = address.request(8, "eth0", "net1");
        assert_eq!(given.payload()[..8], self::body(libc::AF_INET as u8, 24, 0, 8));
        let wanted: Vec<(u16, Vec<u8>)> = vec![
            (libc::IFA_ADDRESS, vec![10, 0, 0, 9]),
            (libc::IFA_LOCAL, vec![10, 0, 0, 1]),
            (libc::IFA_LABEL, b"net1:x\0".to_vec()),
            (libc::IFA_FLAGS, libc::IFA_F_NOPREFIXROUTE.to_ne_bytes().to_vec()),
        ];
        assert_eq!(attributes_of(&given), wanted);
    }

    #[test]
    fn what_is_preferred_no_longer_stays_so() {
        for (flags, preferred) in [(libc::IFA_F_PERMANENT | libc::IFA_F_DEPRECATED, 0), (libc::IFA_F_PERMANENT, 255)] {
            let told =
                Request::new(0, &message(libc::AF_INET, flags as u8, 0, 3)).attr(libc::IFA_CACHEINFO, &[255; 16]);
            let given = Address::parse(told.payload(), 3).unwrap().request(8, "a", "b");
            let lifetimes = attribute(&given.payload()[8..], libc::IFA_CACHEINFO).unwrap();
            assert_eq!((&lifetimes[..4], &lifetimes[4..]), (&[preferred; 4][..], &[255; 12][..]));
        }
    }

    #[test]
    fn labels_follow_the_name() {
        for (label, new) in [
            ("eth0", "n"),
            ("eth0:1", "n:1"),
            ("eth0:12345678901234", "n"),
            ("eth01", "eth01"),
            ("other", "other"),
            ("", ""),
        ] {
            assert_eq!(renamed(format!("{label}\0").as_bytes(), "eth0", "n"), new, "{label}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_never_panics(bytes: Vec<u8>) {
            if let Some(address) = Address::parse(&bytes, 0) {
                let _ = (address.to_string(), address.request(1, "a", "b"));
            }
        }
    }
}
