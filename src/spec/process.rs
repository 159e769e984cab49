//! `process`: everything the program is started with.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::str::FromStr;

use oci_spec::runtime::{LinuxCapabilities, PosixRlimit, PosixRlimitType, Process as SpecProcess};

use super::faults::Faults;
use super::plan::{Capabilities, IdMaps, IdRange, Process, Rlimit};
use super::{lists, scheduling};

/// The umask of a process that asks for none.
const DEFAULT_UMASK: u32 = 0o022;

fn umask(given: Option<u32>, faults: &mut Faults) -> u32 {
    match given {
        Some(mask) if mask > 0o777 => {
            faults.add("process.user.umask", format!("{mask} has other bits than 0777"));
            DEFAULT_UMASK
        }
        given => given.unwrap_or(DEFAULT_UMASK),
    }
}

/// Resolves a process object; all its paths start with `process`.
pub(crate) fn resolve(process: &SpecProcess, faults: &mut Faults) -> Process {
    let terminal = process.terminal().unwrap_or_default();
    let user = process.user();
    for (name, id) in [("uid", user.uid()), ("gid", user.gid())] {
        // setresuid(2) takes this number for "leave it alone".
        if id == u32::MAX {
            faults.add(format!("process.user.{name}"), format!("{id} is not a valid id"));
        }
    }
    let affinity = process.exec_cpu_affinity().as_ref();
    Process {
        args: args(process, faults),
        env: env(process.env().as_deref().unwrap_or_default(), faults),
        cwd: cwd(process, faults),
        terminal,
        console_size: if terminal { console_size(process, faults) } else { None },
        uid: user.uid(),
        gid: user.gid(),
        additional_gids: user.additional_gids().clone().unwrap_or_default(),
        keep_groups: false,
        umask: umask(user.umask(), faults),
        capabilities: process.capabilities().as_ref().map(|c| capabilities(c, faults)),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default(), faults),
        no_new_privileges: process.no_new_privileges().unwrap_or_default(),
        oom_score_adj: oom_score_adj(process, faults),
        scheduler: process.scheduler().as_ref().and_then(|s| scheduling::scheduler(s, faults)),
        io_priority: process.io_priority().as_ref().and_then(|p| scheduling::io_priority(p, faults)),
        affinity_initial: cpus("initial", affinity.and_then(|a| a.initial().as_deref()), faults),
        affinity_final: cpus("final", affinity.and_then(|a| a.cpu_affinity_final().as_deref()), faults),
        apparmor_profile: label("apparmorProfile", process.apparmor_profile(), faults),
        selinux_label: label("selinuxLabel", process.selinux_label(), faults),
    }
}

/// Every id of a process must be one of its user namespace's.
pub(crate) fn check_ids(process: &Process, ids: &IdMaps, faults: &mut Faults) {
    let mut check = |at: String, map: &[IdRange], id: u32, name: &str| {
        if IdMaps::on_host(map, id).is_none() {
            faults.add(at, format!("{id} is not in linux.{name}"));
        }
    };
    check("process.user.uid".to_owned(), &ids.uid, process.uid, "uidMappings");
    check("process.user.gid".to_owned(), &ids.gid, process.gid, "gidMappings");
    for (i, gid) in process.additional_gids.iter().enumerate() {
        check(format!("process.user.additionalGids[{i}]"), &ids.gid, *gid, "gidMappings");
    }
}

fn args(process: &SpecProcess, faults: &mut Faults) -> Vec<CString> {
    let args = process.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        faults.add("process.args", "must have at least one element");
    }
    let one = |(i, arg): (usize, &String)| faults.cstring(format!("process.args[{i}]"), arg);
    args.iter().enumerate().filter_map(one).collect()
}

/// The environment with the last of equal keys, in the order of those last ones.
fn env(env: &[String], faults: &mut Faults) -> Vec<CString> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::with_capacity(env.len());
    for (i, entry) in env.iter().enumerate().rev() {
        let at = format!("process.env[{i}]");
        match env_key(entry) {
            Ok(key) if seen.insert(key) => out.extend(faults.cstring(at, entry)),
            Ok(_) => {}
            Err(message) => faults.add(at, message),
        }
    }
    out.reverse();
    out
}

/// The key of a `KEY=value` entry.
pub(crate) fn env_key(entry: &str) -> Result<&str, String> {
    match entry.split_once('=') {
        Some(("", _)) => Err(format!("{entry:?} has an empty name")),
        Some((key, _)) => Ok(key),
        None => Err(format!("{entry:?} has no \"=\"")),
    }
}

fn cwd(process: &SpecProcess, faults: &mut Faults) -> String {
    let cwd = process.cwd().to_string_lossy();
    if cwd.is_empty() {
        faults.add("process.cwd", "missing");
    } else if !cwd.starts_with('/') {
        faults.add("process.cwd", format!("{cwd:?} is not absolute"));
    }
    faults.text("process.cwd", &cwd).unwrap_or_default()
}

fn console_size(process: &SpecProcess, faults: &mut Faults) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    match (u16::try_from(size.height()), u16::try_from(size.width())) {
        (Ok(0), Ok(_)) | (Ok(_), Ok(0)) => None,
        (Ok(height), Ok(width)) => Some((height, width)),
        _ => {
            faults.add("process.consoleSize", format!("larger than {0} by {0}", u16::MAX));
            None
        }
    }
}

fn oom_score_adj(process: &SpecProcess, faults: &mut Faults) -> Option<i32> {
    let adj = process.oom_score_adj()?;
    if !(-1000..=1000).contains(&adj) {
        faults.add("process.oomScoreAdj", format!("{adj} is not between -1000 and 1000"));
    }
    Some(adj)
}

fn cpus(name: &str, list: Option<&str>, faults: &mut Faults) -> Option<Vec<u64>> {
    match lists::mask(list?) {
        Ok(mask) if mask.is_empty() => None,
        Ok(mask) => Some(mask),
        Err(message) => {
            faults.add(format!("process.execCPUAffinity.{name}"), message);
            None
        }
    }
}

fn label(name: &str, value: &Option<String>, faults: &mut Faults) -> Option<String> {
    faults.text(format!("process.{name}"), value.as_deref().filter(|v| !v.is_empty())?)
}

/// The capability object as masks; a missing set is an empty one.
///
/// What no kernel grants to anybody is a fault: effective is a part of
/// permitted, and nothing may be inherited beyond the bounding set (capset(2)).
/// An ambient one that is not permitted and inheritable is only warned of, and
/// that where the kernel is asked: `crun spec` writes such configs, `runc spec` used to.
fn capabilities(capabilities: &LinuxCapabilities, faults: &mut Faults) -> Capabilities {
    let mask = |set: &Option<oci_spec::runtime::Capabilities>| {
        let names = set.iter().flatten();
        names.filter_map(|c| capability(&c.to_string())).fold(0, |mask, c| mask | c.bitmask())
    };
    let sets = Capabilities {
        bounding: mask(capabilities.bounding()),
        effective: mask(capabilities.effective()),
        inheritable: mask(capabilities.inheritable()),
        permitted: mask(capabilities.permitted()),
        ambient: mask(capabilities.ambient()),
    };
    for (name, set, limit_name, limit) in [
        ("effective", sets.effective, "permitted", sets.permitted),
        ("inheritable", sets.inheritable, "bounding", sets.bounding),
    ] {
        if set & !limit != 0 {
            let text = format!("cannot be granted: {} not in {limit_name}", capability_names(set & !limit));
            faults.add(format!("process.capabilities.{name}"), text);
        }
    }
    sets
}

/// The names of the capabilities in a mask.
pub fn capability_names(mask: u64) -> String {
    let name = |n: u32| {
        let known = caps::all().into_iter().find(|c| u32::from(c.index()) == n);
        known.map_or_else(|| n.to_string(), |c| c.to_string())
    };
    let names: Vec<String> = (0..u64::BITS).filter(|n| mask & 1 << n != 0).map(name).collect();
    names.join(", ")
}

/// A capability by its name, in either case, with or without `CAP_`.
pub(crate) fn capability(name: &str) -> Option<caps::Capability> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    caps::Capability::from_str(&format!("CAP_{bare}")).ok()
}

fn rlimits(rlimits: &[PosixRlimit], faults: &mut Faults) -> Vec<Rlimit> {
    let mut out: Vec<Rlimit> = Vec::with_capacity(rlimits.len());
    for (i, limit) in rlimits.iter().enumerate() {
        let at = format!("process.rlimits[{i}]");
        let (name, resource) = (limit.typ().to_string(), rlimit(limit.typ()));
        if out.iter().any(|l| l.resource == resource) {
            faults.add(format!("{at}.type"), format!("a second limit of type {name:?}"));
        }
        let (soft, hard) = (limit.soft(), limit.hard());
        if soft > hard {
            faults.add(format!("{at}.soft"), format!("{soft} is more than the hard limit {hard}"));
        }
        out.push(Rlimit { name, resource, soft, hard });
    }
    out
}

// The constants are of another type with musl.
#[allow(clippy::unnecessary_cast)]
const fn rlimit(typ: PosixRlimitType) -> u32 {
    (match typ {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }) as u32
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
