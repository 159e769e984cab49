//! What of the host's only the host side can prepare, before init is on its own.
//!
//! Root of a user namespace is nobody special on the host, and may not be let
//! through the directories that lead to the rootfs or to what is bound. And
//! only who owns a filesystem may show it with other owners.
//!
//! A user without privileges has no rights of that kind: there init does it,
//! in a mount namespace of its own and still as that user.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sys::statfs::fstatfs;

use super::userns;
use crate::error::{Error, Result, Step};
use crate::spec::plan::{IdMount, MountKind, NamespaceKind, Plan};
use crate::sys::mount;
use crate::sys::procfs::Procfs;

/// Detached clones of mounts of the host's.
#[derive(Debug)]
pub struct Sources {
    /// The rootfs, with all that is mounted in it, where there is a user namespace.
    pub rootfs: Option<OwnedFd>,
    /// By index in the plan's mounts: the source of a bind mount.
    pub binds: Vec<Option<OwnedFd>>,
}

impl Sources {
    /// Clones what the plan needs; `None` if it needs nothing of it. Nothing of
    /// this is anywhere a path leads to, and closing it undoes it.
    ///
    /// # Errors
    /// Names the field, the path and the errno.
    pub fn open(plan: &Plan, proc: &Procfs) -> Result<Option<Self>> {
        let apart = plan.namespaces.has(NamespaceKind::User) && plan.namespaces.is_new(NamespaceKind::Mount);
        if !apart && plan.mounts.iter().all(|m| m.id_map.is_none()) {
            return Ok(None);
        }
        let rootfs = if apart { Some(rootfs(plan)?) } else { None };
        let binds = plan.mounts.iter().map(|m| match &m.kind {
            MountKind::Bind { source, recursive } if apart || m.id_map.is_some() => {
                if m.copy_symlink && readlink(source).is_ok() {
                    return Ok(None);
                }
                let made = clone(plan, source.as_os_str().as_bytes(), *recursive, !m.src_nofollow);
                made.map(Some).map_err(|e| e.in_field(format!("mounts[{}].source", m.index)).path(source))
            }
            _ => Ok(None),
        });
        let made = Self { rootfs, binds: binds.collect::<Result<_>>()? };
        made.map_ids(plan, |id_map| match &id_map.maps {
            Some(maps) => userns::with_maps(maps, proc).map(Some),
            None => Ok(None),
        })?;
        Ok(Some(made))
    }

    /// Shows the owners as the container's own user namespace has them, where
    /// that is what its mounts ask for: not before there is one.
    ///
    /// # Errors
    /// Names the field, the filesystem and the errno.
    pub fn map_as_container(&self, plan: &Plan, userns: &OwnedFd) -> Result<()> {
        self.map_ids(plan, |id_map| match id_map.maps {
            Some(_) => Ok(None),
            None => userns.try_clone().map(Some).step("cannot keep the user namespace"),
        })
    }

    fn map_ids(&self, plan: &Plan, userns: impl Fn(&IdMount) -> Result<Option<OwnedFd>>) -> Result<()> {
        for (m, bind) in plan.mounts.iter().zip(&self.binds) {
            let (Some(id_map), Some(bind)) = (&m.id_map, bind) else { continue };
            let Some(userns) = userns(id_map).map_err(|e| e.in_field(format!("mounts[{}]", m.index)))? else {
                continue;
            };
            mount::set_id_map(bind, &userns, id_map.recursive).map_err(|e| {
                let error = Error::sys("cannot map the ids of the mount", e).in_field(format!("mounts[{}]", m.index));
                let error = error.path(&m.destination);
                match (e, filesystem(bind)) {
                    (Errno::EINVAL, Some(name)) => error.hint(format!("{name} has no id-mapped mounts in this kernel")),
                    (Errno::EPERM, Some(name)) => {
                        error.hint(format!("it may be mapped already, or {name} not be ours"))
                    }
                    _ => error,
                }
            })?;
        }
        Ok(())
    }
}

/// The name of the filesystem a mount is of, as far as its number has one.
fn filesystem(mount: &OwnedFd) -> Option<String> {
    let magic = fstatfs(mount).ok()?.filesystem_type().0 as u64;
    let known = [
        (0xef53, "ext4"),
        (0x0102_1994, "tmpfs"),
        (0x9fa0, "proc"),
        (0x6265_6572, "sysfs"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
        (0x794c_7630, "overlayfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x1cd1, "devpts"),
        (0x6367_7270, "cgroup2"),
        (0x858_458f6, "ramfs"),
        (0x0102_1997, "9p"),
    ];
    let name = known.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_owned());
    name.or_else(|| Some(format!("the filesystem {magic:#x}")))
}

fn rootfs(plan: &Plan) -> Result<OwnedFd> {
    let tree = clone(plan, plan.rootfs.as_os_str().as_bytes(), true, false);
    let tree = tree.map_err(|e| e.in_field("root.path").path(&plan.rootfs))?;
    if plan.root_propagation.is_none_or(|p| p.kind != libc::MS_SLAVE) {
        mount::set_attr(&tree, 0, 0, libc::MS_PRIVATE, false).step("cannot make the rootfs's mount private")?;
    }
    Ok(tree)
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
