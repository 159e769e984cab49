//! `create` and `run`: from a bundle to a container.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::birth::Birth;
use super::foreground::{self, Foreground, Relay};
use super::launch::{Child, InheritedFds, Interrupts, explain_oom, until_execve};
use super::making::{Making, WaitFor};
use super::prepare::Prepared;
use super::rootless::{self, OomScore};
use super::start::poststart;
use super::state::State;
use super::{CreateOptions, RunOptions, Runtime, delete, kill, notify, protect};
use crate::error::{Error, Result, Step};
use crate::hooks::{self, HookState};
use crate::init::credentials::set_attributes;
use crate::init::namespaces::{BY_CLONE, before_birth, set_time_offsets};
use crate::init::sources::Sources;
use crate::init::sync::{Channel, Message};
use crate::init::{self, Common, Init, Start, stdio};
use crate::net::devices::Moves;
use crate::spec::plan::{NamespaceKind, Plan};
use crate::sys;
use crate::sys::ids::Visible;
use crate::sys::process::Fork;

/// Creates a container: everything but its program's execve.
///
/// # Errors
/// What is wrong with the config, before anything is touched; or the step that
/// failed, with everything undone.
pub fn create(rt: &Runtime, o: &CreateOptions) -> Result<()> {
    protect::ensure()?;
    let inherit = InheritedFds::find(o.preserve_fds);
    let interrupts = Interrupts::hold()?;
    let prepared = Prepared::new(rt, o, inherit, true, &interrupts)?;
    let mut making = Making::begin(rt, prepared, WaitFor::Start)?;
    making.bring_up(rt, &interrupts, WaitFor::Start, None)?;
    making.finish().map(drop)
}

/// Creates a container and starts it at once; in the foreground, waits for its
/// end, removes it, and gives back its status.
///
/// # Errors
/// As [`create`], and what prevents the program from being executed.
pub fn run(rt: &Runtime, o: &RunOptions) -> Result<i32> {
    protect::ensure()?;
    let inherit = InheritedFds::find(o.create.preserve_fds);
    let interrupts = Interrupts::hold()?;
    let prepared = Prepared::new(rt, &o.create, inherit, o.detach, &interrupts)?;
    let terminal = prepared.plan.process.as_ref().is_some_and(|p| p.terminal);
    if prepared.process_json.is_none() {
        return Err(Error::field("process", "missing, so there is nothing to run"));
    }
    if !o.detach && !o.no_subreaper {
        sys::ids::set_subreaper().step("cannot become a subreaper")?;
    }
    let (ours, theirs) =
        if terminal && !o.detach { console_pair().map(|(a, b)| (Some(a), Some(b)))? } else { (None, None) };
    let mut making = Making::begin(rt, prepared, WaitFor::Nothing)?;
    making.bring_up(rt, &interrupts, WaitFor::Nothing, theirs)?;
    // Before the program runs: it may ask for the terminal's size at once.
    let relay = ours.map(|socket| Relay::start(&socket)).transpose()?;
    let notify = notify::listen(&making.handle)?;
    let running = making.run(&interrupts)?;
    let result = if o.detach {
        let (pidfd, pid) = (&running.child.pidfd, running.child.pid);
        notify.map_or(Ok(()), |n| n.forward_until_ready(pidfd, pid, Some(&interrupts))).map(|()| 0)
    } else {
        let front = Foreground { pid: running.child.pid, pidfd: &running.child.pidfd, notify };
        foreground::attend(front, relay)
    };
    // Nor is what never got ready left behind, when we were told to stop.
    let over = if o.detach { result.is_err() } else { !o.keep };
    if over {
        delete(rt, &o.create.id, true)?;
    }
    result
}

/// A pair of connected sockets over which init hands us the terminal.
///
/// # Errors
/// The errno of socketpair(2).
pub fn console_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .step("cannot make a socket for the terminal")
}

/// What an oom of init's is told as; engines look for these words (engine-contract §2.1).
const INIT: &str = "container init";

impl Making {
    /// Makes cgroup and init, and serves init until it is ready.
    fn bring_up(
        &mut self,
        rt: &Runtime,
        interrupts: &Interrupts,
        wait: WaitFor,
        console: Option<OwnedFd>,
    ) -> Result<()> {
        notify::set_up(&self.handle, &mut self.prepared.plan)?;
        self.make_groups(rt, interrupts)?;
        let lock = if wait == WaitFor::Start { Some(self.handle.lock_created()?) } else { None };
        self.fork(lock, console, interrupts)?;
        let child = self.child.as_mut().ok_or_else(|| Error::new("there is no init"))?;
        // Init makes its namespaces and mounts at the same time. When it has failed
        // by now, systemd may have taken its scope away already.
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.inhabited();
            let set = cgroup.configure(&self.prepared.plan.cgroup);
            set.map_err(|e| interrupts.explain(explain_oom(child.explain(e), INIT, Some(cgroup))))?;
        }
        self.state.set_init(child.pid, &child.pidfd)?;
        self.state.orlop.rdt.as_ref().map_or(Ok(()), |group| group.add(child.pid))?;
        let (prepared, state) = (&self.prepared, &self.state);
        let (hooked, devices) = (&mut self.hooked, &mut self.devices);
        let ready = child.until_ready(interrupts, |asked| {
            *hooked |= *asked == Message::RunHooks;
            serve(asked, prepared, state, devices, interrupts)
        });
        self.hooked |= ready.is_ok();
        ready.map_err(|e| explain_oom(e, INIT, self.cgroup.as_ref()))
    }

    fn fork(&mut self, lock: Option<OwnedFd>, console: Option<OwnedFd>, interrupts: &Interrupts) -> Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let (prepared, rootless) = (&self.prepared, self.prepared.rootless);
        let (plan, namespaces, proc) = (&prepared.plan, &prepared.plan.namespaces, &prepared.procfs);
        // Without privileges it is init that may clone, in a mount namespace of its own.
        let sources = if rootless { None } else { Sources::open(plan, proc)? };
        if let (false, Some(process)) = (plan.ids.is_empty(), &plan.process) {
            stdio::give_to(&plan.ids, process)?;
        }
        let join = || prepared.join.iter().map(|(_, kind, fd)| (fd.as_fd(), *kind));
        let birth = Birth {
            step: "cannot create init",
            flags: BY_CLONE.iter().fold(0, |flags, kind| flags | namespaces.new & kind.clone_flag()),
            cgroup: self.cgroup.as_ref(),
            first: join()
                .filter(|(_, kind)| before_birth(namespaces, *kind))
                .map(|(fd, kind)| (fd, kind.clone_flag()))
                .collect(),
            pidns: join().find(|(_, kind)| *kind == NamespaceKind::Pid).map(|(fd, _)| fd),
            proc,
        };
        let score = if rootless { OomScore::take(plan.process.as_ref(), proc)? } else { None };
        // Until its maps are written; there is nobody yet who could look into it.
        let visible = rootless && namespaces.is_new(NamespaceKind::User);
        let visible = visible.then(Visible::now).transpose().step("cannot show ourselves")?;
        match birth.fork()? {
            Fork::Child => {
                std::mem::forget((score, visible));
                drop(ours);
                self.become_init(theirs, lock, console, sources)
            }
            Fork::Parent { pid, pidfd } => {
                let child = self.child.insert(Child::new(pid, pidfd, ours));
                match namespaces.has(NamespaceKind::User) {
                    true => map_ids(child, prepared, sources.as_ref(), interrupts),
                    false => Ok(()),
                }
            }
        }
    }

    /// In the child: hands everything over to the container's side.
    fn become_init(
        &mut self,
        channel: Channel,
        lock: Option<OwnedFd>,
        console: Option<OwnedFd>,
        sources: Option<Sources>,
    ) -> ! {
        // This copy must undo nothing, and not hold the lock of a parent that died.
        self.done = true;
        self.lock = None;
        // Nor keep a connection to systemd open until the program is started.
        self.cgroup = None;
        let prepared = &mut self.prepared;
        let start = match (self.listener.take(), lock) {
            (Some(listener), Some(lock)) => Start::OnConnect { listener, lock },
            _ => Start::AtOnce,
        };
        let keyring = prepared.keyring.then(|| keyring_name(&prepared.id)).flatten();
        let common = Common {
            channel,
            procfs: match prepared.procfs.try_clone() {
                Ok(procfs) => procfs,
                Err(_) => sys::process::exit_now(1),
            },
            console: console.or_else(|| prepared.outputs.console.take()),
            keyring,
            asks_host: prepared.plan.namespaces.has(NamespaceKind::User),
            rootless: prepared.rootless,
            inherit: std::mem::take(&mut prepared.inherit.numbers),
            listen_fds: prepared.inherit.listen,
            filter: prepared.plan.seccomp.clone(),
            personality: prepared.plan.personality,
            memory_policy: prepared.plan.memory_policy.clone(),
        };
        let init = Init {
            plan: &prepared.plan,
            process: prepared.plan.process.clone().unwrap_or_else(nothing_to_run),
            id: &prepared.id,
            join: std::mem::take(&mut prepared.join),
            sources,
            cgroup: self.state.orlop.cgroup.as_ref().map(|c| c.path.clone()),
            no_pivot: prepared.no_pivot,
            start,
            common,
        };
        init.run()
    }

    /// Records the container, tells the caller, lets go of init.
    fn settle(&mut self) -> Result<Channel> {
        let child = self.child.as_mut().ok_or_else(|| Error::new("there is no init"))?;
        self.handle.write_state(&self.state)?;
        let outputs = &self.prepared.outputs;
        let released = outputs.announce(child.pid, &child.pidfd, "standard").and_then(|()| child.release());
        let channel = released.inspect_err(|_| outputs.retract())?;
        self.devices = None;
        Ok(channel)
    }

    /// The end of `create`.
    fn finish(mut self) -> Result<()> {
        self.settle()?;
        self.done = true;
        Ok(())
    }

    /// The middle of `run`: the program runs when this returns.
    fn run(mut self, interrupts: &Interrupts) -> Result<Running> {
        let channel = self.settle()?;
        let child = self.child.as_ref().ok_or_else(|| Error::new("there is no init"))?;
        let executed = until_execve(&channel, Some(interrupts), self.state.init_executing(child.pidfd.as_fd()));
        let failed = executed.and_then(|()| poststart(&self.state, Some(interrupts)));
        if let Err(e) = failed {
            let _ = kill::end(&self.state);
            if let Some(child) = &self.child {
                child.end();
            }
            self.prepared.outputs.retract();
            return Err(explain_oom(e, INIT, self.cgroup.as_ref()));
        }
        self.done = true;
        self.lock = None;
        let child = self.child.take().ok_or_else(|| Error::new("there is no init"))?;
        Ok(Running { child })
    }
}

struct Running {
    child: Child,
}

/// A config without `process` has nothing to execute, but can be set up.
fn nothing_to_run() -> crate::spec::plan::Process {
    crate::spec::plan::Process { cwd: "/".to_owned(), umask: 0o022, ..Default::default() }
}

/// The session keyring's name, by which exec joins it.
pub fn keyring_name(id: &str) -> Option<CString> {
    CString::new(format!("_ses.{id}")).ok()
}

/// Gives a new user namespace its ids, and the mounts that are to show them.
fn map_ids(child: &Child, prepared: &Prepared, sources: Option<&Sources>, interrupts: &Interrupts) -> Result<()> {
    let (plan, proc) = (&prepared.plan, &prepared.procfs);
    if plan.namespaces.is_new(NamespaceKind::User) {
        let written = rootless::write_maps(child.pid, &plan.ids, proc, interrupts.as_fd());
        written.map_err(|e| interrupts.explain(e))?;
    }
    if let Some(sources) = sources {
        sources.map_as_container(plan, &init::userns::of(child.pid, proc)?)?;
    }
    child.go_on()
}

/// What init asks the host side for.
fn serve(
    asked: &Message,
    prepared: &Prepared,
    state: &State,
    devices: &mut Option<Moves>,
    interrupts: &Interrupts,
) -> Result<()> {
    let (plan, proc, pid) = (&prepared.plan, &prepared.procfs, state.init_process_pid);
    match asked {
        Message::SetTimeOffsets => set_time_offsets(&plan.time_offsets, proc, pid),
        Message::SetAttributes => plan.process.as_ref().map_or(Ok(()), |p| set_attributes(p, proc, pid)),
        Message::MoveDevices => {
            let moves = devices.insert(Moves::begin(proc, pid)?);
            plan.net_devices.iter().try_for_each(|device| moves.take(device))
        }
        _ => host_hooks(plan, state, interrupts),
    }
}

/// prestart and createRuntime hooks, in the runtime's namespaces.
///
/// # Errors
/// Names the hook; the signal that interrupted it.
pub fn host_hooks(plan: &Plan, state: &State, interrupts: &Interrupts) -> Result<()> {
    let report = HookState {
        oci_version: &plan.oci_version,
        id: &state.id,
        status: "created",
        pid: Some(state.init_process_pid),
        bundle: &plan.bundle,
        annotations: &plan.annotations,
    };
    for list in [&plan.hooks.prestart, &plan.hooks.create_runtime] {
        let done = hooks::run_all(list, &report, Some(&plan.bundle), None, Some(interrupts.as_fd()));
        done.map_err(|e| interrupts.explain(e))?;
    }
    Ok(())
}
