//! `features`: what the document may say, and that all it says is so.

use std::fs;
use std::os::unix::net::UnixListener;

use runtime_tests::{Case, Value, json, paths};

/// The members that runtime-spec 1.3.0 defines (features.md, features-linux.md).
const MEMBERS: [&str; 28] = [
    "/annotations",
    "/hooks",
    "/linux/apparmor/enabled",
    "/linux/capabilities",
    "/linux/cgroup/rdma",
    "/linux/cgroup/systemd",
    "/linux/cgroup/systemdUser",
    "/linux/cgroup/v1",
    "/linux/cgroup/v2",
    "/linux/intelRdt/enabled",
    "/linux/intelRdt/monitoring",
    "/linux/intelRdt/schemata",
    "/linux/memoryPolicy/flags",
    "/linux/memoryPolicy/modes",
    "/linux/mountExtensions/idmap/enabled",
    "/linux/namespaces",
    "/linux/netDevices/enabled",
    "/linux/seccomp/actions",
    "/linux/seccomp/archs",
    "/linux/seccomp/enabled",
    "/linux/seccomp/knownFlags",
    "/linux/seccomp/operators",
    "/linux/seccomp/supportedFlags",
    "/linux/selinux/enabled",
    "/mountOptions",
    "/ociVersionMax",
    "/ociVersionMin",
    "/potentiallyUnsafeConfigAnnotations",
];

/// The mount options that a runtime must implement, and those that it should
/// (config.md, "Linux mount options").
const MUST: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev \
    nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro \
    rprivate rshared rslave runbindable rw shared silent slave strictatime suid sync unbindable";
const SHOULD: &str = "nosymfollow ratime rdev rdiratime rexec rnoatime rnodiratime rnoexec rnorelatime \
    rnostrictatime rnosuid rnosymfollow rrelatime rro rrw rstrictatime rsuid rsymfollow symfollow idmap ridmap";

fn features() -> Value {
    Case::new().bare().arg("features").go().ok().json()
}

fn strings(document: &Value, pointer: &str) -> Vec<String> {
    let list = document.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("{pointer}"));
    list.iter().map(|v| v.as_str().expect("a string").to_owned()).collect()
}

/// Where the members are that are no objects.
fn members(value: &Value, at: &str, found: &mut Vec<String>) {
    match value.as_object() {
        Some(map) if at != "/annotations" => map.iter().for_each(|(key, v)| members(v, &format!("{at}/{key}"), found)),
        _ => found.push(at.to_owned()),
    }
}

#[test]
fn has_the_members_that_are_defined_and_no_null() {
    let f = features();
    let mut found = Vec::new();
    members(&f, "", &mut found);
    found.sort();
    assert_eq!(found, MEMBERS);
    assert!(!f.to_string().contains("null"), "{f}");
    assert!(f["annotations"].as_object().unwrap().iter().all(|(key, value)| !key.is_empty() && value.is_string()));
    let version = |end: &str| -> Vec<u32> { f[end].as_str().unwrap().split('.').map(|n| n.parse().unwrap()).collect() };
    assert!(version("ociVersionMax") >= version("ociVersionMin"));
}

/// It is what was compiled, not what this host can do: without /proc, /sys and
/// an environment it is the same. But for criu, which is a program of the host's.
#[test]
fn is_the_same_everywhere() {
    let c = Case::new();
    fs::copy(paths::orlop(), c.rootfs("orlop")).unwrap();
    let there = c.program("/usr/sbin/chroot").with(|command| {
        command.env_clear();
    });
    let (mut there, mut here) = (there.arg(c.rootfs("")).args(["/orlop", "features"]).go().ok().json(), features());
    const CRIU: &str = "org.orlop.checkpoint.enabled";
    assert_eq!(there["annotations"][CRIU].take(), "false");
    here["annotations"][CRIU].take();
    assert_eq!(there, here);
}

#[test]
fn mount_options_are_those_of_the_specification() {
    let known = strings(&features(), "/mountOptions");
    for option in MUST.split_whitespace().chain(SHOULD.split_whitespace()) {
        assert!(known.iter().any(|k| k == option), "{option}");
    }
    for option in ["size", "mode", "uid", "gid", "nr_inodes", "lowerdir", "context", "newinstance", "ptmxmode"] {
        assert!(!known.iter().any(|k| k == option), "{option} is a filesystem's");
    }
}

/// Also for what is not known tmpfs has an answer: "invalid argument".
#[test]
fn mount_options_are_accepted() {
    let mut c = Case::new();
    let source = c.canary().to_string_lossy().into_owned();
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 10 }]);
    for option in strings(&features(), "/mountOptions") {
        let at = format!("/m/{option}");
        match option.as_str() {
            "bind" | "rbind" => _ = c.mount(&at, "none", &source, &[&option]),
            "remount" => _ = c.mount(&at, "tmpfs", "tmpfs", &[]).mount(&at, "", "", &[&option]),
            "idmap" | "ridmap" => {
                let mut mount = runtime_tests::bundle::mount(&at, "bind", &source, &["bind", &option]);
                mount["uidMappings"] = map.clone();
                mount["gidMappings"] = map.clone();
                c.push("/mounts", mount);
            }
            _ => _ = c.mount(&at, "tmpfs", "tmpfs", &[&option]),
        }
    }
    c.run().ok();
}

#[test]
fn hooks_and_capabilities_are_accepted() {
    let (f, mut c) = (features(), Case::new());
    for kind in strings(&f, "/hooks") {
        c.push(&format!("/hooks/{kind}"), json!({ "path": "/bin/true" }));
    }
    let caps = strings(&f, "/linux/capabilities");
    c.caps(&caps.iter().map(String::as_str).collect::<Vec<_>>()).write();
    let run = c.orlop(&["--log-level", "warning", "run", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    assert!(!run.stderr.contains("unknown capability"), "{}", run.stderr);
}

#[test]
fn namespaces_are_accepted() {
    let mut c = Case::new();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let all: Vec<Value> = strings(&features(), "/linux/namespaces").iter().map(|n| json!({ "type": n })).collect();
    assert_eq!(all.len(), 8, "{all:?}");
    c.set("/linux/namespaces", all).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    c.run().ok();
}

#[test]
fn words_of_seccomp_are_accepted() {
    let (f, mut c) = (features(), Case::new());
    let agent = c.dir.join("agent");
    let _listening = UnixListener::bind(&agent).unwrap();
    let condition = |op: &str| json!([{ "index": 5, "value": 4711, "valueTwo": 4711, "op": op }]);
    let actions = strings(&f, "/linux/seccomp/actions");
    let by_action = actions
        .iter()
        .map(|action| json!({ "names": ["getppid"], "action": action, "args": condition("SCMP_CMP_EQ") }));
    let operators = strings(&f, "/linux/seccomp/operators");
    let by_operator =
        operators.iter().map(|op| json!({ "names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "args": condition(op) }));
    let (known, supported) = (strings(&f, "/linux/seccomp/knownFlags"), strings(&f, "/linux/seccomp/supportedFlags"));
    assert!(supported.iter().all(|flag| known.contains(flag)));
    c.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent, "flags": known,
            "architectures": strings(&f, "/linux/seccomp/archs"),
            "syscalls": by_action.chain(by_operator).collect::<Vec<_>>(),
        }),
    );
    c.create().ok();
    c.delete();
}

#[test]
fn memory_policies_are_accepted() {
    let f = features();
    let flags = strings(&f, "/linux/memoryPolicy/flags");
    for mode in strings(&f, "/linux/memoryPolicy/modes") {
        let mut c = Case::new();
        let nodes = if matches!(mode.as_str(), "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
        c.set("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes }));
        c.create().ok();
        c.delete();
    }
    for flag in flags {
        let mut c = Case::new();
        c.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] }));
        c.create().ok();
        c.delete();
    }
}
