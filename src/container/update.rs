//! `update`: other limits for a container that is there.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Runtime;
use super::handle::{Handle, open_cgroup};
use super::list::no_cgroup;
use super::state::{State, Status};
use crate::error::{Error, Result, Step};
use crate::log;
use crate::rdt;
use crate::spec::plan::RdtLine;
use crate::spec::{self, Current};

/// What `update` is asked for.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// A file with a LinuxResources object, `-` for stdin.
    pub resources: Option<PathBuf>,
    /// Flags, by name without the dashes; they win over the file.
    pub flags: Vec<(&'static str, String)>,
}

/// Changes the limits of a created, running or paused container: all of them,
/// or when the kernel refuses one, none. The cgroup's own files say what holds
/// now; device rules are never touched.
///
/// # Errors
/// `container not running`, faults of the request, or what the kernel refused.
pub fn update(rt: &Runtime, id: &str, options: &UpdateOptions) -> Result<()> {
    // Read first: nobody should wait for our stdin with the lock held.
    let json = options.resources.as_deref().map(read).transpose()?;
    let (handle, state) = Handle::open_with_state(rt, id)?;
    let _lock = handle.lock()?;
    if let (Status::Stopped | Status::Creating, _) = handle.status(&state)? {
        return Err(Error::new("container not running").message(format!("{id:?}")));
    }
    let cgroup = open_cgroup(&state)?;
    let text = |file| cgroup.as_ref().and_then(|cgroup| cgroup.text(file));
    let current = Current { cpu_max: text("cpu.max"), memory_max: text("memory.max") };
    let update = spec::update(json.as_deref(), &options.flags, &current)?;
    update.warnings.iter().for_each(|w| log::warn(w));
    if update.settings.is_empty() {
        return set_schemata(&state, &update.rdt).map(drop);
    }
    let cgroup = cgroup.ok_or_else(|| no_cgroup(&state))?;
    if update.check_usage {
        cgroup.check_usage(&update.settings)?;
    }
    let (group, old) = set_schemata(&state, &update.rdt)?;
    cgroup.update(&update.settings).map_err(|e| match group.map_or(Ok(()), |group| group.set(&old)) {
        Ok(()) => e,
        Err(_) => e.hint("and the old schemata could not be written back"),
    })
}

/// Changes the schemata of the container's resctrl group; gives back the lines that undo it.
fn set_schemata<'s>(state: &'s State, lines: &[RdtLine]) -> Result<(Option<&'s rdt::Target>, Vec<RdtLine>)> {
    let Some(line) = lines.first() else { return Ok((None, Vec::new())) };
    let no_group = "the container has no resctrl group: its config has no linux.intelRdt";
    let group = state.orlop.rdt.as_ref().ok_or_else(|| Error::field(&line.field, no_group))?;
    Ok((Some(group), group.update(lines)?))
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    match read {
        Ok(_) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::new("cannot read --resources").path(path).message("not UTF-8"))
        }
        Err(e) => Err(e).step_at("cannot read --resources", path),
    }
}
