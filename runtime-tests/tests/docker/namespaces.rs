//! Namespaces of the host's, of another container's, and of one's own.

use std::fs;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::require;

use super::walk::Walk;

fn hosts(name: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    link.to_str().unwrap().to_owned()
}

#[test]
fn processes_of_the_hosts() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let init = fs::read_to_string("/proc/1/comm").unwrap();
    let id = w.start(&["--pid=host"], "cat /proc/1/comm; readlink /proc/self/ns/pid; sleep 1234 & sleep 1234");
    w.wait_log(&id, &format!("{init}{}\n", hosts("pid")));
    assert!(w.exec(&id, "test -d /proc/$PPID && cat /proc/1/comm").ok().stdout.starts_with(init.trim()));
    // Without a namespace that dies with its first process, its others are killed one by one.
    let first = w.pid(&id);
    w.docker(&["stop", "--time=0", &id]).go().ok();
    assert!(!fs::exists(format!("/proc/{first}")).unwrap());
    let left = w.c.program("pgrep").args(["-f", "^sleep 1234$"]).go();
    assert_eq!(left.text(), "", "still there");
}

#[test]
fn processes_of_another_container() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&[], "exec sleep 1000");
    let flag = format!("--pid=container:{id}");
    let seen = w.says(&[&flag], "tr '\\0' ' ' </proc/1/cmdline; echo; cat /proc/1/cgroup >/dev/null && echo $$");
    let (first, own) = seen.split_once('\n').unwrap();
    assert_eq!(first, "sleep 1000 ");
    assert_ne!(own, "1");
    // Its end is not the other's.
    assert_eq!(w.inspect(&id, "{{.State.Running}}"), "true");
    w.run(&[&flag, "--cap-add=KILL"], "kill -KILL 1; kill -TERM 1; true").go().ok();
    // The end of its first process is that of all.
    let second = w.start(&[&flag], "echo ready; sleep 1000");
    w.wait_log(&second, "ready");
    w.docker(&["kill", &id]).go().ok();
    assert_eq!(w.wait(&second), 137);
}

#[test]
fn memory_shared_between_containers() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id = w.start(&["--ipc=shareable"], "echo shared >/dev/shm/x; readlink /proc/self/ns/ipc; sleep 1000");
    w.wait_log(&id, "ipc:");
    let (own, flag) = (w.logs(&id), format!("--ipc=container:{id}"));
    let other = w.says(&[&flag], "cat /dev/shm/x; readlink /proc/self/ns/ipc");
    assert_eq!(other, format!("shared\n{}", own.trim_end()));
    assert_eq!(w.says(&["--ipc=host"], "readlink /proc/self/ns/ipc"), hosts("ipc"));
    assert_ne!(w.says(&["--ipc=private"], "readlink /proc/self/ns/ipc"), hosts("ipc"));
    w.run(&["--ipc=none"], "grep ' /dev/shm ' /proc/self/mounts").go().exits(1);
    let private = w.start(&["--ipc=private"], "sleep 1000");
    w.run(&[&format!("--ipc=container:{private}")], "true").go().exits(125);
}

#[test]
fn networks_of_the_host_and_of_another_container() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let out = w.says(&["--network=host"], "readlink /proc/self/ns/net; ls -d /sys/class/net/docker0; hostname");
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(out, format!("{}\n/sys/class/net/docker0\n{}", hosts("net"), name.trim_end()));
    let id = w.start(&[], "nc -l -p 5000 -e echo to localhost; sleep 1000");
    let flag = format!("--network=container:{id}");
    let out = w.says(&[&flag], "until nc 127.0.0.1 5000 </dev/null; do sleep 0.1; done; hostname");
    assert_eq!(out, format!("to localhost\n{}", &id[..12]));
    assert_eq!(w.says(&["--network=none"], "ls /sys/class/net"), "lo");
}

#[test]
fn names_of_the_hosts() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(w.says(&["--uts=host"], "readlink /proc/self/ns/uts"), hosts("uts"));
    let own = w.says(&["--domainname=example.org"], "readlink /proc/self/ns/uts; cat /proc/sys/kernel/domainname");
    assert!(!own.starts_with(&hosts("uts")) && own.ends_with("\nexample.org"), "{own}");
}

/// Both at once are usual for what watches a machine.
#[test]
fn all_of_the_hosts_with_its_root() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let flags = [
        "--privileged",
        "--pid=host",
        "--network=host",
        "--ipc=host",
        "--uts=host",
        "--cgroupns=host",
        "-v",
        "/:/host:rslave",
    ];
    let out = w.says(
        &flags,
        "for n in pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; chroot /host cat /etc/orlop-vm",
    );
    let expected = ["pid", "net", "ipc", "uts", "cgroup"].map(hosts).join("\n");
    let file = fs::read_to_string("/etc/orlop-vm").unwrap();
    assert_eq!(out, format!("{expected}\n{}", file.trim_end()));
}
