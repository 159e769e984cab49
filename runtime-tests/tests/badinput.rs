//! Bad input: every fault is named by its JSON path before anything is touched.

use std::fs;

use runtime_tests::{Case, Value, json};

/// `create` must fail, name each path, and leave nothing.
#[track_caller]
fn refused(c: &Case, texts: &[&str]) {
    c.create().fails_with(texts);
    c.assert_nothing_left();
}

/// One field set to something it can't be.
#[track_caller]
fn bad(pointer: &str, value: Value, texts: &[&str]) {
    let mut c = Case::new();
    c.set(pointer, value);
    refused(&c, texts);
}

#[test]
fn root_and_version() {
    bad("/ociVersion", json!("invalid"), &["ociVersion", "invalid"]);
    bad("/ociVersion", json!(""), &["ociVersion"]);
    bad("/ociVersion", json!("7.0.0"), &["ociVersion", "7.0.0"]);
    bad("/ociVersion", json!(1), &["ociVersion"]);
    bad("/root/path", json!(""), &["root.path"]);
    let mut c = Case::new();
    c.unset("/root");
    refused(&c, &["root"]);
    c.set("/root", json!({ "path": "rootfs" })).unset("/ociVersion");
    refused(&c, &["ociVersion"]);
}

/// What the specification calls REQUIRED, left out.
#[test]
fn required_members() {
    for (pointer, value, missing) in [
        ("/process", json!({ "args": ["/bin/true"] }), "process.cwd: missing"),
        ("/process", json!({ "cwd": "/" }), "process.args: must have at least one"),
        ("/process/rlimits", json!([{ "soft": 1, "hard": 1 }]), "process.rlimits[0].type: missing"),
        ("/process/scheduler", json!({ "nice": 1 }), "process.scheduler.policy: missing"),
        ("/mounts", json!([{ "type": "proc" }]), "mounts[0].destination: missing"),
        ("/hooks", json!({ "poststop": [{ "args": ["x"] }] }), "hooks.poststop[0].path: missing"),
        ("/linux/namespaces/0", json!({ "path": "/proc/self/ns/pid" }), "linux.namespaces[0].type: missing"),
        ("/linux/devices", json!([{ "type": "p" }]), "linux.devices[0].path: missing"),
        ("/linux/devices", json!([{ "path": "/dev/x" }]), "linux.devices[0].type: missing"),
        ("/linux/memoryPolicy", json!({ "nodes": "0" }), "linux.memoryPolicy.mode: missing"),
        ("/linux/personality", json!({ "flags": [] }), "linux.personality.domain: missing"),
        ("/process/rlimits", json!([{ "type": "RLIMIT_CPU", "hard": 1 }]), "process.rlimits[0].soft: missing"),
        ("/process/ioPriority", json!({ "priority": 1 }), "process.ioPriority.class: missing"),
        ("/process/consoleSize", json!({ "height": 1 }), "process.consoleSize.width: missing"),
        ("/linux/uidMappings", json!([{ "containerID": 0, "size": 9 }]), "linux.uidMappings[0].hostID: missing"),
        ("/linux/devices", json!([{ "path": "/dev/x", "type": "c", "major": 1 }]), "linux.devices[0].minor: missing"),
        ("/linux/resources/devices", json!([{ "access": "r" }]), "linux.resources.devices[0].allow: missing"),
        (
            "/linux/resources/blockIO/throttleReadBpsDevice",
            json!([{ "major": 8, "minor": 0 }]),
            "linux.resources.blockIO.throttleReadBpsDevice[0].rate: missing",
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{ "limit": 1 }]),
            "linux.resources.hugepageLimits[0].pageSize: \"\" is not",
        ),
        ("/linux/seccomp/syscalls", json!([{ "names": ["getppid"] }]), "linux.seccomp.syscalls[0].action: missing"),
        ("/linux/seccomp/syscalls", json!([{ "action": "SCMP_ACT_LOG" }]), "linux.seccomp.syscalls[0].names: missing"),
    ] {
        bad(pointer, value, &[missing]);
    }
    for key in ["index", "value", "op"] {
        let mut condition = json!({ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" });
        condition.as_object_mut().unwrap().remove(key);
        let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_LOG", "args": [condition] });
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        bad("/linux/seccomp", profile, &[&format!("linux.seccomp.syscalls[0].args[0].{key}: missing")]);
    }
}

#[test]
fn process_fields() {
    bad("/process/args", json!([]), &["process.args"]);
    bad("/process/args", json!(["/bin/true", "with\u{0}nul"]), &["process.args[1]"]);
    bad("/process/args", json!("true"), &["process.args"]);
    bad("/process/args", json!([""]), &["process.args[0]"]);
    bad("/process/cwd", json!("relative"), &["process.cwd"]);
    bad("/process/cwd", json!(""), &["process.cwd"]);
    bad("/process/cwd", json!("/nul\u{0}"), &["process.cwd"]);
    bad("/process/env", json!(["NOEQUALS"]), &["process.env[0]"]);
    bad("/process/env", json!(["=x"]), &["process.env[0]"]);
    bad("/process/env", json!(["A=1", "B=\u{0}"]), &["process.env[1]"]);
    bad("/process/user/uid", json!(-1), &["process.user.uid"]);
    bad("/process/user/uid", json!(4_294_967_296u64), &["process.user.uid"]);
    bad("/process/user/uid", json!("root"), &["process.user.uid"]);
    bad("/process/user/umask", json!(0o10000), &["process.user.umask"]);
    bad("/process/oomScoreAdj", json!(1001), &["process.oomScoreAdj"]);
    bad("/process/oomScoreAdj", json!(-1001), &["process.oomScoreAdj"]);
}

#[test]
fn rlimits() {
    bad(
        "/process/rlimits",
        json!([{ "type": "RLIMIT_TEST", "soft": 1, "hard": 1 }]),
        &["process.rlimits[0].type", "RLIMIT_TEST"],
    );
    bad("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }]), &["process.rlimits[0]"]);
    let twice = json!({ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 });
    bad("/process/rlimits", json!([twice, twice]), &["process.rlimits[1]"]);
}

#[test]
fn scheduling() {
    bad("/process/scheduler", json!({ "policy": "SCHED_X" }), &["process.scheduler.policy", "SCHED_X"]);
    bad("/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": 40 }), &["process.scheduler.nice"]);
    bad("/process/scheduler", json!({ "policy": "SCHED_FIFO", "flags": ["X"] }), &["process.scheduler.flags[0]"]);
    bad("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), &["process.ioPriority.priority"]);
    bad("/process/ioPriority", json!({ "class": "X", "priority": 1 }), &["process.ioPriority.class"]);
    bad("/process/execCPUAffinity", json!({ "initial": "1-" }), &["process.execCPUAffinity.initial"]);
    bad("/process/execCPUAffinity", json!({ "final": "3-1" }), &["process.execCPUAffinity.final"]);
    bad("/linux/personality", json!({ "domain": "VMS" }), &["linux.personality.domain"]);
    bad("/linux/memoryPolicy", json!({ "mode": "MPOL_X", "nodes": "0" }), &["linux.memoryPolicy.mode"]);
    bad("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "x" }), &["linux.memoryPolicy.nodes"]);
}

#[test]
fn apparmor_profile_without_apparmor() {
    if fs::exists("/sys/module/apparmor/parameters/enabled").unwrap_or(false) {
        runtime_tests::skip!("AppArmor is there");
    }
    bad("/process/apparmorProfile", json!("a-profile"), &["process.apparmorProfile", "apparmor is not enabled"]);
    // Empty and "unconfined" ask for nothing.
    let mut c = Case::new();
    c.set("/process/apparmorProfile", "").set("/process/selinuxLabel", "");
    c.run().ok();
    c.set("/process/apparmorProfile", "unconfined");
    c.run().ok();
}

#[test]
fn mounts() {
    bad("/mounts/0/destination", json!(""), &["mounts[0].destination"]);
    bad("/mounts/1/destination", json!("/x\u{0}y"), &["mounts[1].destination"]);
    bad("/mounts/2/options", json!(["ro", "x\u{0}"]), &["mounts[2].options[1]"]);
    bad("/mounts/3/options", json!("ro"), &["mounts[3].options"]);
    let mut c = Case::new();
    c.mount("/m", "tmpfs", "tmpfs", &["tmpcopyup"]).mount("/n", "proc", "proc", &["tmpcopyup"]);
    refused(&c, &["mounts[7]", "tmpcopyup"]);
    let mut c = Case::new();
    c.mount("/m", "bind", "", &["bind"]);
    refused(&c, &["mounts[6].source"]);
}

#[test]
fn hooks() {
    bad("/hooks", json!({ "poststop": [{ "path": "relative" }] }), &["hooks.poststop[0].path"]);
    bad("/hooks", json!({ "prestart": [{ "path": "/bin/true" }, { "path": "" }] }), &["hooks.prestart[1].path"]);
    bad("/hooks", json!({ "poststart": [{ "path": "/bin/true", "timeout": 0 }] }), &["hooks.poststart[0].timeout"]);
    bad("/hooks", json!({ "poststart": [{ "path": "/bin/true", "timeout": -3 }] }), &["hooks.poststart[0].timeout"]);
    bad("/hooks", json!({ "createRuntime": {} }), &["hooks.createRuntime"]);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let (relative, never) = (json!({ "path": "bin/true" }), json!({ "path": "/bin/true", "timeout": 0 }));
        bad(
            "/hooks",
            json!({ kind: [relative, never] }),
            &[&format!("hooks.{kind}[0].path"), &format!("hooks.{kind}[1].timeout")],
        );
    }
}

#[track_caller]
fn push(value: Value, texts: &[&str]) {
    let mut c = Case::new();
    c.push("/linux/namespaces", value);
    refused(&c, texts);
}

#[test]
fn namespaces() {
    push(json!({ "type": "uts" }), &["linux.namespaces[6]", "uts"]);
    push(json!({ "type": "galaxy" }), &["linux.namespaces[6].type", "galaxy"]);
    push(json!({}), &["linux.namespaces[6]"]);
    push(json!({ "type": "time", "path": "relative" }), &["linux.namespaces[6].path"]);
}

#[test]
fn net_devices() {
    let at = "/linux/netDevices";
    bad(at, json!({ "eth7": { "name": "a/b" } }), &["linux.netDevices[\"eth7\"].name", "\"a/b\"", "a slash"]);
    bad(at, json!({ "eth7": { "name": "" } }), &["linux.netDevices[\"eth7\"].name", "it is empty"]);
    bad(at, json!({ "eth7": { "name": "abcdefghijklmnop" } }), &["linux.netDevices[\"eth7\"].name", "15 bytes"]);
    bad(at, json!({ "..": {} }), &["linux.netDevices[\"..\"]", "not the name of a network device"]);
    bad(at, json!({ "a": { "name": "c" }, "b": { "name": "c" } }), &["linux.netDevices[\"b\"].name", "\"a\""]);
    bad(at, json!([]), &["linux.netDevices", "invalid type"]);
}

#[test]
fn linux_fields() {
    bad("/linux/rootfsPropagation", json!("everywhere"), &["linux.rootfsPropagation"]);
    bad("/linux/maskedPaths", json!(["relative"]), &["linux.maskedPaths[0]"]);
    bad("/linux/maskedPaths", json!(["/a", "/\u{0}"]), &["linux.maskedPaths[1]"]);
    bad("/linux/readonlyPaths", json!(["/ok", "relative"]), &["linux.readonlyPaths[1]"]);
    bad(
        "/linux/devices",
        json!([{ "path": "/dev/x", "type": "q", "major": 1, "minor": 1 }]),
        &["linux.devices[0].type"],
    );
    bad("/linux/devices", json!([{ "path": "rel", "type": "c", "major": 1, "minor": 1 }]), &["linux.devices[0].path"]);
    bad(
        "/linux/devices",
        json!([{ "path": "/dev/x", "type": "c", "major": -1, "minor": 1 }]),
        &["linux.devices[0].major"],
    );
    bad("/linux/sysctl", json!({ "": "1" }), &["linux.sysctl"]);
    bad("/linux/sysctl", json!({ "net/../kernel/panic": "1" }), &["linux.sysctl"]);
    bad("/linux/timeOffsets", json!({ "realtime": { "secs": 1 } }), &["linux.timeOffsets"]);
    bad("/annotations", json!({ "": "x" }), &["annotations"]);
    bad("/annotations", json!({ "a": 1 }), &["annotations"]);
    bad("/hostname", json!("x".repeat(65)), &["hostname"]);
}

#[track_caller]
fn device(value: Value, texts: &[&str]) {
    bad("/linux/resources/devices", json!([value]), texts);
}

#[test]
fn resources() {
    device(json!({ "allow": true, "type": "z", "access": "r" }), &["linux.resources.devices[0].type"]);
    device(json!({ "allow": true, "access": "rx" }), &["linux.resources.devices[0].access"]);
    bad("/linux/resources/memory", json!({ "limit": -5 }), &["linux.resources.memory.limit"]);
    bad("/linux/resources/memory", json!({ "limit": 100_000, "swap": 50_000 }), &["linux.resources.memory.swap"]);
    bad("/linux/resources/memory", json!({ "swap": 50_000 }), &["linux.resources.memory.swap"]);
    bad("/linux/resources/cpu", json!({ "realtimeRuntime": 5 }), &["linux.resources.cpu.realtimeRuntime"]);
    bad("/linux/resources/cpu", json!({ "cpus": "x" }), &["linux.resources.cpu"]);
}

#[test]
fn all_faults_at_once() {
    let mut c = Case::new();
    c.set("/process/cwd", "relative").set("/process/args", json!([]));
    c.set("/mounts/3/destination", "").set("/linux/rootfsPropagation", "x");
    c.set("/hooks", json!({ "poststop": [{ "path": "rel" }] }));
    refused(
        &c,
        &["process.cwd", "process.args", "mounts[3].destination", "linux.rootfsPropagation", "hooks.poststop[0].path"],
    );
    let out = c.create();
    assert_eq!(out.stderr.trim_end().lines().count(), 1, "still one line: {}", out.stderr);
}

#[test]
fn not_a_config() {
    let c = Case::new();
    let all: [&[u8]; 9] = [
        b"",
        b"no JSON",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"{\"ociVersion\": \"1.0.2\"",
        b"\xff\xfe{}",
        b"{\"ociVersion\":\"1.0.2\",\"ociVersion\":",
    ];
    for text in all {
        fs::write(c.bundle.join("config.json"), text).unwrap();
        let out = c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).go().exits(1);
        assert!(!out.stderr.is_empty() && !out.stderr.contains("panicked"), "{text:?}: {}", out.stderr);
        c.assert_nothing_left();
    }
    // Deeper than any stack.
    fs::write(c.bundle.join("config.json"), "[".repeat(100_000)).unwrap();
    c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).go().exits(1);
    fs::remove_file(c.bundle.join("config.json")).unwrap();
    fs::create_dir(c.bundle.join("config.json")).unwrap();
    c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).go().fails_with(&["config.json", "is a directory"]);
    c.assert_nothing_left();
}

#[test]
fn position_of_a_syntax_error() {
    let c = Case::new();
    fs::write(c.bundle.join("config.json"), "{\n  \"ociVersion\": \"1.0.2\",\n  oops\n}").unwrap();
    let out = c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).go();
    out.fails_with(&["config.json", "line 3"]);
}

#[test]
fn wrong_types_everywhere() {
    // Whatever member becomes a number or a string: an error or accepted, never a panic, never a leftover.
    let c = Case::new();
    let pointers = members(&c.config, "");
    for pointer in pointers {
        for value in [json!(-1), json!("x"), json!([[]]), json!({ "x": null })] {
            let mut config = c.config.clone();
            *config.pointer_mut(&pointer).unwrap() = value.clone();
            fs::write(c.bundle.join("config.json"), config.to_string()).unwrap();
            let out = c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).go();
            assert!([0, 1].contains(&out.code()), "{pointer} = {value}: {} {}", out.code(), out.stderr);
            assert!(!out.stderr.contains("panicked"), "{pointer} = {value}: {}", out.stderr);
            if out.code() == 0 {
                c.delete();
            }
        }
    }
    c.assert_nothing_left();
}

/// The pointers of the first three levels; arrays by their first element.
fn members(value: &Value, at: &str) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (format!("{at}/{k}"), v)).collect(),
        Value::Array(list) => list.iter().take(1).map(|v| (format!("{at}/0"), v)).collect(),
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (pointer, child) in children {
        all.push(pointer.clone());
        if at.matches('/').count() < 2 {
            all.extend(members(child, &pointer));
        }
    }
    all
}

#[test]
fn unknown_properties_are_ignored() {
    let mut c = Case::new();
    c.set("/unknown", json!({ "x": [1] })).set("/process/unknown", 1).set("/linux/unknown", "x");
    c.set("/annotations", json!({ "odd": "value" }));
    c.run().ok();
}

#[test]
fn command_line() {
    let c = Case::new();
    c.write();
    let cases: [&[&str]; 9] = [
        &[],
        &["no-such-command"],
        &["create", "--no-such-flag", "x"],
        &["state", "x", "y"],
        &["kill"],
        &["exec", &c.id],
        &["--log-format", "xml", "list"],
        &["--cgroup-manager", "x", "list"],
        &["list", "--format", "xml"],
    ];
    for args in cases {
        let out = c.orlop(args).go();
        assert_ne!(out.code(), 0, "{args:?}");
        assert!(!out.stderr.is_empty() && !out.stderr.contains("panicked"), "{args:?}: {}", out.stderr);
    }
    // podman's probe for restore.
    let out = c.bare().args(["restore", "--lsm-mount-context"]).go();
    assert!(
        out.stderr.contains("flag needs an argument") || out.stderr.contains("requires an argument"),
        "{}",
        out.stderr
    );
}

#[test]
fn numbers_on_the_command_line() {
    let c = Case::started();
    for user in ["", "abc", "-1", " 0", "0 ", ":5", "1000:", "4294967296", "1:2:3", "0x10", "+1"] {
        c.exec(&["--user", user], &["/bin/true"]).go().exits(255);
    }
    for signal in ["", "0x9", "65", "-9", "TERMX", "SIGSIG", "999999999999"] {
        c.kill(signal).exits(1);
    }
    assert_eq!(c.status(), "running");
    c.delete();
}
