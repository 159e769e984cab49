//! `mounts`, as they look from inside: types, options, destinations.

mod bind;
mod propagation;
mod special;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use runtime_tests::{Case, Value, host, json, leaks, require, sys};

fn text_list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The topmost mount at a path, seen from inside.
#[track_caller]
fn seen_at(c: &mut Case, path: &str) -> Value {
    let list = c.probe(&["mountinfo", path]);
    list.as_array().unwrap().last().unwrap_or_else(|| panic!("nothing mounted at {path}")).clone()
}

/// A directory on the host to bind, with a file and a sub-mount below it.
fn source(c: &Case) -> String {
    let dir = c.dir.join("source");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("file"), "content").unwrap();
    dir.to_str().unwrap().to_owned()
}

/// A tmpfs on the host, taken away at the end.
struct HostMount(std::path::PathBuf);

impl HostMount {
    fn tmpfs(at: impl AsRef<std::path::Path>) -> Self {
        fs::create_dir_all(&at).unwrap();
        sys::mount("t", &at, "tmpfs", 0, "").unwrap();
        sys::mount("", &at, "", libc::MS_PRIVATE, "").unwrap();
        Self(at.as_ref().to_owned())
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = sys::umount(&self.0);
    }
}

// ---- options, one by one

#[test]
fn options_that_are_mount_attributes() {
    let set = ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow", "ro", "relatime"];
    for option in set {
        let mut c = Case::new();
        c.mount("/m", "tmpfs", "tmpfs", &[option]);
        let m = seen_at(&mut c, "/m");
        assert!(text_list(&m["options"]).contains(&option), "{option}: {m}");
        // And on a bind.
        let from = source(&c);
        c.mount("/b", "bind", &from, &["bind", option]);
        let m = seen_at(&mut c, "/b");
        assert!(text_list(&m["options"]).contains(&option), "bind {option}: {m}");
    }
}

#[test]
fn later_option_wins() {
    let pairs = [("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec"), ("noatime", "atime")];
    for (one, opposite) in pairs {
        let mut c = Case::new();
        c.mount("/m", "tmpfs", "tmpfs", &[one, opposite]);
        let m = seen_at(&mut c, "/m");
        assert!(!text_list(&m["options"]).contains(&one), "{one},{opposite}: {m}");
        let mut c = Case::new();
        c.mount("/m", "tmpfs", "tmpfs", &[opposite, one]);
        let m = seen_at(&mut c, "/m");
        assert!(text_list(&m["options"]).contains(&one), "{opposite},{one}: {m}");
    }
}

#[test]
fn superblock_options() {
    let mut c = Case::new();
    c.mount("/m", "tmpfs", "tmpfs", &["sync", "dirsync", "lazytime", "silent", "iversion"]);
    let m = seen_at(&mut c, "/m");
    for wanted in ["sync", "dirsync", "lazytime"] {
        assert!(text_list(&m["super"]).contains(&wanted), "{wanted}: {m}");
    }
    let mut c = Case::new();
    c.mount("/m", "tmpfs", "tmpfs", &["sync", "async", "defaults", "loud", "noiversion", "nolazytime", "nomand"]);
    let m = seen_at(&mut c, "/m");
    assert!(!text_list(&m["super"]).contains(&"sync"), "{m}");
}

#[test]
fn atime_modes() {
    for (options, wanted) in [
        (&["strictatime"][..], None),
        (&["noatime"], Some("noatime")),
        (&["relatime"], Some("relatime")),
        (&["noatime", "strictatime"], None),
        (&["strictatime", "noatime"], Some("noatime")),
    ] {
        let mut c = Case::new();
        c.mount("/m", "tmpfs", "tmpfs", options);
        let m = seen_at(&mut c, "/m");
        let seen = text_list(&m["options"]).into_iter().find(|o| o.ends_with("atime") && *o != "nodiratime");
        assert_eq!(seen, wanted, "{options:?}: {m}");
    }
}

#[test]
fn tmpfs_data() {
    let mut c = Case::new();
    let options = ["size=64k", "mode=1750", "uid=7", "gid=8", "nr_inodes=20"];
    c.mount("/m", "tmpfs", "tmpfs", &options);
    let r = c.attempts(&["stat:/m"]);
    assert_eq!((&r["stat:/m"]["mode"], &r["stat:/m"]["uid"]), (&json!("1750"), &json!(7)));
    let m = seen_at(&mut c, "/m");
    assert!(text_list(&m["super"]).contains(&"size=64k"), "{m}");
    // The limit is the kernel's, not a word: writing more fails.
    c.sh("dd if=/dev/zero of=/m/x bs=1k count=100 2>/dev/null; stat -c %s /m/x");
    assert_eq!(c.run().ok().text(), "65536");
}

#[test]
fn unknown_option_is_for_the_filesystem() {
    let mut c = Case::new();
    c.mount("/m", "tmpfs", "tmpfs", &["no-such-option"]);
    c.create().fails_with(&["mounts[6]", "invalid argument"]);
    c.assert_nothing_left();
}

// ---- destinations

#[test]
fn destinations_are_made() {
    let mut c = Case::new();
    c.mount("/a/b/c", "tmpfs", "tmpfs", &[]);
    let r = c.attempts(&["stat:/a", "stat:/a/b"]);
    assert_eq!((&r["stat:/a"]["mode"], &r["stat:/a/b"]["mode"]), (&json!("755"), &json!("755")));
    assert!(c.rootfs("a/b/c").is_dir());
}

#[test]
fn relative_destination_is_below_the_root() {
    let mut c = Case::new();
    c.mount("relative/x", "tmpfs", "tmpfs", &["mode=700"]);
    assert_eq!(c.attempts(&["stat:/relative/x"])["stat:/relative/x"]["mode"], "700");
}

#[test]
fn order_is_the_configs() {
    let mut c = Case::new();
    // The second covers the first; the third is below the second.
    c.mount("/m", "tmpfs", "tmpfs", &["mode=711"]).mount("/m", "tmpfs", "tmpfs", &["mode=722"]);
    c.mount("/m/sub", "tmpfs", "tmpfs", &["mode=733"]);
    let r = c.attempts(&["stat:/m", "stat:/m/sub"]);
    assert_eq!((&r["stat:/m"]["mode"], &r["stat:/m/sub"]["mode"]), (&json!("722"), &json!("733")));
}

#[test]
fn symlink_in_a_destination_is_resolved_inside() {
    let mut c = Case::new();
    let canary = c.canary();
    // Absolute, relative with too many `..`, and dangling: all end in the rootfs.
    symlink(&canary, c.rootfs("absolute")).unwrap();
    symlink("../../../../../../../../../inside", c.rootfs("upwards")).unwrap();
    symlink("/not/there/yet", c.rootfs("dangling")).unwrap();
    for link in ["absolute", "upwards", "dangling"] {
        c.mount(&format!("/{link}/x"), "tmpfs", "tmpfs", &["mode=707"]);
    }
    let there = format!("stat:{}/x", canary.display());
    let r = c.attempts(&[&there, "stat:/inside/x", "stat:/not/there/yet/x"]);
    for op in [there.as_str(), "stat:/inside/x", "stat:/not/there/yet/x"] {
        assert_eq!(r[op]["mode"], "707", "{op}: {r}");
    }
    c.assert_canary_alone();
}

#[test]
fn tmpfs_takes_the_mode_of_the_directory_it_covers() {
    let mut c = Case::new();
    fs::create_dir(c.rootfs("covered")).unwrap();
    fs::set_permissions(c.rootfs("covered"), fs::Permissions::from_mode(0o2711)).unwrap();
    c.mount("/covered", "tmpfs", "tmpfs", &[]);
    assert_eq!(c.attempts(&["stat:/covered"])["stat:/covered"]["mode"], "2711");
}

#[test]
fn proc_only_on_proc() {
    // CVE-2019-16884: nothing but procfs may be at /proc, and nothing below it.
    for (destination, kind) in [("/proc", "tmpfs"), ("/proc/sys", "tmpfs"), ("/proc/self/attr", "tmpfs")] {
        let mut c = Case::new();
        c.mount(destination, kind, kind, &[]);
        c.create().fails_with(&["mounts[6]", destination]);
        c.assert_nothing_left();
    }
    // What lxcfs provides is allowed.
    let mut c = Case::new();
    let from = format!("{}/file", source(&c));
    c.mount("/proc/meminfo", "bind", &from, &["bind"]);
    assert_eq!(c.attempts(&["read:/proc/meminfo"])["read:/proc/meminfo"], "content");
}

// ---- types

#[test]
fn usual_filesystems() {
    let mut c = Case::new();
    for (path, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        assert_eq!(seen_at(&mut c, path)["type"], kind, "{path}");
    }
    let r = c.attempts(&["create:/sys/x", "link:/dev/ptmx", "stat:/dev/pts/ptmx", "stat:/dev/shm"]);
    assert_eq!(r["link:/dev/ptmx"], "pts/ptmx");
    assert_eq!(r["stat:/dev/pts/ptmx"]["mode"], "666");
    assert_eq!(r["stat:/dev/shm"]["mode"], "1777");
}

#[test]
fn cgroup_mount() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
    let m = seen_at(&mut c, "/sys/fs/cgroup");
    assert_eq!(m["type"], "cgroup2");
    for option in ["ro", "nosuid", "noexec", "nodev"] {
        assert!(text_list(&m["options"]).contains(&option), "{option}: {m}");
    }
    // With a cgroup namespace the container's own cgroup is the root.
    c.sh("cat /sys/fs/cgroup/cgroup.procs; cat /proc/self/cgroup | grep ^0");
    let out = c.run().ok();
    assert!(out.stdout.starts_with("1\n") && out.stdout.ends_with("0::/\n"), "{}", out.stdout);
}

#[test]
fn cgroup_mount_can_be_written() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev"]);
    c.sh("mkdir /sys/fs/cgroup/sub && ls -d /sys/fs/cgroup/sub");
    // The sub-cgroup is removed with the container: the case's end looks.
    assert_eq!(c.run().ok().text(), "/sys/fs/cgroup/sub");
}

#[test]
fn only_the_first_mount_with_files_can_be_the_root() {
    for (destination, kind) in [("/", "proc"), ("//", "sysfs"), ("/.", "cgroup"), ("/tmp/..", "tmpfs")] {
        let mut c = Case::new();
        c.mount(destination, kind, kind, &[]);
        c.create().fails_with(&["mounts[6].destination"]);
        c.assert_nothing_left();
    }
}

#[test]
fn unknown_filesystem() {
    let mut c = Case::new();
    c.mount("/m", "nosuchfs", "x", &[]);
    c.create().fails_with(&["mounts[6]", "no such device"]);
    c.assert_nothing_left();
}

#[test]
fn host_mounts_stay_as_they_are() {
    let before = leaks::mounts();
    let mut c = Case::new();
    c.mount("/m", "tmpfs", "tmpfs", &["shared"]);
    c.run().ok();
    // Byte for byte, other than what parallel cases mount in their own directories.
    assert_eq!(leaks::new_mounts(&before, &c.dir), Vec::<String>::new());
    let work = runtime_tests::paths::work_dir();
    let now = leaks::mounts();
    let gone: Vec<_> = before.iter().filter(|l| !l.contains(work.to_str().unwrap()) && !now.contains(l)).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

/// As podman has it with `--privileged` in a user namespace: the host's devices, each bound.
#[test]
fn ptmx_of_the_configs_own() {
    let mut c = Case::new();
    c.mount("/dev/ptmx", "bind", "/dev/ptmx", &["bind"]);
    c.sh("stat -c %F /dev/ptmx; grep -c ' /dev/ptmx ' /proc/self/mountinfo");
    assert_eq!(c.run().ok().text(), "character special file\n1");
}
