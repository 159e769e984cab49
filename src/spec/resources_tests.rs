//! Tests of `linux.resources`.

use serde_json::{Value, json};

use super::*;

fn run(resources: Value) -> (Vec<String>, String) {
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let mut faults = Faults::default();
    let out = resolve(&resources, &mut faults);
    let lines = out.iter().map(|s| format!("{}/{}={}", s.controller, s.file, s.value)).collect();
    let warnings = faults.warnings.join("|");
    (lines, faults.into_error("x").map_or(warnings, |e| e.to_string()))
}

fn good(resources: Value) -> Vec<String> {
    let (lines, faults) = run(resources);
    assert_eq!(faults, "");
    lines
}

#[test]
fn memory_and_swap() {
    let memory = |m: Value| good(json!({"memory": m}));
    assert_eq!(
        memory(json!({"limit": 100, "reservation": 50, "swap": 300})),
        ["memory/memory.swap.max=200", "memory/memory.max=100", "memory/memory.low=50"]
    );
    assert_eq!(memory(json!({"limit": 100, "swap": 100})), ["memory/memory.swap.max=0", "memory/memory.max=100"]);
    assert_eq!(memory(json!({"limit": -1})), ["memory/memory.swap.max=max", "memory/memory.max=max"]);
    assert_eq!(memory(json!({"limit": 100, "swap": -1})), ["memory/memory.swap.max=max", "memory/memory.max=100"]);
    assert_eq!(memory(json!({"limit": 0, "swap": 0, "disableOOMKiller": false, "checkBeforeUpdate": false})), [""; 0]);
    assert!(run(json!({"memory": {"kernel": 5}})).1.contains("memory.kernel: cgroup2 has no such limit, ignored"));
}

#[test]
fn cpu_time() {
    let cpu = |c: Value| good(json!({"cpu": c}));
    assert_eq!(cpu(json!({"shares": 1024})), ["cpu/cpu.weight=100"]);
    assert_eq!(
        cpu(json!({"quota": 5000, "period": 10000, "burst": 5})),
        ["cpu/cpu.max=5000 10000", "cpu/cpu.max.burst=5"]
    );
    assert_eq!(cpu(json!({"quota": 5000})), ["cpu/cpu.max=5000 100000"]);
    assert_eq!(cpu(json!({"quota": -1})), ["cpu/cpu.max=max 100000"]);
    assert_eq!(cpu(json!({"period": 7000})), ["cpu/cpu.max=max 7000"]);
    assert_eq!(cpu(json!({"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0})), [""; 0]);
    assert_eq!(cpu(json!({"idle": 1, "shares": 2})), ["cpu/cpu.weight=1", "cpu/cpu.idle=1"]);
    assert_eq!(cpu(json!({"idle": 0, "shares": 2})), ["cpu/cpu.idle=0", "cpu/cpu.weight=1"]);
    assert_eq!(cpu(json!({"cpus": "0-1", "mems": "0"})), ["cpuset/cpuset.cpus=0-1", "cpuset/cpuset.mems=0"]);
}

#[test]
fn the_other_controllers() {
    assert_eq!(good(json!({"pids": {"limit": 0}})), ["pids/pids.max=0"]);
    assert_eq!(good(json!({"pids": {"limit": -1}})), ["pids/pids.max=max"]);
    let pages = json!([{"pageSize": "2MB", "limit": 4096}, {"pageSize": "1GB", "limit": 0}]);
    let lines = [("2MB.max", 4096), ("2MB.rsvd.max", 4096), ("1GB.max", 0), ("1GB.rsvd.max", 0)];
    let lines = lines.map(|(file, limit)| format!("hugetlb/hugetlb.{file}={limit}"));
    assert_eq!(good(json!({"hugepageLimits": pages})), lines);
    let rdma = json!({"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "b": {"hcaObjects": 1}});
    let lines = ["rdma/rdma.max=b hca_object=1", "rdma/rdma.max=mlx5_1 hca_handle=3 hca_object=10"];
    assert_eq!(good(json!({"rdma": rdma})), lines);
    let unified = json!({"memory.high": "9", "cgroup.max.depth": "3", "misc.max": "res 1"});
    let lines = ["/cgroup.max.depth=3", "memory/memory.high=9", "misc/misc.max=res 1"];
    assert_eq!(good(json!({"unified": unified})), lines);
    let io = json!({
        "weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]});
    let lines = [
        "io/io.bfq.weight=default 500",
        "io/io.weight=default 4950",
        "io/io.bfq.weight=8:0 10",
        "io/io.weight=8:0 1",
        "io/io.max=8:0 rbps=600",
        "io/io.max=8:16 wiops=max",
    ];
    assert_eq!(good(json!({"blockIO": io})), lines);
}

#[test]
fn usage_is_checked_when_asked_for() {
    for (memory, wanted) in [
        (json!({"limit": 5, "checkBeforeUpdate": true}), true),
        (json!({"limit": 5, "checkBeforeUpdate": false}), false),
        (json!({"limit": 5}), false),
    ] {
        let resources: LinuxResources = serde_json::from_value(json!({"memory": memory})).unwrap();
        assert_eq!(checks_usage(&resources), wanted, "{memory}");
    }
}

#[test]
fn faults() {
    for (resources, text) in [
        (json!({"memory": {"limit": -2}}), "memory.limit: -2 is neither"),
        (json!({"memory": {"swap": 5}}), "memory.swap: needs a memory limit"),
        (json!({"memory": {"limit": 5, "swap": 4}}), "memory.swap: is less than"),
        (json!({"memory": {"limit": 5, "swap": -4}}), "memory.swap: is neither"),
        (json!({"memory": {"swappiness": 0}}), "memory.swappiness: cgroup2"),
        (json!({"memory": {"disableOOMKiller": true}}), "memory.disableOOMKiller: cgroup2"),
        (json!({"cpu": {"idle": 2}}), "cpu.idle: 2 is neither"),
        (json!({"cpu": {"quota": -2}}), "cpu.quota: -2 is neither"),
        (json!({"cpu": {"quota": 10, "burst": 11}}), "cpu.burst: 11 is more"),
        (json!({"cpu": {"cpus": "x"}}), "cpu.cpus: \"x\" is not a number"),
        (json!({"cpu": {"realtimeRuntime": 1}}), "cpu.realtimeRuntime: cgroup2"),
        (json!({"cpu": {"realtimePeriod": 1}}), "cpu.realtimePeriod: cgroup2"),
        (json!({"pids": {"limit": -2}}), "pids.limit: -2 is neither"),
        (json!({"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}), "hugepageLimits[0].pageSize: \"2M\" is not"),
        (json!({"hugepageLimits": [{"pageSize": "../MB", "limit": 1}]}), "hugepageLimits[0].pageSize: "),
        (json!({"network": {"classID": 1}}), "network.classID: cgroup2"),
        (json!({"network": {"priorities": [{"name": "eth0", "priority": 1}]}}), "network.priorities: cgroup2"),
        (json!({"unified": {"../memory.max": "1"}}), "unified[\"../memory.max\"]: not the name"),
        (json!({"unified": {"memory": "1"}}), "unified[\"memory\"]: not the name"),
        (json!({"unified": {"..": "1"}}), "unified[\"..\"]: not the name"),
        (json!({"unified": {"memory.max/../x": "1"}}), "unified[\"memory.max/../x\"]: not the name"),
        (json!({"unified": {"cgroup.freeze": "1"}}), "unified[\"cgroup.freeze\"]: not a limit"),
        (json!({"unified": {"cgroup.procs": "1"}}), "unified[\"cgroup.procs\"]: not a limit"),
        (json!({"unified": {"cgroup.type": "threaded"}}), "unified[\"cgroup.type\"]: not a limit"),
        (json!({"unified": {"memory.max": "1\0"}}), "unified[\"memory.max\"]: contains a NUL"),
        (json!({"rdma": {"a": {}}}), "rdma[\"a\"]: needs hcaHandles"),
        (json!({"rdma": {"a b": {"hcaObjects": 1}}}), "rdma[\"a b\"]: not the name"),
        (json!({"blockIO": {"weight": 9}}), "blockIO.weight: 9 is not between"),
        (json!({"blockIO": {"weight": 1001}}), "blockIO.weight: 1001 is not between"),
        (json!({"blockIO": {"leafWeight": 10}}), "blockIO.leafWeight: cgroup2"),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 5}]}}),
            "blockIO.weightDevice[0].weight: 5 is not between",
        ),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 50, "leafWeight": 50}]}}),
            "blockIO.weightDevice[0].leafWeight: cgroup2",
        ),
        (json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}), "blockIO.weightDevice[0]: needs a weight"),
        (
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": -8, "minor": 0, "rate": 1}]}}),
            "blockIO.throttleReadBpsDevice[0]: -8:0 is not",
        ),
    ] {
        let found = run(resources).1;
        assert!(found.starts_with(&format!("x: linux.resources.{text}")), "{found} instead of {text}");
        assert!(!found.contains("; "), "one fault: {found}");
    }
}
