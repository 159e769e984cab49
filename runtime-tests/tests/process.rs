//! What the container's process is given: ids, capabilities, limits, environment, descriptors.

use std::fs::{self, File};

use runtime_tests::{Case, Value, host, json, require, sys};

/// Numbers of capabilities, for comparing with the probe's.
const CHOWN: u64 = 0;
const KILL: u64 = 5;
const NET_BIND_SERVICE: u64 = 10;
const SYS_ADMIN: u64 = 21;

#[test]
fn ids_groups_and_umask() {
    let mut c = Case::new();
    c.set("/process/user", json!({ "uid": 10, "gid": 11, "additionalGids": [5, 7], "umask": 0o027 }));
    let r = c.probe(&["report"]);
    assert_eq!(r["uid"], json!([10, 10, 10, 10]));
    assert_eq!(r["gid"], json!([11, 11, 11, 11]));
    assert_eq!(r["groups"], json!([5, 7]));
    assert_eq!(r["umask"], 0o027);
}

#[test]
fn umask_is_022_and_groups_are_empty_by_default() {
    let mut c = Case::new();
    let r = c.probe(&["report"]);
    assert_eq!(r["umask"], 0o022);
    assert_eq!(r["groups"], json!([]));
}

#[test]
fn five_capability_sets() {
    let mut c = Case::new();
    let set = ["CAP_CHOWN", "CAP_KILL"];
    c.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "effective": set, "permitted": set, "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
        }),
    );
    let r = c.probe(&["report"]);
    assert_eq!(r["caps"]["bounding"], json!([CHOWN, KILL, NET_BIND_SERVICE]));
    assert_eq!(r["caps"]["inheritable"], json!([KILL]));
    assert_eq!(r["caps"]["ambient"], json!([KILL]));
}

#[test]
fn capabilities_of_an_ordinary_user() {
    // Across execve only the ambient set survives for uid ≠ 0.
    let mut c = Case::new();
    let set = ["CAP_NET_BIND_SERVICE"];
    c.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    c.set(
        "/process/capabilities",
        json!({ "bounding": set, "effective": set, "permitted": set, "inheritable": set, "ambient": set }),
    );
    let r = c.probe(&["report"]);
    for name in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(r["caps"][name], json!([NET_BIND_SERVICE]), "{name}");
    }
    c.caps(&["CAP_NET_BIND_SERVICE"]);
    let r = c.probe(&["report"]);
    assert_eq!(r["caps"]["effective"], json!([]), "without ambient nothing is left");
    assert_eq!(r["caps"]["bounding"], json!([NET_BIND_SERVICE]));
}

#[test]
fn empty_and_absent_capabilities() {
    let mut c = Case::new();
    c.set("/process/capabilities", json!({}));
    let r = c.probe(&["report"]);
    for name in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(r["caps"][name], json!([]), "{name}");
    }
    // Absent: the sets stay as they are; root keeps what the host's root has.
    c.unset("/process/capabilities");
    let r = c.probe(&["report"]);
    assert!(r["caps"]["effective"].as_array().unwrap().contains(&json!(SYS_ADMIN)));
}

#[test]
fn unknown_capabilities_are_a_warning() {
    let mut c = Case::new();
    c.push("/process/capabilities/bounding", json!("CAP_FROM_THE_FUTURE"));
    let out = c.launch("run", &[], &c.id).go().ok();
    assert_eq!(out.stderr, "", "by default nothing precedes what engines parse");
    let out = c.orlop(&["--log-level", "warning", "run", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    assert!(out.stderr.contains("CAP_FROM_THE_FUTURE"), "{}", out.stderr);
}

#[test]
fn no_new_privileges() {
    let mut c = Case::new();
    assert_eq!(c.probe(&["report"])["no_new_privs"], true);
    c.set("/process/noNewPrivileges", false);
    assert_eq!(c.probe(&["report"])["no_new_privs"], false);
    c.unset("/process/noNewPrivileges");
    assert_eq!(c.probe(&["report"])["no_new_privs"], false);
}

#[test]
fn rlimits() {
    let mut c = Case::new();
    c.set(
        "/process/rlimits",
        json!([
            { "type": "RLIMIT_NOFILE", "soft": 300, "hard": 400 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            { "type": "RLIMIT_AS", "soft": 1u64 << 30, "hard": 1u64 << 31 },
            { "type": "RLIMIT_CPU", "soft": 60, "hard": 120 },
            { "type": "RLIMIT_STACK", "soft": 4 << 20, "hard": 8 << 20 },
            { "type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": 1 << 20 },
        ]),
    );
    let r = c.probe(&["report"]);
    assert_eq!(r["rlimits"]["RLIMIT_NOFILE"], json!([300, 400]));
    assert_eq!(r["rlimits"]["RLIMIT_CORE"], json!([0, 0]));
    assert_eq!(r["rlimits"]["RLIMIT_AS"], json!([1u64 << 30, 1u64 << 31]));
    assert_eq!(r["rlimits"]["RLIMIT_CPU"], json!([60, 120]));
    assert_eq!(r["rlimits"]["RLIMIT_STACK"], json!([4 << 20, 8 << 20]));
    assert_eq!(r["rlimits"]["RLIMIT_FSIZE"], json!([1 << 20, 1 << 20]));
}

#[test]
fn rlimit_that_may_not_be_raised() {
    if host::sys_resource().is_ok() {
        runtime_tests::skip!("root may raise limits here");
    }
    let (_, hard) = sys::rlimit(7);
    let mut c = Case::new();
    c.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 10, "hard": hard + 1 }]));
    c.create().fails_with(&["RLIMIT_NOFILE", "operation not permitted"]);
    c.assert_nothing_left();
}

#[test]
fn oom_score() {
    let mut c = Case::new();
    c.set("/process/oomScoreAdj", 500);
    assert_eq!(c.probe(&["report"])["oom_score_adj"], "500");
    c.unset("/process/oomScoreAdj");
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(c.probe(&["report"])["oom_score_adj"], own.trim(), "untouched when not given");
}

#[test]
fn scheduler() {
    let mut c = Case::new();
    c.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 5 }));
    let r = c.probe(&["report"]);
    assert_eq!((&r["sched"][0], &r["sched"][1]), (&json!(3), &json!(5)));
    c.set("/process/scheduler", json!({ "policy": "SCHED_IDLE" }));
    assert_eq!(c.probe(&["report"])["sched"][0], 5);
    c.set("/process/scheduler", json!({ "policy": "SCHED_RR", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }));
    let out = c.args(&["/bin/probe", "report"]).run();
    if out.code() != 0 && out.stderr.contains("operation not permitted") {
        runtime_tests::skip!("real-time policies are not allowed here");
    }
    let r = out.ok().last_json();
    assert_eq!((&r["sched"][0], &r["sched"][2], &r["sched"][3]), (&json!(2), &json!(3), &json!(1)));
}

#[test]
fn io_priority() {
    let mut c = Case::new();
    for (class, number) in [("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)] {
        c.set("/process/ioPriority", json!({ "class": class, "priority": 4 }));
        assert_eq!(c.probe(&["report"])["io_priority"], (number << 13) + 4, "{class}");
    }
}

#[test]
fn personality() {
    let mut c = Case::new();
    c.set("/linux/personality", json!({ "domain": "LINUX32" }));
    assert_eq!(c.probe(&["report"])["personality"].as_i64().unwrap() & 0xff, 8);
    c.set("/linux/personality", json!({ "domain": "LINUX" }));
    assert_eq!(c.probe(&["report"])["personality"].as_i64().unwrap() & 0xff, 0);
}

#[test]
fn memory_policies_without_nodes() {
    for mode in ["MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"] {
        let mut c = Case::new();
        c.set("/linux/memoryPolicy", json!({ "mode": mode }));
        let out = c.run();
        if out.stderr.contains("not implemented") {
            runtime_tests::skip!("no NUMA in this kernel");
        }
        out.ok();
    }
}

#[test]
fn memory_policy() {
    let mut c = Case::new();
    c.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0" }));
    let out = c.args(&["/bin/probe", "report"]).run();
    if out.stderr.contains("not implemented") {
        runtime_tests::skip!("no NUMA in this kernel");
    }
    assert_eq!(out.ok().last_json()["mempolicy"], json!([2, 1]));
}

#[test]
fn working_directory() {
    let mut c = Case::new();
    c.set("/process/cwd", "/made/on/the/way");
    assert_eq!(c.probe(&["report"])["cwd"], "/made/on/the/way");
    assert!(c.rootfs("made/on/the/way").is_dir());
    // One only the user may enter.
    fs::create_dir(c.rootfs("private")).unwrap();
    std::os::unix::fs::chown(c.rootfs("private"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(c.rootfs("private"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    c.set("/process/cwd", "/private").set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(c.probe(&["report"])["cwd"], "/private");
}

#[test]
fn environment() {
    let mut c = Case::new();
    c.env("A=1").env("B=x y=z").env("A=2").env("EMPTY=");
    let r = c.bare_env(&["report"]);
    assert_eq!(r["env"]["A"], "2", "the last of equal names wins");
    assert_eq!(r["env"]["B"], "x y=z");
    assert_eq!(r["env"]["EMPTY"], "");
    assert_eq!(r["env"]["HOME"], "/root", "filled in from /etc/passwd");
    assert!(r["env"].get("NOT_FOR_CONTAINERS").is_none(), "the caller's environment stays outside");
    assert!(r["env"].get("_OCI_SYNCPIPE").is_none());
}

trait BareEnv {
    fn bare_env(&mut self, args: &[&str]) -> Value;
}

impl BareEnv for Case {
    /// The probe's report with variables in the caller's environment that must not get in.
    fn bare_env(&mut self, args: &[&str]) -> Value {
        let argv: Vec<&str> = ["/bin/probe"].into_iter().chain(args.iter().copied()).collect();
        self.args(&argv);
        let run = self.launch("run", &[], &self.id).env("NOT_FOR_CONTAINERS", "1").env("_OCI_SYNCPIPE", "3");
        run.go().ok().last_json()
    }
}

#[test]
fn home_is_filled_in() {
    let mut c = Case::new();
    for (uid, home) in [(1000, "/home/user"), (4242, "/")] {
        c.set("/process/user/uid", uid);
        assert_eq!(c.probe(&["report"])["env"]["HOME"], home, "uid {uid}");
    }
    c.env("HOME=");
    assert_eq!(c.probe(&["report"])["env"]["HOME"], "/", "empty counts as unset");
    c.env("HOME=/given");
    assert_eq!(c.probe(&["report"])["env"]["HOME"], "/given");
}

#[test]
fn home_without_a_passwd_file() {
    let mut c = Case::new();
    fs::remove_file(c.rootfs("etc/passwd")).unwrap();
    assert_eq!(c.probe(&["report"])["env"]["HOME"], "/");
}

#[test]
fn exit_codes() {
    let mut c = Case::new();
    for code in [0, 1, 7, 255] {
        c.args(&["/bin/probe", "exit", &code.to_string()]).run().exits(code);
    }
}

#[test]
fn exit_code_of_a_signal() {
    let mut c = Case::new();
    // PID 1 is immune to its own signals: the shell's child dies of it, or the host sends it.
    c.no_namespace("pid");
    for signal in [15, 9, 6] {
        c.args(&["/bin/probe", "die", &signal.to_string()]).run().exits(128 + signal);
    }
}

#[test]
fn no_descriptor_leaks_in() {
    let mut c = Case::new();
    let files: Vec<File> = (0..5).map(|_| File::open("/etc").unwrap()).collect();
    c.args(&["/bin/probe", "report"]);
    let r = c.launch("run", &[], &c.id).pass_fds(&files).go().ok().last_json();
    let fds: Vec<&String> = r["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"], "{}", r["fds"]);
    // The caller's /dev/null is replaced by the container's.
    assert_eq!(r["fds"]["0"], "/dev/null");
}

#[test]
fn preserved_descriptors() {
    let mut c = Case::new();
    for name in ["x3", "x4", "x5"] {
        fs::write(c.dir.join(name), name).unwrap();
    }
    let files: Vec<File> = ["x3", "x4", "x5"].iter().map(|n| File::open(c.dir.join(n)).unwrap()).collect();
    c.sh("cat <&3; cat <&4; ls /proc/self/fd | grep -c . ");
    let out = c.launch("run", &["--preserve-fds", "2"], &c.id).pass_fds(&files).go().ok();
    // 0, 1, 2, 3, 4 and the one ls reads the directory with.
    assert_eq!(out.text(), "x3x46");
    // More than are open: skipped, podman sends such sums.
    c.sh("cat <&3; ls /proc/self/fd | grep -c .");
    let files = [File::open(c.dir.join("x3")).unwrap()];
    let out = c.launch("run", &["--preserve-fds=2"], &c.id).pass_fds(&files).go().ok();
    assert_eq!(out.text(), "x35");
}

#[test]
fn listen_fds() {
    let mut c = Case::new();
    let files = [File::open("/etc/passwd").unwrap(), File::open("/etc/group").unwrap()];
    c.args(&["/bin/probe", "report"]);
    let run = c.launch("run", &[], &c.id).pass_fds(&files).env("LISTEN_FDS", "2").with(|command| {
        // systemd sets LISTEN_PID to the pid it starts; ours is only known after the fork.
        command.env_remove("LISTEN_PID");
    });
    let r = run.go().ok().last_json();
    assert_eq!(r["env"]["LISTEN_FDS"], "2");
    assert_eq!(r["env"]["LISTEN_PID"], "1");
    assert_eq!((&r["fds"]["3"], &r["fds"]["4"]), (&json!("/etc/passwd"), &json!("/etc/group")));
    assert_eq!(r["fds"].get("5"), None);
}

#[test]
fn listen_fds_by_pid() {
    // As systemd has it: LISTEN_PID is the pid of the runtime itself.
    let mut c = Case::new();
    let files = [File::open("/etc/passwd").unwrap()];
    c.args(&["/bin/probe", "report"]);
    c.write();
    let script = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;
    let run = c.program("sh").args(["-c", script]).arg(runtime_tests::paths::orlop()).arg("--root").arg(&c.root);
    let r = run.args(["run", "-b"]).arg(&c.bundle).arg(&c.id).pass_fds(&files).go().ok().last_json();
    assert_eq!((&r["env"]["LISTEN_FDS"], &r["env"]["LISTEN_PID"]), (&json!("1"), &json!("1")));
    assert_eq!(r["fds"]["3"], "/etc/passwd");
}

#[test]
fn listen_fds_for_somebody_else() {
    let mut c = Case::new();
    let files = [File::open("/etc/passwd").unwrap()];
    c.args(&["/bin/probe", "report"]);
    let run = c.launch("run", &[], &c.id).pass_fds(&files).env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let r = run.go().ok().last_json();
    assert_eq!(r["env"].get("LISTEN_FDS"), None);
    assert_eq!(r["fds"].get("3"), None);
}

#[test]
fn signal_dispositions_are_reset() {
    let mut c = Case::new();
    c.args(&["/bin/probe", "report"]);
    let run = c.launch("run", &[], &c.id).with(|cmd| sys::odd_signals(cmd, libc::SIGUSR1, libc::SIGUSR2));
    let r = run.go().ok().last_json();
    assert_eq!(r["blocked"], json!([]), "no signal is blocked");
    let ignored: Vec<i64> = r["ignored"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    // The probe is a Rust program and ignores PIPE (13) itself.
    assert!(ignored.iter().all(|s| *s == 13), "ignored: {ignored:?}");
}

#[test]
fn pdeathsig_is_not_inherited() {
    // Every command of the tests runs with PDEATHSIG=KILL, as under the shim.
    let c = Case::started();
    assert_eq!(c.status(), "running");
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(c.status(), "running", "the end of create doesn't take the container along");
    c.delete();
    let mut c = Case::new();
    assert_eq!(c.probe(&["report"])["pdeathsig"], 0);
}

#[test]
fn session_keyring() {
    require!(host::file("/proc/keys"));
    let mut c = Case::new();
    let text = c.probe(&["report"])["keyring"].as_str().unwrap().to_owned();
    assert!(text.ends_with(&format!("_ses.{}", c.id)), "{text}");
    c.args(&["/bin/probe", "report"]);
    let r = c.launch("run", &["--no-new-keyring"], &c.id).go().ok().last_json();
    assert!(!r["keyring"].as_str().unwrap().ends_with(&format!("_ses.{}", c.id)), "{}", r["keyring"]);
}

#[test]
fn cpu_affinity_is_everything() {
    // CRI-O starts us under taskset; the container is not meant.
    require!(host::program("taskset"));
    let mut c = Case::new();
    let everything = {
        let status = fs::read_to_string("/proc/1/status").unwrap();
        status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
    };
    if everything == "0" {
        runtime_tests::skip!("only one CPU");
    }
    c.args(&["/bin/probe", "report"]);
    c.write();
    let out = c.program("taskset").args(["-c", "0"]).arg(runtime_tests::paths::orlop()).arg("--root").arg(&c.root);
    let r = out.args(["run", "-b"]).arg(&c.bundle).arg(&c.id).go().ok().last_json();
    assert_eq!(r["cpus"], everything.as_str());
}

#[test]
fn arguments_are_passed_verbatim() {
    let mut c = Case::new();
    let args = ["report", "", "a b", "--help", "-x", "ü\n$PATH"];
    let r = c.probe(&args);
    let got: Vec<&str> = r["args"].as_array().unwrap().iter().filter_map(Value::as_str).skip(1).collect();
    assert_eq!(got, args);
}

#[test]
fn stdio_belongs_to_the_user() {
    // So that /dev/stdout can be opened again (containers' loggers do).
    let mut c = Case::new();
    c.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).sh("echo again > /dev/stdout");
    let (mut read, write) = sys::pipe();
    c.launch("run", &[], &c.id).stdout(write).go().ok();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut read, &mut text).unwrap();
    assert_eq!(text, "again\n");
}
