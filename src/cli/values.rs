//! Values on the command line that are more than text: paths, signals, user ids.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use nix::sys::signal::Signal;

use crate::error::{Error, Result};

/// Any path, also an empty one: clap's own parser refuses `--pid-file=`, which
/// in Go means that the flag was not given.
pub(super) fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// An empty path is a flag that was not given.
pub(super) fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|p| !p.as_os_str().is_empty())
}

/// The same for text.
pub(super) fn given_text(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

/// Reads a span of time as Go writes it: `5s`, `500ms`, `1m30s`, `1.5h`.
pub(super) fn duration(text: &str) -> Result<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let bad = || Error::new(format!("{text:?} is not a duration like 5s, 500ms or 1m30s"));
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (amount, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        seconds += amount.parse::<f64>().map_err(|_| bad())? * known.ok_or_else(bad)?.1;
        rest = tail;
    }
    match Duration::try_from_secs_f64(seconds) {
        // A century is as long as anybody waits, and no clock overflows with it.
        Ok(span) if !span.is_zero() && seconds <= 3.2e9 => Ok(span),
        Ok(_) if !text.is_empty() && seconds == 0.0 => Err(Error::new("the interval must be more than 0")),
        _ => Err(bad()),
    }
}

// The kernel's range as every container sees it. Not libc's SIGRTMIN(), which
// is 34 or 35 depending on the libc this was built with.
const RT_MIN: i32 = 34;
const RT_MAX: i32 = 64;

/// Reads a signal: a number, or a name with or without `SIG` in any case,
/// `RTMIN+n` and `RTMAX-n` included.
///
/// # Errors
/// `unknown signal "X"`.
pub fn signal(text: &str) -> Result<i32> {
    let number = if digits(text) {
        text.parse().ok().filter(|n| (0..=RT_MAX).contains(n))
    } else {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        real_time(name).or_else(|| named(name))
    };
    number.ok_or_else(|| Error::new(format!("unknown signal {text:?}")))
}

fn named(name: &str) -> Option<i32> {
    let name = match name {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        other => other,
    };
    Signal::from_str(&format!("SIG{name}")).ok().map(|s| s as i32)
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str, sign: char| match text.strip_prefix(sign) {
        Some(n) if digits(n) => n.parse::<i32>().ok().filter(|n| *n <= RT_MAX - RT_MIN),
        None if text.is_empty() => Some(0),
        _ => None,
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').map(|n| RT_MIN + n)
    } else {
        offset(name.strip_prefix("RTMAX")?, '-').map(|n| RT_MAX - n)
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Reads `--user UID[:GID]`. Strictly decimal, and everything has to be there:
/// a text that is read half (CVE-2026-30892) or looked up in the container's
/// `/etc/passwd` (CVE-2016-3697) ends in somebody else's user.
///
/// # Errors
/// The text is something else.
pub fn user(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((id(uid)?, Some(id(gid)?))),
        None => Ok((id(text)?, None)),
    }
}

/// Reads one user or group id; 4294967295 is "no id" to the kernel.
///
/// # Errors
/// The text is something else.
pub fn id(text: &str) -> Result<u32> {
    let number = if digits(text) { text.parse().ok().filter(|n| *n != u32::MAX) } else { None };
    number.ok_or_else(|| Error::new(format!("not a decimal id up to 4294967294: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        let table = [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("Usr1", 10),
            ("WINCH", 28),
            ("CLD", 17),
            ("SIGPOLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("sigrtmin+30", 64),
            ("RTMAX", 64),
            ("RTMAX-14", 50),
        ];
        for (text, number) in table {
            assert_eq!(signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "65", "-9", "+9", "SIG", "SIGSIGKILL", "FOO", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+", " 9"]
        {
            assert_eq!(signal(text).unwrap_err().to_string(), format!("unknown signal {text:?}"));
        }
    }

    /// The table of CVE-2026-30892: a user that is read as another one.
    #[test]
    fn users_are_read_whole_or_not_at_all() {
        assert_eq!(user("1000").unwrap(), (1000, None));
        assert_eq!(user("0:0").unwrap(), (0, Some(0)));
        assert_eq!(user("4294967294:4294967294").unwrap(), (4_294_967_294, Some(4_294_967_294)));
        let bad = [
            "",
            ":",
            "1000:",
            ":5",
            "1:2:3",
            "4294967295",
            "4294967296",
            "1:4294967295",
            "-1",
            "+1",
            "1:-1",
            "1:+1",
            "abc",
            "root",
            "1a",
            " 0",
            "0 ",
            "0: 0",
            "0x0",
            "1,2",
            "1.2",
            "\u{661}",
        ];
        for text in bad {
            assert!(user(text).is_err(), "{text:?}");
        }
    }
}
