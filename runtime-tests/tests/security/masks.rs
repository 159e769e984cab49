//! CVE-2025-31133, CVE-2025-62161: masking with a /dev/null that isn't one.
//! CVE-2025-52565: a console that isn't one.

use std::fs;
use std::os::unix::fs::symlink;

use runtime_tests::console::FdSocket;
use runtime_tests::{Case, json};

fn without_dev_mounts(c: &mut Case) {
    for at in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        c.replace_mount(at, None);
    }
}

/// The image's /dev/null is a link to a file of procfs. Bound over the masked
/// path, that file can be written there: a host breakout by core_pattern.
#[test]
fn mask_by_a_link() {
    let knob = "/proc/sys/kernel/core_pattern";
    let before = fs::read_to_string(knob).unwrap();
    for (target, bound) in [("/victim", false), (knob, false), ("/victim", true), (knob, true)] {
        let mut c = Case::new();
        without_dev_mounts(&mut c);
        fs::write(c.rootfs("victim"), "victim").unwrap();
        fs::write(c.rootfs("masked"), "secret").unwrap();
        symlink(target, c.rootfs("dev/null")).unwrap();
        if bound {
            // Into a /dev of the config's own nothing is put that would notice the link.
            let dev = c.rootfs("dev").display().to_string();
            c.mount("/dev", "bind", &dev, &["bind"]);
        }
        c.set("/linux/maskedPaths", json!(["/masked"]));
        c.sh("cat /masked; echo attack > /masked; true");
        let out = c.run();
        let after = fs::read_to_string(knob).unwrap();
        // An attack that worked must not outlast the test.
        fs::write(knob, &before).unwrap();
        assert!(!out.stdout.contains("victim") && !out.stdout.contains("secret"), "{}", out.stdout);
        assert!(!out.stdout.contains(before.trim()) || before.trim().is_empty(), "{}", out.stdout);
        assert_eq!(fs::read_to_string(c.rootfs("victim")).unwrap(), "victim");
        assert_eq!(after, before);
        assert_eq!(fs::read_to_string(c.rootfs("masked")).unwrap(), "secret");
    }
}

/// A file, a directory or another device in its place.
#[test]
fn mask_by_something_else() {
    for kind in ["file", "dir", "zero"] {
        let mut c = Case::new();
        without_dev_mounts(&mut c);
        fs::write(c.rootfs("masked"), "secret").unwrap();
        let null = c.rootfs("dev/null");
        match kind {
            "file" => fs::write(&null, "not null").unwrap(),
            "dir" => fs::create_dir(&null).unwrap(),
            _ => runtime_tests::sys::mknod(&null, 0o020_666, 1, 5).unwrap(),
        }
        c.set("/linux/maskedPaths", json!(["/masked"])).args(&["/bin/probe", "try", "read:/masked"]);
        let out = c.run();
        if out.code() == 0 {
            assert_eq!(out.last_json()["read:/masked"], "", "{kind}");
        }
    }
}

/// The image plants /dev/pts/0, which the console would be bound from: then
/// /dev/console is a file of the attacker's choice, mounted before masks are.
#[test]
fn console_from_a_planted_pts() {
    for (name, target) in [("dev/pts/0", "/etc/passwd"), ("dev/pts/ptmx", "/etc/passwd"), ("dev/ptmx", "/etc/passwd")] {
        let mut c = Case::new();
        without_dev_mounts(&mut c);
        fs::create_dir_all(c.rootfs("dev/pts")).unwrap();
        symlink(target, c.rootfs(name)).unwrap();
        c.set("/process/terminal", true).args(&["/bin/sleep", "1000"]);
        let socket = FdSocket::new();
        let out = c.launch("create", &["--console-socket", socket.path.to_str().unwrap()], &c.id).go();
        if out.code() != 0 {
            c.assert_nothing_left();
            continue;
        }
        c.verb("start").ok();
        let r = c.exec_probe(&[], &["try", "stat:/dev/console"]);
        assert_eq!(
            (&r["stat:/dev/console"]["kind"], &r["stat:/dev/console"]["major"]),
            (&json!("char"), &json!(136)),
            "{name}"
        );
        c.delete();
    }
}

/// /dev/pts is a link, so that the ptmx opened is another's.
#[test]
fn pts_is_a_link() {
    let mut c = Case::new();
    let canary = c.canary();
    without_dev_mounts(&mut c);
    symlink(&canary, c.rootfs("dev/pts")).unwrap();
    c.set("/process/terminal", true);
    let socket = FdSocket::new();
    c.launch("create", &["--console-socket", socket.path.to_str().unwrap()], &c.id).go();
    c.delete();
    c.assert_canary_alone();
}
