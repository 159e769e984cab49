use proptest::prelude::*;

use super::*;

fn sample() -> Message {
    let body = vec![
        Value::Str("c.scope".to_owned()),
        Value::Array(
            "(sv)".to_owned(),
            vec![
                Value::Struct(vec![Value::Str("A".to_owned()), Value::Bool(true).boxed()]),
                Value::Struct(vec![Value::Str("Bb".to_owned()), Value::U64(u64::MAX).boxed()]),
                Value::Struct(vec![
                    Value::Str("C".to_owned()),
                    Value::Array("y".to_owned(), vec![Value::Byte(3)]).boxed(),
                ]),
            ],
        ),
        Value::Array("(sa(sv))".to_owned(), Vec::new()),
        Value::F64(-0.5),
        Value::I16(-2),
    ];
    Message { serial: 7, ..Message::call("org.x", "/org/x", "org.x.Y", "Do", body) }
}

#[test]
fn bytes_of_a_call() {
    // As the specification lays them out: Hello, the first call on any bus.
    let hello = Message { serial: 1, ..Message::call("a.b", "/", "a.b", "Hi", Vec::new()) };
    let mut wanted = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x3e\x00\x00\x00".to_vec();
    wanted.extend(b"\x01\x01o\x00\x01\x00\x00\x00/\x00\x00\x00\x00\x00\x00\x00");
    wanted.extend(b"\x02\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00");
    wanted.extend(b"\x03\x01s\x00\x02\x00\x00\x00Hi\x00\x00\x00\x00\x00\x00");
    wanted.extend(b"\x06\x01s\x00\x03\x00\x00\x00a.b\x00");
    wanted[12] = u8::try_from(wanted.len() - 16).unwrap();
    wanted.resize(wanted.len().next_multiple_of(8), 0);
    assert_eq!(hello.encode(), wanted);
}

#[test]
fn there_and_back() {
    let message = sample();
    let bytes = message.encode();
    assert_eq!(Message::length(&bytes[..16]).unwrap(), Some(bytes.len()));
    assert_eq!(Message::length(&bytes[..15]).unwrap(), None);
    assert_eq!(Message::decode(&bytes).unwrap().unwrap(), message);
}

#[test]
fn the_other_byte_order() {
    // A signal with one u32, as a big-endian peer sends it.
    let mut bytes = b"B\x04\x00\x01\x00\x00\x00\x04\x00\x00\x00\x09\x00\x00\x00\x0f".to_vec();
    bytes.extend(b"\x08\x01g\x00\x01u\x00\x00");
    bytes.extend(b"\x03\x01s\x00\x00\x00\x00"); // cut short below
    assert!(Message::decode(&bytes).is_err());
    let mut bytes = b"B\x04\x00\x01\x00\x00\x00\x04\x00\x00\x00\x09\x00\x00\x00\x07".to_vec();
    bytes.extend(b"\x08\x01g\x00\x01u\x00\x00");
    bytes.extend(b"\x00\x00\x01\x02");
    let message = Message::decode(&bytes).unwrap().unwrap();
    assert_eq!((message.kind, message.serial, message.body), (Kind::Signal, 9, vec![Value::U32(258)]));
}

#[test]
fn what_is_wrong_is_noticed() {
    let good = sample().encode();
    for cut in 0..good.len() {
        assert!(Message::decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    let spoilt = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Message::decode(&bytes)
    };
    assert!(spoilt(0, b'x').is_err() && spoilt(3, 2).is_err() && spoilt(1, 0).is_err());
    // A kind of message that we do not know is none of our business.
    assert_eq!(spoilt(1, 9).unwrap(), None);
    let long = b"l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00";
    assert!(Message::length(long).is_err());
}

#[test]
fn types() {
    for (signature, length) in
        [("s", 1), ("asb", 2), ("(su)s", 4), ("a{sv}u", 5), ("aa(s(tt))", 9), ("v", 1), ("a{sa{sv}}", 9)]
    {
        assert_eq!(one_type(signature.as_bytes()), Some(length), "{signature}");
    }
    for bad in ["", "a", "(", "()", "(s", "z", "a{s", "a{sv", "{sv}", ")"] {
        assert_eq!(one_type(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(one_type("a".repeat(5000).as_bytes()), None);
}

proptest! {
    #[test]
    fn garbage_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::length(&bytes);
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn damage_is_no_panic(at in 0usize..200, byte: u8, other in 0usize..200, second: u8) {
        let mut bytes = sample().encode();
        let n = bytes.len();
        bytes[at % n] = byte;
        bytes[other % n] = second;
        let _ = Message::length(&bytes);
        let _ = Message::decode(&bytes);
    }
}
