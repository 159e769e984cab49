//! There and back again.

use std::fs;
use std::io::Read;
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::console::{FdSocket, Terminal};
use runtime_tests::{Case, host, json, require};

use super::{assert_gone, checkpoint, count, counting, criu, image, restore, wait_until_past};

/// What the program had in memory it still has, and all else of the container is there as well.
#[test]
fn goes_on_where_it_was() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    assert_gone(&c);
    let stopped_at = count(&c);

    let pid_file = c.dir.join("pid");
    restore(&c, &["--pid-file", pid_file.to_str().unwrap()]).go().ok();
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), c.pid().to_string());
    assert_eq!(c.status(), "running");
    wait_until_past(&c, stopped_at);
    assert!(count(&c) < stopped_at + 500, "it has begun anew, or counted on without us");

    let script = "hostname; cat /proc/1/comm; ls /dev/null /dev/pts/ptmx /proc/keys; ps | grep -c count";
    let out = c.exec(&[], &["/bin/sh", "-c", script]).go().ok();
    assert_eq!(out.stdout.lines().take(2).collect::<Vec<_>>(), ["orlop-test", "sh"]);
    c.verb("pause").ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume").ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.verb("delete").ok();
    assert_gone(&c);
}

#[test]
fn again_and_again_and_beside_itself() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    checkpoint(&c, &["--leave-running"]).go().ok();
    assert_eq!(c.status(), "running");
    let saved = count(&c);
    wait_until_past(&c, saved);
    c.delete();
    for _ in 0..2 {
        restore(&c, &[]).go().ok();
        wait_until_past(&c, saved);
        checkpoint(&c, &[]).go().ok();
        assert_gone(&c);
    }
}

#[test]
fn a_paused_one_stays_paused() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    c.verb("pause").ok();
    checkpoint(&c, &["--leave-running"]).go().ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume").ok();
    let now = count(&c);
    wait_until_past(&c, now);
    c.delete();
}

/// Who waits in vfork(2) for a child that stands still can't be saved (criu 4.2
/// tries for ten seconds): a moment is found when nobody does.
#[test]
fn at_a_moment_when_nobody_is_in_vfork() {
    require!(criu());
    let mut c = Case::new();
    c.args(&["/bin/probe", "keep-vfork", "1000"]);
    c.start();
    wait_until_past(&c, 1);
    // It is out of it for a tenth of a second only.
    std::thread::sleep(Duration::from_millis(300));
    checkpoint(&c, &["--leave-running"]).go().ok();
    let saved = count(&c);
    wait_until_past(&c, saved);
    checkpoint(&c, &[]).go().ok();
    assert_gone(&c);
    restore(&c, &[]).go().ok();
    wait_until_past(&c, saved + 1);
    c.delete();
}

#[test]
fn when_somebody_always_is_in_vfork_it_says_so() {
    require!(criu());
    let mut c = Case::new();
    c.args(&["/bin/probe", "keep-vfork", "3600000"]);
    c.start();
    wait_for("vfork", || (runtime_tests::leaks::processes(&c.id).len() == 2).then_some(()));
    checkpoint(&c, &[]).go().fails_with(&["waits in vfork(2)", "try again later"]);
    assert_eq!(c.status(), "running");
    c.verb("pause").ok();
    checkpoint(&c, &[]).go().fails_with(&["waits in vfork(2)", "resume the container"]);
    assert_eq!(c.status(), "paused");
    c.delete();
}

/// The restored program's pipes are those of whoever restores it.
#[test]
fn stdio_is_the_new_callers() {
    require!(criu());
    let mut c = Case::new();
    c.sh("i=0; while :; do i=$((i+1)); echo line $i; echo error $i >&2; sleep 0.1; done");
    let (mut first, theirs) = std::io::pipe().unwrap();
    c.launch("run", &["--detach"], &c.id).stdout(theirs).go().ok();
    let mut seen = [0; 64];
    let n = first.read(&mut seen).unwrap();
    assert!(seen[..n].starts_with(b"line 1\n"), "{:?}", String::from_utf8_lossy(&seen[..n]));
    checkpoint(&c, &[]).go().ok();

    let (mut second, theirs) = std::io::pipe().unwrap();
    restore(&c, &[]).stdout(theirs).go().ok();
    let n = second.read(&mut seen).unwrap();
    let text = String::from_utf8_lossy(&seen[..n]).into_owned();
    let number: u32 = text.lines().next().and_then(|l| l.strip_prefix("line ")).unwrap().parse().unwrap();
    assert!(number > 1, "{text}");
    c.delete();
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    require!(criu());
    let mut c = Case::new();
    c.set("/process/terminal", true);
    c.sh("while read line; do echo got $line; done");
    let socket = FdSocket::new();
    c.launch("create", &["--console-socket", socket.path.to_str().unwrap()], &c.id).go().ok();
    c.verb("start").ok();
    let mut terminal = Terminal::new(socket.take().1);
    terminal.send("one\n");
    terminal.expect("got one");
    checkpoint(&c, &[]).go().ok();

    // Detached, somebody has to take it.
    restore(&c, &[]).go().fails_with(&["process.terminal", "--console-socket"]);
    let socket = FdSocket::new();
    restore(&c, &["--console-socket", socket.path.to_str().unwrap()]).go().ok();
    let mut terminal = Terminal::new(socket.take().1);
    terminal.send("two\n");
    terminal.expect("got two");
    c.delete();
}

#[test]
fn in_the_foreground_the_status_is_the_programs() {
    require!(criu());
    let mut c = Case::new();
    c.sh("while ! [ -e /go ]; do sleep 0.1; done; exit 7");
    c.start();
    wait_for("the program", || (c.status() == "running").then_some(()));
    checkpoint(&c, &[]).go().ok();
    fs::write(c.rootfs("/go"), "").unwrap();
    let cmd = c.orlop(&["restore", "--image-path"]).arg(image(&c)).arg("--bundle").arg(&c.bundle).arg(&c.id);
    super::patient(cmd).go().exits(7);
    assert_gone(&c);
}

#[test]
fn hooks_see_the_restored_process() {
    require!(criu());
    let mut c = Case::new();
    let notes = c.dir.join("notes");
    let hook = |kind: &str| {
        let script = format!("(echo {kind}; cat; echo) >> {}", notes.display());
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    for kind in ["createRuntime", "poststop"] {
        c.set(&format!("/hooks/{kind}"), hook(kind));
    }
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    let text = fs::read_to_string(&notes).unwrap();
    assert_eq!(text.matches("createRuntime").count() + text.matches("poststop").count(), 2, "{text}");

    fs::write(&notes, "").unwrap();
    restore(&c, &[]).go().ok();
    let text = fs::read_to_string(&notes).unwrap();
    let state: runtime_tests::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!((state["status"].as_str(), state["pid"].as_i64()), (Some("created"), Some(c.pid().into())));

    // One that fails undoes it all.
    c.delete();
    c.set("/hooks/createRuntime", json!([{ "path": "/bin/false" }]));
    restore(&c, &[]).go().fails_with(&["hooks.createRuntime[0]", "/bin/false"]);
    assert_gone(&c);
}

/// Limits are the config's, on a cgroup that is the container's.
#[test]
fn limits_are_those_of_the_config() {
    require!(criu());
    require!(host::controller("memory"));
    let mut c = Case::new();
    c.set("/linux/resources/memory/limit", 64 << 20);
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    c.set("/linux/resources/memory/limit", 96 << 20);
    restore(&c, &[]).go().ok();
    let cgroup = runtime_tests::engines::cgroup_of(c.pid().try_into().unwrap());
    assert!(cgroup.to_string_lossy().contains(&c.id), "{}", cgroup.display());
    assert_eq!(fs::read_to_string(cgroup.join("memory.max")).unwrap().trim(), (96 << 20).to_string());
    c.delete();
}

#[test]
fn with_a_user_namespace() {
    require!(criu());
    let mut c = Case::new();
    c.push("/linux/namespaces", json!({ "type": "user" }));
    let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    c.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    runtime_tests::case::give(&c.rootfs("/"), 100_000, 100_000);
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    let saved = count(&c);
    restore(&c, &[]).go().ok();
    wait_until_past(&c, saved);
    assert_eq!(c.exec(&[], &["cat", "/proc/self/uid_map"]).go().ok().stdout.split_whitespace().nth(1), Some("100000"));
    c.delete();
}

/// criu mounts the hierarchy for itself if it is let, without the options it has.
#[test]
fn the_hosts_cgroups_keep_their_options() {
    require!(criu());
    let options = || {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = text.lines().find(|l| l.contains(" - cgroup2 ")).unwrap().to_owned();
        line.split(" - ").nth(1).unwrap().to_owned()
    };
    let before = options();
    if !before.contains("nsdelegate") {
        runtime_tests::skip!("the host's cgroup mount has no options to lose: {before}");
    }
    let mut c = Case::new();
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    assert_eq!(options(), before);
    restore(&c, &[]).go().ok();
    assert_eq!(options(), before);
    c.delete();
}

/// As in a pod: what is not the container's own is neither saved nor made anew.
#[test]
fn a_network_namespace_by_path_stays() {
    require!(criu());
    let pod = Case::started();
    let mut c = Case::new();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", pod.pid());
    c.join_namespace("network", &path("net")).join_namespace("ipc", &path("ipc")).join_namespace("uts", &path("uts"));
    c.unset("/hostname");
    counting(&mut c);
    let inode = |kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", c.pid())).unwrap();
    let before = ["net", "ipc", "uts"].map(inode);
    checkpoint(&c, &[]).go().ok();
    restore(&c, &[]).go().ok();
    assert_eq!(["net", "ipc", "uts"].map(inode), before);
    c.delete();
    pod.delete();
}
