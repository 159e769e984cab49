//! CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: a /proc that isn't.
//! CVE-2025-52881: writes meant for procfs that land elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use runtime_tests::bundle::mount;
use runtime_tests::{Case, json};

/// `/proc` or `/sys` is a link in the image. Followed, the real procfs is
/// mounted where the link points, and what the runtime writes to /proc/self/…
/// goes to files of the image: no LSM label, no sysctl is applied.
#[test]
fn symlinked_proc_and_sys() {
    for name in ["proc", "sys"] {
        for target in ["/tmp/fake", "tmp/fake", "./tmp/../tmp/fake", "/nowhere"] {
            let c = Case::new();
            fs::create_dir_all(c.rootfs("tmp/fake")).unwrap();
            fs::remove_dir(c.rootfs(name)).unwrap();
            symlink(target, c.rootfs(name)).unwrap();
            let at = if name == "proc" { "mounts[0]" } else { "mounts[5]" };
            c.create().fails_with(&[at, &format!("/{name}")]);
            c.assert_nothing_left();
        }
    }
}

/// The link goes through a directory another container may exchange.
#[test]
fn proc_that_is_a_file() {
    let c = Case::new();
    fs::remove_dir(c.rootfs("proc")).unwrap();
    fs::write(c.rootfs("proc"), "").unwrap();
    c.create().fails_with(&["mounts[0]", "/proc"]);
    c.assert_nothing_left();
}

/// An image with `VOLUME /proc` makes the engine bind a directory there.
#[test]
fn volume_over_proc() {
    for destination in
        ["/proc", "/proc/", "//proc", "/proc/self", "/proc/self/attr", "/./proc/sys/kernel", "/tmp/../proc"]
    {
        let mut c = Case::new();
        let volume = c.dir.join("volume");
        fs::create_dir_all(volume.join("self/attr")).unwrap();
        fs::write(volume.join("self/attr/exec"), "").unwrap();
        c.mount(destination, "bind", volume.to_str().unwrap(), &["rbind"]);
        let out = c.create();
        assert_eq!(out.code(), 1, "a volume was mounted on {destination}");
        assert!(out.stderr.contains("mounts[6]"), "{destination}: {}", out.stderr);
        assert_eq!(fs::read_to_string(volume.join("self/attr/exec")).unwrap(), "");
        c.assert_nothing_left();
    }
}

/// The destination looks harmless, the image makes it a link into /proc: the
/// volume would cover what the runtime, or another container's, relies on.
#[test]
fn volume_through_a_link_onto_proc() {
    for target in
        ["/proc", "proc", "/proc/self", "/proc/self/attr", "/proc/sys", "/proc/1", "/proc/thread-self/../self"]
    {
        let mut c = Case::new();
        let volume = c.dir.join("volume");
        fs::create_dir(&volume).unwrap();
        symlink(target, c.rootfs("data")).unwrap();
        c.mount("/data", "bind", volume.to_str().unwrap(), &["rbind"]);
        let out = c.create();
        assert_eq!(out.code(), 1, "a volume was mounted on {target}");
        assert!(out.stderr.contains("mounts[6]"), "{target}: {}", out.stderr);
        c.assert_nothing_left();
    }
}

/// No procfs is mounted, the image brings its own tree of ordinary files. What
/// the runtime sets must take effect all the same, or fail; the fakes stay empty.
#[test]
fn fake_proc_in_the_image() {
    let mut c = Case::new();
    let fakes = [
        "self/oom_score_adj",
        "sys/net/ipv4/ip_forward",
        "self/attr/exec",
        "self/timerslack_ns",
        "thread-self/attr/exec",
    ];
    for fake in fakes {
        let path = c.rootfs("proc").join(fake);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "fake").unwrap();
    }
    c.replace_mount("/proc", None);
    c.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    c.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })).set("/process/oomScoreAdj", 432);
    c.args(&["/bin/sleep", "1000"]);
    let out = c.create();
    if out.code() == 0 {
        c.verb("start").ok();
        let pid = c.pid();
        let adj = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(adj.trim(), "432", "said to be set, but written to a fake");
        // The network namespace's own knob, seen through the process.
        let seen =
            c.program("nsenter").args(["-t", &pid.to_string(), "-n", "cat", "/proc/sys/net/ipv4/ip_forward"]).go();
        assert_eq!(seen.ok().text(), "1", "said to be set, but written to a fake");
        c.delete();
    }
    for fake in fakes {
        assert_eq!(fs::read_to_string(c.rootfs("proc").join(fake)).unwrap(), "fake", "{fake}");
    }
}

/// The sysctl file is covered by a link to another: written through it, the
/// runtime changes the host's (a file standing in for core_pattern here).
#[test]
fn sysctl_through_a_link_of_the_image() {
    let mut c = Case::new();
    let canary = c.canary().join("core_pattern");
    let knob = c.rootfs("proc/sys/net/ipv4");
    fs::create_dir_all(&knob).unwrap();
    symlink(&canary, knob.join("ip_forward")).unwrap();
    symlink("/victim", knob.join("ip_default_ttl")).unwrap();
    fs::write(c.rootfs("victim"), "untouched").unwrap();
    c.replace_mount("/proc", None);
    c.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    c.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "net.ipv4.ip_default_ttl": "77" }));
    c.run();
    c.assert_canary_alone();
    assert_eq!(fs::read_to_string(c.rootfs("victim")).unwrap(), "untouched");
}

/// CVE-2026-115521: the root is made read-only last, by a runtime that looks
/// its target up as /proc/self/fd/N in a /proc of the image. There N is a link
/// to a harmless directory, which becomes read-only instead of `/`.
#[test]
fn deferred_remount_through_a_fake_proc() {
    let mut c = Case::new();
    fs::create_dir_all(c.rootfs("decoy")).unwrap();
    for base in ["self", "thread-self", "1", "1/task/1"] {
        let fd = c.rootfs("proc").join(base).join("fd");
        fs::create_dir_all(&fd).unwrap();
        for n in 0..64 {
            symlink("/decoy", fd.join(n.to_string())).unwrap();
        }
    }
    c.replace_mount("/proc", None);
    c.unset("/linux/maskedPaths").set("/linux/readonlyPaths", json!(["/etc"])).set("/root/readonly", true);
    c.replace_mount("/dev", Some(mount("/dev", "tmpfs", "tmpfs", &["mode=755", "ro"])));
    c.args(&["/bin/probe", "try", "create:/x", "create:/etc/x", "create:/dev/x"]);
    let out = c.run();
    if out.code() == 0 {
        let r = out.last_json();
        assert_eq!(r, json!({ "create:/x": "EROFS", "create:/etc/x": "EROFS", "create:/dev/x": "EROFS" }));
    }
    assert!(!c.rootfs("x").exists() && !c.rootfs("etc/x").exists());
}
