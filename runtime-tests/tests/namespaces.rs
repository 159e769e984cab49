//! Namespaces: new, inherited, joined by path.

use std::fs;

use runtime_tests::command::{Running, wait_for};
use runtime_tests::{Case, Value, host, json, require};

const KINDS: [(&str, &str); 6] =
    [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("mount", "mnt"), ("cgroup", "cgroup")];

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn new_ones_differ_from_the_hosts() {
    let mut c = Case::new();
    let r = c.probe(&["report"]);
    for (kind, name) in KINDS {
        assert_ne!(r["namespaces"][name], own(name), "{kind}");
    }
    assert_eq!(r["namespaces"]["user"], own("user"));
    assert_eq!(r["namespaces"]["time"], own("time"));
    assert_eq!(r["pid"], 1);
}

#[test]
fn absent_ones_are_inherited() {
    for (kind, name) in KINDS.into_iter().filter(|(kind, _)| *kind != "mount") {
        let mut c = Case::new();
        c.no_namespace(kind);
        match kind {
            "uts" => drop(c.unset("/hostname")),
            // sysfs shows a network namespace; mounting the host's is allowed, but not the point.
            "network" => drop(c.replace_mount("/sys", None)),
            _ => {}
        }
        let r = c.probe(&["report"]);
        assert_eq!(r["namespaces"][name], own(name), "{kind}");
    }
}

#[test]
fn loopback_is_up() {
    let mut c = Case::new();
    c.sh("ip -o link; ping -c 1 -W 2 127.0.0.1 > /dev/null && echo reached");
    c.push("/process/capabilities/effective", json!("CAP_NET_RAW"));
    let out = c.run().ok();
    assert_eq!(out.stdout.lines().filter(|l| l.contains(": lo:")).count(), 1, "{}", out.stdout);
    assert!(out.stdout.contains("UP") && out.stdout.contains("reached"), "{}", out.stdout);
}

#[test]
fn hostname_and_domainname() {
    let mut c = Case::new();
    c.set("/hostname", "a-name").set("/domainname", "a.domain");
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let r = c.probe(&["report"]);
    assert_eq!((&r["hostname"], &r["domainname"]), (&json!("a-name"), &json!("a.domain")));
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    c.set("/hostname", "");
    assert_eq!(c.probe(&["report"])["hostname"], before.trim(), "empty: no change");
}

#[test]
fn hostname_without_a_uts_namespace() {
    for (field, other) in [("hostname", "domainname"), ("domainname", "hostname")] {
        let mut c = Case::new();
        c.no_namespace("uts").unset(&format!("/{other}")).set(&format!("/{field}"), "x");
        c.create().fails_with(&[field]);
        c.assert_nothing_left();
    }
}

/// A process in new namespaces to join, on the host.
fn helper(c: &Case, flags: &str) -> (Running, i32) {
    let run = c.program("unshare").args(flags.split(' ')).args(["sh", "-c", "echo $$; exec sleep 1000"]).spawn();
    wait_for("the helper", || run.stdout_so_far().trim().parse::<i32>().ok());
    // With --fork the sleeper is the child; its namespaces are also the parent's `…_for_children`.
    let pid = run.pid();
    (run, pid)
}

fn stop(mut run: Running) {
    run.child.kill().unwrap();
    run.wait();
}

#[test]
fn joined_by_path() {
    require!(host::program("unshare"));
    for (kind, name, flag) in [
        ("network", "net", "-n"),
        ("ipc", "ipc", "-i"),
        ("uts", "uts", "-u"),
        ("cgroup", "cgroup", "-C"),
        ("time", "time", "-T"),
    ] {
        let mut c = Case::new();
        let (run, pid) = helper(&c, flag);
        let path = format!("/proc/{pid}/ns/{name}");
        c.unset("/hostname").join_namespace(kind, &path);
        let wanted = fs::read_link(&path).unwrap().to_string_lossy().into_owned();
        let r = c.probe(&["report"]);
        assert_eq!(r["namespaces"][name], wanted, "{kind}");
        stop(run);
    }
}

#[test]
fn joined_uts_namespace_gets_the_hostname() {
    require!(host::program("unshare"));
    let mut c = Case::new();
    let (run, pid) = helper(&c, "-u");
    c.join_namespace("uts", &format!("/proc/{pid}/ns/uts")).set("/hostname", "shared-name");
    assert_eq!(c.probe(&["report"])["hostname"], "shared-name");
    stop(run);
}

#[test]
fn joined_pid_namespace() {
    // A pod: the second container sees the first one's processes.
    let first = Case::started();
    let mut c = Case::new();
    c.join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()));
    c.sh("cat /proc/1/cmdline | tr '\\0' ' '; echo $$");
    let out = c.run().ok();
    let (init, pid) = out.text().split_once('\n').unwrap_or((out.text(), ""));
    let text = format!("{init} {pid}");
    assert!(text.starts_with("/bin/sleep 1000"), "{text}");
    assert!(!text.ends_with(" 1"), "not PID 1 there: {text}");
    // Created, started, killed and deleted without harm to the other.
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(c.status(), "running");
    c.delete();
    assert_eq!(first.status(), "running");
    first.delete();
}

#[test]
fn joined_mount_namespace() {
    require!(host::program("unshare"));
    let mut c = Case::new();
    let (run, pid) = helper(&c, "-m --propagation private");
    let path = format!("/proc/{pid}/ns/mnt");
    c.join_namespace("mount", &path);
    c.args(&["/bin/probe", "report"]);
    let r = c.run().ok().last_json();
    assert_eq!(r["namespaces"]["mnt"], fs::read_link(&path).unwrap().to_string_lossy().as_ref());
    stop(run);
}

#[test]
fn path_of_another_type_is_refused() {
    for (kind, name) in KINDS {
        let wrong = if name == "ipc" { "net" } else { "ipc" };
        let mut c = Case::new();
        if kind == "uts" {
            c.unset("/hostname");
        }
        c.join_namespace(kind, &format!("/proc/self/ns/{wrong}"));
        let at = c.config["linux"]["namespaces"].as_array().unwrap().len() - 1;
        c.create().fails_with(&[&format!("linux.namespaces[{at}]"), &format!("/proc/self/ns/{wrong}")]);
        c.assert_nothing_left();
    }
}

#[test]
fn path_that_is_none() {
    for path in ["/no/such/ns", "/etc/passwd", "/dev/null", "/etc"] {
        let mut c = Case::new();
        c.join_namespace("ipc", path);
        c.create().fails_with(&["linux.namespaces[", path]);
        c.assert_nothing_left();
    }
}

#[test]
fn time_offsets() {
    require!(host::file("/proc/self/ns/time"));
    let mut c = Case::new();
    c.push("/linux/namespaces", json!({ "type": "time" }));
    c.set(
        "/linux/timeOffsets",
        json!({ "monotonic": { "secs": 5000 }, "boottime": { "secs": 900_000, "nanosecs": 5 } }),
    );
    let (mono, boot) = (clock(libc_monotonic()), clock(libc_boottime()));
    let r = c.probe(&["clock"]);
    let near = |value: &Value, wanted: i64| (value.as_i64().unwrap() - wanted).abs() < 30;
    assert!(near(&r["monotonic"], mono + 5000), "{r} {mono}");
    assert!(near(&r["boottime"], boot + 900_000), "{r} {boot}");
    // The process is really in it, not only its future children.
    c.args(&["/bin/probe", "report"]);
    let r = c.run().ok().last_json();
    assert_ne!(r["namespaces"]["time"], own("time"));
    assert_eq!(r["namespaces"]["time"], r["namespaces"]["time_for_children"]);
}

fn libc_monotonic() -> i32 {
    1
}

fn libc_boottime() -> i32 {
    7
}

fn clock(id: i32) -> i64 {
    runtime_tests::sys::clock(id)
}

#[test]
fn time_offsets_need_a_time_namespace() {
    let mut c = Case::new();
    c.set("/linux/timeOffsets", json!({ "monotonic": { "secs": 5 } }));
    c.create().fails_with(&["linux.timeOffsets"]);
    c.assert_nothing_left();
}

#[test]
fn exec_joins_them_all() {
    let mut c = Case::new();
    c.push("/linux/namespaces", json!({ "type": "time" })).args(&["/bin/sleep", "1000"]);
    c.start();
    let r = c.exec_probe(&[], &["report"]);
    let pid = c.pid();
    for name in ["pid", "net", "ipc", "uts", "mnt", "cgroup", "time", "user"] {
        let of_init = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert_eq!(r["namespaces"][name], of_init.to_string_lossy().as_ref(), "{name}");
    }
    c.delete();
}
