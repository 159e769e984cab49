//! podman, containerd and docker save and restore on the runtime.

use std::path::PathBuf;
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::engines::{IMAGE, Manager, engines, offered, program};
use runtime_tests::host::criu;
use runtime_tests::{Case, Cmd, paths, require};

/// Counts up in memory alone, and says where it is in /count.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i > /count.new; mv /count.new /count; sleep 0.2; done";

/// As long as it takes when several commands of an engine follow each other under emulation.
fn patient(cmd: Cmd) -> Cmd {
    cmd.limit(Duration::from_secs(180))
}

fn podman(c: &Case, args: &[&str]) -> Cmd {
    patient(program(c, "podman").arg("--runtime").arg(paths::orlop()).args(args))
}

/// Where the counter of a container of podman's is.
#[track_caller]
fn podman_count(c: &Case, name: &str) -> u32 {
    podman(c, &["exec", name, "cat", "/count"]).go().ok().text().parse().expect("a number")
}

#[track_caller]
fn podman_goes_on(c: &Case, name: &str, from: u32) {
    wait_for("the counter", || (podman_count(c, name) > from).then_some(()));
}

/// In place, kept running, and to a file that another container is made of.
#[test]
fn podman_checkpoints_and_restores() {
    require!(criu());
    require!(offered(Manager::Systemd));
    let _turn = engines();
    let c = Case::new();
    let (one, two) = (c.id.as_str(), format!("{}-two", c.id));
    podman(&c, &["run", "-d", "--network=none", "--name", one, IMAGE, "sh", "-c", COUNTER]).go().ok();
    podman_goes_on(&c, one, 1);
    podman(&c, &["container", "checkpoint", one]).go().ok();
    podman(&c, &["container", "restore", one]).go().ok();
    let now = podman_count(&c, one);
    podman_goes_on(&c, one, now);

    let file: PathBuf = c.dir.join("checkpoint.tar");
    let file = file.to_str().unwrap();
    podman(&c, &["container", "checkpoint", "--leave-running", "--export", file, one]).go().ok();
    let saved = podman_count(&c, one);
    podman(&c, &["container", "restore", "--import", file, "--name", &two]).go().ok();
    podman_goes_on(&c, &two, saved.saturating_sub(20));
    podman(&c, &["kill", one]).go().ok();
    for name in [one, &two] {
        podman(&c, &["rm", "--force", "--time=0", name]).go().ok();
    }
}

/// A pod's namespaces are joined again, and its network is there.
#[test]
fn podman_restores_in_a_pod() {
    require!(criu());
    require!(offered(Manager::Systemd));
    let _turn = engines();
    let c = Case::new();
    let pod = format!("{}-pod", c.id);
    podman(&c, &["pod", "create", "--network=none", "--name", &pod]).go().ok();
    podman(&c, &["run", "-d", "--pod", &pod, "--name", &c.id, IMAGE, "sh", "-c", COUNTER]).go().ok();
    podman_goes_on(&c, &c.id, 1);
    let net = |c: &Case| podman(c, &["exec", &c.id, "readlink", "/proc/1/ns/net"]).go().ok().stdout;
    let before = net(&c);
    podman(&c, &["container", "checkpoint", &c.id]).go().ok();
    podman(&c, &["container", "restore", &c.id]).go().ok();
    assert_eq!(net(&c), before);
    let now = podman_count(&c, &c.id);
    podman_goes_on(&c, &c.id, now);
    podman(&c, &["pod", "rm", "--force", "--time=0", &pod]).go().ok();
}

fn ctr(c: &Case, args: &[&str]) -> Cmd {
    patient(program(c, "ctr").args(args))
}

/// A checkpoint is an image of containerd's, and a container is made of it.
#[test]
fn containerd_checkpoints_and_restores() {
    require!(criu());
    require!(offered(Manager::Cgroupfs));
    let _turn = engines();
    let c = Case::new();
    let image = format!("localhost/orlop-test-{}:saved", c.id);
    let counts = |name: &str, id: &str| -> u32 {
        let out = ctr(&c, &["tasks", "exec", "--exec-id", name, id, "cat", "/count"]).go().ok();
        out.text().parse().expect("a number")
    };
    let runtime = ["--runtime", "io.containerd.runc.v2", "--runc-binary", paths::orlop().to_str().unwrap()];
    ctr(&c, &["run", "-d"]).args(runtime).args([IMAGE, &c.id, "sh", "-c", COUNTER]).go().ok();
    wait_for("the counter", || (counts("a", &c.id) > 1).then_some(()));
    ctr(&c, &["containers", "checkpoint", "--rw", "--image", "--task", &c.id, &image]).go().ok();
    let saved = counts("b", &c.id);
    ctr(&c, &["tasks", "kill", "--signal", "KILL", &c.id]).go().ok();
    ctr(&c, &["tasks", "delete", "--force", &c.id]).go();
    ctr(&c, &["containers", "delete", &c.id]).go().ok();

    ctr(&c, &["containers", "restore", "--rw", "--live", &c.id, &image]).go().ok();
    let now = counts("c", &c.id);
    assert!(now + 50 > saved, "{now} after {saved}");
    wait_for("the counter", || (counts("d", &c.id) > now).then_some(()));
    ctr(&c, &["tasks", "kill", "--signal", "KILL", &c.id]).go().ok();
    ctr(&c, &["tasks", "delete", "--force", &c.id]).go();
    ctr(&c, &["containers", "delete", &c.id]).go().ok();
    ctr(&c, &["image", "rm", &image]).go().ok();
}
