//! What `update` is asked for: a LinuxResources document and flags, as one
//! list of settings for files of the cgroup.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::faults::Faults;
use super::plan::{CgroupSetting, RdtLine};
use super::{parse, rdt, resources};
use crate::Result;

const STEP: &str = "invalid resources";

/// What the container has now, as far as half a request needs the other half:
/// the texts of files that are there.
#[derive(Debug, Clone, Default)]
pub struct Current {
    /// `cpu.max`
    pub cpu_max: Option<String>,
    /// `memory.max`
    pub memory_max: Option<String>,
}

/// An update, resolved.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// In the order in which they are asked for; device rules are never among them.
    pub settings: Vec<CgroupSetting>,
    /// `memory.checkBeforeUpdate`: no memory or swap limit below what is in use.
    pub check_usage: bool,
    /// Schemata of the container's resctrl group.
    pub rdt: Vec<RdtLine>,
    /// Worth saying, but no reason to stop.
    pub warnings: Vec<String>,
}

/// JSON paths and the flags that stand for them in messages.
type Names = Vec<(String, String)>;

/// Resolves a document, if there is one, and flags (name without dashes, text),
/// which win over it.
///
/// # Errors
/// All faults, each with its JSON path or the flag's name.
pub fn update(json: Option<&str>, flags: &[(&str, String)], current: &Current) -> Result<Update> {
    let mut faults = Faults::default();
    let mut asked = json.and_then(|text| document(text, &mut faults)).unwrap_or_default();
    let mut names = Names::new();
    let mut rdt = Vec::new();
    for (flag, text) in flags {
        let name = format!("--{flag}");
        match *flag {
            "l3-cache-schema" => rdt.extend(rdt::l3_cache(&name, text, &mut faults)),
            "mem-bw-schema" => rdt.extend(rdt::memory_bandwidth(&name, text, &mut faults)),
            _ => match set(&mut asked, flag, text) {
                Ok(field) => names.push((format!("{}.{field}", resources::AT), name)),
                Err(message) => faults.add(name, message),
            },
        }
    }
    complete_bandwidth(&mut asked, &mut names, current);
    let memory_is_known = complete_swap(&mut asked, current);
    let mut settings = resources::resolve(&asked, &mut faults);
    settings.retain(|s| !(memory_is_known && s.field == format!("{}.memory.limit", resources::AT)));
    for setting in &mut settings {
        if let Some((_, name)) = names.iter().rev().find(|(field, _)| *field == setting.field) {
            setting.field.clone_from(name);
        }
    }
    faults.rename(&names);
    let warnings = std::mem::take(&mut faults.warnings);
    match faults.into_error(STEP) {
        Some(e) => Err(e),
        None => Ok(Update { settings, check_usage: resources::checks_usage(&asked), rdt, warnings }),
    }
}

fn document(text: &str, faults: &mut Faults) -> Option<LinuxResources> {
    let mut asked: LinuxResources = parse::resources(text, resources::AT, faults)?;
    if asked.pids().is_some_and(|p| p.limit() == 0) && parse::pids_without_limit(text, "/pids/limit") {
        asked.set_pids(None);
    }
    Some(asked)
}

/// Puts one flag where it belongs; gives its JSON path below `linux.resources`.
fn set(asked: &mut LinuxResources, flag: &str, text: &str) -> Result<&'static str, String> {
    let mut memory: LinuxMemory = (*asked.memory()).unwrap_or_default();
    let mut cpu: LinuxCpu = asked.cpu().clone().unwrap_or_default();
    let field = match flag {
        "memory" => memory.set_limit(Some(bytes(text)?)).at("memory.limit"),
        "memory-reservation" => memory.set_reservation(Some(bytes(text)?)).at("memory.reservation"),
        "memory-swap" => memory.set_swap(Some(bytes(text)?)).at("memory.swap"),
        "kernel-memory" => memory.set_kernel(Some(bytes(text)?)).at("memory.kernel"),
        "kernel-memory-tcp" => memory.set_kernel_tcp(Some(bytes(text)?)).at("memory.kernelTCP"),
        "cpu-share" => cpu.set_shares(Some(number(text)?)).at("cpu.shares"),
        "cpu-quota" => cpu.set_quota(Some(number(text)?)).at("cpu.quota"),
        "cpu-period" => cpu.set_period(Some(number(text)?)).at("cpu.period"),
        "cpu-burst" => cpu.set_burst(Some(number(text)?)).at("cpu.burst"),
        "cpu-idle" => cpu.set_idle(Some(number(text)?)).at("cpu.idle"),
        "cpu-rt-period" => cpu.set_realtime_period(Some(number(text)?)).at("cpu.realtimePeriod"),
        "cpu-rt-runtime" => cpu.set_realtime_runtime(Some(number(text)?)).at("cpu.realtimeRuntime"),
        "cpuset-cpus" => cpu.set_cpus(Some(text.to_owned())).at("cpu.cpus"),
        "cpuset-mems" => cpu.set_mems(Some(text.to_owned())).at("cpu.mems"),
        "pids-limit" => {
            let mut pids = LinuxPids::default();
            pids.set_limit(number(text)?);
            asked.set_pids(Some(pids)).at("pids.limit")
        }
        "blkio-weight" => {
            let mut block_io: LinuxBlockIo = asked.block_io().clone().unwrap_or_default();
            block_io.set_weight(Some(number(text)?));
            asked.set_block_io(Some(block_io)).at("blockIO.weight")
        }
        _ => return Err("not supported yet".to_owned()),
    };
    if field.starts_with("memory.") {
        asked.set_memory(Some(memory));
    } else if field.starts_with("cpu.") {
        asked.set_cpu(Some(cpu));
    }
    Ok(field)
}

/// Lets a table of setters end in the path of what they set.
trait At {
    fn at(&mut self, field: &'static str) -> &'static str {
        field
    }
}

impl<T> At for T {}

/// `cpu.max` holds quota and period: the half that is not asked for stays.
fn complete_bandwidth(asked: &mut LinuxResources, names: &mut Names, current: &Current) {
    let Some(mut cpu) = asked.cpu().clone() else { return };
    let Some((quota, period)) = current.cpu_max.as_deref().and_then(|text| text.split_once(' ')) else { return };
    match (cpu.quota().filter(|q| *q != 0), cpu.period().filter(|p| *p != 0)) {
        (Some(_), None) => {
            cpu.set_period(period.trim().parse().ok());
        }
        (None, Some(_)) => {
            cpu.set_quota(Some(quota.parse().unwrap_or(-1)));
            // Whatever is wrong then is wrong with the period.
            let [quota, period] = ["quota", "period"].map(|f| format!("{}.cpu.{f}", resources::AT));
            let name = names.iter().rev().find(|(field, _)| *field == period).map(|(_, name)| name.clone());
            names.push((quota, name.unwrap_or(period)));
        }
        _ => return,
    }
    asked.set_cpu(Some(cpu));
}

/// The limit of memory and swap together means nothing without that of memory:
/// true if the present one was filled in for the arithmetic.
fn complete_swap(asked: &mut LinuxResources, current: &Current) -> bool {
    let Some(mut memory) = *asked.memory() else { return false };
    let unset = memory.limit().is_none_or(|l| l == 0);
    let limit = match &current.memory_max {
        Some(text) => text.parse::<i64>().ok().filter(|l| *l != 0),
        // No memory controller: any limit will do to get as far as that error.
        None => memory.swap(),
    };
    match (memory.swap(), limit) {
        (Some(1..), Some(limit)) if unset => {
            memory.set_limit(Some(limit));
            asked.set_memory(Some(memory));
            true
        }
        _ => false,
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not a number that can be used here"))
}

/// An amount of memory: `-1`, or a number with a unit (powers of 1024) after it
/// as Go's callers write them: `64m`, `64M`, `64MB`, `64MiB`, `1.5g`.
fn bytes(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is not an amount of memory like 64m, or -1");
    let lower = text.trim().to_ascii_lowercase();
    if lower == "-1" {
        return Ok(-1);
    }
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (amount, unit) = lower.split_at(end);
    let unit = unit.trim_start();
    let prefix = unit.strip_suffix("ib").filter(|p| !p.is_empty()).or(unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|p| *p == prefix).ok_or_else(bad)?;
    let factor = 1i64 << (10 * power);
    if let Ok(whole) = amount.parse::<i64>() {
        return whole.checked_mul(factor).ok_or_else(bad);
    }
    let value = amount.parse::<f64>().map_err(|_| bad())? * factor as f64;
    if value < i64::MAX as f64 { Ok(value as i64) } else { Err(bad()) }
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
