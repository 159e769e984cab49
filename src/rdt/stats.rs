//! What resctrl says of a container's group, in the shape in which `events`
//! prints it (runc's names, engine-contract §1.9).

use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use super::Target;

/// `intel_rdt` of `events`. What this machine does not have is left out.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// How L3 cache can be shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    /// The `L3` line of the default group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema_root: Option<String>,
    /// That of the container's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// How memory bandwidth can be shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    /// The `MB` line of the default group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema_root: Option<String>,
    /// That of the container's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// All lines of the container's group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// Memory bandwidth used, by cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mbm_stats: Vec<MbmStats>,
    /// Cache in use, by cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmt_stats: Vec<CmtStats>,
}

/// `info/L3`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct L3CacheInfo {
    /// The bits there are, in hexadecimal.
    pub cbm_mask: String,
    /// So many of them have to be set.
    pub min_cbm_bits: u64,
    /// So many groups there can be.
    pub num_closids: u64,
}

/// `info/MB`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct MemBwInfo {
    /// Steps, in percent.
    pub bandwidth_gran: u64,
    /// Is the delay linear?
    pub delay_linear: u64,
    /// The least, in percent.
    pub min_bandwidth: u64,
    /// So many groups there can be.
    pub num_closids: u64,
}

/// Bytes moved since the group was made.
#[derive(Debug, PartialEq, Serialize)]
pub struct MbmStats {
    /// To and from any memory.
    pub mbm_total_bytes: u64,
    /// To and from the cache's own.
    pub mbm_local_bytes: u64,
}

/// Bytes of a cache in use.
#[derive(Debug, PartialEq, Serialize)]
pub struct CmtStats {
    /// Now.
    pub llc_occupancy: u64,
}

impl Target {
    /// What is known of the container's group now.
    pub fn stats(&self) -> Stats {
        let (root, own) = (text(&self.mount.join("schemata")), text(&self.path.join("schemata")));
        let line = |text: &Option<String>, resource: &str| {
            text.as_deref()
                .unwrap_or_default()
                .lines()
                .map(str::trim)
                .find(|l| l.starts_with(resource))
                .map(str::to_owned)
        };
        let mut stats = Stats {
            l3_cache_info: l3_cache_info(&self.mount.join("info/L3")),
            l3_cache_schema_root: line(&root, "L3"),
            l3_cache_schema: line(&own, "L3"),
            mem_bw_info: mem_bw_info(&self.mount.join("info/MB")),
            mem_bw_schema_root: line(&root, "MB"),
            mem_bw_schema: line(&own, "MB"),
            schemata: own.as_deref().unwrap_or_default().lines().map(|l| l.trim().to_owned()).collect(),
            ..Stats::default()
        };
        // A group with a closID counts what all its containers do.
        if let Some(group) = self.monitor.as_ref().or((!self.shared).then_some(&self.path)) {
            count(&group.join("mon_data"), &mut stats);
        }
        stats
    }
}

/// Reads the counters: a directory for each cache.
fn count(mon_data: &Path, stats: &mut Stats) {
    let mut caches: Vec<_> = std::fs::read_dir(mon_data).into_iter().flatten().flatten().map(|e| e.path()).collect();
    caches.sort();
    for cache in caches {
        // Either may read "Unavailable" or "Error" at times.
        if let (Some(mbm_total_bytes), Some(mbm_local_bytes)) =
            (value(&cache.join("mbm_total_bytes")), value(&cache.join("mbm_local_bytes")))
        {
            stats.mbm_stats.push(MbmStats { mbm_total_bytes, mbm_local_bytes });
        }
        stats.cmt_stats.extend(value(&cache.join("llc_occupancy")).map(|llc_occupancy| CmtStats { llc_occupancy }));
    }
}

fn l3_cache_info(dir: &Path) -> Option<L3CacheInfo> {
    Some(L3CacheInfo {
        cbm_mask: value(&dir.join("cbm_mask"))?,
        min_cbm_bits: value(&dir.join("min_cbm_bits"))?,
        num_closids: value(&dir.join("num_closids"))?,
    })
}

fn mem_bw_info(dir: &Path) -> Option<MemBwInfo> {
    Some(MemBwInfo {
        bandwidth_gran: value(&dir.join("bandwidth_gran"))?,
        delay_linear: value(&dir.join("delay_linear"))?,
        min_bandwidth: value(&dir.join("min_bandwidth"))?,
        num_closids: value(&dir.join("num_closids"))?,
    })
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn value<T: FromStr>(path: &Path) -> Option<T> {
    text(path)?.trim().parse().ok()
}
