//! `exec`: one more process in a container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::fcntl::OFlag;

use super::birth::Birth;
use super::create::{console_pair, keyring_name};
use super::foreground::{self, Foreground, Relay};
use super::handle::{Handle, open_cgroup};
use super::launch::{Child, InheritedFds, Interrupts, explain_oom, until_execve};
use super::namespaces::differing;
use super::outputs::{Outputs, check_terminal};
use super::rootless::{self, OomScore};
use super::state::{State, Status};
use super::{ExecOptions, Runtime, preflight, protect};
use crate::cgroup::{self, Cgroup, OomWatch};
use crate::error::{Error, Result, Step};
use crate::init::credentials::set_attributes;
use crate::init::sync::Channel;
use crate::init::{Common, Joiner, stdio};
use crate::log;
use crate::seccomp::Filter;
use crate::spec;
use crate::spec::plan::{NamespaceKind, Process};
use crate::sys;
use crate::sys::process::Fork;
use crate::sys::procfs::Procfs;

/// Runs a process in a created or running container; in the foreground, waits
/// for its end and gives back its status.
///
/// # Errors
/// The texts of engine-contract §1.10; the step that failed. No pid-file is
/// left when it fails: conmon knows the failure by that.
pub fn exec(rt: &Runtime, o: &ExecOptions) -> Result<i32> {
    protect::ensure()?;
    let inherit = InheritedFds::find(o.preserve_fds);
    let interrupts = Interrupts::hold()?;
    let (handle, state) = Handle::open_with_state(rt, &o.id)?;
    let target = running(&handle, &state, o)?;
    let mut process = process(&state, o)?;
    check_terminal(process.terminal, o.console_socket.is_some(), o.detach)?;
    let procfs = Procfs::open().step_at("cannot open procfs", "/proc")?;
    preflight::security_modules(&mut process, &procfs)?;
    // In a user namespace of the container's own it has all of them.
    let ours = Some(&process).filter(|_| state.orlop.ids.is_empty());
    ours.map(preflight::missing_capabilities).iter().flatten().for_each(|w| log::warn(w));
    spec::check_ids(&process, &state.orlop.ids)?;
    let filter = handle.filter(&state)?;
    filter.as_ref().map_or(Ok(()), |filter| preflight::seccomp(filter, ours))?;
    let mut outputs = Outputs::open(o.pid_file.as_deref(), o.console_socket.as_deref(), o.pidfd_socket.as_deref())?;
    let pair = if process.terminal && !o.detach { Some(console_pair()?) } else { None };
    let (ours, theirs) = pair.map_or((None, None), |(a, b)| (Some(a), Some(b)));
    let joining = Joining {
        procfs,
        cgroup: place(&state, o)?,
        follow_init: o.cgroup.is_empty(),
        console: theirs.or_else(|| outputs.console.take()),
        filter,
        state: &state,
        target,
        process,
        inherit,
        rootless: rootless::is(),
    };
    let cgroup = open_cgroup(&state)?;
    // What was killed before has nothing to do with this process.
    let mut oom = cgroup.as_ref().map(Cgroup::watch_oom);
    let mut explain = |e| match oom.as_mut().is_some_and(OomWatch::rose) {
        true => explain_oom(e, "the process", cgroup.as_ref()),
        false => e,
    };
    let (asked, proc) = (joining.process.clone(), joining.procfs.try_clone().step("cannot open procfs")?);
    let mut child = joining.fork()?;
    let child_pid = child.pid;
    // We are its parent, and not in the container's group.
    state.orlop.rdt.as_ref().map_or(Ok(()), |group| group.add(child.pid))?;
    let ready = child.until_ready(&interrupts, |_| set_attributes(&asked, &proc, child_pid));
    // Before the program runs: it may ask for the terminal's size at once.
    let relay = ready.and_then(|()| ours.map(|socket| Relay::start(&socket)).transpose());
    let relay = relay.map_err(&mut explain)?;
    let channel = child.release();
    let executing = state.executing(child.pid, child.pidfd.as_fd(), "running");
    let executed = channel.and_then(|channel| until_execve(&channel, None, executing));
    let announced = executed.and_then(|()| outputs.announce(child.pid, &child.pidfd, "setns"));
    announced.map_err(|e| {
        child.end();
        outputs.retract();
        explain(e)
    })?;
    if o.detach {
        return Ok(0);
    }
    foreground::attend(Foreground { pid: child.pid, pidfd: &child.pidfd, notify: None }, relay)
}

/// The container's init, if exec is allowed now.
fn running(handle: &Handle, state: &State, o: &ExecOptions) -> Result<OwnedFd> {
    match handle.status(state)? {
        (Status::Paused, _) if !o.ignore_paused => {
            Err(Error::new("cannot exec in a paused container (use --ignore-paused to override)"))
        }
        (_, Some(init)) => Ok(init),
        (_, None) => Err(Error::new("cannot exec in a stopped container")),
    }
}

/// What to run: a file's process, or the container's with changes.
fn process(state: &State, o: &ExecOptions) -> Result<Process> {
    let saved = state.orlop.process.as_ref().map(|p| p.get());
    let mut process = match (&o.process, saved) {
        (Some(path), base) => {
            let text = std::fs::read_to_string(path).step_at("cannot read --process", path)?;
            let (mut process, warnings) = spec::load_process(&text, base).map_err(|e| e.path(path))?;
            warnings.iter().for_each(|w| log::warn(w));
            process.terminal |= o.tty;
            process
        }
        (None, Some(saved)) => spec::exec_process(saved, o)?,
        (None, None) => return Err(Error::field("process", "the container's config has none: use --process")),
    };
    process.keep_groups = spec::keeps_original_groups(&state.orlop.annotations);
    Ok(process)
}

/// The cgroup the process is born in: the container's, or one below it.
fn place(state: &State, o: &ExecOptions) -> Result<Option<Cgroup>> {
    let container = open_cgroup(state)?;
    let Some(given) = o.cgroup.last() else { return Ok(container) };
    // On v2 there is one hierarchy: `controllers:` in front says nothing.
    let below = given.split_once(':').map_or(given.as_str(), |(_, path)| path);
    let below = Path::new(below.trim_start_matches('/'));
    if below.components().any(|c| c == Component::ParentDir) {
        return Err(Error::new("--cgroup must not leave the container's cgroup").path(given));
    }
    let Some(container) = container else { return Err(Error::new("--cgroup: the container has no cgroup")) };
    Cgroup::open(&container.path().join(below)).map(Some)
}

/// Everything the new process needs.
struct Joining<'a> {
    state: &'a State,
    target: OwnedFd,
    process: Process,
    filter: Option<Filter>,
    procfs: Procfs,
    cgroup: Option<Cgroup>,
    /// Where this cgroup can hold no process, init's will do: the caller named none.
    follow_init: bool,
    console: Option<OwnedFd>,
    inherit: InheritedFds,
    /// Found out before the fork: in its user namespace the child is somebody else.
    rootless: bool,
}

impl Joining<'_> {
    /// Forks into the container's pid namespace and cgroup.
    fn fork(self) -> Result<Child> {
        let differing = differing(&self.procfs, self.state.init_process_pid)?;
        self.still_there()?;
        let root = match differing & NamespaceKind::Mount.clone_flag() {
            0 => Some(self.root_of_init()?),
            _ => None,
        };
        if !self.state.orlop.ids.is_empty() {
            stdio::give_to(&self.state.orlop.ids, &self.process)?;
        }
        let (ours, theirs) = Channel::pair()?;
        let differs = |kind: NamespaceKind| differing & kind.clone_flag() != 0;
        // With privileges all can be joined at once, and who joins is of the user namespace last.
        let early = self.rootless && differs(NamespaceKind::User);
        let score = if self.rootless { OomScore::take(Some(&self.process), &self.procfs)? } else { None };
        let birth = |cgroup| Birth {
            step: "cannot create the process",
            flags: 0,
            cgroup,
            first: early.then(|| (self.target.as_fd(), NamespaceKind::User.clone_flag())).into_iter().collect(),
            pidns: differs(NamespaceKind::Pid).then(|| self.target.as_fd()),
            proc: &self.procfs,
        };
        let forked = match birth(self.cgroup.as_ref()).fork() {
            // The container has made sub-cgroups with domain controllers, so
            // this one may hold no process: where its init went, we follow.
            Err(e) if e.raw_errno() == Some(libc::EBUSY) && self.follow_init => {
                birth(Some(&self.cgroup_of_init()?)).fork()
            }
            other => other,
        };
        match forked? {
            Fork::Child => {
                std::mem::forget(score);
                let entered =
                    NamespaceKind::Pid.clone_flag() | if early { NamespaceKind::User.clone_flag() } else { 0 };
                self.become_process(theirs, differing & !entered, differs(NamespaceKind::User), root)
            }
            Fork::Parent { pid, pidfd } => Ok(Child::new(pid, pidfd, ours)),
        }
    }

    /// A container without a mount namespace of its own is still in its rootfs.
    fn root_of_init(&self) -> Result<OwnedFd> {
        let dir = std::ffi::CString::new(self.state.init_process_pid.to_string()).unwrap_or_default();
        let root = self.procfs.magic_link(&dir, c"root", OFlag::O_PATH).step("cannot open the container's root")?;
        self.still_there().map(|()| root)
    }

    /// What was just read of init by its number was init's if it has not ended
    /// yet: another process with that number may share our namespaces, and then
    /// nothing would be joined and the program run on the host.
    fn still_there(&self) -> Result<()> {
        match sys::process::wait_exit(&self.target, 0) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::new("cannot exec in a stopped container")),
            Err(e) => Err(Error::sys("cannot poll init's pidfd", e)),
        }
    }

    fn cgroup_of_init(&self) -> Result<Cgroup> {
        let step = "cannot find the cgroup of init";
        let name = std::ffi::CString::new(format!("{}/cgroup", self.state.init_process_pid)).unwrap_or_default();
        let text = self.procfs.read(&name).step(step)?;
        self.still_there()?;
        let text = String::from_utf8_lossy(&text);
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or_else(|| Error::new(step))?;
        let path = cgroup::mount_point().ok_or_else(|| Error::new(step))?.join(path);
        // Somebody may have moved init out of the container, whose limits would not hold there.
        match self.cgroup.as_ref().filter(|container| !path.starts_with(container.path())) {
            Some(_) => Err(Error::new("init is not in the container's cgroup").path(path)),
            None => Cgroup::open(&path),
        }
    }

    fn become_process(self, channel: Channel, namespaces: u64, is_apart: bool, root: Option<OwnedFd>) -> ! {
        let common = Common {
            channel,
            procfs: self.procfs,
            console: self.console,
            asks_host: !self.state.orlop.ids.is_empty(),
            rootless: self.rootless,
            keyring: if self.state.orlop.keyring { keyring_name(&self.state.id) } else { None },
            inherit: self.inherit.numbers,
            listen_fds: self.inherit.listen,
            filter: self.filter,
            personality: self.state.orlop.personality,
            memory_policy: self.state.memory_policy(),
        };
        let ids = is_apart.then(|| self.state.orlop.ids.clone());
        Joiner { target: self.target, namespaces, root, ids, process: self.process, common }.run()
    }
}
