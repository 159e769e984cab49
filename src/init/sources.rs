//! What a container with a user namespace is made of, opened before it is
//! entered: its root there is nobody special on the host, and may not be let
//! through the directories that lead to the rootfs or to what is bound.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result, Step};
use crate::spec::plan::{MountKind, NamespaceKind, Plan};
use crate::sys::mount;

/// Detached clones of mounts of the host's.
#[derive(Debug)]
pub struct Sources {
    /// The rootfs, with all that is mounted in it.
    pub rootfs: OwnedFd,
    /// By index in the plan's mounts: the source of a bind mount.
    pub binds: Vec<Option<OwnedFd>>,
}

impl Sources {
    /// Clones what the plan needs; `None` without a user namespace. Nothing of
    /// it is anywhere a path leads to, and closing it undoes it.
    ///
    /// # Errors
    /// Names the field, the path and the errno.
    pub fn open(plan: &Plan) -> Result<Option<Self>> {
        if !plan.namespaces.is_new(NamespaceKind::User) || !plan.namespaces.is_new(NamespaceKind::Mount) {
            return Ok(None);
        }
        let rootfs = clone(plan, plan.rootfs.as_os_str().as_bytes(), true, false);
        let rootfs = rootfs.map_err(|e| e.in_field("root.path").path(&plan.rootfs))?;
        if plan.root_propagation.is_none_or(|p| p.kind != libc::MS_SLAVE) {
            mount::set_attr(&rootfs, 0, 0, libc::MS_PRIVATE, false).step("cannot make the rootfs's mount private")?;
        }
        let binds = plan.mounts.iter().map(|m| match &m.kind {
            MountKind::Bind { source, .. } if m.copy_symlink && source.is_symlink() => Ok(None),
            MountKind::Bind { source, recursive } => {
                let made = clone(plan, source.as_os_str().as_bytes(), *recursive, !m.src_nofollow);
                made.map(Some).map_err(|e| e.in_field(format!("mounts[{}].source", m.index)).path(source))
            }
            _ => Ok(None),
        });
        Ok(Some(Self { rootfs, binds: binds.collect::<Result<_>>()? }))
    }
}

/// A clone that gets what is mounted on the host later, and gives nothing back.
fn clone(plan: &Plan, path: &[u8], recursive: bool, follow: bool) -> Result<OwnedFd> {
    let step = "cannot bind";
    let path = CString::new(path).map_err(|_| Error::new(step).message("NUL byte"))?;
    let tree = mount::clone_tree_at(&path, recursive, follow).step(step)?;
    mount::set_attr(&tree, 0, 0, libc::MS_SLAVE, true).step(step)?;
    // A slave that is shared passes on within the container what it gets.
    match plan.root_propagation {
        Some(p) if p.kind == libc::MS_SHARED => mount::set_attr(&tree, 0, 0, libc::MS_SHARED, true).step(step)?,
        Some(p) if p.kind == libc::MS_PRIVATE => mount::set_attr(&tree, 0, 0, libc::MS_PRIVATE, true).step(step)?,
        _ => {}
    }
    Ok(tree)
}
