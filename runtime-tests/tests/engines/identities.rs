//! Other identities: rootless podman, user namespaces that engines make or
//! choose, and engines inside of containers.

use std::fs;

use runtime_tests::command::wait_for;
use runtime_tests::engines::podman::{PROFILE, podman, podman_run, rootless, rootless_run};
use runtime_tests::engines::{IMAGE, LIMITS, Manager, Profile, cgroup_of, engines, offered};
use runtime_tests::{Case, paths, require};

use super::podman::{LIMITED, live_and_die};

const PLAIN: Manager = Manager::Systemd;

/// `uid_map` and the like as numbers.
fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn rootless_podman_limits() {
    require!(offered(PLAIN));
    let _turn = engines();
    let c = Case::new();
    let podman = |args: &[&str]| rootless(&c, PLAIN, args);
    let flags = [&LIMITED[..], &["-d", "--name", &c.id]].concat();
    rootless_run(&c, PLAIN, &flags, &["sleep", "1000"]).go().ok();
    let pid: u64 = podman(&["inspect", "--format", "{{.State.Pid}}", &c.id]).go().ok().text().parse().expect("a pid");
    let cgroup = cgroup_of(pid);
    assert!(cgroup.to_str().unwrap().contains("/user@"), "{}", cgroup.display());
    for (file, value) in LIMITS {
        assert_eq!(fs::read_to_string(cgroup.join(file)).unwrap().trim(), value, "{file}");
    }
    let seen = podman(&["exec", &c.id, "sh", "-c", "id -u; cat /sys/fs/cgroup/memory.max"]).go().ok();
    assert_eq!(seen.text(), "0\n67108864");
    live_and_die(&c, podman, &cgroup);
}

#[test]
fn rootless_podman_runs() {
    require!(offered(PLAIN));
    let _turn = engines();
    let c = Case::new();
    // Without systemd there is no cgroup for it to make.
    let plain = rootless_run(&c, Manager::Cgroupfs, &["--rm"], &["sh", "-c", "id -u; exit 3"]);
    assert_eq!(plain.go().exits(3).text(), "0");
    rootless_run(&c, PLAIN, &["--rm"], &["/nosuch"]).go().exits(127);
    let run = |flags: &[&str], command: &[&str]| rootless_run(&c, PLAIN, flags, command).go().ok();
    // A volume is the user's outside and root's inside; keep-id makes it the same user on both sides.
    run(&["--rm", "-v", "/home/tester:/v"], &["touch", "/v/of-root"]);
    run(&["--rm", "-v", "/home/tester:/v", "--userns=keep-id"], &["touch", "/v/of-user"]);
    for name in ["of-root", "of-user"] {
        let owner = c.program("stat").args(["-c", "%U", &format!("/home/tester/{name}")]).go().ok();
        assert_eq!(owner.text(), "tester", "{name}");
    }
    let flags = ["--rm", "--read-only", "--tmpfs", "/x", "--cap-drop=all", "--security-opt=no-new-privileges"];
    let script = "touch /x/y && echo tmpfs; touch /y 2>/dev/null || echo read-only; grep Seccomp: /proc/self/status";
    assert_eq!(run(&flags, &["sh", "-c", script]).text(), "tmpfs\nread-only\nSeccomp:\t2");
    let profile = Profile { apparmor: "", verdicts: PROFILE.verdicts };
    profile.assert_in(&run(&["--rm"], &profile.question()));
    let devices = run(&["--rm"], &["sh", "-c", "echo x >/dev/null && head -c 4 /dev/urandom | wc -c"]);
    assert_eq!(devices.text(), "4");
    let user = run(&["--rm", "--user=1000:1000"], &["sh", "-c", "id -u; cat /proc/self/uid_map"]);
    assert_eq!(numbers(&user.stdout)[0], 1000);
    let mapped = run(&["--rm", "--uidmap=0:1:1000"], &["sh", "-c", "id -u; cat /proc/self/uid_map"]);
    assert_eq!(numbers(&mapped.stdout), [0, 0, 1, 1000]);
    // The host's network and processes, whose filesystems are not its own.
    let host = rootless(&c, PLAIN, &["run", "--rm", "--network=host", "--pid=host", IMAGE]);
    assert_eq!(
        host.args(["sh", "-c", "ls -d /sys/class/net/lo; cat /proc/1/comm"]).go().ok().text(),
        "/sys/class/net/lo\nsystemd"
    );
}

#[test]
fn podman_user_namespaces() {
    require!(offered(PLAIN));
    let _turn = engines();
    let c = Case::new();
    let map = |flags: &[&str]| {
        let out = podman_run(&c, PLAIN, flags, &["sh", "-c", "id -u; cat /proc/self/uid_map"]).go().ok();
        numbers(&out.stdout)
    };
    assert_eq!(map(&["--rm", "--uidmap=0:300000:1000", "--gidmap=0:300000:1000"]), [0, 0, 300_000, 1000]);
    // Of the ranges of the user `containers`.
    let auto = map(&["--rm", "--userns=auto"]);
    assert!(auto[..2] == [0, 0] && auto[2] >= 200_000, "{auto:?}");
    // exec, and a second container in the same namespace, joined by path.
    podman_run(&c, PLAIN, &["-d", "--userns=auto", "--name", &c.id], &["sleep", "1000"]).go().ok();
    let cat = ["cat", "/proc/self/uid_map"];
    let first = podman(&c, PLAIN, &["exec", &c.id]).args(cat).go().ok();
    let joined = format!("--userns=container:{}", c.id);
    let second = podman_run(&c, PLAIN, &["--rm", &joined], &cat).go().ok();
    assert_eq!(first.stdout, second.stdout);
    podman(&c, PLAIN, &["rm", "--force", "--time=0", &c.id]).go().ok();
}

/// podman as root of a container of podman's, which has nothing but what it needs.
#[test]
fn podman_in_podman() {
    require!(offered(PLAIN));
    let _turn = engines();
    let c = Case::new();
    let image = paths::work_dir().join("image");
    let volumes = [
        "/usr:/usr:ro".to_owned(),
        "/etc/containers:/etc/containers:ro".to_owned(),
        format!("{0}:{0}:ro", paths::orlop().display()),
        format!("{}:/image:ro", image.display()),
    ];
    let script = format!(
        "export PATH=/usr/bin:/usr/sbin:/bin
        id=$(podman pull -q oci:/image/layout:one)
        podman --runtime {} --cgroup-manager cgroupfs run --rm --network=none --memory=64m $id \\
            sh -c 'id -u; cat /proc/self/uid_map /sys/fs/cgroup/memory.max; exit 5'",
        paths::orlop().display()
    );
    let ids = ["--uidmap=0:300000:65536", "--gidmap=0:300000:65536"];
    let mut outer = podman(&c, PLAIN, &["run", "--rm", "--network=none", "--privileged"]).args(ids);
    for volume in &volumes {
        outer = outer.args(["-v", volume]);
    }
    for dir in ["/var/lib/containers", "/run", "/var/tmp"] {
        outer = outer.args(["--tmpfs", dir]);
    }
    let out = outer.arg(IMAGE).args(["sh", "-c", &script]).go().exits(5);
    assert_eq!(numbers(&out.stdout), [0, 0, 300_000, 65_536, 67_108_864]);
    // podman cleans up behind its own back.
    wait_for("podman's end", || c.nothing_left().ok());
}
