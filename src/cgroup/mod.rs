//! The container's cgroup (v2): where it is, making it, its limits, freezing,
//! killing, removing. Its files are spoken to directly, also when systemd is
//! the manager and makes it.

mod devices;
mod fs;
mod make;
mod place;
mod stats;
mod systemd;
mod update;
mod watch;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Uid, UnlinkatFlags, fchownat, unlinkat};

use crate::error::{Error, Result, Step};
use crate::log;
use crate::spec::plan::{CgroupPlan, CgroupSetting};
use crate::sys::ids::is_users;

use make::{check_controllers, make};
pub use place::{Planned, Target, mount_point, plan, plan_unit};
pub use stats::Stats;
pub use watch::{Oom, OomWatch};

/// How long freezing, and what is dying, are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a shared parent may be removed under our hands before that is an error.
const MAKE_TRIES: usize = 20;

/// What may be handed to a user where the kernel does not list it.
const DELEGATE: [&str; 3] = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

/// A cgroup, held open: whatever becomes of its path, this is the same one.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
    path: PathBuf,
    /// Made just now, so nothing is attached to it yet (but what systemd may have, which stays).
    fresh: bool,
    /// systemd's unit, when it is the manager.
    unit: Option<systemd::Unit>,
    /// The same, as long as it is new.
    started: Option<systemd::Started>,
}

impl Cgroup {
    /// Makes the cgroup, and has every controller there is enabled for it
    /// (engines read its statistics even when it has no limits).
    ///
    /// When it fails, what it made is removed again.
    pub fn create(target: &Target, plan: &CgroupPlan) -> Result<Self> {
        let root = fs::open_dir(AT_FDCWD, &target.mount).step_at("cannot open the cgroup mount", &target.mount)?;
        let mut tries = 0;
        loop {
            // Another container may remove an empty parent between any two
            // steps. After that more is missing than the target says.
            let missing = if tries == 0 { target.made } else { usize::MAX };
            let mut made = Vec::new();
            match make(root.as_fd(), target, missing, plan, &mut made) {
                Ok(dir) => {
                    let mut made = Self::new(dir, target);
                    made.fresh = target.made > 0;
                    // Files that were read by whoever used it before are still charged to it.
                    if plan.check_usage && !made.fresh {
                        made.check_usage(&plan.settings)?;
                    }
                    return Ok(made);
                }
                Err(e) => {
                    for dir in made.iter().rev() {
                        // Somebody else may have put a cgroup there meanwhile: then it stays.
                        let _ = unlinkat(&root, *dir, UnlinkatFlags::RemoveDir);
                    }
                    let again = e.raw_errno().is_some_and(|n| fs::gone(Errno::from_raw(n)));
                    if target.made == 0 || !again || tries == MAKE_TRIES {
                        return Err(e);
                    }
                    tries += 1;
                }
            }
        }
    }

    /// Has systemd make the cgroup, with a unit around it.
    ///
    /// When it fails, there is no unit.
    fn start(target: &Target, start: systemd::Start, plan: &CgroupPlan) -> Result<Self> {
        let started = start.start(plan)?;
        // It is there now; what is left to do is to have its controllers enabled, also
        // those that systemd does not know (hugetlb, rdma, misc).
        match Self::create(&Target { made: 0, ..target.clone() }, plan) {
            Ok(cgroup) => Ok(Self { fresh: true, started: Some(started), ..cgroup }),
            Err(e) => {
                started.undo();
                Err(e)
            }
        }
    }

    fn new(dir: OwnedFd, target: &Target) -> Self {
        Self { dir, path: target.path.clone(), fresh: false, unit: target.unit.clone(), started: None }
    }

    /// Opens a cgroup that is there.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_target(&Target { path: path.to_owned(), ..Target::default() })
    }

    /// Opens a container's cgroup, which is there.
    pub fn open_target(target: &Target) -> Result<Self> {
        let dir = fs::open_dir(AT_FDCWD, &target.path).step_at("cannot open the cgroup", &target.path)?;
        Ok(Self::new(dir, target))
    }

    /// Init is in it now: what held its place goes.
    pub fn inhabited(&mut self) {
        if let Some(started) = &mut self.started {
            started.inhabited();
        }
    }

    /// Can a process be put there by [`Cgroup::adopt`]?
    pub fn adopts(&self) -> bool {
        self.unit.is_some()
    }

    /// Has systemd put a process there, for a user who may not do so.
    ///
    /// # Errors
    /// What systemd says.
    pub fn adopt(&self, pid: i32) -> Result<()> {
        self.unit.as_ref().map_or(Ok(()), |unit| unit.adopt(pid))
    }

    /// The directory, as `CLONE_INTO_CGROUP` takes it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets everything the plan says, device rules included, and lets the
    /// manager know.
    pub fn configure(&mut self, plan: &CgroupPlan) -> Result<()> {
        self.apply(plan)?;
        self.started.as_mut().map_or(Ok(()), |started| started.tell(plan))
    }

    /// Sets everything the plan says, device rules and owner included.
    ///
    /// Two settings in a row for the same field are two ways to say one thing,
    /// the better one first (`io.bfq.weight`, `io.weight`): the second is
    /// for kernels that lack the file of the first.
    fn apply(&self, plan: &CgroupPlan) -> Result<()> {
        let mut settings = plan.settings.iter().peekable();
        while let Some(setting) = settings.next() {
            let other_way = settings.next_if(|next| is_alternative(setting, next));
            match (fs::write(self.fd(), &setting.file, &setting.value), other_way) {
                (Ok(()), _) => {}
                (Err(Errno::ENOENT), Some(other)) => {
                    fs::write(self.fd(), &other.file, &other.value).map_err(|e| self.refused(other, e))?;
                }
                (Err(Errno::ENOENT), None) if asks_nothing(setting) => {}
                (Err(e), _) => return Err(self.refused(setting, e)),
            }
        }
        // Without rules in the config the default ones hold: deny by default.
        devices::install(self.fd(), self.fresh, plan.devices.as_deref().unwrap_or_default())?;
        plan.owner.map_or(Ok(()), |uid| self.delegate(uid))
    }

    /// `memory.checkBeforeUpdate`: refuses a limit of memory or swap below what
    /// is in use, for which the kernel would kill processes (runtime-spec,
    /// config-linux.md, "Memory"). Writes nothing.
    ///
    /// # Errors
    /// Names field, limit and usage.
    pub fn check_usage(&self, settings: &[CgroupSetting]) -> Result<()> {
        let faults = settings.iter().filter_map(|setting| {
            let usage_file = match setting.file.as_str() {
                "memory.max" => "memory.current",
                "memory.swap.max" => "memory.swap.current",
                _ => return None,
            };
            let limit: u64 = setting.value.parse().ok()?;
            // Without the file there is no limit either, which is told when that is set.
            let usage = fs::read(self.fd(), usage_file).ok()?.parse::<u64>().ok().filter(|usage| limit < *usage)?;
            let text = format!("the limit {limit} is less than the usage {usage}, and checkBeforeUpdate is set");
            Some(Error::field(&setting.field, text).path(self.path.join(usage_file)))
        });
        Error::join("cannot set limits", faults.collect()).map_or(Ok(()), Err)
    }

    fn refused(&self, setting: &CgroupSetting, errno: Errno) -> Error {
        let e = Error::sys("cannot set a cgroup limit", errno)
            .in_field(&setting.field)
            .path(self.path.join(&setting.file))
            .message(format!("value \"{}\"", setting.value));
        match errno {
            Errno::ENOENT if setting.controller.is_empty() => e.hint("the kernel offers no such file"),
            Errno::ENOENT => e.hint(format!(
                "the {} controller is not enabled here, or the kernel lacks the file",
                setting.controller
            )),
            Errno::EINVAL | Errno::ERANGE => e.hint("the kernel does not take this value"),
            Errno::ENODEV | Errno::EOPNOTSUPP => e.hint("no such device, or it has no scheduler that knows this limit"),
            Errno::EACCES | Errno::EPERM => e.hint("no permission: the cgroup is not delegated to this user"),
            _ => e,
        }
    }

    /// Hands the cgroup to a user of the host: the directory and those files
    /// the kernel says may be, so that this user can make sub-cgroups and
    /// spread its processes over them, and change no limit (runtime-spec,
    /// config-linux.md, "Cgroup ownership"; cgroups(7), "Cgroup delegation").
    ///
    /// # Errors
    /// The errno of chown(2).
    fn delegate(&self, uid: u32) -> Result<()> {
        let uid = Uid::from_raw(uid);
        // What we have just made is ours.
        if self.fresh && uid == Uid::effective() {
            return Ok(());
        }
        match fs::read(AT_FDCWD, "/sys/kernel/cgroup/delegate") {
            Ok(list) => self.hand_over(uid, list.lines()),
            // Linux before 4.15, or no sysfs here.
            Err(Errno::ENOENT) => self.hand_over(uid, DELEGATE),
            Err(e) => Err(Error::sys("cannot read", e).path("/sys/kernel/cgroup/delegate")),
        }
    }

    fn hand_over<'a>(&self, uid: Uid, files: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for name in std::iter::once(".").chain(files) {
            match fchownat(&self.dir, name, Some(uid), None, AtFlags::AT_SYMLINK_NOFOLLOW) {
                // The list is of all controllers' files; this cgroup has those of its own.
                Ok(()) | Err(Errno::ENOENT) => {}
                // An unprivileged user's, who may not give anything away.
                Err(Errno::EPERM) if is_users() => return Ok(()),
                Err(e) => {
                    let step = "cannot hand the cgroup to the container's user";
                    return Err(Error::sys(step, e).in_field("process.user.uid").path(self.path.join(name)));
                }
            }
        }
        Ok(())
    }

    /// Freezes or thaws, and waits until it is so. A freeze that does not
    /// succeed in time is taken back.
    pub fn set_frozen(&self, frozen: bool) -> Result<()> {
        let step = if frozen { "cannot freeze the cgroup" } else { "cannot thaw the cgroup" };
        let value = if frozen { "1" } else { "0" };
        fs::write(self.fd(), "cgroup.freeze", value).step_at(step, &self.path)?;
        if fs::wait_event(self.fd(), "frozen", frozen, Instant::now() + PATIENCE).step_at(step, &self.path)? {
            return Ok(());
        }
        let e = Error::sys(step, Errno::ETIMEDOUT).path(&self.path);
        if !frozen {
            return Err(e.hint("a cgroup above it is frozen"));
        }
        let _ = fs::write(self.fd(), "cgroup.freeze", "0");
        Err(e.hint("a process in it does not stop, likely waiting for a disk or a filesystem"))
    }

    /// Has it been frozen (itself, not a cgroup above it)? One that has gone is not.
    pub fn is_frozen(&self) -> Result<bool> {
        match fs::read(self.fd(), "cgroup.freeze") {
            Ok(text) => Ok(text == "1"),
            Err(e) if fs::gone(e) => Ok(false),
            Err(e) => Err(Error::sys("cannot tell whether the cgroup is frozen", e).path(&self.path)),
        }
    }

    /// Kills every process in it and in its sub-cgroups, frozen or not.
    pub fn kill(&self) -> Result<()> {
        match fs::write(self.fd(), "cgroup.kill", "1") {
            Err(e) if !fs::gone(e) => Err(Error::sys("cannot kill the cgroup's processes", e).path(&self.path)),
            _ => Ok(()),
        }
    }

    /// The processes in it and in its sub-cgroups. Those that our pid
    /// namespace has no number for are left out.
    pub fn processes(&self) -> Result<Vec<i32>> {
        processes(self.fd()).step_at("cannot list the cgroup's processes", &self.path)
    }

    /// The threads of these.
    pub fn threads(&self) -> Result<Vec<i32>> {
        listed(self.fd(), "cgroup.threads").step_at("cannot list the cgroup's threads", &self.path)
    }

    /// Waits until no process is left in it; false when that took too long.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool> {
        fs::wait_event(self.fd(), "populated", false, Instant::now() + timeout)
            .step_at("cannot wait for the cgroup to empty", &self.path)
    }

    /// Removes the cgroup (also one that was there before, empty, and given to
    /// the container), its sub-cgroups, and those of its parents that were made
    /// for it and are empty.
    ///
    /// Waits for processes that are dying, and fails for those that are not.
    /// systemd's unit is stopped first; that it cannot be is no error, because
    /// a scope ends with its cgroup.
    pub fn remove(target: &Target) -> Result<()> {
        if let Some(Err(e)) = target.unit.as_ref().map(systemd::Unit::stop) {
            log::warn(&e.to_string());
        }
        match fs::rmdir(AT_FDCWD, &target.path) {
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => remove_busy(&target.path)?,
            done => done.step_at("cannot remove the cgroup", &target.path)?,
        }
        for parent in target.path.ancestors().skip(1).take(target.made.saturating_sub(1)) {
            // In use by others, or gone with them: either way not our concern any more.
            if fs::rmdir(AT_FDCWD, parent).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Is `next` another way to say what `setting` says?
fn is_alternative(setting: &CgroupSetting, next: &CgroupSetting) -> bool {
    setting.file.starts_with("io.bfq.") && next.field == setting.field
}

/// "No limit" is what there is without the controller. In `unified` even that
/// is an error (runtime-spec, config-linux.md, "Unified").
pub fn is_unlimited(setting: &CgroupSetting) -> bool {
    setting.value.split(' ').next() == Some("max") && !is_unified(setting)
}

fn is_unified(setting: &CgroupSetting) -> bool {
    setting.field.starts_with("linux.resources.unified")
}

/// Values that ask for what a kernel without the file does anyway: no limit,
/// no swap without swap accounting, and the reservation half of a hugetlb limit
/// before Linux 5.7 (contract §2.13, as runc does). In `unified` somebody
/// means the file.
fn asks_nothing(setting: &CgroupSetting) -> bool {
    let no_swap = setting.file == "memory.swap.max" && setting.value == "0";
    let reservations = setting.file.starts_with("hugetlb.") && setting.file.ends_with(".rsvd.max");
    is_unlimited(setting) || ((no_swap || reservations) && !is_unified(setting))
}

fn processes(dir: BorrowedFd<'_>) -> nix::Result<Vec<i32>> {
    listed(dir, "cgroup.procs")
}

/// The numbers in a file of a cgroup and of those below it.
fn listed(dir: BorrowedFd<'_>, file: &str) -> nix::Result<Vec<i32>> {
    let mut pids = Vec::new();
    let mut collect = |dir: BorrowedFd<'_>| match fs::read(dir, file) {
        Ok(text) => {
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid != 0));
            Ok(())
        }
        // A threaded cgroup: its processes are listed by the domain above it.
        Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(e) if fs::gone(e) => Ok(()),
        Err(e) => Err(e),
    };
    collect(dir)?;
    fs::walk(dir, &mut collect, &mut |_, _| ())?;
    Ok(pids)
}

/// Removes a cgroup that has sub-cgroups or processes about to be gone.
fn remove_busy(path: &Path) -> Result<()> {
    let step = "cannot remove the cgroup";
    let deadline = Instant::now() + PATIENCE;
    let dir = match fs::open_dir(AT_FDCWD, path) {
        Err(e) if fs::gone(e) => return Ok(()),
        dir => dir.step_at(step, path)?,
    };
    loop {
        let empty = fs::wait_event(dir.as_fd(), "populated", false, deadline).step_at(step, path)?;
        if empty {
            fs::remove_below(dir.as_fd()).step_at(step, path)?;
        }
        match fs::rmdir(AT_FDCWD, path) {
            Err(e @ (Errno::EBUSY | Errno::ENOTEMPTY)) if !empty || Instant::now() >= deadline => {
                let left = processes(dir.as_fd()).map_or(0, |p| p.len());
                return Err(Error::sys(step, e).path(path).message(format!("{left} process(es) left in it")));
            }
            // Emptied a moment ago; the kernel may need one more.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => std::thread::sleep(Duration::from_millis(1)),
            done => return done.step_at(step, path),
        }
    }
}

#[cfg(test)]
mod tests;
