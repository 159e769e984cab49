//! Resources that cannot be had: one clear error, nothing left, nothing changed.

use std::fs;

use runtime_tests::{Case, Value, host, json, require};

/// `create` must fail in one line, name field and reason, and leave nothing.
#[track_caller]
fn refused(field: &str, value: &Value, texts: &[&str]) {
    let mut c = Case::new();
    c.set(&format!("/linux/resources/{}", field.replace('.', "/")), value.clone());
    let out = c.create().fails_with(texts);
    assert!(out.stderr.contains("linux.resources."), "{}", out.stderr);
    assert_eq!(out.stderr.trim_end().lines().count(), 1, "{}", out.stderr);
    c.assert_nothing_left();
}

#[test]
fn values_that_no_kernel_takes() {
    let device = |key: &str, value: i64| json!([{ "major": 8, "minor": 0, key: value }]);
    for (field, value, text) in [
        ("memory.limit", json!(-2), "memory.limit"),
        ("memory.limit", json!("64m"), "memory.limit"),
        ("memory.reservation", json!(-7), "memory.reservation"),
        ("memory", json!({ "limit": 1 << 20, "swap": 1 }), "memory.swap"),
        ("memory.swappiness", json!(60), "memory.swappiness"),
        ("memory.disableOOMKiller", json!(true), "memory.disableOOMKiller"),
        ("cpu.shares", json!(-1), "cpu.shares"),
        ("cpu.quota", json!(-2), "cpu.quota"),
        ("cpu.period", json!(-1), "cpu.period"),
        ("cpu", json!({ "quota": 10_000, "burst": 10_001 }), "cpu.burst"),
        ("cpu.idle", json!(2), "cpu.idle"),
        ("cpu.idle", json!(-1), "cpu.idle"),
        ("cpu.cpus", json!("0-"), "cpu.cpus"),
        ("cpu.cpus", json!("all"), "cpu.cpus"),
        ("cpu.mems", json!("3-1"), "cpu.mems"),
        ("cpu.realtimePeriod", json!(1000), "cpu.realtimePeriod"),
        ("pids.limit", json!(-2), "pids.limit"),
        ("pids.limit", json!("many"), "pids.limit"),
        ("blockIO.weight", json!(9), "blockIO.weight"),
        ("blockIO.weight", json!(1001), "blockIO.weight"),
        ("blockIO.weight", json!(70_000), "blockIO.weight"),
        ("blockIO.leafWeight", json!(100), "blockIO.leafWeight"),
        ("blockIO.weightDevice", device("weight", 5), "blockIO.weightDevice[0].weight"),
        ("blockIO.weightDevice", device("leafWeight", 50), "blockIO.weightDevice[0].leafWeight"),
        ("blockIO.weightDevice", json!([{ "major": 8, "minor": 0 }]), "blockIO.weightDevice[0]"),
        ("blockIO.throttleReadBpsDevice", device("rate", -1), "blockIO.throttleReadBpsDevice[0].rate"),
        (
            "blockIO.throttleWriteIOPSDevice",
            json!([{ "major": -8, "minor": 0, "rate": 1 }]),
            "blockIO.throttleWriteIOPSDevice[0]",
        ),
        ("hugepageLimits", json!([{ "pageSize": "2M", "limit": 1 }]), "hugepageLimits[0].pageSize"),
        ("hugepageLimits", json!([{ "pageSize": "MB", "limit": 1 }]), "hugepageLimits[0].pageSize"),
        ("hugepageLimits", json!([{ "pageSize": "2MB", "limit": -2 }]), "hugepageLimits[0].limit"),
        ("rdma", json!({ "mlx": {} }), "rdma[\"mlx\"]"),
        ("rdma", json!({ "a b": { "hcaHandles": 1 } }), "rdma[\"a b\"]"),
        ("rdma", json!({ "mlx": { "hcaHandles": -1 } }), "rdma.mlx.hcaHandles"),
        ("network.classID", json!(1_048_577), "network.classID"),
        ("network.priorities", json!([{ "name": "eth0", "priority": 500 }]), "network.priorities"),
        ("unified", json!({ "memory": "1" }), "unified[\"memory\"]"),
        ("unified", json!({ "../x.max": "1" }), "unified[\"../x.max\"]"),
        ("unified", json!({ "pids.max/../../x": "1" }), "unified[\"pids.max/../../x\"]"),
        ("unified", json!({ "pids.max\u{0}": "1" }), "unified["),
        ("unified", json!({ "cgroup.procs": "1" }), "unified[\"cgroup.procs\"]"),
        ("unified", json!({ "cgroup.threads": "1" }), "unified[\"cgroup.threads\"]"),
        ("unified", json!({ "cgroup.type": "threaded" }), "unified[\"cgroup.type\"]"),
        ("unified", json!({ "cgroup.subtree_control": "+pids" }), "unified[\"cgroup.subtree_control\"]"),
        ("unified", json!({ "cgroup.freeze": "1" }), "unified[\"cgroup.freeze\"]"),
        ("unified", json!({ "cgroup.kill": "1" }), "unified[\"cgroup.kill\"]"),
    ] {
        refused(field, &value, &[text]);
    }
}

#[test]
fn values_that_this_kernel_does_not_take() {
    for (controller, field, value, texts) in [
        ("cpu", "cpu.quota", json!(10), ["cpu.quota", "cpu.max", "invalid argument"]),
        ("cpu", "cpu.period", json!(10), ["cpu.period", "cpu.max", "invalid argument"]),
        ("cpu", "cpu.period", json!(2_000_000), ["cpu.period", "cpu.max", "invalid argument"]),
        ("cpuset", "cpu.cpus", json!("60000"), ["cpu.cpus", "cpuset.cpus", "60000"]),
        ("cpuset", "cpu.mems", json!("60000"), ["cpu.mems", "cpuset.mems", "60000"]),
        ("pids", "unified", json!({ "pids.max": "many" }), ["unified[\"pids.max\"]", "pids.max", "many"]),
        (
            "io",
            "blockIO.throttleReadBpsDevice",
            json!([{ "major": 511, "minor": 9, "rate": 1000 }]),
            ["blockIO.throttleReadBpsDevice[0]", "io.max", "no such device"],
        ),
        (
            "hugetlb",
            "hugepageLimits",
            json!([{ "pageSize": "3MB", "limit": 0 }]),
            ["hugepageLimits[0]", "hugetlb.3MB.max", "no such file"],
        ),
        ("hugetlb", "unified", json!({ "hugetlb.2MB.max": "x" }), ["unified", "hugetlb.2MB.max", "invalid argument"]),
        (
            "hugetlb",
            "unified",
            json!({ "hugetlb.3MB.rsvd.max": "1" }),
            ["unified", "hugetlb.3MB.rsvd.max", "no such file"],
        ),
        ("hugetlb", "unified", json!({ "hugetlb.none": "1" }), ["unified", "hugetlb.none", "no such file"]),
        ("memory", "unified", json!({ "memory.nonesuch": "1" }), ["unified", "memory.nonesuch", "no such file"]),
        ("rdma", "rdma", json!({ "mlx": { "hcaHandles": 3 } }), ["rdma[\"mlx\"]", "rdma.max", "mlx"]),
        ("misc", "unified", json!({ "misc.max": "nonesuch 1" }), ["unified", "misc.max", "nonesuch"]),
    ] {
        if let Err(why) = host::controller(controller) {
            host::report_part("badlimits::values_that_this_kernel_does_not_take", texts[1], &why);
            continue;
        }
        refused(field, &value, &texts);
    }
}

#[test]
fn unknown_controllers_and_core_files() {
    require!(host::has_cgroup2());
    let texts = ["unified[\"nonesuch.max\"]", "controller nonesuch", "cgroup.controllers"];
    refused("unified", &json!({ "nonesuch.max": "1" }), &texts);
    // Even "no limit": in unified somebody means the file.
    refused("unified", &json!({ "nonesuch.max": "max" }), &texts);
    refused("unified", &json!({ "cgroup.nonesuch": "1" }), &["cgroup.nonesuch", "no such file"]);
    refused("unified", &json!({ "cgroup.max.depth": "deep" }), &["cgroup.max.depth", "invalid argument"]);
}

#[test]
fn threaded_cgroups_are_refused() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    let mount = host::cgroup2().unwrap();
    let domain = mount.join(&c.id);
    fs::create_dir_all(domain.join("threads")).unwrap();
    fs::write(domain.join("threads/cgroup.type"), "threaded").unwrap();
    // In it, below it, and beside it: the domain above can have no other.
    for below in ["threads", "threads/new", "new", ""] {
        c.set("/linux/cgroupsPath", format!("/{}/{below}", c.id));
        c.create().fails_with(&["cgroup cannot hold a container", "threaded"]);
    }
    assert!(!domain.join("new").exists() && !domain.join("threads/new").exists());
    assert_eq!(fs::read_to_string(domain.join("threads/cgroup.type")).unwrap().trim(), "threaded");
    fs::remove_dir(domain.join("threads")).unwrap();
    fs::remove_dir(domain).unwrap();
    c.assert_nothing_left();
}

#[test]
fn an_existing_cgroup_stays_when_its_container_is_refused() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    let dir = host::cgroup2().unwrap().join(&c.id);
    fs::create_dir(&dir).unwrap();
    c.set("/linux/cgroupsPath", format!("/{}", c.id));
    c.set("/linux/resources/unified", json!({ "cgroup.max.depth": "3", "nonesuch.max": "1" }));
    c.create().fails_with(&["nonesuch"]);
    assert_eq!(fs::read_to_string(dir.join("cgroup.max.depth")).unwrap().trim(), "max");
    fs::remove_dir(dir).unwrap();
    c.assert_nothing_left();
}

#[test]
fn what_is_left_of_a_frozen_container_is_removed() {
    require!(host::has_cgroup2());
    for own_pids in [true, false] {
        let mut c = Case::new();
        if !own_pids {
            c.no_namespace("pid");
        }
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        c.exec(&["--detach"], &["/bin/sleep", "1000"]).go().ok();
        c.verb("pause").ok();
        // Frozen processes die of SIGKILL all the same; the cgroup stays frozen.
        runtime_tests::sys::kill(c.pid(), libc::SIGKILL).unwrap();
        c.wait_status("stopped");
        let dir = runtime_tests::leaks::cgroups(&c.id).pop().expect("a cgroup");
        assert_eq!(fs::read_to_string(dir.join("cgroup.freeze")).unwrap().trim(), "1");
        c.verb("delete").ok();
        c.assert_nothing_left();
    }
}
