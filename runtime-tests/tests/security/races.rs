//! CVE-2021-30465, CVE-2024-45310, GHSA-3q8j-pf29-vwv8: a sibling exchanges a
//! directory and a link, atomically and without pause, while we work.
//!
//! Every round starts a container.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use runtime_tests::{Case, host, json, sys};

/// Runs `work` while a thread exchanges `a` and `b` as fast as it can.
fn while_swapping(a: PathBuf, b: PathBuf, mut work: impl FnMut()) {
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sys::exchange(&a, &b).expect("RENAME_EXCHANGE");
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut work));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(swaps.load(Ordering::Relaxed) > 100, "the attack itself did not run");
}

fn trap(c: &Case, target: &Path) -> (PathBuf, PathBuf) {
    let (a, b) = (c.rootfs("a"), c.rootfs("b"));
    fs::create_dir(&a).unwrap();
    symlink(target, &b).unwrap();
    (a, b)
}

/// Whatever is made below /a appears in the canary if the path is resolved
/// once for a check and again for use, or by a walk that trusts its parents.
#[test]
fn exchange_of_a_mount_parent() {
    let mut c = Case::new();
    let (a, b) = trap(&c, &c.canary());
    let file = c.dir.join("file");
    fs::write(&file, "").unwrap();
    c.mount("/a/dir", "tmpfs", "tmpfs", &[]).mount("/a/deep/er", "tmpfs", "tmpfs", &[]);
    c.mount("/a/file", "bind", file.to_str().unwrap(), &["bind"]);
    c.set("/linux/devices", json!([{ "path": "/a/node", "type": "c", "major": 1, "minor": 3 }]));
    c.set("/process/cwd", "/a/cwd/deep");
    while_swapping(a.clone(), b.clone(), || {
        for _ in 0..host::rounds(200) {
            // May fail: the directory is a dangling link half the time.
            c.run();
            c.assert_canary_alone();
            for made in ["dir", "deep", "file", "node", "cwd"] {
                for base in [&a, &b] {
                    let _ = fs::remove_dir_all(base.join(made));
                    let _ = fs::remove_file(base.join(made));
                }
            }
            let _ = fs::remove_dir_all(c.rootfs(c.canary().to_str().unwrap()));
        }
    });
}

/// A volume with a hostile sibling: the volume is mounted, the next mount goes
/// below it, the sibling turns its parent into a link to `/`.
#[test]
fn exchange_inside_a_shared_volume() {
    let mut c = Case::new();
    let volume = c.dir.join("volume");
    fs::create_dir_all(volume.join("a")).unwrap();
    symlink("/../../../../../../../../..", volume.join("b")).unwrap();
    let marker = format!("marker-{}", c.id);
    c.mount("/volume", "bind", volume.to_str().unwrap(), &["rbind"]);
    c.mount(&format!("/volume/a/{marker}"), "tmpfs", "tmpfs", &[]);
    while_swapping(volume.join("a"), volume.join("b"), || {
        for _ in 0..host::rounds(100) {
            c.run();
            let escaped = Path::new("/").join(&marker);
            let made = fs::remove_dir(&escaped).is_ok();
            assert!(!made, "made in the host's root");
            let _ = fs::remove_dir(c.rootfs(&marker));
        }
    });
}

/// Bind the path on itself, then make it read-only: with the path resolved
/// twice, the bind and the flag hit different directories, and a mount is left
/// at one of them without `ro`.
#[test]
fn exchange_below_a_readonly_path() {
    let mut c = Case::new();
    for name in ["a", "b"] {
        fs::create_dir_all(c.rootfs(name).join("keep")).unwrap();
    }
    c.set("/linux/readonlyPaths", json!(["/a/keep"])).args(&["/bin/probe", "mountinfo"]);
    while_swapping(c.rootfs("a"), c.rootfs("b"), || {
        for _ in 0..host::rounds(100) {
            let list = c.run().ok().last_json();
            let kept: Vec<_> =
                list.as_array().unwrap().iter().filter(|m| m["point"].as_str().unwrap().ends_with("/keep")).collect();
            assert!(!kept.is_empty(), "no read-only path at all");
            for m in kept {
                assert!(m["options"].as_array().unwrap().contains(&json!("ro")), "writable: {m}");
            }
        }
    });
}

/// The masked path is exchanged with a link to something of the host's.
#[test]
fn exchange_of_a_masked_path() {
    let mut c = Case::new();
    let (a, b) = trap(&c, &c.canary());
    fs::write(c.canary().join("keep"), "host").unwrap();
    c.set("/linux/maskedPaths", json!(["/a"])).set("/linux/readonlyPaths", json!(["/a"]));
    c.args(&["/bin/probe", "mountinfo"]);
    while_swapping(a, b, || {
        for _ in 0..host::rounds(50) {
            let out = c.run();
            if out.code() == 0 {
                assert!(!out.stdout.contains(c.canary().to_str().unwrap()), "{}", out.stdout);
            }
            assert_eq!(fs::read_to_string(c.canary().join("keep")).unwrap(), "host");
        }
    });
}

/// /proc is exchanged with a link: procfs lands elsewhere, a fake is used.
#[test]
fn exchange_of_proc() {
    let mut c = Case::new();
    fs::create_dir_all(c.rootfs("fake/sys/net/ipv4")).unwrap();
    fs::create_dir_all(c.rootfs("fake/self")).unwrap();
    fs::write(c.rootfs("fake/sys/net/ipv4/ip_forward"), "fake").unwrap();
    fs::write(c.rootfs("fake/self/oom_score_adj"), "fake").unwrap();
    symlink("/fake", c.rootfs("proc2")).unwrap();
    c.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })).set("/process/oomScoreAdj", 321);
    c.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    while_swapping(c.rootfs("proc"), c.rootfs("proc2"), || {
        for _ in 0..host::rounds(50) {
            c.run();
            for name in ["sys/net/ipv4/ip_forward", "self/oom_score_adj"] {
                assert_eq!(fs::read_to_string(c.rootfs("fake").join(name)).unwrap(), "fake", "{name}");
            }
        }
    });
}
