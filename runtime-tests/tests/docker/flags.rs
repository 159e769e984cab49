//! Rights, limits and devices by docker's flags.

use std::fs;

use runtime_tests::engines::{Manager, cgroup_of, offered};
use runtime_tests::{json, require};

use super::walk::{Walk, text};

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
    let out = w.exec(&w.common, &script.replace("/mnt", "/scratch")).stdout;
    assert!(out.contains("Seccomp:\t2\n"), "{out}");
    for word in ["mounted", "/dev/fuse", "logged", "made"] {
        assert!(!out.contains(word), "{word}: {out}");
    }
}

#[test]
fn capabilities_more_and_less() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(w.sees("grep CapEff /proc/1/status"), "CapEff:\t00000000a80425fb");
    let script = "grep -E 'CapEff|CapBnd' /proc/self/status; ip link add of-its-own type bridge && ls /sys/class/net";
    let out = w.says(&["--cap-drop=ALL", "--cap-add=NET_ADMIN"], script);
    assert_eq!(out, "CapEff:\t0000000000001000\nCapBnd:\t0000000000001000\nlo\nof-its-own");
    let out =
        w.says(&["--cap-drop=MKNOD", "--cap-add=SYS_TIME", "--user=1000"], "grep -E 'CapEff|CapBnd' /proc/self/status");
    assert_eq!(out, "CapEff:\t0000000000000000\nCapBnd:\t00000000a20425fb");
}

#[test]
fn no_new_privileges_and_a_profile_of_ones_own() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let profile = w.c.dir.join("profile.json");
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV });
    fs::write(&profile, json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }).to_string()).unwrap();
    let flags = ["--security-opt=no-new-privileges", &format!("--security-opt=seccomp={}", text(&profile))];
    let out = w.run(&flags, "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; mkdir /x").go();
    assert_eq!(out.exits(1).says(&["Invalid cross-device link"]).text(), "NoNewPrivs:\t1\nSeccomp:\t2");
    // Paths that are hidden, or read-only, unless that is given up.
    let script = "wc -c </proc/timer_list; (: >/proc/sys/kernel/domainname); grep -c ' /proc/' /proc/self/mounts";
    let usual = w.exec(&w.common, script).ok().says(&["Read-only file system"]);
    assert!(usual.stdout.starts_with("0\n") && !usual.stdout.ends_with("\n0\n"), "{}", usual.stdout);
    let flags = ["--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined"];
    let out = w.run(&flags, &format!("{script}; grep Seccomp: /proc/self/status")).go().ok();
    assert!(out.stdout.ends_with("\n0\nSeccomp:\t0\n") && out.stderr.is_empty(), "{}{}", out.stdout, out.stderr);
}

#[test]
fn a_device_with_some_of_its_rights() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let tries = |path: &str| format!("(: <{path}) && echo read; (: >{path}) && echo written; true");
    let out = w.exec(&w.common, &format!("stat -c '%t:%T' /dev/it; {}", tries("/dev/it"))).ok();
    assert_eq!(out.text(), "a:e5\nread");
    out.says(&["/dev/it: Operation not permitted"]);
    // Made by the container itself: by a rule that allows to make and to read; and without one.
    let out = w.exec(&w.common, &format!("mknod /dev/own c 10 237; {}; rm /dev/own", tries("/dev/own"))).ok();
    assert_eq!(out.text(), "read");
    out.says(&["/dev/own: Operation not permitted"]);
    let out = w.exec(&w.common, &format!("mknod /dev/other c 10 235; {}; rm /dev/other", tries("/dev/other"))).ok();
    assert_eq!(out.text(), "");
    // Docker's default has all three rights.
    assert_eq!(w.says(&["--device=/dev/fuse"], &tries("/dev/fuse")), "read\nwritten");
}

#[test]
fn limits_of_processes() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(w.sees("ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -s"), "100\n200\n0\n1024");
    let limits = w.sees("cat /proc/1/limits");
    let files = limits.lines().find(|l| l.starts_with("Max open files")).unwrap_or("");
    assert_eq!(files.split_whitespace().collect::<Vec<_>>()[3..5], ["100", "200"], "{limits}");
}

#[test]
fn parameters_of_the_kernel() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax";
    assert_eq!(w.sees(script), "99\n1234");
}

#[test]
fn users_and_groups() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "id -u; id -g; id -G; pwd; touch /x 2>&1";
    let out = w.run(&["--user=1000:100", "--group-add=200", "--workdir=/tmp"], script).go().exits(1);
    assert_eq!(out.text(), "1000\n100\n100 200\n/tmp\ntouch: /x: Permission denied");
    w.run(&["--user=nosuch"], "true").go().exits(125).says(&["unable to find user nosuch"]);
}

#[test]
fn below_a_cgroup_of_ones_choice() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    // Inside it is the root of its own namespace, if that is not given up.
    assert_eq!(w.sees("cat /proc/1/cgroup | grep ^0:"), "0::/");
    let id =
        w.start(&["--cgroup-parent=orlop-walk.slice", "--cgroupns=host"], "grep ^0: /proc/self/cgroup; sleep 1000");
    let expected = format!("orlop.slice/orlop-walk.slice/docker-{id}.scope");
    assert!(cgroup_of(w.pid(&id)).ends_with(&expected), "{}", cgroup_of(w.pid(&id)).display());
    w.wait_log(&id, &format!("0::/{expected}\n"));
}

#[test]
fn sizes_and_priorities() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let out = w.sees("cat /proc/1/oom_score_adj; df -k /dev/shm | tail -n 1");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("123", "3072"), "{out}");
}

/// By a file and by a flag, over those of the image.
#[test]
fn variables_and_entry_points() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(w.sees("echo $A/$B/$C"), "one/from a file/four");
    let image = runtime_tests::engines::docker::IMAGE;
    let flags = ["--rm", "--network=none", "--entrypoint=/bin/echo"];
    assert_eq!(w.make("run", &flags, image, &["as", "arguments"]).go().ok().text(), "as arguments");
}
