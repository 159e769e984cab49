//! Tests of `mounts`.

use serde_json::{Value, json};

use super::*;

fn run(mounts: Value, label: Option<&str>) -> (Vec<Mount>, String) {
    let mounts: Vec<SpecMount> = serde_json::from_value(mounts).unwrap();
    let mut faults = Faults::default();
    let ids = crate::spec::plan::IdMaps::default();
    let cx = Context::new(Path::new("/b"), label, &BTreeMap::new(), (&ids, false), &mut faults);
    let resolved = resolve(&mounts, &cx, &mut faults);
    (resolved, faults.into_error("x").map(|e| e.to_string()).unwrap_or_default())
}

fn good(mount: Value) -> Mount {
    let (mut mounts, faults) = run(json!([mount]), None);
    assert_eq!(faults, "");
    mounts.pop().unwrap()
}

fn fault(mount: Value) -> String {
    run(json!([mount]), None).1
}

fn data(kind: &MountKind) -> Vec<String> {
    let MountKind::Fs { data, .. } = kind else { panic!("{kind:?}") };
    let text = |c: &CString| c.to_str().unwrap().to_owned();
    data.iter().map(|(k, v)| v.as_ref().map_or(text(k), |v| format!("{}={}", text(k), text(v)))).collect()
}

fn flags(kind: &MountKind) -> Vec<&str> {
    let MountKind::Fs { flags, .. } = kind else { panic!("{kind:?}") };
    flags.iter().map(|f| f.to_str().unwrap()).collect()
}

#[test]
fn binds() {
    let m = good(json!({"destination": "data", "source": "vol", "type": "bind", "options": ["ro", "rprivate", "x=y"]}));
    assert_eq!(m.destination, "/data");
    assert!(matches!(&m.kind, MountKind::Bind { source, recursive: false } if source == Path::new("/b/vol")));
    assert_eq!(m.attr, MountAttr { set: libc::MOUNT_ATTR_RDONLY, clear: 0 });
    assert_eq!(m.propagation, [Propagation { kind: libc::MS_PRIVATE, recursive: true }]);
    let m = good(json!({"destination": "/d", "source": "/s", "type": "tmpfs", "options": ["rbind", "rro"]}));
    assert!(matches!(&m.kind, MountKind::Bind { source, recursive: true } if source == Path::new("/s")));
    assert_eq!(m.recursive_attr.set, libc::MOUNT_ATTR_RDONLY);
    assert!(m.attr.is_empty());
}

#[test]
fn filesystems() {
    let m = good(json!({"destination": "/d", "source": "s", "type": "tmpfs",
        "options": ["nosuid", "size=1k,mode=755", "sync", "async", "ro", "acl", "tmpcopyup"]}));
    assert_eq!(data(&m.kind), ["size=1k", "mode=755", "acl"]);
    assert_eq!(flags(&m.kind), ["async"]);
    assert!(m.tmpcopyup);
    let m = good(json!({"destination": "/d", "source": "/dev/sda", "type": "ext4", "options": ["ro", "data=ordered"]}));
    assert_eq!(flags(&m.kind), ["ro"]);
    let m = good(json!({"destination": "/d", "source": "/dev/sda", "type": "ext4", "options": ["ro", "rw"]}));
    assert_eq!(flags(&m.kind), [""; 0]);
    let m = good(json!({"destination": "/d", "type": "overlay", "options": ["lowerdir=/a\\,b:/c", "upperdir=/u"]}));
    assert_eq!(data(&m.kind), ["lowerdir=/a\\,b:/c", "upperdir=/u"]);
    let m = good(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}));
    assert!(matches!(m.kind, MountKind::Cgroup));
    let m = good(json!({"destination": "/x", "options": ["remount", "bind", "ro"]}));
    assert!(matches!(m.kind, MountKind::Remount));
}

#[test]
fn labels() {
    let list = json!([
        {"destination": "/dev", "type": "tmpfs"},
        {"destination": "/proc", "type": "proc"},
        {"destination": "/t", "type": "tmpfs", "options": ["context=\"u:r:t:s0:c1,c2\""]}]);
    let (mounts, faults) = run(list, Some("a:b:c:d"));
    assert_eq!(faults, "");
    let data: Vec<_> = mounts.iter().map(|m| data(&m.kind)).collect();
    assert_eq!(data, [vec!["context=a:b:c:d"], vec![], vec!["context=u:r:t:s0:c1,c2"]]);
}

#[test]
fn destinations() {
    for bad in ["/", "//.", "/a/.."] {
        let text = fault(json!({"destination": bad, "type": "mqueue"}));
        assert_eq!(text, "x: mounts[0].destination: only the first mount can be the root, and it must hold files");
    }
    for bad in ["/proc/sys", "/proc/1", "proc/self/attr", "/x/../proc//sys/./net"] {
        assert!(fault(json!({"destination": bad, "type": "tmpfs"})).contains("is inside /proc"), "{bad}");
        assert!(fault(json!({"destination": bad, "source": "/s", "type": "bind"})).contains("is inside /proc"));
    }
    good(json!({"destination": "/proc/meminfo", "source": "/s", "type": "bind"}));
    good(json!({"destination": "/proc/sys/kernel/ns_last_pid", "source": "/s", "type": "bind"}));
    good(json!({"destination": "/process", "type": "tmpfs"}));
    good(json!({"destination": "/proc", "type": "proc"}));
    good(json!({"destination": "/proc", "source": "/proc", "type": "bind", "options": ["rbind"]}));
    assert!(fault(json!({"destination": "/proc/", "type": "tmpfs"})).contains("mounts[0].type: only procfs"));
}

#[test]
fn faults() {
    for (mount, text) in [
        (json!({"destination": "/d", "type": "bind"}), "mounts[0].source: missing"),
        (json!({"destination": "/d"}), "mounts[0].type: missing"),
        (
            json!({"destination": "/d", "type": "ext4", "options": ["ro", "tmpcopyup"]}),
            "mounts[0].options[1]: tmpcopyup",
        ),
        (json!({"destination": "/d", "type": "tmpfs", "options": ["idmap"]}), "mounts[0].options[0]: only bind"),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["idmap=uids=0-1-2"]}),
            "mounts[0].options[0]: only bind",
        ),
        (json!({"destination": "/d", "type": "tmpfs", "options": ["a\0b"]}), "mounts[0].options[0]: contains a NUL"),
        (json!({"destination": "/d\0", "type": "tmpfs"}), "mounts[0].destination: contains a NUL"),
        (json!({"destination": "/d", "source": "/\0", "type": "bind"}), "mounts[0].source: contains a NUL"),
        (
            json!({"destination": "/d", "type": "tmpfs", "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
            "mounts[0].gidMappings: missing",
        ),
    ] {
        let found = fault(mount);
        assert!(found.starts_with(&format!("x: {text}")), "{found}");
    }
}
