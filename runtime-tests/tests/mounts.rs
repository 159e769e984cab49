//! `mounts`, as they look from inside: types, options, destinations.

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

// ---- bind

#[test]
fn bind_is_writable_and_ro_is_not() {
    let mut c = Case::new();
    let from = source(&c);
    c.mount("/rw", "bind", &from, &["bind"]).mount("/ro", "bind", &from, &["bind", "ro"]);
    let r = c.attempts(&["create:/rw/new", "create:/ro/other", "read:/ro/file"]);
    assert_eq!(r, json!({ "create:/rw/new": 0, "create:/ro/other": "EROFS", "read:/ro/file": "content" }));
    assert!(c.dir.join("source/new").exists());
}

#[test]
fn type_bind_without_the_option_is_a_bind() {
    let mut c = Case::new();
    let from = source(&c);
    c.mount("/b", "bind", &from, &["ro"]).mount("/none", "none", &from, &["rbind"]);
    let r = c.attempts(&["read:/b/file", "create:/b/x", "read:/none/file"]);
    assert_eq!(r, json!({ "read:/b/file": "content", "create:/b/x": "EROFS", "read:/none/file": "content" }));
}

#[test]
fn rbind_takes_submounts_along_and_bind_does_not() {
    let mut c = Case::new();
    let from = source(&c);
    let _sub = HostMount::tmpfs(c.dir.join("source/sub"));
    fs::write(c.dir.join("source/sub/inner"), "").unwrap();
    c.mount("/one", "bind", &from, &["bind"]).mount("/all", "bind", &from, &["rbind"]);
    let r = c.attempts(&["ls:/one/sub", "ls:/all/sub"]);
    assert_eq!(r, json!({ "ls:/one/sub": [], "ls:/all/sub": ["inner"] }));
}

#[test]
fn ro_and_rro_differ_on_submounts() {
    let mut c = Case::new();
    let from = source(&c);
    let _sub = HostMount::tmpfs(c.dir.join("source/sub"));
    c.mount("/ro", "bind", &from, &["rbind", "ro"]).mount("/rro", "bind", &from, &["rbind", "rro"]);
    let ops = ["create:/ro/x", "create:/ro/sub/x", "create:/rro/x", "create:/rro/sub/y"];
    let r = c.attempts(&ops);
    assert_eq!(r, json!({ ops[0]: "EROFS", ops[1]: 0, ops[2]: "EROFS", ops[3]: "EROFS" }));
}

#[test]
fn recursive_attributes() {
    let list = [
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnodiratime", "nodiratime"),
        ("rnoatime", "noatime"),
        ("rnosymfollow", "nosymfollow"),
        ("rro", "ro"),
    ];
    for (option, seen) in list {
        let mut c = Case::new();
        let from = source(&c);
        let _sub = HostMount::tmpfs(c.dir.join("source/sub"));
        c.mount("/m", "bind", &from, &["rbind", option]);
        for path in ["/m", "/m/sub"] {
            let m = seen_at(&mut c, path);
            assert!(text_list(&m["options"]).contains(&seen), "{option} at {path}: {m}");
        }
    }
}

#[test]
fn recursive_attributes_cleared() {
    let mut c = Case::new();
    let from = source(&c);
    let sub = HostMount::tmpfs(c.dir.join("source/sub"));
    let locked = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOEXEC | libc::MS_NOSUID;
    sys::mount("", &sub.0, "", locked, "").unwrap();
    c.mount("/m", "bind", &from, &["rbind", "rexec", "rsuid", "rrw", "rdev", "rstrictatime"]);
    let m = seen_at(&mut c, "/m/sub");
    let options = text_list(&m["options"]);
    assert!(!options.contains(&"noexec") && !options.contains(&"nosuid"), "{m}");
}

#[test]
fn bind_keeps_the_sources_flags_unless_told() {
    let mut c = Case::new();
    let host = HostMount::tmpfs(c.dir.join("flags"));
    sys::mount("", &host.0, "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOEXEC, "").unwrap();
    let from = host.0.to_str().unwrap().to_owned();
    c.mount("/kept", "bind", &from, &["bind"]).mount("/cleared", "bind", &from, &["bind", "exec"]);
    assert!(text_list(&seen_at(&mut c, "/kept")["options"]).contains(&"noexec"));
    assert!(!text_list(&seen_at(&mut c, "/cleared")["options"]).contains(&"noexec"));
}

#[test]
fn bind_of_a_file() {
    let mut c = Case::new();
    let from = format!("{}/file", source(&c));
    c.mount("/etc/new/config", "bind", &from, &["bind", "ro"]);
    c.mount("/etc/passwd", "bind", &from, &["rbind", "rprivate"]);
    let r = c.attempts(&["read:/etc/new/config", "read:/etc/passwd", "open:/etc/new/config:w"]);
    assert_eq!(r["read:/etc/new/config"], "content");
    assert_eq!(r["read:/etc/passwd"], "content");
    assert_eq!(r["open:/etc/new/config:w"], "EROFS");
}

#[test]
fn bind_of_a_relative_source_is_below_the_bundle() {
    let mut c = Case::new();
    fs::write(c.bundle.join("beside"), "beside the config").unwrap();
    c.mount("/beside", "bind", "beside", &["bind"]);
    let run = |c: &Case| c.launch("run", &[], &c.id).cwd("/").go();
    c.args(&["/bin/cat", "/beside"]);
    assert_eq!(run(&c).ok().text(), "beside the config");
}

#[test]
fn bind_tolerates_filesystem_data() {
    // runtime-tools and some engines send such options on binds.
    let mut c = Case::new();
    let from = source(&c);
    c.mount("/m", "bind", &from, &["bind", "strictatime", "mode=755", "size=1k"]);
    assert_eq!(c.attempts(&["read:/m/file"])["read:/m/file"], "content");
}

#[test]
fn bind_of_nothing() {
    let mut c = Case::new();
    c.mount("/m", "bind", "/no/such/source", &["bind"]);
    c.create().fails_with(&["mounts[6]", "/no/such/source", "no such file or directory"]);
    c.assert_nothing_left();
}

#[test]
fn directory_onto_file_and_file_onto_directory() {
    let mut c = Case::new();
    let from = source(&c);
    c.mount("/etc/passwd", "bind", &from, &["bind"]);
    c.create().fails_with(&["mounts[6]", "not a directory"]);
    let mut c = Case::new();
    let from = format!("{}/file", source(&c));
    c.mount("/tmp", "bind", &from, &["bind"]);
    c.create().fails_with(&["mounts[6]"]);
    c.assert_nothing_left();
}

#[test]
fn propagation() {
    let list = [
        (&["rprivate"][..], "private"),
        (&["private"], "private"),
        (&["slave"], "slave"),
        (&["rslave"], "slave"),
        (&["shared"], "shared"),
        (&["rshared"], "shared"),
        (&["unbindable"], "unbindable"),
        (&["slave", "shared"], "shared"),
    ];
    for (options, wanted) in list {
        let mut c = Case::new();
        let host = HostMount::tmpfs(c.dir.join("shared"));
        sys::mount("", &host.0, "", libc::MS_SHARED, "").unwrap();
        let all: Vec<&str> = ["rbind"].iter().chain(options).copied().collect();
        c.mount("/m", "bind", host.0.to_str().unwrap(), &all);
        let m = seen_at(&mut c, "/m");
        let tags = text_list(&m["propagation"]);
        let has = |name: &str| tags.iter().any(|t| t.starts_with(name));
        let seen = match (has("shared:"), has("master:"), has("unbindable")) {
            // Also a slave when the root is one (rslave is the default).
            (true, ..) => "shared",
            (false, true, _) => "slave",
            (_, _, true) => "unbindable",
            _ => "private",
        };
        assert_eq!(seen, wanted, "{options:?}: {m}");
    }
}

/// What the container mounts in a shared volume is the host's, too (Kubernetes
/// says Bidirectional); podman and docker make the root shared for it. What the
/// host has mounted stays: the way to the root does not reach it.
#[test]
fn shared_volume_gives_mounts_to_the_host() {
    for (root, option) in [("shared", "shared"), ("rshared", "rshared"), ("shared", "rshared")] {
        let mut c = Case::new();
        let host = HostMount::tmpfs(c.dir.join("volume"));
        sys::mount("", &host.0, "", libc::MS_SHARED, "").unwrap();
        for name in ["mine", "theirs"] {
            fs::create_dir(host.0.join(name)).unwrap();
        }
        let theirs = HostMount::tmpfs(host.0.join("theirs"));
        c.mount("/m", "bind", host.0.to_str().unwrap(), &["rbind", option]).set("/linux/rootfsPropagation", root);
        c.add_caps(&["CAP_SYS_ADMIN"]).args(&["/bin/sleep", "1000"]);
        c.start();
        let m = c.exec_probe(&[], &["mountinfo", "/m"])[0].clone();
        let tags = text_list(&m["propagation"]);
        assert!(tags.len() == 1 && tags[0].starts_with("shared:"), "{root}, {option}: {m}");
        assert_eq!(c.exec_probe(&[], &["try", "mount:/m/mine:tmpfs"])["mount:/m/mine:tmpfs"], 0);
        let arrived = sys::umount(host.0.join("mine"));
        c.delete();
        assert!(arrived.is_ok(), "{root}, {option}: a mount of the container's on the host: {arrived:?}");
        assert!(sys::umount(&theirs.0).is_ok(), "{root}, {option}: a mount of the host's that is gone");
    }
}

#[test]
fn slave_volume_sees_later_mounts_of_the_host() {
    let mut c = Case::new();
    let host = HostMount::tmpfs(c.dir.join("volume"));
    sys::mount("", &host.0, "", libc::MS_SHARED, "").unwrap();
    fs::create_dir(host.0.join("later")).unwrap();
    c.mount("/slave", "bind", host.0.to_str().unwrap(), &["rbind", "rslave"]);
    c.mount("/private", "bind", host.0.to_str().unwrap(), &["rbind", "rprivate"]);
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    let later = HostMount::tmpfs(host.0.join("later"));
    fs::write(later.0.join("x"), "").unwrap();
    let r = c.exec_probe(&[], &["try", "ls:/slave/later", "ls:/private/later"]);
    assert_eq!(r, json!({ "ls:/slave/later": ["x"], "ls:/private/later": [] }));
    c.delete();
    drop(later);
}

// ---- special options

#[test]
fn tmpcopyup() {
    let mut c = Case::new();
    let data = c.rootfs("data");
    fs::create_dir_all(data.join("deep")).unwrap();
    fs::write(data.join("deep/file"), "inside").unwrap();
    fs::set_permissions(data.join("deep/file"), fs::Permissions::from_mode(0o4640)).unwrap();
    sys::chown(data.join("deep"), 12, 13);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    sys::mknod(data.join("fifo"), libc::S_IFIFO | 0o600, 0, 0).unwrap();
    c.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"]);
    let ops = [
        "stat:/data",
        "stat:/data/deep",
        "stat:/data/deep/file",
        "link:/data/link",
        "stat:/data/fifo",
        "create:/data/x",
    ];
    let r = c.attempts(&ops);
    assert_eq!(r["stat:/data"]["mode"], "750");
    assert_eq!((&r["stat:/data/deep"]["uid"], &r["stat:/data/deep"]["gid"]), (&json!(12), &json!(13)));
    assert_eq!(r["stat:/data/deep/file"]["mode"], "4640");
    assert_eq!(r["link:/data/link"], "/etc/passwd");
    assert_eq!(r["stat:/data/fifo"]["kind"], "fifo");
    assert_eq!(r["create:/data/x"], 0);
    assert!(!data.join("x").exists(), "written to the copy");
    let m = seen_at(&mut c, "/data");
    assert_eq!(m["type"], "tmpfs");
}

/// podman's `--tmpfs` is always a copy, and may say how its directory is to be.
#[test]
fn tmpcopyup_leaves_what_options_say() {
    let mut c = Case::new();
    let data = c.rootfs("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "inside").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    sys::chown(&data, 12, 13);
    let mut found = |options: &[&str]| {
        c.mount("/data", "tmpfs", "tmpfs", &[&["tmpcopyup"], options].concat());
        let r = c.attempts(&["stat:/data", "read:/data/file"]);
        c.replace_mount("/data", None);
        assert_eq!(r["read:/data/file"], "inside");
        ["mode", "uid", "gid"].map(|key| r["stat:/data"][key].clone())
    };
    assert_eq!(found(&[]), [json!("700"), json!(12), json!(13)]);
    assert_eq!(found(&["mode=1770"]), [json!("1770"), json!(12), json!(13)]);
    assert_eq!(found(&["uid=3", "gid=4", "mode=2755"]), [json!("2755"), json!(3), json!(4)]);
}

#[test]
fn tmpcopyup_read_only() {
    let mut c = Case::new();
    fs::create_dir(c.rootfs("data")).unwrap();
    fs::write(c.rootfs("data/file"), "inside").unwrap();
    c.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    let r = c.attempts(&["read:/data/file", "create:/data/x"]);
    assert_eq!(r, json!({ "read:/data/file": "inside", "create:/data/x": "EROFS" }));
}

#[test]
fn copy_symlink() {
    let mut c = Case::new();
    symlink("/etc/passwd", c.dir.join("link")).unwrap();
    let from = c.dir.join("link").to_str().unwrap().to_owned();
    c.mount("/etc/copied", "bind", &from, &["bind", "copy-symlink"]);
    assert_eq!(c.attempts(&["link:/etc/copied"])["link:/etc/copied"], "/etc/passwd");
    // The same link already there is fine, another one is not.
    assert_eq!(c.attempts(&["link:/etc/copied"])["link:/etc/copied"], "/etc/passwd");
    fs::remove_file(c.rootfs("etc/copied")).unwrap();
    symlink("/etc/group", c.rootfs("etc/copied")).unwrap();
    c.create().fails_with(&["mounts[6]"]);
    c.assert_nothing_left();
}

#[test]
fn nofollow() {
    let mut c = Case::new();
    symlink("/nowhere", c.dir.join("link")).unwrap();
    fs::write(c.rootfs("etc/target"), "target").unwrap();
    symlink("/etc/target", c.rootfs("etc/there")).unwrap();
    let file = format!("{}/file", source(&c));
    let link = c.dir.join("link").to_str().unwrap().to_owned();
    c.mount("/etc/there", "bind", &file, &["bind", "dest-nofollow"]);
    c.mount("/etc/there2", "bind", &link, &["bind", "src-nofollow", "copy-symlink"]);
    let r = c.attempts(&["read:/etc/target", "read:/etc/there", "link:/etc/there2"]);
    assert_eq!(r["read:/etc/target"], "target", "what the link names is not covered");
    assert_eq!(r["read:/etc/there"], "content", "the link itself is");
    assert_eq!(r["link:/etc/there2"], "/nowhere");
}

#[test]
fn src_nofollow_binds_the_link_itself() {
    let mut c = Case::new();
    symlink("/etc/passwd", c.dir.join("link")).unwrap();
    symlink("/old", c.rootfs("etc/there")).unwrap();
    let link = c.dir.join("link").to_str().unwrap().to_owned();
    c.mount("/etc/there", "bind", &link, &["bind", "src-nofollow", "dest-nofollow"]);
    assert_eq!(c.attempts(&["link:/etc/there"])["link:/etc/there"], "/etc/passwd");
}

#[test]
fn remount_changes_what_is_there() {
    let mut c = Case::new();
    c.mount("/m", "tmpfs", "tmpfs", &["rw"]).mount("/m", "", "", &["remount", "ro", "nosuid"]);
    assert_eq!(c.attempts(&["create:/m/x"])["create:/m/x"], "EROFS");
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
