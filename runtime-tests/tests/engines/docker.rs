//! docker: a daemon that keeps containers by containerd's shim.

use std::fs;
use std::sync::Mutex;

use runtime_tests::{Case, Cmd, json, paths, require};

use super::{DOCKERS, Manager, Profile, assert_gone, assert_limits, cgroup_of, engines, offered, program, shell};

/// Made of the same root file system.
pub const IMAGE: &str = "orlop-test:one";

/// dockerd runs, with a cgroup manager. To be called with the engines' turn,
/// before the test's case.
pub fn daemon(manager: Manager) {
    static NOW: Mutex<Option<Manager>> = Mutex::new(None);
    let mut now = NOW.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *now == Some(manager) {
        return;
    }
    let driver = if manager == Manager::Systemd { "systemd" } else { "cgroupfs" };
    let runtime = |path: &str| json!({ "path": path });
    let config = json!({
        "runtimes": { "tested": runtime(&paths::orlop().to_string_lossy()), "crun": runtime("/usr/bin/crun") },
        "exec-opts": [format!("native.cgroupdriver={driver}")],
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
    });
    fs::create_dir_all("/etc/docker").expect("/etc/docker");
    fs::write("/etc/docker/daemon.json", config.to_string()).expect("daemon.json");
    // The first container leaves mounts and cgroups of the daemon's own.
    let script = format!(
        "set -e
        systemctl restart docker
        docker image inspect {IMAGE} >/dev/null 2>&1 || tar -C rootfs -c . | docker import - {IMAGE}
        docker run --rm --network none {IMAGE} true"
    );
    shell(&paths::work_dir().join("image"), &script);
    *now = Some(manager);
}

fn docker(c: &Case, args: &[&str]) -> Cmd {
    program(c, "docker").args(args)
}

/// `docker run` on the runtime.
fn docker_run(c: &Case, flags: &[&str], command: &[&str]) -> Cmd {
    docker(c, &["run", "--runtime=tested", "--network=none"]).args(flags).arg(IMAGE).args(command)
}

fn docker_limits(manager: Manager) {
    let _turn = engines();
    daemon(manager);
    let c = Case::new();
    let docker = |args: &[&str]| docker(&c, args);
    let flags = ["--memory=64m", "--memory-swap=96m", "--cpus=0.5", "--pids-limit=20", "-d", "--name", &c.id];
    docker_run(&c, &flags, &["sleep", "1000"]).go().ok();

    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &c.id]).go().ok().stdout;
    let cgroup = cgroup_of(pid.trim().parse().expect("a pid"));
    assert_limits(&c, manager, &cgroup);
    docker(&["exec", &c.id, "sh", "-c", "exit 7"]).go().exits(7);
    docker(&["update", "--memory=128m", "--memory-swap=256m", &c.id]).go().ok();
    assert_eq!(fs::read_to_string(cgroup.join("memory.max")).unwrap().trim(), (128 << 20).to_string());
    docker(&["pause", &c.id]).go().ok();
    assert!(fs::read_to_string(cgroup.join("cgroup.events")).unwrap().contains("frozen 1"));
    docker(&["unpause", &c.id]).go().ok();

    docker(&["kill", "--signal=KILL", &c.id]).go().ok();
    assert_eq!(docker(&["wait", &c.id]).go().ok().stdout.trim(), "137");
    docker(&["rm", &c.id]).go().ok();
    assert_gone(&cgroup);
}

#[test]
fn docker_limits_with_cgroupfs() {
    require!(offered(Manager::Cgroupfs));
    docker_limits(Manager::Cgroupfs);
}

#[test]
fn docker_limits_with_systemd() {
    require!(offered(Manager::Systemd));
    docker_limits(Manager::Systemd);
}

#[test]
fn docker_passes_on_exit_codes() {
    require!(offered(Manager::Systemd));
    let _turn = engines();
    daemon(Manager::Systemd);
    let c = Case::new();
    let run = |command: &[&str]| docker_run(&c, &["--rm"], command).go();
    assert_eq!(run(&["sh", "-c", "echo out; exit 3"]).exits(3).stdout, "out\n");
    // docker knows these two by the words of the runtime's error.
    run(&["/nosuch"]).exits(127);
    run(&["/etc/passwd"]).exits(126);
}

const PROFILE: Profile = Profile { apparmor: "docker-default", verdicts: DOCKERS };

#[test]
fn dockers_default_profiles_hold_in_init_and_exec() {
    require!(offered(Manager::Systemd));
    let _turn = engines();
    daemon(Manager::Systemd);
    let c = Case::new();
    let question = PROFILE.question();
    PROFILE.assert_in(&docker_run(&c, &["--rm"], &question).go().ok());

    docker_run(&c, &["-d", "--name", &c.id], &["sleep", "1000"]).go().ok();
    PROFILE.assert_in(&docker(&c, &["exec", &c.id]).args(&question).go().ok());
    docker(&c, &["rm", "--force", &c.id]).go().ok();
}

/// With the capability and without the filter, only docker's AppArmor profile refuses to mount.
#[test]
fn dockers_apparmor_profile_denies_by_itself() {
    require!(offered(Manager::Systemd));
    let _turn = engines();
    daemon(Manager::Systemd);
    let c = Case::new();
    let mount = |profile: &str| {
        let flags = ["--rm", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt", profile];
        docker_run(&c, &flags, &["probe", "try", "mount:/tmp:tmpfs"]).go().ok().last_json()["mount:/tmp:tmpfs"].clone()
    };
    assert_eq!(mount("apparmor=docker-default"), "EACCES");
    assert_eq!(mount("apparmor=unconfined"), 0);
}
