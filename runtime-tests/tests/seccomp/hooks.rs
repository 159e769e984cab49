//! startContainer hooks are programs of the image and run under its filter;
//! all others are the runtime's and do not.

use std::fs;

use runtime_tests::{Case, json};

use crate::{ODD, USUAL, allowing, errno, getppid, odd, rule, with};

fn hook(kind: &str, args: &[&str]) -> runtime_tests::Value {
    json!({ kind: [{ "path": args[0], "args": args }] })
}

/// A startContainer hook that writes down what comes of the forbidden call.
fn attempting(c: &mut Case) {
    let script = format!("/bin/probe try {} >/tmp/out", getppid());
    c.set("/hooks", hook("startContainer", &["/bin/sh", "-c", &script]));
}

#[test]
fn the_filter_holds_for_start_container_hooks() {
    for unprivileged in [true, false] {
        let mut c = odd();
        c.set("/process/noNewPrivileges", unprivileged);
        attempting(&mut c);
        assert_eq!(c.attempts(&[&getppid()])[getppid()], -ODD, "and for the program");
        let out = fs::read_to_string(c.rootfs("tmp/out")).unwrap();
        assert_eq!(out.trim_end(), json!({ getppid(): -ODD }).to_string());
        let r = c.probe(&["report"]);
        assert_eq!(r["filters"], "1", "one filter, not one for each");
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        assert_eq!(c.exec_probe(&[], &["report"])["filters"], "1");
        c.delete();
    }
}

#[test]
fn a_hook_that_is_killed_stops_the_container() {
    let mut c = with(allowing(json!([rule(&["getppid"], "SCMP_ACT_KILL_PROCESS")])));
    attempting(&mut c);
    c.args(&["/bin/echo", "here"]);
    let out = c.run().fails_with(&["hooks.startContainer[0]", "killed by signal 31"]);
    assert_eq!(out.stdout, "");
    c.create().ok();
    c.verb("start").fails_with(&["hooks.startContainer[0]"]);
    c.delete();
}

#[test]
fn other_hooks_are_not_under_it() {
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let mut c = with(allowing(json!([errno(&["mkdir", "mkdirat"], ODD)])));
        let made = c.dir.join("made");
        c.set("/hooks", hook(kind, &["/bin/mkdir", made.to_str().unwrap()]));
        c.run().ok();
        assert!(made.exists(), "{kind}");
    }
}

/// With such hooks orlop is at work under the filter, in place of the program:
/// this is what it then calls, and the hook itself besides (docs/security.md).
#[test]
fn what_a_profile_needs_for_them() {
    let more = ["sendto", "waitid", "setsid", "close_range", "pidfd_send_signal"];
    let names: Vec<&str> = USUAL.iter().copied().chain(more).collect();
    let mut c = with(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule(&names, "SCMP_ACT_ALLOW")] }));
    c.set("/hooks", hook("startContainer", &["/bin/sh", "-c", "echo x >/tmp/out"]));
    c.args(&["/bin/echo", "here"]);
    assert_eq!(c.run().ok().text(), "here");
    assert_eq!(fs::read_to_string(c.rootfs("tmp/out")).unwrap(), "x\n");
}
