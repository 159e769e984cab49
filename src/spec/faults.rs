//! The faults found in a config, collected so that all are reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use crate::Error;

/// Faults and warnings found so far, each with its JSON path.
///
/// While a document is being repaired (see [`super::parse`]), bad elements are
/// taken out of its arrays; later paths are translated back to the indexes of
/// the document as it was given.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<(String, String)>,
    /// How many of `list` are about the shape of the document; what hangs
    /// together with one of these is a consequence and not reported again.
    shape: usize,
    removed: BTreeMap<String, BTreeSet<usize>>,
    /// Things worth a warning only.
    pub warnings: Vec<String>,
}

impl Faults {
    /// Adds a fault of meaning (the document has the right shape there).
    pub fn add(&mut self, path: impl AsRef<str>, message: impl Into<String>) {
        let path = self.original(path.as_ref());
        let known = |(p, _): &(String, String)| is_within(p, &path) || is_within(&path, p);
        if !self.list.iter().take(self.shape).any(known) {
            self.list.push((path, message.into()));
        }
    }

    /// Adds a fault of shape: a wrong type, an unknown name, a missing field.
    pub fn add_shape(&mut self, path: &str, message: impl Into<String>) {
        let path = self.original(path);
        if !self.list.iter().any(|(p, _)| is_within(p, &path)) {
            self.list.push((path, message.into()));
            self.shape = self.list.len();
        }
    }

    /// Adds a warning.
    pub fn warn(&mut self, path: impl AsRef<str>, message: &str) {
        let path = self.original(path.as_ref());
        self.warnings.push(format!("{path}: {message}"));
    }

    /// Lets a fault or warning at exactly this path be reported under another
    /// name: the flag that put the value there. Later names win.
    pub fn rename(&mut self, names: &[(String, String)]) {
        let find = |path: &str| names.iter().rev().find(|(from, _)| from == path).map(|(_, to)| to.clone());
        for (path, _) in &mut self.list {
            if let Some(name) = find(path) {
                *path = name;
            }
        }
        for warning in &mut self.warnings {
            if let Some((path, message)) = warning.split_once(": ")
                && let Some(name) = find(path)
            {
                *warning = format!("{name}: {message}");
            }
        }
    }

    /// Notes that an element was taken out of an array of the document.
    pub fn element_removed(&mut self, array: &str, index: usize) {
        let array = self.original(array);
        let index = self.original_index(&array, index);
        self.removed.entry(array).or_default().insert(index);
    }

    /// The string, or a fault if it holds a NUL byte, which no system call can take.
    pub fn text(&mut self, path: impl AsRef<str>, s: &str) -> Option<String> {
        self.cstring(path, s).map(|_| s.to_owned())
    }

    /// Like [`Faults::text`], as a C string.
    pub fn cstring(&mut self, path: impl AsRef<str>, s: &str) -> Option<CString> {
        let c = CString::new(s).ok();
        if c.is_none() {
            self.add(path, "contains a NUL byte");
        }
        c
    }

    /// All faults as one error; `None` if there are none.
    pub fn into_error(self, step: &'static str) -> Option<Error> {
        let error = |(path, message): (String, String)| {
            if path.is_empty() { Error::new(message) } else { Error::field(path, message) }
        };
        Error::join(step, self.list.into_iter().map(error).collect())
    }

    fn original_index(&self, array: &str, index: usize) -> usize {
        let gone = self.removed.get(array).into_iter().flatten();
        gone.fold(index, |i, &gone| if gone <= i { i + 1 } else { i })
    }

    /// Translates the indexes in a path of the repaired document.
    fn original(&self, path: &str) -> String {
        if self.removed.is_empty() {
            return path.to_owned();
        }
        let mut out = String::with_capacity(path.len());
        let mut rest = path;
        while let Some((before, after)) = rest.split_once('[') {
            out.push_str(before);
            match after.split_once(']').and_then(|(i, tail)| Some((i.parse::<usize>().ok()?, tail))) {
                Some((index, tail)) => {
                    let index = self.original_index(&out, index);
                    out.push_str(&format!("[{index}]"));
                    rest = tail;
                }
                None => {
                    out.push('[');
                    rest = after;
                }
            }
        }
        out + rest
    }
}

/// Is `path` the place `of`, or below it?
fn is_within(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| of.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The path of a key of a map whose keys are free text: `linux.sysctl["net.core.somaxconn"]`.
pub(crate) fn keyed(map: &str, key: &str) -> String {
    format!("{map}[{key:?}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_those_of_the_given_document() {
        let mut f = Faults::default();
        f.add_shape("mounts[1]", "bad");
        f.element_removed("mounts", 1);
        f.add_shape("mounts[1]", "bad too");
        f.element_removed("mounts", 1);
        f.add("mounts[1].options[0]", "worse");
        f.add("mounts[0]", "fine");
        f.add("mounts", "a consequence");
        let text = f.into_error("x").unwrap().to_string();
        assert_eq!(text, "x: mounts[1]: bad; mounts[2]: bad too; mounts[3].options[0]: worse; mounts[0]: fine");
    }

    #[test]
    fn nul_is_a_fault() {
        let mut f = Faults::default();
        assert!(f.text("a", "b").is_some());
        assert!(f.text("a", "b\0").is_none());
        assert_eq!(f.into_error("x").unwrap().to_string(), "x: a: contains a NUL byte");
    }
}
