//! What unit a container is to be, and where systemd puts its cgroup.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const FIELD: &str = "linux.cgroupsPath";

/// systemd's own limit (`UNIT_NAME_MAX`).
const MAX_NAME: usize = 255;

/// The unit of a `cgroupsPath` `SLICE:PREFIX:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `PREFIX-NAME.scope`, or `NAME` when that is a slice.
    pub unit: String,
    /// The slice it is in.
    pub slice: String,
    /// The cgroup's path below that of the manager.
    pub below: PathBuf,
}

impl Place {
    /// Reads a `cgroupsPath`; without one the unit is `orlop-ID.scope` in
    /// `system.slice`, or in a user's `user.slice`.
    ///
    /// # Errors
    /// Not three parts, or names that systemd has no units for.
    pub fn new(path: Option<&str>, id: &str, user: bool) -> Result<Self> {
        let default_slice = if user { "user.slice" } else { "system.slice" };
        let default = format!(":orlop:{id}");
        let given = path.filter(|p| !p.is_empty()).unwrap_or(&default);
        let fault = |text: String| Error::field(FIELD, format!("{given:?} {text}"));
        let parts: Vec<&str> = given.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(fault("is not SLICE:PREFIX:NAME".to_owned())
                .hint("the systemd cgroup manager needs that form; for a path use --cgroup-manager cgroupfs"));
        };
        if name.is_empty() {
            return Err(fault("has no name".to_owned()));
        }
        let slice = if slice.is_empty() { default_slice } else { slice };
        let in_slice =
            expand(slice).ok_or_else(|| fault(format!("has {slice:?}, which is not the name of a slice")))?;
        let unit = match (name.ends_with(".slice"), prefix.is_empty()) {
            (true, _) => (*name).to_owned(),
            (false, true) => format!("{name}.scope"),
            (false, false) => format!("{prefix}-{name}.scope"),
        };
        if !valid(&unit) {
            let text = format!("makes {unit:?}, which is not the name of a unit");
            return Err(fault(text).hint("at most 255 of A-Z a-z 0-9 : - _ . \\ @"));
        }
        // A slice's name says where it is, whatever the first part says.
        let below = match name.ends_with(".slice") {
            true => expand(name).filter(|p| p != Path::new("")),
            false => Some(in_slice.join(&unit)),
        };
        let below = below.ok_or_else(|| fault(format!("has {name:?}, which is not the name of a slice to make")))?;
        Ok(Self { unit, slice: slice.to_owned(), below })
    }

    /// The unit is a slice itself.
    pub fn is_slice(&self) -> bool {
        self.unit.ends_with(".slice")
    }
}

fn valid(name: &str) -> bool {
    name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

/// Where a slice is: `a-b.slice` is `a.slice/a-b.slice`, `-.slice` is the root.
fn expand(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice").filter(|_| valid(slice))?;
    if name == "-" {
        return Some(PathBuf::new());
    }
    if name.split('-').any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.map(|end| format!("{}.slice", &name[..end])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: Option<&str>, user: bool) -> String {
        match Place::new(path, "c1", user) {
            Ok(p) => format!("{} {} {}", p.unit, p.slice, p.below.display()),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn units() {
        for (path, wanted) in [
            (None, "orlop-c1.scope system.slice system.slice/orlop-c1.scope"),
            (Some(""), "orlop-c1.scope system.slice system.slice/orlop-c1.scope"),
            (Some("machine.slice:libpod:abc"), "libpod-abc.scope machine.slice machine.slice/libpod-abc.scope"),
            (Some("a-b-c.slice:x:y"), "x-y.scope a-b-c.slice a.slice/a-b.slice/a-b-c.slice/x-y.scope"),
            (Some("-.slice:x:y"), "x-y.scope -.slice x-y.scope"),
            (Some(":x:y"), "x-y.scope system.slice system.slice/x-y.scope"),
            (Some("::y"), "y.scope system.slice system.slice/y.scope"),
            (Some("a.slice:x:a-y.slice"), "a-y.slice a.slice a.slice/a-y.slice"),
        ] {
            assert_eq!(at(path, false), wanted, "{path:?}");
        }
        assert_eq!(at(None, true), "orlop-c1.scope user.slice user.slice/orlop-c1.scope");
    }

    #[test]
    fn no_units() {
        let long = format!(":x:{}", "y".repeat(250));
        for (path, why) in [
            ("/a/b", "is not SLICE:PREFIX:NAME"),
            ("a.slice:b", "is not SLICE:PREFIX:NAME"),
            ("a.slice:b:c:d", "is not SLICE:PREFIX:NAME"),
            ("a.slice:b:", "has no name"),
            ("a:b:c", "not the name of a slice"),
            (".slice:b:c", "not the name of a slice"),
            ("a--b.slice:b:c", "not the name of a slice"),
            ("-a.slice:b:c", "not the name of a slice"),
            ("a-.slice:b:c", "not the name of a slice"),
            ("a/b.slice:b:c", "not the name of a slice"),
            ("../x.slice:b:c", "not the name of a slice"),
            (":b:-.slice", "not the name of a slice"),
            (":b:a--b.slice", "not the name of a slice"),
            (":b/../c:d", "not the name of a unit"),
            (":b:c d", "not the name of a unit"),
            (&long, "not the name of a unit"),
        ] {
            let e = at(Some(path), false);
            assert!(e.starts_with("linux.cgroupsPath: ") && e.contains(why), "{path}: {e}");
        }
    }
}
