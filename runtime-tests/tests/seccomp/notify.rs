//! Calls that an agent decides: it is told of each process, and gets its listener.

use std::fs::File;
use std::io::{Read, Write};

use runtime_tests::command::wait_for;
use runtime_tests::sys::notif::{self, Request};
use runtime_tests::{Case, Value, host, json, sys};

use crate::agent::{Agent, let_through, make_for_it, path_at, serve};
use crate::{USUAL, allowing, rule, with};

/// A container in which these calls are an agent's, and the agent.
pub fn asking(names: &[&str]) -> (Case, Agent) {
    let mut c = with(allowing(json!([rule(names, "SCMP_ACT_NOTIFY")])));
    let agent = Agent::new(&mut c);
    (c, agent)
}

const MAKE: [&str; 4] = ["mkdir", "mkdirat", "mknod", "mknodat"];

/// runtime-spec config-linux.md, "The Container Process State": nothing more, nothing less.
#[test]
fn what_an_agent_is_told() {
    let (mut c, agent) = asking(&MAKE);
    c.set("/linux/seccomp/listenerMetadata", "about this").set("/annotations", json!({ "org.example.a": "b" }));
    c.args(&["/bin/sleep", "1000"]);
    c.create().ok();
    assert!(agent.is_left_alone(), "there is no filter before start");
    c.verb("start").ok();
    let mut init = agent.accept();
    let state = |status: &str| {
        json!({
            "ociVersion": "1.2.0", "id": c.id, "status": status, "pid": c.pid(), "bundle": c.bundle,
            "annotations": { "org.example.a": "b" },
        })
    };
    let whole = |pid: i32, status: &str| {
        json!({
            "ociVersion": "1.2.0", "fds": ["seccompFd"], "pid": pid, "metadata": "about this",
            "state": state(status),
        })
    };
    assert_eq!(init.report, whole(c.pid(), "creating"));
    assert_eq!(init.fds, 1);
    assert_eq!(init.connection.read(&mut [0]).expect("the end"), 0, "one message, and no more");
    // exec: a process of its own, in a container that runs.
    let file = c.dir.join("pid");
    c.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["/bin/sleep", "1000"]).go().ok();
    let exec = agent.accept();
    let pid: i32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    assert_eq!(exec.report, whole(pid, "running"));
    assert_ne!(pid, c.pid());
    assert!(agent.is_left_alone(), "one connection for each process");
    c.delete();
}

#[test]
fn what_is_empty_is_left_out() {
    let (mut c, agent) = asking(&MAKE);
    c.run().ok();
    let told = agent.accept().report;
    let keys = |v: &Value| v.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&told), ["fds", "ociVersion", "pid", "state"]);
    assert_eq!(keys(&told["state"]), ["bundle", "id", "ociVersion", "pid", "status"]);
    // A path may be relative to the bundle, and longer than a socket's address.
    let name = "x".repeat(100);
    let dir = c.bundle.join(&name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::rename(&agent.path, dir.join("agent.sock")).unwrap();
    c.set("/linux/seccomp/listenerPath", format!("{name}/agent.sock"));
    c.run().ok();
    agent.accept();
    // And an annotation takes its place (crun's).
    c.unset("/linux/seccomp/listenerPath");
    c.set("/annotations", json!({ "run.oci.seccomp.receiver": dir.join("agent.sock") }));
    c.run().ok();
    agent.accept();
}

/// The listener is the agent's alone: with it a program could decide its own calls.
#[test]
fn no_program_has_the_listener() {
    for unprivileged in [true, false] {
        let (mut c, _agent) = asking(&MAKE);
        c.set("/process/noNewPrivileges", unprivileged);
        let r = c.probe(&["report"]);
        assert_eq!(r["fds"].as_object().unwrap().keys().collect::<Vec<_>>(), ["0", "1", "2"], "{}", r["fds"]);
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        let r = c.exec_probe(&[], &["report"]);
        assert_eq!(r["fds"].as_object().unwrap().keys().collect::<Vec<_>>(), ["0", "1", "2"], "{}", r["fds"]);
        c.delete();
    }
}

/// Who has no rights over a process that hides gets its listener all the same.
#[test]
fn of_a_user_without_privileges() {
    for unprivileged in [true, false] {
        let (mut c, agent) = asking(&["mkdir", "mkdirat"]);
        c.owned_by(12_345, 12_346).set("/process/noNewPrivileges", unprivileged);
        sys::chown(&agent.path, 12_345, 12_346);
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        drop(agent.accept());
        let exec = c.exec(&[], &["/bin/mkdir", "/tmp/d"]).spawn();
        let serving = serve(agent.accept().listener, let_through);
        exec.wait().ok();
        assert!(!serving.join().unwrap().is_empty(), "it was asked");
        assert!(c.rootfs("/tmp/d").is_dir());
        c.delete();
    }
}

/// What the agent makes for a container that may not make anything itself.
#[test]
fn an_agent_makes_directories_and_devices() {
    for unprivileged in [true, false] {
        let (mut c, agent) = asking(&MAKE);
        c.caps(&[]).set("/process/noNewPrivileges", unprivileged);
        let ops = [
            "mkdir:/tmp/d",
            "mkdir:/tmp/d",
            "mkdir:/d",
            "mknod:/tmp/null:c:1:3",
            "write:/tmp/null:gone",
            "mknod:/tmp/disk:b:8:0",
            "stat:/tmp/disk",
        ];
        let wanted = |made: Value| {
            json!({
                "mkdir:/tmp/d": "EEXIST", "mkdir:/d": "EROFS", "mknod:/tmp/null:c:1:3": made, "write:/tmp/null:gone": 0,
                "mknod:/tmp/disk:b:8:0": "EROFS", "stat:/tmp/disk": "ENOENT",
            })
        };
        let argv: Vec<&str> = ["/bin/probe", "try"].into_iter().chain(ops).collect();
        c.args(&argv);
        let run = c.launch("run", &[], &c.id).spawn();
        let serving = serve(agent.accept().listener, make_for_it);
        assert_eq!(run.wait().ok().last_json(), wanted(json!(0)));
        assert_eq!(serving.join().unwrap().len(), 5);
        assert!(c.rootfs("tmp/d").is_dir());
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        agent.accept();
        let exec = c.exec(&["-u", "1000"], &argv).spawn();
        let serving = serve(agent.accept().listener, make_for_it);
        assert_eq!(exec.wait().ok().last_json(), wanted(json!("EEXIST")));
        assert_eq!(serving.join().unwrap().len(), 5);
        c.delete();
    }
}

/// A file that the container has not, opened by the agent.
#[test]
fn an_agent_gives_a_descriptor() {
    let (mut c, agent) = asking(&["open", "openat", "openat2"]);
    let secret = c.dir.join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let open = move |listener: &File, request: &Request| {
        let at = if request.args[0] as i32 == libc::AT_FDCWD { request.args[1] } else { request.args[0] };
        match path_at(listener, request, at) {
            Ok(path) if path == "/secret" => {
                let file = File::open(&secret).unwrap();
                let number = notif::add_fd(listener, request.id, &file).unwrap();
                notif::answer(listener, request.id, number).unwrap();
            }
            _ => let_through(listener, request),
        }
    };
    c.args(&["/bin/probe", "try", "read:/secret", "read:/none"]);
    let run = c.launch("run", &[], &c.id).spawn();
    let serving = serve(agent.accept().listener, open);
    assert_eq!(run.wait().ok().last_json(), json!({ "read:/secret": "of the host", "read:/none": "ENOENT" }));
    assert!(serving.join().unwrap().len() >= 2);
}

/// Whatever an agent wants to be asked about, execve and what orlop waits by
/// included: nothing waits for an agent that has no listener yet.
#[test]
fn any_call_may_be_asked_about() {
    let all: Vec<&str> = USUAL.iter().copied().filter(|name| *name != "write").collect();
    let lists: [&[&str]; 6] =
        [&["execve"], &["read"], &["close"], &["openat", "open"], &["exit_group", "sendto"], &all];
    for names in host::sample(lists) {
        for unprivileged in [true, false] {
            let (mut c, agent) = asking(names);
            c.set("/process/noNewPrivileges", unprivileged).args(&["/bin/probe", "try", "read:/etc/group"]);
            let run = c.launch("run", &[], &c.id).spawn();
            let serving = serve(agent.accept().listener, let_through);
            let r = run.wait().ok().last_json();
            assert!(r["read:/etc/group"].as_str().unwrap().contains("root"), "{names:?}: {r}");
            assert!(!serving.join().unwrap().is_empty(), "{names:?}");
            c.args(&["/bin/sleep", "1000"]);
            c.create().ok();
            let start = c.verb_spawned("start");
            let first = serve(agent.accept().listener, let_through);
            start.wait().ok();
            let exec = c.exec(&[], &["/bin/probe", "try", "read:/etc/group"]).spawn();
            let second = serve(agent.accept().listener, let_through);
            exec.wait().ok();
            second.join().unwrap();
            c.delete();
            first.join().unwrap();
        }
    }
}

/// startContainer hooks are under the filter, and the agent is there by then.
#[test]
fn hooks_ask_the_agent_too() {
    let (mut c, agent) = asking(&MAKE);
    let script = "mkdir /tmp/by-the-hook && ! mkdir /by-the-hook";
    c.set("/hooks", json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] }));
    c.args(&["/bin/probe", "try", "mkdir:/tmp/by-the-program"]);
    let run = c.launch("run", &[], &c.id).spawn();
    let serving = serve(agent.accept().listener, make_for_it);
    assert_eq!(run.wait().ok().last_json(), json!({ "mkdir:/tmp/by-the-program": 0 }));
    assert_eq!(serving.join().unwrap().len(), 3);
    assert!(c.rootfs("tmp/by-the-hook").is_dir() && !c.rootfs("by-the-hook").exists());
    assert!(agent.is_left_alone(), "one listener for all of init's");
    // Also those that orlop itself needs for them.
    let all: Vec<&str> = USUAL.iter().copied().chain(["sendto", "waitid"]).filter(|name| *name != "write").collect();
    let mut profile = allowing(json!([rule(&all, "SCMP_ACT_NOTIFY")]));
    profile["listenerPath"] = json!(agent.path);
    c.set("/linux/seccomp", profile).args(&["/bin/true"]);
    c.set("/hooks/startContainer/0/args/2", "true");
    let run = c.launch("run", &[], &c.id).spawn();
    let serving = serve(agent.accept().listener, let_through);
    run.wait().ok();
    assert!(serving.join().unwrap().contains(&(libc::SYS_execve as i32)));
}

/// With the flag only a deadly signal ends the wait for an agent that is at work.
#[test]
fn signals_and_a_call_in_the_agents_hands() {
    for patient in [false, true] {
        let (mut c, agent) = asking(&["umask"]);
        if patient {
            c.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
        }
        c.sh("trap 'echo signal' USR1; umask 22; echo done");
        let out = c.start_with_output();
        let told = agent.accept();
        let request = notif::receive(&told.listener).expect("received").expect("a call");
        sys::kill(c.pid(), libc::SIGUSR1).unwrap();
        if patient {
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(notif::still_waits(&told.listener, request.id), "interrupted by a signal");
            notif::answer(&told.listener, request.id, 0).unwrap();
        } else {
            wait_for("the interruption", || (!notif::still_waits(&told.listener, request.id)).then_some(()));
        }
        drop(told);
        c.wait_status("stopped");
        let text = std::fs::read_to_string(out).unwrap();
        assert!(text.contains("signal") && text.contains("done"), "{text:?}");
        c.delete();
    }
}

/// The flag means nothing to a filter that asks nobody, and is no fault there.
#[test]
fn flags() {
    for flags in [
        json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]),
        json!([]),
    ] {
        let mut c = crate::odd();
        c.set("/linux/seccomp/flags", flags.clone());
        assert_eq!(c.probe(&["report"])["seccomp"], "2", "{flags}");
        let (mut c, agent) = asking(&MAKE);
        c.set("/linux/seccomp/flags", flags.clone());
        c.run().ok();
        agent.accept();
    }
}

/// Writes to the listener's own socket come from the runtime alone: nothing in
/// the container has it, however long the message is.
#[test]
fn a_long_message_arrives_whole() {
    let (mut c, agent) = asking(&MAKE);
    let long = "m".repeat(1 << 20);
    c.set("/linux/seccomp/listenerMetadata", long.clone());
    let run = c.launch("run", &[], &c.id).spawn();
    let mut connection = agent.connection();
    // Not in a hurry.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (mut bytes, fds) = sys::recv_fds(&connection).unwrap();
    assert_eq!(fds.len(), 1, "with the first part");
    connection.read_to_end(&mut bytes).unwrap();
    let report: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(report["metadata"].as_str().map(str::len), Some(long.len()));
    run.wait().ok();
    // It listens to nothing.
    let _ = connection.write_all(b"?");
}
