//! `orlop update [flags] ID`

use std::path::PathBuf;

use super::values::{any_path, given};
use super::{Context, Verb};
use crate::container::{self, UpdateOptions};
use crate::error::Result;

// No doc comment: clap would take it for the command's text.
// The numbers are read where it is known what they mean; here all is text.
#[derive(Debug, clap::Args)]
pub(super) struct Update {
    /// Read a LinuxResources object from this file, - for stdin
    #[arg(short, long, value_name = "FILE", value_parser = any_path())]
    pub resources: Option<PathBuf>,
    /// Block I/O weight, 10 to 1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<String>,
    /// CPU period in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_period: Option<String>,
    /// CPU time per period in microseconds; -1 for no limit
    #[arg(long, value_name = "USEC")]
    pub cpu_quota: Option<String>,
    /// CPU time that may be saved up, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_burst: Option<String>,
    /// Relative share of the CPU
    #[arg(long, value_name = "N")]
    pub cpu_share: Option<String>,
    /// Real-time period: cgroup v2 has none, so any value is an error
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_period: Option<String>,
    /// Real-time CPU time: cgroup v2 has none, so any value is an error
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_runtime: Option<String>,
    /// CPUs to use, as 0-3,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Run only when nothing else does
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<String>,
    /// Memory limit, with k, m, g as units; -1 for none, and none for swap
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Memory to keep under pressure
    #[arg(long, value_name = "BYTES")]
    pub memory_reservation: Option<String>,
    /// Limit of memory and swap together; -1 for none
    #[arg(long, value_name = "BYTES")]
    pub memory_swap: Option<String>,
    /// Has no effect
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory: Option<String>,
    /// Has no effect
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory_tcp: Option<String>,
    /// Number of processes; -1 for no limit
    #[arg(long, value_name = "N")]
    pub pids_limit: Option<String>,
    /// Intel RDT: L3 cache, as L3:0=7f0;1=1f
    #[arg(long, value_name = "TEXT")]
    pub l3_cache_schema: Option<String>,
    /// Intel RDT: memory bandwidth, as MB:0=20;1=70
    #[arg(long, value_name = "TEXT")]
    pub mem_bw_schema: Option<String>,
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Update {
    const NAME: &'static str = "update";

    fn run(self, ctx: &Context) -> Result<i32> {
        let flags = [
            ("blkio-weight", self.blkio_weight),
            ("cpu-period", self.cpu_period),
            ("cpu-quota", self.cpu_quota),
            ("cpu-burst", self.cpu_burst),
            ("cpu-share", self.cpu_share),
            ("cpu-rt-period", self.cpu_rt_period),
            ("cpu-rt-runtime", self.cpu_rt_runtime),
            ("cpuset-cpus", self.cpuset_cpus),
            ("cpuset-mems", self.cpuset_mems),
            ("cpu-idle", self.cpu_idle),
            ("memory", self.memory),
            ("memory-reservation", self.memory_reservation),
            ("memory-swap", self.memory_swap),
            ("kernel-memory", self.kernel_memory),
            ("kernel-memory-tcp", self.kernel_memory_tcp),
            ("pids-limit", self.pids_limit),
            ("l3-cache-schema", self.l3_cache_schema),
            ("mem-bw-schema", self.mem_bw_schema),
        ];
        // In Go, whose callers these are, an empty text is a flag not given.
        let flags = flags.into_iter().filter_map(|(name, text)| Some((name, text.filter(|t| !t.is_empty())?)));
        let options = UpdateOptions { resources: given(self.resources), flags: flags.collect() };
        container::update(&ctx.runtime()?, &self.id, &options).map(|()| 0)
    }
}
