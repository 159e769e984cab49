//! How containers end, and what docker makes of it.

use runtime_tests::engines::docker::IMAGE;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, require};

use super::walk::{Walk, eventually};

#[test]
fn the_daemons_own_refusal_is_125() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.run(&["--runtime=nosuch"], "true").go().exits(125).says(&["nosuch"]);
    w.run(&["--sysctl=kernel.nosuch=1"], "true").go().exits(125);
}

#[test]
fn a_program_that_cannot_be_executed_is_126() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    for program in ["/etc/passwd", "/etc"] {
        w.make("run", &["--rm"], IMAGE, &[program]).go().exits(126).says(&[program, "permission denied"]);
    }
}

#[test]
fn a_program_that_is_not_there_is_127() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    for program in ["nosuch", "/no/such"] {
        w.make("run", &["--rm"], IMAGE, &[program]).go().exits(127).says(&[program]);
    }
}

#[test]
fn exec_has_the_same_two() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.docker(&["exec", &w.common, "nosuch"]).go().exits(127);
    w.docker(&["exec", &w.common, "/etc/passwd"]).go().exits(126);
}

#[test]
fn a_status_is_passed_on_and_a_signal_is_128_more() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.run(&[], "exit 42").go().exits(42);
    // One that PID 1 gives itself is ignored, unless it is another process that has it.
    w.run(&[], "sh -c 'kill -SEGV $$'; exit $?").go().exits(139);
    let id = w.start(&[], "exec sleep 1000");
    w.docker(&["kill", &id]).go().ok();
    assert_eq!(w.wait(&id), 137);
}

#[test]
fn on_failure_it_is_restarted_so_many_times() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&["--restart=on-failure:2"], "echo run; exit 3");
    eventually("its last end", || {
        (w.inspect(&id, "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}") == "2 exited 3").then_some(())
    });
    assert_eq!(w.logs(&id), "run\nrun\nrun\n");
}

#[test]
fn one_killed_for_want_of_memory_is_known() {
    require!(offered(Manager::Systemd));
    require!(host::controller("memory"));
    let w = Walk::new();
    let id = w.start(&["--memory=32m", "--memory-swap=32m"], "exec tail /dev/zero");
    assert_eq!(w.wait(&id), 137);
    assert_eq!(w.inspect(&id, "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    // Another process than the first that is killed: the container goes on.
    w.exec(&w.common, "exec tail /dev/zero").exits(137);
    assert!(w.sees("grep 'oom_kill ' /sys/fs/cgroup/memory.events").starts_with("oom_kill 1"));
}

#[test]
fn health_is_looked_after() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let flags = ["--health-cmd=test -e /ok", "--health-interval=500ms", "--health-retries=1"];
    let id = w.start(&flags, "sleep 1000");
    let health = |wanted: &str| {
        eventually(wanted, || (w.inspect(&id, "{{.State.Health.Status}}") == wanted).then_some(()));
    };
    health("unhealthy");
    w.exec(&id, "touch /ok").ok();
    health("healthy");
    let log = w.inspect(&id, "{{json .State.Health.Log}}");
    assert!(log.contains(r#""ExitCode":1"#) && log.contains(r#""ExitCode":0"#), "{log}");
}

/// docker's own init as PID 1, which reaps and passes signals on.
#[test]
fn an_init_of_dockers() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&["--init"], "(sleep 0 &); trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done");
    w.wait_log(&id, "ready");
    assert_eq!(w.exec(&id, "cat /proc/1/comm").ok().text(), "docker-init");
    let zombies = w.exec(&id, "grep -l '^State:.Z' /proc/[0-9]*/status");
    assert_eq!(zombies.text(), "");
    w.docker(&["stop", "--time=60", &id]).go().ok();
    assert_eq!(w.inspect(&id, "{{.State.ExitCode}}"), "5");
}
