//! `update`: other limits for a container that is there.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Runtime;
use super::handle::{Handle, open_cgroup};
use super::list::no_cgroup;
use super::state::Status;
use crate::error::{Error, Result, Step};
use crate::log;
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
    let cgroup = open_cgroup(&state)?.ok_or_else(|| no_cgroup(&state))?;
    let current = Current { cpu_max: cgroup.text("cpu.max"), memory_max: cgroup.text("memory.max") };
    let update = spec::update(json.as_deref(), &options.flags, &current)?;
    update.warnings.iter().for_each(|w| log::warn(w));
    if update.check_usage {
        cgroup.check_usage(&update.settings)?;
    }
    cgroup.update(&update.settings)
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
