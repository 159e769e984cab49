//! A container's life, as the kubelet leads it.

use std::fs;

use runtime_tests::command::wait_for;
use runtime_tests::engines::{Manager, assert_limits, offered, program};
use runtime_tests::{Case, Value, host, json, paths, require};

use super::node::{EXITED, PodConfig, RUNNING, ask, cri, handler, turn};

/// What a RuntimeClass may be used for: containerd asks the runtime by its command `features`.
#[test]
fn the_status_says_what_the_handlers_can_do() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let version = cri("Version", json!({}));
    assert_eq!((&version["runtime_name"], &version["runtime_api_version"]), (&json!("containerd"), &json!("v1")));
    let status = cri("Status", json!({}));
    for condition in ["RuntimeReady", "NetworkReady"] {
        let all = status["status"]["conditions"].as_array().expect("conditions");
        let found = all.iter().find(|one| one["type"] == condition).expect(condition);
        assert_eq!(found["status"], true, "{found}");
    }
    let features = program(&c, &paths::orlop().to_string_lossy()).arg("features").go().ok().json();
    let options = features["mountOptions"].as_array().expect("mount options");
    let expected = json!({
        "recursive_read_only_mounts": options.contains(&json!("rro")),
        "user_namespaces": features["linux"]["mountExtensions"]["idmap"]["enabled"] == true,
    });
    assert_eq!(expected, json!({ "recursive_read_only_mounts": true, "user_namespaces": true }), "of {features}");
    // The one without a name is the default.
    for name in ["", handler(Manager::Cgroupfs), handler(Manager::Systemd)] {
        let all = status["runtime_handlers"].as_array().expect("handlers");
        let found =
            all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no handler {name:?}: {all:?}"));
        assert_eq!(found["features"], expected, "{name}");
    }
}

/// The limits of `assert_limits`; CRI has no number of processes but in this way.
fn limits() -> Value {
    json!({
        "memory_limit_in_bytes": 64 << 20, "cpu_quota": 50_000, "cpu_period": 100_000, "cpu_shares": 512,
        "oom_score_adj": 321, "cpuset_cpus": "0", "unified": { "pids.max": "20" },
    })
}

fn life(manager: Manager) {
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, manager).host_network().run();
    assert_eq!(pod.status()["runtime_handler"], handler(manager));
    let one = pod.container("one").sh("echo \"$GREETING from $(pwd)\"; echo oops >&2; exec sleep 1000");
    let one = one.set("/linux/resources", limits()).set("/working_dir", "/tmp");
    let envs = json!([{ "key": "GREETING", "value": "hello" }, { "key": "ORLOP_TEST", "value": c.id }]);
    let one = one.set("/envs", envs).create();
    assert_eq!(one.status()["state"], 0);
    one.ask("StartContainer", json!({}));
    one.wait_log("hello from /tmp");
    wait_for("standard error", || (one.log("stderr") == "oops\n").then_some(()));
    let status = one.status();
    assert_eq!((&status["state"], &status["metadata"]["name"]), (&json!(RUNNING), &json!("one")));
    assert!(status["started_at"].as_i64() >= status["created_at"].as_i64(), "{status}");

    let cgroup = one.cgroup();
    assert!(cgroup.starts_with(pod.cgroup()), "{} is not in the pod's", cgroup.display());
    assert_limits(&c, manager, &cgroup);
    let has =
        |file: &str, value: &str| assert_eq!(fs::read_to_string(cgroup.join(file)).unwrap().trim(), value, "{file}");
    has("cpuset.cpus", "0");
    assert_eq!(one.sh("cat /proc/self/oom_score_adj"), "321");

    let more =
        json!({ "memory_limit_in_bytes": 128 << 20, "cpu_quota": 25_000, "cpu_period": 100_000, "cpu_shares": 1024 });
    one.ask("UpdateContainerResources", json!({ "linux": more }));
    has("memory.max", "134217728");
    has("cpu.max", "25000 100000");
    has("pids.max", "20");
    let said = one.status()["resources"]["linux"]["memory_limit_in_bytes"].clone();
    assert_eq!(said, 128 << 20);

    one.ask("StopContainer", json!({ "timeout": 0 }));
    let status = one.status();
    assert_eq!((&status["state"], &status["exit_code"]), (&json!(EXITED), &json!(137)), "{status}");
    assert!(!cgroup.exists(), "{} is left", cgroup.display());
    one.ask("RemoveContainer", json!({}));
    pod.end();
}

#[test]
fn a_containers_life_with_cgroupfs() {
    require!(offered(Manager::Cgroupfs));
    life(Manager::Cgroupfs);
}

#[test]
fn a_containers_life_with_systemd() {
    require!(offered(Manager::Systemd));
    life(Manager::Systemd);
}

#[test]
fn ends_are_told_as_they_were() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let said = pod.container("seven").sh("echo out; echo err >&2; exit 7").run();
    assert_eq!((said.code, &*said.stdout, &*said.stderr), (7, "out\n", "err\n"));
    let ended = pod.container("zero").command(&["true"]).start();
    let status = ended.wait();
    assert_eq!((&status["exit_code"], &status["reason"]), (&json!(0), &json!("Completed")));
    assert_eq!(pod.container("child").sh("sh -c 'kill -SEGV $$'; exit $?").run().code, 139);

    // With time to end, and one that takes none.
    let kind = pod.container("kind").command(&["probe", "trap", "15"]).start();
    kind.wait_log("ready");
    kind.ask("StopContainer", json!({ "timeout": 20 }));
    assert_eq!(kind.status()["exit_code"], 55);
    assert_eq!(kind.log("stdout"), "ready\nsignal 15\n");
    let deaf = pod.container("deaf").sh("trap '' TERM; echo deaf; while :; do sleep 1000; done").start();
    deaf.wait_log("deaf");
    deaf.ask("StopContainer", json!({ "timeout": 1 }));
    assert_eq!(deaf.status()["exit_code"], 137);

    // What eats too much is killed, and that is told.
    let greedy = pod.container("greedy").command(&["probe", "alloc", "256"]);
    let greedy = greedy.set("/linux/resources", json!({ "memory_limit_in_bytes": 16 << 20 })).start();
    let status = greedy.wait();
    assert_eq!((&status["exit_code"], &status["reason"]), (&json!(137), &json!("OOMKilled")), "{status}");
    pod.end();
}

#[test]
fn exec_sync_says_what_the_program_said() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let one = pod.container("one").start();
    let said = one.exec(&["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((said.code, &*said.stdout, &*said.stderr), (3, "out\n", "err\n"));
    let many = one.sh("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done");
    assert_eq!(many.lines().count(), 20_000);
    assert!(many.ends_with("\n19999"));
    assert_eq!(one.sh("cat").len(), 0, "there is an end of its input");

    // What takes too long is killed.
    let long = one.try_ask("ExecSync", json!({ "cmd": ["sleep", "2000"], "timeout": 1 }));
    let e = long.expect_err("the time is over");
    assert!(e.code == 4 && e.message.contains("timeout 1s exceeded"), "{e}");
    let e = one.try_ask("ExecSync", json!({ "cmd": ["/nosuch"] })).expect_err("no such program");
    for part in ["failed to exec in container", "/nosuch"] {
        assert!(e.message.contains(part), "{e}");
    }
    let e = one.try_ask("ExecSync", json!({ "cmd": ["/etc/passwd"] })).expect_err("no program");
    assert!(e.message.to_lowercase().contains("permission denied"), "{e}");
    one.ask("StopContainer", json!({ "timeout": 0 }));
    one.try_ask("ExecSync", json!({ "cmd": ["true"] })).expect_err("it does not run any more");
    pod.end();
}

#[test]
fn what_cannot_run_says_why() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let one = pod.container("one").command(&["/nosuch"]).create();
    let e = one.try_ask("StartContainer", json!({})).expect_err("no such program");
    assert!(e.message.contains("/nosuch"), "{e}");
    assert!(e.message.to_lowercase().contains("no such file or directory"), "{e}");
    let status = one.status();
    assert_eq!(
        (&status["state"], &status["exit_code"], &status["reason"]),
        (&json!(EXITED), &json!(128), &json!("StartError"))
    );
    assert!(status["message"].as_str().expect("a message").contains("/nosuch"), "{status}");
    let e = pod.container("two").command(&["nosuch"]).create().try_ask("StartContainer", json!({})).expect_err("none");
    assert!(e.message.contains("not found in $PATH"), "{e}");
    let nowhere = pod.container("three").set("/working_dir", "/etc/passwd").create();
    let e = nowhere.try_ask("StartContainer", json!({})).expect_err("no directory");
    assert!(e.message.to_lowercase().contains("not a directory"), "{e}");
    assert_eq!(fs::read_dir(pod.cgroup()).unwrap().flatten().filter(|e| e.path().is_dir()).count(), 1);
    pod.end();

    // The pod itself: its sysctls are its first process's.
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network();
    let Err(e) = pod.set("/linux/sysctls", json!({ "fs.mqueue.nosuch": "1" })).try_run() else {
        panic!("a sysctl that there is not");
    };
    assert!(e.message.contains("fs.mqueue.nosuch") || e.message.contains("fs/mqueue/nosuch"), "{e}");
    let cgroup = host::cgroup2().expect("cgroups").join(&c.id);
    assert!(!cgroup.exists() || fs::remove_dir(cgroup).is_ok(), "something is left in its cgroup");
}

#[test]
fn statistics_are_those_of_the_cgroups() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let script = "dd if=/dev/zero of=/tmp/file bs=1M count=8 2>/dev/null; echo done; exec sleep 1000";
    let limit = json!({ "memory_limit_in_bytes": 64 << 20 });
    let one = pod.container("one").sh(script).set("/linux/resources", limit).start();
    one.wait_log("done");
    let stats = one.ask("ContainerStats", json!({}))["stats"].clone();
    assert_eq!(stats["attributes"]["metadata"]["name"], "one");
    let read = |file: &str| fs::read_to_string(one.cgroup().join(file)).expect("a file of the cgroup");
    let usage: i64 = read("memory.current").trim().parse().expect("a number");
    let said = stats["memory"]["usage_bytes"]["value"].as_i64().expect("memory");
    assert!((said - usage).abs() < 2 << 20, "{said}, not {usage}");
    assert!(said > 8 << 20, "the file is in memory");
    let used: i64 = read("cpu.stat").lines().find_map(|l| l.strip_prefix("usage_usec ")?.parse().ok()).expect("usage");
    let said = stats["cpu"]["usage_core_nano_seconds"]["value"].as_i64().expect("time");
    assert!(said > 0 && said / 1000 <= used, "{said} ns of {used} µs");

    let all = cri("ListPodSandboxStats", json!({ "filter": { "id": pod.id } }))["stats"].clone();
    let linux = &all[0]["linux"];
    assert_eq!(
        (all.as_array().map(Vec::len), linux["containers"][0]["attributes"]["id"].as_str()),
        (Some(1), Some(&*one.id))
    );
    // The containers' processes, without the pod's own.
    assert_eq!(linux["process"]["process_count"]["value"], 1, "{linux}");
    assert!(linux["memory"]["usage_bytes"]["value"].as_i64() > Some(8 << 20), "{linux}");
    one.end();
    pod.end();
}

/// A daemon that is started anew finds its containers, and the runtime's state is theirs.
#[test]
fn containers_outlive_the_daemon() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let one = pod.container("one").start();
    let two = pod.container("two").sh("until [ -e /tmp/end ]; do sleep 0.05; done; exit 9").start();
    let pid = one.pid();
    program(&c, "systemctl").args(["restart", "containerd"]).go().ok();
    wait_for("its answer", || ask("Version", &json!({})).ok());
    assert_eq!((one.status()["state"].clone(), one.pid()), (json!(RUNNING), pid));
    assert_eq!(one.sh("echo $((6 * 7))"), "42");
    two.sh("touch /tmp/end");
    assert_eq!(two.wait()["exit_code"], 9);
    one.end();
    pod.end();
}
