//! Faults of a profile are found before anything is touched, each with its path.

use runtime_tests::{Case, Value, json};

use crate::{ODD, allowing, errno, getppid, result_of, rule, with};

/// Refused, with these texts, and nothing is left.
#[track_caller]
fn bad(profile: Value, texts: &[&str]) {
    let mut c = with(profile);
    c.set("/linux/cgroupsPath", format!("/{}", c.id)).args(&["/bin/echo", "here"]);
    let out = c.create().fails_with(texts);
    assert_eq!(out.stderr.trim_end().lines().count(), 1, "{}", out.stderr);
    c.assert_nothing_left();
    assert_eq!(c.run().fails_with(texts).stdout, "");
    c.assert_nothing_left();
}

#[track_caller]
fn bad_rule(rule: Value, texts: &[&str]) {
    bad(allowing(json!([errno(&["getppid"], 1), rule])), texts);
}

#[test]
fn names_that_are_none() {
    bad(json!({ "defaultAction": "SCMP_ACT_MAYBE" }), &["linux.seccomp.defaultAction", "SCMP_ACT_MAYBE"]);
    bad(json!({ "defaultAction": 7 }), &["linux.seccomp.defaultAction"]);
    let all = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_PDP11"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_HOPE"],
        "syscalls": [{ "names": ["getppid"], "action": "SCMP_ACT_PERHAPS" }],
    });
    bad(
        all,
        &[
            "linux.seccomp.architectures[1]",
            "SCMP_ARCH_PDP11",
            "linux.seccomp.flags[1]",
            "SECCOMP_FILTER_FLAG_HOPE",
            "linux.seccomp.syscalls[0].action",
            "SCMP_ACT_PERHAPS",
        ],
    );
}

#[test]
fn rules() {
    let at = "linux.seccomp.syscalls[1]";
    bad_rule(json!({ "names": ["getpid"] }), &[&format!("{at}.action")]);
    bad_rule(rule(&[], "SCMP_ACT_LOG"), &[&format!("{at}.names"), "at least one"]);
    bad_rule(json!({ "action": "SCMP_ACT_LOG" }), &[&format!("{at}.names")]);
    for action in ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "LOG", "ALLOW"] {
        let rule = json!({ "names": ["getpid"], "action": format!("SCMP_ACT_{action}"), "errnoRet": 1 });
        bad_rule(rule, &[&format!("{at}.errnoRet"), "returns no errno"]);
    }
    bad_rule(errno(&["getpid"], 4096), &[&format!("{at}.errnoRet"), "4096 is larger than 4095"]);
    bad_rule(errno(&["getpid"], -1), &[&format!("{at}.errnoRet")]);
    let trace = json!({ "names": ["getpid"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536 });
    bad_rule(trace, &[&format!("{at}.errnoRet"), "65536"]);
    bad(json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }), &["linux.seccomp.defaultErrnoRet"]);
}

#[test]
fn conditions() {
    let at = "linux.seccomp.syscalls[1].args[1]";
    let with_arg = |arg: Value| {
        let good = json!({ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" });
        json!({ "names": ["getpid"], "action": "SCMP_ACT_LOG", "args": [good, arg] })
    };
    let op = |op: Value| with_arg(json!({ "index": 1, "value": 1, "op": op }));
    bad_rule(op(json!("SCMP_CMP_ALMOST")), &[&format!("{at}.op"), "SCMP_CMP_ALMOST"]);
    bad_rule(op(json!(null)), &[&format!("{at}.op")]);
    bad_rule(with_arg(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" })), &[&format!("{at}.index"), "6"]);
    bad_rule(with_arg(json!({ "index": -1, "value": 1, "op": "SCMP_CMP_EQ" })), &[&format!("{at}.index")]);
    bad_rule(with_arg(json!({ "index": 1, "value": -1, "op": "SCMP_CMP_EQ" })), &[&format!("{at}.value")]);
}

/// No action for the rest, but rules: that cannot be meant. Neither is nothing at all.
#[test]
fn no_default_action() {
    bad(json!({ "syscalls": [errno(&["getppid"], 1)] }), &["linux.seccomp.defaultAction"]);
    bad(json!({ "defaultAction": "", "syscalls": [errno(&["getppid"], 1)] }), &["linux.seccomp.defaultAction"]);
    for idle in [json!({}), json!({ "defaultAction": "" }), json!({ "defaultAction": "", "syscalls": [] })] {
        let r = with(idle.clone()).probe(&["report"]);
        assert_eq!(r["seccomp"], "0", "{idle}");
    }
}

/// Profiles name calls that this table or the machine has not: they are
/// nobody's, unless the config wants to know.
#[test]
fn unknown_system_calls() {
    let rules = json!([errno(&["getppid", "telepathy", "breakpoint", "sys_debug_setcontext"], ODD)]);
    let mut c = with(allowing(rules.clone()));
    assert_eq!(result_of(&mut c, libc::SYS_getppid, &[]), -ODD);
    let key = "run.oci.seccomp_fail_unknown_syscall";
    for strict in ["1", "true"] {
        let mut c = with(allowing(rules.clone()));
        c.set("/annotations", json!({ key: strict }));
        c.create().fails_with(&["linux.seccomp.syscalls[0].names[1]", "telepathy"]);
        c.set("/linux/seccomp", allowing(json!([errno(&["getppid", "breakpoint"], ODD)])));
        assert_eq!(result_of(&mut c, libc::SYS_getppid, &[]), -ODD, "another architecture's is not unknown");
    }
    c.set("/annotations", json!({ key: "0" }));
    assert_eq!(result_of(&mut c, libc::SYS_getppid, &[]), -ODD);
}

/// What the kernel would not take is said in its numbers.
#[test]
fn too_much_for_the_kernel() {
    let when = |n: u64| {
        let args = json!([{ "index": 0, "value": n << 32 | n, "op": "SCMP_CMP_EQ" }]);
        json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": ODD, "args": args })
    };
    let rules = |count: u64| allowing((1..=count).map(when).collect());
    bad(rules(2000), &["linux.seccomp", "instructions", "4096"]);
    // Half of it is long, and taken; each jump in it is farther than one instruction can.
    let mut c: Case = with(rules(600));
    assert_eq!(result_of(&mut c, libc::SYS_getppid, &[600 << 32 | 600]), -ODD);
    assert_eq!(result_of(&mut c, libc::SYS_getppid, &[601 << 32 | 601]), 0);
}

#[test]
fn whom_to_ask() {
    let ask = |names: &[&str]| allowing(json!([rule(names, "SCMP_ACT_NOTIFY")]));
    bad(ask(&["mkdir"]), &["linux.seccomp.listenerPath", "missing", "SCMP_ACT_NOTIFY"]);
    let mut lonely = allowing(json!([errno(&["getppid"], ODD)]));
    lonely["listenerMetadata"] = json!("something");
    bad(lonely, &["linux.seccomp.listenerMetadata", "needs a listenerPath"]);
    let (mut c, _agent) = crate::notify::asking(&["mkdir", "write"]);
    let texts = ["linux.seccomp.syscalls[0].action", "SCMP_ACT_NOTIFY cannot be used for the write syscall", "agent"];
    c.create().fails_with(&texts);
    c.set("/linux/seccomp/syscalls", json!([])).set("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY");
    c.create().fails_with(&["linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action"]);
    c.set("/linux/seccomp/defaultAction", "SCMP_ACT_ALLOW");
    c.set("/linux/seccomp/syscalls", json!([rule(&["mkdir"], "SCMP_ACT_NOTIFY"), rule(&["read"], "SCMP_ACT_KILL")]));
    c.create().fails_with(&["linux.seccomp.syscalls", "read must be allowed"]);
    c.set("/annotations", json!({ "run.oci.seccomp.receiver": "relative" }));
    c.unset("/linux/seccomp/listenerPath");
    c.create().fails_with(&["annotations", "run.oci.seccomp.receiver", "not an absolute path"]);
}

/// A path that nothing is asked through may be there, or may have nobody at its end.
#[test]
fn a_listener_path_without_rules_for_it() {
    let mut profile = allowing(json!([errno(&["getppid"], ODD)]));
    profile["listenerPath"] = json!("/nobody/there");
    profile["listenerMetadata"] = json!("something");
    assert_eq!(with(profile).attempts(&[&getppid()])[getppid()], -ODD);
}
