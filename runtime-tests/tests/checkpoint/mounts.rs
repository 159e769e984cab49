//! Mounts of every kind, and what is in them.

use std::fs;
use std::path::PathBuf;

use runtime_tests::host::criu;
use runtime_tests::{Case, json, require, sys};

use super::{checkpoint, count, counting, restore, wait_until_past};

fn directory(c: &Case, name: &str) -> PathBuf {
    let dir = c.dir.join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Saved and restored, the mount table is the same, and the files there.
fn come_back(c: &Case, files: &[&str]) {
    let look = |c: &Case| {
        let table = c.exec(&[], &["sh", "-c", "cut -d' ' -f5,6 /proc/self/mountinfo | sort"]).go().ok().stdout;
        (table, c.exec(&[], &["sh", "-c", &format!("cat {}", files.join(" "))]).go().ok().stdout)
    };
    let before = look(c);
    checkpoint(c, &[]).go().ok();
    let now = count(c);
    restore(c, &[]).go().ok();
    wait_until_past(c, now);
    assert_eq!(look(c), before);
    c.delete();
}

#[test]
fn binds_in_binds_and_files() {
    require!(criu());
    let mut c = Case::new();
    let (outer, inner) = (directory(&c, "outer"), directory(&c, "inner"));
    fs::write(inner.join("f"), "inner file\n").unwrap();
    fs::write(c.dir.join("alone"), "alone\n").unwrap();
    c.mount("/outer", "bind", outer.to_str().unwrap(), &["rbind", "rw"]);
    c.mount("/outer/in", "bind", inner.to_str().unwrap(), &["bind", "ro", "nodev", "noexec"]);
    c.mount("/etc/alone", "bind", c.dir.join("alone").to_str().unwrap(), &["bind", "ro"]);
    c.mount("/outer/tmp", "tmpfs", "tmpfs", &["size=1m", "nosuid"]);
    c.mount("/outer/tmp/again", "bind", inner.to_str().unwrap(), &["bind"]);
    counting(&mut c);
    c.exec(&[], &["sh", "-c", "echo in tmpfs > /outer/tmp/f"]).go().ok();
    come_back(&c, &["/outer/in/f", "/etc/alone", "/outer/tmp/f", "/outer/tmp/again/f"]);
}

/// What is mounted in a directory that is bound with all that is in it.
#[test]
fn mounts_in_a_recursive_bind() {
    require!(criu());
    let mut c = Case::new();
    let outer = directory(&c, "outer");
    fs::create_dir_all(outer.join("sub")).unwrap();
    sys::mount("t", outer.join("sub"), "tmpfs", 0, "").unwrap();
    fs::write(outer.join("sub/f"), "below\n").unwrap();
    c.mount("/outer", "bind", outer.to_str().unwrap(), &["rbind", "ro"]);
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    // Still the host's, not a copy of what it was.
    fs::write(outer.join("sub/f"), "later\n").unwrap();
    restore(&c, &[]).go().ok();
    assert_eq!(c.exec(&[], &["cat", "/outer/sub/f"]).go().ok().text(), "later");
    c.delete();
    sys::umount(outer.join("sub")).unwrap();
}

#[test]
fn a_read_only_root() {
    require!(criu());
    let mut c = Case::new();
    let out = directory(&c, "out");
    // Where the program writes; and no /tmp, which criu would like to have there.
    fs::remove_dir(c.rootfs("/tmp")).unwrap();
    c.set("/root/readonly", true);
    c.mount("/out", "bind", out.to_str().unwrap(), &["bind"]);
    c.sh(&super::COUNTER.replace("/count", "/out/count"));
    c.start();
    let count = || super::count_at(&out.join("count"));
    runtime_tests::command::wait_for("the counter", || (count() > 2).then_some(()));
    checkpoint(&c, &[]).go().ok();
    let now = count();
    restore(&c, &[]).go().ok();
    runtime_tests::command::wait_for("the counter", || (count() > now).then_some(()));
    c.exec(&[], &["touch", "/x"]).go().exits(1).says(&["Read-only file system"]);
    c.delete();
}

/// criu knows nothing of them, but what it is given is mapped already.
#[test]
fn id_mapped() {
    require!(criu());
    let mut c = Case::new();
    let dir = directory(&c, "owned");
    fs::write(dir.join("f"), "mapped\n").unwrap();
    sys::chown(dir.join("f"), 100_007, 100_007);
    c.mount("/owned", "bind", dir.to_str().unwrap(), &["bind"]);
    let maps = json!([{ "containerID": 100_000, "hostID": 0, "size": 1000 }]);
    let last = c.config["mounts"].as_array().unwrap().len() - 1;
    c.set(&format!("/mounts/{last}/uidMappings"), maps.clone());
    c.set(&format!("/mounts/{last}/gidMappings"), maps);
    counting(&mut c);
    let owner = |c: &Case| c.exec(&[], &["stat", "-c", "%u:%g", "/owned/f"]).go().ok().stdout;
    assert_eq!(owner(&c), "7:7\n");
    checkpoint(&c, &[]).go().ok();
    restore(&c, &[]).go().ok();
    assert_eq!(owner(&c), "7:7\n");
    c.delete();
}

/// The host's cgroups, for a container without a cgroup namespace.
#[test]
fn cgroups() {
    require!(criu());
    for own in [true, false] {
        let mut c = Case::new();
        if !own {
            c.no_namespace("cgroup");
        }
        c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]);
        counting(&mut c);
        come_back(&c, &["/sys/fs/cgroup/cgroup.controllers"]);
    }
}
