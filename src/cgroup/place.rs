//! Where the container's cgroup is to be, found out without touching anything.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use super::{Cgroup, check_controllers, fs, processes, systemd};
use crate::error::{Error, Result, Step};
use crate::spec::plan::CgroupPlan;

const FIELD: &str = "linux.cgroupsPath";

/// The resolved place of a container's cgroup, before anything is touched.
///
/// It is saved before the cgroup is made, so that a killed create can be
/// cleaned up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The cgroup's directory, absolute.
    pub path: PathBuf,
    /// Where cgroup2 is mounted: a prefix of `path`.
    pub mount: PathBuf,
    /// How many trailing components of `path` did not exist, and so are ours to remove.
    pub made: usize,
    /// The unit, when systemd is the manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<systemd::Unit>,
}

/// A cgroup that can be made.
#[derive(Debug)]
pub struct Planned {
    /// Where it will be.
    pub target: Target,
    start: Option<systemd::Start>,
}

impl Planned {
    /// Makes it. When that fails nothing is left of it.
    pub fn create(self, plan: &CgroupPlan) -> Result<Cgroup> {
        match self.start {
            Some(start) => Cgroup::start(&self.target, start, plan),
            None => Cgroup::create(&self.target, plan),
        }
    }
}

impl Target {
    /// The path below the mount point.
    pub fn below(&self) -> &Path {
        self.path.strip_prefix(&self.mount).unwrap_or(Path::new(""))
    }
}

/// Where cgroup2 is mounted: `/sys/fs/cgroup`, or `unified` there beside v1; `None` if it is not.
pub fn mount_point() -> Option<&'static Path> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(Path::new)
        .find(|path| statfs(*path).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC))
}

/// Finds the container's cgroup and checks that it can be used as one: no
/// processes in it, not frozen, not threaded, its settings' controllers there.
pub fn plan(plan: &CgroupPlan, id: &str) -> Result<Planned> {
    let mount = cgroup2()?;
    let below = place(plan.path.as_deref(), id, || {
        fs::read(AT_FDCWD, "/proc/self/cgroup").step_at("cannot find our own cgroup", "/proc/self/cgroup")
    })?;
    target(plan, mount, &below).map(|target| Planned { target, start: None })
}

/// The same when systemd is the manager: finds it, and the unit that is to be
/// made. The settings are changed into what both systemd and the cgroup's files
/// can hold. Waiting for systemd ends when `interrupt` becomes readable.
pub fn plan_unit(
    plan: &mut CgroupPlan,
    id: &str,
    annotations: &BTreeMap<String, String>,
    interrupt: BorrowedFd<'_>,
) -> Result<Planned> {
    let mount = cgroup2()?;
    let start = systemd::Start::new(plan.path.as_deref(), id, annotations, interrupt)?;
    systemd::agree(&mut plan.settings, None);
    let target = target(plan, mount, &start.below())?;
    if target.made == 0 {
        start.check_unused()?;
    }
    // Its parents are systemd's to remove.
    Ok(Planned { target: Target { made: 1, unit: Some(start.unit.clone()), ..target }, start: Some(start) })
}

fn cgroup2() -> Result<&'static Path> {
    mount_point().ok_or_else(|| {
        Error::new("no cgroup v2 found")
            .path("/sys/fs/cgroup")
            .hint("mount one there: mount -t cgroup2 none /sys/fs/cgroup")
    })
}

fn target(plan: &CgroupPlan, mount: &Path, below: &Path) -> Result<Target> {
    let root = fs::open_dir(AT_FDCWD, mount).step_at("cannot open the cgroup mount", mount)?;
    // The root offers whatever can be enabled on the way down; whether it
    // can be is known when that is tried.
    if plan.settings.iter().any(|s| !s.controller.is_empty()) {
        let offered = fs::read(root.as_fd(), "cgroup.controllers").step_at("cannot list controllers", mount)?;
        check_controllers(&plan.settings, &offered, &mount.join("cgroup.controllers"))?;
    }
    let mut target = Target { path: mount.join(below), mount: mount.to_owned(), ..Target::default() };
    for level in below.ancestors().filter(|l| !l.as_os_str().is_empty()) {
        let path = mount.join(level);
        let dir = fs::open_dir(root.as_fd(), level).step_at("cannot open the cgroup", &path);
        match dir.and_then(|dir| check(dir.as_fd(), &path, target.made == 0)) {
            // Not there, or removed while we looked.
            Err(e) if e.raw_errno().is_some_and(|n| fs::gone(Errno::from_raw(n))) => target.made += 1,
            checked => {
                checked?;
                break;
            }
        }
    }
    Ok(target)
}

/// The path below the mount point for a `cgroupsPath`: absolute ones are from
/// there; relative ones, and the id when there is none, are beside our own
/// cgroup, which has processes (us) and so cannot hand on controllers. As runc
/// does it, where `slice:prefix:name` is a name like any other too unless
/// systemd is the manager.
fn place(path: Option<&str>, id: &str, own: impl FnOnce() -> Result<String>) -> Result<PathBuf> {
    let given = Path::new(path.filter(|p| !p.is_empty()).unwrap_or(id));
    let mut below = PathBuf::new();
    if !given.is_absolute() {
        below.extend(parent_of_own(&own()?));
    }
    let start = below.components().count();
    for component in given.components() {
        match component {
            Component::Normal(name) => below.push(name),
            // runc cleans these away; nobody means them, and what is left may be somebody else's.
            Component::ParentDir => {
                return Err(Error::field(FIELD, format!("\"{}\" must not contain \"..\"", given.display())));
            }
            _ => {}
        }
    }
    if below.components().count() == start {
        return Err(Error::field(FIELD, format!("\"{}\" names no cgroup below the mount point", given.display())));
    }
    Ok(below)
}

/// The components of the parent of the cgroup named by the `0::` line of `/proc/self/cgroup`.
fn parent_of_own(text: &str) -> Vec<&OsStr> {
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let components = Path::new(own).parent().unwrap_or(Path::new("/")).components();
    let names = components.map(|c| match c {
        Component::Normal(name) => Ok(Some(name)),
        Component::ParentDir => Err(()),
        _ => Ok(None),
    });
    // "/..": we are outside our cgroup namespace, so the mount does not show our cgroup.
    names.filter_map(Result::transpose).collect::<Result<_, ()>>().unwrap_or_default()
}

/// Checks the cgroup itself, or the deepest of its parents that is there.
fn check(dir: BorrowedFd<'_>, path: &Path, itself: bool) -> Result<()> {
    let step = "cannot look at the cgroup";
    let kind = fs::read(dir, "cgroup.type").step_at(step, path)?;
    if kind != "domain" {
        return Err(Error::new("cgroup cannot hold a container")
            .path(path)
            .message(format!("its type is \"{kind}\""))
            .hint("it must be \"domain\": no threaded cgroups in, above or below it"));
    }
    let events = fs::read(dir, "cgroup.events").step_at(step, path)?;
    // Frozen above is as bad: the container's init would stop at birth.
    if fs::flat_value(&events, "frozen") == Some(1) {
        return Err(Error::new("container's cgroup unexpectedly frozen").path(path));
    }
    if itself && fs::flat_value(&events, "populated") == Some(1) {
        let found = processes(dir).step_at(step, path)?.len();
        return Err(Error::new("container's cgroup is not empty")
            .message(format!("{found} process(es) found"))
            .hint(format!("in {}", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: Option<&str>, own: &str) -> String {
        place(path, "c1", || Ok(own.to_owned())).map_or_else(|e| e.to_string(), |p| p.display().to_string())
    }

    #[test]
    fn paths() {
        for (path, own, want) in [
            (Some("/docker/abc"), "0::/x/y", "docker/abc"),
            (Some("//a/./b//"), "0::/x/y", "a/b"),
            (Some("rel/abc"), "1:cpu:/z\n0::/x/y", "x/rel/abc"),
            (Some("rel"), "0::/x", "rel"),
            (None, "0::/", "c1"),
            (Some(""), "0::/user.slice/session.scope", "user.slice/c1"),
            (Some("a.slice:docker:id"), "0::/x/y", "x/a.slice:docker:id"),
            (None, "0::/../other", "c1"),
            (None, "9:cpu:/", "c1"),
            (Some("/a/../b"), "0::/", "linux.cgroupsPath: \"/a/../b\" must not contain \"..\""),
            (Some("../b"), "0::/", "linux.cgroupsPath: \"../b\" must not contain \"..\""),
            (Some("/"), "0::/", "linux.cgroupsPath: \"/\" names no cgroup below the mount point"),
        ] {
            assert_eq!(at(path, own), want, "{path:?} from {own:?}");
        }
    }
}
