//! What a program may do: capabilities, filters, devices, and what it is given besides.

use std::fs;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{Value, host, json, require};

use super::Podman;

/// Numbers of capabilities(7).
const CHOWN: u32 = 0;
const NET_BIND_SERVICE: u32 = 10;
const NET_RAW: u32 = 13;
/// What podman gives if nothing is said.
const USUAL: [u32; 11] = [CHOWN, 1, 3, 4, 5, 6, 7, 8, NET_BIND_SERVICE, 18, 31];

/// How many root has here.
fn ours() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap().count_ones() as usize
}

fn caps(report: &Value) -> [&Value; 5] {
    ["bounding", "permitted", "effective", "inheritable", "ambient"].map(|set| &report["caps"][set])
}

#[test]
fn exactly_these_capabilities() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let none = &json!([]);
    let sets = |flags: &[&str]| p.probe(flags, &["report"]);
    let usual = &json!(USUAL);
    assert_eq!(caps(&sets(&[])), [usual, usual, usual, none, none]);
    let two = &json!([CHOWN, NET_RAW]);
    assert_eq!(caps(&sets(&["--cap-drop=all", "--cap-add=NET_RAW,CHOWN"])), [two, two, two, none, none]);
    assert_eq!(caps(&sets(&["--cap-drop=all"])), [none; 5]);
    // A user has those that were asked for, and they outlive the execve.
    let one = &json!([NET_BIND_SERVICE]);
    let user = sets(&["--user=1000", "--cap-drop=all", "--cap-add=NET_BIND_SERVICE"]);
    assert_eq!(caps(&user), [one; 5]);
    assert_eq!(caps(&sets(&["--user=1000"])), [usual, none, none, none, none]);
    // And exec has its container's.
    p.start(&["--cap-drop=all", "--cap-add=NET_RAW,CHOWN"], &["sleep", "1000"]);
    let inside = |flags: &[&str]| p.exec(flags, &["probe", "report"]).go().ok().last_json();
    assert_eq!(caps(&inside(&[])), [two, two, two, none, none]);
    assert_eq!(caps(&inside(&["--user=1000"]))[1..], [none, none, none, none]);
    assert_eq!(inside(&["--privileged"])["caps"]["effective"].as_array().unwrap().len(), ours());
}

#[test]
fn everything_a_program_is_given() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let flags = [
        "--rm",
        "--security-opt=no-new-privileges",
        "--ulimit=nofile=123:456",
        "--ulimit=core=0",
        "--ulimit=stack=1048576",
        "--sysctl=net.ipv4.ip_forward=1",
        "--sysctl=kernel.shm_rmid_forced=1",
        "--oom-score-adj=321",
        "--shm-size=3m",
        "--hostname=here",
        "--group-add=33",
        "--umask=0027",
        "--env=A=b",
        "--workdir=/tmp",
        "--user=0:7",
        "--add-host=there:10.0.0.1",
        "--tz=UTC",
        "--cpuset-cpus=1",
    ];
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced
        df -k /dev/shm | tail -n 1 | awk '{print $2}'; grep -c there /etc/hosts; exec probe report";
    let out = p.run(&flags, &["sh", "-c", script]).go().ok();
    assert_eq!(out.stdout.lines().take(4).collect::<Vec<_>>(), ["1", "1", "3072", "1"]);
    let report = out.last_json();
    let expected = json!({
        "no_new_privs": true, "oom_score_adj": "321", "hostname": "here", "umask": 0o27, "cwd": "/tmp",
        "uid": [0, 0, 0, 0], "gid": [7, 7, 7, 7], "cpus": "1",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&report[key], value, "{key}");
    }
    assert_eq!(report["env"]["A"], "b");
    assert!(report["groups"].as_array().unwrap().contains(&json!(33)), "{}", report["groups"]);
    let limits = ["RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_STACK"].map(|name| &report["rlimits"][name]);
    assert_eq!(limits, [&json!([123, 456]), &json!([0, 0]), &json!([1_048_576, 1_048_576])]);
    assert_eq!(report["fds"].as_object().unwrap().len(), 3, "{}", report["fds"]);
}

/// mkdir is refused in words of its own.
const FILTER: &str = r#"{ "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18 }] }"#;

#[test]
fn options_of_security() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let file = p.c.dir.join("filter.json");
    fs::write(&file, FILTER).unwrap();
    let own = format!("--security-opt=seccomp={}", file.display());
    assert_eq!(p.probe(&[&own], &["try", "mkdir:/tmp/x"])["mkdir:/tmp/x"], "errno 18");

    let sh = |options: &[&str], script: &str| {
        let flags: Vec<String> = options.iter().map(|o| format!("--security-opt={o}")).collect();
        let flags: Vec<&str> = ["--rm"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        p.run(&flags, &["sh", "-c", script]).go().ok().stdout
    };
    let state = "grep Seccomp: /proc/self/status; cat /proc/self/attr/current; head -c 4 /etc/passwd; echo
        ls /sys/firmware | wc -l; touch /proc/sys/kernel/hostname 2>/dev/null || echo read-only";
    let said = sh(&["seccomp=unconfined", "apparmor=unconfined", "mask=/etc/passwd"], state);
    assert_eq!(said, "Seccomp:\t0\nunconfined\n\n0\nread-only\n");
    let said = sh(&["unmask=ALL"], state);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[1].starts_with("containers-default-"), "{said}");
    assert_eq!((lines[0], lines[2], lines.len()), ("Seccomp:\t2", "root", 4), "{said}");
    assert_ne!(lines[3], "0", "/sys/firmware shows");
}

#[test]
fn privileged() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let script = "cat /proc/self/attr/current; ls /dev/kmsg; touch /proc/sys/kernel/hostname && echo rw; \
        mount -t tmpfs none /tmp && echo mounted; mkdir /sys/fs/cgroup/x && echo cgroup; exec probe report";
    let out = p.run(&["--rm", "--privileged"], &["sh", "-c", script]).go().ok();
    assert!(out.stdout.starts_with("unconfined\n/dev/kmsg\nrw\nmounted\ncgroup\n"), "{}", out.stdout);
    let report = out.last_json();
    assert_eq!(report["seccomp"], "0");
    assert_eq!(report["caps"]["effective"].as_array().unwrap().len(), ours());
}

#[test]
fn devices_allowed_and_refused() {
    require!(host::at_length());
    require!(host::spare_disk());
    let p = Podman::new(Manager::Systemd);
    let disk = fs::canonicalize(host::spare_disk().unwrap()).unwrap();
    let tries = ["try", "open:/dev/spare:r", "open:/dev/spare:w", "mknod:/dev/x:c:10:237", "open:/dev/x:rw"];
    let said = |flags: &[&str], tries: &[&str]| {
        let said = p.probe(&[&["--cap-add=MKNOD"], flags].concat(), tries);
        tries[1..].iter().map(|t| said[*t].clone()).collect::<Vec<_>>()
    };
    let readable = format!("--device={}:/dev/spare:r", disk.display());
    // podman's capabilities do not include making nodes; a node alone opens nothing.
    assert_eq!(said(&[&readable], &tries), [json!(0), json!("EPERM"), json!(0), json!("EPERM")]);
    let both = format!("--device={}:/dev/spare:rw", disk.display());
    let rule = "--device-cgroup-rule=c 10:237 rwm";
    let opened = said(&[&both, rule], &tries);
    assert_eq!(opened[..3], [json!(0), json!(0), json!(0)]);
    // With or without such a driver, it is not the cgroup that says no.
    assert_ne!(opened[3], "EPERM");
    let usual = ["try", "write:/dev/null:x", "open:/dev/zero:r", "open:/dev/urandom:r", "open:/dev/tty:r"];
    assert_eq!(said(&[], &usual)[..3], [json!(0), json!(0), json!(0)]);
}
