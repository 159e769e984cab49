//! What a container or its image does to be given back something else.

use std::fs;
use std::os::unix::fs::symlink;

use runtime_tests::{Case, json, require};

use super::{assert_gone, checkpoint, count, counting, criu, restore, restore_as_it_is, wait_until_past};

/// Two directories of the host's, one of them not for writing.
fn with_two(c: &mut Case, first: &str, second: &str) {
    for name in ["one", "two"] {
        fs::create_dir_all(c.dir.join(name)).unwrap();
        fs::write(c.dir.join(name).join("name"), name).unwrap();
    }
    let source = |name: &str| c.dir.join(name).to_str().unwrap().to_owned();
    let (one, two) = (source("one"), source("two"));
    c.mount(first, "bind", &one, &["bind", "ro", "nosuid"]);
    c.mount(second, "bind", &two, &["bind", "rw"]);
}

/// criu 4.2 forgets the attributes of a mount if another of the same filesystem
/// has the same ones: with it alone, the second of these could be written to,
/// and so could the owner of /dev/null, which masks.
#[test]
fn read_only_mounts_and_masks_stay_so() {
    require!(criu());
    let mut c = Case::new();
    with_two(&mut c, "/one", "/two");
    let more = c.dir.join("three");
    fs::create_dir_all(&more).unwrap();
    c.mount("/three", "bind", more.to_str().unwrap(), &["bind", "ro", "nosuid"]);
    c.push("/linux/maskedPaths", json!("/proc/uptime"));
    counting(&mut c);
    let table = |c: &Case| {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", c.pid())).unwrap();
        let line = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[4].to_owned(), words[5].to_owned())
        };
        let mut lines: Vec<_> = text.lines().map(line).collect();
        lines.sort();
        lines
    };
    let before = table(&c);
    checkpoint(&c, &[]).go().ok();
    restore(&c, &[]).go().ok();
    assert_eq!(table(&c), before);
    for path in ["/one/x", "/three/x"] {
        c.exec(&[], &["touch", path]).go().exits(1).says(&["Read-only file system"]);
    }
    c.exec(&[], &["touch", "/two/x"]).go().ok();
    c.delete();
}

/// The container moves the directories that its mounts are in, so that the
/// paths of the config lead to the other one (CVE-2026-119101).
#[test]
fn mounts_changed_places() {
    require!(criu());
    let mut c = Case::new();
    with_two(&mut c, "/a/m", "/b/m");
    c.sh(&format!("mv /a /c && mv /b /a && mv /c /b; {}", super::COUNTER));
    c.start();
    wait_until_past(&c, 2);
    checkpoint(&c, &[]).go().fails_with(&["mounts[6]", "/a/m", "something else is mounted there"]);
    // It is as if nobody had tried.
    let now = count(&c);
    wait_until_past(&c, now);
    c.delete();
}

/// The same by a symlink in the way of the destination.
#[test]
fn a_symlink_to_the_other_mount() {
    require!(criu());
    let mut c = Case::new();
    with_two(&mut c, "/a/m", "/b/m");
    c.sh(&format!("mv /a /c && ln -s /b /a; {}", super::COUNTER));
    c.start();
    wait_until_past(&c, 2);
    checkpoint(&c, &[]).go().fails_with(&["mounts[6]", "/a/m", "something else is mounted there"]);
    c.delete();
}

/// For criu a key ends at `]`: the rest of such a name would be taken for what is mounted there.
#[test]
fn a_destination_that_ends_the_key() {
    require!(criu());
    let mut c = Case::new();
    with_two(&mut c, "/a]:", "/a");
    counting(&mut c);
    checkpoint(&c, &[]).go().fails_with(&["mounts[6]", "cannot name the mount point"]);
    c.delete();
}

/// The image of the container leads somewhere else when it is restored.
#[test]
fn the_rootfs_has_changed_meanwhile() {
    require!(criu());
    let mut c = Case::new();
    with_two(&mut c, "/a/m", "/b/m");
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    let outside = c.dir.join("outside");
    fs::create_dir_all(outside.join("m")).unwrap();
    fs::rename(c.rootfs("/a"), c.rootfs("/old")).unwrap();
    symlink(&outside, c.rootfs("/a")).unwrap();
    restore(&c, &[]).go().fails_with(&["cannot restore the container"]);
    assert_gone(&c);
    assert!(!outside.join("m/name").exists() && fs::read_dir(outside.join("m")).unwrap().next().is_none());
}

/// An image says that a mount is writable which the config says is not.
#[test]
fn an_image_that_writes_where_the_config_does_not() {
    require!(criu());
    let mut c = Case::new();
    with_two(&mut c, "/one", "/two");
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    c.set("/mounts/7/options", json!(["bind", "ro"]));
    let out = restore(&c, &[]).go();
    if out.code() == 0 {
        // criu has left it as it was given it, because of another mount of that filesystem.
        c.exec(&[], &["touch", "/two/x"]).go().exits(1).says(&["Read-only file system"]);
        c.delete();
        return;
    }
    out.fails_with(&["mounts[7]", "/two", "writable"]);
    assert_gone(&c);
}

/// What has a name the config says, in whatever order; a name it does not have is an error.
#[test]
fn another_config() {
    require!(criu());
    let mut c = Case::new();
    with_two(&mut c, "/one", "/two");
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    c.config["mounts"].as_array_mut().unwrap().swap(6, 7);
    restore(&c, &[]).go().ok();
    assert_eq!(c.exec(&[], &["cat", "/one/name", "/two/name"]).go().ok().stdout, "onetwo");
    c.delete();
    c.set("/mounts/6/destination", "/three");
    restore(&c, &[]).go().fails_with(&["cannot restore the container"]);
    assert_gone(&c);
}

/// The image brings namespaces along where the config has some to join, or
/// none where the config has its own.
#[test]
fn namespaces_are_those_of_the_config() {
    require!(criu());
    let pod = Case::started();
    let mut c = Case::new();
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    c.join_namespace("network", &format!("/proc/{}/ns/net", pod.pid()));
    restore(&c, &[]).go().fails_with(&["linux.namespaces", "network"]);
    assert_gone(&c);
    pod.delete();
}

/// descriptors.json is part of the image: only what looks like a pipe is passed on.
#[test]
fn descriptors_that_are_none() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    let file = super::image(&c).join("descriptors.json");
    let right = fs::read_to_string(&file).unwrap();
    fs::write(&file, r#"["extRootNetNS", {}]"#).unwrap();
    restore_as_it_is(&c, &[]).go().fails_with(&["descriptors.json"]);
    let log = || fs::read_to_string(c.dir.join("work/restore.log")).unwrap();
    for key in ["extRootNetNS", "pipe:[1]:x]"] {
        // stdin is /dev/null, so nobody misses what was there.
        fs::write(&file, right.replacen("\"\"", &format!("\"{key}\""), 1)).unwrap();
        restore_as_it_is(&c, &[]).go().ok();
        assert!(!log().contains(key), "{}", log());
        c.delete();
    }
}
