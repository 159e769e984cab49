//! `state.json`: what is known of a container, and who it is now.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Manager;
use super::launch::{Agent, Executing};
use super::stat::Stat;
use crate::cgroup;
use crate::error::{Error, Result, Step};
use crate::hooks::HookState;
use crate::rdt;
use crate::seccomp::Setup;
use crate::spec::plan::{Hook, IdMaps, MemoryPolicy, NamespaceKind};
use crate::sys;

/// A container's status, as `state` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work, or was killed at it.
    Creating,
    /// Set up, waiting for `start`.
    Created,
    /// The program runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Its init is gone.
    Stopped,
}

impl Status {
    /// The word in JSON and in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// `state.json`. The first part has the names of runc's file, which node agents
/// read (engine-contract §6); what is ours is under `orlop`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Container id.
    pub id: String,
    /// Init's pid in the runtime's namespace; 0 until there is one.
    pub init_process_pid: i32,
    /// Init's start time in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub init_process_start: u64,
    /// RFC 3339.
    pub created: String,
    /// Part of the config.
    pub config: SavedConfig,
    /// The cgroup directory under the key `""`.
    pub cgroup_paths: BTreeMap<String, PathBuf>,
    /// `NEWNET` → `/proc/PID/ns/net`, …
    pub namespace_paths: BTreeMap<String, PathBuf>,
    /// What stdin, stdout and stderr were, as criu names it; empty for what it is not told of.
    #[serde(default)]
    pub external_descriptors: Vec<String>,
    /// Ours.
    pub orlop: Own,
}

/// The part of the config that others look for in `state.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedConfig {
    /// Absolute.
    pub rootfs: PathBuf,
}

/// What the verbs need to know.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Own {
    /// Of this part of the file.
    pub version: u32,
    /// Of the config.
    pub oci_version: String,
    /// Absolute.
    pub bundle: PathBuf,
    /// The config, if it is not the bundle's `config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// As configured.
    pub annotations: BTreeMap<String, String>,
    /// The maps of its user namespace.
    #[serde(default, skip_serializing_if = "IdMaps::is_empty")]
    pub ids: IdMaps,
    /// For exec and for the agent; the program is a file of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Setup>,
    /// Who made it.
    pub owner: u32,
    /// Who made the cgroup.
    pub manager: Manager,
    /// Written before the cgroup is made, so that whatever happens it can be removed.
    pub cgroup: Option<cgroup::Target>,
    /// `linux.intelRdt`; written before its groups are made, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdt: Option<rdt::Target>,
    /// The container has a pid namespace of its own: init's end is everyone's.
    pub own_pids: bool,
    /// The inode number of init's pidfd, where those are unique (Linux 6.9).
    pub init_pidfd_inode: Option<u64>,
    /// It was given a session keyring.
    pub keyring: bool,
    /// `process`, for exec; absent when the config has none.
    pub process: Option<Box<RawValue>>,
    /// For exec.
    pub personality: Option<u64>,
    /// For exec: mode and nodes.
    pub memory_policy: Option<(i32, Vec<u64>)>,
    /// Hooks of later verbs.
    pub poststart: Vec<Hook>,
    /// Hooks of later verbs.
    pub poststop: Vec<Hook>,
}

/// The version of [`Own`] that this binary writes and reads.
pub const STATE_VERSION: u32 = 1;

impl State {
    /// Records who init is, and what follows from that.
    ///
    /// # Errors
    /// `ESRCH` when it has ended already.
    pub fn set_init(&mut self, pid: i32, pidfd: &OwnedFd) -> Result<()> {
        let stat = Stat::read(pid).step("cannot read init's start time")?;
        self.orlop.init_pidfd_inode = pidfd_inode(pidfd).step("cannot stat init's pidfd")?;
        self.init_process_pid = pid;
        self.init_process_start = stat.start_time;
        let path = |kind: NamespaceKind| PathBuf::from(format!("/proc/{pid}/ns/{}", kind.proc_name()));
        let key = |kind: NamespaceKind| match kind {
            NamespaceKind::Mount => "NEWNS".to_owned(),
            kind => format!("NEW{}", kind.proc_name().to_uppercase()),
        };
        self.namespace_paths = NamespaceKind::ALL.iter().map(|kind| (key(*kind), path(*kind))).collect();
        Ok(())
    }

    /// A pidfd of init, if it is alive and the very process that was recorded:
    /// a number that was given to somebody else since is not.
    ///
    /// # Errors
    /// Anything but "there is no such process".
    pub fn init(&self) -> Result<Option<OwnedFd>> {
        if self.init_process_pid <= 0 {
            return Ok(None);
        }
        let pidfd = match sys::process::pidfd_open(self.init_process_pid) {
            Ok(fd) => fd,
            // EINVAL: the number is now a thread's.
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(e) => return Err(Error::sys("cannot open init's pidfd", e)),
        };
        // The pidfd came first: if the start time fits now, it is of the same process.
        match Stat::read(self.init_process_pid) {
            Ok(stat) if self.is_init(stat, &pidfd).step("cannot stat init's pidfd")? && !stat.ending() => {
                let ended = sys::process::wait_exit(&pidfd, 0).step("cannot poll init's pidfd")?;
                Ok((!ended).then_some(pidfd))
            }
            Ok(_) | Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
            Err(e) => Err(Error::sys("cannot read init's start time", e)),
        }
    }

    /// The start time counts in hundredths of a second, in which a busy host
    /// can use a pid twice; where pidfds have inode numbers of their own, those
    /// are never given again.
    fn is_init(&self, stat: Stat, pidfd: &OwnedFd) -> nix::Result<bool> {
        let known = self.orlop.init_pidfd_inode;
        Ok(stat.start_time == self.init_process_start && (known.is_none() || pidfd_inode(pidfd)? == known))
    }

    /// There is no cgroup after all, or not ours.
    pub fn forget_cgroup(&mut self) {
        self.orlop.cgroup = None;
        self.cgroup_paths.clear();
    }

    /// What hooks and agents are told of the container.
    pub fn report(&self, status: &'static str) -> HookState<'_> {
        HookState {
            oci_version: &self.orlop.oci_version,
            id: &self.id,
            status,
            pid: Some(self.init_process_pid),
            bundle: &self.orlop.bundle,
            annotations: &self.orlop.annotations,
        }
    }

    /// Init, as it becomes the program.
    pub fn init_executing<'a>(&'a self, pidfd: BorrowedFd<'a>) -> Executing<'a> {
        // The status by which an agent knows it from a process of exec's.
        self.executing(self.init_process_pid, pidfd, "creating")
    }

    /// A process in the container, as it becomes its program.
    pub fn executing<'a>(&'a self, pid: i32, pidfd: BorrowedFd<'a>, status: &'static str) -> Executing<'a> {
        let setup = self.orlop.seccomp.as_ref();
        let listener = setup.and_then(|setup| setup.listener.as_ref());
        let agent = listener.map(|listener| Agent { listener, pid, pidfd, state: self.report(status) });
        Executing { pid, filtered: setup.is_some(), agent }
    }

    /// `linux.memoryPolicy`, for exec.
    pub fn memory_policy(&self) -> Option<MemoryPolicy> {
        self.orlop.memory_policy.as_ref().map(|(mode, nodes)| MemoryPolicy { mode: *mode, nodes: nodes.clone() })
    }
}

/// The inode number of a pidfd on pidfs; before Linux 6.9 all pidfds share one.
fn pidfd_inode(pidfd: &OwnedFd) -> nix::Result<Option<u64>> {
    const PID_FS_MAGIC: FsType = FsType(0x5049_4446);
    let own = fstatfs(pidfd)?.filesystem_type() == PID_FS_MAGIC;
    Ok(if own { Some(fstat(pidfd)?.st_ino) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_with_the_number_is_not_init() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut state = State::default();
        let pidfd = sys::process::pidfd_open(pid).unwrap();
        state.set_init(pid, &pidfd).unwrap();
        assert!(state.init().unwrap().is_some());
        state.init_process_start += 1;
        assert!(state.init().unwrap().is_none());
        state.init_process_start -= 1;
        if let Some(inode) = &mut state.orlop.init_pidfd_inode {
            *inode += 1;
            assert!(state.init().unwrap().is_none());
        }
        assert_eq!(state.namespace_paths["NEWNS"], PathBuf::from(format!("/proc/{pid}/ns/mnt")));
    }
}
