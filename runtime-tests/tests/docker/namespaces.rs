//! Namespaces of the host's, of another container's, and of one's own.

use std::fs;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::host;
use runtime_tests::require;

use super::walk::{Walk, eventually};

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
    let second = w.start(&[&flag], "tr '\\0' ' ' </proc/1/cmdline; echo; echo $$; sleep 1000");
    eventually("its output", || (w.logs(&second).lines().count() == 2).then_some(()));
    let seen = w.logs(&second);
    assert!(seen.starts_with("sleep 1000 \n") && !seen.ends_with("\n1\n"), "{seen}");
    // The end of the first process is that of all.
    w.docker(&["kill", &id]).go().ok();
    assert_eq!(w.wait(&second), 137);
}

#[test]
fn memory_shared_between_containers() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let own = w.sees("echo shared >/dev/shm/x; readlink /proc/self/ns/ipc");
    let script = "cat /dev/shm/x; readlink /proc/self/ns/ipc";
    assert_eq!(w.says(&[&format!("--ipc=container:{}", w.common)], script), format!("shared\n{own}"));
    assert_ne!(own, hosts("ipc"));
    w.run(&["--ipc=none"], "grep ' /dev/shm ' /proc/self/mounts").go().exits(1);
}

#[test]
fn network_of_another_container_and_none() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let flag = format!("--network=container:{}", w.common);
    let out = w.says(&[&flag], "until nc 127.0.0.1 5000 </dev/null; do sleep 0.1; done; hostname");
    assert_eq!(out, format!("from inside\n{}", &w.common[..12]));
    assert_eq!(w.says(&["--network=none"], "ls /sys/class/net"), "lo");
}

/// All at once are usual for what watches a machine.
#[test]
fn every_namespace_of_the_hosts() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let flags = ["pid", "network", "ipc", "uts", "cgroupns"].map(|name| format!("--{name}=host"));
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.extend(["--privileged", "-v", "/:/host:rslave"]);
    let script = "for n in pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done
        hostname; ls -d /sys/class/net/docker0; chroot /host cat /etc/orlop-vm";
    let namespaces = ["pid", "net", "ipc", "uts", "cgroup"].map(hosts).join("\n");
    let read = |path: &str| fs::read_to_string(path).unwrap().trim_end().to_owned();
    let (name, file) = (read("/proc/sys/kernel/hostname"), read("/etc/orlop-vm"));
    assert_eq!(w.says(&flags, script), format!("{namespaces}\n{name}\n/sys/class/net/docker0\n{file}"));
}
