//! What can be known to fail is found before anything is touched.

use std::path::Path;

use nix::sys::statfs::statfs;

use super::{CreateOptions, Manager};
use crate::cgroup;
use crate::error::{Error, Result};
use crate::seccomp::notify;
use crate::spec::plan::{MountKind, NamespaceKind, Plan, Process};

/// Checks the plan against the host.
///
/// # Errors
/// All that is wrong, each with its field.
pub fn check(plan: &Plan, options: &CreateOptions, manager: Manager) -> Result<()> {
    let mut faults = Vec::new();
    faults.extend(rootfs(&plan.rootfs).err());
    if plan.root_propagation.is_some() && !plan.namespaces.has(NamespaceKind::Mount) {
        let text = "needs a mount namespace, and linux.namespaces has none (the host's mounts are not touched)";
        faults.push(Error::field("linux.rootfsPropagation", text));
    }
    if plan.namespaces.is_joined(NamespaceKind::Mount) && !plan.hooks.create_container.is_empty() {
        // Its path belongs to the runtime, but would be looked up, with all the
        // libraries it needs, among the files of whoever owns that namespace.
        let text = "cannot be run when the mount namespace is joined by path";
        faults.push(Error::field("hooks.createContainer", text));
    }
    if let Some(process) = &plan.process {
        faults.extend(security_modules(process).err());
    }
    if let Some(listener) = plan.seccomp.as_ref().and_then(|filter| filter.setup.listener.as_ref()) {
        faults.extend(notify::check(listener).err());
    }
    if options.no_pivot && plan.root_propagation.is_some_and(|p| p.kind == libc::MS_PRIVATE) {
        faults.push(Error::field("linux.rootfsPropagation", "private needs pivot_root, which --no-pivot forbids"));
    }
    if manager == Manager::Disabled {
        // Device rules are in every config podman writes, also without cgroups.
        let limits = plan.cgroup.settings.iter().filter(|s| !cgroup::is_unlimited(s));
        let fields = limits.map(|s| s.field.as_str());
        faults.extend(fields.map(|field| Error::field(field, "needs a cgroup, and --cgroup-manager is disabled")));
    }
    Error::join("invalid config", faults).map_or(Ok(()), Err)
}

fn rootfs(path: &Path) -> Result<()> {
    let field = |text: &str| Err(Error::field("root.path", text).path(path));
    match std::fs::symlink_metadata(path) {
        Err(e) => Err(Error::sys("", e).in_field("root.path").path(path)),
        Ok(meta) if meta.file_type().is_symlink() => field("must not be a symlink"),
        Ok(meta) if !meta.is_dir() => field("not a directory"),
        Ok(_) => Ok(()),
    }
}

/// A profile or label that the kernel cannot enforce is an error, not a wish
/// (runtime-spec config.md, "Linux Process").
///
/// # Errors
/// Names the field.
pub fn security_modules(process: &Process) -> Result<()> {
    if process.apparmor_profile.as_deref().is_some_and(|p| p != "unconfined") && !apparmor_enabled() {
        return Err(Error::field("process.apparmorProfile", "apparmor is not enabled on this host"));
    }
    if process.selinux_label.is_some() && !selinux_enabled() {
        return Err(Error::field("process.selinuxLabel", "selinux is not enabled on this host"));
    }
    Ok(())
}

/// A mount label says how files are shown to SELinux. On a host without it
/// there is nobody to show them to, and engines send it all the same.
pub fn drop_mount_label(plan: &mut Plan) {
    let Some(label) = plan.mount_label.clone().filter(|_| !selinux_enabled()) else { return };
    for mount in &mut plan.mounts {
        if let MountKind::Fs { data, .. } = &mut mount.kind {
            data.retain(|(_, value)| value.as_deref().is_none_or(|v| v.to_bytes() != label.as_bytes()));
        }
    }
    plan.warnings.push("linux.mountLabel: selinux is not enabled on this host".to_owned());
}

fn apparmor_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

fn selinux_enabled() -> bool {
    statfs("/sys/fs/selinux").is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::SELINUX_MAGIC)
}
