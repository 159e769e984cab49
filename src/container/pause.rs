//! `pause` and `resume`: the cgroup's freezer.

use super::Runtime;
use super::handle::{Handle, open_cgroup};
use super::list::no_cgroup;
use super::state::Status;
use crate::error::{Error, Result};

/// Freezes a running or created container; returns when it stands still.
///
/// # Errors
/// `container not running`.
pub fn pause(rt: &Runtime, id: &str) -> Result<()> {
    change(rt, id, true)
}

/// Thaws a paused container.
///
/// # Errors
/// `container not paused`.
pub fn resume(rt: &Runtime, id: &str) -> Result<()> {
    change(rt, id, false)
}

fn change(rt: &Runtime, id: &str, freeze: bool) -> Result<()> {
    let (handle, state) = Handle::open_with_state(rt, id)?;
    let _lock = handle.lock()?;
    match (handle.status(&state)?.0, freeze) {
        (Status::Running | Status::Created, true) | (Status::Paused, false) => {}
        (_, true) => return Err(Error::new("container not running").message(format!("{id:?}"))),
        (_, false) => return Err(Error::new("container not paused").message(format!("{id:?}"))),
    }
    let cgroup = open_cgroup(&state)?.ok_or_else(|| no_cgroup(&state))?;
    cgroup.set_frozen(freeze).inspect_err(|_| {
        // Half-frozen is worse than running.
        let _ = cgroup.set_frozen(false);
    })
}
