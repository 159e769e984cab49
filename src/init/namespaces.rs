//! Joining and making namespaces, and what belongs to a new one at once.

use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;

use super::Common;
use super::credentials::of_process;
use super::sync::Message;
use crate::error::{Error, Result, Step};
use crate::net;
use crate::spec::plan::{NamespaceKind, Namespaces, Plan, TimeOffset};
use crate::sys::ids::Visible;
use crate::sys::process::{join, unshare};
use crate::sys::procfs::Procfs;

/// The namespaces that clone3 made already; the rest are made by [`enter`], at
/// the same time as the host side goes on with its own work. Cgroup must be
/// one of the rest: at clone3 it would be rooted at the parent's cgroup.
/// User must be of these: the others are to be its own.
pub const BY_CLONE: [NamespaceKind; 3] = [NamespaceKind::User, NamespaceKind::Pid, NamespaceKind::Mount];

/// Is a namespace that is joined entered before the process is born that will
/// live in it? The user namespace, which is to own the others; and before a new
/// one, all, for in there it has no right to join what the host owns.
pub fn before_birth(namespaces: &Namespaces, kind: NamespaceKind) -> bool {
    kind == NamespaceKind::User || kind != NamespaceKind::Pid && namespaces.is_new(NamespaceKind::User)
}

/// Joins those given by path, makes the new ones, sets hostname and domainname, brings loopback up.
///
/// # Errors
/// Names the namespace and its field.
pub fn enter(plan: &Plan, join_fds: &[(usize, NamespaceKind, OwnedFd)], common: &Common) -> Result<()> {
    for (index, kind, fd) in join_fds {
        if *kind != NamespaceKind::Pid && !before_birth(&plan.namespaces, *kind) {
            join(fd, kind.clone_flag())
                .step(format!("cannot join the {} namespace", kind.spec_name()))
                .map_err(|e| e.in_field(format!("linux.namespaces[{index}].path")))?;
        }
    }
    let mut new = plan.namespaces.new;
    for kind in BY_CLONE {
        new &= !kind.clone_flag();
    }
    let with_offsets = plan.namespaces.is_new(NamespaceKind::Time);
    if with_offsets {
        new &= !NamespaceKind::Time.clone_flag();
        enter_time(plan, common)?;
    }
    if new != 0 {
        unshare(new).step("cannot make the namespaces")?;
    }
    if plan.namespaces.is_new(NamespaceKind::Network) {
        net::loopback_up().step("cannot bring the loopback interface up")?;
    }
    set_names(plan)
}

/// Is this process in a cgroup namespace other than the initial one? One that
/// was joined may be that.
///
/// # Errors
/// The errno of openat2(2) or fstat(2).
pub fn own_cgroups(plan: &Plan, proc: &Procfs) -> nix::Result<bool> {
    /// The same on every machine (`PROC_CGROUP_INIT_INO` in linux/proc_ns.h).
    const INITIAL: u64 = 0xEFFF_FFFB;
    if !plan.namespaces.is_joined(NamespaceKind::Cgroup) {
        return Ok(plan.namespaces.is_new(NamespaceKind::Cgroup));
    }
    let fd = proc.magic_link(c"self/ns", c"cgroup", OFlag::O_RDONLY)?;
    Ok(nix::sys::stat::fstat(&fd)?.st_ino != INITIAL)
}

/// A new time namespace takes its offsets before the first process enters it,
/// so it is made for children, set up, and then entered by its fd (time_namespaces(7)).
fn enter_time(plan: &Plan, common: &Common) -> Result<()> {
    let proc = &common.procfs;
    unshare(NamespaceKind::Time.clone_flag()).step("cannot make the time namespace")?;
    // Our own file under /proc is the machine's root's, because we hide.
    match plan.namespaces.has(NamespaceKind::User) {
        _ if plan.time_offsets.is_empty() => {}
        true if common.rootless && plan.namespaces.is_new(NamespaceKind::User) => {
            // Nobody else is in this user namespace.
            let _visible = Visible::now().step("cannot set the time offset")?;
            set_time_offsets(&plan.time_offsets, proc, 0)?;
        }
        true => common.channel.ask(&Message::SetTimeOffsets)?,
        false => set_time_offsets(&plan.time_offsets, proc, 0)?,
    }
    let fd = proc
        .magic_link(c"self/ns", c"time_for_children", OFlag::O_RDONLY)
        .step("cannot open the new time namespace")?;
    join(fd, NamespaceKind::Time.clone_flag()).step("cannot enter the new time namespace")
}

/// Sets the offsets of the time namespace that a process, 0 for this one, has made for its children.
///
/// # Errors
/// Names the field and the errno.
pub fn set_time_offsets(offsets: &[TimeOffset], proc: &Procfs, pid: i32) -> Result<()> {
    let file = of_process(pid, "timens_offsets")?;
    for TimeOffset { clock, secs, nanos } in offsets {
        proc.write(&file, format!("{clock} {secs} {nanos}").as_bytes())
            .step("cannot set the time offset")
            .map_err(|e| e.in_field(format!("linux.timeOffsets.{clock}")))?;
    }
    Ok(())
}

fn set_names(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).step("cannot set the host name").map_err(|e| e.in_field("hostname"))?;
    }
    if let Some(name) = &plan.domainname {
        crate::sys::process::set_domainname(name)
            .map_err(|e| Error::sys("cannot set the domain name", e).in_field("domainname"))?;
    }
    Ok(())
}
