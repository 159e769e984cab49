//! Options that are neither mount(8)'s nor the filesystem's.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use runtime_tests::{Case, json, sys};

use super::{seen_at, source};

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
