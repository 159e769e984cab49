//! All of `create` that touches nothing: what could be known to fail does so here.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::stat::{SFlag, fstat};
use serde_json::value::RawValue;

use super::handle::already_exists;
use super::launch::{InheritedFds, Interrupts};
use super::namespaces::{check_net_devices, open_joined};
use super::outputs::{Outputs, check_terminal};
use super::state::{Own, STATE_VERSION, SavedConfig, State};
use super::{CreateOptions, Manager, Runtime, birth, check_id, preflight, rootless};
use crate::cgroup::{self, Cgroup};
use crate::error::{Error, Result, Step};
use crate::log;
use crate::rdt;
use crate::spec;
use crate::spec::plan::{CgroupPlan, NamespaceKind, Plan};
use crate::sys;
use crate::sys::ids::is_users;
use crate::sys::procfs::Procfs;

/// Everything that could be read, checked and opened before the first side effect.
pub struct Prepared {
    /// Container id.
    pub id: String,
    /// Who makes the cgroup.
    pub manager: Manager,
    /// The config, resolved.
    pub plan: Plan,
    /// `process` as the config has it.
    pub process_json: Option<String>,
    /// The config, if it is not the bundle's `config.json`.
    pub config: Option<PathBuf>,
    /// Where the cgroup will be.
    pub cgroup: Option<cgroup::Planned>,
    /// The resctrl group.
    pub rdt: Option<rdt::Target>,
    /// Namespaces to join: index in the config, kind, itself.
    pub join: Vec<(usize, NamespaceKind, OwnedFd)>,
    /// The host's procfs.
    pub procfs: Procfs,
    /// Where the caller wants to be told.
    pub outputs: Outputs,
    /// Fds of the caller for the program.
    pub inherit: InheritedFds,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// Without `--no-new-keyring`.
    pub keyring: bool,
    /// Found out before the fork: in its user namespace the child is somebody else.
    pub rootless: bool,
}

impl Prepared {
    /// Reads, checks and opens it all.
    ///
    /// # Errors
    /// What is wrong with the config or with what the caller asks for.
    pub fn new(
        rt: &Runtime,
        o: &CreateOptions,
        inherit: InheritedFds,
        detached: bool,
        interrupts: &Interrupts,
    ) -> Result<Self> {
        check_id(&o.id)?;
        if rt.dir(&o.id).exists() {
            return Err(already_exists(&o.id));
        }
        let bundle = bundle(o.bundle.as_deref())?;
        let config = o.config.as_deref().map(std::path::absolute).transpose().step("cannot find --config")?;
        let mut loaded = spec::load(&bundle, config.as_deref())?;
        let procfs = Procfs::open().step_at("cannot open procfs", "/proc")?;
        let terminal = loaded.plan.process.as_ref().is_some_and(|p| p.terminal);
        check_terminal(terminal, o.console_socket.is_some(), detached)?;
        let checked = preflight::check(&mut loaded.plan, o, rt.manager, &procfs);
        // In a user namespace of its own it has all of them.
        let asked = loaded.plan.process.as_ref().filter(|_| !loaded.plan.namespaces.has(NamespaceKind::User));
        let missing = asked.map(preflight::missing_capabilities).unwrap_or_default();
        loaded.plan.warnings.iter().chain(&missing).for_each(|w| log::warn(w));
        checked?;
        let join = open_joined(&loaded.plan.namespaces)?;
        check_net_devices(&loaded.plan, &join, &procfs)?;
        if let Some((_, _, userns)) = join.iter().find(|(_, kind, _)| *kind == NamespaceKind::User) {
            birth::take_maps(&mut loaded.plan, userns, &procfs)?;
        }
        let cgroup = plan_cgroup(rt, &mut loaded.plan, &o.id, interrupts)?;
        let rdt = loaded.plan.rdt.as_ref().map(|plan| rdt::plan(&rdt::mount_point()?, plan, &o.id)).transpose()?;
        Ok(Self {
            id: o.id.clone(),
            manager: rt.manager,
            join,
            plan: loaded.plan,
            process_json: loaded.process_json,
            config,
            cgroup,
            rdt,
            procfs,
            outputs: Outputs::open(o.pid_file.as_deref(), o.console_socket.as_deref(), o.pidfd_socket.as_deref())?,
            inherit,
            no_pivot: o.no_pivot,
            keyring: !o.no_new_keyring,
            rootless: rootless::is(),
        })
    }

    /// What will be written down of it.
    ///
    /// # Errors
    /// Never, for a config that was read.
    pub fn state(&self) -> Result<State> {
        let plan = &self.plan;
        let process = self.process_json.clone().map(RawValue::from_string).transpose();
        let own = Own {
            version: STATE_VERSION,
            oci_version: plan.oci_version.clone(),
            bundle: plan.bundle.clone(),
            config: self.config.clone(),
            annotations: plan.annotations.clone(),
            ids: plan.ids.clone(),
            seccomp: plan.seccomp.as_ref().map(|filter| filter.setup.clone()),
            owner: nix::unistd::getuid().as_raw(),
            manager: self.manager,
            cgroup: self.cgroup.as_ref().map(|c| c.target.clone()),
            rdt: self.rdt.clone(),
            own_pids: plan.namespaces.is_new(NamespaceKind::Pid),
            init_pidfd_inode: None,
            keyring: self.keyring,
            process: process.map_err(|e| Error::new("cannot save the process").message(e.to_string()))?,
            personality: plan.personality,
            memory_policy: plan.memory_policy.as_ref().map(|p| (p.mode, p.nodes.clone())),
            poststart: plan.hooks.poststart.clone(),
            poststop: plan.hooks.poststop.clone(),
        };
        Ok(State {
            id: self.id.clone(),
            created: log::timestamp(SystemTime::now()),
            config: SavedConfig { rootfs: plan.rootfs.clone() },
            external_descriptors: external_descriptors(),
            cgroup_paths: self.cgroup.iter().map(|c| (String::new(), c.target.path.clone())).collect(),
            orlop: own,
            ..State::default()
        })
    }
}

/// What the caller gave us as stdio, and so the container, as criu names it
/// (criu(8), `--inherit-fd`): on restore others take its place. Empty for the rest.
fn external_descriptors() -> Vec<String> {
    let one = |number| {
        let fd = sys::fd::inherited(number)?;
        let stat = fstat(fd).ok()?;
        let inode = stat.st_ino;
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFIFO => Some(format!("pipe:[{inode}]")),
            SFlag::S_IFSOCK => Some(format!("socket:[{inode}]")),
            SFlag::S_IFREG => Some(format!("file[{:x}:{inode:x}]", sys::mount::mount_identity(fd).ok()?.0)),
            _ => None,
        }
    };
    (0..=2).map(|number| one(number).unwrap_or_default()).collect()
}

/// Where the cgroup will be; `None` if there is to be none.
fn plan_cgroup(rt: &Runtime, plan: &mut Plan, id: &str, interrupts: &Interrupts) -> Result<Option<cgroup::Planned>> {
    let planned = match rt.manager {
        Manager::Disabled => return Ok(None),
        Manager::Cgroupfs => cgroup::plan(&plan.cgroup, id),
        Manager::Systemd => cgroup::plan_unit(&mut plan.cgroup, id, &plan.annotations, interrupts.as_fd())
            .map_err(|e| interrupts.explain(e)),
    };
    let nowhere = |e: &Error| not_permitted(e) || cgroup::mount_point().is_none();
    unless_dispensable(planned, rt, &plan.cgroup, nowhere)
}

/// Makes the cgroup; `None` if that is not permitted and nothing depends on it.
///
/// # Errors
/// The step that failed, with nothing left of it.
pub fn make_cgroup(planned: cgroup::Planned, plan: &CgroupPlan, rt: &Runtime) -> Result<Option<Cgroup>> {
    unless_dispensable(planned.create(plan), rt, plan, not_permitted)
}

/// A user who may make no cgroup, and has asked for none and for no limits,
/// gets a container without one (engine-contract §2.14).
fn unless_dispensable<T>(
    done: Result<T>,
    rt: &Runtime,
    plan: &CgroupPlan,
    excused: impl Fn(&Error) -> bool,
) -> Result<Option<T>> {
    let Err(e) = done else { return done.map(Some) };
    if rt.manager != Manager::Cgroupfs || !excused(&e) || !rt.rootless.unwrap_or_else(is_users) {
        return Err(e);
    }
    let nowhere = plan.path.as_deref().is_none_or(str::is_empty);
    if nowhere && plan.settings.iter().all(cgroup::is_unlimited) {
        log::warn(&format!("no cgroup: {e}"));
        return Ok(None);
    }
    Err(e.hint(
        "a user's cgroups are those of its systemd: use --systemd-cgroup, \
         or systemd-run --user --scope -p Delegate=yes orlop …",
    ))
}

fn not_permitted(e: &Error) -> bool {
    matches!(e.raw_errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

/// The bundle as the kernel names it: absolute, symlinks resolved.
fn bundle(given: Option<&Path>) -> Result<PathBuf> {
    let path = given.unwrap_or(Path::new("."));
    std::fs::canonicalize(path).step_at("cannot find the bundle", path)
}
