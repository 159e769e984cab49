//! Scheduling, io priority, affinity, memory policy, personality, limits.

use super::check;

/// sched_setattr(2) on a process, 0 for this one.
///
/// # Errors
/// The errno of sched_setattr(2).
pub fn set_scheduler(pid: i32, mut attr: libc::sched_attr) -> nix::Result<()> {
    attr.size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: the struct carries its size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) }).map(drop)
}

/// ioprio_set(2) on a process, 0 for this one.
///
/// # Errors
/// The errno of ioprio_set(2).
pub fn set_io_priority(pid: i32, priority: i32) -> nix::Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, priority) }).map(drop)
}

/// sched_setaffinity(2) on this process: a CPU mask, lowest CPU first.
///
/// # Errors
/// The errno of sched_setaffinity(2).
pub fn set_affinity(mask: &[u64]) -> nix::Result<()> {
    // SAFETY: pointer and byte length of one slice.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// set_mempolicy(2): `MPOL_*` mode with flags, and a node mask, lowest node first.
///
/// # Errors
/// The errno of set_mempolicy(2).
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> nix::Result<()> {
    // The kernel takes the number of bits plus one, and ignores the last.
    // No node at all is said by a null pointer only: with any other, 0 bits
    // wrap around and are too many.
    let (mask, bits) = if nodes.is_empty() { (std::ptr::null(), 0) } else { (nodes.as_ptr(), nodes.len() * 64 + 1) };
    // SAFETY: the mask is null or has `bits - 1` bits.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// personality(2).
///
/// # Errors
/// The errno of personality(2).
pub fn set_personality(domain: u64) -> nix::Result<()> {
    // SAFETY: a number.
    check(unsafe { libc::syscall(libc::SYS_personality, domain) }).map(drop)
}

/// prlimit(2) on a process, 0 for this one: `RLIMIT_*`, soft, hard.
///
/// # Errors
/// The errno of prlimit(2): `EPERM` for raising a hard limit without `CAP_SYS_RESOURCE`.
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    let value = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let old = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the struct is the kernel's own.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const value, old) }).map(drop)
}
