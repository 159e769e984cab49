//! `restore`: a container brought back from a directory, by criu(8).
//!
//! What is checked and made before is `create`'s own work: config, cgroup,
//! state. Then criu makes the processes, as children of ours and in a mount
//! namespace where the rootfs is a mount; before they run again what it made
//! is compared with the config (`external.rs`).

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use super::create::{console_pair, host_hooks};
use super::foreground::{self, Foreground, Relay};
use super::images::Images;
use super::launch::{InheritedFds, Interrupts};
use super::making::{Making, WaitFor};
use super::prepare::Prepared;
use super::{CgroupsMode, RestoreOptions, Runtime, delete, external, kill, mount_points, notify, stage};
use crate::criu::{self, Action, Criu, Flag, Notice, Options, Text};
use crate::error::{Error, Result, Step};
use crate::init::console::PAYLOAD;
use crate::log;
use crate::spec::CRIU_CONFIG;
use crate::spec::plan::{NamespaceKind, Plan};
use crate::sys;

const STEP: &str = "cannot restore the container";

/// Restores a container; in the foreground, waits for its end, removes it, and
/// gives back its status.
///
/// # Errors
/// What is wrong with config or image, before anything is touched; criu's own
/// words, with everything undone.
pub fn restore(rt: &Runtime, o: &RestoreOptions) -> Result<i32> {
    let program = criu::find(rt.criu.as_deref())?;
    criu::needs_root(STEP)?;
    let interrupts = Interrupts::hold()?;
    let prepared = Prepared::new(rt, &o.create, InheritedFds::find(0), o.detach, &interrupts)?;
    check(&prepared.plan)?;
    if o.create.no_pivot {
        log::warn("--no-pivot is not used: criu finds its own way to change the root");
    }
    let images = Images::open(&o.image)?;
    let mut options = images.options(&o.image, prepared.plan.annotations.get(CRIU_CONFIG))?;
    let stdio = inherit_stdio(&images, &mut options)?;
    if !o.detach && !o.no_subreaper {
        sys::ids::set_subreaper().step("cannot become a subreaper")?;
    }
    let terminal = prepared.plan.process.as_ref().is_some_and(|p| p.terminal);
    let (ours, theirs) =
        if terminal && !o.detach { console_pair().map(|(a, b)| (Some(a), Some(b)))? } else { (None, None) };
    let mut making = Making::begin(rt, prepared, WaitFor::Nothing)?;
    if let Some(theirs) = theirs {
        making.prepared.outputs.console = Some(theirs);
    }
    let init = making.restore(rt, o, &Tools { program, images, stdio }, options, &interrupts)?;
    let relay = ours.map(|socket| Relay::start(&socket)).transpose()?;
    // Detached, there is nobody to pass on what it says.
    let notify = if o.detach { None } else { notify::listen(&making.handle)? };
    let pid = making.settle_restored(&init)?;
    drop(making);
    if o.detach {
        return Ok(0);
    }
    let result = foreground::attend(Foreground { pid, pidfd: &init, notify }, relay);
    delete(rt, &o.create.id, true)?;
    result
}

/// Our stdio for the container's. criu takes each fd but once, so the value are
/// further ones that it needs.
fn inherit_stdio(images: &Images, options: &mut Options) -> Result<Vec<OwnedFd>> {
    let mut more = Vec::new();
    for (number, key) in images.descriptors()? {
        let Some(fd) = sys::fd::inherited(number) else { continue };
        // A file also goes by its name without what would be the leading slash,
        // and only so its size is not compared with that of the old one.
        if let Some(name) = key.strip_prefix('f') {
            let fd = fd.try_clone_to_owned().step("cannot hand over stdio")?;
            options.inherit(name, fd.as_raw_fd());
            more.push(fd);
        }
        options.inherit(&key, number);
    }
    Ok(more)
}

/// What criu cannot do, said before anything is touched.
fn check(plan: &Plan) -> Result<()> {
    let fault = |text: &str| Err(Error::new(STEP).in_field("linux.namespaces").message(text));
    if !plan.namespaces.is_new(NamespaceKind::Mount) {
        return fault("criu restores only into a mount namespace of its own");
    }
    if plan.namespaces.is_joined(NamespaceKind::Cgroup) {
        return fault("criu cannot restore into a cgroup namespace that is given by its path");
    }
    Ok(())
}

/// What criu works with.
struct Tools {
    program: PathBuf,
    images: Images,
    /// Copies of our stdio.
    stdio: Vec<OwnedFd>,
}

impl Making {
    /// Has criu make the processes; the value is init's pidfd.
    fn restore(
        &mut self,
        rt: &Runtime,
        o: &RestoreOptions,
        tools: &Tools,
        mut options: Options,
        interrupts: &Interrupts,
    ) -> Result<OwnedFd> {
        self.make_groups(rt, interrupts)?;
        let plan = &self.prepared.plan;
        mount_points::make(plan)?;
        let mut pass = self.describe(&mut options, o)?;
        pass.extend(tools.images.fds().into_iter().chain(tools.stdio.iter().map(AsRawFd::as_raw_fd)));
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.configure(&self.prepared.plan.cgroup).map_err(|e| interrupts.explain(e))?;
        }
        let criu = self.start_criu(o, tools, &mut options, &pass)?;
        let mut init = None;
        let asked = criu.ask(
            Action::Restore,
            &options,
            |socket| interrupts.wait_for(socket),
            |notice| self.serve(notice, &mut init, interrupts),
        );
        match (asked, init) {
            (Ok(_), Some(init)) => {
                criu.end();
                Ok(init)
            }
            (asked, init) => {
                criu.abandon();
                if let Some(init) = init {
                    let _ = sys::process::pidfd_kill(&init, libc::SIGKILL);
                    let _ = sys::process::wait_exit(&init, 10_000);
                }
                let _ = kill::end(&self.state);
                let e = asked.err().unwrap_or_else(|| Error::new("criu has not said which process is init"));
                Err(tools.images.explain(interrupts.explain(e), STEP, None))
            }
        }
    }

    /// criu, in a mount namespace with all that it is to mount.
    fn start_criu(&self, o: &RestoreOptions, tools: &Tools, options: &mut Options, pass: &[RawFd]) -> Result<Criu> {
        let plan = &self.prepared.plan;
        let notify = notify::for_restored(&self.handle, plan)?;
        let stands = stage::stands(plan, &notify, &self.prepared.procfs)?;
        for (number, stand) in stands.iter().enumerate() {
            options.external_mount(&stand.name, &stand.place(self.handle.path(), number)?);
        }
        stage::set_yard(options, self.handle.path(), &self.prepared.procfs)?;
        // Left alone by criu, they all stay where it is.
        let cgroup = self.cgroup.as_ref().filter(|_| o.image.cgroups == CgroupsMode::Ignore);
        Criu::start(&tools.program, cgroup.map(|cgroup| cgroup.fd()), pass, || {
            if cgroup.is_some() && plan.namespaces.is_new(NamespaceKind::Cgroup) {
                // Which criu then leaves alone as well.
                sys::process::unshare(libc::CLONE_NEWCGROUP as u64).step("cannot make the cgroup namespace")?;
            }
            // Nobody is left who could be told, nor undo it.
            sys::ids::set_parent_death_signal(libc::SIGKILL).step(STEP)?;
            stage::root_as_mount(&plan.rootfs)?;
            tools.images.open_again()?;
            stage::stage(&stands, self.handle.path(), &self.prepared.procfs)
        })
    }

    /// What criu is told of the container; the fds it needs for it.
    fn describe(&self, options: &mut Options, o: &RestoreOptions) -> Result<Vec<RawFd>> {
        let plan = &self.prepared.plan;
        let rootfs = plan.rootfs.to_str().ok_or_else(|| Error::field("root.path", "criu takes only UTF-8"))?;
        options.text(Text::Root, rootfs);
        options.flag(Flag::RstSibling, true);
        options.flag(Flag::EvasiveDevices, true);
        // Its own terminal is a new one, also with --shell-job.
        options.flag(Flag::OrphanPtsMaster, plan.process.as_ref().is_some_and(|process| process.terminal));
        options.flag(Flag::TcpClose, o.tcp_close);
        for (text, value) in [(Text::LsmProfile, &o.lsm_profile), (Text::LsmMountContext, &o.lsm_mount_context)] {
            value.iter().for_each(|value| options.text(text, value));
        }
        let cgroup = self.state.orlop.cgroup.as_ref();
        if let Some(path) = cgroup.and_then(|target| target.below().to_str()) {
            options.cgroup_root(&format!("/{}", path.trim_start_matches('/')));
        }
        let mut pass = Vec::new();
        for (index, kind, fd) in &self.prepared.join {
            match kind {
                NamespaceKind::Network | NamespaceKind::Pid => {
                    options.inherit(external::namespace(*kind), fd.as_raw_fd());
                    pass.push(fd.as_raw_fd());
                }
                _ => {
                    let path = plan.namespaces.join.iter().find(|(i, ..)| i == index);
                    let path = path.and_then(|(.., path)| path.to_str());
                    options.join(kind.proc_name(), path.unwrap_or_default());
                }
            }
        }
        Ok(pass)
    }

    /// What there is to do while criu is at work (criu(8), "action scripts").
    fn serve(&mut self, notice: Notice, init: &mut Option<OwnedFd>, interrupts: &Interrupts) -> Result<()> {
        match (notice.name.as_str(), notice.pid, notice.fd) {
            ("orphan-pts-master", _, Some(master)) => {
                let console = self.prepared.outputs.console.take();
                let console = console.ok_or_else(|| Error::new("nobody takes the container's terminal"))?;
                sys::socket::send_fd(&console, PAYLOAD, master.as_fd())
                    .map(drop)
                    .step("cannot send the terminal to the console socket")
            }
            ("setup-namespaces", Some(pid), _) => {
                *init = Some(sys::process::pidfd_open(pid).step("cannot open init's pidfd")?);
                self.state.init_process_pid = pid;
                self.hooked = true;
                host_hooks(&self.prepared.plan, &self.state, interrupts)
            }
            ("post-restore", Some(pid), _) => self.take_in(pid).map(|pidfd| drop(init.replace(pidfd))),
            _ => Ok(()),
        }
    }

    /// They are all there and stand still: is it what was asked for?
    fn take_in(&mut self, pid: i32) -> Result<OwnedFd> {
        let prepared = &self.prepared;
        let pidfd = sys::process::pidfd_open(pid).step("cannot open init's pidfd")?;
        self.state.set_init(pid, &pidfd)?;
        let terminal = prepared.plan.process.as_ref().is_some_and(|p| p.terminal);
        if terminal && prepared.outputs.console.is_some() {
            return Err(Error::field("process.terminal", "the image has no terminal"));
        }
        external::verify(&prepared.plan, pid, &prepared.join, &prepared.procfs)?;
        if let Some(cgroup) = &mut self.cgroup {
            if !cgroup.processes()?.contains(&pid) {
                return Err(Error::new("criu has left init outside of the container's cgroup")
                    .path(cgroup.path())
                    .hint("an image made without cgroups takes --manage-cgroups-mode ignore"));
            }
            cgroup.inhabited();
        }
        self.state.orlop.rdt.as_ref().map_or(Ok(()), |group| group.add(pid))?;
        self.handle.write_state(&self.state)?;
        Ok(pidfd)
    }

    /// It runs: the caller is told.
    fn settle_restored(&mut self, init: &OwnedFd) -> Result<i32> {
        let pid = self.state.init_process_pid;
        if let Err(e) = self.prepared.outputs.announce(pid, init, "standard") {
            self.prepared.outputs.retract();
            let _ = kill::end(&self.state);
            return Err(e);
        }
        self.done = true;
        Ok(pid)
    }
}
