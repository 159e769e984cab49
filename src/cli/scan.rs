//! The words of a command line, cut the way runc and crun cut them.
//!
//! clap alone would refuse what engines send: single-dash long options
//! (`-no-subreaper`), booleans with a value (`--rootless=true`), values that
//! begin with a dash (`--memory -1`), a single-valued flag given twice. So the
//! words are brought into one canonical form first, against the same flag
//! table, and clap turns that into typed values.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::error::{Error, Result};

/// A command line, cut.
#[derive(Default)]
pub(super) struct Scan {
    /// Long flag names with their values; a boolean that is set has none.
    flags: Vec<(String, Option<OsString>)>,
    /// The words that are no flags.
    pub rest: Vec<OsString>,
    /// `-h` or `--help` was there.
    pub help: bool,
    /// The first thing that is wrong. Scanning goes on after it, because
    /// `--log` has to be found for reporting the fault.
    pub fault: Option<Error>,
}

/// Cuts `words` by the flags of `cmd`. With `stop`, everything from the first
/// word that is no flag on is left as it is: a subcommand, a container's command.
pub(super) fn scan(cmd: &Command, words: impl IntoIterator<Item = OsString>, stop: bool) -> Scan {
    let mut words = words.into_iter();
    let mut scan = Scan::default();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            scan.rest.extend(words);
            break;
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            scan.flag(cmd, &word, &mut words);
        } else {
            scan.rest.push(word);
            if stop {
                scan.rest.extend(words);
                break;
            }
        }
    }
    scan
}

impl Scan {
    /// The value of a flag, if it was given.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.flags.iter().find(|(name, _)| name == long)?.1.as_deref()
    }

    /// True if a boolean flag was set.
    pub fn is_set(&self, long: &str) -> bool {
        self.flags.iter().any(|(name, _)| name == long)
    }

    /// Lets clap turn the words into typed values.
    pub fn matches(self, cmd: Command) -> Result<ArgMatches> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut words: Vec<OsString> = Vec::with_capacity(self.flags.len() + self.rest.len() + 1);
        for (name, value) in self.flags {
            let mut word = OsString::from(format!("--{name}"));
            if let Some(value) = value {
                word.push("=");
                word.push(value);
            }
            words.push(word);
        }
        words.push("--".into());
        words.extend(self.rest);
        cmd.no_binary_name(true).try_get_matches_from(words).map_err(|e| plain(&e))
    }

    fn flag(&mut self, cmd: &Command, word: &OsStr, words: &mut impl Iterator<Item = OsString>) {
        let bytes = word.as_bytes();
        let double = bytes.starts_with(b"--");
        let body = &bytes[if double { 2 } else { 1 }..];
        let (name, value) = match body.iter().position(|&b| b == b'=') {
            Some(at) => (&body[..at], Some(&body[at + 1..])),
            None => (body, None),
        };
        if name == b"help" || (!double && name == b"h") {
            self.help = true;
        } else if let Some(arg) =
            find(cmd, |a| (double || name.len() > 1) && a.get_long().is_some_and(|l| l.as_bytes() == name))
        {
            self.push(arg, value.map(owned), words);
        } else if double {
            self.fail(unknown(word));
        } else {
            self.cluster(cmd, word, words);
        }
    }

    /// Short flags: `-d`, `-dt`, `-e A=1`, `-eA=1`, `-e=A=1`.
    fn cluster(&mut self, cmd: &Command, word: &OsStr, words: &mut impl Iterator<Item = OsString>) {
        let mut left = &word.as_bytes()[1..];
        while let [letter, after @ ..] = left {
            let Some(arg) = find(cmd, |a| a.get_short() == Some(char::from(*letter))) else {
                return self.fail(unknown(word));
            };
            match after {
                [b'=', value @ ..] => return self.push(arg, Some(owned(value)), words),
                [_, ..] if takes_value(arg) => return self.push(arg, Some(owned(after)), words),
                _ => self.push(arg, None, words),
            }
            left = after;
        }
    }

    /// Takes in one flag; the last one wins, unless the flag makes a list.
    fn push(&mut self, arg: &Arg, value: Option<OsString>, words: &mut impl Iterator<Item = OsString>) {
        let long = arg.get_long().unwrap_or_default();
        let value = if takes_value(arg) {
            // The next word is the value whatever it looks like, as in Go.
            let Some(value) = value.or_else(|| words.next()) else {
                return self.fail(Error::new(format!("flag --{long} requires an argument")));
            };
            Some(value)
        } else {
            match value.as_deref().map_or(Some(true), boolean) {
                Some(true) => None,
                Some(false) => return self.flags.retain(|(name, _)| name != long),
                None => {
                    let value = value.unwrap_or_default();
                    return self.fail(Error::new(format!("invalid boolean value for --{long}: {value:?}")));
                }
            }
        };
        if !matches!(arg.get_action(), ArgAction::Append) {
            self.flags.retain(|(name, _)| name != long);
        }
        self.flags.push((long.to_owned(), value));
    }

    fn fail(&mut self, fault: Error) {
        self.fault.get_or_insert(fault);
    }
}

fn find(cmd: &Command, wanted: impl Fn(&Arg) -> bool) -> Option<&Arg> {
    cmd.get_arguments().find(|a| wanted(a))
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn owned(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

fn unknown(word: &OsStr) -> Error {
    Error::new(format!("unknown flag {word:?}"))
}

/// Go's booleans (`strconv.ParseBool`), which is what go-runc's callers know.
pub(super) fn boolean(text: &OsStr) -> Option<bool> {
    match text.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// clap's error in one line of ours; what can get here is about values and the
/// number of words, everything about flags was found while scanning.
pub(super) fn plain(e: &clap::Error) -> Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let text = |kind| {
        e.get(kind).map(|v| match v {
            ContextValue::Strings(all) => all.join(", "),
            other => other.to_string(),
        })
    };
    let arg = text(ContextKind::InvalidArg).unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    // `--format <FORMAT>` is named by the flag alone.
    let flag = arg.split(' ').next().unwrap_or_default().to_owned();
    match e.kind() {
        ErrorKind::MissingRequiredArgument => Error::new(format!("missing argument: {arg}")),
        ErrorKind::UnknownArgument => Error::new(format!("too many arguments: {arg:?}")),
        ErrorKind::InvalidUtf8 => Error::new("an argument is not valid UTF-8"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let mut error = Error::new(format!("invalid value for {flag}: {value:?}"));
            if let Some(cause) = std::error::Error::source(e) {
                error = error.message(cause.to_string());
            }
            match text(ContextKind::ValidValue) {
                Some(valid) => error.message(format!("has to be one of {valid}")),
                None => error,
            }
        }
        _ => {
            let all = e.to_string();
            Error::new(all.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
        }
    }
}
