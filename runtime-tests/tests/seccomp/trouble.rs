//! Agents that are not there, slow, gone, or of another opinion: an error or an
//! answer each time, never a process that waits for good.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use runtime_tests::sys::notif;
use runtime_tests::{Case, json, leaks, sys};

use crate::agent::{let_through, serve};
use crate::notify::asking;
use crate::{ODD, call, getppid};

const FIELD: &str = "linux.seccomp.listenerPath";

/// Refused before anything is there, by `create` and `run`, which leave nothing.
#[track_caller]
fn refused_at_once(c: &Case, texts: &[&str]) {
    c.create().fails_with(texts);
    c.assert_nothing_left();
    let out = c.run().fails_with(texts);
    assert_eq!(out.stdout, "");
    c.assert_nothing_left();
}

#[test]
fn no_socket_there() {
    let (mut c, agent) = asking(&["getppid"]);
    c.args(&["/bin/echo", "here"]);
    fs::remove_file(&agent.path).unwrap();
    refused_at_once(&c, &[FIELD, "agent.sock", "no such file or directory"]);
    fs::write(&agent.path, "").unwrap();
    refused_at_once(&c, &[FIELD, "agent.sock", "not a socket"]);
}

/// Refused when the listener cannot be handed over: the program has not run.
#[track_caller]
fn refused_at_the_start(c: &Case, texts: &[&str]) {
    let out = c.run().fails_with(texts);
    assert_eq!(out.stdout, "");
    c.assert_nothing_left();
    c.create().ok();
    c.verb("start").fails_with(texts);
    assert_eq!(c.status(), "stopped");
    c.delete();
    c.assert_nothing_left();
}

#[test]
fn nobody_listens() {
    let (mut c, agent) = asking(&["getppid"]);
    c.args(&["/bin/echo", "here"]);
    drop(agent.socket);
    refused_at_the_start(&c, &[FIELD, "agent.sock", "connection refused", "no agent listens there"]);
    fs::remove_file(&agent.path).unwrap();
    let _other = UnixDatagram::bind(&agent.path).unwrap();
    refused_at_the_start(&c, &[FIELD, "agent.sock", "protocol wrong type for socket"]);
}

/// The container that is there goes on, without what could not be exec'ed.
#[test]
fn nobody_listens_any_more_when_something_is_execed() {
    let (mut c, agent) = asking(&["getppid"]);
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    agent.accept();
    let before = leaks::processes(&c.id).len();
    drop(agent.socket);
    let out = c.exec(&[], &["/bin/echo", "here"]).go().exits(255).says(&[FIELD, "no agent listens there"]);
    assert_eq!(out.stdout, "");
    fs::remove_file(&agent.path).unwrap();
    let file = c.dir.join("pid");
    c.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["/bin/echo", "here"]).go().exits(255).says(&[FIELD]);
    assert!(!file.exists());
    runtime_tests::command::wait_for("their end", || (leaks::processes(&c.id).len() == before).then_some(()));
    assert_eq!(c.status(), "running");
    c.delete();
}

/// Connections that nobody accepts are waited for, but not for good.
#[test]
fn an_agent_that_is_full() {
    let (mut c, agent) = asking(&["getppid"]);
    c.args(&["/bin/echo", "here"]);
    sys::set_backlog(&agent.socket, 0);
    let _first = UnixStream::connect(&agent.path).unwrap();
    let run = c.launch("run", &[], &c.id).limit(Duration::from_secs(60)).go();
    let out = run.fails_with(&[FIELD, "agent.sock", "the agent did not take it within 10 s"]);
    assert_eq!(out.stdout, "");
    c.assert_nothing_left();
}

/// Nor an agent that accepts, and reads nothing of a long message.
#[test]
fn an_agent_that_does_not_read() {
    let (mut c, agent) = asking(&["getppid"]);
    c.set("/linux/seccomp/listenerMetadata", "m".repeat(1 << 20)).args(&["/bin/echo", "here"]);
    let run = c.launch("run", &[], &c.id).limit(Duration::from_secs(60)).spawn();
    let _connection = agent.connection();
    let out = run.wait().fails_with(&[FIELD, "the agent did not take it within 10 s"]);
    assert_eq!(out.stdout, "");
    // One that hangs up is told of at once.
    let run = c.launch("run", &[], &c.id).spawn();
    drop(agent.connection());
    run.wait().fails_with(&[FIELD, "the agent hung up"]);
}

#[test]
fn a_slow_agent_is_waited_for() {
    let (mut c, agent) = asking(&["getppid"]);
    sys::set_backlog(&agent.socket, 0);
    let first = UnixStream::connect(&agent.path).unwrap();
    c.args(&["/bin/probe", "try", &getppid()]);
    let run = c.launch("run", &[], &c.id).spawn();
    std::thread::sleep(Duration::from_secs(1));
    drop((agent.connection(), first));
    let serving = serve(agent.accept().listener, |l, r| notif::answer(l, r.id, -ODD).unwrap());
    assert_eq!(run.wait().ok().last_json(), json!({ getppid(): -ODD }));
    serving.join().unwrap();
}

/// Without an agent the calls it would decide do not exist (seccomp_unotify(2)).
#[test]
fn an_agent_that_goes_away() {
    let (mut c, agent) = asking(&["getppid"]);
    c.args(&["/bin/probe", "try", "sleep:500", &getppid()]);
    let run = c.launch("run", &[], &c.id).spawn();
    drop(agent.accept());
    assert_eq!(run.wait().ok().last_json()[getppid()], -38);
    // In the middle of a call.
    let run = c.launch("run", &[], &c.id).spawn();
    let told = agent.accept();
    notif::receive(&told.listener).unwrap().expect("a call");
    drop(told);
    assert_eq!(run.wait().ok().last_json()[getppid()], -38);
    // One that never took the connection at all.
    let run = c.launch("run", &[], &c.id).spawn();
    let runs = || {
        let state = c.verb("state");
        (state.code() == 0 && state.json()["status"] == "running").then_some(())
    };
    runtime_tests::command::wait_for("the program", runs);
    drop(agent.socket);
    assert_eq!(run.wait().ok().last_json()[getppid()], -38);
}

/// An execve that the agent does not live to decide, or refuses, is an error of
/// the command that waits for it. (It would wait for good if init itself
/// still had the listener.)
#[test]
fn the_execve_is_not_decided_or_refused() {
    let (mut c, agent) = asking(&["execve"]);
    c.args(&["/bin/echo", "here"]);
    let gone = |run: runtime_tests::command::Running, code: i32| {
        let told = agent.accept();
        notif::receive(&told.listener).unwrap().expect("the execve");
        drop(told);
        let out = run.wait().exits(code).says(&["exec: \"/bin/echo\": function not implemented"]);
        assert_eq!(out.stdout, "");
    };
    let refused = |run: runtime_tests::command::Running, code: i32| {
        let serving = serve(agent.accept().listener, |l, r| notif::answer(l, r.id, -1).unwrap());
        let out = run.wait().exits(code).says(&["exec: \"/bin/echo\": operation not permitted"]);
        assert_eq!(out.stdout, "");
        serving.join().unwrap();
    };
    gone(c.launch("run", &[], &c.id).spawn(), 1);
    refused(c.launch("run", &[], &c.id).spawn(), 1);
    c.create().ok();
    gone(c.verb_spawned("start"), 1);
    assert_eq!(c.status(), "stopped");
    c.delete();
    c.create().ok();
    refused(c.verb_spawned("start"), 1);
    c.delete();
    c.args(&["/bin/sleep", "1000"]);
    c.create().ok();
    let start = c.verb_spawned("start");
    let serving = serve(agent.accept().listener, let_through);
    start.wait().ok();
    let exec = || c.exec(&[], &["/bin/echo", "here"]).spawn();
    gone(exec(), 255);
    refused(exec(), 255);
    assert_eq!(c.status(), "running");
    c.delete();
    serving.join().unwrap();
}

/// A starter that is killed while it waits for the agent takes init with it,
/// also where whatever init could call would wait for that agent.
#[test]
fn start_is_killed_while_it_hands_over() {
    let (mut c, agent) = asking(&["getppid", "sendto", "exit_group", "exit", "close", "kill", "tgkill"]);
    c.args(&["/bin/echo", "here"]);
    sys::set_backlog(&agent.socket, 0);
    let _first = UnixStream::connect(&agent.path).unwrap();
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        c.create().ok();
        let pid = c.pid();
        let start = c.verb_spawned("start");
        let loaded = || fs::read_to_string(format!("/proc/{pid}/status")).ok().filter(|s| s.contains("Seccomp:\t2"));
        runtime_tests::command::wait_for("the filter", loaded);
        sys::kill(start.pid(), signal).unwrap();
        start.wait();
        c.wait_status("stopped");
        c.delete();
        c.assert_nothing_left();
    }
}

/// A container whose call an agent has in hand can be killed and deleted.
#[test]
fn killed_while_it_waits_for_an_answer() {
    for flags in [json!([]), json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])] {
        let (mut c, agent) = asking(&["getppid"]);
        c.set("/linux/seccomp/flags", flags).args(&["/bin/probe", "try", &call(libc::SYS_getppid, &[])]);
        c.start();
        let told = agent.accept();
        notif::receive(&told.listener).unwrap().expect("a call");
        c.kill("KILL").ok();
        c.wait_status("stopped");
        c.delete();
    }
}

/// A socket of the container's own is no agent's: the path is the host's.
#[test]
fn the_path_is_the_hosts() {
    let (mut c, agent) = asking(&["getppid"]);
    let inside = UnixListener::bind(c.rootfs("tmp/agent.sock")).unwrap();
    c.set("/linux/seccomp/listenerPath", "/tmp/agent.sock-of-nobody");
    refused_at_once(&c, &[FIELD, "no such file or directory"]);
    assert!(!sys::readable(&inside, 100));
    drop(agent);
}
