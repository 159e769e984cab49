//! What was measured, as it is written to and read from JSON.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One run of the benchmark.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Where: natively or in the VM.
    pub place: String,
    /// Kernel, processor, distribution.
    pub machine: Vec<String>,
    /// Day (UTC), as YYYY-MM-DD.
    pub date: String,
    /// Rounds that counted.
    pub rounds: usize,
    /// Pause after each command, in ms.
    pub gap_ms: u64,
    /// The seccomp filter of the pod bundle, if it has one, as orlop makes it.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// The runtime the others are compared with.
    pub base: String,
    /// Those measured.
    pub runtimes: Vec<About>,
    /// Starting and reaping a static program that does nothing.
    pub floor: Samples,
    /// By bundle, operation and runtime.
    pub results: Vec<Measured>,
}

/// A runtime.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct About {
    pub name: String,
    /// First line of `--version`.
    pub version: String,
    /// Size of the binary.
    pub bytes: u64,
    /// Shared libraries it is linked with.
    pub libraries: usize,
    /// The smallest memory limit that `run` still succeeds with; `None` without the memory controller.
    pub least_memory_kib: Option<u64>,
}

/// A filter program.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Filter {
    pub instructions: usize,
    /// From the JSON to the program.
    pub build_us: Vec<f64>,
    /// seccomp(2).
    pub load_us: Vec<f64>,
}

/// Times of one operation, by round.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Samples {
    /// From before the spawn to the reaping.
    pub wall_us: Vec<f64>,
    /// User and system time of all processes.
    pub cpu_us: Vec<f64>,
}

/// One operation of one runtime on one bundle.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    pub bundle: String,
    pub op: String,
    pub runtime: String,
    #[serde(flatten)]
    pub samples: Samples,
    /// Counted once, not while timed.
    pub syscalls: u64,
    pub tasks: u64,
    pub execs: u64,
    pub peak_kib: u64,
}

impl Report {
    /// Reads a file written by `measure`.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// What one runtime did, if it was measured.
    pub fn find(&self, bundle: &str, op: &str, runtime: &str) -> Option<&Measured> {
        self.results.iter().find(|m| m.bundle == bundle && m.op == op && m.runtime == runtime)
    }

    /// The bundles, in the order measured.
    pub fn bundles(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.results.iter().map(|m| m.bundle.as_str()).collect();
        names.dedup();
        names
    }
}
