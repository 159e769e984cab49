//! A container half made, by `create`, `run` or `restore`: what there is of it
//! so far, and how it is given back.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};
use nix::sys::stat::Mode;

use super::handle::{Handle, Lock, START_SOCKET};
use super::launch::{Child, Interrupts};
use super::prepare::{Prepared, make_cgroup};
use super::state::State;
use super::{Runtime, delete};
use crate::cgroup::Cgroup;
use crate::error::{Result, Step};
use crate::log;
use crate::net::devices::Moves;
use crate::sys;

/// What init waits for before it executes the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// `start`.
    Start,
    /// It does so at once, or there is no program to execute.
    Nothing,
}

/// A container being made. It owns everything acquired so far, and unless it
/// comes to its end gives all of it back.
pub struct Making {
    /// Its state directory.
    pub handle: Handle,
    /// On that directory.
    pub lock: Option<Lock>,
    /// What is written down of it.
    pub state: State,
    /// What it is made of.
    pub prepared: Prepared,
    /// Where init will wait for `start`.
    pub listener: Option<OwnedFd>,
    /// Its cgroup, once there is one.
    pub cgroup: Option<Cgroup>,
    /// Init, as long as it is ours to reap.
    pub child: Option<Child>,
    /// Hooks have been run, or could have: what ends now ends with poststop.
    pub hooked: bool,
    /// Of the host's, until the container is there to keep them.
    pub devices: Option<Moves>,
    /// Nothing is to be given back any more.
    pub done: bool,
}

impl Making {
    /// Takes the id, and writes down where the cgroup will be before there is one.
    ///
    /// # Errors
    /// That the id is taken; the step that failed, with nothing left of it.
    pub fn begin(rt: &Runtime, prepared: Prepared, wait: WaitFor) -> Result<Self> {
        let state = prepared.state()?;
        let (handle, lock) = Handle::make(rt, &prepared.id)?;
        let mut making = Self {
            handle,
            lock: Some(lock),
            state,
            prepared,
            listener: None,
            cgroup: None,
            child: None,
            hooked: false,
            devices: None,
            done: false,
        };
        making.handle.write_state(&making.state)?;
        if let Some(filter) = &making.prepared.plan.seccomp {
            making.handle.write_filter(filter)?;
        }
        if wait == WaitFor::Start {
            making.listener = Some(listen_for_start(&making.handle)?);
        }
        Ok(making)
    }

    /// Makes the cgroup and the resctrl group.
    ///
    /// # Errors
    /// The step that failed, or the signal that came first.
    pub fn make_groups(&mut self, rt: &Runtime, interrupts: &Interrupts) -> Result<()> {
        if let Some(planned) = self.prepared.cgroup.take() {
            let made = make_cgroup(planned, &self.prepared.plan.cgroup, rt);
            self.cgroup = made.map_err(|e| interrupts.explain(e))?;
            if self.cgroup.is_none() {
                self.state.forget_cgroup();
            }
        }
        match (&mut self.state.orlop.rdt, &self.prepared.plan.rdt) {
            (Some(group), Some(plan)) => group.make(&plan.lines),
            _ => Ok(()),
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // While its namespace lasts: virtual devices would end with it.
        if let Some(devices) = self.devices.take() {
            devices.give_back();
        }
        // Kills and reaps init, if it was not let go.
        self.child = None;
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.kill();
        } else {
            // Never made: what is at that path now is somebody else's.
            self.state.forget_cgroup();
        }
        let undone = self.state.orlop.rdt.take().map_or(Ok(()), |group| group.undo());
        if let Err(e) = undone.and_then(|()| delete::tear_down(&self.handle, &self.state)) {
            log::warn(&format!("cannot undo: {e}"));
        }
        if self.hooked {
            delete::poststop(&self.state);
        }
    }
}

fn listen_for_start(handle: &Handle) -> Result<OwnedFd> {
    let step = "cannot listen for start";
    let path = handle.path().join(START_SOCKET);
    let sock = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).step(step)?;
    // The socket's own mode is that of the file bind(2) makes, less the umask:
    // whoever can connect can start the container, or keep it from starting.
    nix::sys::stat::fchmod(&sock, Mode::from_bits_truncate(0o600)).step(step)?;
    let made = sys::socket::with_short_name(&path, |addr| bind(sock.as_raw_fd(), addr));
    made.and_then(|()| listen(&sock, Backlog::new(16)?)).step_at(step, &path)?;
    Ok(sock)
}
