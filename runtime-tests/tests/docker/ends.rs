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
fn a_status_is_passed_on_and_a_signal_is_128_more() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.run(&[], "exit 42").go().exits(42);
    let id = w.start(&[], "sh -c 'kill -SEGV $$'; exit $?");
    assert_eq!(w.wait(&id), 139);
}

#[test]
fn on_failure_it_is_restarted_so_many_times() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&["--restart=on-failure:2"], "echo run; exit 3");
    eventually("its last end", || {
        (w.inspect(&id, "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}") == "2 exited 3").then_some(())
    });
    assert_eq!(w.logs(&id), "run\nrun\nrun\n");
    // An end in peace is not followed by another run.
    let id = w.start(&["--restart=on-failure:2"], "exit 0");
    assert_eq!(w.wait(&id), 0);
    assert_eq!(w.inspect(&id, "{{.RestartCount}} {{.State.Status}}"), "0 exited");
}

#[test]
fn one_killed_for_want_of_memory_is_known() {
    require!(offered(Manager::Systemd));
    require!(host::controller("memory"));
    let w = Walk::new();
    let id = w.start(&["--memory=32m", "--memory-swap=32m"], "exec tail /dev/zero");
    assert_eq!(w.wait(&id), 137);
    assert_eq!(w.inspect(&id, "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    // A child of it that is killed is known as well, and the container goes on.
    let id = w.start(&["--memory=32m", "--memory-swap=32m"], "tail /dev/zero; echo child: $?; sleep 1000");
    w.wait_log(&id, "child: 137");
    let events = w.exec(&id, "grep oom_kill /sys/fs/cgroup/memory.events").ok().stdout;
    assert!(events.contains("oom_kill 1\n"), "{events}");
    let killed = w.start(&[], "kill -KILL $$; exit 7");
    w.docker(&["kill", &killed]).go();
    assert_eq!(w.inspect(&killed, "{{.State.OOMKilled}}"), "false");
}

#[test]
fn health_is_looked_after() {
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
