//! Intel RDT and its like: the container's group in the resctrl filesystem
//! (Documentation/filesystems/resctrl.rst), which says how much cache and
//! memory bandwidth its processes may use, and counts what they do.

mod stats;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Step};
use crate::spec::plan::{RdtLine, RdtPlan};
use crate::spec::{Schema, check_rdt_name};

pub use stats::Stats;

const FIELD: &str = "linux.intelRdt";

/// The group of a container. It is saved before the group is made, so that a
/// killed create can be cleaned up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where resctrl is mounted.
    mount: PathBuf,
    /// The directory of the group: below `mount`, or itself for the default group.
    path: PathBuf,
    /// The monitoring group, when there is to be one.
    monitor: Option<PathBuf>,
    /// Named after the container and not there before: removed with it. One
    /// with a `closID` is for others to use and to remove, whoever made it.
    ours: bool,
    /// It has a `closID`.
    shared: bool,
    /// Made just now by this process, which may have to undo it.
    #[serde(skip)]
    made: bool,
}

/// Where resctrl is mounted.
///
/// # Errors
/// It is not, which for a config with `intelRdt` is an error (runtime-spec,
/// config-linux.md, "IntelRdt").
pub fn mount_point() -> Result<PathBuf> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path).step_at("cannot look for resctrl", path)?;
    find_mount(&text).ok_or_else(|| {
        Error::field(FIELD, "no resctrl filesystem is mounted").hint("mount -t resctrl resctrl /sys/fs/resctrl")
    })
}

/// The mount point of a whole resctrl in the text of a mountinfo file
/// (proc_pid_mountinfo(5)).
fn find_mount(mountinfo: &[u8]) -> Option<PathBuf> {
    mountinfo.split(|b| *b == b'\n').find_map(|line| {
        let fields: Vec<_> = line.split(|b| *b == b' ').collect();
        let dash = fields.iter().skip(6).position(|f| *f == b"-")? + 6;
        let whole = fields.get(3) == Some(&&b"/"[..]) && fields.get(dash + 1) == Some(&&b"resctrl"[..]);
        whole.then(|| fields.get(4).map(|f| unescape(f)))?
    })
}

/// Blanks, newlines and backslashes are written as `\` and three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// Finds the container's group and checks that it can be used: there when it
/// has to be, and as the config says it is. Touches nothing.
///
/// # Errors
/// Names the field; what the group has when that is not what is asked for.
pub fn plan(mount: &Path, plan: &RdtPlan, id: &str) -> Result<Target> {
    let name = plan.clos.as_deref().unwrap_or(id);
    let path = if name == "/" { mount.to_owned() } else { mount.join(name) };
    let monitor = plan.monitoring.then(|| path.join("mon_groups").join(id));
    if name != "/" {
        check_rdt_name(name).map_err(|message| Error::field(FIELD, message))?;
    }
    let exists = path.is_dir();
    if !exists && plan.clos.is_some() && plan.lines.is_empty() {
        return Err(Error::field(
            format!("{FIELD}.closID"),
            "there is no such group, and nothing says what it is to be",
        )
        .path(path)
        .hint("make it, or set schemata, l3CacheSchema or memBwSchema"));
    }
    let shared = plan.clos.is_some();
    let target = Target { mount: mount.to_owned(), path, monitor, ours: !shared && !exists, shared, made: false };
    if exists && shared {
        target.check(&plan.lines)?;
    }
    Ok(target)
}

impl Target {
    /// Makes what is missing of the groups, and sets the schemata: the
    /// processes that come later are never without their limits.
    ///
    /// # Errors
    /// The errno, and what resctrl says is wrong. What was made is removed by
    /// [`Target::undo`].
    pub fn make(&mut self, lines: &[RdtLine]) -> Result<()> {
        match std::fs::create_dir(&self.path) {
            Ok(()) => self.made = true,
            Err(e) if e.raw_os_error() != Some(libc::EEXIST) || self.ours => {
                return Err(self.explain("cannot make the resctrl group", &e).in_field(FIELD).path(&self.path));
            }
            // Perhaps made a moment ago, for a container that says otherwise.
            Err(_) if self.shared => self.check(lines)?,
            Err(_) => {}
        }
        self.set(lines)?;
        match self.monitor.as_deref().map(|path| (path, std::fs::create_dir(path))) {
            Some((path, Err(e))) if e.raw_os_error() != Some(libc::EEXIST) => {
                let e = self.explain("cannot make the monitoring group", &e).path(path);
                Err(e.in_field(format!("{FIELD}.enableMonitoring")))
            }
            _ => Ok(()),
        }
    }

    /// Writes lines of schemata, all at once: the kernel takes all of them or none.
    ///
    /// # Errors
    /// The errno, and what resctrl says is wrong.
    pub fn set(&self, lines: &[RdtLine]) -> Result<()> {
        let [first, ..] = lines else { return Ok(()) };
        let text: String = lines.iter().flat_map(|l| [l.text.as_str(), "\n"]).collect();
        let path = self.path.join("schemata");
        write(&path, &text).map_err(|e| {
            let e = self.explain("cannot set the schemata", &e).path(&path);
            if lines.len() == 1 { e.in_field(&first.field) } else { e.in_field(FIELD) }
        })
    }

    /// Changes lines of the schemata; gives back lines that undo it.
    ///
    /// # Errors
    /// As [`Target::set`].
    pub fn update(&self, lines: &[RdtLine]) -> Result<Vec<RdtLine>> {
        let there = self.schemata()?;
        let asked: Vec<_> = lines.iter().filter_map(|l| Schema::parse(&l.text)).collect();
        let old =
            there.lines().filter(|l| Schema::parse(l).is_some_and(|s| asked.iter().any(|a| a.resource == s.resource)));
        let old = old.map(|l| RdtLine { field: FIELD.to_owned(), text: l.trim().to_owned(), must_match: false });
        let old = old.collect();
        self.set(lines).map(|()| old)
    }

    /// Puts a process into the groups. What it forks from then on is there too.
    ///
    /// # Errors
    /// The errno, and what resctrl says is wrong.
    pub fn add(&self, pid: i32) -> Result<()> {
        // The kernel moves a process into a monitoring group from the group above it only.
        for group in std::iter::once(&self.path).chain(&self.monitor) {
            let path = group.join("tasks");
            write(&path, &pid.to_string())
                .map_err(|e| self.explain("cannot put the process into the resctrl group", &e).path(path))?;
        }
        Ok(())
    }

    /// Removes what belongs to the container alone: the group named after it
    /// if it was made for it, and the monitoring group.
    ///
    /// # Errors
    /// The errno of rmdir(2).
    pub fn remove(&self) -> Result<()> {
        let mut groups = self.monitor.iter().chain(self.ours.then_some(&self.path));
        groups.try_for_each(|path| rmdir(path))
    }

    /// Undoes [`Target::make`] when the container came to nothing: a `closID`'s
    /// group goes as well if this made it and nobody else has come to use it.
    ///
    /// # Errors
    /// The errno of rmdir(2).
    pub fn undo(&self) -> Result<()> {
        self.monitor.as_deref().map_or(Ok(()), rmdir)?;
        let tasks = std::fs::read_to_string(self.path.join("tasks"));
        let unused = self.ours || tasks.is_ok_and(|text| text.trim().is_empty());
        if self.made && unused { rmdir(&self.path) } else { Ok(()) }
    }

    fn schemata(&self) -> Result<String> {
        let path = self.path.join("schemata");
        std::fs::read_to_string(&path).step_at("cannot read the schemata", &path)
    }

    /// A group that was there must have what `l3CacheSchema` and `memBwSchema`
    /// say: others use it too.
    fn check(&self, lines: &[RdtLine]) -> Result<()> {
        let lines: Vec<_> = lines.iter().filter(|l| l.must_match).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let there: Vec<_> = self.schemata()?.lines().filter_map(Schema::parse).collect();
        let faults = lines.into_iter().filter(|line| !Schema::parse(&line.text).is_some_and(|s| agrees(&s, &there)));
        let faults = faults.map(|line| {
            Error::field(&line.field, format!("{:?} is not what this group has", line.text))
                .path(self.path.join("schemata"))
                .hint("other containers may use it: change it there, or take another closID")
        });
        Error::join("cannot use the resctrl group", faults.collect()).map_or(Ok(()), Err)
    }

    /// The errno, and the reason in words, which resctrl keeps in a file.
    fn explain(&self, step: &'static str, e: &std::io::Error) -> Error {
        let error = Error::sys(step, e.raw_os_error().unwrap_or(libc::EIO));
        let said = std::fs::read_to_string(self.mount.join("info/last_cmd_status")).unwrap_or_default();
        match said.lines().next().map(str::trim) {
            None | Some("" | "ok") => error,
            Some(said) => error.message(format!("resctrl says \"{said}\"")),
        }
    }
}

/// Does a group with these schemata have the value of each domain `asked` names?
fn agrees(asked: &Schema, there: &[Schema]) -> bool {
    let line = there.iter().find(|s| s.resource == asked.resource);
    line.is_some_and(|line| asked.domains.iter().all(|(id, value)| line.domains.get(id) == Some(value)))
}

/// Writes to a file that is there, in one go.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Removes a group; one that is not there is fine.
fn rmdir(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(e) if e.raw_os_error() != Some(libc::ENOENT) => Err(e).step_at("cannot remove the resctrl group", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
