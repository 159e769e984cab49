//! systemd's manager: its calls (org.freedesktop.systemd1(5)) and what its
//! answers mean.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::bus::{Address, Connection, Failure, PATIENCE};
use super::properties::{Property, encode};
use super::wire::{Message, Value};
use crate::error::{Error, Result};

const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";

/// Only done if no other job is in the way: nobody else's is cancelled.
const MODE: &str = "fail";

/// How long undoing waits for a systemd that may be why it has to be undone.
const UNDO_PATIENCE: Duration = Duration::from_secs(3);

/// A connection to a manager, and what it is.
#[derive(Debug)]
pub(super) struct Manager {
    bus: Connection,
    /// Its name on the bus: nobody else's signals count.
    sender: Option<String>,
    /// 262 for `262.1-1`; 0 when it says nothing of the kind.
    pub version: u32,
    /// The cgroup it is the manager of, below the mount point; empty or `/…`.
    pub cgroup: String,
}

fn text(value: &str) -> Value {
    Value::Str(value.to_owned())
}

/// The first of the addresses where a manager answers.
///
/// # Errors
/// Why none does.
pub(super) fn connect(addresses: &[Address], interrupt: Option<BorrowedFd<'_>>) -> Result<(Manager, Address)> {
    let mut silent = Vec::new();
    let mut first = None;
    for address in addresses {
        match Manager::open(address, interrupt) {
            Ok(manager) => return Ok((manager, address.clone())),
            Err(e) if nobody_there(&e) => {
                silent.push(address.socket.to_string_lossy().into_owned());
                first.get_or_insert(e);
            }
            // Somebody is there: to try elsewhere would only hide what is wrong.
            Err(e) => return Err(e),
        }
    }
    let e =
        first.unwrap_or_else(|| Error::new("cannot talk to systemd").message("no address of a bus that can be used"));
    let errno = e.raw_errno().unwrap_or(libc::ENOENT);
    Err(match silent.len() {
        0 | 1 => e,
        _ => Error::sys("cannot talk to systemd", errno)
            .path(silent.join(", "))
            .hint("is systemd running? else use --cgroup-manager cgroupfs"),
    })
}

fn nobody_there(e: &Error) -> bool {
    matches!(e.raw_errno(), Some(libc::ENOENT | libc::ENOTDIR | libc::ECONNREFUSED))
}

impl Manager {
    /// Connects and asks who is there.
    pub fn open(address: &Address, interrupt: Option<BorrowedFd<'_>>) -> Result<Self> {
        let mut bus = Connection::open(address, interrupt, PATIENCE)?;
        // All at once: the answers come in the same order.
        let mut asked = Vec::new();
        if !address.direct {
            let rule =
                format!("type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved',path='{OBJECT}'");
            asked.push(bus.send(Message::call(BUS, "/org/freedesktop/DBus", BUS, "Hello", Vec::new()))?);
            asked.push(bus.send(Message::call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", vec![text(&rule)]))?);
        }
        for property in ["Version", "ControlGroup"] {
            let interface = "org.freedesktop.DBus.Properties";
            asked.push(bus.send(Message::call(NAME, OBJECT, interface, "Get", vec![text(MANAGER), text(property)]))?);
        }
        let mut answers = Vec::new();
        for serial in asked {
            answers.push(bus.answer(serial).map_err(|failure| {
                match failure {
                    Failure::Broken(e) => e,
                    Failure::Refused { text, .. } => Error::new("cannot talk to systemd")
                        .path(&address.socket)
                        .message(text)
                        .hint("is systemd running? else use --cgroup-manager cgroupfs"),
                }
            })?);
        }
        let sender = answers.last().and_then(|m| m.sender.clone());
        let mut found =
            answers.iter().rev().map(|m| m.body.first().and_then(Value::text).unwrap_or_default().to_owned());
        let (cgroup, version) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        Ok(Self { bus, sender, version: number(&version), cgroup })
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> Result<Message, Failure> {
        let serial = self.bus.send(Message::call(NAME, OBJECT, MANAGER, member, body))?;
        self.bus.answer(serial)
    }

    /// Makes a transient unit and waits until it is there.
    pub fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), Failure> {
        let none = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let job = self.call("StartTransientUnit", vec![text(unit), text(MODE), encode(properties), none])?;
        match self.result(&job)?.as_str() {
            "done" => Ok(()),
            result => Err(Failure::Broken(
                Error::new("systemd could not start the unit")
                    .message(format!("{unit}: {result}"))
                    .hint(format!("its log may say why: journalctl -u {unit}")),
            )),
        }
    }

    /// Waits for the end of the job that a call has begun; gives its result.
    fn result(&mut self, begun: &Message) -> Result<String> {
        let job = begun.body.first().and_then(Value::text).unwrap_or_default().to_owned();
        let sender = self.sender.clone();
        let removed = self.bus.signal(|m| {
            m.member.as_deref() == Some("JobRemoved")
                && m.interface.as_deref() == Some(MANAGER)
                && m.sender == sender
                && m.body.get(1).and_then(Value::text) == Some(&job)
        })?;
        Ok(removed.body.last().and_then(Value::text).unwrap_or_default().to_owned())
    }

    /// Sets properties of a unit until it is gone.
    pub fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), Failure> {
        self.call("SetUnitProperties", vec![text(unit), Value::Bool(true), encode(properties)]).map(drop)
    }

    /// Moves a process into a unit's cgroup.
    pub fn attach(&mut self, unit: &str, pid: u32) -> Result<(), Failure> {
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid)]);
        self.call("AttachProcessesToUnit", vec![text(unit), text(""), pids]).map(drop)
    }

    /// Takes a failed unit away, so that its name is free.
    pub fn reset(&mut self, unit: &str) -> Result<(), Failure> {
        allow_missing(self.call("ResetFailedUnit", vec![text(unit)]).map(drop))
    }

    /// Stops a unit, waits until it is stopped, and lets nothing of it stay.
    /// One that is gone is fine.
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let stopped = match self.call("StopUnit", vec![text(unit), text("replace")]) {
            Ok(job) => self.result(&job).map(drop).map_err(Failure::Broken),
            Err(failure) => allow_missing(Err(failure)),
        };
        let failure = |f| refused("systemd could not stop the unit", unit, &[], f);
        stopped.and_then(|()| self.reset(unit)).map_err(failure)
    }

    /// After a start that has gone wrong: nothing of the unit is to stay.
    pub fn undo(&mut self, unit: &str) {
        self.bus.undoing(UNDO_PATIENCE);
        let _ = self.call("StopUnit", vec![text(unit), text("replace")]);
        let _ = self.reset(unit);
    }
}

fn allow_missing(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Refused { name, .. }) if name == "org.freedesktop.systemd1.NoSuchUnit" => Ok(()),
        other => other,
    }
}

/// Is there a unit of that name already?
pub(super) fn is_taken(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { name, .. } if name == "org.freedesktop.systemd1.UnitExists")
}

/// An error for what systemd did not do. When it names one of the properties
/// we name the field it is from; else those of annotations, whose types only
/// their writer knows, are the ones to look at.
pub(super) fn refused(step: &'static str, unit: &str, properties: &[Property], failure: Failure) -> Error {
    let (name, text) = match failure {
        Failure::Broken(e) => return e,
        Failure::Refused { name, text } => (name, text),
    };
    let words = |word: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == word);
    let culprit = properties.iter().rev().find(|p| words(&p.name) && !p.field.is_empty());
    let e = Error::new(step).message(format!("{unit}: {text}"));
    match (culprit, name.as_str()) {
        (Some(property), _) => e.in_field(&property.field).hint(format!("its property {}", property.name)),
        (
            None,
            "org.freedesktop.DBus.Error.AccessDenied" | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
        ) => e.hint("root may use the system's systemd, a user only the one of its own session"),
        _ => {
            let free: Vec<_> = properties.iter().map(|p| &*p.field).filter(|f| f.starts_with("annotations[")).collect();
            if free.is_empty() { e } else { e.in_field(free.join(", ")).hint("a name or a type there may be wrong") }
        }
    }
}

/// The number that a version begins with, as `v249` and `262.1-1` do.
fn number(version: &str) -> u32 {
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, wanted) in [("262.1-1", 262), ("v249-g1", 249), ("systemd 247", 247), ("", 0), ("x", 0)] {
            assert_eq!(number(text), wanted, "{text}");
        }
    }

    #[test]
    fn refusals_name_the_field() {
        let mut property = Property::new("Foo", Value::Bool(true));
        property.field = "annotations[\"x\"]".to_owned();
        let failure = |text: &str| Failure::Refused { name: "a.b".to_owned(), text: text.to_owned() };
        let e = refused("no", "u.scope", &[property.clone()], failure("Cannot set property Foo, or unknown property."));
        assert_eq!(
            e.to_string(),
            "no: annotations[\"x\"]: u.scope: Cannot set property Foo, or unknown property. (its property Foo)"
        );
        let e = refused("no", "u.scope", &[property.clone()], failure("FooBar is wrong"));
        let wanted = "no: annotations[\"x\"]: u.scope: FooBar is wrong (a name or a type there may be wrong)";
        assert_eq!(e.to_string(), wanted);
        property.field = "linux.x".to_owned();
        let e = refused("no", "u.scope", &[property], failure("FooBar is wrong"));
        assert_eq!(e.to_string(), "no: u.scope: FooBar is wrong");
    }
}
