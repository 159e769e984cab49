//! The container side: the ordered list of steps between clone3 and execve.
//!
//! Runs in a copy of the host side's memory, with one thread. It prints
//! nothing: a failure goes over the channel as one structured message.

#![deny(clippy::disallowed_methods)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};

use crate::error::{Error, Result, Step};
use crate::hooks::{self, HookState};
use crate::seccomp::Filter;
use crate::spec::plan::{IdMaps, MemoryPolicy, NamespaceKind, Plan, Process};
use crate::sys;
use crate::sys::path::Root;
use crate::sys::procfs::Procfs;

pub mod console;
pub mod copyup;
pub mod credentials;
pub mod devices;
pub mod lsm;
pub mod mask;
pub mod mounts;
pub mod namespaces;
pub mod overlay;
pub mod program;
pub mod rootfs;
pub mod seccomp;
pub mod sources;
pub mod stdio;
pub mod sync;
pub mod sysctl;
pub mod userns;

use console::Console;
use lsm::Labels;
use mounts::Means;
use program::Program;
use sources::Sources;
use sync::{Channel, Message};

/// More CPUs than Linux supports (`CONFIG_NR_CPUS` ≤ 8192).
const ALL_CPUS: [u64; 128] = [u64::MAX; 128];

/// When init executes the user's program.
#[derive(Debug)]
pub enum Start {
    /// When `start` connects to this listening socket (`create`). The lock file
    /// says "created" for as long as it stays locked: until the execve.
    OnConnect {
        /// Listening `SOCK_SEQPACKET` socket in the state directory.
        listener: OwnedFd,
        /// Locked file in the state directory, close-on-exec.
        lock: OwnedFd,
    },
    /// As soon as the host side releases it (`run`, `exec`).
    AtOnce,
}

/// What both kinds of init have.
#[derive(Debug)]
pub struct Common {
    /// The container side's end of the channel.
    pub channel: Channel,
    /// The host's procfs, opened before anything was entered.
    pub procfs: Procfs,
    /// Where the pty master goes, if `process.terminal`.
    pub console: Option<OwnedFd>,
    /// Name of the session keyring to join; `None` with `--no-new-keyring`.
    pub keyring: Option<CString>,
    /// In a user namespace: the host side may be allowed what init is not.
    pub asks_host: bool,
    /// Nor is the host side: it is an unprivileged user's.
    pub rootless: bool,
    /// Fds of the caller that are handed to the program, by number.
    pub inherit: Vec<RawFd>,
    /// How many of those are socket-activation fds (sd_listen_fds(3)).
    pub listen_fds: u32,
    /// The filter, loaded last.
    pub filter: Option<Filter>,
    /// `linux.personality`.
    pub personality: Option<u64>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<MemoryPolicy>,
}

/// A new container's init.
#[derive(Debug)]
pub struct Init<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// `plan.process`, which a container that is created must have.
    pub process: Process,
    /// Container id, for hooks.
    pub id: &'a str,
    /// Namespaces to join, opened and checked by the host side.
    pub join: Vec<(usize, NamespaceKind, OwnedFd)>,
    /// What a user namespace may have no way to by path, opened by the host side.
    pub sources: Option<Sources>,
    /// The container's cgroup, as the host has it mounted.
    pub cgroup: Option<PathBuf>,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// When to execute the program.
    pub start: Start,
    /// The part shared with exec.
    pub common: Common,
}

/// A process that joins a container (`exec`).
#[derive(Debug)]
pub struct Joiner {
    /// The container's init.
    pub target: OwnedFd,
    /// `CLONE_NEW*` of the namespaces that differ from ours, without pid.
    pub namespaces: u64,
    /// The container's root directory, where joining a mount namespace does not
    /// lead there.
    pub root: Option<OwnedFd>,
    /// The maps of the container's user namespace, if it is not ours.
    pub ids: Option<IdMaps>,
    /// The process to become.
    pub process: Process,
    /// The part shared with init.
    pub common: Common,
}

impl Init<'_> {
    /// Carries out the plan and becomes the program. Never returns.
    pub fn run(mut self) -> ! {
        let outcome = self.set_up().and_then(|(program, labels)| self.wait_and_execute(program, labels));
        // `Ok` cannot be: a program that was executed does not come back.
        fail(&self.common.channel, outcome.err().unwrap_or_default())
    }

    /// Everything before `start`, in order.
    fn set_up(&mut self) -> Result<(Program, Labels)> {
        let (plan, proc) = (self.plan, &self.common.procfs);
        // Alone in a user namespace that an unprivileged user is to give its maps.
        let visible = self.common.rootless && plan.namespaces.is_new(NamespaceKind::User);
        protect(!visible)?;
        if plan.namespaces.has(NamespaceKind::User) {
            // Until all that shows its ids has them.
            self.common.channel.expect(&Message::Continue)?;
            if self.common.rootless {
                // As the user whose files they are, which root of the namespace need not be.
                self.sources = Sources::open(plan, proc)?;
                let sources = self.sources.as_ref();
                sources.map_or(Ok(()), |s| s.map_as_container(plan, &userns::of(0, proc)?))?;
            }
            credentials::become_root(&plan.ids)?;
        }
        // The caller may be pinned (CRI-O runs us under taskset); the container
        // is not meant. Where that is not allowed, it is as pinned as we are.
        let _ = sys::sched::set_affinity(&ALL_CPUS);
        join_keyring(&self.common, self.process.selinux_label.as_deref())?;
        namespaces::enter(plan, &self.join, &self.common)?;
        let umask = sys::process::umask(0);
        let mut root = rootfs::prepare(plan, self.sources.as_ref())?;
        let means = Means { plan, proc, sources: self.sources.as_ref(), cgroup: self.cgroup.as_deref() };
        let late = mounts::make_all(means, &mut root)?;
        devices::populate(plan, &root)?;
        let console = self.process.terminal.then(|| Console::open(&root, &self.process, proc)).transpose()?;
        if let Some(console) = &console {
            console.bind(&root, plan)?;
        }
        if !plan.net_devices.is_empty() {
            // Not earlier: what fails before need not be given back.
            self.common.channel.ask(&Message::MoveDevices)?;
        }
        self.host_hooks()?;
        // A hook of the host's makes its files as the caller would.
        sys::process::umask(umask);
        self.container_hooks(&plan.hooks.create_container, Some(&plan.rootfs), None)?;
        sys::process::umask(0);
        mounts::finish(late)?;
        sysctl::write(&plan.sysctl, proc)?;
        mask::apply(plan, &root)?;
        rootfs::enter(plan, &root, self.no_pivot)?;
        rootfs::finish(plan, &root)?;
        self.join.clear();
        self.sources = None;
        let keep = self.kept_fds();
        set_up_process(&mut self.process, &mut self.common, root, console, &keep)
    }

    /// Asks the host side to run prestart and createRuntime, which belong to its
    /// namespaces. It is told as well when ours, createContainer, are the first.
    fn host_hooks(&self) -> Result<()> {
        let hooks = &self.plan.hooks;
        if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.create_container.is_empty() {
            return Ok(());
        }
        self.common.channel.send(&Message::RunHooks)?;
        self.common.channel.expect(&Message::Continue)
    }

    fn container_hooks(
        &self,
        hooks: &[crate::spec::plan::Hook],
        cwd: Option<&Path>,
        env: Option<&[CString]>,
    ) -> Result<()> {
        if hooks.is_empty() {
            return Ok(());
        }
        let state = HookState {
            oci_version: &self.plan.oci_version,
            id: self.id,
            status: "created",
            pid: Some(nix::unistd::getpid().as_raw()),
            bundle: &self.plan.bundle,
            annotations: &self.plan.annotations,
        };
        hooks::run_all(hooks, &state, cwd, env, None)
    }

    /// Says that all is ready, waits to be started, and becomes the program.
    fn wait_and_execute(&mut self, program: Program, labels: Labels) -> Result<()> {
        release(&self.common)?;
        if let Start::OnConnect { listener, .. } = &self.start {
            // From here on it is `start` that is told of a failure.
            self.common.channel = wait_for_start(listener)?;
        }
        // Programs of the image: they get the rights its own program gets, its
        // filter, and the working directory we are in, which nobody looks up again.
        if !self.plan.hooks.start_container.is_empty()
            && let Some(filter) = self.common.filter.take()
        {
            seccomp::load(&filter, &self.process, &self.common)?;
        }
        self.container_hooks(&self.plan.hooks.start_container, None, Some(&program.env))?;
        labels.check()?;
        program.execute(&self.process, &self.common, &self.kept_fds())
    }

    /// Fds that stay open up to the execve itself: a failure is told over the
    /// channel, the listener is waited on, the lock says "created". All are
    /// close-on-exec and none is a directory, so nothing can be reached through
    /// them (CVE-2024-21626).
    fn kept_fds(&self) -> Vec<RawFd> {
        let mut keep = vec![self.common.channel.as_raw()];
        if let Start::OnConnect { lock, listener } = &self.start {
            keep.extend([lock.as_raw_fd(), listener.as_raw_fd()]);
        }
        keep
    }
}

impl Joiner {
    /// Joins the container and becomes the process. Never returns.
    pub fn run(mut self) -> ! {
        let outcome = self.set_up().and_then(|(program, labels)| {
            release(&self.common)?;
            labels.check()?;
            self.pin(self.process.affinity_final.as_deref(), "process.execCPUAffinity.final")?;
            program.execute(&self.process, &self.common, &[self.common.channel.as_raw()])
        });
        fail(&self.common.channel, outcome.err().unwrap_or_default())
    }

    /// To some CPUs, if any are named: of exec's processes alone (runtime-spec,
    /// config.md, "Linux Process").
    fn pin(&self, cpus: Option<&[u64]>, field: &str) -> Result<()> {
        let Some(mask) = cpus else { return Ok(()) };
        sys::sched::set_affinity(mask).step("cannot set the cpu affinity").map_err(|e| e.in_field(field))
    }

    fn set_up(&mut self) -> Result<(Program, Labels)> {
        protect(true)?;
        self.pin(self.process.affinity_initial.as_deref(), "process.execCPUAffinity.initial")?;
        join_keyring(&self.common, self.process.selinux_label.as_deref())?;
        if self.namespaces != 0 {
            sys::process::join(&self.target, self.namespaces).step("cannot join the container's namespaces")?;
        }
        self.ids.as_ref().map_or(Ok(()), credentials::become_root)?;
        if let Some(root) = self.root.take() {
            rootfs::chroot_to(&root)?;
        }
        let root = rootfs::current()?;
        let proc = &self.common.procfs;
        let console = self.process.terminal.then(|| Console::open(&root, &self.process, proc)).transpose()?;
        let keep = [self.common.channel.as_raw()];
        set_up_process(&mut self.process, &mut self.common, root, console, &keep)
    }
}

/// Nobody may look into this process (`hide`), and it must not outlive its parent before it is released.
fn protect(hide: bool) -> Result<()> {
    let step = "cannot protect init";
    // Before any namespace is joined (CVE-2016-9962); inherited, but cheap to be sure of.
    sys::ids::set_dumpable(!hide).step(step)?;
    sys::ids::set_parent_death_signal(Signal::SIGKILL as i32).step(step)?;
    sys::process::default_signals();
    sys::fd::cloexec_range(3, u32::MAX).step(step)
}

/// A session keyring of the container's own, in which exec can search (keyctl(2)).
///
/// SELinux gives a key the label of its maker, which is the runtime's, and the
/// program could not use its own keyring: it is made with the program's label.
fn join_keyring(common: &Common, label: Option<&str>) -> Result<()> {
    /// All for the possessor; for the user view, read and link, as the kernel
    /// sets it, plus search for exec. No write: keyrings have no namespace, and
    /// the same user may be in other containers.
    const PERMISSIONS: u32 = 0x3f1b_0000;
    let Some(name) = common.keyring.as_deref() else { return Ok(()) };
    use nix::errno::Errno;
    let set_label = |value: &str| {
        let written = common.procfs.write(c"self/attr/keycreate", value.as_bytes());
        written
            .step_at("cannot set the label of the session keyring", "`/proc/self/attr/keycreate`")
            .map_err(|e| e.in_field("process.selinuxLabel"))
    };
    label.map_or(Ok(()), set_label)?;
    let joined = sys::ids::join_session_keyring(name);
    // An empty line takes it back: keys made later are the program's own affair.
    label.map_or(Ok(()), |_| set_label("\n"))?;
    match joined {
        // No keyrings in this kernel, or a sandbox that hides them.
        Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(e) => Err(Error::sys("cannot join a session keyring", e).hint("--no-new-keyring keeps the caller's")),
        Ok(serial) => match sys::ids::keyring_let_user_search(serial, PERMISSIONS) {
            // Joined, not made: exec does not own it under another user.
            Ok(()) | Err(Errno::EACCES) => Ok(()),
            Err(e) => Err(Error::sys("cannot set permissions of the session keyring", e)),
        },
    }
}

/// What init and exec do alike once they are where the program will run.
fn set_up_process(
    process: &mut Process,
    common: &mut Common,
    root: Root,
    console: Option<Console>,
    keep: &[RawFd],
) -> Result<(Program, Labels)> {
    let labels = lsm::set(process, &common.procfs)?;
    match credentials::set_attributes(process, &common.procfs, 0) {
        // Rights over the machine, which a user namespace does not have, though whoever made it may.
        Err(e) if common.asks_host && matches!(e.raw_errno(), Some(libc::EPERM | libc::EACCES)) => {
            common.channel.ask(&Message::SetAttributes)?;
        }
        other => other?,
    }
    credentials::set_groups(process, &common.procfs)?;
    sys::process::new_session();
    match console {
        Some(console) => console.take_over(common.console.as_ref())?,
        None => stdio::hand_over(process, &root, &common.procfs)?,
    }
    let home = program::home(process, &root, &common.procfs)?;
    // From here on names are resolved inside the container, and none of our
    // directories may be reachable as /proc/self/fd/N (CVE-2024-21626).
    drop(root);
    let keep: Vec<RawFd> = keep.iter().chain(&common.inherit).copied().chain(labels.fds()).collect();
    sys::fd::close_except(3, &keep).step("cannot close what the container must not have")?;
    let program = Program::find(process, common, home)?;
    // Here and not after `start`: what fails is told to whoever creates, and
    // little is left between `start` and the program.
    program.become_user(process, common)?;
    Ok((program, labels))
}

/// Tells the host side that all is set up, and waits until it has let go. From
/// `Ready` on the end of the channel tells of the parent's death; its signal
/// would come as well when the parent has done its work and ends.
fn release(common: &Common) -> Result<()> {
    sys::ids::set_parent_death_signal(0).step("cannot clear the parent-death signal")?;
    common.channel.send(&Message::Ready)?;
    common.channel.expect(&Message::Released)?;
    sys::process::set_signal_mask(&SigSet::empty()).step("cannot reset the signal mask")
}

/// Blocks until `start` connects and says go. A starter that is killed in
/// between leaves the container created.
fn wait_for_start(listener: &OwnedFd) -> Result<Channel> {
    loop {
        let starter = Channel::new(sys::socket::accept(listener).step("cannot wait for start")?);
        if let Ok(Some(Message::Continue)) = starter.recv() {
            return Ok(starter);
        }
    }
}

fn fail(channel: &Channel, error: Error) -> ! {
    let _ = channel.send(&Message::Failed(Box::new(error)));
    sys::process::exit_now(1)
}
