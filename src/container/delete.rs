//! `delete`: gives back everything `create` took.

use std::path::Path;

use super::Runtime;
use super::handle::Handle;
use super::state::{State, Status};
use super::{check_id, kill};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::hooks::{self, HookState};
use crate::log;

/// Deletes a stopped container, or a created one, which engines expect; with
/// `force` any, also one that is half made or not there at all.
///
/// # Errors
/// `container does not exist`, or `cannot delete container ID that is not
/// stopped: running`.
pub fn delete(rt: &Runtime, id: &str, force: bool) -> Result<()> {
    check_id(id)?;
    let handle = match Handle::open(rt, id) {
        Ok(handle) => handle,
        Err(_) if force && !rt.dir(id).exists() => return Ok(()),
        Err(e) => return Err(e),
    };
    let _lock = match handle.lock() {
        Ok(lock) => lock,
        // Somebody else's delete was faster, which is as good.
        Err(_) if force && handle.is_gone() => return Ok(()),
        Err(e) => return Err(e),
    };
    let state = match handle.state() {
        Ok(Some(state)) => state,
        // A create that was killed before it had written anything.
        Ok(None) if force => return handle.remove(),
        Ok(None) => return Err(Error::new("container does not exist").message(format!("{id:?}"))),
        Err(e) if force => return discard(&handle, &e),
        Err(e) => return Err(e),
    };
    let (status, _) = handle.status(&state)?;
    match status {
        Status::Running | Status::Paused if !force => {
            return Err(Error::new(format!("cannot delete container {id} that is not stopped: {}", status.word())));
        }
        Status::Stopped if !state.orlop.own_pids => kill::end(&state)?,
        Status::Stopped => {}
        _ => kill::end(&state)?,
    }
    finish(&handle, &state)
}

/// The end of a container that has no processes any more.
///
/// # Errors
/// Names what could not be removed.
pub fn finish(handle: &Handle, state: &State) -> Result<()> {
    tear_down(handle, state)?;
    poststop(state);
    Ok(())
}

/// A state that cannot be read: `--force` removes the directory, and says what may be left.
fn discard(handle: &Handle, error: &Error) -> Result<()> {
    log::warn(&format!("{error}: removing the state directory only"));
    handle.remove()
}

/// Removes cgroup, resctrl group and state directory of a container without processes.
///
/// # Errors
/// Names what could not be removed.
pub fn tear_down(handle: &Handle, state: &State) -> Result<()> {
    if let Some(target) = &state.orlop.cgroup {
        Cgroup::remove(target)?;
    }
    state.orlop.rdt.as_ref().map_or(Ok(()), |group| group.remove())?;
    handle.remove()
}

/// poststop hooks come when everything is gone, and can only warn (runtime-spec
/// runtime.md, "Lifecycle", step 13).
pub fn poststop(state: &State) {
    let own = &state.orlop;
    let report = HookState {
        oci_version: &own.oci_version,
        id: &state.id,
        status: "stopped",
        pid: None,
        bundle: &own.bundle,
        annotations: &own.annotations,
    };
    let cwd = if own.bundle.is_dir() { own.bundle.as_path() } else { Path::new("/") };
    for hook in &own.poststop {
        if let Err(e) = hooks::run_all(std::slice::from_ref(hook), &report, Some(cwd), None, None) {
            log::warn(&e.to_string());
        }
    }
}
