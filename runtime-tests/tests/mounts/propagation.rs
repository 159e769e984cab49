//! What mounts of one side become on the other.

use std::fs;

use runtime_tests::{Case, json, sys};

use super::{HostMount, seen_at, text_list};

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
