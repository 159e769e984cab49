//! What a unit is told: the plan's settings, device rules and annotations as
//! properties (org.freedesktop.systemd1(5), systemd.resource-control(5)).

use std::collections::BTreeMap;

use super::variant;
use super::wire::Value;
use crate::cgroup::devices;
use crate::error::{Error, Result};
use crate::spec::plan::{CgroupSetting, DeviceRule, DeviceType};
use crate::spec::{UNIT_PROPERTY, lists};

/// What [`super::Start`] decides itself; another value would leave the
/// container somewhere else, or somebody else in its place.
const OURS: [&str; 3] = ["PIDs", "PIDFDs", "Slice"];

/// "No limit".
const MAX: u64 = u64::MAX;

/// systemd keeps a quota as time in a second, in steps of this many µs.
const QUOTA_STEP: u64 = 10_000;

/// The kernel's, in µs.
const DEFAULT_PERIOD: u64 = 100_000;

/// More than anybody means, in µs (12 days), and the arithmetic still fits 64 bits.
const MAX_QUOTA: u64 = 1 << 40;

/// One property, and the field of the config it comes from (empty: ours).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Property {
    pub name: String,
    pub value: Value,
    pub field: String,
}

impl Property {
    pub fn new(name: &str, value: Value) -> Self {
        Self { name: name.to_owned(), value, field: String::new() }
    }

    fn of(self, field: &str) -> Self {
        Self { field: field.to_owned(), ..self }
    }
}

/// The list as `a(sv)`.
pub(super) fn encode(properties: &[Property]) -> Value {
    let pair = |p: &Property| Value::Struct(vec![Value::Str(p.name.clone()), p.value.clone().boxed()]);
    Value::Array("(sv)".to_owned(), properties.iter().map(pair).collect())
}

/// An array of strings.
pub(super) fn strings(list: &[&str]) -> Value {
    Value::Array("s".to_owned(), list.iter().map(|s| Value::Str((*s).to_owned())).collect())
}

/// The properties that annotations ask for.
///
/// # Errors
/// All names and values that cannot be one.
pub(super) fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    let mut faults = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(UNIT_PROPERTY) else { continue };
        match from_annotation(name, text) {
            Ok(property) => properties.push(property.of(&format!("annotations[{key:?}]"))),
            Err(message) => faults.push(Error::field(format!("annotations[{key:?}]"), message)),
        }
    }
    Error::join("invalid config", faults).map_or(Ok(properties), Err)
}

fn from_annotation(name: &str, text: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err("not the name of a property: at least three letters and nothing else".to_owned());
    }
    if OURS.contains(&name) {
        return Err("cannot be set: it says where the container is".to_owned());
    }
    let value = variant::parse(text)?;
    // Units' files have FooSec=, the bus has FooUSec.
    match name.strip_suffix("Sec").filter(|n| n.ends_with(|c: char| c.is_ascii_lowercase())) {
        Some(stem) => {
            let micros = microseconds(&value).ok_or_else(|| format!("{text} is not a number of seconds"))?;
            Ok(Property::new(&format!("{stem}USec"), Value::U64(micros)))
        }
        None => Ok(Property::new(name, value)),
    }
}

fn microseconds(value: &Value) -> Option<u64> {
    const SECOND: u64 = 1_000_000;
    let whole = match value {
        Value::F64(n) if (0.0..1e12).contains(n) => return Some((n * SECOND as f64) as u64),
        Value::I32(n) => (*n).try_into().ok(),
        Value::U32(n) => Some(u64::from(*n)),
        Value::I64(n) => (*n).try_into().ok(),
        Value::U64(n) => Some(*n),
        _ => None,
    };
    whole?.checked_mul(SECOND)
}

/// Changes the settings into what systemd can hold too, so that the unit and
/// the files say the same: a quota in whole steps, and no limit of 0 processes
/// (1 is as little, with the container's own there). `period` is that of a
/// quota without one, in µs.
pub(crate) fn agree(settings: &mut [CgroupSetting], period: Option<u64>) {
    for setting in settings {
        match setting.file.as_str() {
            "pids.max" if setting.value.trim() == "0" => setting.value = "1".to_owned(),
            "cpu.max" => {
                if let Some((Some(quota), period)) = quota(&setting.value, period) {
                    setting.value = format!("{} {period}", per_second(quota, period) * period / 1_000_000);
                }
            }
            _ => {}
        }
    }
}

/// Quota and period of a `cpu.max`; the quota is `None` for `max`.
fn quota(text: &str, period: Option<u64>) -> Option<(Option<u64>, u64)> {
    let mut words = text.split_ascii_whitespace();
    let quota = match words.next()? {
        "max" => None,
        number => Some(number.parse().ok()?),
    };
    let period = match words.next() {
        Some(number) => number.parse().ok()?,
        None => period.unwrap_or(DEFAULT_PERIOD),
    };
    // What the kernel would refuse is not for us to make sense of.
    (period != 0 && quota.is_none_or(|q| q <= MAX_QUOTA)).then_some((quota, period))
}

fn per_second(quota: u64, period: u64) -> u64 {
    (quota * 1_000_000).div_ceil(period).next_multiple_of(QUOTA_STEP)
}

/// The settings that systemd has properties for, as far as this version
/// does; the rest is in the files alone.
pub(super) fn from_settings(settings: &[CgroupSetting], version: u32) -> Vec<Property> {
    let mut out = Vec::new();
    for setting in settings {
        let found = from_setting(setting.file.as_str(), &setting.value, version);
        out.extend(found.into_iter().map(|p| p.of(&setting.field)));
    }
    out
}

fn from_setting(file: &str, value: &str, version: u32) -> Vec<Property> {
    let amount = |name: &str, least: u64| {
        let property = |n: u64| Property::new(name, Value::U64(n.max(least)));
        bytes(value).map(property).into_iter().collect()
    };
    match file {
        "memory.max" => amount("MemoryMax", 1),
        "memory.high" => amount("MemoryHigh", 1),
        "memory.low" => amount("MemoryLow", 0),
        "memory.min" => amount("MemoryMin", 0),
        "memory.swap.max" => amount("MemorySwapMax", 0),
        "memory.zswap.max" if version >= 253 => amount("MemoryZSwapMax", 0),
        "pids.max" => amount("TasksMax", 1),
        "cpu.weight" => {
            let weight = value.trim().parse().ok().filter(|w| (1..=10_000).contains(w));
            weight.map(|w| Property::new("CPUWeight", Value::U64(w))).into_iter().collect()
        }
        // 0 stands for "idle" in a unit, and no weight for "no longer idle".
        "cpu.idle" if version >= 252 => match value.trim() {
            "1" => vec![Property::new("CPUWeight", Value::U64(0))],
            "0" => vec![Property::new("CPUWeight", Value::U64(MAX))],
            _ => Vec::new(),
        },
        "cpu.max" => bandwidth(value, version),
        "cpuset.cpus" if version >= 244 => mask("AllowedCPUs", value),
        "cpuset.mems" if version >= 244 => mask("AllowedMemoryNodes", value),
        "io.weight" => io_weight(value),
        "io.max" => io_max(value),
        _ => Vec::new(),
    }
}

/// An amount as the kernel reads it: `max`, or a number with a unit.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "max" {
        return Some(MAX);
    }
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[number.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn bandwidth(value: &str, version: u32) -> Vec<Property> {
    let Some((quota, period)) = quota(value, None) else { return Vec::new() };
    let per_second = quota.map_or(MAX, |quota| per_second(quota, period));
    let mut out = vec![Property::new("CPUQuotaPerSecUSec", Value::U64(per_second))];
    if version >= 242 {
        out.push(Property::new("CPUQuotaPeriodUSec", Value::U64(period)));
    }
    out
}

/// A list of numbers as systemd's bit mask, lowest byte first. An empty list clears it.
fn mask(name: &str, list: &str) -> Vec<Property> {
    let Ok(words) = lists::mask(list) else { return Vec::new() };
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    bytes.truncate(bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1));
    let bytes = bytes.into_iter().map(Value::Byte).collect();
    vec![Property::new(name, Value::Array("y".to_owned(), bytes))]
}

/// `a(st)` with one device.
fn for_device(name: &str, device: &str, value: u64) -> Property {
    let pair = Value::Struct(vec![Value::Str(format!("/dev/block/{device}")), Value::U64(value)]);
    Property::new(name, Value::Array("(st)".to_owned(), vec![pair]))
}

fn is_device(text: &str) -> bool {
    text.split_once(':').is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
}

fn io_weight(value: &str) -> Vec<Property> {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let weight = words.last().and_then(|w| w.parse().ok()).filter(|w| (1..=10_000).contains(w));
    match (words.as_slice(), weight) {
        ([_] | ["default", _], Some(weight)) => vec![Property::new("IOWeight", Value::U64(weight))],
        ([device, _], Some(weight)) if is_device(device) => vec![for_device("IODeviceWeight", device, weight)],
        _ => Vec::new(),
    }
}

fn io_max(value: &str) -> Vec<Property> {
    let mut words = value.split_ascii_whitespace();
    let Some(device) = words.next().filter(|d| is_device(d)) else { return Vec::new() };
    let property = |word: &str| {
        let (key, limit) = word.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        Some(for_device(name, device, bytes(limit)?))
    };
    words.filter_map(property).collect()
}

/// `memory.oom.group` as what systemd does on an out-of-memory kill: of a
/// scope since version 253, and only when it is made.
pub(super) fn oom_policy(settings: &[CgroupSetting], version: u32) -> Option<Property> {
    let setting = settings.iter().rev().find(|s| s.file == "memory.oom.group")?;
    let policy = match setting.value.trim() {
        "0" => "continue",
        "1" => "kill",
        _ => return None,
    };
    let property = Property::new("OOMPolicy", Value::Str(policy.to_owned())).of(&setting.field);
    (version >= 253).then_some(property)
}

/// The device rules. Our own program is in force whatever these say: where
/// the rules are a list of what is allowed the unit has the same list, and
/// else (or if all is allowed) it forbids nothing.
pub(super) fn from_devices(rules: &[DeviceRule]) -> Vec<Property> {
    let policy = |p: &str| Property::new("DevicePolicy", Value::Str(p.to_owned())).of(DEVICES);
    let allowed = devices::allow_list(rules).and_then(|list| list.iter().map(device).collect::<Option<Vec<_>>>());
    let Some(allowed) = allowed else { return vec![policy("auto")] };
    let allowed = Value::Array("(ss)".to_owned(), allowed.concat());
    vec![policy("strict"), Property::new("DeviceAllow", allowed).of(DEVICES)]
}

const DEVICES: &str = "linux.resources.devices";

/// A rule as what systemd calls the devices; `None` for one minor number of every major.
fn device(rule: &DeviceRule) -> Option<Vec<Value>> {
    let access: String =
        [(1, 'r'), (2, 'w'), (4, 'm')].iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, c)| c).collect();
    let kinds = match rule.kind {
        Some(DeviceType::Char) => &["char"][..],
        Some(DeviceType::Block) => &["block"],
        None => &["char", "block"],
        Some(_) => return None,
    };
    let named = |kind: &&str| {
        let name = match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            (None, None) => format!("{kind}-*"),
            (None, Some(_)) => return None,
        };
        Some(Value::Struct(vec![Value::Str(name), Value::Str(access.clone())]))
    };
    kinds.iter().map(named).collect()
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
