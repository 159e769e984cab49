//! Who the program is and what it may use: attributes first, credentials last.

use std::ffi::CString;

use nix::errno::Errno;

use crate::error::{Error, Result, Step};
use crate::spec::plan::{Capabilities, IdMaps, Process, Scheduler};
use crate::sys::ids;
use crate::sys::procfs::Procfs;
use crate::sys::sched;

/// The highest capability number that fits the kernel's two words.
const CAP_MAX: u32 = 63;

/// Attributes that survive execve and may need privileges to be set: done by
/// init while it still has them (`pid` 0), or by the host side where init is in
/// a user namespace and never had them.
///
/// # Errors
/// Names the field and the errno.
pub fn set_attributes(process: &Process, proc: &Procfs, pid: i32) -> Result<()> {
    let field = |name: &'static str| move |e: Error| e.in_field(name);
    if let Some(value) = process.oom_score_adj {
        let (file, text) = (of_process(pid, "oom_score_adj")?, value.to_string());
        // Who may not set it may have been born with it.
        let has_it = || proc.read(&file).is_ok_and(|found| found.trim_ascii() == text.as_bytes());
        match proc.write(&file, text.as_bytes()) {
            Err(Errno::EACCES | Errno::EPERM) if has_it() => {}
            other => other.step("cannot set the oom score").map_err(field("process.oomScoreAdj"))?,
        }
    }
    if let Some(scheduler) = &process.scheduler {
        sched::set_scheduler(pid, sched_attr(scheduler))
            .step("cannot set the scheduler")
            .map_err(field("process.scheduler"))?;
    }
    if let Some(priority) = process.io_priority {
        sched::set_io_priority(pid, priority)
            .step("cannot set the io priority")
            .map_err(field("process.ioPriority"))?;
    }
    for limit in &process.rlimits {
        sched::set_rlimit(pid, limit.resource, limit.soft, limit.hard).map_err(|e| {
            let error = Error::sys(format!("cannot set {}", limit.name), e).in_field("process.rlimits");
            if e == Errno::EPERM { error.hint("raising a hard limit needs CAP_SYS_RESOURCE") } else { error }
        })?;
    }
    Ok(())
}

/// A file of a process below procfs, 0 for this one.
pub fn of_process(pid: i32, file: &str) -> Result<CString> {
    let dir = if pid == 0 { "self".to_owned() } else { pid.to_string() };
    CString::new(format!("{dir}/{file}")).map_err(|_| Error::new("NUL byte in a path"))
}

/// setgroups(2). Where a user namespace forbids it (user_namespaces(7)) the
/// caller's groups stay, which is an error only if others were asked for.
///
/// # Errors
/// Names the field and the errno.
pub fn set_groups(process: &Process, proc: &Procfs) -> Result<()> {
    if process.keep_groups {
        return Ok(());
    }
    let Err(e) = ids::set_groups(&process.additional_gids) else { return Ok(()) };
    let denied = e == Errno::EPERM && proc.read(c"self/setgroups").is_ok_and(|text| text.starts_with(b"deny"));
    if denied && process.additional_gids.is_empty() {
        return Ok(());
    }
    let e = Error::sys("cannot set the supplementary groups", e).in_field("process.user.additionalGids");
    Err(if denied { e.hint("the user namespace forbids it: it has no range of group ids") } else { e })
}

fn sched_attr(s: &Scheduler) -> libc::sched_attr {
    libc::sched_attr {
        size: 0,
        sched_policy: s.policy,
        sched_flags: s.flags,
        sched_nice: s.nice,
        sched_priority: s.priority,
        sched_runtime: s.runtime,
        sched_deadline: s.deadline,
        sched_period: s.period,
    }
}

/// Becomes root of a new or joined user namespace: until then all our ids are
/// nobody's there, and no file could be made.
///
/// # Errors
/// Names the field and the errno.
pub fn become_root(maps: &IdMaps) -> Result<()> {
    let step = "cannot become root of the user namespace";
    if maps.is_empty() {
        // Somebody has made it and given it no ids: there is nobody to become.
        return hide().step(step);
    }
    let (uid, gid) = maps.root();
    match ids::set_groups(&[]) {
        // Forbidden where the map was written without privileges; what is kept is nobody's.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(e) => return Err(Error::sys(step, e)),
    }
    ids::set_gids(Some(gid), Some(gid), Some(gid)).step(step).map_err(|e| e.in_field("linux.gidMappings"))?;
    ids::set_uids(Some(uid), Some(uid), Some(uid)).step(step).map_err(|e| e.in_field("linux.uidMappings"))?;
    hide().step(step)
}

/// Undoes what a change of ids does besides: it lets others look into us, and
/// forgets that we are to die with our parent.
///
/// # Errors
/// The errno of prctl(2).
pub fn hide() -> nix::Result<()> {
    ids::set_dumpable(false)?;
    ids::set_parent_death_signal(libc::SIGKILL)
}

/// Becomes the user of the config with its capabilities. The order
/// is capabilities(7)'s: the bounding set while `CAP_SETPCAP` is there, ids
/// with the permitted set kept, then the sets, then ambient, which needs both.
///
/// `extra` are capabilities that are kept permitted, though not effective,
/// up to the execve, which gives none of them on (capabilities(7): what is
/// permitted before it has no part in what is permitted after).
///
/// # Errors
/// Names the field and the errno.
pub fn become_user(process: &Process, extra: u64) -> Result<()> {
    let bounding = |e: Error| e.in_field("process.capabilities.bounding");
    if let Some(caps) = &process.capabilities {
        drop_bounding(caps.bounding).map_err(bounding)?;
    }
    let keeps = process.capabilities.is_some() || extra != 0 && process.uid != 0;
    if keeps {
        ids::keep_caps(true).step("cannot keep capabilities")?;
    }
    let id = Some(process.gid);
    ids::set_gids(id, id, id).step("cannot set the group id").map_err(|e| e.in_field("process.user.gid"))?;
    let id = Some(process.uid);
    ids::set_uids(id, id, id).step("cannot set the user id").map_err(|e| e.in_field("process.user.uid"))?;
    if keeps {
        ids::keep_caps(false).step("cannot keep capabilities")?;
        match &process.capabilities {
            Some(caps) => set_capabilities(caps, extra)?,
            None => keep_only(extra)?,
        }
    }
    if process.no_new_privileges {
        ids::no_new_privs().step("cannot set no_new_privs").map_err(|e| e.in_field("process.noNewPrivileges"))?;
    }
    Ok(())
}

fn drop_bounding(keep: u64) -> Result<()> {
    for cap in (0..=CAP_MAX).filter(|cap| keep & (1 << cap) == 0) {
        match ids::bounding_drop(cap) {
            Ok(()) => {}
            // The kernel's capabilities end here.
            Err(Errno::EINVAL) => break,
            // Without CAP_SETPCAP it is fine as long as there is nothing to drop.
            Err(Errno::EPERM) if ids::bounding_has(cap) == Ok(false) => {}
            Err(e) => return Err(Error::sys(format!("cannot drop capability {cap} from the bounding set"), e)),
        }
    }
    Ok(())
}

/// Sets what can be granted. What we do not hold ourselves the host side has
/// warned of (`preflight::missing_capabilities`); what nobody could grant, it
/// has refused.
fn set_capabilities(caps: &Capabilities, extra: u64) -> Result<()> {
    let held = ids::permitted_caps().step("cannot read our capabilities")?;
    let permitted = caps.permitted & held;
    let inheritable = caps.inheritable & held;
    ids::set_caps(caps.effective & permitted, permitted | extra & held, inheritable)
        .step("cannot set capabilities")
        .map_err(|e| e.in_field("process.capabilities"))?;
    ids::ambient_clear().step("cannot clear the ambient set")?;
    let ambient = caps.ambient & permitted & inheritable;
    for cap in (0..=CAP_MAX).filter(|cap| ambient & (1 << cap) != 0) {
        ids::ambient_raise(cap)
            .step(format!("cannot raise ambient capability {cap}"))
            .map_err(|e| e.in_field("process.capabilities.ambient"))?;
    }
    Ok(())
}

/// What a change of user would have left nothing of.
fn keep_only(extra: u64) -> Result<()> {
    let step = "cannot set capabilities";
    let (_, permitted, inheritable) = ids::get_caps().step(step)?;
    ids::set_caps(0, permitted & extra, inheritable).step(step)
}
