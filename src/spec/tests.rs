//! Tests of whole configs.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::{IdMaps, NamespaceKind};
use super::*;

fn base() -> Value {
    template(None)
}

fn run(config: &Value) -> Result<Loaded> {
    resolve(&config.to_string(), Path::new("/b"))
}

/// The template with one place changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut config = base();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
    config
}

fn fault(config: &Value) -> String {
    run(config).unwrap_err().to_string()
}

#[test]
fn the_template_has_no_faults() {
    let loaded = run(&base()).unwrap();
    let plan = &loaded.plan;
    assert_eq!(plan.warnings, [""; 0]);
    assert_eq!((plan.rootfs.as_path(), plan.root_readonly), (Path::new("/b/rootfs"), true));
    assert_eq!((plan.mounts.len(), plan.devices.len(), plan.populate_dev), (7, 6, true));
    assert!(plan.namespaces.is_new(NamespaceKind::Cgroup) && !plan.namespaces.has(NamespaceKind::Time));
    let process = plan.process.as_ref().unwrap();
    let caps = process.capabilities.unwrap();
    assert_eq!((caps.bounding, caps.inheritable, caps.ambient), (1 << 29 | 1 << 5 | 1 << 10, 0, 0));
    assert_eq!(plan.cgroup.devices.as_ref().unwrap().len(), 1);
    let saved: Value = serde_json::from_str(&loaded.process_json.unwrap()).unwrap();
    assert_eq!(saved.get("args"), Some(&json!(["sh"])));
}

#[test]
fn the_template_of_a_user() {
    let config = template(Some((1000, 1001)));
    let plan = run(&config).unwrap().plan;
    assert_eq!(plan.warnings, [""; 0]);
    assert!(plan.namespaces.is_new(NamespaceKind::User) && !plan.namespaces.has(NamespaceKind::Network));
    assert_eq!(
        (IdMaps::text(&plan.ids.uid).as_str(), IdMaps::text(&plan.ids.gid).as_str()),
        ("0 1000 1\n", "0 1001 1\n")
    );
    assert!(plan.cgroup.settings.is_empty() && plan.cgroup.devices.is_none());
    // No group but the one there is.
    assert!(!config.to_string().contains("gid=5") && base().to_string().contains("gid=5"));
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let text = load(dir.path(), None).unwrap_err().to_string();
    let path = dir.path().join("config.json");
    assert_eq!(text, format!("cannot read config: {}: no such file or directory", path.display()));
    std::fs::write(&path, base().to_string()).unwrap();
    assert_eq!(load(dir.path(), None).unwrap().plan.bundle, dir.path());
    std::fs::write(dir.path().join("x"), "{\"a\": \n }}").unwrap();
    let text = load(dir.path(), Some(&dir.path().join("x"))).unwrap_err().to_string();
    assert!(text.starts_with(&format!("invalid config: {}/x: not valid JSON: ", dir.path().display())), "{text}");
}

#[test]
fn versions() {
    for good in ["1.0.0", "1.0.0-rc5", "1.0.2-dev", "1.2.1", "1.3.0", "1.3.0+dev", "1.3.9-x.1+y"] {
        assert!(run(&with("/ociVersion", good.into())).is_ok(), "{good}");
    }
    for bad in ["invalid", "", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-a..b", "1.0.0+", "v1.0.0", "+1.0.0"] {
        assert!(fault(&with("/ociVersion", bad.into())).starts_with("invalid config: ociVersion: "), "{bad}");
    }
    for unsupported in ["0.9.0", "1.4.0", "2.0.0"] {
        assert!(fault(&with("/ociVersion", unsupported.into())).contains("is not supported"), "{unsupported}");
    }
    let mut config = base();
    config.as_object_mut().unwrap().remove("ociVersion");
    assert_eq!(fault(&config), "invalid config: ociVersion: missing");
}

#[test]
fn a_small_config() {
    let plan = run(&json!({"ociVersion": "1.0.0", "root": {"path": "."}, "unknown": 1})).unwrap().plan;
    assert_eq!((plan.rootfs.as_path(), plan.namespaces.new), (Path::new("/b"), 0));
    assert!(plan.process.is_none() && plan.mounts.is_empty() && plan.masked_paths.is_empty());
    assert!(plan.cgroup.settings.is_empty() && plan.cgroup.devices.is_none());
    let plan = run(&json!({"ociVersion": "1.0.0", "root": {"path": "/r"}, "linux": {}})).unwrap().plan;
    assert_eq!(plan.rootfs, Path::new("/r"));
    assert_eq!(plan.namespaces.new, 0);
}

#[test]
fn all_faults_at_once() {
    let mut config = with("/process/args", json!([]));
    let edits = [
        ("/ociVersion", json!("invalid")),
        ("/root/path", json!(7)),
        ("/mounts/1/options", json!(["nosuid", 3, "ro", null])),
        ("/mounts/3/type", json!(false)),
        ("/mounts/4/options/2", json!("idmap")),
        ("/linux/namespaces/2/type", json!("warp")),
        ("/linux/namespaces/4", json!({"type": "pid"})),
        ("/process/capabilities/bounding", json!(["CAP_WARP"])),
        ("/process/rlimits/0/type", json!("RLIMIT_WARP")),
    ];
    for (pointer, value) in edits {
        *config.pointer_mut(pointer).unwrap() = value;
    }
    let text = fault(&config);
    for part in [
        "ociVersion: \"invalid\" is not a semantic version",
        "root.path: invalid type: integer `7`, expected path string",
        "mounts[1].options[1]: invalid type: integer `3`, expected a string",
        "mounts[1].options[3]: invalid type: null, expected a string",
        "mounts[3].type: invalid type: boolean `false`",
        "mounts[4].options[2]: only bind mounts can be id-mapped",
        "linux.namespaces[2].type: unknown variant `warp`",
        "linux.namespaces[4]: a second namespace of type \"pid\"",
        "process.rlimits[0].type: unknown variant `RLIMIT_WARP`",
        "process.args: must have at least one element",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
    // The rlimit and the namespace are not reported again for what they lack now.
    assert_eq!(text.matches("; ").count(), 9, "{text}");
    assert!(!text.contains('\n'));
}

#[test]
fn one_fault_each() {
    for (pointer, value, text) in [
        ("/root", Value::Null, "root: missing"),
        ("/root", json!({}), "root.path: missing"),
        ("/root/path", json!("a\0"), "root.path: contains a NUL byte"),
        ("/annotations", json!({"": "x"}), "annotations: has an empty key"),
        ("/annotations", json!({"a": 1}), "annotations.a: invalid type"),
        ("/hostname", json!("x".repeat(65)), "hostname: longer than 64"),
        ("/hostname", json!("x\0"), "hostname: contains a NUL"),
        ("/linux/namespaces", json!([]), "hostname: needs a uts namespace"),
        ("/linux/namespaces", json!([{"type": "uts"}, {"type": "user"}]), "linux.uidMappings: missing"),
        ("/linux/namespaces", json!([{"type": "uts", "path": "a"}]), "linux.namespaces[0].path: \"a\" is not absolute"),
        ("/linux/namespaces", json!([{"type": "uts"}, {}]), "linux.namespaces[1].type: missing"),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            "linux.uidMappings: needs a user namespace",
        ),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), "linux.timeOffsets: needs a new time namespace"),
        ("/linux/maskedPaths", json!(["/a", "b"]), "linux.maskedPaths[1]: \"b\" is not absolute"),
        ("/linux/readonlyPaths", json!(["/a\0"]), "linux.readonlyPaths[0]: contains a NUL"),
        ("/linux/sysctl", json!({"kernel.panic": "1"}), "linux.sysctl[\"kernel.panic\"]: belongs to no namespace"),
        ("/linux/rootfsPropagation", json!("ro"), "linux.rootfsPropagation: unknown propagation \"ro\""),
        ("/linux/personality", json!({"domain": "LINUX32", "flags": ["x"]}), "linux.personality.flags: no flag"),
        ("/linux/personality", json!({"domain": "BSD"}), "linux.personality.domain: unknown variant"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_X"}), "linux.memoryPolicy.mode: unknown variant"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND"}), "linux.memoryPolicy.nodes: must not be empty"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "linux.memoryPolicy.nodes: must be empty"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "x"}), "linux.memoryPolicy.nodes: \"x\" is not"),
        ("/linux/cgroupsPath", json!("a\0"), "linux.cgroupsPath: contains a NUL"),
        ("/linux/intelRdt", json!({"closID": ".."}), "linux.intelRdt.closID: \"..\" cannot be"),
        ("/linux/netDevices", json!({"eth0": {"name": "a/b"}}), "linux.netDevices[\"eth0\"].name: \"a/b\" is no name"),
        ("/linux/netDevices", json!({"eth 0": {}}), "linux.netDevices[\"eth 0\"]: not the name of a network device"),
        ("/linux/netDevices", json!({"eth0": {"name": 1}}), "linux.netDevices.eth0.name: invalid type"),
        ("/linux/seccomp", json!({"defaultAction": "X"}), "linux.seccomp.defaultAction: unknown variant"),
        (
            "/linux/devices",
            json!([{"path": "/d", "type": "x", "major": 1, "minor": 1}]),
            "linux.devices[0].type: unknown variant",
        ),
        ("/hooks", json!({"prestart": [{}]}), "hooks.prestart[0].path: missing"),
        ("/hooks", json!({"poststop": [{"path": "x"}]}), "hooks.poststop[0].path: \"x\" is not"),
        ("/mounts", json!([{}]), "mounts[0].destination: missing"),
        ("/mounts", json!({}), "mounts: invalid type: map"),
        ("/process/cwd", json!(3), "process.cwd: invalid type: integer"),
        ("/process", json!([]), "process: "),
    ] {
        let found = fault(&with(pointer, value));
        assert!(found.starts_with(&format!("invalid config: {text}")), "{found}\ninstead of\n{text}");
        if !text.ends_with(": missing") && pointer != "/process" {
            assert!(!found.contains("; "), "one fault: {found}");
        }
    }
}

#[test]
fn what_oci_spec_is_too_strict_about() {
    let plan = run(&with("/process/capabilities/bounding", json!(["CAP_WARP", "CAP_KILL"]))).unwrap().plan;
    assert_eq!(plan.warnings, ["process.capabilities.bounding: unknown capability \"CAP_WARP\" ignored"]);
    for profile in [json!({}), json!({"defaultAction": "", "syscalls": []}), json!({"architectures": []})] {
        assert!(run(&with("/linux/seccomp", profile)).is_ok());
    }
    let mut config = base();
    config.get_mut("process").unwrap().as_object_mut().unwrap().remove("user");
    assert_eq!(run(&config).unwrap().plan.process.unwrap().uid, 0);
    assert!(run(&with("/process/execCPUAffinity", json!({"initial": "", "final": "0, 2"}))).is_ok());
}

#[test]
fn unset_is_not_zero() {
    let limits =
        |pids: Value| run(&with("/linux/resources", json!({"pids": pids}))).unwrap().plan.cgroup.settings.len();
    assert_eq!([limits(json!({"limit": 0})), limits(json!({})), limits(json!({"limit": null}))], [1, 0, 0]);
    let plan = run(&with("/process/user", json!({"uid": null, "gid": 5, "additionalGids": null}))).unwrap().plan;
    let process = plan.process.unwrap();
    assert_eq!((process.uid, process.gid), (0, 5));
}

#[test]
fn monitoring_by_its_old_names() {
    for (rdt, wanted) in [
        (json!({"enableMonitoring": true}), true),
        (json!({"enableCMT": true}), true),
        (json!({"enableMBM": true, "enableMonitoring": false}), true),
        (json!({"enableCMT": false}), false),
        (json!({}), false),
    ] {
        let plan = run(&with("/linux/intelRdt", rdt.clone())).unwrap().plan;
        assert_eq!(plan.rdt.unwrap().monitoring, wanted, "{rdt}");
    }
    assert!(run(&base()).unwrap().plan.rdt.is_none());
}

#[test]
fn odds_and_ends() {
    let plan = run(&with("/annotations", json!({"run.oci.keep_original_groups": "1"}))).unwrap().plan;
    assert!(plan.process.unwrap().keep_groups);
    let dev = json!([{"destination": "dev/", "type": "bind", "source": "/dev", "options": ["rbind"]}]);
    assert!(!run(&with("/mounts", dev)).unwrap().plan.populate_dev);
    let plan = run(&with("/linux/personality", json!({"domain": "LINUX32"}))).unwrap().plan;
    assert_eq!(plan.personality, Some(8));
    let policy = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]});
    let policy = run(&with("/linux/memoryPolicy", policy)).unwrap().plan.memory_policy.unwrap();
    assert_eq!((policy.mode, policy.nodes), (3 | 1 << 15, vec![3]));
    let mut config = with("/linux/timeOffsets", json!({"monotonic": {"secs": -5, "nanosecs": 7}, "boottime": {}}));
    config.pointer_mut("/linux/namespaces").unwrap().as_array_mut().unwrap().push(json!({"type": "time"}));
    let offsets = run(&config).unwrap().plan.time_offsets;
    assert_eq!(
        offsets.iter().map(|o| (o.clock.as_str(), o.secs, o.nanos)).collect::<Vec<_>>(),
        [("boottime", 0, 0), ("monotonic", -5, 7)]
    );
    let joined = json!([{"type": "uts", "path": "/proc/1/ns/uts"}]);
    assert!(run(&with("/linux/namespaces", joined)).unwrap().plan.namespaces.is_joined(NamespaceKind::Uts));
}

#[test]
fn the_cgroups_owner() {
    let mount = |source: &str, destination: &str, options: &[&str]| json!([{ "destination": destination, "type": "cgroup", "source": source, "options": options }]);
    let namespace = |namespace: Value| json!([{ "type": "uts" }, namespace]);
    let own = namespace(json!({ "type": "cgroup" }));
    let joined = namespace(json!({ "type": "cgroup", "path": "/proc/1/ns/cgroup" }));
    let rw = mount("cgroup", "/sys/fs/cgroup", &["nosuid", "rw"]);
    let table = [
        (&rw, &own, Some(1000)),
        (&mount("cgroup", "//sys/fs/./cgroup/", &[]), &own, Some(1000)),
        (&rw, &joined, None),
        (&rw, &json!([{ "type": "uts" }]), None),
        (&mount("cgroup", "/sys/fs/cgroup", &["nosuid", "ro"]), &own, None),
        (&mount("cgroup", "/sys/fs/cgroup", &["rro"]), &own, None),
        (&mount("cgroup", "/cgroup", &[]), &own, None),
        (&mount("cgroup2", "/sys/fs/cgroup", &[]), &own, None),
        (&json!([]), &own, None),
    ];
    for (mounts, namespaces, owner) in table {
        let mut config = base();
        config["mounts"] = mounts.clone();
        config["linux"]["namespaces"] = namespaces.clone();
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        assert_eq!(run(&config).unwrap().plan.cgroup.owner, owner, "{mounts} {namespaces}");
        config.as_object_mut().unwrap().remove("process");
        assert_eq!(run(&config).unwrap().plan.cgroup.owner, owner.map(|_| 0), "{mounts} {namespaces}");
    }
}

#[test]
fn features_tell_the_truth() {
    let features = features(true);
    let strings = |pointer: &str| -> Vec<String> {
        features.pointer(pointer).unwrap().as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    for version in ["ociVersionMin", "ociVersionMax"] {
        assert!(run(&with("/ociVersion", features.get(version).unwrap().clone())).is_ok());
    }
    for option in strings("/mountOptions") {
        // Ids are shown by bind mounts only, and as some map has them.
        let (kind, map) = match option.as_str() {
            "idmap" | "ridmap" => ("bind", json!([{"containerID": 0, "hostID": 1, "size": 1}])),
            _ => ("tmpfs", json!([])),
        };
        let mount = json!([{"destination": "/d", "source": "s", "type": kind, "options": [option],
                            "uidMappings": map, "gidMappings": map}]);
        assert!(run(&with("/mounts", mount)).is_ok(), "{option}");
    }
    assert!(strings("/mountOptions").contains(&"rro".to_owned()));
    for kind in strings("/linux/namespaces") {
        let mut config = with("/linux/namespaces", json!([{"type": kind}, {"type": "uts"}]));
        if kind == "user" {
            let map = json!([{"containerID": 0, "hostID": 1, "size": 10}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }
        assert!(run(&config).is_ok() || kind == "uts", "{kind}");
    }
    for cap in strings("/linux/capabilities") {
        assert!(run(&with("/process/capabilities/bounding", json!([cap]))).unwrap().plan.warnings.is_empty());
    }
    for mode in strings("/linux/memoryPolicy/modes") {
        let nodes = if matches!(mode.as_str(), "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
        assert!(run(&with("/linux/memoryPolicy", json!({"mode": mode, "nodes": nodes}))).is_ok(), "{mode}");
    }
    for flag in strings("/linux/memoryPolicy/flags") {
        let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]});
        assert!(run(&with("/linux/memoryPolicy", policy)).is_ok(), "{flag}");
    }
    for kind in strings("/hooks") {
        assert!(run(&with("/hooks", json!({kind: [{"path": "/h"}]}))).is_ok());
    }
}

/// Every place in a document, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| places(v, &format!("{at}/{}", k.replace('/', "~1")), out)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| places(v, &format!("{at}/{i}"), out)),
        _ => {}
    }
}

/// A config with something in nearly every field.
fn rich() -> Value {
    let mut config = base();
    let extra = json!({
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}, "personality": {"domain": "LINUX"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-3"}, "timeOffsets": {"boottime": {"secs": 1}},
        "sysctl": {"net.ipv4.ip_forward": "1"}, "rootfsPropagation": "rslave", "cgroupsPath": "/a",
        "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 2}],
        "resources": {
            "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}],
            "memory": {"limit": 5, "swap": 9}, "cpu": {"shares": 5, "quota": 4, "period": 9, "cpus": "0-1"},
            "pids": {"limit": 4}, "unified": {"memory.high": "4"}, "rdma": {"m": {"hcaHandles": 3}},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 3}],
            "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 60}]},
        },
    });
    config.get_mut("linux").unwrap().as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let process = json!({
        "scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "flags": ["SCHED_FLAG_RECLAIM"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3}, "execCPUAffinity": {"initial": "0-1"},
        "consoleSize": {"height": 1, "width": 2}, "oomScoreAdj": 3,
    });
    config.get_mut("process").unwrap().as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
    let hooks = json!({"prestart": [{"path": "/h", "args": ["h"], "env": ["A=1"], "timeout": 4}]});
    config.as_object_mut().unwrap().insert("hooks".to_owned(), hooks);
    config
}

fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[/.,=\"\\\\\\[\\]a-z0-9:-]{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 1, "x", {}])),
        Just(json!({"": 1, "a": "b", "path": "x"})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_configs_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), junk()), 1..6)) {
        let mut config = rich();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&config, "", &mut all);
            if let Some(target) = config.pointer_mut(place.get(&all).as_str()) {
                *target = value;
            }
        }
        if let Err(e) = run(&config) {
            prop_assert!(!e.to_string().contains('\n'));
            prop_assert!(e.to_string().len() > "invalid config: ".len());
        }
    }

    #[test]
    fn mutated_text_never_panics(at in any::<prop::sample::Index>(), byte in any::<char>()) {
        let mut text: Vec<char> = rich().to_string().chars().collect();
        let at = at.index(text.len());
        text.splice(at..=at, [byte]);
        let text: String = text.into_iter().collect();
        let _ = resolve(&text, Path::new("/b"));
        let _ = load_process(&text, Some(&text));
    }
}
