//! Changing limits of a cgroup in use: all of them, or none.

use nix::errno::Errno;

use super::{Cgroup, asks_nothing, fs, is_alternative, systemd};
use crate::error::{Error, Result, Step};
use crate::spec::plan::CgroupSetting;

const STEP: &str = "cannot update the cgroup";

/// Core files that can be changed and changed back like a limit.
const CORE_LIMITS: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

/// One value to write, and what to write to have it back as it was.
#[derive(Debug)]
struct Change<'a> {
    setting: &'a CgroupSetting,
    /// `None`: going back needs nothing written.
    back: Option<String>,
}

impl Cgroup {
    /// Writes every setting, and lets the manager know. When the kernel or the
    /// manager refuses one, all that were written get their old values back.
    pub fn update(&self, settings: &[CgroupSetting]) -> Result<()> {
        let Some(unit) = &self.unit else { return self.write_all(settings).map(drop) };
        let mut settings = settings.to_vec();
        let now = self.text("cpu.max");
        let period = now.as_deref().and_then(|text| text.split_once(' ')?.1.trim().parse().ok());
        systemd::agree(&mut settings, period);
        let changes = self.write_all(&settings)?;
        // systemd checks all of a call before it does any of it.
        unit.update(&settings).map_err(|e| self.undone(e, &changes))
    }

    fn write_all<'a>(&self, settings: &'a [CgroupSetting]) -> Result<Vec<Change<'a>>> {
        self.check(settings)?;
        let mut changes = self.prepare(settings)?;
        arrange(&mut changes);
        for (i, change) in changes.iter().enumerate() {
            let setting = change.setting;
            if let Err(e) = fs::write(self.fd(), &setting.file, &setting.value) {
                return Err(self.undone(self.refused(setting, e), &changes[..i]));
            }
        }
        Ok(changes)
    }

    /// The error, once the changes before it have been taken back.
    fn undone(&self, error: Error, changes: &[Change<'_>]) -> Error {
        match self.take_back(changes) {
            None => error,
            Some(lost) => error.hint(format!("and the old value of {lost} could not be written back")),
        }
    }

    /// The text of one of its files; `None` when it cannot be read.
    pub fn text(&self, file: &str) -> Option<String> {
        fs::read(self.fd(), file).ok()
    }

    /// Refuses what needs a controller that is not there, and what is no limit.
    fn check(&self, settings: &[CgroupSetting]) -> Result<()> {
        let offered = fs::read(self.fd(), "cgroup.controllers").step_at(STEP, &self.path)?;
        super::check_controllers(settings, &offered, &self.path.join("cgroup.controllers"))?;
        let faults = settings.iter().filter(|s| s.controller.is_empty() && !CORE_LIMITS.contains(&s.file.as_str()));
        let faults = faults.map(|s| Error::field(&s.field, "not something that can be updated"));
        Error::join(STEP, faults.collect()).map_or(Ok(()), Err)
    }

    /// Finds out what is to be written where, and what is there now.
    fn prepare<'a>(&self, settings: &'a [CgroupSetting]) -> Result<Vec<Change<'a>>> {
        let mut changes = Vec::with_capacity(settings.len());
        let mut settings = settings.iter().peekable();
        while let Some(mut setting) = settings.next() {
            let other_way = settings.next_if(|next| is_alternative(setting, next));
            let mut old = fs::read(self.fd(), &setting.file);
            if let (Err(Errno::ENOENT), Some(other)) = (&old, other_way) {
                setting = other;
                old = fs::read(self.fd(), &setting.file);
            }
            match old {
                Ok(old) => changes.push(Change { setting, back: back(setting, &old) }),
                Err(Errno::ENOENT) if asks_nothing(setting) => {}
                Err(e @ Errno::ENOENT) => return Err(self.refused(setting, e)),
                Err(e) => {
                    let e = Error::sys(STEP, e).in_field(&setting.field).path(self.path.join(&setting.file));
                    return Err(e.message("its old value cannot be read, so there would be no way back"));
                }
            }
        }
        Ok(changes)
    }

    /// Undoes changes, latest first; gives the name of a file that would not have it.
    fn take_back(&self, changes: &[Change<'_>]) -> Option<String> {
        let undo = changes.iter().rev().filter_map(|c| Some((c, c.back.as_deref()?)));
        let lost = undo.filter(|(c, old)| fs::write(self.fd(), &c.setting.file, old).is_err());
        // Try every one of them, whatever becomes of another.
        let lost: Vec<_> = lost.map(|(c, _)| c.setting.file.clone()).collect();
        (!lost.is_empty()).then(|| lost.join(", "))
    }
}

/// What to write to get back from a setting to `old`, the text of the file now.
fn back(setting: &CgroupSetting, old: &str) -> Option<String> {
    let controller = setting.controller.as_str();
    // Lists with a line for each device or kind, of which the setting changes one.
    let listed = matches!(controller, "io" | "rdma") || setting.file == "misc.max";
    if listed {
        let key = setting.value.split_ascii_whitespace().next()?;
        // "100" alone is short for "default 100".
        let key = if key.bytes().all(|b| b.is_ascii_digit()) { "default" } else { key };
        let line = old.lines().find(|line| line.split_ascii_whitespace().next() == Some(key));
        return Some(line.map_or_else(|| unset(&setting.file, key), str::to_owned));
    }
    match (setting.file.as_str(), old) {
        // So it reads while the group is idle, when there is no weight to go back to.
        ("cpu.weight", "0") => None,
        // Of "root invalid (why)" the first word can be written.
        ("cpuset.cpus.partition", old) => old.split_ascii_whitespace().next().map(str::to_owned),
        // An empty list of CPUs; writing nothing at all would be no write.
        (_, "") => Some("\n".to_owned()),
        (_, old) => Some(old.to_owned()),
    }
}

/// What a file means that has no line for a device.
fn unset(file: &str, key: &str) -> String {
    match file {
        "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
        "io.latency" => format!("{key} target=0"),
        _ => format!("{key} default"),
    }
}

/// Puts the changes into an order in which the kernel takes them and the
/// container is hurt least.
fn arrange(changes: &mut [Change<'_>]) {
    // Less memory may cost a process its life, which cannot be taken back: last.
    changes.sort_by_key(|c| c.setting.controller == "memory");
    // Room first: swap before memory shrinks, memory before swap does.
    if rises(changes, "memory.max") {
        put_first(changes, "memory.max", "memory.swap.max");
    } else {
        put_first(changes, "memory.swap.max", "memory.max");
    }
    // A burst above the quota is refused, so a lower one goes first.
    if rises(changes, "cpu.max.burst") {
        put_first(changes, "cpu.max", "cpu.max.burst");
    } else {
        put_first(changes, "cpu.max.burst", "cpu.max");
    }
}

/// Does the last change of a file raise its value?
fn rises(changes: &[Change<'_>], file: &str) -> bool {
    let amount = |text: &str| text.trim().parse::<u64>().unwrap_or(u64::MAX);
    let change = changes.iter().rev().find(|c| c.setting.file == file);
    change.is_some_and(|c| c.back.as_deref().is_some_and(|old| amount(&c.setting.value) > amount(old)))
}

/// Moves the changes of one file before those of another, their own order kept.
fn put_first(changes: &mut [Change<'_>], file: &str, other: &str) {
    let Some(from) = changes.iter().position(|c| c.setting.file == other) else { return };
    let mut to = from;
    for i in from..changes.len() {
        if changes[i].setting.file == file {
            changes[to..=i].rotate_right(1);
            to += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(file: &str, value: &str) -> CgroupSetting {
        let controller = file.split('.').next().unwrap().to_owned();
        CgroupSetting { field: file.to_owned(), controller, file: file.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn ways_back() {
        for (file, value, old, wanted) in [
            ("pids.max", "5", "max", "max"),
            ("cpu.max", "5 100000", "max 100000", "max 100000"),
            ("cpuset.cpus", "0", "", "\n"),
            ("cpuset.cpus.partition", "member", "root invalid (No CPUs)", "root"),
            ("io.weight", "default 10", "default 100\n8:0 50", "default 100"),
            ("io.weight", "8:0 10", "default 100\n8:0 50", "8:0 50"),
            ("io.weight", "8:16 10", "default 100\n8:0 50", "8:16 default"),
            ("io.weight", "10", "default 100", "default 100"),
            (
                "io.max",
                "8:0 rbps=5",
                "8:0 rbps=7 wbps=max riops=max wiops=max",
                "8:0 rbps=7 wbps=max riops=max wiops=max",
            ),
            ("io.max", "8:16 rbps=5", "", "8:16 rbps=max wbps=max riops=max wiops=max"),
            ("io.latency", "8:0 target=5", "", "8:0 target=0"),
            ("rdma.max", "mlx hca_handle=1", "mlx hca_handle=max hca_object=9", "mlx hca_handle=max hca_object=9"),
            ("misc.max", "sev 1", "sev max\nother 2", "sev max"),
        ] {
            assert_eq!(back(&setting(file, value), old).as_deref(), Some(wanted), "{file} {value}");
        }
        assert_eq!(back(&setting("cpu.weight", "5"), "0"), None);
    }

    fn order(list: &[(&str, &str, &str)]) -> Vec<String> {
        let settings: Vec<_> = list.iter().map(|(file, value, _)| setting(file, value)).collect();
        let mut changes: Vec<_> = settings
            .iter()
            .zip(list)
            .map(|(setting, (_, _, old))| Change { setting, back: Some((*old).to_owned()) })
            .collect();
        arrange(&mut changes);
        changes.iter().map(|c| format!("{}={}", c.setting.file, c.setting.value)).collect()
    }

    #[test]
    fn order_of_memory() {
        let down = order(&[("memory.swap.max", "9", "5"), ("memory.max", "10", "20"), ("pids.max", "1", "2")]);
        assert_eq!(down, ["pids.max=1", "memory.swap.max=9", "memory.max=10"]);
        let up = order(&[("memory.swap.max", "3", "5"), ("memory.max", "max", "20"), ("memory.max", "70", "20")]);
        assert_eq!(up, ["memory.max=max", "memory.max=70", "memory.swap.max=3"]);
    }

    #[test]
    fn order_of_bandwidth() {
        let down = order(&[("cpu.max", "10 100", "50 100"), ("cpu.max.burst", "5", "40")]);
        assert_eq!(down, ["cpu.max.burst=5", "cpu.max=10 100"]);
        let up = order(&[("cpu.max", "90 100", "50 100"), ("cpu.max.burst", "80", "40")]);
        assert_eq!(up, ["cpu.max=90 100", "cpu.max.burst=80"]);
    }
}
