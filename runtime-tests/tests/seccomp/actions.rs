//! Every action, on a real process.

use runtime_tests::{Case, json};

use crate::{KILLED, ODD, allowing, call, denying, errno, getppid, killed, odd, result_of, rule, with};

#[test]
fn a_filter_is_there_and_others_calls_are_made() {
    let mut c = odd();
    assert_eq!(c.attempts(&[&getppid(), "mkdir:/tmp/x"]), json!({ getppid(): -ODD, "mkdir:/tmp/x": 0 }));
    let r = c.probe(&["report"]);
    assert_eq!(r["seccomp"], "2");
    assert_eq!(Case::new().probe(&["report"])["seccomp"], "0", "and none without a profile");
}

#[test]
fn an_errno_of_its_own() {
    let fail = |errno| with(allowing(json!([{ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno }])));
    assert_eq!(result_of(&mut fail(json!(38)), libc::SYS_getpid, &[]), -38);
    assert_eq!(result_of(&mut fail(json!(4095)), libc::SYS_getpid, &[]), -4095);
    // The call is not made, and all the same no failure: the first process has the number 1.
    assert_eq!(result_of(&mut fail(json!(0)), libc::SYS_getpid, &[]), 0);
    assert_eq!(result_of(&mut fail(json!(null)), libc::SYS_getpid, &[]), -1, "EPERM, when none is given");
}

#[test]
fn errno_by_default() {
    let mut c = with(denying("SCMP_ACT_ERRNO", &[]));
    assert_eq!(result_of(&mut c, libc::SYS_getppid, &[]), -1, "EPERM");
    c.set("/linux/seccomp/defaultErrnoRet", ODD);
    assert_eq!(result_of(&mut c, libc::SYS_getppid, &[]), -ODD);
    c.push("/linux/seccomp/syscalls", errno(&["getsid"], 33));
    let ops = [getppid(), call(libc::SYS_getsid, &[]), call(libc::SYS_getpid, &[])];
    let r = c.attempts(&[&ops[0], &ops[1], &ops[2]]);
    assert_eq!((&r[&ops[0]], &r[&ops[1]], &r[&ops[2]]), (&json!(-ODD), &json!(-33), &json!(1)));
}

#[test]
fn whoever_is_killed_has_the_status_of_sigsys() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let mut c = with(allowing(json!([rule(&["getppid"], action)])));
        killed(&mut c, &["try", &getppid()]);
        let mut c = with(denying(action, &[]));
        killed(&mut c, &["try", &getppid()]);
    }
}

/// KILL is KILL_THREAD (seccomp.h): the process lives on without the thread.
#[test]
fn one_thread_or_all_of_them() {
    let number = libc::SYS_getppid.to_string();
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let mut c = with(allowing(json!([rule(&["getppid"], action)])));
        assert_eq!(c.probe(&["thread", &number]), "is gone", "{action}");
    }
    let mut c = with(allowing(json!([rule(&["getppid"], "SCMP_ACT_KILL_PROCESS")])));
    killed(&mut c, &["thread", &number]);
    assert_eq!(odd().probe(&["thread", &number]), "came back", "or the test shows nothing");
}

#[test]
fn trap_can_be_caught() {
    let mut c = with(allowing(json!([rule(&["getppid"], "SCMP_ACT_TRAP")])));
    let r = c.probe(&["trapped", &libc::SYS_getppid.to_string()]);
    assert_eq!(r, json!({ "errno": 0, "syscall": libc::SYS_getppid }));
    let r = c.probe(&["trapped", &libc::SYS_getpid.to_string()]);
    assert_eq!(r["syscall"], -1, "nothing was to be caught");
}

#[test]
fn log_lets_through() {
    let mut c = with(allowing(json!([rule(&["getpid"], "SCMP_ACT_LOG")])));
    assert_eq!(result_of(&mut c, libc::SYS_getpid, &[]), 1);
    let mut c = with(json!({ "defaultAction": "SCMP_ACT_LOG", "syscalls": [errno(&["getppid"], ODD)] }));
    assert_eq!(result_of(&mut c, libc::SYS_getpid, &[]), 1);
    assert_eq!(result_of(&mut c, libc::SYS_getppid, &[]), -ODD);
}

#[test]
fn trace_asks_the_tracer() {
    let number = libc::SYS_getppid.to_string();
    let trace =
        |message| with(allowing(json!([{ "names": ["getppid"], "action": "SCMP_ACT_TRACE", "errnoRet": message }])));
    // The tracer is the first process of the container.
    assert_eq!(trace(json!(65535)).probe(&["traced", &number]), json!({ "message": 65535, "result": 1 }));
    assert_eq!(trace(json!(null)).probe(&["traced", &number]), json!({ "message": 1, "result": 1 }));
    assert_eq!(result_of(&mut trace(json!(7)), libc::SYS_getppid, &[]), -38, "ENOSYS where nobody traces");
    let other = libc::SYS_getpgid.to_string();
    assert_eq!(trace(json!(7)).probe(&["traced", &other])["message"], json!(null));
}

#[test]
fn the_status_is_told_by_state_and_exec_too() {
    let mut c = with(allowing(json!([rule(&["getppid"], "SCMP_ACT_KILL_PROCESS")])));
    c.args(&["/bin/probe", "try", &getppid()]);
    c.start();
    c.wait_status("stopped");
    c.delete();
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    c.exec(&[], &["/bin/probe", "try", &getppid()]).go().exits(KILLED);
    assert_eq!(c.status(), "running");
    c.delete();
}
