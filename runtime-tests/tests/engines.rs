//! podman and containerd run limited containers on the runtime, with each
//! cgroup manager. Only in the VM: engines change the machine they run on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::{Case, Cmd, Value, bundle, host, json, paths, require};

const IMAGE: &str = "localhost/orlop-test:one";

/// Every container here has these limits, by whatever flags its engine has for them.
const LIMITS: [(&str, &str); 3] = [("memory.max", "67108864"), ("cpu.max", "50000 100000"), ("pids.max", "20")];

#[derive(Clone, Copy, PartialEq)]
enum Manager {
    Cgroupfs,
    Systemd,
}

/// Can this be tried here?
fn offered(manager: Manager) -> Result<(), String> {
    host::vm()?;
    let out = Command::new(paths::orlop()).arg("features").output().expect("features");
    let features: Value = serde_json::from_slice(&out.stdout).expect("features in JSON");
    let offered = manager == Manager::Cgroupfs || features["linux"]["cgroup"]["systemd"] == true;
    if offered { Ok(()) } else { Err("the runtime has no systemd cgroup manager".to_owned()) }
}

/// The engines' turn: one test at a time, with an image and containerd ready.
///
/// Before the test's case, to which what they keep running or mounted would
/// look like something left behind.
fn engines() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    static READY: OnceLock<()> = OnceLock::new();
    let turn = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    READY.get_or_init(prepare);
    turn
}

/// An image without a registry: a rootfs made into a layout, which each engine reads.
fn prepare() {
    let dir = paths::work_dir().join("image");
    let _ = fs::remove_dir_all(&dir);
    bundle::make_rootfs(&dir.join("rootfs"));
    let script = format!(
        "set -e
        umoci init --layout layout
        umoci new --image layout:one
        umoci insert --image layout:one rootfs /
        tar -C layout -cf image.tar .
        skopeo copy -q oci:layout:one containers-storage:{IMAGE}
        systemctl start containerd
        ctr image import --base-name localhost/orlop-test image.tar"
    );
    let out = Command::new("sh").args(["-c", &script]).current_dir(&dir).output().expect("sh");
    assert!(out.status.success(), "no image: {}", String::from_utf8_lossy(&out.stderr));
}

fn program(c: &Case, name: &str) -> Cmd {
    c.program(name).limit(Duration::from_secs(120))
}

/// The cgroup of a process, below the mount point.
fn cgroup_of(pid: u64) -> PathBuf {
    let line = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
    host::cgroup2().unwrap().join(line.trim().trim_start_matches("0::/"))
}

/// The kernel, and systemd if it is the manager, have the limits of the config.
#[track_caller]
fn assert_limits(c: &Case, manager: Manager, cgroup: &Path) {
    for (file, value) in LIMITS {
        let found = fs::read_to_string(cgroup.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(found.trim(), value, "{file}");
    }
    let scope = cgroup.iter().map(|p| p.to_str().unwrap()).find(|p| p.ends_with(".scope"));
    assert_eq!(scope.is_some(), manager == Manager::Systemd, "{}", cgroup.display());
    let Some(scope) = scope else { return };
    let show = ["show", scope, "-p", "ActiveState,MemoryMax,TasksMax,CPUQuotaPerSecUSec"];
    let shown = program(c, "systemctl").args(show).go().ok().stdout;
    for line in ["ActiveState=active", "MemoryMax=67108864", "TasksMax=20", "CPUQuotaPerSecUSec=500ms"] {
        assert!(shown.lines().any(|l| l == line), "{line}: {shown}");
    }
}

#[track_caller]
fn assert_gone(cgroup: &Path) {
    wait_for("the cgroup's end", || (!cgroup.exists()).then_some(()));
}

// ---- podman

/// podman with the runtime and the manager, and a subcommand.
fn podman(c: &Case, manager: Manager, args: &[&str]) -> Cmd {
    let manager = if manager == Manager::Systemd { "systemd" } else { "cgroupfs" };
    program(c, "podman").arg("--runtime").arg(paths::orlop()).args(["--cgroup-manager", manager]).args(args)
}

/// `podman run`, without what the runtime can't do yet.
fn podman_run(c: &Case, manager: Manager, flags: &[&str], command: &[&str]) -> Cmd {
    let run = podman(c, manager, &["run", "--network=none", "--security-opt=seccomp=unconfined"]);
    run.arg("--security-opt=apparmor=unconfined").args(flags).arg(IMAGE).args(command)
}

fn podman_limits(manager: Manager) {
    let _turn = engines();
    let c = Case::new();
    let podman = |args: &[&str]| podman(&c, manager, args);
    let flags = ["--memory=64m", "--memory-swap=96m", "--cpus=0.5", "--pids-limit=20", "-d", "--name", &c.id];
    podman_run(&c, manager, &flags, &["sleep", "1000"]).go().ok();

    let pid = podman(&["inspect", "--format", "{{.State.Pid}}", &c.id]).go().ok().stdout;
    let cgroup = cgroup_of(pid.trim().parse().expect("a pid"));
    assert_limits(&c, manager, &cgroup);
    assert_eq!(fs::read_to_string(cgroup.join("memory.swap.max")).unwrap().trim(), (32 << 20).to_string());
    let stats = podman(&["stats", "--no-stream", "--format", "json", &c.id]).go().ok().json();
    assert!(stats[0]["mem_usage"].as_str().unwrap().ends_with("B / 67.11MB"), "{stats}");
    assert_eq!(stats[0]["pids"], "1", "{stats}");

    // In the same cgroup, with its own exit status.
    let seen = podman(&["exec", &c.id, "cat", "/sys/fs/cgroup/memory.max"]).go().ok().stdout;
    assert_eq!(seen.trim(), "67108864");
    podman(&["exec", &c.id, "sh", "-c", "exit 7"]).go().exits(7);
    podman(&["update", "--memory=128m", "--memory-swap=256m", &c.id]).go().ok();
    assert_eq!(fs::read_to_string(cgroup.join("memory.max")).unwrap().trim(), (128 << 20).to_string());
    podman(&["pause", &c.id]).go().ok();
    assert!(fs::read_to_string(cgroup.join("cgroup.events")).unwrap().contains("frozen 1"));
    podman(&["unpause", &c.id]).go().ok();

    podman(&["kill", "--signal=KILL", &c.id]).go().ok();
    assert_eq!(podman(&["wait", &c.id]).go().ok().stdout.trim(), "137");
    podman(&["rm", &c.id]).go().ok();
    assert_gone(&cgroup);
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

// ---- containerd

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
