//! A container that runs: looked at, limited, stopped for a while, told things.

use std::fs;

use runtime_tests::engines::{Manager, cgroup_of, offered};
use runtime_tests::{host, require};

use super::walk::{Walk, eventually};

#[test]
fn stats_of_a_limited_container() {
    require!(offered(Manager::Systemd));
    require!(host::controller("memory"));
    let w = Walk::new();
    let stats = w.docker(&["stats", "--no-stream", "--format", "{{json .}}", &w.common]).go().ok().json();
    let max: f64 = w.sees("cat /sys/fs/cgroup/memory.max").parse().expect("a limit");
    let memory = stats["MemUsage"].as_str().expect("memory");
    assert!(memory.ends_with(&format!(" / {}MiB", max / f64::from(1 << 20))) && !memory.starts_with("0B"), "{memory}");
    let pids = stats["PIDs"].as_str().and_then(|n| n.parse::<u32>().ok());
    assert!(pids.is_some_and(|n| n > 0), "{stats}");
    assert!(stats["NetIO"].as_str().is_some_and(|n| !n.starts_with("0B")), "{stats}");
}

#[test]
fn update_while_it_runs() {
    require!(offered(Manager::Systemd));
    require!(host::controller("memory"));
    let w = Walk::new();
    let id = &w.common;
    let flags = [
        "--memory=96m",
        "--memory-swap=96m",
        "--memory-reservation=32m",
        "--cpus=0.25",
        "--pids-limit=33",
        "--cpu-shares=512",
    ];
    w.docker(&["update"]).args(flags).args(["--cpuset-cpus=0", id]).go().ok();
    let cgroup = cgroup_of(w.pid(id));
    let files = [
        ("memory.max", "100663296"),
        ("memory.swap.max", "0"),
        ("memory.low", "33554432"),
        ("cpu.max", "25000 100000"),
        ("pids.max", "33"),
        ("cpuset.cpus", "0"),
    ];
    for (file, value) in files {
        assert_eq!(fs::read_to_string(cgroup.join(file)).unwrap().trim(), value, "{file}");
    }
    assert_eq!(w.sees("cat /sys/fs/cgroup/memory.max"), "100663296");
}

#[test]
fn pause_and_unpause() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = &w.common;
    let events = cgroup_of(w.pid(id)).join("cgroup.events");
    let frozen = || fs::read_to_string(&events).unwrap().contains("frozen 1");
    w.docker(&["pause", id]).go().ok();
    let paused = (w.inspect(id, "{{.State.Status}}"), frozen());
    let exec = w.docker(&["exec", id, "true"]).go();
    w.docker(&["unpause", id]).go().ok();
    assert_eq!(paused, ("paused".to_owned(), true));
    exec.fails_with(&["is paused"]);
    assert!(!frozen());
    assert_eq!(w.sees("echo it goes on"), "it goes on");
}

#[test]
fn top_shows_its_processes() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let exec = w.docker(&["exec", "--detach", &w.common, "sleep", "5678"]).go().ok();
    assert_eq!(exec.text(), "");
    let top = || w.docker(&["top", &w.common, "-e", "-o", "pid,args"]).go().ok().stdout;
    let top = eventually("the process of exec", || Some(top()).filter(|text| text.contains("sleep 5678")));
    let first = w.pid(&w.common).to_string();
    let has = |pid: &str, args: &str| top.lines().any(|l| l.trim_start().starts_with(pid) && l.contains(args));
    assert!(has(&first, " sh -c echo out;"), "{first}: {top}");
    let line = top.lines().find(|l| l.ends_with("sleep 5678")).unwrap();
    let pid = line.split_whitespace().next().unwrap();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap(), "sleep\x005678\x00");
    // In ps's own words.
    assert!(w.docker(&["top", &w.common]).go().ok().stdout.starts_with("UID"));
    w.sees("kill $(pidof sleep)");
}

#[test]
fn logs_of_both_streams() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.wait_log(&w.common, "more");
    let logs = w.docker(&["logs", &w.common]).go().ok();
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\nmore\n", "err\n"));
    // Which of the two streams' lines came last is not certain.
    let last = w.docker(&["logs", "--tail=1", &w.common]).go().ok();
    assert!(["more\n", "err\n"].contains(&(last.stdout + &last.stderr).as_str()));
}

#[test]
fn kill_with_a_signal_of_ones_choice() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&[], "trap 'echo got it; exit 9' USR1; echo ready; while :; do sleep 0.1; done");
    // What follows the log ends with the container.
    let follow = w.docker(&["logs", "--follow", &id]).spawn();
    eventually("the log", || follow.stdout_so_far().contains("ready").then_some(()));
    w.docker(&["kill", "-s", "USR1", &id]).go().ok();
    assert_eq!(w.wait(&id), 9);
    assert_eq!(follow.wait().ok().stdout, "ready\ngot it\n");
    w.docker(&["kill", &id]).go().fails_with(&["is not running"]);
}

#[test]
fn stop_asks_first_and_then_kills() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let polite = w.start(&["--stop-signal=INT"], "trap 'exit 6' INT; echo ready; while :; do sleep 0.1; done");
    let deaf = w.start(&[], "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    for id in [&polite, &deaf] {
        w.wait_log(id, "ready");
    }
    w.docker(&["stop", "--time=60", &polite]).go().ok();
    w.docker(&["stop", "--time=1", &deaf]).go().ok();
    assert_eq!(w.inspect(&polite, "{{.State.ExitCode}}"), "6");
    assert_eq!(w.inspect(&deaf, "{{.State.ExitCode}}"), "137");
}

#[test]
fn start_again_and_restart() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "echo run $(ls /runs | wc -l); touch /runs/$(ls /runs | wc -l); exec sleep 1000";
    let id = w.start(&["-v", "/runs"], script);
    w.wait_log(&id, "run 0");
    let first = w.pid(&id);
    w.docker(&["restart", "--time=0", &id]).go().ok();
    w.wait_log(&id, "run 1");
    assert_ne!(w.pid(&id), first);
    w.docker(&["kill", &id]).go().ok();
    w.docker(&["start", &id]).go().ok();
    w.wait_log(&id, "run 2");
    w.docker(&["rename", &id, &format!("{}renamed", w.c.id)]).go().ok();
    assert_eq!(w.exec(&format!("{}renamed", w.c.id), "ls /runs | wc -l").ok().text(), "3");
}

#[test]
fn created_and_started_in_the_foreground() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = ["sh", "-c", "read x; echo got $x; exit 4"];
    let id = w.make("create", &["-i"], runtime_tests::engines::docker::IMAGE, &script).go().ok().text().to_owned();
    assert_eq!(w.inspect(&id, "{{.State.Status}} {{.State.Pid}}"), "created 0");
    let (reader, mut writer) = runtime_tests::sys::pipe();
    std::io::Write::write_all(&mut writer, b"hello\n").unwrap();
    let out = w.docker(&["start", "--attach", "--interactive", &id]).stdin(reader).go().exits(4);
    assert_eq!(out.text(), "got hello");
}

/// What docker's `exec` has for the process: user, directory, variables, rights.
#[test]
fn exec_as_somebody_else() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let flags = ["exec", "--user=1000:1000", "--workdir=/tmp", "--env=B=2", &w.common, "sh", "-c"];
    let script = "id -u; id -g; pwd; echo $A$B; grep CapEff /proc/self/status; exit 8";
    let out = w.docker(&flags).arg(script).go().exits(8);
    assert_eq!(out.text(), "1000\n1000\n/tmp\none2\nCapEff:\t0000000000000000");
    // By the name the image has for it.
    let out = w.docker(&["exec", "--user=user", &w.common, "sh", "-c", "id -un; echo $HOME"]).go().ok();
    assert_eq!(out.text(), "user\n/home/user");
    let out = w.docker(&["exec", "--privileged", &w.common, "grep", "CapEff", "/proc/self/status"]).go().ok().stdout;
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert!(own.contains(&out), "{out}");
}
