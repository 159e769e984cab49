//! Tests of the messages, against a socket that plays the kernel.

use nix::sys::socket::socketpair;

use super::*;

const KIND: u16 = libc::RTM_NEWADDR;

/// One message as the kernel writes it.
fn message(kind: i32, flags: i32, seq: u32, body: &[u8]) -> Vec<u8> {
    Request::new(kind as u16, body).packet(flags, seq)
}

fn error(code: i32, flags: i32, repeated: &[u8], attributes: &Request) -> Vec<u8> {
    let body = [&code.to_ne_bytes(), repeated, attributes.payload()].concat();
    message(libc::NLMSG_ERROR, flags, 1, &body)
}

fn read(packet: &[u8]) -> (Result<bool, Refusal>, Answer) {
    let mut answer = Answer::default();
    (answer.read(packet, 1), answer)
}

/// A netlink socket and the kernel's end of it.
fn pair() -> (Netlink, OwnedFd) {
    let (ours, kernels) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("a pair");
    (Netlink::over(ours), kernels)
}

fn says(kernel: &OwnedFd, packet: &[u8]) {
    assert_eq!(nix::unistd::write(kernel, packet), Ok(packet.len()));
}

fn hears(kernel: &OwnedFd) -> Vec<u8> {
    let mut buf = vec![0; 1000];
    let len = nix::unistd::read(kernel, &mut buf).expect("a request");
    buf.truncate(len);
    buf
}

#[test]
fn a_request_is_laid_out_as_the_kernel_wants_it() {
    let request = Request::new(7, &[1, 2, 3, 4]).flags(0x100).attr(5, &[9]).text(6, "abc");
    let packet = request.packet(libc::NLM_F_REQUEST, 77);
    let mut wanted = Vec::new();
    wanted.extend(36u32.to_ne_bytes());
    wanted.extend([7u16, 0x101].map(u16::to_ne_bytes).concat());
    wanted.extend([77u32, 0].map(u32::to_ne_bytes).concat());
    wanted.extend([1, 2, 3, 4]);
    // Length without the padding, kind, value, padding.
    wanted.extend([5u16, 5].map(u16::to_ne_bytes).concat());
    wanted.extend([9, 0, 0, 0]);
    wanted.extend([8u16, 6].map(u16::to_ne_bytes).concat());
    wanted.extend(*b"abc\0");
    assert_eq!(packet, wanted);
    let (message, rest) = Message::split(&packet).unwrap();
    assert_eq!((message.kind, message.flags, message.seq, rest.len()), (7, 0x101, 77, 0));
    let found: Vec<_> = attributes(&message.body[4..]).collect();
    assert_eq!(found, [(5, &[9u8][..]), (6, b"abc\0")]);
    assert_eq!(attribute(&message.body[4..], 6), Some(&b"abc\0"[..]));
    assert_eq!(attribute(&message.body[4..], 8), None);
}

#[test]
fn attributes_of_impossible_length_end_the_row() {
    let good = Request::new(0, &[]).attr(0x8001, &[1, 2]);
    assert_eq!(attributes(good.payload()).collect::<Vec<_>>(), [(1, &[1u8, 2][..])], "flag bits are no kind");
    for length in [0u16, 3, 9, u16::MAX] {
        let bad = [&length.to_ne_bytes()[..], &[1, 0, 7, 7, 7, 7]].concat();
        let both = [good.payload(), &bad].concat();
        assert_eq!(attributes(&both).count(), 1, "length {length}");
    }
    assert_eq!(attributes(&[4, 0, 1]).count(), 0);
    // The last one's padding may be missing.
    assert_eq!(attributes(&good.payload()[..6]).count(), 1);
}

#[test]
fn packets_that_are_cut_short_are_refused() {
    let whole = message(KIND.into(), 0, 1, &[1, 2, 3, 4]);
    assert!(matches!(read(&whole), (Ok(false), answer) if answer.bodies == [[1, 2, 3, 4]]));
    for end in 0..whole.len() {
        assert_eq!(read(&whole[..end]).0, Err(Errno::EBADMSG.into()), "{end} bytes");
    }
    for length in [0u32, 15, 21, u32::MAX] {
        let mut lying = whole.clone();
        lying[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(read(&lying).0, Err(Errno::EBADMSG.into()), "length {length}");
    }
    assert_eq!(read(&message(libc::NLMSG_ERROR, 0, 1, &[])).0, Err(Errno::EBADMSG.into()));
    assert_eq!(read(&message(libc::NLMSG_OVERRUN, 0, 1, &[])).0, Err(Errno::ENOBUFS.into()));
}

#[test]
fn errors_say_why() {
    let attributes = Request::new(0, &[]).attr(2, &[0; 4]).text(ATTR_TEXT, "no such thing");
    let (capped, tlvs) = (libc::NLM_F_CAPPED, libc::NLM_F_ACK_TLVS);
    let text = |packet: &[u8]| match read(packet).0 {
        Err(Refusal { errno: Errno::EINVAL, text }) => text.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    let header = &message(KIND.into(), 0, 1, &[])[..];
    let request = &message(KIND.into(), 0, 1, &[7; 11])[..];
    let code = -libc::EINVAL;
    assert_eq!(text(&error(code, tlvs | capped, header, &attributes)), "no such thing");
    assert_eq!(text(&error(code, tlvs, request, &attributes)), "no such thing");
    assert_eq!(text(&error(code, 0, request, &attributes)), "", "there are none, says the flag");
    // Lengths that lie.
    let mut lying = request.to_vec();
    for length in [0u32, 17, 1000, u32::MAX] {
        lying[..4].copy_from_slice(&length.to_ne_bytes());
        assert_ne!(text(&error(code, tlvs, &lying, &attributes)), "no such thing", "{length}");
    }
    assert_eq!(text(&error(code, tlvs, &[], &Request::new(0, &[]))), "");
    assert_eq!(read(&error(0, 0, header, &Request::new(0, &[]))).0, Ok(true), "an acknowledgement");
    let done = [&code.to_ne_bytes(), attributes.payload()].concat();
    assert_eq!(text(&message(libc::NLMSG_DONE, tlvs, 1, &done)), "no such thing");
    let e = Refusal { errno: Errno::EINVAL, text: Some("no such thing".to_owned()) }.step("cannot");
    assert_eq!(e.to_string(), "cannot: no such thing: invalid argument");
}

#[test]
fn late_answers_are_passed_over() {
    let (mut netlink, kernel) = pair();
    // A request that was given up: nobody has read its answer.
    netlink.seq = 4;
    says(&kernel, &message(libc::NLMSG_ERROR, 0, 4, &(-libc::EPERM).to_ne_bytes()));
    says(&kernel, &[message(KIND.into(), 0, 4, &[4; 4]), message(KIND.into(), 0, 5, &[5; 4])].concat());
    says(&kernel, &message(libc::NLMSG_ERROR, 0, 5, &[0; 4]));
    assert_eq!(netlink.call(&Request::new(KIND, &[])), Ok(vec![vec![5; 4]]));
    let heard = hears(&kernel);
    assert_eq!(heard[6..12], [[5, 0, 5, 0], [0; 4]].concat()[..6], "request, acknowledge; number 5");
}

#[test]
fn a_list_that_changed_is_asked_for_again() {
    let (mut netlink, kernel) = pair();
    let part = |seq, byte: u8, flags| message(KIND.into(), libc::NLM_F_MULTI | flags, seq, &[byte; 4]);
    let done = |seq, flags| message(libc::NLMSG_DONE, libc::NLM_F_MULTI | flags, seq, &[0; 4]);
    says(&kernel, &[part(1, 1, 0), part(1, 2, libc::NLM_F_DUMP_INTR)].concat());
    says(&kernel, &done(1, 0));
    // The end alone may tell of it.
    says(&kernel, &[part(2, 3, 0), done(2, libc::NLM_F_DUMP_INTR)].concat());
    says(&kernel, &part(3, 4, 0));
    says(&kernel, &[part(3, 5, 0), done(3, 0)].concat());
    assert_eq!(netlink.dump(&Request::new(KIND, &[])), Ok(vec![vec![4; 4], vec![5; 4]]));
    for seq in 1..=3 {
        assert_eq!(hears(&kernel)[8], seq);
    }
    // But not for ever.
    let (mut netlink, kernel) = pair();
    for seq in 1..=32 {
        says(&kernel, &done(seq, libc::NLM_F_DUMP_INTR));
    }
    assert_eq!(netlink.dump(&Request::new(KIND, &[])), Err(Errno::EAGAIN.into()));
}

#[test]
fn the_kernel_understands() {
    let mut netlink = Netlink::open().expect("a netlink socket");
    let lo = Request::new(libc::RTM_GETLINK, &[0; 16]).text(libc::IFLA_IFNAME, "lo");
    let bodies = netlink.call(&lo).expect("lo is there");
    assert_eq!(attribute(&bodies[0][16..], libc::IFLA_IFNAME), Some(&b"lo\0"[..]));
    let none = Request::new(libc::RTM_GETLINK, &[0; 16]).text(libc::IFLA_IFNAME, "nothing-there");
    assert_eq!(netlink.call(&none).map_err(|e| e.errno), Err(Errno::ENODEV));
    // The next one is not disturbed by what came before.
    assert_eq!(netlink.call(&lo).map(|b| b.len()), Ok(1));
}

proptest::proptest! {
    #[test]
    fn read_never_panics(bytes: Vec<u8>) {
        let _ = read(&bytes).0;
        let _ = attributes(&bytes).count();
    }

    #[test]
    fn nor_with_messages_of_right_length(kind in 0u16..5, flags: u16, body: Vec<u8>) {
        let packet = message(kind.into(), flags.into(), 1, &body);
        let _ = read(&packet).0;
    }

    #[test]
    fn attributes_survive(values: Vec<(u16, Vec<u8>)>) {
        let values: Vec<_> = values.into_iter().map(|(kind, value)| (kind & 0x3fff, value)).collect();
        let request = values.iter().fold(Request::new(0, &[]), |r, (kind, value)| r.attr(*kind, value));
        let found: Vec<_> = attributes(request.payload()).map(|(kind, value)| (kind, value.to_vec())).collect();
        proptest::prop_assert_eq!(found, values);
    }
}
