//! The root filesystem: its propagation, becoming `/`, and its last touches.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{OFlag, open, openat};
use nix::mount::MntFlags;
use nix::sys::stat::Mode;

use super::sources::Sources;
use crate::error::{Error, Result, Step};
use crate::spec::plan::{NamespaceKind, Plan};
use crate::sys::mount;
use crate::sys::path::Root;

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Makes the rootfs a mount of its own, cut off from the host's propagation,
/// and gives back a handle on it. Without a mount namespace the host's mounts
/// stay as they are: the handle is a detached tree, or, if nothing is to be
/// mounted, the plain directory.
///
/// # Errors
/// Names the step and the rootfs.
pub fn prepare(plan: &Plan, sources: Option<&Sources>) -> Result<Root> {
    let step = "cannot open the rootfs";
    let path = CString::new(plan.rootfs.as_os_str().as_bytes()).map_err(|_| Error::new(step).message("NUL byte"))?;
    if !plan.namespaces.has(NamespaceKind::Mount) {
        let fd = open(path.as_c_str(), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()).step_at(step, &plan.rootfs)?;
        return Ok(Root::new(if mounts_anything(plan) { apart(&fd)? } else { fd }));
    }
    if plan.namespaces.is_new(NamespaceKind::Mount) {
        cut_off(plan)?;
    }
    if let Some(rootfs) = sources.and_then(|s| s.rootfs.as_ref()) {
        return given(plan, rootfs);
    }
    let fd = open(path.as_c_str(), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()).step_at(step, &plan.rootfs)?;
    if plan.root_propagation.is_none_or(|p| p.kind != libc::MS_SLAVE) {
        // The clone would be a peer of a shared mount, and what the container
        // mounts would appear on the host.
        let on = containing_mount(fd.as_fd()).step_at("cannot find the rootfs's mount", &plan.rootfs)?;
        let step = "cannot make the rootfs's mount private";
        mount::set_attr(&on, 0, 0, libc::MS_PRIVATE, false).step_at(step, &plan.rootfs)?;
    }
    let tree = mount::clone_tree(&fd, true).step_at("cannot clone the rootfs", &plan.rootfs)?;
    mount::attach(&tree, &fd).step_at("cannot attach the rootfs", &plan.rootfs)?;
    Ok(Root::new(tree))
}

/// A rootfs that the host side has cloned: it goes where it came from, or, if
/// no way leads there for us, over the root directory.
fn given(plan: &Plan, rootfs: &OwnedFd) -> Result<Root> {
    let step = "cannot attach the rootfs";
    let place = open(&plan.rootfs, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())
        .or_else(|_| open(c"/", DIRECTORY, Mode::empty()))
        .step_at(step, &plan.rootfs)?;
    mount::attach(rootfs, &place).step_at(step, &plan.rootfs)?;
    rootfs.try_clone().map(Root::new).step(step)
}

/// Does the config want any mount made or changed?
fn mounts_anything(plan: &Plan) -> bool {
    let lists_empty = plan.mounts.is_empty() && plan.masked_paths.is_empty() && plan.readonly_paths.is_empty();
    plan.root_readonly || !lists_empty
}

/// The rootfs as a tree of mounts that is in no namespace: what is mounted in
/// it is seen by the container, which has its root there, and by nobody else.
/// It lasts as long as the last process that has its root in it.
fn apart(rootfs: &OwnedFd) -> Result<OwnedFd> {
    let step = "cannot clone the rootfs";
    let clone = || {
        let tree = mount::clone_tree(rootfs, true).step(step)?;
        // Or what is mounted on it would appear on the mount it is a clone of.
        mount::set_attr(&tree, 0, 0, libc::MS_PRIVATE, true).step(step).map(|()| tree)
    };
    let probe = mount::attach(clone()?, clone()?);
    probe
        .step("cannot mount in a rootfs outside of any mount namespace")
        .map_err(|e| e.in_field("linux.namespaces").hint("without a mount namespace, mounts need linux 6.15"))?;
    clone()
}

/// Sets the propagation of the whole tree as the config wants it seen while the
/// container's mounts are made: slave of the host unless it says otherwise.
fn cut_off(plan: &Plan) -> Result<()> {
    let kind = plan.root_propagation.map_or(libc::MS_SLAVE, |p| match p.kind {
        // Made unbindable now, the rootfs could not be cloned.
        libc::MS_UNBINDABLE => libc::MS_SLAVE,
        kind => kind,
    });
    let slash = open(c"/", DIRECTORY, Mode::empty()).step_at("cannot open", "/")?;
    mount::set_attr(&slash, 0, 0, kind, true)
        .step("cannot set the propagation of the host's mounts")
        .map_err(|e| e.in_field("linux.rootfsPropagation"))
}

/// The root of the mount that holds a directory.
fn containing_mount(dir: std::os::fd::BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let mut at = openat(dir, c".", DIRECTORY, Mode::empty())?;
    while !mount::mount_identity(&at)?.1 {
        at = openat(&at, c"..", DIRECTORY, Mode::empty())?;
    }
    Ok(at)
}

/// The root this process has already (exec joins the container's).
///
/// # Errors
/// The errno of open(2).
pub fn current() -> Result<Root> {
    open(c"/", DIRECTORY, Mode::empty()).map(Root::new).step_at("cannot open", "/")
}

/// Makes the rootfs the root directory of this process, and of its mount
/// namespace if it has one of its own.
///
/// # Errors
/// Names the step.
pub fn enter(plan: &Plan, root: &Root, no_pivot: bool) -> Result<()> {
    nix::unistd::fchdir(root).step("cannot change to the rootfs")?;
    if !plan.namespaces.has(NamespaceKind::Mount) {
        return chroot_here();
    }
    if no_pivot {
        return move_to_slash(root);
    }
    let old = open(c"/", DIRECTORY, Mode::empty()).step_at("cannot open", "/")?;
    mount::pivot_here().step("cannot pivot to the rootfs").map_err(|e| {
        if e.raw_errno() == Some(libc::EINVAL) { e.hint("on an initramfs root use --no-pivot") } else { e }
    })?;
    // The old root now lies on top of the new one, at the working directory:
    // which of the two "." is depends on the call, so it is named by its fd.
    nix::unistd::fchdir(&old).step("cannot change to the old root")?;
    let shared = plan.root_propagation.is_some_and(|p| p.kind == libc::MS_SHARED);
    if shared {
        // Unmounting it must not reach the host, of which it is still a peer.
        mount::set_attr(&old, 0, 0, libc::MS_SLAVE, true).step("cannot cut off the old root")?;
    }
    nix::mount::umount2(".", MntFlags::MNT_DETACH).step("cannot unmount the old root")?;
    nix::unistd::chdir("/").step("cannot change to the new root")
}

/// `--no-pivot`: the rootfs is moved over `/`. The host's mounts stay below it,
/// so this is weaker than pivot_root and only for roots that cannot be pivoted.
fn move_to_slash(root: &Root) -> Result<()> {
    let slash = open(c"/", DIRECTORY, Mode::empty()).step_at("cannot open", "/")?;
    mount::attach(root, &slash).step("cannot move the rootfs to /")?;
    chroot_here()
}

/// Makes a directory the root of this process.
///
/// # Errors
/// The errno of fchdir(2) or chroot(2).
pub fn chroot_to(root: &OwnedFd) -> Result<()> {
    nix::unistd::fchdir(root).step("cannot change to the container's root")?;
    chroot_here()
}

fn chroot_here() -> Result<()> {
    nix::unistd::chroot(".").step("cannot change the root directory")?;
    nix::unistd::chdir("/").step("cannot change to the new root")
}

/// What comes last: the propagation the container is to have, and read-only.
///
/// # Errors
/// Names the field.
pub fn finish(plan: &Plan, root: &Root) -> Result<()> {
    if let (Some(propagation), true) = (plan.root_propagation, plan.namespaces.has(NamespaceKind::Mount)) {
        mount::set_attr(root, 0, 0, propagation.kind, propagation.recursive)
            .step("cannot set the propagation of /")
            .map_err(|e| e.in_field("linux.rootfsPropagation"))?;
    }
    if plan.root_readonly {
        mount::set_attr(root, libc::MOUNT_ATTR_RDONLY, 0, 0, false)
            .step("cannot make / read-only")
            .map_err(|e| e.in_field("root.readonly"))?;
    }
    Ok(())
}
