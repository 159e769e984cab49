//! A container whose program is a systemd, or takes itself for one.

use runtime_tests::command::wait_for;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, json, require};

use super::Podman;

#[test]
fn what_a_systemd_is_given() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let program = "trap 'exit 9' 37; while :; do sleep 0.1; done";
    p.start(&["--systemd=always"], &["sh", "-c", program]);
    let points = ["/run", "/run/lock", "/tmp", "/var/log/journal", "/sys/fs/cgroup"];
    let mounts = p.exec(&[], &[&["probe", "mountinfo"], &points[..]].concat()).go().ok().last_json();
    let found = mounts.as_array().unwrap().iter().map(|m| (m["point"].as_str().unwrap(), m));
    let mut kinds: Vec<_> = found.map(|(point, m)| (point, m["type"].clone(), m["options"][0].clone())).collect();
    kinds.sort_by_key(|k| points.iter().position(|p| *p == k.0));
    let expected = points.map(|p| (p, json!(if p == "/sys/fs/cgroup" { "cgroup2" } else { "tmpfs" }), json!("rw")));
    assert_eq!(kinds, expected);
    let env = p.sh("tr '\\0' '\\n' </proc/1/environ");
    assert!(env.contains("container=") && env.contains("container_uuid="), "{env}");
    // Its cgroup is its own to divide, and exec comes in all the same.
    p.sh("cd /sys/fs/cgroup && mkdir init.scope && while pids=$(cat cgroup.procs); [ -n \"$pids\" ]; do
            for pid in $pids; do echo $pid >init.scope/cgroup.procs 2>/dev/null; done; done
        echo +memory +pids >cgroup.subtree_control");
    assert_eq!(p.sh("cat /sys/fs/cgroup/cgroup.subtree_control"), "memory pids");
    // The word for a systemd to go is RTMIN+3.
    p.ok(&["stop", &p.c.id]);
    assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), "9");
}

/// The machine's own systemd once more, with the machine's programs.
#[test]
fn a_real_systemd_boots_and_shuts_down() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let flags = ["--systemd=always", "-v", "/usr:/usr:ro", "--tmpfs=/var", "--tmpfs=/etc/systemd", "--memory=256m"];
    let program = [
        "/usr/lib/systemd/systemd",
        "systemd.unit=basic.target",
        "systemd.firstboot=no",
        "systemd.mask=systemd-hwdb-update.service",
    ];
    p.start(&flags, &program);
    wait_for("its socket", || (p.exec(&[], &["test", "-S", "/run/systemd/private"]).go().code() == 0).then_some(()));
    // It may say "degraded": there are units of the machine's that mean nothing in here.
    let up = p.exec(&[], &["/usr/bin/systemctl", "is-system-running", "--wait"]).go();
    assert!(["running", "degraded"].contains(&up.text()), "{}{}", up.stdout, up.stderr);
    assert_eq!(p.sh("cat /proc/1/comm"), "systemd");
    // It hands on the controllers, and limits by them.
    let unit = ["/usr/bin/systemd-run", "--quiet", "--wait", "--pipe", "-p", "MemoryMax=32M"];
    let script = "cat /proc/self/cgroup /sys/fs/cgroup/system.slice/run-*/memory.max";
    let out = p.exec(&[], &[&unit[..], &["/bin/sh", "-c", script]].concat()).go().ok();
    assert!(out.stdout.starts_with("0::/system.slice/run-") && out.stdout.ends_with("\n33554432\n"), "{}", out.stdout);
    p.ok(&["stop", "--time=60", &p.c.id]);
    assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), "0", "it shuts down by itself");
}
