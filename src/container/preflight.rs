//! What can be known to fail is found before anything is touched.

use std::ffi::CString;
use std::path::Path;

use nix::errno::Errno;

use super::{CreateOptions, Manager, rootless};
use crate::error::{Error, Result, Step};
use crate::seccomp::{Filter, notify};
use crate::spec::plan::{Mount, MountKind, NamespaceKind, Plan, Process};
use crate::spec::{self, MOUNT_LABELS};
use crate::sys::procfs::Procfs;
use crate::sys::seccomp::NEW_LISTENER;
use crate::sys::{self, ids, lsm};
use crate::{cgroup, init};

/// Checks the plan against the host.
///
/// # Errors
/// All that is wrong, each with its field.
pub fn check(plan: &mut Plan, options: &CreateOptions, manager: Manager, proc: &Procfs) -> Result<()> {
    let mut faults = Vec::new();
    faults.extend(rootfs(&plan.rootfs).err());
    if rootless::is() {
        faults.extend(rootless::check(plan));
    }
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
    if let Some(process) = &mut plan.process {
        faults.extend(security_modules(process, proc).err());
    }
    if let Some(filter) = &plan.seccomp {
        let own = plan.namespaces.has(NamespaceKind::User);
        faults.extend(seccomp(filter, plan.process.as_ref().filter(|_| !own)).err());
    }
    faults.extend(mount_labels(plan, proc).err());
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
/// (runtime-spec config.md, "Linux Process"). SELinux labels are brought into
/// the form in which the kernel will show them.
///
/// # Errors
/// Names the field.
pub fn security_modules(process: &mut Process, proc: &Procfs) -> Result<()> {
    if let Some(profile) = &process.apparmor_profile {
        if !lsm::apparmor_enabled() {
            if profile != "unconfined" {
                return Err(Error::field("process.apparmorProfile", "apparmor is not enabled on this host"));
            }
            // That is what there is. With AppArmor it is a request like any
            // other: we may be confined ourselves, and the host may have
            // profiles that go by the path of the program.
            process.apparmor_profile = None;
        } else if lsm::apparmor_try(proc, profile) == Err(Errno::ENOENT) {
            return Err(init::lsm::not_loaded(profile));
        }
    }
    if let Some(label) = &process.selinux_label {
        if !lsm::selinux_enabled(proc) {
            return Err(Error::field("process.selinuxLabel", "selinux is not enabled on this host"));
        }
        process.selinux_label = Some(canonical("process.selinuxLabel", label)?);
    }
    Ok(())
}

/// The filter is loaded last of all; that it cannot be is said first.
///
/// # Errors
/// Names the field: this kernel, or whoever confines us, does not let us load
/// it (for `process`, unless a user namespace gives it the right), or no agent
/// listens.
pub fn seccomp(filter: &Filter, process: Option<&Process>) -> Result<()> {
    let refused = |e| init::seccomp::refused("", e).in_field("linux.seccomp").message("a filter cannot be loaded");
    let setup = &filter.setup;
    let flags = setup.flags | if setup.listener.is_some() { NEW_LISTENER } else { 0 };
    sys::seccomp::probe(flags).map_err(refused)?;
    if process.is_some_and(|p| !p.no_new_privileges) {
        let permitted = ids::permitted_caps().step("cannot read our capabilities")?;
        if permitted & init::seccomp::CAP_SYS_ADMIN == 0 {
            return Err(refused(Errno::EACCES));
        }
    }
    setup.listener.as_ref().map_or(Ok(()), notify::check)
}

fn canonical(field: &str, label: &str) -> Result<String> {
    match lsm::selinux_canonical(label) {
        // We may not ask; the kernel will say when it is set.
        Err(Errno::EACCES) => Ok(label.to_owned()),
        Err(Errno::EINVAL) => Err(Error::field(field, format!("the selinux policy has no label {label:?}"))),
        other => other.step("cannot check the selinux label").map_err(|e| e.in_field(field)),
    }
}

/// A mount label says how files are shown to SELinux. On a host without it
/// there is nobody to show them to, and engines send it all the same. Options
/// of single mounts are another thing: nobody writes them by default.
///
/// # Errors
/// `context=` and its like without SELinux, or a label the policy does not have.
pub fn mount_labels(plan: &mut Plan, proc: &Procfs) -> Result<()> {
    if plan.mount_label.is_none() && !plan.mounts.iter().any(|m| labels_of(m).next().is_some()) {
        return Ok(());
    }
    let selinux = lsm::selinux_enabled(proc);
    if let Some(label) = &plan.mount_label
        && selinux
    {
        canonical("linux.mountLabel", label)?;
    }
    if let Some(label) = plan.mount_label.take_if(|_| !selinux) {
        for mount in &mut plan.mounts {
            if let MountKind::Fs { data, .. } = &mut mount.kind {
                data.retain(|(key, value)| !(is_label(key) && is(value, &label)));
            }
        }
        plan.warnings.push("linux.mountLabel: selinux is not enabled on this host".to_owned());
    }
    plan.mounts.iter().try_for_each(|m| labels_of(m).try_for_each(|option| own_label(plan, m, option, selinux)))
}

/// Looks at one label that a mount has, be it its own or the container's.
fn own_label(plan: &Plan, m: &Mount, (key, value): &(CString, Option<CString>), selinux: bool) -> Result<()> {
    let (field, option) = (format!("mounts[{}].options", m.index), format!("{}=", key.to_string_lossy()));
    if !selinux {
        return Err(Error::field(field, format!("{option}: selinux is not enabled on this host")));
    }
    if plan.mount_label.as_deref().is_some_and(|label| is(value, label)) {
        return Ok(());
    }
    let label = value.as_deref().unwrap_or_default().to_string_lossy();
    canonical(&field, &label).map(drop).map_err(|e| e.during(&option))
}

fn is(value: &Option<CString>, label: &str) -> bool {
    value.as_deref().is_some_and(|v| v.to_bytes() == label.as_bytes())
}

/// The options of a mount that are SELinux labels.
fn labels_of(mount: &Mount) -> impl Iterator<Item = &(CString, Option<CString>)> {
    let data = match &mount.kind {
        MountKind::Fs { data, .. } => data.as_slice(),
        _ => &[],
    };
    data.iter().filter(|(key, _)| is_label(key))
}

fn is_label(key: &CString) -> bool {
    MOUNT_LABELS.iter().any(|label| label.as_bytes() == key.as_bytes())
}

/// Capabilities that the kernel has and we do not hold, so that nobody gets
/// them from us: warnings, as the specification wants (config.md, "Linux
/// Process"): such a host is restricted on purpose, and the container gets less
/// than it asked for, never more.
pub fn missing_capabilities(process: &Process) -> Vec<String> {
    let (Some(caps), Ok(held)) = (process.capabilities, ids::permitted_caps()) else { return Vec::new() };
    let bounded = |n: &u32| caps.bounding >> n & 1 == 1 && ids::bounding_has(*n) == Ok(true);
    let bounding = (0..u64::BITS).filter(bounded).fold(0, |mask, n| mask | 1u64 << n);
    let sets = [
        ("bounding", caps.bounding, bounding),
        ("effective", caps.effective, held),
        ("permitted", caps.permitted, held),
        ("inheritable", caps.inheritable, held),
        // Raised one by one, and only what is permitted and inheritable (capabilities(7)).
        ("ambient", caps.ambient, held & caps.permitted & caps.inheritable),
    ];
    let missing = sets.iter().filter(|(_, asked, granted)| asked & !granted != 0);
    let text = |(set, asked, granted): &(&str, u64, u64)| {
        format!("process.capabilities.{set}: cannot be granted: {}", spec::capability_names(asked & !granted))
    };
    missing.map(text).collect()
}
