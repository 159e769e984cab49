//! Binds of the host's files and directories.

use std::fs;

use runtime_tests::{Case, json, sys};

use super::{HostMount, seen_at, source, text_list};

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
