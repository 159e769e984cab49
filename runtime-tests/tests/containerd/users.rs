//! Pods with a user namespace of their own.

use std::fs;
use std::os::unix::fs::MetadataExt;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{Case, json, require, sys};

use super::node::{POD, Pod, PodConfig, turn};

/// The host's first id of the pods'.
const FIRST: u32 = 1_000_000;

fn mapping() -> serde_json::Value {
    json!([{ "host_id": FIRST, "container_id": 0, "length": 65_536 }])
}

fn pod(c: &Case) -> PodConfig<'_> {
    let mapped = json!({ "mode": POD, "uids": mapping(), "gids": mapping() });
    PodConfig::new(c, Manager::Cgroupfs).namespace("userns_options", mapped)
}

/// The user of a process, as the host sees it.
fn user(pid: i32) -> u32 {
    fs::metadata(format!("/proc/{pid}")).expect("a process").uid()
}

fn namespace(pid: i32, kind: &str) -> std::path::PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace")
}

#[test]
fn its_root_is_nobody_on_the_node() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let sysctls = json!({ "kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "30000\t30100" });
    let pod = pod(&c).set("/linux/sysctls", sysctls).run();
    let one = pod.container("one").start();
    let two = pod.container("two").security("run_as_user", json!({ "value": 1000 })).start();
    assert_eq!(
        one.sh("id -u; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '"),
        "0\n 0 1000000 65536\n 0 1000000 65536"
    );
    assert_eq!([user(one.pid()), user(two.pid())], [FIRST, FIRST + 1000]);
    for kind in ["user", "net", "ipc", "uts"] {
        assert_eq!(namespace(one.pid(), kind), namespace(two.pid(), kind), "{kind}");
        assert_ne!(namespace(one.pid(), kind), namespace(std::process::id() as i32, kind), "{kind}");
    }
    // The image is its own: not copied, and seen with its ids.
    assert_eq!(one.sh("stat -c %u:%g /bin/busybox /etc && touch /made && stat -c %u /made"), "0:0\n0:0\n0");
    let made = format!("/proc/{}/root/made", one.pid());
    assert_eq!(fs::metadata(&made).expect("the file").uid(), FIRST);
    assert_eq!(
        one.sh("cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range"),
        "1\n30000\t30100"
    );
    assert_eq!(
        one.sh("echo hello >/dev/shm/word && cat /dev/shm/word && ls /sys/class/net | sort | tr '\\n' ' '"),
        "hello\neth0 lo"
    );
    // What it may do to its own it may do; the node's is not its own.
    let net =
        pod.container("net").security("capabilities", json!({ "add_capabilities": ["NET_ADMIN", "SYS_TIME"] })).start();
    net.sh("ip addr add 192.0.2.1/32 dev lo && ip addr show lo | grep -q 192.0.2.1");
    let said = net.exec(&["sh", "-c", "date -s @1000000000"]);
    assert!(said.stderr.contains("Operation not permitted"), "{said:?}");
    pod.end();
}

#[test]
fn volumes_are_mapped_as_asked() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let volume = c.dir.join("volume");
    fs::create_dir(&volume).expect("a volume");
    for (name, id) in [("root", 0), ("user", 1000)] {
        fs::write(volume.join(name), name).expect("a file");
        sys::chown(volume.join(name), id, id);
    }
    let pod = pod(&c).run();
    let mut mapped = json!({ "container_path": "/mapped", "host_path": volume });
    let plain = json!({ "container_path": "/plain", "host_path": volume });
    mapped["uidMappings"] = mapping();
    mapped["gidMappings"] = mapping();
    let one = pod.container("one").mount(mapped).mount(plain).start();
    assert_eq!(one.sh("stat -c %u:%g /mapped/root /mapped/user"), "0:0\n1000:1000");
    assert_eq!(one.sh("stat -c %u:%g /plain/root /plain/user"), "65534:65534\n65534:65534");
    one.sh("echo new >/mapped/new; chown 5:6 /mapped/new");
    let new = fs::metadata(volume.join("new")).expect("the file");
    assert_eq!((new.uid(), new.gid()), (5, 6));
    assert_ne!(one.exec(&["touch", "/plain/other"]).code, 0);
    one.end();
    pod.end();
}

/// Its processes' PID namespace is theirs together, and so owned by their users' namespace.
#[test]
fn pid_namespaces_are_shared_there_as_well() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod: Pod = pod(&c).namespace("pid", POD).run();
    let one = pod.container("one").sh("exec sleep 1001").start();
    let two = pod.container("two").start();
    assert_eq!(namespace(one.pid(), "pid"), namespace(two.pid(), "pid"));
    let script =
        "for p in /proc/[0-9]*; do grep -q 'sleep.1001' $p/cmdline && kill -0 ${p#/proc/} && echo seen; done; true";
    assert!(two.sh(script).contains("seen"));
    one.end();
    assert_eq!(two.sh("echo lives"), "lives");
    two.end();
    pod.end();
}
