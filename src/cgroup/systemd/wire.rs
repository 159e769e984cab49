//! D-Bus messages as bytes (D-Bus specification, "Type System" and "Message
//! Protocol"): only what talking to systemd takes. Nothing is trusted of what
//! is read: every length is checked against what is there.

/// Larger messages than this are refused; systemd's are a few KiB.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// How deep values may be nested (the specification's limit is 64).
const MAX_DEPTH: usize = 32;

/// One value with its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(String),
    Path(String),
    Signature(String),
    /// The signature of the elements, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    /// A variant holding this value.
    pub fn boxed(self) -> Self {
        Self::Variant(Box::new(self))
    }

    /// Its type.
    pub fn signature(&self) -> String {
        let basic = match self {
            Self::Byte(_) => "y",
            Self::Bool(_) => "b",
            Self::I16(_) => "n",
            Self::U16(_) => "q",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::F64(_) => "d",
            Self::Str(_) => "s",
            Self::Path(_) => "o",
            Self::Signature(_) => "g",
            Self::Variant(_) => "v",
            Self::Array(of, _) => return format!("a{of}"),
            Self::Struct(members) => return format!("({})", signature_of(members)),
        };
        basic.to_owned()
    }

    /// The text of a string, path or variant of one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Path(text) => Some(text),
            Self::Variant(inner) => inner.text(),
            _ => None,
        }
    }
}

fn signature_of(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// Where values of a type begin: at multiples of this.
fn alignment(first: u8) -> usize {
    match first {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

/// The length of the complete type that a signature begins with.
pub(super) fn one_type(signature: &[u8]) -> Option<usize> {
    fn within(signature: &[u8], depth: usize) -> Option<usize> {
        if depth > MAX_DEPTH {
            return None;
        }
        match signature.first()? {
            b'a' if signature.get(1) == Some(&b'{') => {
                let key = within(signature.get(2..)?, depth + 1)?;
                let value = within(signature.get(2 + key..)?, depth + 1)?;
                (signature.get(2 + key + value) == Some(&b'}')).then_some(3 + key + value)
            }
            b'a' => within(signature.get(1..)?, depth + 1).map(|n| n + 1),
            b'(' => {
                let mut at = 1;
                while *signature.get(at)? != b')' {
                    at += within(signature.get(at..)?, depth + 1)?;
                }
                (at > 1).then_some(at + 1)
            }
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' | b'h' => Some(1),
            _ => None,
        }
    }
    within(signature, 0)
}

/// Appends values; little-endian, as our header says.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.pad(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        // The caller has none longer than its own memory; 4 GiB is refused as too large a message.
        self.fixed(&(text.len() as u32).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn type_text(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(v) => self.0.push(*v),
            Value::Bool(v) => self.fixed(&u32::from(*v).to_le_bytes()),
            Value::I16(v) => self.fixed(&v.to_le_bytes()),
            Value::U16(v) => self.fixed(&v.to_le_bytes()),
            Value::I32(v) => self.fixed(&v.to_le_bytes()),
            Value::U32(v) => self.fixed(&v.to_le_bytes()),
            Value::I64(v) => self.fixed(&v.to_le_bytes()),
            Value::U64(v) => self.fixed(&v.to_le_bytes()),
            Value::F64(v) => self.fixed(&v.to_le_bytes()),
            Value::Str(text) | Value::Path(text) => self.text(text),
            Value::Signature(signature) => self.type_text(signature),
            Value::Array(of, elements) => self.array(of, elements),
            Value::Struct(members) => {
                self.pad(8);
                members.iter().for_each(|m| self.value(m));
            }
            Value::Variant(inner) => {
                self.type_text(&inner.signature());
                self.value(inner);
            }
        }
    }

    fn array(&mut self, of: &str, elements: &[Value]) {
        self.fixed(&[0; 4]);
        let length_at = self.0.len() - 4;
        // The padding before the first element is not counted, and is there without one too.
        self.pad(alignment(of.bytes().next().unwrap_or(b'y')));
        let start = self.0.len();
        elements.iter().for_each(|e| self.value(e));
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Reply,
    Error,
    Signal,
}

/// A message: the header's fields that matter, and the body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub kind: Kind,
    pub serial: u32,
    pub reply_to: Option<u32>,
    pub destination: Option<String>,
    pub path: Option<String>,
    pub interface: Option<String>,
    pub member: Option<String>,
    /// The name of an error.
    pub error: Option<String>,
    /// Who sent it; the bus fills it in.
    pub sender: Option<String>,
    pub body: Vec<Value>,
}

/// What is wrong with received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

const NOT_WHOLE: Malformed = Malformed("it ends too early");
const BAD_TYPE: Malformed = Malformed("a type that there is not");

impl Message {
    /// A method call.
    pub fn call(destination: &str, path: &str, interface: &str, member: &str, body: Vec<Value>) -> Self {
        let text = |t: &str| Some(t.to_owned());
        Self {
            kind: Kind::Call,
            serial: 0,
            reply_to: None,
            destination: text(destination),
            path: text(path),
            interface: text(interface),
            member: text(member),
            error: None,
            sender: None,
            body,
        }
    }

    /// The message as it goes over the socket.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|v| body.value(v));
        let text = |t: &Option<String>| t.clone().map(Value::Str);
        let signature = signature_of(&self.body);
        let fields = [
            (1, self.path.clone().map(Value::Path)),
            (2, text(&self.interface)),
            (3, text(&self.member)),
            (4, text(&self.error)),
            (5, self.reply_to.map(Value::U32)),
            (6, text(&self.destination)),
            (7, text(&self.sender)),
            (8, (!signature.is_empty()).then_some(Value::Signature(signature))),
        ];
        let fields =
            fields.into_iter().filter_map(|(code, v)| Some(Value::Struct(vec![Value::Byte(code), v?.boxed()])));
        let kind = match self.kind {
            Kind::Call => 1,
            Kind::Reply => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        let mut out = Writer(vec![b'l', kind, 0, 1]);
        out.value(&Value::U32(body.0.len() as u32));
        out.value(&Value::U32(self.serial));
        out.array("(yv)", &fields.collect::<Vec<_>>());
        out.pad(8);
        out.0.extend_from_slice(&body.0);
        out.0
    }

    /// How long the message is that begins with these bytes; `None` while too few are there to tell.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(head) = bytes.get(..16) else { return Ok(None) };
        let mut reader = Reader::new(head)?;
        reader.at = 4;
        let body = reader.u32()? as usize;
        reader.at = 12;
        let fields = reader.u32()? as usize;
        if body > MAX_MESSAGE || fields > MAX_MESSAGE {
            return Err(Malformed("too long"));
        }
        Ok(Some((16 + fields).next_multiple_of(8) + body))
    }

    /// Reads one whole message, exactly as long as [`Message::length`] said.
    ///
    /// A message of a kind that is not known has no body for us.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Reply,
            Some(3) => Kind::Error,
            Some(4) => Kind::Signal,
            Some(0) | None => return Err(Malformed("no kind")),
            Some(_) => return Ok(None),
        };
        let mut message = Self { kind, ..Self::call("", "", "", "", Vec::new()) };
        (message.destination, message.path, message.interface, message.member) = (None, None, None, None);
        reader.at = 8;
        message.serial = reader.u32()?;
        let mut signature = String::new();
        let Value::Array(_, fields) = reader.value(b"a(yv)", 0)? else { return Err(BAD_TYPE) };
        for field in fields {
            let Value::Struct(pair) = field else { return Err(BAD_TYPE) };
            let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else { return Err(BAD_TYPE) };
            match (code, &**value) {
                (1, Value::Path(t)) => message.path = Some(t.clone()),
                (2, Value::Str(t)) => message.interface = Some(t.clone()),
                (3, Value::Str(t)) => message.member = Some(t.clone()),
                (4, Value::Str(t)) => message.error = Some(t.clone()),
                (5, Value::U32(n)) => message.reply_to = Some(*n),
                (6, Value::Str(t)) => message.destination = Some(t.clone()),
                (7, Value::Str(t)) => message.sender = Some(t.clone()),
                (8, Value::Signature(t)) => signature.clone_from(t),
                (1..=8, _) => return Err(Malformed("a header field of the wrong type")),
                _ => {}
            }
        }
        reader.pad(8)?;
        let mut rest = signature.as_bytes();
        while !rest.is_empty() {
            let (one, after) = rest.split_at(one_type(rest).ok_or(BAD_TYPE)?);
            message.body.push(reader.value(one, 0)?);
            rest = after;
        }
        Ok(Some(message))
    }
}

/// Takes values off bytes, from the beginning of a message.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match (bytes.first(), bytes.get(3)) {
            (Some(b'l'), Some(1)) => Ok(Self { bytes, at: 0, big: false }),
            (Some(b'B'), Some(1)) => Ok(Self { bytes, at: 0, big: true }),
            _ => Err(Malformed("not the protocol")),
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(n).ok_or(NOT_WHOLE)?;
        let taken = self.bytes.get(self.at..end).ok_or(NOT_WHOLE)?;
        self.at = end;
        Ok(taken)
    }

    fn pad(&mut self, to: usize) -> Result<(), Malformed> {
        let n = self.at.next_multiple_of(to) - self.at;
        self.take(n).map(drop)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.pad(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| NOT_WHOLE)?;
        if self.big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String, Malformed> {
        let text = self.take(length)?;
        if self.take(1)? != [0] || text.contains(&0) {
            return Err(Malformed("a string without its end"));
        }
        String::from_utf8(text.to_owned()).map_err(|_| Malformed("a string that is not UTF-8"))
    }

    fn value(&mut self, signature: &[u8], depth: usize) -> Result<Value, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed("nested too deep"));
        }
        Ok(match signature.first().ok_or(BAD_TYPE)? {
            b'y' => Value::Byte(self.fixed::<1>()?[0]),
            b'b' => match self.u32()? {
                n @ (0 | 1) => Value::Bool(n == 1),
                _ => return Err(Malformed("a boolean that is neither")),
            },
            b'n' => Value::I16(i16::from_le_bytes(self.fixed()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.fixed()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.fixed()?)),
            b'u' | b'h' => Value::U32(self.u32()?),
            b'x' => Value::I64(i64::from_le_bytes(self.fixed()?)),
            b't' => Value::U64(u64::from_le_bytes(self.fixed()?)),
            b'd' => Value::F64(f64::from_le_bytes(self.fixed()?)),
            kind @ (b's' | b'o') => {
                let length = self.u32()? as usize;
                let text = self.text(length)?;
                if *kind == b's' { Value::Str(text) } else { Value::Path(text) }
            }
            b'g' => Value::Signature(self.type_text()?),
            b'v' => {
                let signature = self.type_text()?;
                if one_type(signature.as_bytes()) != Some(signature.len()) {
                    return Err(BAD_TYPE);
                }
                self.value(signature.as_bytes(), depth + 1)?.boxed()
            }
            b'a' => self.array(&signature[1..], depth)?,
            b'(' | b'{' => {
                self.pad(8)?;
                let inner = signature.get(1..signature.len() - 1).ok_or(BAD_TYPE)?;
                Value::Struct(self.members(inner, depth)?)
            }
            _ => return Err(BAD_TYPE),
        })
    }

    fn type_text(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.fixed::<1>()?[0]);
        self.text(length)
    }

    fn members(&mut self, mut signature: &[u8], depth: usize) -> Result<Vec<Value>, Malformed> {
        let mut members = Vec::new();
        while !signature.is_empty() {
            let (one, rest) = signature.split_at(one_type(signature).ok_or(BAD_TYPE)?);
            members.push(self.value(one, depth + 1)?);
            signature = rest;
        }
        Ok(members)
    }

    fn array(&mut self, of: &[u8], depth: usize) -> Result<Value, Malformed> {
        let length = self.u32()? as usize;
        self.pad(alignment(*of.first().ok_or(BAD_TYPE)?))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(NOT_WHOLE)?;
        let mut elements = Vec::new();
        while self.at < end {
            elements.push(self.value(of, depth + 1)?);
        }
        if self.at != end {
            return Err(Malformed("an array longer than it says"));
        }
        let of = std::str::from_utf8(of).map_err(|_| BAD_TYPE)?;
        Ok(Value::Array(of.to_owned(), elements))
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
