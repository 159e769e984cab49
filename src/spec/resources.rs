//! `linux.resources` as files of a cgroup2 hierarchy.

use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxResources};

use super::faults::{Faults, keyed};
use super::plan::CgroupSetting;
use super::{blockio, weights};

/// The path of the object.
pub(crate) const AT: &str = "linux.resources";

/// The settings found so far; the order is that in which they are written.
#[derive(Default)]
pub(crate) struct Settings(Vec<CgroupSetting>);

impl Settings {
    /// Adds a value for a file; the part before its first dot is the controller.
    pub fn put(&mut self, field: impl Into<String>, file: impl Into<String>, value: impl ToString) {
        let file = file.into();
        let controller = file.split('.').next().filter(|c| *c != "cgroup").unwrap_or_default().to_owned();
        self.0.push(CgroupSetting { field: field.into(), controller, file, value: value.to_string() });
    }
}

/// Resolves everything but the device rules.
pub(crate) fn resolve(resources: &LinuxResources, faults: &mut Faults) -> Vec<CgroupSetting> {
    let mut out = Settings::default();
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut out, faults);
    }
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, &mut out, faults);
    }
    if let Some(limit) = resources.pids().as_ref().and_then(|p| limit("pids.limit", p.limit(), faults)) {
        out.put(format!("{AT}.pids.limit"), "pids.max", limit);
    }
    if let Some(block_io) = resources.block_io() {
        blockio::resolve(block_io, &mut out, faults);
    }
    hugepages(resources.hugepage_limits().as_deref().unwrap_or_default(), &mut out, faults);
    rdma(resources, &mut out, faults);
    if let Some(network) = resources.network() {
        self::network(network, faults);
    }
    // Last, because it is the most exact way to say something and wins over the rest.
    unified(resources, &mut out, faults);
    out.0
}

/// A limit as cgroup2 writes it: -1 is `max`.
fn limit(field: &str, value: i64, faults: &mut Faults) -> Option<String> {
    match value {
        -1 => Some("max".to_owned()),
        0.. => Some(value.to_string()),
        _ => {
            faults.add(format!("{AT}.{field}"), format!("{value} is neither a limit nor -1"));
            None
        }
    }
}

/// 0 is "not set", as every engine means it.
fn memory(m: &LinuxMemory, out: &mut Settings, faults: &mut Faults) {
    let set = |v: Option<i64>| v.filter(|v| *v != 0);
    if let Some(value) = swap(set(m.limit()), set(m.swap()), faults) {
        out.put(format!("{AT}.memory.swap"), "memory.swap.max", value);
    }
    for (name, file, value) in
        [("limit", "memory.max", set(m.limit())), ("reservation", "memory.low", set(m.reservation()))]
    {
        if let Some(value) = value.and_then(|v| limit(&format!("memory.{name}"), v, faults)) {
            out.put(format!("{AT}.memory.{name}"), file, value);
        }
    }
    for (name, value) in [("kernel", m.kernel()), ("kernelTCP", m.kernel_tcp())] {
        if set(value).is_some() {
            faults.warn(format!("{AT}.memory.{name}"), "cgroup2 has no such limit, ignored");
        }
    }
    if m.swappiness().is_some() {
        faults.add(format!("{AT}.memory.swappiness"), "cgroup2 has no swappiness");
    }
    if m.disable_oom_killer() == Some(true) {
        faults.add(format!("{AT}.memory.disableOOMKiller"), "cgroup2 cannot disable the oom killer");
    }
    if m.use_hierarchy() == Some(false) {
        faults.warn(format!("{AT}.memory.useHierarchy"), "cgroup2 is always hierarchical, ignored");
    }
}

/// `memory.checkBeforeUpdate`: may a limit not be set below what is in use?
pub(crate) fn checks_usage(resources: &LinuxResources) -> bool {
    resources.memory().as_ref().is_some_and(|m| m.check_before_update() == Some(true))
}

/// The config's swap is memory plus swap, cgroup2's is swap alone.
fn swap(memory: Option<i64>, swap: Option<i64>, faults: &mut Faults) -> Option<String> {
    let fault = match (memory, swap) {
        (Some(-1), None) | (_, Some(-1)) => return Some("max".to_owned()),
        (_, None) => return None,
        (None | Some(..=-1), Some(_)) => "needs a memory limit",
        (Some(_), Some(swap)) if swap < 0 => "is neither a limit nor -1",
        (Some(memory), Some(swap)) if swap < memory => "is less than the memory limit, which it includes",
        (Some(memory), Some(swap)) => return Some((swap - memory).to_string()),
    };
    faults.add(format!("{AT}.memory.swap"), fault);
    None
}

fn cpu(c: &LinuxCpu, out: &mut Settings, faults: &mut Faults) {
    // The kernel refuses a weight while a group is idle: leave idle first, enter it last.
    if c.idle() == Some(0) {
        out.put(format!("{AT}.cpu.idle"), "cpu.idle", 0);
    }
    if let Some(shares) = c.shares().filter(|s| *s != 0) {
        out.put(format!("{AT}.cpu.shares"), "cpu.weight", weights::cpu(shares));
    }
    match c.idle() {
        None | Some(0) => {}
        Some(1) => out.put(format!("{AT}.cpu.idle"), "cpu.idle", 1),
        Some(other) => faults.add(format!("{AT}.cpu.idle"), format!("{other} is neither 0 nor 1")),
    }
    bandwidth(c, out, faults);
    for (name, file, list) in [("cpus", "cpuset.cpus", c.cpus()), ("mems", "cpuset.mems", c.mems())] {
        if let Some(list) = list.as_deref().filter(|l| !l.is_empty()) {
            let at = format!("{AT}.cpu.{name}");
            match super::lists::mask(list) {
                Ok(_) => out.put(at, file, list),
                Err(message) => faults.add(at, message),
            }
        }
    }
    if c.realtime_runtime().is_some_and(|r| r != 0) {
        faults.add(format!("{AT}.cpu.realtimeRuntime"), "cgroup2 has no real-time limits");
    }
    if c.realtime_period().is_some_and(|p| p != 0) {
        faults.add(format!("{AT}.cpu.realtimePeriod"), "cgroup2 has no real-time limits");
    }
}

fn bandwidth(c: &LinuxCpu, out: &mut Settings, faults: &mut Faults) {
    let (quota, period) = (c.quota().filter(|q| *q != 0), c.period().filter(|p| *p != 0));
    if quota.is_some() || period.is_some() {
        let at = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
        if let Some(quota) = limit(at, quota.unwrap_or(-1), faults) {
            out.put(format!("{AT}.{at}"), "cpu.max", format!("{quota} {}", period.unwrap_or(100_000)));
        }
    }
    if let Some(burst) = c.burst() {
        let at = format!("{AT}.cpu.burst");
        if quota.and_then(|q| u64::try_from(q).ok()).is_some_and(|q| burst > q) {
            faults.add(at, format!("{burst} is more than the quota"));
        } else {
            out.put(at, "cpu.max.burst", burst);
        }
    }
}

fn hugepages(limits: &[LinuxHugepageLimit], out: &mut Settings, faults: &mut Faults) {
    for (i, l) in limits.iter().enumerate() {
        let field = format!("hugepageLimits[{i}]");
        if !is_page_size(l.page_size()) {
            let message = format!("{:?} is not a page size like \"2MB\"", l.page_size());
            faults.add(format!("{AT}.{field}.pageSize"), message);
        } else if let Some(value) = limit(&format!("{field}.limit"), l.limit(), faults) {
            // Both accounts: pages in use, and pages set aside by mmap(2), which
            // the specification prefers and Linux has since 5.7.
            for file in ["max", "rsvd.max"] {
                out.put(format!("{AT}.{field}"), format!("hugetlb.{}.{file}", l.page_size()), &value);
            }
        }
    }
}

fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or_default();
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

fn rdma(resources: &LinuxResources, out: &mut Settings, faults: &mut Faults) {
    let mut limits: Vec<_> = resources.rdma().iter().flatten().collect();
    limits.sort_by(|a, b| a.0.cmp(b.0));
    for (device, limit) in limits {
        let at = keyed(&format!("{AT}.rdma"), device);
        if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c == '\0') {
            faults.add(at, "not the name of a device");
            continue;
        }
        let mut line = device.clone();
        for (key, value) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        if line.len() > device.len() {
            out.put(at, "rdma.max", line);
        } else {
            faults.add(at, "needs hcaHandles or hcaObjects");
        }
    }
}

fn network(network: &LinuxNetwork, faults: &mut Faults) {
    if network.class_id().is_some_and(|id| id != 0) {
        faults.add(format!("{AT}.network.classID"), "cgroup2 has no network classes");
    }
    if network.priorities().as_ref().is_some_and(|p| !p.is_empty()) {
        faults.add(format!("{AT}.network.priorities"), "cgroup2 has no network priorities");
    }
}

/// Core files that say who is in a cgroup and what becomes of them. Written
/// from a config they would freeze, kill or evict the container they are for.
const NO_LIMITS: [&str; 6] =
    ["cgroup.procs", "cgroup.threads", "cgroup.type", "cgroup.subtree_control", "cgroup.freeze", "cgroup.kill"];

fn unified(resources: &LinuxResources, out: &mut Settings, faults: &mut Faults) {
    let mut entries: Vec<_> = resources.unified().iter().flatten().collect();
    entries.sort();
    for (file, value) in entries {
        let at = keyed(&format!("{AT}.unified"), file);
        let dotted = file.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        if file.contains('/') || !dotted {
            faults.add(at, "not the name of a cgroup file");
        } else if NO_LIMITS.contains(&file.as_str()) {
            faults.add(at, "not a limit: this file is for whoever runs the container");
        } else if faults.text(&at, file).is_some() && faults.text(&at, value).is_some() {
            out.put(at, file.as_str(), value);
        }
    }
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
