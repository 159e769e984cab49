//! What a container may have left behind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{host, paths, sys};

/// The variable that marks every process of a case: it is in the environment
/// of the commands run and of the containers' processes.
pub const MARK: &str = "ORLOP_TEST";

/// Processes that carry the mark of `tag`, zombies excluded (they have no environment).
pub fn processes(tag: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={tag}");
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| has_mark(*pid, wanted.as_bytes())).collect()
}

fn has_mark(pid: i32, wanted: &[u8]) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|b| *b == 0).any(|var| var == wanted)
}

/// Cgroups with `tag` in their name.
pub fn cgroups(tag: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(mount) = host::cgroup2() {
        walk(&mount, tag, &mut found);
    }
    found
}

fn walk(dir: &Path, tag: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            // Children first, the order in which they can be removed.
            walk(&entry.path(), tag, found);
            if entry
                .path()
                .strip_prefix(host::cgroup2().unwrap_or_default())
                .is_ok_and(|p| p.to_string_lossy().contains(tag))
            {
                found.push(entry.path());
            }
        }
    }
}

/// The mounts of this namespace: the text of mountinfo, by line.
pub fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    text.lines().map(str::to_owned).collect()
}

/// Mounts that are new since `before`, or changed, other than what parallel
/// cases have below their own directories.
pub fn new_mounts(before: &[String], own_dir: &Path) -> Vec<String> {
    let work = paths::work_dir();
    let work = work.file_name().expect("a name");
    let ours = |line: &String| {
        let point = Path::new(line.split(' ').nth(4).unwrap_or(""));
        // Any directory of that name: another checkout may be testing, too.
        point.starts_with(own_dir) || !point.iter().any(|part| part == work)
    };
    mounts().into_iter().filter(|line| ours(line) && !before.contains(line)).collect()
}

/// Everything a case left, in words; empty if nothing.
pub fn find(tag: &str, root: &Path, dir: &Path, before: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(processes(tag).iter().map(|pid| format!("process {pid} ({})", describe(*pid))));
    left.extend(cgroups(tag).iter().map(|p| format!("cgroup {}", p.display())));
    left.extend(new_mounts(before, dir).iter().map(|m| format!("mount {m}")));
    let states = fs::read_dir(root).into_iter().flatten().flatten();
    // Files as well: a socket or a lock nobody will need is a leftover.
    left.extend(states.map(|e| format!("state {}", e.path().display())));
    left
}

fn describe(pid: i32) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned()
}

/// Removes by force what a failed test left, so that the next one starts clean.
pub fn sweep_away(tag: &str, dir: &Path) {
    for pid in processes(tag) {
        let _ = sys::kill(pid, libc::SIGKILL);
    }
    for mount in mounts().iter().rev() {
        let point = Path::new(mount.split(' ').nth(4).unwrap_or(""));
        if point.starts_with(dir) {
            let _ = sys::umount(point);
        }
    }
    for cgroup in cgroups(tag) {
        let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
        let _ = fs::write(cgroup.join("cgroup.kill"), "1");
        for _ in 0..200 {
            if fs::remove_dir(&cgroup).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
