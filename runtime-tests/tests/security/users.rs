//! CVE-2016-3697, CVE-2026-30892: who `exec --user` runs as. CVE-2022-29162, CVE-2025-27612: inheritable capabilities.

use std::fs;

use runtime_tests::{Case, json};

/// A user *named* "1000" with uid 0 in the image. A runtime that looks the
/// digits up as a name gives root.
#[test]
fn digits_are_never_a_name() {
    let mut c = Case::new();
    fs::write(c.rootfs("etc/passwd"), "1000:x:0:0:root:/root:/bin/sh\n5:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(c.rootfs("etc/group"), "1000:x:0:\n").unwrap();
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    let r = c.exec_probe(&["--user", "1000:1000"], &["report"]);
    assert_eq!((&r["uid"], &r["gid"]), (&json!([1000, 1000, 1000, 1000]), &json!([1000, 1000, 1000, 1000])));
    let r = c.exec_probe(&["-u", "5"], &["report"]);
    assert_eq!(r["uid"], json!([5, 5, 5, 5]));
    c.delete();
}

/// Half-understood texts: a lenient parser makes 0 of them, that is root.
#[test]
fn malformed_users_never_run() {
    let c = Case::started();
    for user in ["1000:", ":5", "4294967296", "-1", "abc", " 0", "1000 ", "", "1000:x", "0x0", "٣"] {
        let out = c.exec(&["-u", user], &["/bin/id"]).go();
        assert_eq!(out.code(), 255, "{user:?}: {} {}", out.stdout, out.stderr);
        assert_eq!(out.stdout, "", "{user:?} ran as somebody");
    }
    c.delete();
}

/// An inheritable set that isn't empty gives capabilities back to any program
/// with file capabilities, through an execve of an unprivileged user.
#[test]
fn inheritable_set_stays_empty() {
    let mut c = Case::new();
    assert_eq!(c.probe(&["report"])["caps"]["inheritable"], json!([]));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    for flags in [&[][..], &["--cap", "CAP_SYS_PTRACE"], &["--cap", "CAP_KILL", "--user", "1000"]] {
        let r = c.exec_probe(flags, &["report"]);
        assert_eq!(r["caps"]["inheritable"], json!([]), "{flags:?}");
        assert_eq!(r["caps"]["ambient"], json!([]), "{flags:?}");
    }
    c.delete();
}
