//! Making a cgroup: its levels from the mount point down, and the controllers
//! that each hands on.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};

use super::{Target, fs, is_unlimited};
use crate::error::{Error, Result, Step};
use crate::spec::plan::{CgroupPlan, CgroupSetting};

/// One attempt at making the cgroup: enables controllers from the mount point
/// down and makes the last `missing` levels. What it makes goes into `made`.
pub(super) fn make<'t>(
    root: BorrowedFd<'_>,
    target: &'t Target,
    missing: usize,
    plan: &CgroupPlan,
    made: &mut Vec<&'t Path>,
) -> Result<OwnedFd> {
    // Every level from the mount point ("") to the cgroup itself.
    let mut levels: Vec<&Path> = target.below().ancestors().collect();
    levels.reverse();
    let leaf = levels.len() - 1;
    if leaf == 0 {
        return Err(Error::new("no cgroup below the mount point to make").path(&target.path));
    }
    let there = leaf.saturating_sub(missing);
    let all = fs::read(root, "cgroup.controllers").step_at("cannot list controllers", &target.mount)?;
    // The deepest level we need not make tells about those above it: it cannot
    // hand on what they do not. In the usual case nothing has to be done there.
    let mut level = there.min(leaf - 1);
    let mut dir = descend(root, target, levels[level])?;
    let mut known = Some(fs::read(dir.as_fd(), SUBTREE).step_at(OPEN, target.mount.join(levels[level]))?);
    if known.as_ref().is_some_and(|known| level > 0 && !missing_of(&all, known).is_empty()) {
        (level, known) = (0, None);
        dir = descend(root, target, Path::new(""))?;
    }
    // Each level through its parent's descriptor: should somebody remove it and
    // make it anew, what we enabled and where we make the next stay the same.
    let mut offered = all;
    while level < leaf {
        offered = enable(dir.as_fd(), &offered, known.take());
        level += 1;
        if level > there && mkdir(dir.as_fd(), target, levels[level])? {
            made.push(levels[level]);
            known = Some(String::new());
        }
        if level == leaf {
            let file = target.mount.join(levels[leaf - 1]).join(SUBTREE);
            check_controllers(&plan.settings, &offered, &file).map_err(|e| held_back(e, dir.as_fd()))?;
        }
        let name = levels[level].file_name().unwrap_or_default();
        dir = descend(dir.as_fd(), target, Path::new(name))?;
    }
    Ok(dir)
}

const SUBTREE: &str = "cgroup.subtree_control";
const OPEN: &str = "cannot open the cgroup";

fn descend(dir: BorrowedFd<'_>, target: &Target, path: &Path) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::open_dir(dir, path).step_at(OPEN, &target.path)
}

/// Makes one level; false when a parent shared with another container was there already.
fn mkdir(dir: BorrowedFd<'_>, target: &Target, level: &Path) -> Result<bool> {
    match mkdirat(dir, level.file_name().unwrap_or_default(), Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) if level != target.below() => Ok(false),
        Err(e) => {
            let e = Error::sys("cannot make the cgroup", e).path(target.mount.join(level));
            Err(match e.raw_errno() {
                Some(libc::EEXIST) => e.hint("it was not there a moment ago: is the path used twice?"),
                Some(libc::EAGAIN) => e.hint("a cgroup above it limits depth or number (cgroup.max.*)"),
                Some(libc::EACCES | libc::EPERM | libc::EROFS) => e.hint("no permission to make cgroups here"),
                _ => e,
            })
        }
    }
}

/// The controllers of `wanted` that `have` lacks.
pub(super) fn missing_of<'a>(wanted: &'a str, have: &str) -> Vec<&'a str> {
    wanted.split_ascii_whitespace().filter(|c| !have.split_ascii_whitespace().any(|h| h == *c)).collect()
}

/// Has a cgroup hand on the controllers `wanted` to its children, as far as it
/// can, and returns those it does. `known` are those it is known to hand on.
///
/// Failure is no error here: an ancestor that cannot hand on a controller
/// nobody asked for is no concern, and one somebody did ask for is noticed then.
fn enable(dir: BorrowedFd<'_>, wanted: &str, known: Option<String>) -> String {
    let mut have = known.unwrap_or_else(|| fs::read(dir, SUBTREE).unwrap_or_default());
    let missing = missing_of(wanted, &have);
    if missing.is_empty() {
        return have;
    }
    let together = missing.iter().fold(String::new(), |all, c| all + "+" + c + " ");
    if fs::write(dir, SUBTREE, together.trim_end()).is_ok() {
        return wanted.to_owned();
    }
    for controller in missing {
        if fs::write(dir, SUBTREE, &format!("+{controller}")).is_ok() {
            // Writing to a String cannot fail.
            let _ = write!(have, " {controller}");
        }
    }
    have
}

/// An error for each setting whose controller is not in `offered`, the contents of `file`.
pub(super) fn check_controllers(settings: &[CgroupSetting], offered: &str, file: &Path) -> Result<()> {
    let wanted = settings.iter().filter(|s| !is_unlimited(s));
    let faults = wanted.filter(|s| !missing_of(&s.controller, offered).is_empty()).map(|s| {
        Error::field(&s.field, format!("needs the cgroup v2 controller {}, which is not there", s.controller))
            .path(file)
            .hint("in use by cgroup v1, disabled at boot, or not delegated to this cgroup")
    });
    Error::join("cannot set limits", faults.collect()).map_or(Ok(()), Err)
}

/// A cgroup with processes of its own hands on no controllers, unless it is the
/// root: what a runtime in a container runs into that has stayed in the
/// container's topmost cgroup.
fn held_back(error: Error, dir: BorrowedFd<'_>) -> Error {
    // The root has no type.
    let busy = fs::read(dir, "cgroup.type").is_ok() && fs::read(dir, "cgroup.procs").is_ok_and(|p| !p.is_empty());
    if busy { error.hint("that cgroup has processes of its own: move them to a sub-cgroup first") } else { error }
}
