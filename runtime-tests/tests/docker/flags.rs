//! Rights, limits and devices by docker's flags.

use std::fs;

use runtime_tests::engines::{Manager, cgroup_of, offered};
use runtime_tests::{host, json, require};

use super::walk::{Walk, text};

/// A line of /proc/self/status of the container's first process.
fn status(w: &Walk, flags: &[&str], name: &str) -> String {
    let out = w.says(flags, &format!("grep ^{name}: /proc/self/status"));
    out.split_once('\t').expect("a value").1.to_owned()
}

#[test]
fn privileged() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "grep -E '^(CapEff|Seccomp):' /proc/self/status; cat /proc/self/attr/current 2>/dev/null
        mount -t tmpfs none /mnt && echo mounted; ls -d /dev/fuse; test -c /dev/kmsg && echo logged
        touch /sys/fs/cgroup/x 2>/dev/null; mkdir /sys/fs/cgroup/below && echo made";
    let out = w.says(&["--privileged", "--tmpfs=/mnt"], script);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let all = own.lines().find(|l| l.starts_with("CapEff")).unwrap();
    for line in [all, "Seccomp:\t0", "mounted", "/dev/fuse", "logged", "made"] {
        assert!(out.lines().any(|l| l == line), "{line}: {out}");
    }
    // And what a container without it gets of that.
    let out = w.run(&["--tmpfs=/mnt"], script).go();
    assert!(out.stdout.contains("Seccomp:\t2\n"), "{}", out.stdout);
    for word in ["mounted", "/dev/fuse", "logged", "made"] {
        assert!(!out.stdout.contains(word), "{word}: {}", out.stdout);
    }
}

#[test]
fn capabilities_more_and_less() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(status(&w, &[], "CapEff"), "00000000a80425fb");
    assert_eq!(status(&w, &["--cap-drop=ALL", "--cap-add=NET_ADMIN"], "CapEff"), "0000000000001000");
    assert_eq!(status(&w, &["--cap-drop=MKNOD", "--cap-add=SYS_TIME"], "CapBnd"), "00000000a20425fb");
    // Nobody's own, but root's in the bounding set.
    assert_eq!(status(&w, &["--user=1000"], "CapEff"), "0000000000000000");
    assert_eq!(w.says(&["--cap-add=NET_ADMIN"], "ip link add dummy7 type bridge && ls /sys/class/net | wc -l"), "3");
}

#[test]
fn no_new_privileges_and_a_profile_of_ones_own() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(status(&w, &["--security-opt=no-new-privileges"], "NoNewPrivs"), "1");
    let profile = w.c.dir.join("profile.json");
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV });
    fs::write(&profile, json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }).to_string()).unwrap();
    let flag = format!("--security-opt=seccomp={}", text(&profile));
    w.run(&[&flag], "mkdir /x").go().exits(1).says(&["Invalid cross-device link"]);
    assert_eq!(status(&w, &["--security-opt=seccomp=unconfined"], "Seccomp"), "0");
    // Paths that are hidden, or read-only, unless that is given up.
    let script = "wc -c </proc/timer_list; (: >/proc/sys/kernel/domainname); grep -c ' /proc/' /proc/self/mounts";
    let usual = w.run(&[], script).go().ok().says(&["Read-only file system"]);
    assert!(usual.stdout.starts_with("0\n") && !usual.stdout.ends_with("\n0\n"), "{}", usual.stdout);
    let bare = w.run(&["--security-opt=systempaths=unconfined"], script).go().exits(1);
    assert!(bare.stdout.ends_with("\n0\n") && bare.stderr.is_empty(), "{}{}", bare.stdout, bare.stderr);
}

#[test]
fn a_device_with_some_of_its_rights() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "stat -c '%t:%T %a' /dev/it; (: </dev/it) && echo read; (: >/dev/it) && echo written; true";
    let full = w.says(&["--device=/dev/fuse:/dev/it"], script);
    assert_eq!(full.lines().skip(1).collect::<Vec<_>>(), ["read", "written"], "{full}");
    assert!(full.starts_with("a:e5 "), "{full}");
    let out = w.run(&["--device=/dev/fuse:/dev/it:r"], script).go().ok();
    assert!(out.stdout.ends_with("\nread\n"), "{}", out.stdout);
    assert!(out.stderr.contains("Operation not permitted"), "{}", out.stderr);
    // Made by the container itself: allowed by a rule, or not to be opened.
    let script = "mknod /dev/own c 10 229 && (: </dev/own) && echo read; true";
    assert_eq!(w.says(&["--device-cgroup-rule=c 10:229 rm"], script), "read");
    let out = w.run(&[], script).go().ok();
    assert!(out.stdout.is_empty() && out.stderr.contains("Operation not permitted"), "{}{}", out.stdout, out.stderr);
}

#[test]
fn limits_of_processes() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let flags = ["--ulimit=nofile=100:200", "--ulimit=core=0", "--ulimit=stack=1048576"];
    assert_eq!(w.says(&flags, "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -s"), "100\n200\n0\n1024");
    let id = w.start(&flags, "sleep 1000");
    assert_eq!(w.exec(&id, "ulimit -Sn; ulimit -Hn").ok().text(), "100\n200");
}

#[test]
fn parameters_of_the_kernel() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let flags = ["--sysctl=net.ipv4.ip_unprivileged_port_start=99", "--sysctl=kernel.msgmax=1234"];
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax";
    assert_eq!(w.says(&flags, script), "99\n1234");
    // docker's own default lets nobody's programs have low ports.
    assert_eq!(w.says(&[], "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "0");
}

#[test]
fn users_and_groups() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "id -u; id -g; id -G; pwd; touch /x 2>&1";
    let out = w.run(&["--user=1000:100", "--group-add=200", "--workdir=/tmp"], script).go().exits(1);
    assert_eq!(out.text(), "1000\n100\n100 200\n/tmp\ntouch: /x: Permission denied");
    // By the names of the image.
    assert_eq!(w.says(&["--user=user"], "id -un; echo $HOME"), "user\n/home/user");
    w.run(&["--user=nosuch"], "true").go().exits(125).says(&["unable to find user nosuch"]);
}

#[test]
fn below_a_cgroup_of_ones_choice() {
    require!(offered(Manager::Systemd));
    require!(host::file("/run/systemd/system/docker.service.d"));
    let w = Walk::new();
    let id = w.start(&["--cgroup-parent=orlop-walk.slice"], "cat /proc/self/cgroup; sleep 1000");
    let cgroup = cgroup_of(w.pid(&id));
    assert!(cgroup.ends_with(format!("orlop.slice/orlop-walk.slice/docker-{id}.scope")), "{}", cgroup.display());
    // Inside it is the root of its own namespace.
    w.wait_log(&id, "0::/\n");
    let seen = w.says(&["--cgroupns=host"], "cat /proc/self/cgroup");
    assert!(seen.ends_with(".scope") && seen.contains("/docker-"), "{seen}");
}

#[test]
fn sizes_and_priorities() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let out =
        w.says(&["--shm-size=3m", "--oom-score-adj=123"], "cat /proc/self/oom_score_adj; df -k /dev/shm | tail -n 1");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("123", "3072"), "{out}");
}

/// By a file and by a flag, over those of the image.
#[test]
fn variables_and_entry_points() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let file = w.c.dir.join("variables");
    fs::write(&file, "B=from a file\n# not this\nC=three\n").unwrap();
    let flags = ["-e", "A=one", "--env-file", text(&file), "-e", "C=four"];
    assert_eq!(w.says(&flags, "echo $A/$B/$C"), "one/from a file/four");
    let image = runtime_tests::engines::docker::IMAGE;
    let out = w.make("run", &["--rm", "--entrypoint=/bin/echo"], image, &["as", "arguments"]).go().ok();
    assert_eq!(out.text(), "as arguments");
}
