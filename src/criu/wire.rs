//! Protocol buffers as far as criu's messages need them (protobuf.dev,
//! "Encoding"): numbers, byte strings, messages in messages.
//!
//! By hand because it is all there is to it: rust-criu brings 38 crates along
//! for the same (`shared/docs/crates.md`).

/// A message being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoder(Vec<u8>);

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

impl Encoder {
    /// A number, `bool` or `enum`; negative ones as 64 bits with their sign.
    pub fn number(&mut self, field: u32, value: i64) {
        self.varint((field << 3 | VARINT).into());
        self.varint(value as u64);
    }

    /// A `string`.
    pub fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A message in this one.
    pub fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// The bytes so far.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint((field << 3 | BYTES).into());
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of any integer type.
    Number(u64),
    /// `string`, `bytes` or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message in their order. What is no message ends it early,
/// with a `None` as the last item.
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = Option<(u32, Value<'_>)>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at_checked(n)?;
        *rest = tail;
        Some(head)
    };
    let value = match key & 7 {
        VARINT => Value::Number(varint(rest)?),
        FIXED64 => Value::Number(u64::from_le_bytes(take(8)?.try_into().ok()?)),
        FIXED32 => Value::Number(u32::from_le_bytes(take(4)?.try_into().ok()?).into()),
        BYTES => {
            let len = usize::try_from(varint(rest)?).ok()?;
            let (head, tail) = rest.split_at_checked(len)?;
            *rest = tail;
            Value::Bytes(head)
        }
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bytes() {
        let mut inner = Encoder::default();
        inner.number(1, 150);
        let mut outer = Encoder::default();
        outer.number(2, -1);
        outer.text(16, "ab");
        outer.message(3, &inner);
        let bytes = outer.finish();
        // The examples of the encoding's own documentation.
        let minus_one = [&[0x10][..], &[0xff; 9], &[0x01]].concat();
        assert_eq!(bytes, [&minus_one[..], &[0x82, 0x01, 2, b'a', b'b'], &[0x1a, 3, 0x08, 0x96, 0x01]].concat());
        let read: Vec<_> = fields(&bytes).map(Option::unwrap).collect();
        assert_eq!(read[0], (2, Value::Number(u64::MAX)));
        assert_eq!(read[1], (16, Value::Bytes(b"ab")));
        assert_eq!(read[2], (3, Value::Bytes(&[0x08, 0x96, 0x01])));
    }

    #[test]
    fn what_ends_too_early_is_none() {
        for bytes in [&[0x08][..], &[0x12, 5, 1], &[0x0b], &[0x09, 1, 2], &[0xff; 12]] {
            assert_eq!(fields(bytes).last(), Some(None), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = fields(&bytes).count();
        }
    }
}
