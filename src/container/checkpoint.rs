//! `checkpoint`: a running container saved to a directory, by criu(8).
//!
//! The config says what of it is the host's (`external.rs`); all else criu
//! finds by itself. Unless told to leave it running, the container is gone
//! afterwards, as if deleted (runc, crun).

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Pid, setpgid};

use super::handle::{Handle, open_cgroup};
use super::images::Images;
use super::launch::Interrupts;
use super::stage::{private_mounts, set_yard, stage};
use super::standstill::Standstill;
use super::state::{State, Status};
use super::{CheckpointOptions, Runtime, delete, external, notify};
use crate::criu::{self, Action, Criu, Feature, Flag, Number, Options, Text};
use crate::error::{Error, Result, Step};
use crate::spec::plan::{NamespaceKind, Plan};
use crate::spec::{self, CRIU_CONFIG};
use crate::sys;
use crate::sys::procfs::Procfs;

const STEP: &str = "cannot checkpoint the container";
/// Milliseconds that a process takes to die which criu has killed.
const KILLED_WITHIN: u16 = 2000;

/// Saves a container.
///
/// # Errors
/// `container not running`; what the config names and is not there any more;
/// a process that stays in vfork(2); criu's own words. The container then goes on as before.
pub fn checkpoint(rt: &Runtime, o: &CheckpointOptions) -> Result<()> {
    let program = criu::find(rt.criu.as_deref())?;
    criu::needs_root(STEP)?;
    let (handle, state) = Handle::open_with_state(rt, &o.id)?;
    let _lock = handle.lock()?;
    let paused = match handle.status(&state)?.0 {
        Status::Running => false,
        Status::Paused => true,
        _ => return Err(Error::new("container not running").message(format!("{:?}", o.id))),
    };
    let status_fd = o.status_fd.map(writable).transpose()?;
    let plan = configured(&state)?;
    let proc = Procfs::open().step_at("cannot open procfs", "/proc")?;
    ask_features(&program, o)?;
    let images = Images::make(&o.image)?;
    let cgroup = open_cgroup(&state)?;
    let mut options = images.options(&o.image, plan.annotations.get(CRIU_CONFIG))?;
    if let Some(path) = cgroup.as_ref().and_then(|cgroup| cgroup.path().to_str()) {
        options.text(Text::FreezeCgroup, path);
    }
    describe(&mut options, &plan, &state, o, &proc)?;
    if !o.pre_dump {
        let notify = notify::mount(&handle, &plan);
        for (place, name) in external::of_container(&plan, &notify, state.init_process_pid, &proc)? {
            options.external_mount(&place, &name);
        }
        images.write_descriptors(&state.external_descriptors)?;
    }
    set_yard(&mut options, handle.path(), &proc)?;
    // criu that is ended half-way leaves its own code in the processes, and the
    // cgroup would stay frozen: both come to their end first. But pages may be
    // waited for for ever.
    let held = !o.image.lazy_pages;
    let _held = held.then(Interrupts::hold).transpose()?;
    let criu = Criu::start(&program, None, &images.fds(), || {
        if held {
            // What is typed at a terminal goes to a whole group.
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).step(STEP)?;
        }
        private_mounts().step(STEP)?;
        images.open_again()?;
        stage(&[], handle.path(), &proc)
    })?;
    let still = cgroup.as_ref().map(|cgroup| Standstill::of(cgroup, paused, &proc)).transpose()?;
    let action = if o.pre_dump { Action::PreDump } else { Action::Dump };
    let mut status_fd = status_fd;
    let asked = criu.ask(
        action,
        &options,
        |_| Ok(()),
        |notice| {
            // Pages can be asked for from here on.
            if notice.name == "status-ready"
                && let Some(fd) = status_fd.take()
            {
                sys::fd::write_all(&fd, &[0]).step("cannot write to --status-fd")?;
            }
            Ok(())
        },
    );
    asked.map_err(|e| {
        let outside = !o.image.shell_job && on_a_terminal(&plan, state.init_process_pid, &proc);
        images.explain(
            e,
            STEP,
            outside.then_some("its stdio is a terminal of the host's: --shell-job, or give it other stdio"),
        )
    })?;
    criu.end();
    if o.leave_running || o.pre_dump {
        return still.map_or(Ok(()), Standstill::end);
    }
    drop(still);
    match state.init()? {
        // criu's own config file can have them left running, too.
        Some(init) if !sys::process::wait_exit(&init, KILLED_WITHIN).step(STEP)? => Ok(()),
        _ => delete::finish(&handle, &state),
    }
}

/// The config that the container was made of.
fn configured(state: &State) -> Result<Plan> {
    let own = &state.orlop;
    let plan = spec::load(&own.bundle, own.config.as_deref())?.plan;
    if !plan.namespaces.has(NamespaceKind::Mount) {
        return Err(Error::new(STEP).in_field("linux.namespaces").message("it shares the host's mounts"));
    }
    if plan.namespaces.is_joined(NamespaceKind::Mount) || plan.namespaces.is_joined(NamespaceKind::Cgroup) {
        let text = "criu cannot restore into a mount or cgroup namespace that is given by its path";
        return Err(Error::new(STEP).in_field("linux.namespaces").message(text));
    }
    Ok(plan)
}

/// What criu is told of the container itself.
fn describe(options: &mut Options, plan: &Plan, state: &State, o: &CheckpointOptions, proc: &Procfs) -> Result<()> {
    let pid = state.init_process_pid;
    options.number(Number::Pid, pid.into());
    options.flag(Flag::LeaveRunning, o.leave_running);
    options.flag(Flag::TrackMem, o.pre_dump || o.image.parent_path.is_some());
    if let Some(root) = state.config.rootfs.to_str() {
        options.text(Text::Root, root);
    }
    for kind in [NamespaceKind::Network, NamespaceKind::Pid] {
        if plan.namespaces.is_joined(kind) {
            let directory = super::namespaces::directory(proc, &pid.to_string())?;
            if let Some(inode) = super::namespaces::inode(&directory, kind)? {
                options.text(Text::External, &format!("{}[{inode}]:{}", kind.proc_name(), external::namespace(kind)));
            }
        }
    }
    if o.pre_dump {
        return Ok(());
    }
    // A file that is on no mount of the container's. Pipes need no mention.
    state.external_descriptors.iter().filter(|key| key.starts_with("file[")).for_each(|key| {
        options.text(Text::External, key);
    });
    Ok(())
}

/// Is the caller's terminal what it was given as stdio?
fn on_a_terminal(plan: &Plan, pid: i32, proc: &Procfs) -> bool {
    let is_terminal = |number: i32| {
        let name = CString::new(format!("{pid}/fd/{number}")).unwrap_or_default();
        let target = proc.file(&name, OFlag::O_PATH | OFlag::O_NOFOLLOW).and_then(|link| sys::path::read_link(&link));
        target.is_ok_and(|path| ["/dev/pts/", "/dev/tty"].iter().any(|dir| path.as_bytes().starts_with(dir.as_bytes())))
    };
    plan.process.as_ref().is_some_and(|process| !process.terminal) && (0..=2).any(is_terminal)
}

/// What the flags need of criu and the kernel: asked before anything is written.
fn ask_features(program: &std::path::Path, o: &CheckpointOptions) -> Result<()> {
    for (wanted, feature, flag) in
        [(o.pre_dump, Feature::MemTrack, "--pre-dump"), (o.image.lazy_pages, Feature::LazyPages, "--lazy-pages")]
    {
        if wanted {
            let criu = Criu::start(program, None, &[], || Ok(()))?;
            let can = criu.can(feature)?;
            criu.end();
            if !can {
                let text = format!("{flag} is more than this criu or this kernel can do");
                return Err(Error::new(STEP).message(text));
            }
        }
    }
    Ok(())
}

/// The caller's `--status-fd`.
fn writable(number: i32) -> Result<OwnedFd> {
    let bad = |text: &str| Error::new(format!("cannot use --status-fd {number}")).message(text);
    let fd = sys::fd::inherited(number).filter(|fd| fd.as_raw_fd() > 2).ok_or_else(|| bad("it is not open"))?;
    let flags = fcntl(fd, FcntlArg::F_GETFL).step("cannot look at --status-fd")?;
    if flags & OFlag::O_ACCMODE.bits() == OFlag::O_RDONLY.bits() {
        return Err(bad("it is not open for writing"));
    }
    fd.try_clone_to_owned().step("cannot use --status-fd")
}
