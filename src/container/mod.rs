//! The host side: containers, their state directories and the verbs.

use std::path::{Path, PathBuf};

pub mod options;
pub mod verbs;

pub use options::*;

/// What every verb works with: the global flags, resolved.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The state root, absolute and clean (`--root`).
    pub root: PathBuf,
    /// True when `--root` was given: then a missing root is an error for `list`.
    pub root_given: bool,
    /// `--cgroup-manager`, `--systemd-cgroup`; only `create` and `run` look at
    /// it, the choice is saved for the rest.
    pub manager: Manager,
}

impl Runtime {
    /// The state directory of a container.
    pub fn dir(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }
}

/// Checks a container id: ASCII letters, digits, `_ + - .`, not `.` or `..`.
///
/// # Errors
/// `invalid container ID format`, the text engines know (engine-contract §1.10).
pub fn check_id(id: &str) -> crate::Result<()> {
    let ok = !id.is_empty()
        && id != "."
        && id != ".."
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(&b))
        && Path::new(id).components().count() == 1;
    if ok { Ok(()) } else { Err(crate::Error::new("invalid container ID format").message(format!("{id:?}"))) }
}
