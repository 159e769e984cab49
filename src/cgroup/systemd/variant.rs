//! Values as annotations write them: GVariant's text format
//! (docs.gtk.org/glib/gvariant-text-format.html), without maybes and
//! dictionaries, which no property of a unit has.

use super::wire::{Value, one_type};

/// How deep brackets may be nested.
const MAX_DEPTH: usize = 16;

/// Reads one value.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, 0)?;
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(format!("{:?} is left over after the value", parser.rest)),
    }
}

/// The words that name a type before a value.
const KEYWORDS: [(&str, &str); 12] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn skip(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.rest = &self.rest[c.len_utf8()..];
        }
        there
    }

    /// Takes characters as long as they fit.
    fn word(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let (word, rest) = self.rest.split_at(self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A value of the type `of`, or of the type it looks like.
    fn value(&mut self, of: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("nested too deep".to_owned());
        }
        match self.peek().ok_or("the value ends too early")? {
            '@' => {
                self.skip('@');
                let signature = self.word(|c| !c.is_whitespace() && c != '[' && c != '<');
                if one_type(signature.as_bytes()) != Some(signature.len()) || signature.contains(['{', 'h']) {
                    return Err(format!("{signature:?} is not a type that can be used here"));
                }
                self.typed(signature, of, depth)
            }
            '[' => self.array(of, depth),
            '(' => self.tuple(of, depth),
            '<' => {
                self.skip('<');
                let inner = self.value(None, depth + 1)?;
                if !self.skip('>') {
                    return Err("\"<\" without \">\"".to_owned());
                }
                checked(inner.boxed(), of)
            }
            '\'' | '"' => self.string(of),
            c if c.is_ascii_alphabetic() => self.keyword(of, depth),
            _ => self.number(of),
        }
    }

    fn typed(&mut self, signature: &str, of: Option<&str>, depth: usize) -> Result<Value, String> {
        if of.is_some_and(|of| of != signature) {
            return Err("values of different types in one array".to_owned());
        }
        self.value(Some(signature), depth + 1)
    }

    fn keyword(&mut self, of: Option<&str>, depth: usize) -> Result<Value, String> {
        let before = self.rest;
        let word = self.word(|c| c.is_ascii_alphanumeric());
        if let Some((_, signature)) = KEYWORDS.iter().find(|(name, _)| *name == word) {
            return self.typed(signature, of, depth);
        }
        match word {
            "true" | "false" => checked(Value::Bool(word == "true"), of),
            // A byte string: with the zero at its end.
            "b" if self.rest.starts_with(['\'', '"']) => {
                let Value::Str(text) = self.string(None)? else { return Err("not a string".to_owned()) };
                let bytes = text.bytes().chain([0]).map(Value::Byte).collect();
                checked(Value::Array("y".to_owned(), bytes), of)
            }
            "inf" | "nan" => {
                self.rest = before;
                self.number(of)
            }
            _ => Err(format!("{word:?} is no value; a text has to be in quotes")),
        }
    }

    fn array(&mut self, of: Option<&str>, depth: usize) -> Result<Value, String> {
        self.skip('[');
        let mut element = match of {
            Some(of) => Some(of.strip_prefix('a').ok_or("an array where none is expected")?.to_owned()),
            None => None,
        };
        let mut elements = Vec::new();
        while !self.skip(']') {
            if !elements.is_empty() && !self.skip(',') {
                return Err("\"[\" without \"]\", or without a comma".to_owned());
            }
            let value = self.value(element.as_deref(), depth + 1)?;
            // The first one says what the others are.
            element.get_or_insert_with(|| value.signature());
            elements.push(value);
        }
        let element = element.ok_or("an empty array needs its type: @as []")?;
        Ok(Value::Array(element, elements))
    }

    fn tuple(&mut self, of: Option<&str>, depth: usize) -> Result<Value, String> {
        self.skip('(');
        let mut types = match of {
            Some(of) => {
                Some(of.strip_prefix('(').and_then(|t| t.strip_suffix(')')).ok_or("a tuple where none is expected")?)
            }
            None => None,
        };
        let mut members = Vec::new();
        while !self.skip(')') {
            if !members.is_empty() && !self.skip(',') {
                return Err("\"(\" without \")\", or without a comma".to_owned());
            }
            // "(1,)" is a tuple of one.
            if !members.is_empty() && self.skip(')') {
                break;
            }
            let wanted = match types {
                Some(rest) => {
                    let (one, after) = rest.split_at(one_type(rest.as_bytes()).ok_or("a tuple with too many members")?);
                    types = Some(after);
                    Some(one)
                }
                None => None,
            };
            members.push(self.value(wanted, depth + 1)?);
        }
        match (members.is_empty(), types) {
            (true, _) => Err("an empty tuple".to_owned()),
            (_, Some(left)) if !left.is_empty() => Err("a tuple with too few members".to_owned()),
            _ => Ok(Value::Struct(members)),
        }
    }

    fn string(&mut self, of: Option<&str>) -> Result<Value, String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map_or('\'', |(_, c)| c);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return match of {
                        Some("o") => Ok(Value::Path(text)),
                        Some("g") => Ok(Value::Signature(text)),
                        _ => checked(Value::Str(text), of),
                    };
                }
                '\\' => text.push(escape(&mut chars).ok_or("an unknown escape in a string")?),
                '\0' => return Err("a zero byte in a string".to_owned()),
                c => text.push(c),
            }
        }
        Err(format!("a string without its closing {quote}"))
    }

    fn number(&mut self, of: Option<&str>) -> Result<Value, String> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let bad = || format!("{word:?} is not a number");
        let whole = whole(word);
        let fractional = whole.is_none() && word.parse::<f64>().is_ok();
        let of = of.unwrap_or(if fractional { "d" } else { "i" });
        if of == "d" {
            return word.parse().map(Value::F64).map_err(|_| bad());
        }
        let n = whole.ok_or_else(bad)?;
        let fitting = match of {
            "y" => n.try_into().ok().map(Value::Byte),
            "n" => n.try_into().ok().map(Value::I16),
            "q" => n.try_into().ok().map(Value::U16),
            "i" => n.try_into().ok().map(Value::I32),
            "u" => n.try_into().ok().map(Value::U32),
            "x" => n.try_into().ok().map(Value::I64),
            "t" => n.try_into().ok().map(Value::U64),
            _ => return Err(format!("the number {word} where type {of:?} is expected")),
        };
        fitting.ok_or_else(|| format!("{word} does not fit type {of:?}: write \"uint64 {word}\" or the like"))
    }
}

fn checked(value: Value, of: Option<&str>) -> Result<Value, String> {
    match of {
        Some(of) if value.signature() != of => {
            Err(format!("a value of type {:?} where {of:?} is expected", value.signature()))
        }
        _ => Ok(value),
    }
}

/// A whole number: decimal, 0x… or octal with a leading 0.
fn whole(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix(['-', '+']) {
        Some(digits) => (if word.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, word),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    let digits = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    i128::from_str_radix(digits, radix).ok().map(|n| sign * n)
}

/// What a backslash and the characters after it stand for.
fn escape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    Some(match chars.next()?.1 {
        'u' => return code_point(chars, 4),
        'U' => return code_point(chars, 8),
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        c @ ('\\' | '\'' | '"') => c,
        _ => return None,
    })
}

/// The character with a number of so many hexadecimal digits.
fn code_point(chars: &mut std::str::CharIndices<'_>, digits: usize) -> Option<char> {
    let hex: String = chars.take(digits).map(|(_, c)| c).collect();
    let whole = hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let code = u32::from_str_radix(&hex, 16).ok().filter(|code| whole && *code != 0)?;
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(t: &str) -> Value {
        Value::Str(t.to_owned())
    }

    #[test]
    fn values() {
        let strings = |list: &[&str]| Value::Array("s".to_owned(), list.iter().map(|t| text(t)).collect());
        for (given, wanted) in [
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("5", Value::I32(5)),
            ("-0x10", Value::I32(-16)),
            ("010", Value::I32(8)),
            ("0", Value::I32(0)),
            ("uint64 90000000", Value::U64(90_000_000)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("int64 -1", Value::I64(-1)),
            ("@t 5", Value::U64(5)),
            ("byte 0xff", Value::Byte(255)),
            ("1.5", Value::F64(1.5)),
            ("double 2", Value::F64(2.0)),
            ("'a b'", text("a b")),
            (r#""it's""#, text("it's")),
            (r"'a\n\'\\\u00e9\U0001F600'", text("a\n'\\é😀")),
            ("objectpath '/a'", Value::Path("/a".to_owned())),
            ("['a','b']", strings(&["a", "b"])),
            ("[ 'a' , 'b' ]", strings(&["a", "b"])),
            ("@as []", strings(&[])),
            ("[uint32 1, 2]", Value::Array("u".to_owned(), vec![Value::U32(1), Value::U32(2)])),
            (
                "@a(st) [('/dev/x', 5)]",
                Value::Array("(st)".to_owned(), vec![Value::Struct(vec![text("/dev/x"), Value::U64(5)])]),
            ),
            ("(1,)", Value::Struct(vec![Value::I32(1)])),
            ("('a', uint64 2)", Value::Struct(vec![text("a"), Value::U64(2)])),
            ("<'a'>", text("a").boxed()),
            ("b'a'", Value::Array("y".to_owned(), vec![Value::Byte(97), Value::Byte(0)])),
        ] {
            assert_eq!(parse(given).unwrap_or_else(|e| panic!("{given}: {e}")), wanted, "{given}");
        }
    }

    #[test]
    fn no_values() {
        for (given, why) in [
            ("", "too early"),
            ("hello", "in quotes"),
            ("'x", "closing"),
            ("5 6", "left over"),
            ("3000000000", "uint64 3000000000"),
            ("uint32 -1", "does not fit"),
            ("5x", "not a number"),
            ("0x", "not a number"),
            ("--5", "not a number"),
            ("[]", "@as []"),
            ("['a', 5]", "expected"),
            ("[1", "without"),
            ("[1 2]", "comma"),
            ("(1", "without"),
            ("()", "empty tuple"),
            ("uint64 'a'", "expected"),
            ("string 5", "expected"),
            ("@zz 5", "type"),
            ("@a{sv} []", "type"),
            ("@(st) ('a',)", "too few"),
            ("@(s) ('a', 'b')", "too many"),
            (r"'\q'", "escape"),
            (r"'\u12'", "escape"),
            ("<5", "\">\""),
            ("{'a': 5}", "not a number"),
        ] {
            let e = parse(given).unwrap_err();
            assert!(e.contains(why), "{given}: {e}");
        }
        assert!(parse(&"[".repeat(100_000)).unwrap_err().contains("too deep"));
        assert!(parse(&"uint64 ".repeat(100)).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_no_panic(given in "[-+'\"a-z0-9\\[\\](),<>@\\\\ .é]{0,40}") {
            let _ = parse(&given);
        }
    }
}
