//! AppArmor profile and SELinux label of the program, set for its execve.

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::spec::plan::Process;
use crate::sys::procfs::Procfs;

/// Sets what the process asks for. The host side has checked that the kernel has the module.
///
/// # Errors
/// Names the field and the file written; `no such file or directory` there
/// means that the profile is not loaded.
pub fn set(process: &Process, proc: &Procfs) -> Result<()> {
    if let Some(profile) = process.apparmor_profile.as_deref().filter(|p| *p != "unconfined") {
        let command = format!("exec {profile}");
        // The module's own directory first: attr/exec is the first module's (Linux 5.8).
        let written = match proc.write(c"self/attr/apparmor/exec", command.as_bytes()) {
            Err(Errno::ENOENT) => proc.write(c"self/attr/exec", command.as_bytes()),
            other => other,
        };
        written.map_err(|e| refused("apparmor profile", "process.apparmorProfile", e))?;
    }
    if let Some(label) = &process.selinux_label {
        proc.write(c"self/attr/exec", label.as_bytes())
            .map_err(|e| refused("selinux label", "process.selinuxLabel", e))?;
    }
    Ok(())
}

fn refused(what: &str, field: &str, errno: Errno) -> Error {
    Error::sys(format!("cannot set the {what}"), errno).in_field(field).path("/proc/self/attr/exec")
}
