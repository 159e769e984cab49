//! The host side: containers, their state directories and the verbs.
//!
//! A container is a directory `<root>/<id>/` with
//! - `state.json`: who and where it is, written whole by rename;
//! - `created`: a file that init keeps locked from before it is ready until
//!   its execve, which closes it: locked means "created", however that ends;
//! - `start.sock`: where init waits for `start`;
//! - `notify/`: the sd_notify(3) socket, when asked for.
//!
//! A verb that changes a container holds a lock on the directory itself.

use std::path::PathBuf;

mod birth;
mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod external;
mod foreground;
mod handle;
mod images;
mod kill;
mod launch;
mod list;
mod making;
mod mount_points;
mod namespaces;
mod notify;
pub mod options;
mod outputs;
mod pause;
mod preflight;
mod prepare;
pub mod protect;
mod restore;
mod rootless;
mod stage;
mod standstill;
mod start;
mod stat;
mod state;
mod update;

pub use checkpoint::checkpoint;
pub use create::{create, run};
pub use delete::delete;
pub use events::{Event, events};
pub use exec::exec;
pub use kill::kill;
pub use list::{StateReport, list, processes, state};
pub use options::*;
pub use pause::{pause, resume};
pub use restore::restore;
pub use start::start;
pub use state::Status;
pub use update::{UpdateOptions, update};

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
    /// `--rootless`: whether a container that needs no cgroup may be without
    /// one where none can be made; `None` leaves that to who we are.
    pub rootless: Option<bool>,
    /// `--criu`: the program that saves and restores; else the one in `PATH`.
    pub criu: Option<PathBuf>,
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
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    if !id.is_empty() && id != "." && id != ".." && id.bytes().all(known) {
        return Ok(());
    }
    Err(crate::Error::new("invalid container ID format").message(format!("{id:?}")))
}
