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
    let id = w.start(&["--memory=64m", "--cpus=0.5", "--pids-limit=20"], "sleep 1000 & sleep 1000 & wait");
    let stats = w.docker(&["stats", "--no-stream", "--format", "{{json .}}", &id]).go().ok().json();
    assert_eq!(stats["PIDs"], "3");
    let memory = stats["MemUsage"].as_str().expect("memory");
    assert!(memory.ends_with(" / 64MiB") && !memory.starts_with("0B"), "{memory}");
    assert!(stats["NetIO"].as_str().is_some_and(|n| !n.is_empty()), "{stats}");
}

#[test]
fn update_while_it_runs() {
    require!(offered(Manager::Systemd));
    require!(host::controller("memory"));
    let w = Walk::new();
    let id = w.start(&["--memory=64m"], "sleep 1000");
    let flags = [
        "--memory=96m",
        "--memory-swap=96m",
        "--memory-reservation=32m",
        "--cpus=0.25",
        "--pids-limit=33",
        "--cpu-shares=512",
    ];
    w.docker(&["update"]).args(flags).args(["--cpuset-cpus=0", &id]).go().ok();
    let cgroup = cgroup_of(w.pid(&id));
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
    // Below what is in use the kernel would have to kill.
    assert_eq!(w.exec(&id, "cat /sys/fs/cgroup/memory.max").ok().text(), "100663296");
    w.docker(&["update", "--restart=always", &id]).go().ok();
    assert_eq!(w.inspect(&id, "{{.HostConfig.RestartPolicy.Name}}"), "always");
}

#[test]
fn pause_and_unpause() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&[], "sleep 1000");
    let events = cgroup_of(w.pid(&id)).join("cgroup.events");
    let frozen = || fs::read_to_string(&events).unwrap().contains("frozen 1");
    w.docker(&["pause", &id]).go().ok();
    assert_eq!(w.inspect(&id, "{{.State.Status}}"), "paused");
    assert!(frozen());
    w.docker(&["exec", &id, "true"]).go().fails_with(&["is paused"]);
    w.docker(&["unpause", &id]).go().ok();
    assert!(!frozen());
    w.exec(&id, "true").ok();
    // One that stands still is killed as well.
    w.docker(&["pause", &id]).go().ok();
    w.docker(&["rm", "--force", &id]).go().ok();
}

#[test]
fn top_shows_its_processes() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&[], "sleep 1234 & exec sleep 4321");
    eventually("both", || w.exec(&id, "ls -d /proc/[0-9]*").stdout.contains("/proc/").then_some(()));
    let exec = w.docker(&["exec", "--detach", &id, "sleep", "5678"]).go().ok();
    assert_eq!(exec.text(), "");
    let top = eventually("three processes", || {
        let top = w.docker(&["top", &id, "-e", "-o", "pid,args"]).go().ok().stdout;
        (top.lines().count() == 4).then_some(top)
    });
    let first = w.pid(&id).to_string();
    let line = |args: &str| top.lines().find(|l| l.ends_with(args)).unwrap_or_else(|| panic!("{args}: {top}"));
    assert!(line("sleep 4321").trim_start().starts_with(&first), "{first}: {top}");
    for args in ["sleep 1234", "sleep 5678"] {
        let pid = line(args).split_whitespace().next().unwrap();
        let seen = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert_eq!(seen.trim_end_matches('\0').replace('\0', " "), args);
    }
    // In ps's own words.
    assert!(w.docker(&["top", &id]).go().ok().stdout.starts_with("UID"));
}

#[test]
fn logs_of_both_streams() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&[], "echo out; echo err >&2; echo more; sleep 1000");
    w.wait_log(&id, "more");
    w.wait_log(&id, "err");
    let logs = w.docker(&["logs", &id]).go().ok();
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\nmore\n", "err\n"));
    // Which of the two streams' lines came last is not certain.
    let last = w.docker(&["logs", "--tail=1", &id]).go().ok();
    assert!(["more\n", "err\n"].contains(&(last.stdout + &last.stderr).as_str()));
    // Followed, they end when the container does.
    let follow = w.docker(&["logs", "--follow", &id]).spawn();
    eventually("the log", || follow.stdout_so_far().contains("more").then_some(()));
    w.docker(&["kill", &id]).go().ok();
    assert_eq!(follow.wait().ok().stdout, "out\nmore\n");
}

#[test]
fn kill_with_a_signal_of_ones_choice() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&[], "trap 'echo got it; exit 9' USR1; echo ready; while :; do sleep 0.1; done");
    w.wait_log(&id, "ready");
    w.docker(&["kill", "-s", "USR1", &id]).go().ok();
    assert_eq!(w.wait(&id), 9);
    assert!(w.logs(&id).contains("got it"));
    w.docker(&["kill", &id]).go().fails_with(&["is not running"]);
}

#[test]
fn stop_asks_first_and_then_kills() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let polite = w.start(&[], "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done");
    let other = w.start(&["--stop-signal=INT"], "trap 'exit 6' INT; echo ready; while :; do sleep 0.1; done");
    let deaf = w.start(&[], "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    for id in [&polite, &other, &deaf] {
        w.wait_log(id, "ready");
    }
    w.docker(&["stop", "--time=30", &polite, &other]).go().ok();
    w.docker(&["stop", "--time=1", &deaf]).go().ok();
    for (id, status) in [(&polite, "5"), (&other, "6"), (&deaf, "137")] {
        assert_eq!(w.inspect(id, "{{.State.ExitCode}}"), status);
    }
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
    let id = w.start(&["-e", "A=1"], "sleep 1000");
    let flags = ["exec", "--user=1000:1000", "--workdir=/tmp", "--env=B=2", &id, "sh", "-c"];
    let script = "id -u; id -g; pwd; echo $A$B; grep CapEff /proc/self/status; exit 8";
    let out = w.docker(&flags).arg(script).go().exits(8);
    assert_eq!(out.text(), "1000\n1000\n/tmp\n12\nCapEff:\t0000000000000000");
    let script = "grep CapEff /proc/self/status; ls -d /sys/fs/cgroup/cgroup.procs";
    let out = w.docker(&["exec", "--privileged", &id, "sh", "-c", script]).go().ok().stdout;
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let all = own.lines().find(|l| l.starts_with("CapEff")).unwrap();
    assert!(out.starts_with(all), "{all}: {out}");
    w.docker(&["exec", &id, "nosuch"]).go().exits(127);
    w.docker(&["exec", &id, "/etc/passwd"]).go().exits(126);
}
