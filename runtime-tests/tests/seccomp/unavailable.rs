//! Where orlop itself is confined.

use runtime_tests::sys::calls;
use runtime_tests::{Case, json};

use crate::{ODD, getppid, odd};

/// Somebody who may not load filters says so before anything is there, and
/// runs nothing without.
#[test]
fn where_no_filter_can_be_loaded() {
    for (errno, text) in [(libc::EPERM, "operation not permitted"), (libc::ENOSYS, "function not implemented")] {
        let mut c = odd();
        c.args(&["/bin/echo", "here"]);
        let confined = |verb: &str| {
            let command = c.launch(verb, &[], &c.id);
            command.with(|command| calls::confine(command, libc::SYS_seccomp, errno as u16, 1)).go()
        };
        confined("create").fails_with(&["linux.seccomp", text, "a filter around this process"]);
        c.assert_nothing_left();
        assert_eq!(confined("run").fails_with(&["linux.seccomp", text]).stdout, "");
        c.assert_nothing_left();
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        let exec = c.exec(&[], &["/bin/echo", "here"]);
        let out = exec.with(|command| calls::confine(command, libc::SYS_seccomp, errno as u16, 1)).go();
        assert_eq!(out.exits(255).says(&["linux.seccomp", text]).stdout, "");
        c.delete();
        // What asks for no filter is not concerned.
        let mut c = Case::new();
        c.args(&["/bin/echo", "here"]);
        let command = c.launch("run", &[], &c.id);
        let out = command.with(|command| calls::confine(command, libc::SYS_seccomp, errno as u16, 1)).go().ok();
        assert_eq!(out.text(), "here");
    }
}

/// Filters add up, and the strictest of them decides.
#[test]
fn under_other_filters() {
    for unprivileged in [true, false] {
        let mut c = odd();
        c.set("/process/noNewPrivileges", unprivileged);
        c.args(&["/bin/probe", "try", &getppid(), &crate::call(libc::SYS_getsid, &[])]);
        let confined = || {
            let command = c.launch("run", &[], &c.id);
            command.with(|command| calls::confine(command, libc::SYS_getsid, 33, 3)).go().ok()
        };
        let r = confined().last_json();
        assert_eq!(r, json!({ getppid(): -ODD, crate::call(libc::SYS_getsid, &[]): -33 }));
        c.args(&["/bin/probe", "report"]);
        let confined = c.launch("run", &[], &c.id).with(|command| calls::confine(command, libc::SYS_getsid, 33, 3));
        assert_eq!(confined.go().ok().last_json()["filters"], "4");
    }
}
