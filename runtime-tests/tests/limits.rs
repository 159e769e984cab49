//! Cgroups: where the container is, what limits it, and what is said when a limit can't be had.

use std::fs;
use std::path::PathBuf;

use runtime_tests::command::wait_for;
use runtime_tests::{Case, host, json, leaks, require};

fn cgroup(c: &Case) -> PathBuf {
    leaks::cgroups(&c.id).pop().expect("a cgroup")
}

fn value(c: &Case, file: &str) -> String {
    fs::read_to_string(cgroup(c).join(file)).unwrap_or_else(|e| panic!("{file}: {e}")).trim().to_owned()
}

// ---- the path

#[test]
fn born_in_its_cgroup() {
    require!(host::has_cgroup2());
    let c = Case::new();
    c.create().ok();
    // Final when create returns: the shim opens /proc/PID/cgroup then.
    let line = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    let path = line.lines().find_map(|l| l.strip_prefix("0::")).unwrap().to_owned();
    assert!(path.ends_with(&c.id), "{path}");
    assert_eq!(value(&c, "cgroup.procs"), c.pid().to_string());
    c.verb("start").ok();
    c.wait_status("stopped");
    c.delete();
}

#[test]
fn absolute_path_is_below_the_mount_point() {
    require!(host::has_cgroup2());
    for path in ["/{}", "/{}/a/b", "//{}/./x/"] {
        let mut c = Case::new();
        let given = path.replace("{}", &c.id);
        c.set("/linux/cgroupsPath", given).args(&["/bin/sleep", "1000"]);
        c.start();
        let mount = host::cgroup2().unwrap();
        let wanted = match path {
            "/{}" => mount.join(&c.id),
            "/{}/a/b" => mount.join(&c.id).join("a/b"),
            _ => mount.join(&c.id).join("x"),
        };
        let line = fs::read_to_string(wanted.join("cgroup.procs")).unwrap();
        assert_eq!(line.trim(), c.pid().to_string(), "{path}");
        c.delete();
        assert!(!wanted.exists());
        // Parents may stay: others can live there. Tidy up what this test caused.
        let _ = fs::remove_dir(mount.join(&c.id).join("a"));
        let _ = fs::remove_dir(mount.join(&c.id));
    }
}

#[test]
fn a_path_is_the_same_place_each_time() {
    require!(host::has_cgroup2());
    for path in ["/{}/abs", "{}/rel"] {
        let place = || {
            let mut c = Case::new();
            let given = path.replace("{}", "orlop-same-place");
            c.set("/linux/cgroupsPath", given).args(&["/bin/sleep", "1000"]);
            c.create().ok();
            let place = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
            c.delete();
            place
        };
        assert_eq!(place(), place(), "{path}");
    }
}

#[test]
fn path_with_dots_is_refused() {
    require!(host::has_cgroup2());
    for path in ["/../../../{}", "/{}/../{}/x", "../{}", "a/../../{}"] {
        let mut c = Case::new();
        c.set("/linux/cgroupsPath", path.replace("{}", &c.id));
        c.create().fails_with(&["linux.cgroupsPath", ".."]);
        c.assert_nothing_left();
    }
}

#[test]
fn no_limit_needs_no_controller() {
    // An engine's -1 asks for what there is without the controller anyway.
    require!(host::has_cgroup2());
    let mut c = Case::new();
    c.set("/linux/resources", json!({ "memory": { "limit": -1 }, "pids": { "limit": -1 }, "cpu": { "quota": -1 } }));
    c.run().ok();
}

#[test]
fn empty_cgroup_is_used_and_one_in_use_refused() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    let dir = host::cgroup2().unwrap().join(&c.id);
    c.set("/linux/cgroupsPath", format!("/{}", c.id)).args(&["/bin/sleep", "1000"]);
    fs::create_dir(&dir).unwrap();
    c.start();
    let other = format!("{}x", c.id);
    c.launch("create", &[], &other).go().fails_with(&["container's cgroup is not empty: 1 process(es) found"]);
    assert_eq!(c.status(), "running");
    c.delete();
    assert!(!dir.exists(), "removed with the container");
}

#[test]
fn frozen_cgroup_is_refused() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    let dir = host::cgroup2().unwrap().join(&c.id);
    c.set("/linux/cgroupsPath", format!("/{}", c.id));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("cgroup.freeze"), "1").unwrap();
    c.create().fails_with(&["container's cgroup unexpectedly frozen"]);
    // Not ours, so not removed.
    assert!(dir.exists());
    fs::remove_dir(&dir).unwrap();
}

#[test]
fn sub_cgroups_are_removed_and_neighbours_are_not() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let dir = cgroup(&c);
    fs::create_dir_all(dir.join("deep/er")).unwrap();
    let neighbour = dir.with_file_name(format!("{}-neighbour", c.id));
    fs::create_dir(&neighbour).unwrap();
    c.delete();
    assert!(!dir.exists());
    assert!(neighbour.exists());
    fs::remove_dir(neighbour).unwrap();
}

#[test]
fn processes_in_a_foreign_cgroup_are_not_touched() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let foreign = cgroup(&c).with_file_name(format!("{}-foreign", c.id));
    fs::create_dir(&foreign).unwrap();
    let mut stranger = c.program("sleep").arg("1000").spawn();
    fs::write(foreign.join("cgroup.procs"), stranger.pid().to_string()).unwrap();
    c.delete();
    assert!(stranger.child.try_wait().unwrap().is_none());
    stranger.child.kill().unwrap();
    stranger.wait();
    wait_for("the foreign cgroup", || fs::remove_dir(&foreign).ok());
}

// ---- limits

#[test]
fn missing_controllers_are_named() {
    let cases = [
        ("memory", "/linux/resources/memory/limit", json!(64 << 20), "linux.resources.memory.limit"),
        ("pids", "/linux/resources/pids/limit", json!(10), "linux.resources.pids.limit"),
        ("cpu", "/linux/resources/cpu/quota", json!(50000), "linux.resources.cpu"),
        ("cpu", "/linux/resources/cpu/shares", json!(512), "linux.resources.cpu.shares"),
        ("cpuset", "/linux/resources/cpu/cpus", json!("0"), "linux.resources.cpu.cpus"),
        ("io", "/linux/resources/blockIO/weight", json!(100), "linux.resources.blockIO.weight"),
        ("rdma", "/linux/resources/rdma", json!({ "mlx": { "hcaHandles": 3 } }), "linux.resources.rdma"),
        ("memory", "/linux/resources/unified", json!({ "memory.high": "1000000" }), "linux.resources.unified"),
    ];
    for (controller, pointer, value, field) in cases {
        if let Err(why) = host::no_controller(controller) {
            host::report_part("limits::missing_controllers_are_named", controller, &why);
            continue;
        }
        let mut c = Case::new();
        c.set(pointer, value);
        c.create().fails_with(&[field, controller]);
        c.assert_nothing_left();
    }
}

#[test]
fn memory_limit() {
    require!(host::controller("memory"));
    let mut c = Case::new();
    c.set("/linux/resources/memory", json!({ "limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20 }));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(value(&c, "memory.max"), (64 << 20).to_string());
    assert_eq!(value(&c, "memory.low"), (32 << 20).to_string());
    if cgroup(&c).join("memory.swap.max").exists() {
        assert_eq!(value(&c, "memory.swap.max"), (32 << 20).to_string());
    }
    c.delete();
    // It bites: a program that wants more is killed.
    c.sh("x=0123456789; while :; do x=$x$x; done");
    c.run().exits(137);
}

#[test]
fn memory_in_use_is_checked_when_asked_for() {
    require!(host::controller("memory"));
    let mut c = Case::new();
    let mount = host::cgroup2().unwrap();
    let dir = mount.join(&c.id);
    fs::write(mount.join("cgroup.subtree_control"), "+memory").unwrap();
    fs::create_dir(&dir).unwrap();
    // A file in memory stays charged to the cgroup whose process wrote it.
    let file = format!("/dev/shm/{}", c.id);
    let script = format!("echo 0 >{}/cgroup.procs && head -c 8388608 /dev/zero >{file}", dir.display());
    assert!(c.program("sh").args(["-c", script.as_str()]).spawn().wait().code() == 0);
    c.set("/linux/cgroupsPath", format!("/{}", c.id));
    c.set("/linux/resources/memory", json!({ "limit": 4 << 20, "checkBeforeUpdate": true }));
    let out = c.create();
    let left = fs::read_to_string(dir.join("memory.max")).unwrap();
    fs::remove_file(&file).unwrap();
    out.fails_with(&["linux.resources.memory.limit", "4194304 is less than the usage"]);
    assert_eq!(left.trim(), "max", "nothing was written");
    fs::remove_dir(&dir).unwrap();
    c.assert_nothing_left();
    c.run().ok();
}

#[test]
fn io_weight() {
    require!(host::controller("io"));
    let mut c = Case::new();
    c.set("/linux/resources/blockIO", json!({ "weight": 500 })).args(&["/bin/sleep", "1000"]);
    let probe = Case::started();
    let has = |file: &str| cgroup(&probe).join(file).exists();
    match (has("io.bfq.weight"), has("io.weight")) {
        (true, _) => {
            c.start();
            assert_eq!(value(&c, "io.bfq.weight"), "default 500");
            c.orlop(&["update", "--blkio-weight", "100", &c.id]).go().ok();
            assert_eq!(value(&c, "io.bfq.weight"), "default 100");
            c.delete();
        }
        (false, true) => {
            c.start();
            assert_eq!(value(&c, "io.weight"), "default 4950");
            c.orlop(&["update", "--blkio-weight", "100", &c.id]).go().ok();
            assert_eq!(value(&c, "io.weight"), "default 910");
            c.delete();
        }
        (false, false) => {
            c.create().fails_with(&["linux.resources.blockIO.weight", "io.weight"]);
            c.assert_nothing_left();
        }
    }
    probe.delete();
}

/// Major and minor number of a disk whose scheduler is BFQ, the one that knows weights by device.
fn bfq_disk() -> Result<(u64, u64), String> {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten().map(|e| e.path());
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let disk = disks.into_iter().find(|d| read(d.join("queue/scheduler")).contains("[bfq]"));
    let text = read(disk.ok_or("no disk with the bfq scheduler")?.join("dev"));
    let (major, minor) = text.trim().split_once(':').expect("major:minor");
    Ok((major.parse().expect("a number"), minor.parse().expect("a number")))
}

#[test]
fn io_weight_of_a_device() {
    require!(host::controller("io"));
    require!(bfq_disk());
    let (major, minor) = bfq_disk().unwrap();
    let weights = |weight: u16| json!({ "weightDevice": [{ "major": major, "minor": minor, "weight": weight }] });
    let mut c = Case::new();
    c.set("/linux/resources/blockIO", weights(300)).args(&["/bin/sleep", "1000"]);
    c.start();
    let line = |weight: u16| format!("{major}:{minor} {weight}");
    assert!(value(&c, "io.bfq.weight").lines().any(|l| l == line(300)), "{}", value(&c, "io.bfq.weight"));
    let update = |resources: serde_json::Value| {
        fs::write(c.dir.join("r.json"), resources.to_string()).unwrap();
        c.orlop(&["update", "-r", "r.json", &c.id]).go()
    };
    update(json!({ "blockIO": weights(200) })).ok();
    assert!(value(&c, "io.bfq.weight").lines().any(|l| l == line(200)), "{}", value(&c, "io.bfq.weight"));
    // Taken back together with the rest.
    update(json!({ "blockIO": weights(100), "unified": { "cgroup.max.depth": "deep" } })).fails_with(&["deep"]);
    assert!(value(&c, "io.bfq.weight").lines().any(|l| l == line(200)), "{}", value(&c, "io.bfq.weight"));
    c.delete();
}

#[test]
fn small_memory_limits_still_start() {
    require!(host::controller("memory"));
    let mut c = Case::new();
    c.set("/linux/resources/memory", json!({ "limit": 512 << 10 }));
    c.run().ok();
}

#[test]
fn pids_limit() {
    require!(host::controller("pids"));
    let mut c = Case::new();
    c.set("/linux/resources/pids/limit", 3).sh("for i in 1 2 3 4 5; do sleep 1 & done; wait");
    let out = c.run();
    assert!(out.stderr.contains("can't fork"), "{}", out.stderr);
    for (limit, wanted) in [(0, "0"), (-1, "max"), (7, "7")] {
        c.set("/linux/resources/pids/limit", limit).args(&["/bin/sleep", "1000"]);
        let created = c.create();
        if limit == 0 {
            // A real zero: not even init may fork, but it is born before.
            drop(created);
        } else {
            created.ok();
            assert_eq!(value(&c, "pids.max"), wanted);
        }
        c.delete();
    }
}

#[test]
fn cpu_limits() {
    require!(host::controller("cpu"));
    let mut c = Case::new();
    c.set("/linux/resources/cpu", json!({ "quota": 50000, "period": 100_000, "shares": 1024 }));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(value(&c, "cpu.max"), "50000 100000");
    assert_eq!(value(&c, "cpu.weight"), "100", "1024 shares are the default weight");
    c.delete();
}

#[test]
fn hugetlb_limit() {
    require!(host::controller("hugetlb"));
    let mut c = Case::new();
    c.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 << 20 }]));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(value(&c, "hugetlb.2MB.max"), (4 << 20).to_string());
    if cgroup(&c).join("hugetlb.2MB.rsvd.max").exists() {
        assert_eq!(value(&c, "hugetlb.2MB.rsvd.max"), (4 << 20).to_string(), "reservations as well");
    }
    c.delete();
    c.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "3MB", "limit": 1 }]));
    c.create().fails_with(&["linux.resources.hugepageLimits[0]", "3MB"]);
    c.assert_nothing_left();
}

#[test]
fn unified() {
    require!(host::controller("hugetlb"));
    let mut c = Case::new();
    c.set("/linux/resources/unified", json!({ "hugetlb.2MB.max": "2097152", "cgroup.max.depth": "3" }));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(value(&c, "hugetlb.2MB.max"), "2097152");
    assert_eq!(value(&c, "cgroup.max.depth"), "3");
    c.delete();
    c.set("/linux/resources/unified", json!({ "hugetlb.no-such-file": "1" }));
    c.create().fails_with(&["linux.resources.unified", "hugetlb.no-such-file"]);
    c.assert_nothing_left();
    c.set("/linux/resources/unified", json!({ "../escape": "1" }));
    c.create().fails_with(&["linux.resources.unified", "../escape"]);
    c.assert_nothing_left();
}

// ---- devices, by really opening and making them

fn deny_all() -> serde_json::Value {
    json!({ "allow": false, "access": "rwm" })
}

use runtime_tests::Value;

#[test]
fn device_rules() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    c.set("/linux/resources/devices", json!([deny_all()]));
    c.set(
        "/linux/devices",
        json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 },
               { "path": "/dev/port", "type": "c", "major": 1, "minor": 4 }]),
    );
    let ops = [
        "open:/dev/null:rw",
        "open:/dev/zero:r",
        "open:/dev/full:rw",
        "open:/dev/urandom:r",
        "open:/dev/tty:r",
        "open:/dev/pts/ptmx:rw",
        "open:/dev/kmsg:r",
        "mknod:/dev/x:c:1:11",
        "mknod:/dev/y:b:8:0",
        "open:/dev/x:r",
        "open:/dev/y:r",
    ];
    let r = c.attempts(&ops);
    for op in &ops[..4] {
        assert_eq!(r[*op], 0, "{op}: built-in devices stay usable");
    }
    assert_eq!(r["open:/dev/tty:r"], "ENXIO", "allowed; there is only no terminal");
    assert_eq!(r["open:/dev/pts/ptmx:rw"], 0);
    assert_eq!(r["open:/dev/kmsg:r"], "EPERM");
    // Making any node is allowed as with runc, using it is not.
    assert_eq!((&r["mknod:/dev/x:c:1:11"], &r["mknod:/dev/y:b:8:0"]), (&json!(0), &json!(0)));
    assert_eq!((&r["open:/dev/x:r"], &r["open:/dev/y:r"]), (&json!("EPERM"), &json!("EPERM")));
}

#[test]
fn device_rules_in_order() {
    require!(host::has_cgroup2());
    let allow =
        |minor: i64, access: &str| json!({ "allow": true, "type": "c", "major": 1, "minor": minor, "access": access });
    let deny =
        |minor: i64, access: &str| json!({ "allow": false, "type": "c", "major": 1, "minor": minor, "access": access });
    let node = json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
    let open = |rules: Value, how: &str| -> Value {
        let mut c = Case::new();
        c.set("/linux/resources/devices", rules).set("/linux/devices", node.clone()).add_caps(&["CAP_SYSLOG"]);
        let op = format!("open:/dev/kmsg:{how}");
        c.attempts(&[&op])[op.as_str()].clone()
    };
    assert_eq!(open(json!([deny_all(), allow(11, "rwm")]), "rw"), 0);
    assert_eq!(open(json!([deny_all(), allow(11, "r")]), "w"), "EPERM");
    assert_eq!(open(json!([deny_all(), allow(11, "r")]), "r"), 0);
    assert_eq!(open(json!([deny_all(), allow(11, "rw"), deny(11, "w")]), "w"), "EPERM");
    assert_eq!(open(json!([deny_all(), allow(11, "rw"), deny(11, "w")]), "r"), 0);
    assert_eq!(open(json!([allow(11, "rw"), deny_all()]), "r"), "EPERM");
    assert_eq!(open(json!([{ "allow": true, "access": "rwm" }]), "rw"), 0);
    // A wildcard minor.
    let any = json!({ "allow": true, "type": "c", "major": 1, "access": "rwm" });
    assert_eq!(open(json!([deny_all(), any]), "r"), 0);
}

/// What may be done to devices under some rules: `mknod`, then `open` for
/// reading, writing, and `b`oth. EPERM is the rules' word; any other errno is the
/// driver's, which has been asked.
#[test]
fn devices_denied() {
    require!(host::has_cgroup2());
    let rule = |allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = json!({ "allow": allow, "type": kind, "access": access });
        major.into_iter().for_each(|n| rule["major"] = json!(n));
        minor.into_iter().for_each(|n| rule["minor"] = json!(n));
        rule
    };
    let (none, all) = (rule(false, "a", None, None, "rwm"), rule(true, "a", None, None, "rwm"));
    let kmsg = |allow: bool, access: &str| rule(allow, "c", Some(1), Some(11), access);
    // The devices: kmsg, null, and two blocks of a number nothing has.
    let nodes = ["c:1:11", "c:1:3", "b:241:1", "b:241:2"];
    let table = [
        (vec![], ["", "rwb", "", ""]),
        (vec![none.clone()], ["", "rwb", "", ""]),
        (vec![none.clone(), rule(false, "c", Some(1), Some(3), "rwm")], ["", "rwb", "", ""]),
        (vec![none.clone(), kmsg(true, "r")], ["r", "rwb", "", ""]),
        (vec![none.clone(), kmsg(true, "w")], ["w", "rwb", "", ""]),
        (vec![none.clone(), kmsg(true, "m")], ["", "rwb", "", ""]),
        (vec![none.clone(), kmsg(true, "rwm"), kmsg(false, "r")], ["w", "rwb", "", ""]),
        (vec![kmsg(true, "rwm"), none.clone()], ["", "rwb", "", ""]),
        (vec![none.clone(), rule(true, "c", None, Some(11), "rw")], ["rwb", "rwb", "", ""]),
        (vec![none.clone(), rule(true, "b", None, None, "rw")], ["", "rwb", "rwb", "rwb"]),
        (vec![none, rule(true, "b", Some(241), Some(1), "r")], ["", "rwb", "r", ""]),
        (vec![all.clone()], ["rwb", "rwb", "rwb", "rwb"]),
        (vec![all.clone(), kmsg(false, "w"), rule(false, "b", None, None, "rwm")], ["r", "rwb", "", ""]),
        (vec![all, rule(false, "c", None, None, "rw")], ["", "rwb", "rwb", "rwb"]),
    ];
    for (rules, allowed) in table {
        let mut c = Case::new();
        c.set("/linux/resources/devices", json!(rules)).add_caps(&["CAP_SYSLOG"]);
        let each = nodes.iter().enumerate().flat_map(|(i, node)| {
            let open = |how: &str| format!("open:/dev/x{i}:{how}");
            [format!("mknod:/dev/x{i}:{node}"), open("r"), open("w"), open("rw")]
        });
        let ops: Vec<String> = each.collect();
        let r = c.attempts(&ops.iter().map(String::as_str).collect::<Vec<_>>());
        for ((node, ops), allowed) in nodes.iter().zip(ops.chunks(4)).zip(allowed) {
            assert_eq!(r[&ops[0]], 0, "any node may be made: {rules:?}");
            for (how, op) in ["r", "w", "b"].into_iter().zip(&ops[1..]) {
                assert_eq!(r[op] != "EPERM", allowed.contains(how), "{node} {op}: {} by {rules:?}", r[op]);
            }
        }
    }
}

#[test]
fn device_rules_hold_for_exec() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    c.set("/linux/resources/devices", json!([deny_all()])).args(&["/bin/sleep", "1000"]);
    c.start();
    let r = c.exec_probe(&[], &["try", "mknod:/dev/x:c:1:11", "open:/dev/x:r", "open:/dev/null:rw"]);
    assert_eq!(r, json!({ "mknod:/dev/x:c:1:11": 0, "open:/dev/x:r": "EPERM", "open:/dev/null:rw": 0 }));
    c.delete();
}

#[test]
fn without_cgroups_there_are_no_limits() {
    // Engines' configs carry device rules with `disabled` all the same, and
    // whoever says it knows; a limit somebody asked for is another thing.
    let mut c = Case::new();
    c.set("/linux/resources/devices", json!([deny_all()]));
    let run = |c: &Case| {
        c.write();
        c.orlop(&["--cgroup-manager=disabled", "run", "-b"]).arg(&c.bundle).arg(&c.id).go()
    };
    run(&c).ok();
    c.set("/linux/resources/pids/limit", -1);
    run(&c).ok();
    c.set("/linux/resources/pids/limit", 5);
    run(&c).fails_with(&["linux.resources.pids.limit", "disabled"]);
    c.assert_nothing_left();
}

#[test]
fn an_init_without_memory_is_explained() {
    require!(host::controller("memory"));
    let mut c = Case::new();
    c.set("/linux/resources/memory", json!({ "limit": 65536, "swap": 65536 }));
    c.create().fails_with(&["OOM-killed", "linux.resources.memory.limit", "65536"]);
    c.assert_nothing_left();
}

#[test]
fn an_init_without_memory_above_is_explained() {
    require!(host::controller("memory"));
    let mut c = Case::new();
    let above = host::cgroup2().unwrap().join(&c.id);
    fs::create_dir(&above).unwrap();
    fs::write(above.join("memory.max"), "65536").unwrap();
    fs::write(above.join("memory.swap.max"), "0").unwrap();
    c.set("/linux/cgroupsPath", format!("/{}/in", c.id));
    c.create().fails_with(&["OOM-killed", "not by its own limit"]);
    fs::remove_dir(&above).unwrap();
    c.assert_nothing_left();
}
