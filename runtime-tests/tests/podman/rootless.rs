//! A user's podman: what is different from root's. Terminals, pods and builds
//! are walked through by both.

use std::fs;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, json, require};

use super::Podman;

#[test]
fn a_users_container_lives() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::rootless();
    p.start(&["--init", "--hostname=here"], &["probe", "trap", "10", "15"]);
    p.wait_log("ready");
    assert_eq!(p.sh("hostname; cat /proc/1/comm; id -u"), "here\npodman-init\n0");
    p.exec(&[], &["/nosuch"]).go().exits(127);
    p.ok(&["kill", "--signal=USR1", &p.c.id]);
    assert_eq!(p.wait_log("signal 10"), "ready\nsignal 10\n");
    let top = p.ok(&["top", &p.c.id, "huser", "args"]).stdout;
    assert!(top.contains("user ") && top.contains("probe trap"), "{top}");
    p.ok(&["stop", &p.c.id]);
    assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), "55");
}

#[test]
fn a_users_other_options() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::rootless();
    // The user's own id is not in it.
    let report = p.probe(&["--userns=nomap"], &["try", "read:/proc/self/uid_map"]);
    let map = report["read:/proc/self/uid_map"].as_str().unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "1", "65536"]);
    let flags = [
        "--rm",
        "--userns=keep-id:uid=7,gid=8",
        "--cap-drop=all",
        "--cap-add=CHOWN",
        "--sysctl=net.ipv4.ip_forward=1",
        "--ulimit=nofile=123:456",
        "--device=/dev/null:/dev/other",
        "--shm-size=3m",
        "--tmpfs=/x:size=1m",
        "--security-opt=unmask=/proc/acpi",
    ];
    let script = "cat /proc/sys/net/ipv4/ip_forward; df -k /dev/shm | tail -n 1 | awk '{print $2}'
        echo x >/dev/other && echo written; exec probe report";
    let out = p.run(&flags, &["sh", "-c", script]).go().ok();
    assert!(out.stdout.starts_with("1\n3072\nwritten\n"), "{}", out.stdout);
    let report = out.last_json();
    assert_eq!((&report["uid"][0], &report["gid"][0]), (&json!(7), &json!(8)));
    assert_eq!(report["rlimits"]["RLIMIT_NOFILE"], json!([123, 456]));
    assert_eq!(report["caps"]["bounding"], json!([0]));
}

#[test]
fn a_users_network_and_neighbours() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::rootless();
    p.start(&["--memory=24m", "--memory-swap=24m"], &["sleep", "1000"]);
    let join = ["pid", "net", "ipc"].map(|kind| format!("--{kind}=container:{}", p.c.id));
    let join: Vec<&str> = join.iter().map(String::as_str).collect();
    let run = ["run", "--rm", "--cgroupns=host"];
    let seen = p.ok(&[&run[..], &join, &[runtime_tests::engines::IMAGE, "sh", "-c", "cat /proc/1/comm"]].concat());
    assert_eq!(seen.text(), "sleep");
    // Too much for its limit: the kernel says so in the user's own part of the tree.
    p.exec(&[], &["probe", "alloc", "100"]).go().exits(137);
    let events = fs::read_to_string(p.cgroup().join("memory.events")).unwrap();
    assert!(events.contains("oom_kill 1"), "{events}");
}
