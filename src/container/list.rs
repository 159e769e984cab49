//! `state`, `list` and `ps`: verbs that only look.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::handle::{Handle, open_cgroup};
use super::state::{State, Status};
use super::{Manager, Runtime};
use crate::cgroup::Oom;
use crate::error::{Error, Result, Step};
use crate::log;

/// What `state` prints (runtime-spec runtime.md, "State"), and a line of `list`.
#[derive(Debug, Clone, Serialize)]
pub struct StateReport {
    /// `ociVersion` of the config.
    #[serde(rename = "ociVersion")]
    pub oci_version: String,
    /// Container id.
    pub id: String,
    /// Init's pid; 0 when stopped.
    pub pid: i32,
    /// Status.
    pub status: Status,
    /// Absolute path.
    pub bundle: PathBuf,
    /// Absolute path.
    pub rootfs: PathBuf,
    /// RFC 3339, UTC.
    pub created: String,
    /// Annotations of the config.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What was killed in it for want of memory; only if something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom: Option<Oom>,
    /// User name, or `#uid`; only `list` fills it in.
    pub owner: String,
}

/// The state of one container.
///
/// # Errors
/// `container does not exist`.
pub fn state(rt: &Runtime, id: &str) -> Result<StateReport> {
    let (handle, state) = Handle::open_with_state(rt, id)?;
    report(&handle, state)
}

fn report(handle: &Handle, state: State) -> Result<StateReport> {
    let (status, init) = handle.status(&state)?;
    // It outlives its processes until `delete`. Whether it can be read is no matter of the state.
    let oom = open_cgroup(&state).ok().flatten().and_then(|cgroup| cgroup.oom());
    Ok(StateReport {
        oci_version: state.orlop.oci_version,
        id: state.id,
        pid: if init.is_some() { state.init_process_pid } else { 0 },
        status,
        bundle: state.orlop.bundle,
        rootfs: state.config.rootfs,
        created: state.created,
        annotations: state.orlop.annotations,
        oom,
        owner: String::new(),
    })
}

/// All containers under the root, by id. One that cannot be read is left out
/// with a note.
///
/// # Errors
/// When a root that was asked for is not there.
pub fn list(rt: &Runtime) -> Result<Vec<StateReport>> {
    let entries = match std::fs::read_dir(&rt.root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !rt.root_given => return Ok(Vec::new()),
        Err(e) => return Err(Error::sys("cannot read the state root", e).path(&rt.root)),
    };
    let mut reports = Vec::new();
    let mut owners = Owners::default();
    for entry in entries {
        let entry = entry.step_at("cannot read the state root", &rt.root)?;
        let id = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            match one(rt, &id, &mut owners) {
                Ok(report) => reports.push(report),
                Err(e) => log::note(&format!("cannot list {id:?}: {e}")),
            }
        }
    }
    reports.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(reports)
}

fn one(rt: &Runtime, id: &str, owners: &mut Owners) -> Result<StateReport> {
    let (handle, state) = Handle::open_with_state(rt, id)?;
    let owner = owners.name(state.orlop.owner);
    Ok(StateReport { owner, ..report(&handle, state)? })
}

/// User names, read once from the host's `/etc/passwd` (a static binary has no NSS).
#[derive(Default)]
struct Owners(Option<BTreeMap<u32, String>>);

impl Owners {
    fn name(&mut self, uid: u32) -> String {
        let names = self.0.get_or_insert_with(|| {
            let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            passwd
                .lines()
                .rev()
                .filter_map(|line| {
                    let mut fields = line.split(':');
                    let name = fields.next()?;
                    Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
                })
                .collect()
        });
        names.get(&uid).cloned().unwrap_or_else(|| format!("#{uid}"))
    }
}

/// The pids of everything in the container's cgroup, exec'ed processes and sub-cgroups included.
///
/// # Errors
/// `container not running`, or why there is no cgroup to look into.
pub fn processes(rt: &Runtime, id: &str) -> Result<Vec<i32>> {
    let (handle, state) = Handle::open_with_state(rt, id)?;
    if let (Status::Stopped | Status::Creating, _) = handle.status(&state)? {
        return Err(Error::new("container not running").message(format!("{id:?}")));
    }
    match open_cgroup(&state)? {
        Some(cgroup) => cgroup.processes(),
        None => Err(no_cgroup(&state)),
    }
}

/// Why a verb that works on the cgroup cannot.
pub fn no_cgroup(state: &State) -> Error {
    let error = Error::new("the container has no cgroup").message(format!("{:?}", state.id));
    if state.orlop.manager == Manager::Disabled {
        error.hint("it was created with --cgroup-manager disabled")
    } else {
        error
    }
}
