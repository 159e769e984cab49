//! The systemd cgroup manager: the container is a transient scope (or slice),
//! whose cgroup systemd makes.
//!
//! A scope cannot be empty, and init is to be born in its cgroup: so the scope
//! begins around a placeholder, a process that does nothing, which is killed
//! when init is there. Limits are written to the cgroup's files as without
//! systemd, which refuses better, and then told to systemd, which writes them
//! again: [`agree`] sees to it that it writes the same.

mod bus;
mod manager;
mod place;
mod properties;
mod variant;
mod wire;

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Step};
use crate::spec::plan::{CgroupPlan, CgroupSetting};
use crate::sys;
use crate::sys::process::Fork;

use bus::{Address, Failure};
use manager::{Manager, is_taken, refused};
use place::Place;
use properties::Property;
use wire::Value;

pub(super) use properties::agree;

/// A container's unit, as it is saved: what the later verbs need to find it
/// whatever environment they are called with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    name: String,
    /// Where its systemd was found.
    bus: Address,
}

impl Unit {
    /// Tells systemd of limits that have been changed.
    pub fn update(&self, settings: &[CgroupSetting]) -> Result<()> {
        let mut manager = Manager::open(&self.bus, None)?;
        let properties = properties::from_settings(settings, manager.version);
        tell(&mut manager, &self.name, &properties)
    }

    /// Has systemd move a process into it.
    pub fn adopt(&self, pid: i32) -> Result<()> {
        let mut manager = Manager::open(&self.bus, None)?;
        let failure = |f| refused("systemd does not move the process into the unit", &self.name, &[], f);
        manager.attach(&self.name, pid.unsigned_abs()).map_err(failure)
    }

    /// Stops it, and waits until it is gone.
    pub fn stop(&self) -> Result<()> {
        Manager::open(&self.bus, None)?.stop(&self.name)
    }
}

fn tell(manager: &mut Manager, unit: &str, properties: &[Property]) -> Result<()> {
    if properties.is_empty() {
        return Ok(());
    }
    let failure = |f| refused("systemd refuses a limit", unit, properties, f);
    manager.set(unit, properties).map_err(failure)
}

/// A unit to be made: everything that can be checked is.
#[derive(Debug)]
pub(super) struct Start {
    manager: Manager,
    pub unit: Unit,
    place: Place,
    id: String,
    user: bool,
    annotations: Vec<Property>,
}

impl Start {
    /// Finds the manager, and out of the config what the unit is to be.
    ///
    /// # Errors
    /// Faults of `linux.cgroupsPath` and of annotations, or no systemd there.
    pub fn new(
        path: Option<&str>,
        id: &str,
        annotations: &BTreeMap<String, String>,
        interrupt: BorrowedFd<'_>,
    ) -> Result<Self> {
        let user = sys::ids::is_users();
        let place = Place::new(path, id, user)?;
        let annotations = properties::from_annotations(annotations)?;
        let addresses = bus::addresses(user, |name| std::env::var(name).ok())?;
        let (manager, bus) = manager::connect(&addresses, Some(interrupt))?;
        let unit = Unit { name: place.unit.clone(), bus };
        Ok(Self { manager, unit, place, id: id.to_owned(), user, annotations })
    }

    /// The cgroup's path below the mount point.
    pub fn below(&self) -> PathBuf {
        PathBuf::from(self.manager.cgroup.trim_matches('/')).join(&self.place.below)
    }

    /// Is the cgroup that is there already somebody's? systemd would not say so
    /// of a slice: it takes one that is active for one that is not made yet.
    ///
    /// # Errors
    /// The unit is a slice.
    pub fn check_unused(&self) -> Result<()> {
        if self.place.is_slice() { Err(self.taken()) } else { Ok(()) }
    }

    fn taken(&self) -> Error {
        let name = &self.unit.name;
        Error::new("systemd has a unit of this name already")
            .in_field("linux.cgroupsPath")
            .message(name.clone())
            .hint(format!("is another container using it? see systemctl status {name}"))
    }

    /// Makes the unit, and with it its cgroup.
    ///
    /// # Errors
    /// The name is in use, systemd refuses a property, does not answer, or its
    /// job fails: then there is no unit.
    pub fn start(mut self, plan: &CgroupPlan) -> Result<Started> {
        let placeholder = if self.place.is_slice() { None } else { Some(Placeholder::fork()?) };
        let properties = self.properties(plan, placeholder.as_ref());
        let name = &self.unit.name;
        let mut started = self.manager.start(name, &properties);
        if started.as_ref().is_err_and(is_taken) {
            // One that has failed keeps its name until somebody has looked at it.
            started = self.manager.reset(name).and_then(|()| self.manager.start(name, &properties));
        }
        match started {
            Ok(()) => {
                let Self { manager, unit, user, .. } = self;
                Ok(Started { manager, unit, user, placeholder })
            }
            Err(failure) if is_taken(&failure) => Err(self.taken()),
            Err(failure) => {
                // A scope without processes does not stay.
                drop(placeholder);
                if let Failure::Broken(_) = failure {
                    self.manager.undo(name);
                }
                Err(refused("systemd refuses the unit", name, &properties, failure))
            }
        }
    }

    /// What the unit is from its beginning. Limits come later: init is not
    /// to share them with the placeholder, nor to be born under them.
    fn properties(&self, plan: &CgroupPlan, placeholder: Option<&Placeholder>) -> Vec<Property> {
        let version = self.manager.version;
        let on = |name| Property::new(name, Value::Bool(true));
        let description = Value::Str(format!("orlop container {}", self.id));
        let mut list = vec![Property::new("Description", description)];
        if let Some(placeholder) = placeholder {
            let pids = Value::Array("u".to_owned(), vec![Value::U32(placeholder.pid.unsigned_abs())]);
            list.extend([Property::new("Slice", Value::Str(self.place.slice.clone())), on("Delegate")]);
            list.push(Property::new("PIDs", pids));
            list.extend(properties::oom_policy(&plan.settings, version));
        } else {
            // A slice's own name says what slice it is in.
            list.push(Property::new("Wants", properties::strings(&[&self.place.slice])));
        }
        list.extend(["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"].map(on));
        list.push(Property::new("DefaultDependencies", Value::Bool(false)));
        // Last, because the last word counts.
        list.extend(self.annotations.iter().cloned());
        list
    }
}

/// A unit that has just been made.
#[derive(Debug)]
pub(super) struct Started {
    manager: Manager,
    unit: Unit,
    user: bool,
    placeholder: Option<Placeholder>,
}

impl Started {
    /// Ends the placeholder: init is there.
    pub fn inhabited(&mut self) {
        self.placeholder = None;
    }

    /// Tells systemd of the limits and the device rules.
    ///
    /// # Errors
    /// Names the field that systemd refuses.
    pub fn tell(&mut self, plan: &CgroupPlan) -> Result<()> {
        let mut properties = properties::from_settings(&plan.settings, self.manager.version);
        // A user's systemd cannot enforce these.
        if !self.user {
            properties.extend(properties::from_devices(plan.devices.as_deref().unwrap_or_default()));
        }
        tell(&mut self.manager, &self.unit.name, &properties)
    }

    /// Takes the unit away again.
    pub fn undo(mut self) {
        self.placeholder = None;
        self.manager.undo(&self.unit.name);
    }
}

/// A process that does nothing, and ends with us at the latest.
#[derive(Debug)]
struct Placeholder {
    pid: i32,
    pidfd: OwnedFd,
}

impl Placeholder {
    fn fork() -> Result<Self> {
        match sys::process::fork(0, None).step("cannot make a placeholder for the scope")? {
            Fork::Child => sys::process::do_nothing(),
            Fork::Parent { pid, pidfd } => Ok(Self { pid, pidfd }),
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let _ = sys::process::pidfd_kill(&self.pidfd, libc::SIGKILL);
        let _ = sys::process::wait(&self.pidfd);
    }
}
