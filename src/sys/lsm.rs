//! The kernel's security modules, as files: `/proc/PID/attr` through the
//! checked handle on procfs, and selinuxfs on the host.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{SELINUX_MAGIC, fstatfs, statfs};

use super::fd::{read_all, write_all};
use super::procfs::Procfs;

/// Where selinuxfs is mounted, on every machine that has it.
const SELINUXFS: &CStr = c"/sys/fs/selinux";

/// Is AppArmor compiled in and switched on?
pub fn apparmor_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// Opens AppArmor's file of that name (`exec`, `current`) for this process.
/// In its own directory, since the plain one is the first module's, which need
/// not be AppArmor; before Linux 5.8 there is only the plain one.
///
/// # Errors
/// The errno of openat2(2).
pub fn apparmor_attr(proc: &Procfs, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = |dir: &str| CString::new(format!("self/{dir}/{name}")).map_err(|_| Errno::EINVAL);
    match proc.file(&path("attr/apparmor")?, flags) {
        Err(Errno::ENOENT) => proc.file(&path("attr")?, flags),
        other => other,
    }
}

/// What AppArmor confines this process with; `None` if it is unconfined.
///
/// # Errors
/// The errno of reading it.
pub fn apparmor_confinement(proc: &Procfs) -> nix::Result<Option<String>> {
    let text = attr_text(apparmor_attr(proc, "current", OFlag::O_RDONLY)?)?;
    // A profile in the mode "unconfined" only has a name, and forbids nothing.
    let free = text == "unconfined" || text.ends_with(" (unconfined)");
    Ok((!free).then_some(text))
}

/// Asks AppArmor whether a profile is loaded, without changing anything.
///
/// # Errors
/// `ENOENT` if it is not, another errno if this process may not change to it.
pub fn apparmor_try(proc: &Procfs, profile: &str) -> nix::Result<()> {
    write_all(apparmor_attr(proc, "current", OFlag::O_WRONLY)?, format!("permprofile {profile}").as_bytes())
}

/// Is SELinux there, with a policy? Without one every label is the kernel's own.
pub fn selinux_enabled(proc: &Procfs) -> bool {
    let mounted = statfs(SELINUXFS).is_ok_and(|s| s.filesystem_type() == SELINUX_MAGIC);
    let label = || attr_text(proc.file(c"self/attr/current", OFlag::O_RDONLY).ok()?).ok();
    mounted && label().is_some_and(|label| label != "kernel")
}

/// A label as SELinux itself writes it (`s0:c2,c1` becomes `s0:c1,c2`).
///
/// # Errors
/// `EINVAL` if the policy does not know such a label; `EACCES` if we may not ask.
pub fn selinux_canonical(label: &str) -> nix::Result<String> {
    let path = [SELINUXFS.to_bytes(), b"/context"].concat();
    let fd = open(path.as_slice(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstatfs(&fd)?.filesystem_type() != SELINUX_MAGIC {
        return Err(Errno::ENODEV);
    }
    write_all(&fd, label.as_bytes())?;
    attr_text(fd)
}

/// The text of such a file, without the NUL or newline at its end.
///
/// # Errors
/// The errno of read(2).
pub fn attr_text(fd: OwnedFd) -> nix::Result<String> {
    let text = read_all(fd)?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches(['\0', '\n']).to_owned())
}
