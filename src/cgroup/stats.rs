//! What the kernel counts for a cgroup, in the shape in which `events` prints
//! it (engine-contract §1.9). The parsers are functions of a file's text.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Cgroup, Oom, fs};

/// `max` in a file: no limit.
const UNLIMITED: u64 = u64::MAX;

/// All statistics of a container. A field whose file is not there, because
/// the controller is not, is left out.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: Cpu,
    /// CPUs and memory nodes in use.
    pub cpuset: Cpuset,
    /// Memory and swap.
    pub memory: Memory,
    /// Number of processes.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// By page size.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Not counted by cgroups: always null.
    pub network_interfaces: Option<Vec<u64>>,
}

/// `cpu.stat` and `cpu.pressure`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Time spent.
    pub usage: CpuUsage,
    /// What a quota did.
    pub throttling: Throttling,
    /// Stalls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Nanoseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// In the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<u64>,
    /// In programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u64>,
}

/// What a quota did.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which something ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub periods: Option<u64>,
    /// Periods in which the quota was used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_periods: Option<u64>,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_time: Option<u64>,
}

/// The effective sets.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Cpuset {
    /// CPU numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Vec<u64>>,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<Vec<u64>>,
}

/// `memory.*`
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<u64>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Amount>,
    /// Memory and swap together, as in the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Amount>,
    /// The kernel's share of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Amount>,
    /// That of socket buffers.
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<Amount>,
    /// What was killed for want of it; only if something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom: Option<Oom>,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Stalls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// How much of something, in bytes.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Amount {
    /// 2^64−1 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Now.
    pub usage: u64,
    /// The most it has been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// How often the limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failcnt: Option<u64>,
}

/// `pids.*`
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Pids {
    /// Processes and threads now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// 2^64−1 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// `io.stat` in the form cgroup v1 had.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Stalls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One number of one device.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `Read`, `Write` or `Discard`.
    pub op: &'static str,
    /// Count.
    pub value: u64,
}

/// `hugetlb.SIZE.*`; cgroup2 does not keep the most it has been.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    /// Bytes now.
    pub usage: u64,
    /// How often the limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failcnt: Option<u64>,
}

/// Pressure stall information.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Psi {
    /// Time in which something waited.
    pub some: Stall,
    /// Time in which everything did.
    pub full: Stall,
}

/// Percentages of the last 10, 60 and 300 seconds, and microseconds in all.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Stall {
    /// Percent.
    pub avg10: f64,
    /// Percent.
    pub avg60: f64,
    /// Percent.
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

impl Cgroup {
    /// Everything that is counted, as far as its files are there.
    pub fn stats(&self) -> Stats {
        let read = |name: &str| fs::read(self.fd(), name).ok();
        let number = |name: &str| read(name).as_deref().and_then(limit);
        let set = |name: &str| read(name).as_deref().and_then(list);
        let pressure = |name: &str| read(name).as_deref().and_then(psi);
        let sizes = fs::names(self.fd()).unwrap_or_default();
        let sizes = sizes.iter().filter_map(|name| name.strip_prefix("hugetlb.")?.strip_suffix(".current"));
        let pages = sizes.filter(|size| !size.contains('.')).filter_map(|size| {
            let usage = number(&format!("hugetlb.{size}.current"))?;
            let events = read(&format!("hugetlb.{size}.events"));
            let failcnt = events.and_then(|text| fs::flat_value(&text, "max"));
            Some((size.to_owned(), Hugetlb { usage, failcnt }))
        });
        Stats {
            cpu: Cpu { psi: pressure("cpu.pressure"), ..read("cpu.stat").as_deref().map(cpu).unwrap_or_default() },
            cpuset: Cpuset { cpus: set("cpuset.cpus.effective"), mems: set("cpuset.mems.effective") },
            memory: Memory { oom: self.oom(), psi: pressure("memory.pressure"), ..memory(&read) },
            pids: Pids { current: number("pids.current"), limit: number("pids.max") },
            blkio: Blkio { psi: pressure("io.pressure"), ..read("io.stat").as_deref().map(io).unwrap_or_default() },
            hugetlb: pages.collect(),
            ..Stats::default()
        }
    }
}

/// A number, or `max`.
fn limit(text: &str) -> Option<u64> {
    if text.trim() == "max" { Some(UNLIMITED) } else { text.trim().parse().ok() }
}

/// `cpu.stat`: microseconds.
fn cpu(text: &str) -> Cpu {
    let value = |key| fs::flat_value(text, key);
    let nanos = |key| value(key).map(|micros| micros.saturating_mul(1000));
    Cpu {
        usage: CpuUsage { total: nanos("usage_usec"), kernel: nanos("system_usec"), user: nanos("user_usec") },
        throttling: Throttling {
            periods: value("nr_periods"),
            throttled_periods: value("nr_throttled"),
            throttled_time: nanos("throttled_usec"),
        },
        psi: None,
    }
}

/// A list like `0-3,7`; `None` when it is none.
fn list(text: &str) -> Option<Vec<u64>> {
    /// More CPUs than any kernel has: not a list of CPUs.
    const MANY: u64 = 1 << 16;
    let mut numbers = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        if to > MANY {
            return None;
        }
        numbers.extend(from..=to);
    }
    Some(numbers)
}

/// The memory controller's files, by a function that reads one.
fn memory(read: &dyn Fn(&str) -> Option<String>) -> Memory {
    let number = |name: &str| read(name).as_deref().and_then(limit);
    let amount = |kind: &str| {
        let failed = read(&format!("{kind}.events")).and_then(|text| fs::flat_value(&text, "max"));
        Some(Amount {
            usage: number(&format!("{kind}.current"))?,
            limit: number(&format!("{kind}.max")),
            max: number(&format!("{kind}.peak")),
            failcnt: failed,
        })
    };
    let raw = flat(&read("memory.stat").unwrap_or_default());
    let share = |key: &str| raw.get(key).map(|usage| Amount { usage: *usage, ..Amount::default() });
    let usage = amount("memory");
    Memory {
        cache: raw.get("file").copied(),
        swap: usage.as_ref().zip(amount("memory.swap")).map(|(memory, swap)| with_swap(memory, &swap)),
        usage,
        kernel: share("kernel"),
        kernel_tcp: share("sock"),
        raw,
        oom: None,
        psi: None,
    }
}

/// The sum of both; unlimited if either is. That of the two peaks, which need
/// not have been at one time, is not the peak of the sum.
fn with_swap(memory: &Amount, swap: &Amount) -> Amount {
    Amount {
        limit: memory.limit.zip(swap.limit).map(|(a, b)| a.saturating_add(b)),
        usage: memory.usage.saturating_add(swap.usage),
        max: None,
        failcnt: swap.failcnt,
    }
}

/// `key value` lines.
fn flat(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect()
}

/// `io.stat`: a line per device, `8:0 rbytes=1 wbytes=2 …`.
fn io(text: &str) -> Blkio {
    let mut out = Blkio::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let device = words.next().and_then(|word| word.split_once(':'));
        let device = device.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let Some((major, minor)) = device else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let entry = |op| BlkioEntry { major, minor, op, value };
            match key {
                "rbytes" => out.io_service_bytes_recursive.push(entry("Read")),
                "wbytes" => out.io_service_bytes_recursive.push(entry("Write")),
                "dbytes" => out.io_service_bytes_recursive.push(entry("Discard")),
                "rios" => out.io_serviced_recursive.push(entry("Read")),
                "wios" => out.io_serviced_recursive.push(entry("Write")),
                "dios" => out.io_serviced_recursive.push(entry("Discard")),
                _ => {}
            }
        }
    }
    out
}

/// A pressure file; `None` when there is nothing in it (psi=0 on the kernel's command line).
fn psi(text: &str) -> Option<Psi> {
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let percent = |key| value(key).and_then(|text| text.parse::<f64>().ok()).filter(|n| n.is_finite());
        Some(Stall {
            avg10: percent("avg10")?,
            avg60: percent("avg60")?,
            avg300: percent("avg300")?,
            total: value("total")?.parse().ok()?,
        })
    };
    // Before Linux 5.13 cpu.pressure has no `full` line.
    Some(Psi { some: stall("some")?, full: stall("full").unwrap_or_default() })
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
