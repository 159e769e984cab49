//! `exec` enters the same filter, whatever else it is told (a runtime that
//! forgets gives whoever execs, and what is exec'ed, all system calls).

use std::fs;

use runtime_tests::{Case, bundle, host, json};

use crate::{ODD, allowing, denying, errno, getppid, odd, rule, with};

/// A container under [`odd`]'s filter that goes on until it is deleted.
fn running(privileges: bool) -> Case {
    let mut c = odd();
    c.args(&["/bin/sleep", "1000"]).set("/process/noNewPrivileges", !privileges);
    c.start();
    c
}

/// The forbidden call is refused in the exec'ed process, as in the first.
#[track_caller]
fn refused(c: &Case, flags: &[&str]) {
    assert_eq!(c.exec_probe(flags, &["try", &getppid()]), json!({ getppid(): -ODD }), "{flags:?}");
    let r = c.exec_probe(flags, &["report"]);
    assert_eq!((&r["seccomp"], &r["filters"]), (&json!("2"), &json!("1")), "{flags:?}");
}

#[test]
fn with_any_flags() {
    for privileges in [false, true] {
        let c = running(privileges);
        let all: [&[&str]; 7] = [
            &[],
            &["--no-new-privs"],
            &["--user", "1000:1000"],
            &["--user", "1000", "--no-new-privs"],
            &["--cap", "CAP_SYS_ADMIN"],
            &["--user", "1000", "--cap", "CAP_SYS_ADMIN"],
            &["--cwd", "/tmp", "--env", "A=1"],
        ];
        for flags in host::sample(all) {
            refused(&c, flags);
            let r = c.exec_probe(flags, &["report"]);
            assert_eq!(r["no_new_privs"], !privileges || flags.contains(&"--no-new-privs"), "{flags:?}");
        }
        c.delete();
    }
}

/// A process of its own says nothing of filters: those are the container's.
#[test]
fn with_a_process_of_its_own() {
    let c = running(true);
    for (uid, unprivileged) in [(0, true), (0, false), (1000, true), (1000, false)] {
        let process = json!({
            "user": { "uid": uid, "gid": uid },
            "args": ["/bin/probe", "try", getppid()],
            "env": [bundle::PATH],
            "cwd": "/",
            "noNewPrivileges": unprivileged,
        });
        let file = c.dir.join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let out = c.orlop(&["exec", "--process", file.to_str().unwrap(), &c.id]).go().ok();
        assert_eq!(out.last_json(), json!({ getppid(): -ODD }), "uid {uid}, {unprivileged}");
    }
    c.delete();
}

#[test]
fn detached_and_on_a_terminal() {
    let c = running(true);
    c.exec(&["-d"], &["/bin/sh", "-c", "exec /bin/probe report >/tmp/report"]).go().ok();
    let report = runtime_tests::command::wait_for("the report", || {
        fs::read_to_string(c.rootfs("tmp/report")).ok().filter(|text| text.ends_with('\n'))
    });
    assert!(report.contains(r#""seccomp":"2""#), "{report}");
    let out = c.exec(&["-t"], &["/bin/grep", "^Seccomp:", "/proc/self/status"]).go().ok();
    assert_eq!(out.text().split_whitespace().last(), Some("2"));
    c.delete();
}

#[test]
fn into_a_container_that_is_created() {
    let c = odd();
    c.create().ok();
    assert_eq!(c.exec_probe(&[], &["try", &getppid()]), json!({ getppid(): -ODD }));
    c.delete();
}

#[test]
fn run_detached_and_create_with_start() {
    for verb in ["run", "create"] {
        let mut c = odd();
        c.sh(&format!("/bin/probe try {} >/tmp/out; exec sleep 1000", getppid()));
        let mut flags = vec![];
        if verb == "run" {
            flags.push("-d");
        }
        c.launch(verb, &flags, &c.id).go().ok();
        if verb == "create" {
            c.verb("start").ok();
        }
        let text = runtime_tests::command::wait_for("the result", || {
            fs::read_to_string(c.rootfs("tmp/out")).ok().filter(|text| text.ends_with('\n'))
        });
        assert_eq!(text.trim_end(), json!({ getppid(): -ODD }).to_string(), "{verb}");
        refused(&c, &[]);
        c.delete();
    }
}

/// Neither filter nor listener comes from the bundle after `create`.
#[test]
fn the_config_is_not_read_again() {
    let mut c = odd();
    c.sh(&format!("/bin/probe try {} >/tmp/out; exec sleep 1000", getppid()));
    c.create().ok();
    c.unset("/linux/seccomp").write();
    c.verb("start").ok();
    refused(&c, &[]);
    c.set("/linux/seccomp", denying("SCMP_ACT_KILL", &[])).write();
    refused(&c, &[]);
    c.delete();
    // Nor is there one where there was none.
    let mut c = Case::started();
    c.set("/linux/seccomp", allowing(json!([errno(&["getppid"], ODD)]))).write();
    assert_eq!(c.exec_probe(&[], &["try", &getppid()]), json!({ getppid(): 0 }));
    c.delete();
}

/// Without its whole filter nothing is run. What is cut short may be a program
/// too, if it were not for the kernel: no jump of ours ends before the last line.
#[test]
fn what_is_left_of_a_filter_is_none() {
    let profile = denying("SCMP_ACT_ERRNO", &[]);
    let mut c = with(profile);
    c.args(&["/bin/sleep", "1000"]).set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    c.start();
    let file = c.root.join(&c.id).join("seccomp.bpf");
    let whole = fs::read(&file).unwrap();
    assert!(whole.len() > 100, "{}", whole.len());
    c.exec(&[], &["/bin/true"]).go().ok();
    let nothing_runs = |what: &str| {
        let out = c.exec(&[], &["/bin/echo", "here"]).go().exits(255).says(&["seccomp filter"]);
        assert_eq!(out.stdout, "", "{what}");
        assert_eq!(out.stderr.trim_end().lines().count(), 1, "{what}: {}", out.stderr);
    };
    let step = (whole.len() / 8 / 20).max(1);
    let lengths = (0..whole.len() / 8).step_by(step).map(|n| n * 8);
    for length in lengths.chain([1, 7, 9, whole.len() - 8, whole.len() - 1]) {
        fs::write(&file, &whole[..length]).unwrap();
        nothing_runs(&format!("{length} of {}", whole.len()));
    }
    fs::write(&file, vec![0xff; 64]).unwrap();
    nothing_runs("no program");
    fs::write(&file, vec![0; 8 * 5000]).unwrap();
    nothing_runs("too long");
    fs::remove_file(&file).unwrap();
    nothing_runs("removed");
    fs::create_dir(&file).unwrap();
    nothing_runs("a directory");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, &whole).unwrap();
    c.exec(&[], &["/bin/true"]).go().ok();
    c.delete();
}

/// A killed process is exec's own to tell of, and the container goes on.
#[test]
fn a_program_that_is_killed_at_once() {
    let mut c = with(allowing(json!([rule(&["getppid"], "SCMP_ACT_KILL_PROCESS")])));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    for _ in 0..5 {
        c.exec(&[], &["/bin/probe", "try", &getppid()]).go().exits(crate::KILLED);
    }
    assert_eq!(c.status(), "running");
    c.delete();
}
