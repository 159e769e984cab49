//! podman: it calls the runtime itself. All that it can do is the suite `podman`.

use std::fs;
use std::path::Path;

use runtime_tests::engines::podman::{PROFILE, podman, podman_run};
use runtime_tests::engines::{Manager, assert_gone, assert_limits, cgroup_of, engines, offered};
use runtime_tests::{Case, Cmd, require};

/// What every container here is limited by, in podman's words.
pub const LIMITED: [&str; 4] = ["--memory=64m", "--memory-swap=96m", "--cpus=0.5", "--pids-limit=20"];

/// The rest of a limited container's life, whoever's it is.
pub fn live_and_die(c: &Case, podman: impl Fn(&[&str]) -> Cmd, cgroup: &Path) {
    podman(&["exec", &c.id, "sh", "-c", "exit 7"]).go().exits(7);
    podman(&["update", "--memory=128m", "--memory-swap=256m", &c.id]).go().ok();
    assert_eq!(fs::read_to_string(cgroup.join("memory.max")).unwrap().trim(), (128 << 20).to_string());
    podman(&["pause", &c.id]).go().ok();
    assert!(fs::read_to_string(cgroup.join("cgroup.events")).unwrap().contains("frozen 1"));
    podman(&["unpause", &c.id]).go().ok();

    podman(&["kill", "--signal=KILL", &c.id]).go().ok();
    assert_eq!(podman(&["wait", &c.id]).go().ok().text(), "137");
    podman(&["rm", &c.id]).go().ok();
    assert_gone(cgroup);
}

fn podman_limits(manager: Manager) {
    let _turn = engines();
    let c = Case::new();
    let podman = |args: &[&str]| podman(&c, manager, args);
    let flags = [&LIMITED[..], &["-d", "--name", &c.id]].concat();
    podman_run(&c, manager, &flags, &["sleep", "1000"]).go().ok();

    let pid = podman(&["inspect", "--format", "{{.State.Pid}}", &c.id]).go().ok().stdout;
    let cgroup = cgroup_of(pid.trim().parse().expect("a pid"));
    assert_limits(&c, manager, &cgroup);
    assert_eq!(fs::read_to_string(cgroup.join("memory.swap.max")).unwrap().trim(), (32 << 20).to_string());
    let stats = podman(&["stats", "--no-stream", "--format", "json", &c.id]).go().ok().json();
    assert!(stats[0]["mem_usage"].as_str().unwrap().ends_with("B / 67.11MB"), "{stats}");
    assert_eq!(stats[0]["pids"], "1", "{stats}");

    // In the same cgroup.
    let seen = podman(&["exec", &c.id, "cat", "/sys/fs/cgroup/memory.max"]).go().ok().stdout;
    assert_eq!(seen.trim(), "67108864");
    live_and_die(&c, podman, &cgroup);
}

#[test]
fn podman_limits_with_cgroupfs() {
    require!(offered(Manager::Cgroupfs));
    podman_limits(Manager::Cgroupfs);
}

#[test]
fn podman_limits_with_systemd() {
    require!(offered(Manager::Systemd));
    podman_limits(Manager::Systemd);
}

#[test]
fn podman_passes_on_exit_codes() {
    require!(offered(Manager::Cgroupfs));
    let _turn = engines();
    let c = Case::new();
    let run = |command: &[&str]| podman_run(&c, Manager::Cgroupfs, &["--rm"], command).go();
    assert_eq!(run(&["sh", "-c", "echo out; exit 3"]).exits(3).stdout, "out\n");
    // podman knows these two by the words of the runtime's error.
    run(&["/nosuch"]).exits(127);
    run(&["/etc/passwd"]).exits(126);
}

#[test]
fn podmans_default_profiles_hold_in_init_and_exec() {
    require!(offered(Manager::Systemd));
    let _turn = engines();
    let c = Case::new();
    let question = PROFILE.question();
    PROFILE.assert_in(&podman_run(&c, Manager::Systemd, &["--rm"], &question).go().ok());

    podman_run(&c, Manager::Systemd, &["-d", "--name", &c.id], &["sleep", "1000"]).go().ok();
    PROFILE.assert_in(&podman(&c, Manager::Systemd, &["exec", &c.id]).args(&question).go().ok());
    podman(&c, Manager::Systemd, &["rm", "--force", "--time=0", &c.id]).go().ok();
}
