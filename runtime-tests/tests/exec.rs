//! `exec`: every flag, every state, exit codes.

use std::fs;
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::{Case, Value, bundle, host, json, leaks, paths, require};

#[test]
fn runs_beside_the_first_process() {
    let c = Case::started();
    let r = c.exec_probe(&[], &["report"]);
    assert_eq!(r["hostname"], "orlop-test");
    assert_ne!(r["pid"], 1);
    assert_eq!(r["cwd"], "/");
    assert_eq!(r["env"]["PATH"], bundle::PATH.trim_start_matches("PATH="));
    assert_eq!(r["env"]["HOME"], "/root");
    assert_eq!(r["no_new_privs"], true, "as the container's process");
    assert_eq!(r["caps"]["bounding"].as_array().unwrap().len(), bundle::CAPS.len());
    assert_eq!(r["caps"]["inheritable"], json!([]));
    c.delete();
}

#[test]
fn exit_codes() {
    let c = Case::started();
    c.exec(&[], &["/bin/sh", "-c", "exit 7"]).go().exits(7);
    c.exec(&[], &["/bin/probe", "die", "15"]).go().exits(143);
    c.exec(&[], &["/bin/probe", "die", "9"]).go().exits(137);
    c.exec(&[], &["/bin/true"]).go().exits(0);
    // Our own failures are 255.
    c.exec(&[], &["nosuch"]).go().exits(255).says(&["exec: \"nosuch\": executable file not found in $PATH"]);
    c.exec(&[], &["/etc"]).go().exits(255).says(&["is a directory"]);
    c.exec(&[], &["/nosuch"]).go().exits(255).says(&["no such file or directory"]);
    c.exec(&["--no-such-flag"], &["/bin/true"]).go();
    c.exec(&[], &[]).go().exits(255);
    c.delete();
}

#[test]
fn words_of_the_command_are_not_flags() {
    let c = Case::started();
    let out = c.exec(&[], &["/bin/echo", "-c", "--help", "-e", "-t"]).go().ok();
    assert_eq!(out.text(), "-c --help -e -t");
    let out = c.exec(&[], &["/bin/sh", "-c", "echo $0 $1", "a", "-b"]).go().ok();
    assert_eq!(out.text(), "a -b");
    c.delete();
}

#[test]
fn flags_for_the_process() {
    let c = Case::started();
    let flags = [
        "--cwd",
        "/tmp",
        "--env",
        "A=1",
        "-e",
        "B=x=y",
        "--env=A=2",
        "--user",
        "1000:1001",
        "-g",
        "5",
        "--additional-gids",
        "7",
    ];
    let r = c.exec_probe(&flags, &["report"]);
    assert_eq!(r["cwd"], "/tmp");
    assert_eq!((&r["env"]["A"], &r["env"]["B"]), (&json!("2"), &json!("x=y")));
    assert_eq!((&r["uid"][0], &r["gid"][0], &r["groups"]), (&json!(1000), &json!(1001), &json!([5, 7])));
    assert_eq!(r["env"]["HOME"], "/home/user");
    c.delete();
}

#[test]
fn capabilities_by_flag() {
    let c = Case::started();
    let r = c.exec_probe(&["--cap", "CAP_NET_ADMIN", "-c", "cap_sys_time"], &["report"]);
    for set in ["bounding", "effective", "permitted"] {
        for n in [12, 25] {
            assert!(r["caps"][set].as_array().unwrap().contains(&json!(n)), "{set} {n}");
        }
    }
    assert_eq!(r["caps"]["inheritable"], json!([]), "CVE-2022-29162");
    c.delete();
}

#[test]
fn no_new_privileges_by_flag() {
    let mut c = Case::new();
    c.set("/process/noNewPrivileges", false).args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(c.exec_probe(&[], &["report"])["no_new_privs"], false);
    assert_eq!(c.exec_probe(&["--no-new-privs"], &["report"])["no_new_privs"], true);
    c.delete();
}

#[test]
fn process_file() {
    let c = Case::started();
    let process = json!({
        "user": { "uid": 12, "gid": 13, "additionalGids": [14], "umask": 0o077 },
        "args": ["/bin/probe", "report"],
        "env": [bundle::PATH, "FROM=file"],
        "cwd": "/tmp",
        "capabilities": { "bounding": ["CAP_KILL"], "ambient": [] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 55, "hard": 66 }],
        "noNewPrivileges": true,
        "oomScoreAdj": 300,
        "unknown": { "is": "ignored" },
    });
    let file = c.dir.join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let r = c.orlop(&["exec", "--process", file.to_str().unwrap(), &c.id]).go().ok().last_json();
    assert_eq!((&r["uid"][0], &r["gid"][0], &r["groups"]), (&json!(12), &json!(13), &json!([14])));
    assert_eq!((&r["umask"], &r["cwd"], &r["env"]["FROM"]), (&json!(0o077), &json!("/tmp"), &json!("file")));
    assert_eq!(r["caps"]["bounding"], json!([5]));
    assert_eq!(r["rlimits"]["RLIMIT_NOFILE"], json!([55, 66]));
    assert_eq!(r["oom_score_adj"], "300");
    // Faults in it are named, nothing runs.
    fs::write(&file, r#"{"args":[],"cwd":"relative","user":{}}"#).unwrap();
    c.orlop(&["exec", "-p", file.to_str().unwrap(), &c.id]).go().exits(255).says(&["args", "cwd"]);
    fs::write(&file, "no JSON").unwrap();
    c.orlop(&["exec", "-p", file.to_str().unwrap(), &c.id]).go().exits(255).says(&["process.json"]);
    c.orlop(&["exec", "-p", "/no/such/file", &c.id]).go().exits(255).says(&["/no/such/file"]);
    c.delete();
}

#[test]
fn limits_and_priorities_of_the_container_apply() {
    let mut c = Case::new();
    c.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]));
    c.set("/process/oomScoreAdj", 123).args(&["/bin/sleep", "1000"]);
    c.start();
    let r = c.exec_probe(&[], &["report"]);
    assert_eq!(r["rlimits"]["RLIMIT_NOFILE"], json!([100, 200]));
    assert_eq!(r["oom_score_adj"], "123");
    c.delete();
}

#[test]
fn into_a_created_container() {
    let c = Case::new();
    c.create().ok();
    c.exec(&[], &["/bin/echo", "early"]).go().ok();
    assert_eq!(c.status(), "created", "still waiting for start");
    c.verb("start").ok();
    c.wait_status("stopped");
    c.exec(&[], &["/bin/true"]).go().exits(255).says(&["cannot exec in a stopped container"]);
    c.delete();
}

#[test]
fn into_a_paused_container() {
    let c = Case::started();
    c.verb("pause").ok();
    c.exec(&[], &["/bin/true"]).go().exits(255).says(&["cannot exec in a paused container (use --ignore-paused"]);
    // Starts when it is resumed.
    let waiting = c.exec(&["--ignore-paused"], &["/bin/echo", "thawed"]).spawn();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(waiting.stdout_so_far(), "");
    c.verb("resume").ok();
    assert_eq!(waiting.wait().ok().text(), "thawed");
    c.delete();
}

#[test]
fn detached_with_a_pid_file() {
    let c = Case::started();
    let file = c.dir.join("exec.pid");
    c.exec(&["--detach", "--pid-file", file.to_str().unwrap()], &["/bin/sleep", "1000"]).go().ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().expect("digits only");
    assert!(leaks::processes(&c.id).contains(&pid), "the pid as the host sees it");
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name.trim(), "sleep");
    // conmon learns of a failed exec by the missing pid-file alone.
    fs::remove_file(&file).unwrap();
    c.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["nosuch"]).go().exits(255);
    assert!(!file.exists());
    c.delete();
}

#[test]
fn failing_exec_leaves_no_zombie() {
    // The shim would reap it, a lazy PID 1 not soon: until then the
    // container's own init cannot end.
    let c = Case::started();
    for command in ["nosuch", "/etc", "/bin/true", "/bin/false"] {
        let shim = c.program(paths::probe().to_str().unwrap()).arg("subreaper").arg(paths::orlop());
        let seen = shim.arg("--root").arg(&c.root).args(["exec", &c.id, command]).go().ok().last_json();
        assert_eq!(seen["children"], json!([]), "after {command}");
    }
    c.delete();
}

#[test]
fn streams() {
    let c = Case::started();
    fs::write(c.dir.join("in"), "typed").unwrap();
    let input = fs::File::open(c.dir.join("in")).unwrap();
    let out = c.exec(&[], &["/bin/sh", "-c", "cat; echo err >&2; exit 4"]).stdin(input).go().exits(4);
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("typed", "err\n"));
    c.delete();
}

#[test]
fn descriptors() {
    let c = Case::started();
    let files = [fs::File::open("/etc/passwd").unwrap(), fs::File::open("/etc/group").unwrap()];
    let r = c.exec(&[], &["/bin/probe", "report"]).pass_fds(&files).go().ok().last_json();
    assert_eq!(r["fds"].as_object().unwrap().len(), 3, "{}", r["fds"]);
    let run = c.exec(&["--preserve-fds", "1"], &["/bin/probe", "report"]).pass_fds(&files);
    let r = run.go().ok().last_json();
    assert_eq!(r["fds"].as_object().unwrap().len(), 4, "{}", r["fds"]);
    assert_eq!(r["fds"]["3"], "/etc/passwd");
    c.delete();
}

#[test]
fn belongs_to_the_containers_cgroup() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let out = c.exec(&[], &["/bin/sleep", "1000"]).arg0("x").spawn();
    let cgroup = leaks::cgroups(&c.id).pop().expect("a cgroup");
    // Born there, it is seen before its execve.
    let sleeps = |pid: &str| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"/bin/sleep"));
    wait_for("two processes", || {
        let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
        (pids.lines().filter(|pid| sleeps(pid)).count() == 2).then_some(())
    });
    c.delete();
    out.wait().exits(137);
}

#[test]
fn cgroup_below_the_containers() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let cgroup = leaks::cgroups(&c.id).pop().expect("a cgroup");
    fs::create_dir(cgroup.join("sub")).unwrap();
    for path in ["sub", "/sub", "cpu,memory:sub"] {
        let out = c.exec(&["--cgroup", path], &["/bin/cat", "/proc/self/cgroup"]).go().ok();
        assert!(out.stdout.lines().any(|l| l == "0::/sub"), "{path}: {}", out.stdout);
    }
    c.exec(&["--cgroup", "missing"], &["/bin/true"]).go().exits(255).says(&["missing"]);
    c.exec(&["--cgroup", "../.."], &["/bin/true"]).go().exits(255);
    c.delete();
}

#[test]
fn working_directory_is_made() {
    let c = Case::started();
    assert_eq!(c.exec_probe(&["--cwd", "/made/here"], &["report"])["cwd"], "/made/here");
    c.exec(&["--cwd", "relative"], &["/bin/true"]).go().exits(255).says(&["cwd"]);
    c.delete();
}

#[test]
fn joins_the_session_keyring() {
    require!(host::file("/proc/keys"));
    let c = Case::started();
    let text = c.exec_probe(&[], &["report"])["keyring"].as_str().unwrap().to_owned();
    assert!(text.ends_with(&format!("_ses.{}", c.id)), "{text}");
    c.delete();
}

#[test]
fn cpu_affinity() {
    let mut c = Case::new();
    c.set("/process/execCPUAffinity", json!({ "initial": "0", "final": "0" })).args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(c.exec_probe(&[], &["report"])["cpus"], "0");
    c.delete();
    // It is for exec alone.
    let all = c.probe(&["report"])["cpus"].clone();
    assert_eq!(Case::new().probe(&["report"])["cpus"], all);
    // Without `final` nobody takes back what `initial` was, nor gives what was not asked for.
    for (affinity, wanted) in [(json!({ "initial": "0", "final": "" }), json!("0")), (json!({}), all)] {
        c.set("/process/execCPUAffinity", affinity.clone()).args(&["/bin/sleep", "1000"]);
        c.start();
        assert_eq!(c.exec_probe(&[], &["report"])["cpus"], wanted, "{affinity}");
        c.delete();
    }
}

#[test]
fn children_die_with_the_container() {
    let c = Case::started();
    c.exec(&["-d"], &["/bin/sh", "-c", "sleep 1000 & sleep 1000"]).go().ok();
    wait_for("three processes", || (leaks::processes(&c.id).len() >= 3).then_some(()));
    c.kill("KILL").ok();
    wait_for("the end of all", || leaks::processes(&c.id).is_empty().then_some(()));
    c.wait_status("stopped");
    c.verb("delete").ok();
}

#[test]
fn forwards_signals() {
    let c = Case::started();
    let run = c.exec(&[], &["/bin/probe", "trap", "10", "15"]).spawn();
    wait_for("ready", || run.stdout_so_far().contains("ready").then_some(()));
    runtime_tests::sys::kill(run.pid(), 10).unwrap();
    wait_for("the signal", || run.stdout_so_far().contains("signal 10").then_some(()));
    runtime_tests::sys::kill(run.pid(), 15).unwrap();
    run.wait().exits(55);
    c.delete();
}

#[test]
fn many_at_once() {
    let c = Case::started();
    let all: Vec<_> = (0..20).map(|n| c.exec(&[], &["/bin/sh", "-c", &format!("exit {n}")]).spawn()).collect();
    let codes: Vec<i32> = all.into_iter().map(|run| run.wait().code()).collect();
    assert_eq!(codes, (0..20).collect::<Vec<i32>>());
    c.delete();
}

#[test]
fn of_a_container_without_pid_namespace() {
    let mut c = Case::new();
    c.no_namespace("pid").args(&["/bin/sleep", "1000"]);
    c.start();
    let r: Value = c.exec_probe(&[], &["report"]);
    assert!(r["pid"].as_i64().unwrap() > 1);
    c.delete();
}
