//! Messages of protobuf, from JSON and to it, by a table of their fields.

use std::collections::HashMap;
use std::sync::OnceLock;

use runtime_tests::{Value, json};
use serde_json::Map;

use super::messages::MESSAGES;

/// What a field holds. Numbers are as they are written: no zigzag is needed here.
#[derive(Clone, Copy)]
enum Kind {
    Number,
    Bool,
    Text,
    /// Text as well, in JSON; what is not UTF-8 is lost.
    Bytes,
    /// From text to text.
    Map,
    Message(&'static str),
}

struct Field {
    name: &'static str,
    number: u64,
    kind: Kind,
    repeated: bool,
}

/// The fields of a message, from its line in the table.
fn fields(message: &str) -> &'static [Field] {
    static TABLE: OnceLock<HashMap<&str, Vec<Field>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| MESSAGES.lines().filter(|l| !l.is_empty()).map(line).collect());
    table.get(message).unwrap_or_else(|| panic!("no message {message} in the table"))
}

/// `Message: 1 name Kind, 2 name Kind*`
fn line(line: &'static str) -> (&'static str, Vec<Field>) {
    let (name, fields) = line.split_once(':').expect("a colon");
    (name, fields.split(',').filter(|f| !f.trim().is_empty()).map(field).collect())
}

fn field(text: &'static str) -> Field {
    let mut words = text.split_whitespace();
    let (number, name, kind) = (words.next(), words.next().expect("a name"), words.next().expect("a kind"));
    let kind_of_one = match kind.trim_end_matches('*') {
        "number" => Kind::Number,
        "bool" => Kind::Bool,
        "text" => Kind::Text,
        "bytes" => Kind::Bytes,
        "map" => Kind::Map,
        message => Kind::Message(message),
    };
    let number = number.and_then(|n| n.parse().ok()).expect("a number");
    Field { name, number, kind: kind_of_one, repeated: kind.ends_with('*') }
}

// ---- writing

/// A message of JSON. A name that it has no field for is a fault of the test.
pub fn encode(message: &str, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let given = value.as_object().unwrap_or_else(|| panic!("{message} is no object: {value}"));
    for (name, value) in given {
        let field = fields(message).iter().find(|f| f.name == name);
        let field = field.unwrap_or_else(|| panic!("{message} has no {name}"));
        match value {
            Value::Array(all) if field.repeated => all.iter().for_each(|one| put(&mut out, field, one)),
            one => put(&mut out, field, one),
        }
    }
    out
}

fn put(out: &mut Vec<u8>, field: &Field, value: &Value) {
    let text = || value.as_str().unwrap_or_else(|| panic!("{}: text, not {value}", field.name)).as_bytes();
    match field.kind {
        Kind::Number | Kind::Bool => {
            let number = value.as_bool().map(i64::from).or_else(|| value.as_i64());
            varint(out, field.number << 3);
            varint(out, number.unwrap_or_else(|| panic!("{}: a number, not {value}", field.name)) as u64);
        }
        Kind::Text | Kind::Bytes => block(out, field.number, text()),
        Kind::Message(name) => block(out, field.number, &encode(name, value)),
        Kind::Map => {
            for (key, value) in value.as_object().expect("a map") {
                let mut entry = Vec::new();
                block(&mut entry, 1, key.as_bytes());
                block(&mut entry, 2, value.as_str().expect("text").as_bytes());
                block(out, field.number, &entry);
            }
        }
    }
}

fn block(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

// ---- reading

/// A message as JSON: all its fields, those that were not sent with the value that means.
pub fn decode(message: &str, bytes: &[u8]) -> Value {
    let mut object: Map<String, Value> = fields(message).iter().map(|f| (f.name.to_owned(), absent(f))).collect();
    let mut rest = bytes;
    while !rest.is_empty() {
        let key = next_varint(&mut rest);
        let (number, wire) = (key >> 3, key & 7);
        let (n, bytes) = match wire {
            0 => (next_varint(&mut rest), &[][..]),
            1 => (0, next(&mut rest, 8)),
            2 => (0, next_block(&mut rest)),
            5 => (0, next(&mut rest, 4)),
            other => panic!("{message}: wire type {other}"),
        };
        if let Some(field) = fields(message).iter().find(|f| f.number == number) {
            take(object.get_mut(field.name).expect("made above"), field, n, bytes, wire == 2);
        }
    }
    Value::Object(object)
}

fn absent(field: &Field) -> Value {
    match field.kind {
        _ if field.repeated => json!([]),
        Kind::Number => json!(0),
        Kind::Bool => json!(false),
        Kind::Text | Kind::Bytes => json!(""),
        Kind::Map => json!({}),
        Kind::Message(_) => Value::Null,
    }
}

fn take(slot: &mut Value, field: &Field, n: u64, mut bytes: &[u8], block: bool) {
    let text = |bytes| json!(String::from_utf8_lossy(bytes));
    let one = match field.kind {
        // Lists of numbers come in one block.
        Kind::Number if block => {
            let list = slot.as_array_mut().expect("a list");
            while !bytes.is_empty() {
                list.push(json!(next_varint(&mut bytes) as i64));
            }
            return;
        }
        Kind::Number => json!(n as i64),
        Kind::Bool => json!(n != 0),
        Kind::Text | Kind::Bytes => text(bytes),
        Kind::Message(name) => decode(name, bytes),
        Kind::Map => {
            let entry = decode("KeyValue", bytes);
            slot[entry["key"].as_str().expect("a key")] = entry["value"].clone();
            return;
        }
    };
    match slot {
        Value::Array(list) if field.repeated => list.push(one),
        slot => *slot = one,
    }
}

fn next<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (first, after) = rest.split_at_checked(len).expect("a message cut off");
    *rest = after;
    first
}

fn next_block<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let len = next_varint(rest);
    next(rest, usize::try_from(len).expect("a length"))
}

fn next_varint(rest: &mut &[u8]) -> u64 {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let byte = next(rest, 1)[0];
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    n
}

#[test]
fn messages_come_back_as_they_were() {
    let config = json!({
        "metadata": { "name": "é", "attempt": 300 },
        "command": ["sh", ""],
        "labels": { "a": "b", "c": "" },
        "tty": true,
        "linux": { "resources": { "cpu_quota": -1 }, "security_context": { "supplemental_groups": [1, 1_i64 << 40] } },
    });
    let back = decode("ContainerConfig", &encode("ContainerConfig", &config));
    assert_eq!(back["metadata"], config["metadata"]);
    assert_eq!(back["command"], config["command"]);
    assert_eq!(back["labels"], config["labels"]);
    assert_eq!(back["tty"], true);
    assert_eq!(back["linux"]["resources"]["cpu_quota"], -1);
    assert_eq!(back["linux"]["security_context"]["supplemental_groups"], json!([1, 1_i64 << 40]));
    assert_eq!((&back["stdin"], &back["log_path"], &back["image"]), (&json!(false), &json!(""), &Value::Null));
}

/// Bytes as protobuf's documentation has them: 150 in field 1, "testing" in field 2.
#[test]
fn the_wire_is_protobufs() {
    assert_eq!(encode("StopContainerRequest", &json!({ "timeout": 150 })), [0x10, 0x96, 0x01]);
    let text = encode("KeyValue", &json!({ "value": "testing" }));
    assert_eq!(text, [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
    // Fields that the table does not have are passed over.
    assert_eq!(decode("Int64Value", &[0x7a, 0x01, 0x21, 0x08, 0x05])["value"], 5);
}

/// Every message that a field is made of is in the table.
#[test]
fn the_table_is_whole() {
    for message in MESSAGES.lines().filter_map(|l| l.split_once(':')).map(|(name, _)| name) {
        for field in fields(message) {
            if let Kind::Message(name) = field.kind {
                fields(name);
            }
        }
    }
}
