//! What a user without privileges does differently on the host side.
//!
//! Its rights are those over the user namespaces it makes: maps of more than
//! its own id are written by newuidmap(1) and newgidmap(1), what is to be bound
//! is cloned by init once it is in there, and what the kernel says belongs to
//! the machine's root, such as the files in /proc of a process that hides,
//! cannot be asked for from outside.

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{getegid, geteuid};

use crate::error::{Error, Result, Step};
use crate::hooks;
use crate::init::credentials::of_process;
use crate::init::userns;
use crate::spec::plan::{Hook, IdMaps, IdRange, NamespaceKind, Plan, Process};
use crate::sys::ids;
use crate::sys::procfs::Procfs;

/// Where newuidmap(1) is looked for after `PATH`, which engines may not pass on.
const PLACES: &str = "/usr/local/bin:/usr/bin:/bin";

/// newuidmap(1) may ask a directory service.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of the two maps.
struct Kind {
    field: &'static str,
    file: &'static str,
    program: &'static str,
    granted: &'static str,
}

const USERS: Kind = Kind { field: "linux.uidMappings", file: "uid_map", program: "newuidmap", granted: "/etc/subuid" };
const GROUPS: Kind = Kind { field: "linux.gidMappings", file: "gid_map", program: "newgidmap", granted: "/etc/subgid" };

/// Are we a user without privileges? Root of a user namespace is not: within
/// it, it has them all.
pub fn is() -> bool {
    !geteuid().is_root()
}

/// Checks that such a user may have the namespaces and ids that the plan wants.
///
/// # Errors
/// No user namespace; ids that are not ours to map, with the line that is
/// missing, and where; newuidmap(1) or newgidmap(1) needed and not there.
pub fn check(plan: &Plan) -> Vec<Error> {
    if !plan.namespaces.has(NamespaceKind::User) {
        let e = Error::field("linux.namespaces", "without privileges a container needs a user namespace");
        return vec![e.hint("orlop spec --rootless writes such a config")];
    }
    if !plan.namespaces.is_new(NamespaceKind::User) {
        return Vec::new();
    }
    let maps = [(&USERS, &plan.ids.uid, geteuid().as_raw()), (&GROUPS, &plan.ids.gid, getegid().as_raw())];
    maps.into_iter()
        .filter(|(_, map, own)| !is_only(map, *own))
        .flat_map(|(kind, map, own)| kind.check(map, own))
        .collect()
}

/// A map of one id, our own: it takes no help (user_namespaces(7), "Defining user and group ID mappings").
fn is_only(map: &[IdRange], own: u32) -> bool {
    matches!(map, [range] if range.host == own && range.size == 1)
}

impl Kind {
    fn check(&self, map: &[IdRange], own: u32) -> Vec<Error> {
        if find(self.program).is_none() {
            let text = format!("more ids than our own ({own}) need {}, which is not there", self.program);
            let hint = "it is in the package uidmap or shadow-utils; or map that one id only";
            return vec![Error::field(self.field, text).hint(hint)];
        }
        let (Ok(granted), false) = (std::fs::read_to_string(self.granted), elsewhere()) else { return Vec::new() };
        let (name, uid) = (user_name(), geteuid().as_raw());
        let ours = ranges_of(&granted, name.as_deref(), uid);
        let others = map.iter().enumerate().filter(|(_, r)| (r.host != own || r.size != 1) && !covers(&ours, r));
        let who = name.unwrap_or_else(|| uid.to_string());
        let fault = |(i, range): (usize, &IdRange)| {
            let last = u64::from(range.host) + u64::from(range.size) - 1;
            Error::field(format!("{}[{i}]", self.field), format!("{who} may not use the ids {} to {last}", range.host))
                .path(self.granted)
                .hint(format!("the line that allows it is {who}:{}:{}", range.host, range.size))
        };
        others.map(fault).collect()
    }

    /// Has the map written by who may.
    fn write(&self, pid: i32, map: &[IdRange], interrupt: BorrowedFd<'_>) -> Result<()> {
        let step = "cannot write the id map";
        let path = find(self.program).ok_or_else(|| Error::new(step).message(format!("{} not found", self.program)));
        let numbers = map.iter().flat_map(|r| [r.container, r.host, r.size]);
        let args = [self.program.to_owned(), pid.to_string()].into_iter().chain(numbers.map(|n| n.to_string()));
        let program = Hook {
            field: self.field.to_owned(),
            path: path.map_err(|e| e.in_field(self.field))?,
            args: args.collect(),
            env: None,
            timeout: Some(PATIENCE),
        };
        hooks::execute(&program, b"", None, None, Some(interrupt))
            .map_err(|e| e.during(step).in_field(self.field).path(&program.path).hint(self.granted))
    }
}

/// Writes the maps of a new user namespace's first process, which, without
/// privileges, must not hide yet.
///
/// # Errors
/// Names the field and the errno, or what newuidmap(1) says.
pub fn write_maps(pid: i32, maps: &IdMaps, proc: &Procfs, interrupt: BorrowedFd<'_>) -> Result<()> {
    let direct =
        |kind: &Kind, map: &[IdRange]| userns::write_map(pid, kind.file, map, proc).map_err(|e| e.in_field(kind.field));
    if !is() {
        return direct(&GROUPS, &maps.gid).and_then(|()| direct(&USERS, &maps.uid));
    }
    if is_only(&maps.gid, getegid().as_raw()) {
        // Else it could leave groups that are there to keep it out (CVE-2014-8989).
        proc.write(&of_process(pid, "setgroups")?, b"deny")
            .step("cannot forbid setgroups")
            .map_err(|e| e.in_field(GROUPS.field))?;
        direct(&GROUPS, &maps.gid)?;
    } else {
        GROUPS.write(pid, &maps.gid, interrupt)?;
    }
    match is_only(&maps.uid, geteuid().as_raw()) {
        true => direct(&USERS, &maps.uid),
        false => USERS.write(pid, &maps.uid, interrupt),
    }
}

/// Until this is dropped, children are born with the oom score that the config
/// asks for: they hide, and then only the machine's root may set it.
#[derive(Debug)]
pub struct OomScore<'a>(&'a Procfs, Vec<u8>);

impl<'a> OomScore<'a> {
    /// Takes it on.
    ///
    /// # Errors
    /// Names the field: `EACCES` when it is lower than our own.
    pub fn take(process: Option<&Process>, proc: &'a Procfs) -> Result<Option<Self>> {
        let Some(wanted) = process.and_then(|p| p.oom_score_adj) else { return Ok(None) };
        let step = "cannot set the oom score";
        let field = |e: Error| e.in_field("process.oomScoreAdj");
        let before = proc.read(c"self/oom_score_adj").step(step).map_err(field)?;
        set_score(proc, wanted.to_string().as_bytes())
            .step(step)
            .map_err(|e| field(e).hint("without privileges it can only be raised"))?;
        Ok(Some(Self(proc, before)))
    }
}

impl Drop for OomScore<'_> {
    fn drop(&mut self) {
        let _ = set_score(self.0, self.1.trim_ascii());
    }
}

fn set_score(proc: &Procfs, value: &[u8]) -> nix::Result<()> {
    let _visible = ids::Visible::now()?;
    proc.write(c"self/oom_score_adj", value)
}

/// A program in `PATH` or where such programs are.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = [path.as_os_str(), PLACES.as_ref()].map(|list| std::env::split_paths(list).collect::<Vec<_>>());
    let runs = |path: &PathBuf| {
        std::ffi::CString::new(path.as_os_str().as_bytes())
            .is_ok_and(|path| crate::sys::process::may_execute(&path).is_ok())
    };
    dirs.into_iter().flatten().filter(|dir| dir.is_absolute()).map(|dir| dir.join(program)).find(runs)
}

/// Are ranges granted by something else than the files (nsswitch.conf(5), `subid`)?
fn elsewhere() -> bool {
    let conf = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    conf.lines()
        .any(|line| line.trim_start().strip_prefix("subid").is_some_and(|rest| rest.trim_start().starts_with(':')))
}

/// Our name in `/etc/passwd`.
fn user_name() -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    let uid = geteuid().to_string();
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|f| f.get(2) == Some(&uid.as_str())).map(|f| f[0].to_owned())
}

/// First id and count of each range that a user has (subuid(5)).
fn ranges_of(text: &str, name: Option<&str>, uid: u32) -> Vec<(u64, u64)> {
    let ours = |who: &str| Some(who) == name || who == uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        ours(who).then_some((first, count))
    };
    let mut ranges: Vec<_> = text.lines().filter_map(range).collect();
    ranges.sort_unstable();
    ranges
}

/// Do sorted ranges, together, have all ids of another?
fn covers(ranges: &[(u64, u64)], wanted: &IdRange) -> bool {
    let (mut next, end) = (u64::from(wanted.host), u64::from(wanted.host) + u64::from(wanted.size));
    for (first, count) in ranges {
        if *first <= next {
            next = next.max(first + count);
        }
    }
    next >= end
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "root:1:2\nada:100000:1000\n# ada:7:7\n 1000:101000:500\nada:300000\nada:x:5\nbob:200000:65536\n";

    #[test]
    fn ranges() {
        assert_eq!(ranges_of(TEXT, Some("ada"), 1000), [(100_000, 1000), (101_000, 500)]);
        assert_eq!(ranges_of(TEXT, None, 1000), [(101_000, 500)]);
        assert_eq!(ranges_of(TEXT, Some("eve"), 1001), []);
        // A prefix of a name is another name.
        assert_eq!(ranges_of(TEXT, Some("ad"), 7), []);
    }

    #[test]
    fn covering() {
        let has = |host, size| covers(&[(100, 10), (110, 5), (200, 1)], &IdRange { container: 0, host, size });
        for (host, size, wanted) in [
            (100, 10, true),
            (100, 15, true),
            (105, 10, true),
            (100, 16, false),
            (99, 2, false),
            (115, 1, false),
            (200, 1, true),
            (u32::MAX - 1, 1, false),
        ] {
            assert_eq!(has(host, size), wanted, "{host} {size}");
        }
    }

    #[test]
    fn only_ones_own() {
        let map = |host, size| [IdRange { container: 5, host, size }];
        assert!(is_only(&map(7, 1), 7));
        assert!(!is_only(&map(7, 2), 7) && !is_only(&map(8, 1), 7) && !is_only(&[], 7));
    }
}
