//! `linux.sysctl`, through the checked procfs handle.

use std::ffi::CString;

use crate::error::{Error, Result, Step};
use crate::spec::plan::Sysctl;
use crate::sys::procfs::Procfs;

/// Writes every sysctl. The host's procfs shows the writer's own network, ipc
/// and uts values, so the namespaces must have been entered.
///
/// # Errors
/// Names the key and its file.
pub fn write(sysctls: &[Sysctl], proc: &Procfs) -> Result<()> {
    for Sysctl { key, path, value } in sysctls {
        let field = || format!("linux.sysctl[{key:?}]");
        let file = CString::new(format!("sys/{path}")).map_err(|_| Error::field(field(), "contains a NUL byte"))?;
        proc.write(&file, value.as_bytes())
            .step_at("cannot set sysctl", format!("/proc/sys/{path}"))
            .map_err(|e| e.in_field(field()))?;
    }
    Ok(())
}
