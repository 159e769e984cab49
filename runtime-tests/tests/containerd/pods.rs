//! What the containers of a pod share: network, sysctls, PID namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use runtime_tests::command::wait_for;
use runtime_tests::engines::{Manager, offered, program};
use runtime_tests::{Case, json, leaks, require};

use super::node::{CONTAINER, Container, NETWORK, NODE, POD, PodConfig, TARGET, turn};

/// A namespace of a process, of a kind.
fn namespace(pid: &str, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    link.to_string_lossy().into_owned()
}

fn of(container: &Container, kind: &str) -> String {
    namespace(&container.pid().to_string(), kind)
}

/// The interfaces and namespaces of networks that there are here.
fn network(c: &Case) -> (String, usize) {
    let links = program(c, "ip").args(["-o", "link", "show", "type", "veth"]).go().ok().stdout;
    (links, fs::read_dir("/var/run/netns").map_or(0, Iterator::count))
}

#[test]
fn containers_of_a_pod_share_its_network() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let before = network(&c);
    let sysctls = json!({
        "net.ipv4.ip_local_port_range": "30000\t30100", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "77",
    });
    let dns = json!({ "servers": ["10.1.2.3"], "searches": ["cluster.test"] });
    let pod = PodConfig::new(&c, Manager::Cgroupfs).set("/linux/sysctls", sysctls).set("/dns_config", dns).run();
    let ip = pod.status()["network"]["ip"].as_str().expect("an address").to_owned();
    assert!(ip.starts_with(NETWORK), "{ip}");

    let server = pod.container("server").command(&["httpd", "-f", "-p", "80", "-h", "/tmp"]).start();
    assert_eq!(server.sh("hostname"), "a-pod");
    assert!(server.sh("ip -4 addr show eth0").contains(&format!("inet {ip}/24")));
    assert_eq!(server.sh("cat /etc/resolv.conf"), "search cluster.test\nnameserver 10.1.2.3");
    let files =
        "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max";
    assert_eq!(server.sh(files), "30000\t30100\n1\n77");
    server.sh("echo page >/tmp/page; echo shared >/dev/shm/word");

    // By its own address from outside, by 127.0.0.1 from another container.
    let page = wait_for("the page", || page(&ip));
    assert!(page.ends_with("\r\n\r\npage\n"), "{page}");
    let other = pod.container("other").start();
    assert_eq!(other.sh("wget -qO- http://127.0.0.1/page"), "page");
    assert_eq!(other.sh("cat /dev/shm/word"), "shared");
    assert_eq!(other.sh("ls /tmp"), "");
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(of(&server, kind), of(&other, kind), "{kind}");
        assert_ne!(of(&server, kind), namespace("self", kind), "{kind}");
    }
    for kind in ["mnt", "pid", "cgroup"] {
        assert_ne!(of(&server, kind), of(&other, kind), "{kind}");
        assert_ne!(of(&server, kind), namespace("self", kind), "{kind}");
    }
    // One may go, and the other does not mind.
    server.end();
    assert_eq!(other.sh("wget -qO- http://127.0.0.1/page 2>&1 || echo none").lines().last(), Some("none"));
    pod.end();
    assert_eq!(network(&c), before, "interfaces, namespaces");
}

fn page(ip: &str) -> Option<String> {
    let mut stream = TcpStream::connect((ip, 80)).ok()?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn a_pod_may_have_the_nodes_namespaces() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().namespace("pid", NODE).namespace("ipc", NODE).run();
    assert_eq!(pod.status()["network"]["ip"], "");
    let one = pod.container("one").sh("sleep 1001 & sleep 1002 & echo ready; exec sleep 1003").start();
    one.wait_log("ready");
    for kind in ["net", "uts", "pid", "ipc"] {
        assert_eq!(of(&one, kind), namespace("self", kind), "{kind}");
    }
    assert_eq!(one.sh("readlink /proc/1/exe; cat /proc/1/comm").lines().last(), Some("systemd"));
    // It is in nobody's PID namespace that would end with it: the runtime has to find all of it.
    assert_eq!(leaks::processes(&c.id).len(), 3);
    one.ask("StopContainer", json!({ "timeout": 0 }));
    wait_for("the end of them all", || leaks::processes(&c.id).is_empty().then_some(()));
    pod.end();
}

#[test]
fn containers_may_share_a_pid_namespace() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().namespace("pid", POD).run();
    let one = pod.container("one").sh("sleep 1001 & echo ready; exec sleep 1002").start();
    let two = pod.container("two").start();
    one.wait_log("ready");
    assert_eq!(of(&one, "pid"), of(&two, "pid"));
    // The pod's own process, three of the containers'.
    let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done";
    let all = ["/bin/sleep 2147483647 ", "sleep 1000 ", "sleep 1001 ", "sleep 1002 "];
    wait_for("all of them", || {
        let seen = two.sh(script);
        all.iter().all(|line| seen.lines().any(|l| l == *line)).then_some(())
    });
    assert_eq!(two.sh("tr '\\0' ' ' </proc/1/cmdline"), "/bin/sleep 2147483647");
    // All of the one that is stopped, none of the other.
    one.ask("StopContainer", json!({ "timeout": 0 }));
    wait_for("the end of its child", || (leaks::processes(&c.id).len() == 1).then_some(()));
    assert_eq!(two.sh("echo lives"), "lives");
    two.end();
    pod.end();
}

/// As a debugging container has it.
#[test]
fn a_container_may_join_anothers_pid_namespace() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let one = pod.container("one").sh("echo secret >/tmp/file; exec sleep 1001").start();
    let two = pod.container("two").start();
    let target = json!({ "network": NODE, "pid": TARGET, "target_id": one.id });
    let look = pod.container("look").security("namespace_options", target).start();
    assert_eq!(of(&look, "pid"), of(&one, "pid"));
    assert_ne!(of(&two, "pid"), of(&one, "pid"));
    assert_eq!(pod.status()["linux"]["namespaces"]["options"]["pid"], CONTAINER);
    assert_eq!(look.sh("tr '\\0' ' ' </proc/1/cmdline"), "sleep 1001");
    // They have the same rights, so the one sees the other's files.
    assert_eq!(look.sh("cat /proc/1/root/tmp/file 2>&1 || true"), "secret");
    one.end();
    // Its namespace is gone, and what had joined it.
    assert_eq!(look.wait()["exit_code"], 137);
    assert!(Path::new(&format!("/proc/{}", two.pid())).exists());
    pod.end();
}
