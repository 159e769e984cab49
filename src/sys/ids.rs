//! Users, groups, capabilities: credentials(7) by raw system calls.
//!
//! Raw, because the C library's wrappers signal every thread it knows of;
//! init has one thread and was made by a raw clone3(2).

use nix::errno::Errno;

use super::check;

const CAP_VERSION_3: u32 = 0x2008_0522;
const PR_CAP_AMBIENT: i32 = 47;

/// setgroups(2).
///
/// # Errors
/// The errno of setgroups(2).
pub fn set_groups(gids: &[u32]) -> nix::Result<()> {
    // SAFETY: pointer and length of one slice.
    check(unsafe { libc::syscall(libc::SYS_setgroups, gids.len(), gids.as_ptr()) }).map(drop)
}

/// setresgid(2); `None` leaves an id alone.
///
/// # Errors
/// The errno of setresgid(2).
pub fn set_gids(real: Option<u32>, effective: Option<u32>, saved: Option<u32>) -> nix::Result<()> {
    set_ids(libc::SYS_setresgid, real, effective, saved)
}

/// Saved user and group id (getresuid(2), getresgid(2)).
///
/// # Errors
/// The errno of the calls.
pub fn saved() -> nix::Result<(u32, u32)> {
    let (uid, gid) = (nix::unistd::getresuid()?, nix::unistd::getresgid()?);
    Ok((uid.saved.as_raw(), gid.saved.as_raw()))
}

/// setresuid(2); `None` leaves an id alone.
///
/// # Errors
/// The errno of setresuid(2).
pub fn set_uids(real: Option<u32>, effective: Option<u32>, saved: Option<u32>) -> nix::Result<()> {
    set_ids(libc::SYS_setresuid, real, effective, saved)
}

fn set_ids(call: libc::c_long, real: Option<u32>, effective: Option<u32>, saved: Option<u32>) -> nix::Result<()> {
    let id = |id: Option<u32>| id.unwrap_or(u32::MAX);
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(call, id(real), id(effective), id(saved)) }).map(drop)
}

/// Sets effective, permitted and inheritable together (capset(2)).
///
/// # Errors
/// The errno of capset(2): `EPERM` for what the process does not hold.
pub fn set_caps(effective: u64, permitted: u64, inheritable: u64) -> nix::Result<()> {
    let header: [u32; 2] = [CAP_VERSION_3, 0];
    let word = |set: u64, half: u32| (set >> (32 * half)) as u32;
    let data: [u32; 6] = [
        word(effective, 0),
        word(permitted, 0),
        word(inheritable, 0),
        word(effective, 1),
        word(permitted, 1),
        word(inheritable, 1),
    ];
    // SAFETY: the arrays have the layout of cap_user_header_t and two cap_user_data_t.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// Effective, permitted and inheritable of this process (capget(2)).
///
/// # Errors
/// The errno of capget(2).
pub fn get_caps() -> nix::Result<(u64, u64, u64)> {
    let header: [u32; 2] = [CAP_VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: as in set_caps, the kernel fills in data.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) })?;
    let [e0, p0, i0, e1, p1, i1] = data.map(u64::from);
    Ok((e0 | e1 << 32, p0 | p1 << 32, i0 | i1 << 32))
}

/// The permitted set of this process (capget(2)).
///
/// # Errors
/// The errno of capget(2).
pub fn permitted_caps() -> nix::Result<u64> {
    get_caps().map(|(_, permitted, _)| permitted)
}

/// Is the capability in the bounding set? `EINVAL` when the kernel does not know it.
///
/// # Errors
/// The errno of prctl(2).
pub fn bounding_has(cap: u32) -> nix::Result<bool> {
    prctl(libc::PR_CAPBSET_READ, u64::from(cap), 0).map(|v| v == 1)
}

/// Drops one capability from the bounding set.
///
/// # Errors
/// The errno of prctl(2): `EPERM` without `CAP_SETPCAP`.
pub fn bounding_drop(cap: u32) -> nix::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, u64::from(cap), 0).map(drop)
}

/// Empties the ambient set.
///
/// # Errors
/// The errno of prctl(2).
pub fn ambient_clear() -> nix::Result<()> {
    prctl(PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0).map(drop)
}

/// Raises one capability in the ambient set.
///
/// # Errors
/// The errno of prctl(2): `EPERM` unless it is permitted and inheritable.
pub fn ambient_raise(cap: u32) -> nix::Result<()> {
    prctl(PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, u64::from(cap)).map(drop)
}

/// Keeps the permitted set over a change of user ids (`PR_SET_KEEPCAPS`).
///
/// # Errors
/// The errno of prctl(2).
pub fn keep_caps(on: bool) -> nix::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, on.into(), 0).map(drop)
}

/// `PR_SET_NO_NEW_PRIVS`.
///
/// # Errors
/// The errno of prctl(2).
pub fn no_new_privs() -> nix::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// `PR_SET_DUMPABLE`: off keeps others from tracing us and reading our fds (CVE-2016-9962).
///
/// # Errors
/// The errno of prctl(2).
pub fn set_dumpable(on: bool) -> nix::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, on.into(), 0).map(drop)
}

/// Are we without rights over the machine: a user, or root of a user namespace?
/// The initial one maps all ids onto themselves. Without /proc there is no user
/// namespace we could know of.
pub fn is_users() -> bool {
    let map = || std::fs::read_to_string("/proc/self/uid_map");
    !nix::unistd::geteuid().is_root()
        || map().is_ok_and(|map| !map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// This process does not hide until this is dropped. A process that hides has
/// files in /proc that belong to the machine's root (proc(5)), which an
/// unprivileged user cannot even open of its own.
#[derive(Debug)]
pub struct Visible(());

impl Visible {
    /// Shows itself, to the same user's processes.
    ///
    /// # Errors
    /// The errno of prctl(2).
    pub fn now() -> nix::Result<Self> {
        set_dumpable(true).map(|()| Self(()))
    }
}

impl Drop for Visible {
    fn drop(&mut self) {
        let _ = set_dumpable(false);
    }
}

/// `PR_SET_PDEATHSIG`: the signal sent when the parent dies, 0 for none.
///
/// # Errors
/// The errno of prctl(2).
pub fn set_parent_death_signal(signal: i32) -> nix::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, u64::try_from(signal).map_err(|_| Errno::EINVAL)?, 0).map(drop)
}

/// `PR_SET_CHILD_SUBREAPER`.
///
/// # Errors
/// The errno of prctl(2).
pub fn set_subreaper() -> nix::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

fn prctl(option: i32, a: u64, b: u64) -> nix::Result<libc::c_long> {
    // SAFETY: every option used here takes numbers.
    check(unsafe { libc::prctl(option, a, b, 0, 0) }.into())
}

/// keyctl(2) `JOIN_SESSION_KEYRING`: a new session keyring of that name; its serial.
///
/// # Errors
/// The errno of keyctl(2).
pub fn join_session_keyring(name: &std::ffi::CStr) -> nix::Result<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a number and a C string.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr(), 0, 0, 0) };
    check(ret).and_then(|serial| i32::try_from(serial).map_err(|_| Errno::EINVAL))
}

/// Adds a permission to a key's possessor-and-user mask: `KEY_USR_SEARCH`, so
/// that exec can find the session keyring by name.
///
/// # Errors
/// The errno of keyctl(2).
pub fn keyring_let_user_search(serial: i32, permissions: u32) -> nix::Result<()> {
    const KEYCTL_SETPERM: i32 = 5;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, permissions, 0, 0) }).map(drop)
}
