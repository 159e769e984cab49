//! docker: a daemon that keeps containers by containerd's shim.

use std::fs;
use std::os::unix::fs::MetadataExt;

use runtime_tests::engines::docker::{Daemon, IMAGE};
use runtime_tests::engines::{
    DOCKERS, Manager, Profile, assert_gone, assert_limits, cgroup_of, engines, offered, program,
};
use runtime_tests::{Case, Cmd, paths, require};

/// dockerd runs, with a cgroup manager. To be called with the engines' turn,
/// before the test's case.
pub fn daemon(manager: Manager) {
    Daemon::new(manager).up();
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

#[test]
fn docker_with_remapped_ids() {
    require!(offered(Manager::Systemd));
    let _turn = engines();
    Daemon { remapped: Some("tester"), ..Daemon::new(Manager::Systemd) }.up();
    let c = Case::new();
    let flags = ["--pids-limit=20", "--init", "-d", "-v", "/data", "--name", &c.id];
    docker_run(&c, &flags, &["sleep", "1000"]).go().ok();
    let exec = |script: &str| docker(&c, &["exec", &c.id, "sh", "-c", script]).go();
    let map = exec("cat /proc/self/uid_map").ok();
    assert_eq!(map.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    exec("touch /data/x && echo hello >/dev/null && id -u && exit 4").exits(4);
    let data = docker(&c, &["inspect", "--format", "{{(index .Mounts 0).Source}}", &c.id]).go().ok();
    assert_eq!(fs::metadata(format!("{}/x", data.text())).unwrap().uid(), 100_000);
    docker(&c, &["rm", "--force", "--volumes", &c.id]).go().ok();
}

/// A daemon in a container of the runtime's, whose containers are the runtime's too.
#[test]
fn docker_in_docker() {
    require!(offered(Manager::Systemd));
    let _turn = engines();
    daemon(Manager::Systemd);
    let c = Case::new();
    let (orlop, image) = (paths::orlop().display(), paths::work_dir().join("image"));
    // Limits below take a cgroup with nobody in it above.
    let script = format!(
        "export PATH=/usr/bin:/usr/sbin:/bin
        mkdir /sys/fs/cgroup/daemon; echo 0 >/sys/fs/cgroup/daemon/cgroup.procs; echo $$ >/sys/fs/cgroup/daemon/cgroup.procs
        dockerd --bridge=none --iptables=false --ip6tables=false --exec-opt native.cgroupdriver=cgroupfs \
            --storage-driver vfs --add-runtime tested={orlop} --default-runtime tested >/run/log 2>&1 &
        for _ in $(seq 60); do docker version >/dev/null 2>&1 && break; sleep 1; done
        tar -C /image/rootfs -c . | docker import - one >/dev/null || cat /run/log
        docker run --rm --network=none --memory=64m one sh -c 'echo inner; cat /sys/fs/cgroup/memory.max; exit 5'"
    );
    let mut outer = docker(&c, &["run", "--runtime=tested", "--network=none", "--rm", "--privileged"]);
    for volume in ["/usr:/usr:ro".to_owned(), format!("{orlop}:{orlop}:ro"), format!("{}:/image:ro", image.display())] {
        outer = outer.args(["-v", &volume]);
    }
    for dir in ["/var/lib/docker", "/var/lib/containerd", "/run", "/var/run", "/etc/docker"] {
        outer = outer.args(["--tmpfs", &format!("{dir}:exec")]);
    }
    let out = outer.arg(IMAGE).args(["sh", "-c", &script]).go().exits(5);
    assert_eq!(out.text(), "inner\n67108864");
}
