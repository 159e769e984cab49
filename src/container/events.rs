//! `events`: statistics, once or again and again, and word of every oom.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Runtime;
use super::handle::{Handle, open_cgroup};
use super::list::no_cgroup;
use super::state::Status;
use crate::cgroup::Stats;
use crate::error::{Error, Result};
use crate::rdt;

/// One line of output (engine-contract §1.9).
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

/// Statistics of everything the container is counted in.
#[derive(Debug, Serialize)]
struct Data {
    #[serde(flatten)]
    cgroup: Stats,
    intel_rdt: rdt::Stats,
}

impl<'a> Event<'a> {
    fn stats(id: &'a str, cgroup: Stats, group: Option<&rdt::Target>) -> Self {
        let intel_rdt = group.map(rdt::Target::stats).unwrap_or_default();
        Self { kind: "stats", id, data: Some(Data { cgroup, intel_rdt }) }
    }

    fn oom(id: &'a str) -> Self {
        Self { kind: "oom", id, data: None }
    }
}

/// Tells `emit` the statistics: once without an interval, else at once and at
/// each interval, and of ooms when they happen, until the container has
/// stopped or `emit` answers false.
///
/// # Errors
/// `container with id X is not running`, why there is no cgroup to look into,
/// or those of `emit`.
pub fn events(
    rt: &Runtime,
    id: &str,
    interval: Option<Duration>,
    emit: &mut dyn FnMut(&Event<'_>) -> Result<bool>,
) -> Result<()> {
    let (handle, state) = Handle::open_with_state(rt, id)?;
    let (status, Some(init)) = handle.status(&state)? else { return Err(not_running(id)) };
    if matches!(status, Status::Stopped | Status::Creating) {
        return Err(not_running(id));
    }
    let cgroup = open_cgroup(&state)?.ok_or_else(|| no_cgroup(&state))?;
    let mut watch = cgroup.watch_oom();
    let group = state.orlop.rdt.as_ref();
    let mut go_on = emit(&Event::stats(id, cgroup.stats(), group))?;
    let Some(interval) = interval else { return Ok(()) };
    let mut next = Instant::now() + interval;
    while go_on {
        let ended = watch.wait(init.as_fd(), next)?;
        if watch.rose() {
            go_on = emit(&Event::oom(id))?;
        }
        // An oom is often how it ends, so this comes after the look at it.
        if ended {
            break;
        }
        if go_on && Instant::now() >= next {
            go_on = emit(&Event::stats(id, cgroup.stats(), group))?;
            // Not from the last one: a container that was stopped with its
            // reader should not print what was missed.
            next = Instant::now() + interval;
        }
    }
    Ok(())
}

fn not_running(id: &str) -> Error {
    Error::new(format!("container with id {id} is not running"))
}
