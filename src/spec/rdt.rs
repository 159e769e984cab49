//! `linux.intelRdt`: a group of the resctrl filesystem and its schemata
//! (runtime-spec, config-linux.md, "IntelRdt"; Documentation/filesystems/resctrl.rst).

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxIntelRdt;

use super::faults::Faults;
use super::plan::{RdtLine, RdtPlan};

const AT: &str = "linux.intelRdt";

/// What resctrl itself keeps at the top, so no group can have such a name.
const TAKEN: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// One line of a schemata file: `L3:0=7f0;1=1f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// `L3`, `L3CODE`, `L2`, `MB` …
    pub resource: String,
    /// Value of each domain (cache), by its number. Hexadecimal or decimal,
    /// which depends on the resource, and without leading zeros either way.
    pub domains: BTreeMap<u32, String>,
}

impl Schema {
    /// Reads a line; `None` when it is not one. Blanks are as the kernel pads its own.
    pub fn parse(line: &str) -> Option<Self> {
        let (resource, rest) = line.trim().split_once(':')?;
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let mut domains = BTreeMap::new();
        for domain in rest.split(';') {
            let (id, value) = domain.split_once('=')?;
            let value = value.trim();
            if !word(value) || domains.insert(id.trim().parse().ok()?, plain(value)).is_some() {
                return None;
            }
        }
        word(resource).then(|| Self { resource: resource.to_owned(), domains })
    }
}

/// A number so that equal ones are equal texts: `0x00F` and `f`.
fn plain(value: &str) -> String {
    let lower = value.to_ascii_lowercase();
    let digits = lower.strip_prefix("0x").unwrap_or(&lower).trim_start_matches('0');
    if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
}

/// Can this be the name of a group? The container's id becomes one as well.
///
/// # Errors
/// Says why not.
pub fn check_name(name: &str) -> Result<(), String> {
    let bad = name.contains(['/', '\n', '\0']) || matches!(name, "" | "." | "..");
    if bad || TAKEN.contains(&name) { Err(format!("{name:?} cannot be the name of a resctrl group")) } else { Ok(()) }
}

/// Resolves `intelRdt`.
pub(crate) fn resolve(rdt: &LinuxIntelRdt, faults: &mut Faults) -> RdtPlan {
    let clos = rdt.clos_id().clone().filter(|clos| !clos.is_empty());
    if let Some(clos) = clos.as_deref().filter(|clos| *clos != "/") {
        check_name(clos).unwrap_or_else(|message| faults.add(format!("{AT}.closID"), message));
    }
    let mut lines = Vec::new();
    if let Some(text) = set(rdt.l3_cache_schema()) {
        lines.extend(l3_cache(&format!("{AT}.l3CacheSchema"), text, faults));
    }
    if let Some(text) = set(rdt.mem_bw_schema()) {
        lines.extend(memory_bandwidth(&format!("{AT}.memBwSchema"), text, faults));
    }
    for (i, text) in rdt.schemata().iter().flatten().enumerate() {
        lines.extend(line(format!("{AT}.schemata[{i}]"), text, false, faults));
    }
    RdtPlan { clos, lines, monitoring: *rdt.enable_monitoring() == Some(true) }
}

/// `l3CacheSchema` at `at`: one line, or several (`L3CODE:`, `L3DATA:`). Memory
/// bandwidth among them never counted (runtime-spec 1.2, config-linux.md).
pub(crate) fn l3_cache(at: &str, text: &str, faults: &mut Faults) -> Vec<RdtLine> {
    if !text.starts_with("L3") {
        faults.add(at, format!("{text:?} does not start with \"L3:\""));
        return Vec::new();
    }
    let (bandwidth, cache): (Vec<_>, Vec<_>) = text.lines().partition(|l| l.starts_with("MB:"));
    if !bandwidth.is_empty() {
        faults.warn(at, "its \"MB:\" lines are ignored, memBwSchema is for these");
    }
    cache.into_iter().filter_map(|l| line(at.to_owned(), l, true, faults)).collect()
}

/// `memBwSchema` at `at`.
pub(crate) fn memory_bandwidth(at: &str, text: &str, faults: &mut Faults) -> Option<RdtLine> {
    if text.starts_with("MB:") {
        return line(at.to_owned(), text, true, faults);
    }
    faults.add(at, format!("{text:?} does not start with \"MB:\""));
    None
}

fn line(at: String, text: &str, must_match: bool, faults: &mut Faults) -> Option<RdtLine> {
    if Schema::parse(text).is_none() || text.contains('\n') {
        faults.add(at, format!("{text:?} is not a schema like \"L3:0=7f0;1=1f\""));
        return None;
    }
    Some(RdtLine { field: at, text: text.to_owned(), must_match })
}

fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(rdt: Value) -> Result<RdtPlan, String> {
        let mut faults = Faults::default();
        let plan = resolve(&serde_json::from_value(rdt).unwrap(), &mut faults);
        faults.into_error("x").map_or(Ok(plan), |e| Err(e.to_string()))
    }

    #[test]
    fn lines_are_compared_by_what_they_mean() {
        let schema = |text| Schema::parse(text).unwrap();
        assert_eq!(schema("L3:0=7f0;1=1f"), schema("    L3:1=01F; 0= 7f0 "));
        assert_eq!(schema("MB:0=  50").domains[&0], "50");
        assert_eq!(schema("L3:0=0x000").domains[&0], "0");
        for bad in ["", "L3", "L3:", ":0=1", "L3:0", "L3:0=", "L3:x=1", "L3:0=1;", "L3:0=1;0=2", "L3:0=f f", "a b:0=1"]
        {
            assert_eq!(Schema::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields() {
        let plan = run(json!({"closID": "", "enableMonitoring": false})).unwrap();
        assert_eq!((plan.clos, plan.lines.len(), plan.monitoring), (None, 0, false));
        let plan = run(json!({
            "closID": "gold", "l3CacheSchema": "L3CODE:0=f\nL3DATA:0=f0\nMB:0=10", "memBwSchema": "MB:0=20",
            "schemata": ["L2:0=f", "L3:1=3"], "enableMonitoring": true}))
        .unwrap();
        let lines: Vec<_> = plan.lines.iter().map(|l| (l.text.as_str(), l.must_match)).collect();
        let wanted =
            [("L3CODE:0=f", true), ("L3DATA:0=f0", true), ("MB:0=20", true), ("L2:0=f", false), ("L3:1=3", false)];
        assert_eq!(lines, wanted, "in the order in which they are written");
        assert_eq!((plan.clos.as_deref(), plan.monitoring), (Some("gold"), true));
        assert_eq!(run(json!({"closID": "/"})).unwrap().clos.as_deref(), Some("/"));
    }

    #[test]
    fn faults() {
        for (rdt, text) in [
            (json!({"closID": ".."}), "closID: \"..\" cannot be"),
            (json!({"closID": "."}), "closID: \".\" cannot be"),
            (json!({"closID": "a/b"}), "closID: \"a/b\" cannot be"),
            (json!({"closID": "/a"}), "closID: \"/a\" cannot be"),
            (json!({"closID": "info"}), "closID: \"info\" cannot be"),
            (json!({"closID": "a\nb"}), "closID: "),
            (json!({"l3CacheSchema": "MB:0=5"}), "l3CacheSchema: \"MB:0=5\" does not start with \"L3:\""),
            (json!({"l3CacheSchema": "L3:0"}), "l3CacheSchema: \"L3:0\" is not a schema"),
            (json!({"memBwSchema": "L3:0=f"}), "memBwSchema: \"L3:0=f\" does not start with \"MB:\""),
            (json!({"memBwSchema": "MB:0=5\nMB:1=5"}), "memBwSchema: "),
            (json!({"schemata": ["L3:0=f", "L2:0=f\nMB:0=1"]}), "schemata[1]: "),
            (json!({"schemata": [""]}), "schemata[0]: \"\" is not"),
        ] {
            let found = run(rdt).unwrap_err();
            assert!(found.starts_with(&format!("x: linux.intelRdt.{text}")), "{found} instead of {text}");
            assert!(!found.contains("; ") && !found.contains('\n'), "{found}");
        }
    }
}
