//! `maskedPaths` and `readonlyPaths`, each through the fd it was resolved to once.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};

use crate::error::{Error, Result, Step};
use crate::spec::plan::Plan;
use crate::sys::mount::{self, FsContext};
use crate::sys::path::{Root, is_type};

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const INERT: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// Hides and write-protects paths. What does not exist is skipped; what exists
/// and cannot be covered is an error.
///
/// # Errors
/// Names the field and the path.
pub fn apply(plan: &Plan, root: &Root) -> Result<()> {
    for (i, path) in plan.readonly_paths.iter().enumerate() {
        make_read_only(root, path).map_err(|e| e.in_field(format!("linux.readonlyPaths[{i}]")).path(path))?;
    }
    let mut covers = Covers { label: plan.mount_label.as_deref(), ..Covers::default() };
    for (i, path) in plan.masked_paths.iter().enumerate() {
        covers.hide(root, path).map_err(|e| e.in_field(format!("linux.maskedPaths[{i}]")).path(path))?;
    }
    Ok(())
}

/// The clone is taken from, and attached to, one and the same fd, so a rename
/// in between changes nothing (GHSA-3q8j-pf29-vwv8).
fn make_read_only(root: &Root, path: &str) -> Result<()> {
    let Some(fd) = find(root, path)? else { return Ok(()) };
    let tree = mount::clone_tree(&fd, true).step("cannot bind the read-only path")?;
    mount::set_attr(&tree, READ_ONLY, 0, 0, false).step("cannot make the path read-only")?;
    mount::attach(&tree, &fd).step("cannot cover the read-only path")
}

fn find(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.find(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(e) => Err(Error::sys("cannot open the path", e)),
    }
}

/// What masked paths are covered with: one empty read-only tmpfs for all
/// directories, the host's `/dev/null` for all else. Hundreds of masked paths
/// are common, so each is made once, for the first path, and cloned from there
/// (a mount that is attached nowhere cannot be cloned before Linux 6.15).
#[derive(Default)]
struct Covers<'a> {
    /// `mountLabel`: without it the program could not even see that they are empty.
    label: Option<&'a str>,
    directory: Option<OwnedFd>,
    file: Option<OwnedFd>,
}

impl Covers<'_> {
    fn hide(&mut self, root: &Root, path: &str) -> Result<()> {
        let Some(fd) = find(root, path)? else { return Ok(()) };
        let is_dir = is_type(&fstat(&fd).step("cannot stat the masked path")?, SFlag::S_IFDIR);
        let slot = if is_dir { &mut self.directory } else { &mut self.file };
        let tree = match slot {
            Some(first) => mount::clone_tree(first, false).step("cannot clone the mask")?,
            None if is_dir => empty_directory(self.label)?,
            None => null_device()?,
        };
        mount::attach(&tree, &fd).step("cannot mask the path")?;
        slot.get_or_insert(tree);
        Ok(())
    }
}

fn empty_directory(label: Option<&str>) -> Result<OwnedFd> {
    let step = "cannot make the tmpfs for masks";
    let context = FsContext::open(c"tmpfs").step(step)?;
    for (key, value) in [(c"mode", c"0755"), (c"nr_inodes", c"1")] {
        context.set(key, Some(value)).step(step)?;
    }
    if let Some(label) = label {
        let label = CString::new(label).map_err(|_| Error::new(step).message("NUL byte in the label"))?;
        context.set(c"context", Some(&label)).step(step).map_err(|e| e.in_field("linux.mountLabel"))?;
    }
    context.mount(INERT).step(step)
}

/// The host's null device, checked to be it. Never the container's, which the
/// image may have replaced (CVE-2025-31133); read-only, so that its mode and
/// owner cannot be changed through the mask.
fn null_device() -> Result<OwnedFd> {
    let step = "cannot open the null device for masks";
    let fd = open(c"/dev/null", OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
        .step_at(step, "/dev/null")?;
    let stat = fstat(&fd).step(step)?;
    if !is_type(&stat, SFlag::S_IFCHR) || (major(stat.st_rdev), minor(stat.st_rdev)) != (1, 3) {
        return Err(Error::new(step).path("/dev/null").message("not the device c 1:3"));
    }
    let tree = mount::clone_tree(&fd, false).step(step)?;
    mount::set_attr(&tree, READ_ONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC, 0, 0, false).step(step)?;
    Ok(tree)
}
