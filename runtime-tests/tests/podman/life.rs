//! From `run` to `rm`: everything that is done to a container.

use std::fs;

use runtime_tests::command::wait_for;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, require, sys};

use super::Podman;

/// What a program is told by signals it writes, and TERM ends it.
const TRAP: [&str; 6] = ["probe", "trap", "10", "12", "18", "15"];
const ENDED_BY_TERM: i32 = 55;

#[test]
fn a_container_is_signalled_stopped_restarted_and_attached_to() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    p.start(&[], &TRAP);
    p.wait_log("ready");
    p.ok(&["kill", "--signal=USR1", &p.c.id]);
    p.ok(&["kill", "--signal=12", &p.c.id]);
    assert_eq!(p.wait_log("signal 12"), "ready\nsignal 10\nsignal 12\n");
    p.ok(&["stop", &p.c.id]);
    assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), ENDED_BY_TERM.to_string(), "stop is a TERM first");
    // The same container again, twice: its log goes on.
    p.ok(&["start", &p.c.id]);
    p.ok(&["restart", &p.c.id]);
    let again = |log: &str| log.matches("ready\n").count() == 3;
    assert!(again(&p.wait_log("signal 15\nready\nsignal 15\nready\n")));
    // Attached, podman hands signals on.
    let attached = p.command(&["attach", &p.c.id]).spawn();
    wait_for("the attached output", || {
        // CONT does nothing to a podman that is not attached yet.
        sys::kill(attached.pid(), 18).unwrap();
        attached.stdout_so_far().contains("signal 18\n").then_some(())
    });
    sys::kill(attached.pid(), 15).unwrap();
    assert!(attached.wait().ok().stdout.contains("signal 15\n"));
    assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), ENDED_BY_TERM.to_string());
}

#[test]
fn exec_takes_user_environment_directory_and_input() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    p.start(&["-e", "OF=run"], &["sleep", "1000"]);
    let input = p.c.dir.join("input");
    fs::write(&input, "typed\n").unwrap();
    let flags = ["-i", "-e", "A=b", "-u", "1000:1000", "-w", "/tmp"];
    let script = "echo $OF $A $(id -u):$(id -g) $PWD; cat; exit 9";
    let out = p.exec(&flags, &["sh", "-c", script]).stdin(fs::File::open(&input).unwrap()).go();
    assert_eq!(out.exits(9).stdout, "run b 1000:1000 /tmp\ntyped\n");
    // podman knows these two by the words of the runtime's error.
    p.exec(&[], &["/nosuch"]).go().exits(127);
    p.exec(&[], &["nosuch"]).go().exits(127);
    p.exec(&[], &["/etc/passwd"]).go().exits(126);
    p.exec(&["-d"], &["sh", "-c", "exec sleep 2000"]).go().ok();
    // All of it is the container's, as the host sees it and as it does itself.
    let top = p.ok(&["top", &p.c.id, "pid", "user", "args"]).stdout;
    assert!(top.contains("1 ") && top.contains("sleep 1000") && top.contains("sleep 2000"), "{top}");
    assert_eq!(fs::read_to_string(p.cgroup().join("cgroup.procs")).unwrap().lines().count(), 2);
}

#[test]
fn paused_healthy_and_copied_from() {
    require!(host::at_length());
    require!(offered(Manager::Cgroupfs));
    let p = Podman::new(Manager::Cgroupfs);
    let health = ["--health-cmd=test ! -e /ill", "--health-interval=disable", "--health-retries=1"];
    p.start(&health, &["sleep", "1000"]);
    p.ok(&["healthcheck", "run", &p.c.id]);
    p.sh("touch /ill");
    p.command(&["healthcheck", "run", &p.c.id]).go().exits(1);
    assert_eq!(p.inspect(&p.c.id, "State.Health.Status"), "unhealthy");
    p.ok(&["pause", &p.c.id]);
    assert_eq!(p.inspect(&p.c.id, "State.Status"), "paused");
    p.exec(&[], &["true"]).go().exits(255);
    p.ok(&["unpause", &p.c.id]);
    // In, out, and kept as an image.
    let file = p.c.dir.join("file");
    fs::write(&file, "given").unwrap();
    p.ok(&["cp", file.to_str().unwrap(), &format!("{}:/tmp/given", p.c.id)]);
    assert_eq!(p.sh("cat /tmp/given; echo made >/tmp/made"), "given");
    let made = p.c.dir.join("made");
    p.ok(&["cp", &format!("{}:/tmp/made", p.c.id), made.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&made).unwrap(), "made\n");
    let image = format!("localhost/{}:made", p.c.id);
    p.ok(&["commit", "-q", &p.c.id, &image]);
    let out = p.command(&["run", "--rm", "--network=none", &image, "cat", "/tmp/made"]).go().ok();
    assert_eq!(out.text(), "made");
    p.ok(&["rmi", &image]);
}

/// Of the walk through the other options nothing depends on how cgroups are made.
#[test]
fn limits_change_while_it_runs() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    p.start(&["--cpu-shares=512", "--memory=64m"], &["sleep", "1000"]);
    let cgroup = p.cgroup();
    let value = |file: &str| fs::read_to_string(cgroup.join(file)).unwrap().trim().to_owned();
    assert_eq!(value("cpu.weight"), "59");
    let update = ["update", "--cpus=0.25", "--cpuset-cpus=0", "--pids-limit=33", "--memory-reservation=32m", &p.c.id];
    p.ok(&update);
    let found = ["cpu.max", "cpuset.cpus", "pids.max", "memory.low", "memory.max"].map(value);
    assert_eq!(found, ["25000 100000", "0", "33", "33554432", "67108864"]);
    let stats = p.ok(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", &p.c.id]);
    assert!(stats.text().starts_with("1 ") && stats.text().ends_with("B / 67.11MB"), "{}", stats.text());
}

#[test]
fn an_init_of_podmans() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    p.start(&["--init"], &["sh", "-c", "(sleep 0.1 &); exec probe trap 15"]);
    p.wait_log("ready");
    assert_eq!(p.sh("cat /proc/1/comm"), "podman-init");
    // What the program's children leave, it reaps.
    wait_for("the orphan's end", || (!p.sh("ps -o comm").contains("sleep")).then_some(()));
    p.ok(&["stop", &p.c.id]);
    assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), ENDED_BY_TERM.to_string(), "TERM is handed on");
}

#[test]
fn out_of_memory_and_out_of_time() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    for manager in [Manager::Systemd, Manager::Cgroupfs] {
        let p = Podman::new(manager);
        p.run(&["--name", &p.c.id, "--memory=24m", "--memory-swap=24m"], &["probe", "alloc", "100"]).go().exits(137);
        assert_eq!(p.inspect(&p.c.id, "State.OOMKilled"), "true");
    }
    let p = Podman::new(Manager::Systemd);
    let out = p.run(&["--rm", "--timeout=2"], &["sh", "-c", "echo begun; sleep 1000"]).go();
    assert_eq!(out.exits(255).text(), "begun");
}

#[test]
fn what_the_runtime_refuses() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let refused = |flags: &[&str], command: &[&str]| p.run(&[&["--rm"], flags].concat(), command).go();
    refused(&[], &["nosuch"]).exits(127).says(&["not found in $PATH"]);
    refused(&[], &["/etc"]).exits(126);
    refused(&["--entrypoint", ""], &[""]).exits(127);
    refused(&["--sysctl=net.ipv4.ip_forward=much"], &["true"]).exits(126);
    // podman itself.
    refused(&["--volume=/nosuch:/x"], &["true"]).exits(125);
    refused(&["--workdir=/etc/passwd"], &["true"]).exits(126);
}
