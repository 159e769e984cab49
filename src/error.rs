//! The one error type: which step, which subject, which errno, and a hint.
//!
//! An error is made once, where the errno is known, and printed once, in
//! `main`. Its text is a single lower-case line, because conmon reads stderr
//! with one `read()` and podman shows the first line that matches its table.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The result of nearly everything in orlop.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: the step that failed and what is known about it.
///
/// The text is `step: field: path: message: errno text (hint)`, leaving out
/// what is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Inner {
    step: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<Cow<'static, str>>,
    /// Exit status asked for, when it is not the command's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit: Option<i32>,
}

impl Error {
    /// An error with a text of its own and no errno: `Error::new("container does not exist")`.
    pub fn new(step: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { step: step.into(), ..Inner::default() }))
    }

    /// A failed system call: the step it belonged to and its errno.
    pub fn sys(step: impl Into<Cow<'static, str>>, errno: impl Into<Errno>) -> Self {
        Self::new(step).errno(errno)
    }

    /// A fault in a document: the field's JSON path and what is wrong with it.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut e = Self::new("");
        e.0.field = Some(field.into());
        e.0.message = Some(message.into());
        e
    }

    /// Adds the config field the step was working on, as a JSON path.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<String>) -> Self {
        self.0.field.get_or_insert_with(|| field.into());
        self
    }

    /// Adds the path the step was working on.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path.get_or_insert_with(|| path.as_ref().to_string_lossy().into_owned());
        self
    }

    /// Adds what is wrong, in words.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Adds the errno.
    #[must_use]
    pub fn errno(mut self, errno: impl Into<Errno>) -> Self {
        self.0.errno = Some(errno.into().0);
        self
    }

    /// Adds what the reader could do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Asks for an exit status other than the command's usual one.
    #[must_use]
    pub fn exit(mut self, code: i32) -> Self {
        self.0.exit = Some(code);
        self
    }

    /// Puts an outer step in front: `create: cannot write state: …`.
    #[must_use]
    pub fn during(mut self, step: &str) -> Self {
        self.0.step = if self.0.step.is_empty() { step.to_owned() } else { format!("{step}: {}", self.0.step) }.into();
        self
    }

    /// Is this the step that failed, by its own name?
    pub fn is_step(&self, step: &str) -> bool {
        self.0.step == step
    }

    /// The errno, if a system call failed.
    pub fn raw_errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// The exit status asked for with [`Error::exit`].
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit
    }

    /// Joins faults found together into one error; `None` if there are none.
    pub fn join(step: &'static str, faults: Vec<Error>) -> Option<Error> {
        if faults.is_empty() {
            return None;
        }
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Some(Error::new(step).message(text.join("; ")))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &*self.0;
        let errno = e.errno.map(errno_text);
        let parts = [
            Some(&*e.step).filter(|s| !s.is_empty()),
            e.field.as_deref(),
            e.path.as_deref(),
            e.message.as_deref(),
            errno.as_deref(),
        ];
        let mut sep = "";
        for part in parts.into_iter().flatten() {
            // One error is one line: conmon and podman read no further. And a
            // file name or a hook's output from an image must not speak to the
            // terminal of whoever reads this.
            write!(f, "{sep}{}", part.replace(char::is_control, " "))?;
            sep = ": ";
        }
        match &e.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// An errno on its way into an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl From<nix::errno::Errno> for Errno {
    fn from(e: nix::errno::Errno) -> Self {
        Self(e as i32)
    }
}

impl From<std::io::Error> for Errno {
    fn from(e: std::io::Error) -> Self {
        Self(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<i32> for Errno {
    fn from(e: i32) -> Self {
        Self(e)
    }
}

/// The text of an errno in lower case, as CRI-O and containerd match it
/// ("no such process", not "No such process (os error 3)").
pub fn errno_text(errno: i32) -> String {
    let text = nix::errno::Errno::from_raw(errno).desc();
    let mut chars = text.chars();
    match chars.next() {
        // An abbreviation keeps its capitals ("RFS specific error", "I/O error" stays readable either way).
        Some(first) if !text.chars().nth(1).is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Turns the errors of nix and std into ours, naming the step.
pub trait Step<T> {
    /// Names the step that failed.
    fn step(self, step: impl Into<Cow<'static, str>>) -> Result<T>;
    /// Names the step and the path it worked on.
    fn step_at(self, step: impl Into<Cow<'static, str>>, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<Errno>> Step<T> for std::result::Result<T, E> {
    fn step(self, step: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|e| Error::sys(step, e))
    }

    fn step_at(self, step: impl Into<Cow<'static, str>>, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::sys(step, e).path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_lower_case_line() {
        let e = Error::sys("cannot mount", libc::ESRCH).in_field("mounts[3]").path("/x").hint("try\u{20}again");
        assert_eq!(e.to_string(), "cannot mount: mounts[3]: /x: no such process (try again)");
        assert_eq!(Error::new("a").message("b\nc\u{1b}[2J\r").to_string(), "a: b c [2J ");
        assert_eq!(errno_text(libc::EPERM), "operation not permitted");
    }

    #[test]
    fn survives_the_channel() {
        let e = Error::sys("x", libc::EIO).path("/p").exit(3);
        let bytes = serde_json::to_vec(&e).unwrap();
        assert_eq!(serde_json::from_slice::<Error>(&bytes).unwrap(), e);
    }
}
