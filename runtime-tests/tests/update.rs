//! `update`: limits change at once, all of them or none.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use runtime_tests::{Case, Output, Value, host, json, leaks, require};

fn cgroup(c: &Case) -> PathBuf {
    leaks::cgroups(&c.id).pop().expect("a cgroup")
}

fn value(c: &Case, file: &str) -> String {
    fs::read_to_string(cgroup(c).join(file)).unwrap_or_else(|e| panic!("{file}: {e}")).trim().to_owned()
}

#[track_caller]
fn update(c: &Case, flags: &[&str]) -> Output {
    c.orlop(&["update"]).args(flags).arg(&c.id).go()
}

/// `update -r FILE`.
#[track_caller]
fn update_to(c: &Case, resources: &Value) -> Output {
    let path = c.dir.join("resources.json");
    fs::write(&path, resources.to_string()).unwrap();
    c.orlop(&["update", "-r"]).arg(&path).arg(&c.id).go()
}

fn pages(limit: i64) -> Value {
    json!({ "pageSize": "2MB", "limit": limit })
}

#[test]
fn changes_at_once_and_in_every_state() {
    require!(host::controller("hugetlb"));
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    c.create().ok();
    let to = |limit: i64| {
        update_to(&c, &json!({ "hugepageLimits": [pages(limit)] })).ok();
        let wanted = if limit < 0 { "max".to_owned() } else { limit.to_string() };
        assert_eq!(value(&c, "hugetlb.2MB.max"), wanted);
    };
    to(4 << 20);
    c.verb("start").ok();
    to(6 << 20);
    c.verb("pause").ok();
    to(8 << 20);
    assert_eq!(c.status(), "paused");
    c.verb("resume").ok();
    to(-1);
    c.kill("KILL").ok();
    c.wait_status("stopped");
    update_to(&c, &json!({ "hugepageLimits": [pages(0)] })).fails_with(&["container not running"]);
    c.delete();
    update(&c, &["--pids-limit", "5"]).fails_with(&["container does not exist"]);
}

#[test]
fn from_stdin_as_the_engines_do() {
    require!(host::controller("hugetlb"));
    let c = Case::started();
    for args in [["update", "--resources=-"].as_slice(), &["update", "--resources", "-"], &["update", "-r", "-"]] {
        let mut running = c.orlop(args).arg(&c.id).stdin(Stdio::piped()).spawn();
        let text = json!({ "hugepageLimits": [pages(2 << 20)], "devices": [{ "allow": true, "access": "rwm" }] });
        running.child.stdin.take().unwrap().write_all(text.to_string().as_bytes()).unwrap();
        let out = running.wait().ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
        assert_eq!(value(&c, "hugetlb.2MB.max"), (2 << 20).to_string());
        update_to(&c, &json!({ "unified": { "hugetlb.2MB.max": "max" } })).ok();
    }
    c.delete();
}

#[test]
fn all_or_nothing() {
    require!(host::controller("hugetlb"));
    let c = Case::started();
    update_to(&c, &json!({ "hugepageLimits": [pages(4 << 20)], "unified": { "cgroup.max.depth": "7" } })).ok();
    // Good values first, written before the kernel refuses the last.
    let bad = json!({ "hugepageLimits": [pages(2 << 20)],
                      "unified": { "cgroup.max.depth": "3", "hugetlb.2MB.max": "rubbish" } });
    let out = update_to(&c, &bad);
    out.fails_with(&["linux.resources.unified[\"hugetlb.2MB.max\"]", "hugetlb.2MB.max", "rubbish", "invalid argument"]);
    assert_eq!((value(&c, "hugetlb.2MB.max"), value(&c, "cgroup.max.depth")), ((4 << 20).to_string(), "7".to_owned()));
    // A file that is not there, noticed before anything is written.
    let bad = json!({ "hugepageLimits": [pages(2 << 20), { "pageSize": "3MB", "limit": 1 }] });
    update_to(&c, &bad).fails_with(&["linux.resources.hugepageLimits[1]", "hugetlb.3MB.max"]);
    assert_eq!(value(&c, "hugetlb.2MB.max"), (4 << 20).to_string());
    c.delete();
}

#[test]
fn bad_requests_change_nothing() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let depth = value(&c, "cgroup.max.depth");
    for (resources, texts) in [
        (
            json!({ "pids": { "limit": -2 }, "unified": { "cgroup.max.depth": "1" } }),
            ["linux.resources.pids.limit", "-2"],
        ),
        (json!({ "unified": { "../cgroup.max.depth": "1" } }), ["linux.resources.unified", "../cgroup.max.depth"]),
        (json!({ "unified": { "cgroup.procs": "1" } }), ["linux.resources.unified[\"cgroup.procs\"]", "not a limit"]),
        (json!({ "unified": { "cgroup.kill": "1" } }), ["linux.resources.unified[\"cgroup.kill\"]", "not a limit"]),
        (json!({ "unified": { "cgroup.freeze": "1" } }), ["linux.resources.unified[\"cgroup.freeze\"]", "not a limit"]),
        (json!({ "memory": { "limit": "much" } }), ["linux.resources.memory.limit", "invalid type"]),
        (json!({ "memory": { "swappiness": 5 } }), ["linux.resources.memory.swappiness", "cgroup2"]),
        (json!([1]), ["linux.resources", "invalid"]),
    ] {
        update_to(&c, &resources).fails_with(&texts);
    }
    for (flag, text) in [
        ("--memory", "5q"),
        ("--memory-swap", "x"),
        ("--cpu-quota", "half"),
        ("--cpu-rt-period", "1000"),
        ("--cpu-rt-runtime", "1000"),
        ("--cpu-idle", "2"),
        ("--cpuset-cpus", "none"),
        ("--pids-limit", "1.5"),
        ("--blkio-weight", "5000"),
        ("--l3-cache-schema", "L3:0=f"),
        ("--mem-bw-schema", "MB:0=50"),
    ] {
        update(&c, &[flag, text]).fails_with(&[flag]);
    }
    c.orlop(&["update", "-r", "/nonexistent", &c.id]).go().fails_with(&["--resources", "/nonexistent"]);
    c.orlop(&["update", "-r", "-", &c.id]).go().fails_with(&["linux.resources", "not valid JSON"]);
    assert_eq!(value(&c, "cgroup.max.depth"), depth);
    assert_eq!(c.status(), "running");
    // Nothing asked for is nothing done.
    update(&c, &[]).ok();
    update_to(&c, &json!({})).ok();
    update(&c, &["--kernel-memory", "64m"]).ok();
    c.delete();
}

#[test]
fn missing_controllers_are_named() {
    require!(host::has_cgroup2());
    let c = Case::started();
    for (controller, flag, text) in [
        ("memory", "--memory", "64m"),
        ("memory", "--memory-reservation", "64m"),
        ("memory", "--memory-swap", "64m"),
        ("pids", "--pids-limit", "10"),
        ("cpu", "--cpu-quota", "50000"),
        ("cpu", "--cpu-share", "512"),
        ("cpu", "--cpu-burst", "0"),
        ("cpu", "--cpu-idle", "1"),
        ("cpuset", "--cpuset-cpus", "0"),
        ("io", "--blkio-weight", "100"),
    ] {
        if let Err(why) = host::no_controller(controller) {
            host::report_part("update::missing_controllers_are_named", controller, &why);
            continue;
        }
        update(&c, &[flag, text]).fails_with(&[flag, &format!("controller {controller},")]);
    }
    c.delete();
}

#[test]
fn without_a_cgroup() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]).write();
    c.orlop(&["--cgroup-manager=disabled", "create", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    update(&c, &["--pids-limit", "5"]).fails_with(&["the container has no cgroup", "disabled"]);
    c.delete();
}

#[test]
fn device_rules_stay() {
    require!(host::controller("hugetlb"));
    let mut c = Case::new();
    c.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }])).args(&["/bin/sleep", "1000"]);
    c.start();
    let allow_all = json!([{ "allow": true, "access": "rwm" }]);
    update_to(&c, &json!({ "devices": allow_all, "hugepageLimits": [pages(0)] })).ok();
    let r = c.exec_probe(&[], &["try", "mknod:/dev/x:c:1:11", "open:/dev/x:r", "open:/dev/null:rw"]);
    assert_eq!(r, json!({ "mknod:/dev/x:c:1:11": 0, "open:/dev/x:r": "EPERM", "open:/dev/null:rw": 0 }));
    c.delete();
}

// ---- controllers that are v1's on some machines

#[test]
fn memory() {
    require!(host::controller("memory"));
    let c = Case::started();
    update(&c, &["--memory", "64m", "--memory-reservation=32M", "--memory-swap", "96MiB"]).ok();
    let swap = cgroup(&c).join("memory.swap.max").exists();
    let now = || (value(&c, "memory.max"), value(&c, "memory.low"));
    assert_eq!(now(), ((64 << 20).to_string(), (32 << 20).to_string()));
    if swap {
        assert_eq!(value(&c, "memory.swap.max"), (32 << 20).to_string());
        update(&c, &["--memory-swap", "80m"]).ok();
        assert_eq!(value(&c, "memory.swap.max"), (16 << 20).to_string());
        assert_eq!(now().0, (64 << 20).to_string());
    }
    update(&c, &["--memory-swap", "1m"]).fails_with(&["--memory-swap", "less than the memory limit"]);
    // What is refused last takes back what went before.
    update_to(&c, &json!({ "memory": { "limit": 128 << 20 }, "unified": { "memory.high": "rubbish" } }))
        .fails_with(&["memory.high", "rubbish"]);
    assert_eq!(now(), ((64 << 20).to_string(), (32 << 20).to_string()));
    // Less than it uses: the kernel would kill it, so this can be asked for.
    update_to(
        &c,
        &json!({ "memory": { "limit": 4096, "reservation": 0, "checkBeforeUpdate": true },
                           "unified": { "memory.low": "4096" } }),
    )
    .fails_with(&["linux.resources.memory.limit", "4096 is less than the usage", "checkBeforeUpdate"]);
    assert_eq!((now(), c.status()), (((64 << 20).to_string(), (32 << 20).to_string()), "running".to_owned()));
    update_to(&c, &json!({ "memory": { "limit": 48 << 20, "checkBeforeUpdate": true } })).ok();
    assert_eq!(now().0, (48 << 20).to_string());
    update(&c, &["--memory", "-1"]).ok();
    assert_eq!(now().0, "max");
    if swap {
        assert_eq!(value(&c, "memory.swap.max"), "max");
    }
    c.delete();
}

#[test]
fn pids() {
    require!(host::controller("pids"));
    let c = Case::started();
    for (limit, wanted) in [("20", "20"), ("0", "0"), ("-1", "max")] {
        update(&c, &["--pids-limit", limit]).ok();
        assert_eq!(value(&c, "pids.max"), wanted);
    }
    c.delete();
}

#[test]
fn cpu() {
    require!(host::controller("cpu"));
    let c = Case::started();
    update(&c, &["--cpu-quota", "20000", "--cpu-period", "50000", "--cpu-share", "512"]).ok();
    assert_eq!((value(&c, "cpu.max"), value(&c, "cpu.weight")), ("20000 50000".to_owned(), "59".to_owned()));
    update(&c, &["--cpu-quota", "10000"]).ok();
    assert_eq!(value(&c, "cpu.max"), "10000 50000");
    update(&c, &["--cpu-period", "80000"]).ok();
    assert_eq!(value(&c, "cpu.max"), "10000 80000");
    update(&c, &["--cpu-burst", "9000"]).ok();
    update(&c, &["--cpu-quota", "5000", "--cpu-burst", "4000"]).ok();
    assert_eq!((value(&c, "cpu.max"), value(&c, "cpu.max.burst")), ("5000 80000".to_owned(), "4000".to_owned()));
    // Less than the kernel's smallest quota: nothing of it happens.
    update(&c, &["--cpu-share", "1024", "--cpu-quota", "10"]).fails_with(&["--cpu-quota", "cpu.max"]);
    assert_eq!((value(&c, "cpu.max"), value(&c, "cpu.weight")), ("5000 80000".to_owned(), "59".to_owned()));
    update(&c, &["--cpu-burst", "0", "--cpu-quota", "-1"]).ok();
    assert_eq!(value(&c, "cpu.max"), "max 80000");
    update(&c, &["--cpu-idle", "1"]).ok();
    assert_eq!(value(&c, "cpu.idle"), "1");
    c.delete();
}

#[test]
fn cpuset() {
    require!(host::controller("cpuset"));
    let c = Case::started();
    update(&c, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
    assert_eq!((value(&c, "cpuset.cpus"), value(&c, "cpuset.mems")), ("0".to_owned(), "0".to_owned()));
    c.delete();
}
