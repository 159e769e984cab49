//! `process.scheduler`, `process.ioPriority` and `linux.memoryPolicy`.

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Scheduler as SpecScheduler,
};

use super::faults::Faults;
use super::lists;
use super::plan::{MemoryPolicy, Scheduler};

/// `IOPRIO_CLASS_SHIFT`.
const CLASS_SHIFT: i32 = 13;

/// The memory policy modes and their `MPOL_*` numbers (libc has not all of them).
pub(crate) const MODES: [(&str, MemoryPolicyModeType, i32); 7] = [
    ("MPOL_DEFAULT", MemoryPolicyModeType::MpolDefault, 0),
    ("MPOL_PREFERRED", MemoryPolicyModeType::MpolPreferred, 1),
    ("MPOL_BIND", MemoryPolicyModeType::MpolBind, 2),
    ("MPOL_INTERLEAVE", MemoryPolicyModeType::MpolInterleave, 3),
    ("MPOL_LOCAL", MemoryPolicyModeType::MpolLocal, 4),
    ("MPOL_PREFERRED_MANY", MemoryPolicyModeType::MpolPreferredMany, 5),
    ("MPOL_WEIGHTED_INTERLEAVE", MemoryPolicyModeType::MpolWeightedInterleave, 6),
];

/// The memory policy flags and their `MPOL_F_*` bits.
pub(crate) const FLAGS: [(&str, MemoryPolicyFlagType, i32); 3] = [
    ("MPOL_F_NUMA_BALANCING", MemoryPolicyFlagType::MpolFNumaBalancing, 1 << 13),
    ("MPOL_F_RELATIVE_NODES", MemoryPolicyFlagType::MpolFRelativeNodes, 1 << 14),
    ("MPOL_F_STATIC_NODES", MemoryPolicyFlagType::MpolFStaticNodes, 1 << 15),
];

/// `SCHED_*`; `None` for the policy Linux has a number for and nothing else.
const fn policy(policy: LinuxSchedulerPolicy) -> Option<u32> {
    Some(match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => return None,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    })
}

const fn flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// Resolves `process.scheduler`.
pub(crate) fn scheduler(s: &SpecScheduler, faults: &mut Faults) -> Option<Scheduler> {
    let Some(number) = policy(*s.policy()) else {
        faults.add("process.scheduler.policy", format!("{} does not exist in Linux", s.policy()));
        return None;
    };
    let nice = s.nice().unwrap_or_default();
    if !(-20..=19).contains(&nice) {
        faults.add("process.scheduler.nice", format!("{nice} is not between -20 and 19"));
    }
    deadline(s, faults);
    let flags = s.flags().iter().flatten().fold(0, |flags, f| flags | flag(*f));
    Some(Scheduler {
        policy: number,
        flags,
        nice,
        priority: priority(s, faults),
        runtime: s.runtime().unwrap_or_default(),
        deadline: s.deadline().unwrap_or_default(),
        period: s.period().unwrap_or_default(),
    })
}

fn priority(s: &SpecScheduler, faults: &mut Faults) -> u32 {
    let priority = s.priority().unwrap_or_default();
    let real_time = matches!(s.policy(), LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr);
    if real_time && !(1..=99).contains(&priority) {
        faults.add("process.scheduler.priority", format!("{priority} is not between 1 and 99"));
    } else if !real_time && priority != 0 {
        faults.add("process.scheduler.priority", "is for SCHED_FIFO and SCHED_RR only");
    }
    u32::try_from(priority).unwrap_or_default()
}

fn deadline(s: &SpecScheduler, faults: &mut Faults) {
    let values = [("runtime", s.runtime()), ("deadline", s.deadline()), ("period", s.period())];
    let [runtime, deadline, period] = values.map(|(_, v)| v.unwrap_or_default());
    if *s.policy() != LinuxSchedulerPolicy::SchedDeadline {
        for (name, _) in values.iter().filter(|(_, v)| v.unwrap_or_default() != 0) {
            faults.add(format!("process.scheduler.{name}"), "is for SCHED_DEADLINE only");
        }
        return;
    }
    if runtime == 0 || deadline == 0 {
        faults.add("process.scheduler", "SCHED_DEADLINE needs a runtime and a deadline");
    } else if runtime > deadline {
        faults.add("process.scheduler.runtime", "is more than the deadline");
    } else if period != 0 && deadline > period {
        faults.add("process.scheduler.deadline", "is more than the period");
    }
}

/// Resolves `process.ioPriority`.
pub(crate) fn io_priority(p: &LinuxIOPriority, faults: &mut Faults) -> Option<i32> {
    let class = match p.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match i32::try_from(p.priority()) {
        Ok(level @ 0..=7) => Some((class << CLASS_SHIFT) | level),
        _ => {
            faults.add("process.ioPriority.priority", format!("{} is not between 0 and 7", p.priority()));
            None
        }
    }
}

/// Resolves `linux.memoryPolicy`.
pub(crate) fn memory_policy(p: &LinuxMemoryPolicy, faults: &mut Faults) -> Option<MemoryPolicy> {
    let (name, _, mode) = MODES.iter().find(|(_, m, _)| *m == p.mode())?;
    let flags = p.flags().as_deref().unwrap_or_default();
    let bits = FLAGS.iter().filter(|(_, f, _)| flags.contains(f)).fold(0, |bits, (_, _, bit)| bits | bit);
    let nodes = match lists::mask(p.nodes().as_deref().unwrap_or_default()) {
        Ok(nodes) => nodes,
        Err(message) => {
            faults.add("linux.memoryPolicy.nodes", message);
            return None;
        }
    };
    let nodeless = matches!(p.mode(), MemoryPolicyModeType::MpolDefault | MemoryPolicyModeType::MpolLocal);
    if nodeless && !nodes.is_empty() {
        faults.add("linux.memoryPolicy.nodes", format!("must be empty with {name}"));
    } else if !nodeless && nodes.is_empty() && p.mode() != MemoryPolicyModeType::MpolPreferred {
        faults.add("linux.memoryPolicy.nodes", format!("must not be empty with {name}"));
    }
    if nodeless && bits != 0 {
        faults.add("linux.memoryPolicy.flags", format!("must be empty with {name}"));
    }
    let both = [MemoryPolicyFlagType::MpolFRelativeNodes, MemoryPolicyFlagType::MpolFStaticNodes];
    if both.iter().all(|f| flags.contains(f)) {
        faults.add("linux.memoryPolicy.flags", "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other");
    }
    Some(MemoryPolicy { mode: mode | bits, nodes })
}
