//! containerd, by its own client.

use std::fs;
use std::path::PathBuf;

use runtime_tests::command::wait_for;
use runtime_tests::engines::{
    DOCKERS, IMAGE, Manager, Profile, assert_gone, assert_limits, cgroup_of, engines, offered, program,
};
use runtime_tests::{Case, Cmd, host, json, paths, require};

fn ctr(c: &Case, args: &[&str]) -> Cmd {
    program(c, "ctr").args(args)
}

/// `ctr run` on the runtime, by the shim that docker and Kubernetes use too.
fn ctr_run(c: &Case, flags: &[&str]) -> Cmd {
    let run = ctr(c, &["run", "--runtime", "io.containerd.runc.v2", "--runc-binary"]);
    run.arg(paths::orlop()).args(flags)
}

/// ctr has no flag for the number of processes, so it gets a whole config.
fn config_for_ctr(c: &mut Case, manager: Manager) -> (PathBuf, PathBuf) {
    let rootfs = c.bundle.join("rootfs").to_str().unwrap().to_owned();
    c.set("/root/path", rootfs).args(&["/bin/sleep", "1000"]);
    let (memory, cpu) = (json!({ "limit": 64 << 20 }), json!({ "quota": 50_000, "period": 100_000 }));
    c.set("/linux/resources", json!({ "memory": memory, "cpu": cpu, "pids": { "limit": 20 } }));
    let mount = host::cgroup2().unwrap();
    let (path, cgroup) = match manager {
        Manager::Cgroupfs => (format!("/{}", c.id), mount.join(&c.id)),
        Manager::Systemd => {
            (format!("system.slice:ctr:{}", c.id), mount.join(format!("system.slice/ctr-{}.scope", c.id)))
        }
    };
    c.set("/linux/cgroupsPath", path);
    c.write();
    (c.bundle.join("config.json"), cgroup)
}

fn ctr_limits(manager: Manager) {
    let _turn = engines();
    let mut c = Case::new();
    let (config, cgroup) = config_for_ctr(&mut c, manager);
    let ctr = |args: &[&str]| ctr(&c, args);
    let path = c.config["linux"]["cgroupsPath"].as_str().unwrap();
    let systemd: &[&str] = &["--runc-systemd-cgroup", "--cgroup", path];
    let flags = if manager == Manager::Systemd { systemd } else { &[] };
    ctr_run(&c, flags).args(["--detach", "--config"]).arg(&config).arg(&c.id).go().ok();

    let list = ctr(&["tasks", "list"]).go().ok().stdout;
    let task: Vec<_> = list.lines().find(|l| l.starts_with(&c.id)).expect("the task").split_whitespace().collect();
    assert_eq!(task[2], "RUNNING");
    assert!(cgroup_of(task[1].parse().expect("a pid")).starts_with(&cgroup), "not in {}", cgroup.display());
    assert_limits(&c, manager, &cgroup);
    let metrics = ctr(&["tasks", "metrics", "--format", "json", &c.id]).go().ok().json();
    assert_eq!((&metrics["memory"]["usage_limit"], &metrics["pids"]["limit"]), (&json!(67_108_864), &json!(20)));
    assert_eq!(metrics["pids"]["current"], 1);
    assert!(metrics["cpu"]["nr_periods"].as_u64() > Some(0), "no bandwidth limit: {metrics}");

    ctr(&["tasks", "exec", "--exec-id", "one", &c.id, "/bin/sh", "-c", "exit 7"]).go().exits(7);
    ctr(&["tasks", "pause", &c.id]).go().ok();
    assert!(fs::read_to_string(cgroup.join("cgroup.events")).unwrap().contains("frozen 1"));
    ctr(&["tasks", "resume", &c.id]).go().ok();
    ctr(&["tasks", "kill", "--signal", "KILL", &c.id]).go().ok();
    wait_for("the task's end", || ctr(&["tasks", "list"]).go().ok().stdout.contains("STOPPED").then_some(()));
    let deleted = ctr(&["tasks", "delete", &c.id]).go().ok();
    assert!(deleted.stderr.contains("exit code 137"), "{}", deleted.stderr);
    ctr(&["containers", "delete", &c.id]).go().ok();
    assert_gone(&cgroup);
}

#[test]
fn containerd_limits_with_cgroupfs() {
    require!(offered(Manager::Cgroupfs));
    ctr_limits(Manager::Cgroupfs);
}

#[test]
fn containerd_limits_with_systemd() {
    require!(offered(Manager::Systemd));
    ctr_limits(Manager::Systemd);
}

#[test]
fn containerd_runs_an_image_and_passes_on_its_exit_code() {
    require!(offered(Manager::Cgroupfs));
    let _turn = engines();
    let c = Case::new();
    let out = ctr_run(&c, &["--rm", "--memory-limit=67108864", "--cpus=0.5", IMAGE, &c.id])
        .args(["/bin/sh", "-c", "cat /proc/self/cgroup; exit 3"])
        .go();
    // ctr's own config: no cgroup namespace, and one cgroup per namespace of containerd's.
    assert_eq!(out.exits(3).stdout, format!("0::/default/{}\n", c.id));
    ctr_run(&c, &["--rm", IMAGE, &c.id, "/nosuch"]).go().fails_with(&["/nosuch"]);
}

/// The AppArmor profile has the name that ctr is told.
const PROFILE: Profile = Profile { apparmor: "orlop-test-default", verdicts: DOCKERS };

#[test]
fn containerds_default_profiles_hold_in_init_and_exec() {
    require!(offered(Manager::Cgroupfs));
    let _turn = engines();
    let c = Case::new();
    let question = PROFILE.question();
    let flags = ["--seccomp", "--apparmor-default-profile", PROFILE.apparmor];
    PROFILE.assert_in(&ctr_run(&c, &flags).args(["--rm", IMAGE, &c.id]).args(&question).go().ok());

    ctr_run(&c, &flags).args(["--detach", IMAGE, &c.id, "sleep", "1000"]).go().ok();
    let exec = ctr(&c, &["tasks", "exec", "--exec-id", "one", &c.id]);
    PROFILE.assert_in(&exec.args(&question).go().ok());
    ctr(&c, &["tasks", "kill", "--signal", "KILL", &c.id]).go().ok();
    wait_for("the task's end", || ctr(&c, &["tasks", "list"]).go().ok().stdout.contains("STOPPED").then_some(()));
    ctr(&c, &["tasks", "delete", &c.id]).go();
    ctr(&c, &["containers", "delete", &c.id]).go().ok();
}
