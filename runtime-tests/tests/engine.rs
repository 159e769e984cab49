//! What engines lean on: pid-files, log files, exit codes, stdio, parentage.

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use runtime_tests::command::wait_for;
use runtime_tests::{Case, Value, json, leaks, paths, sys};

// ---- pid-file

#[test]
fn pid_file_is_the_pid_and_nothing_else() {
    let c = Case::new();
    let file = c.dir.join("pid");
    c.launch("create", &["--pid-file", file.to_str().unwrap()], &c.id).go().ok();
    // Go's Atoi doesn't trim: no newline.
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
    let others: Vec<_> = fs::read_dir(&c.dir).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!others.iter().any(|n| n.to_string_lossy().starts_with(".pid")), "{others:?}");
    c.delete();
}

#[test]
fn pid_file_is_relative_to_the_caller() {
    let c = Case::new();
    c.launch("create", &["--pid-file=here.pid"], &c.id).cwd(&c.dir).go().ok();
    assert_eq!(fs::read_to_string(c.dir.join("here.pid")).unwrap(), c.pid().to_string());
    assert!(!c.bundle.join("here.pid").exists());
    c.delete();
}

#[test]
fn no_pid_file_after_a_failure() {
    let mut c = Case::new();
    let file = c.dir.join("pid");
    c.args(&["/nosuch"]);
    c.launch("create", &["--pid-file", file.to_str().unwrap()], &c.id).go().exits(1);
    assert!(!file.exists());
    c.args(&["/bin/true"]);
    c.launch("create", &["--pid-file", "/no/such/dir/pid"], &c.id).go().fails_with(&["/no/such/dir", "no such file"]);
    c.assert_nothing_left();
}

// ---- messages

#[test]
fn error_goes_to_the_log_and_to_stderr() {
    let c = Case::new();
    let log = c.dir.join("log");
    let flags = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    let out = c.bare().args(flags).arg("--root").arg(&c.root).args(["state", &c.id]).go().exits(1);
    assert!(out.stderr.contains("container does not exist"), "{}", out.stderr);
    assert_eq!(out.stdout, "");
    // podman parses the whole file as one object.
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).expect("one JSON object");
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().unwrap().contains("container does not exist"));
    assert_rfc3339(entry["time"].as_str().unwrap());
}

fn assert_rfc3339(time: &str) {
    let b = time.as_bytes();
    let shape = b.len() >= 20 && b[4] == b'-' && b[7] == b'-' && b[10] == b'T' && b[13] == b':' && b[16] == b':';
    let zone = time.ends_with('Z') || time[19..].contains(['+', '-']);
    assert!(shape && zone, "RFC 3339: {time}");
}

#[test]
fn log_is_appended_to() {
    let c = Case::new();
    let log = c.dir.join("log");
    fs::write(&log, "earlier\n").unwrap();
    c.bare().arg("--log").arg(&log).arg("--root").arg(&c.root).args(["state", "x1"]).go().exits(1);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("earlier\n") && text.contains("container does not exist"), "{text}");
    assert_eq!(text.lines().count(), 2, "one line per failure");
}

#[test]
fn success_writes_nothing_to_the_log() {
    let c = Case::new();
    c.write();
    let log = c.dir.join("log");
    let flags = ["--log", log.to_str().unwrap(), "--log-format=json"];
    c.bare().args(flags).arg("--root").arg(&c.root).args(["run", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn early_failures_are_logged_too() {
    // A bad command line must reach the engine by the log file as any other failure.
    let c = Case::new();
    let cases: [&[&str]; 6] = [
        &["create", "--no-such-flag", "x1"],
        &["no-such-command"],
        &["create"],
        &["create", "--preserve-fds", "x", "x1"],
        &["state"],
        &["--root", "/", "state", "x1"],
    ];
    for (n, args) in cases.iter().enumerate() {
        let log = c.dir.join(format!("log{n}"));
        let out = c.bare().args(["--log-format", "json", "--log"]).arg(&log).args(*args).go();
        assert_ne!(out.code(), 0, "{args:?}");
        assert!(!out.stderr.is_empty(), "{args:?}");
        let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap_or_default())
            .unwrap_or_else(|e| panic!("{args:?}: {e}; stderr {}", out.stderr));
        assert_eq!(entry["level"], "error", "{args:?}");
    }
}

#[test]
fn log_that_cannot_be_opened() {
    let c = Case::new();
    let out = c.bare().args(["--log", "/no/such/dir/log", "--root"]).arg(&c.root).args(["list"]).go().exits(1);
    assert!(out.stderr.contains("/no/such/dir/log"), "{}", out.stderr);
}

#[test]
fn error_is_one_short_line() {
    // conmon reads once; podman shows the first line that matches.
    let mut c = Case::new();
    c.args(&["/no/such/program"]);
    let out = c.create().exits(1);
    assert_eq!(out.stderr.trim_end().lines().count(), 1, "{}", out.stderr);
    assert!(out.stderr.len() < 8191);
    assert!(!out.stderr.contains("os error"), "kernel wording, not Rust's: {}", out.stderr);
}

#[test]
fn root_must_be_a_directory_of_its_own() {
    let c = Case::new();
    for root in ["/", "", "//", "/."] {
        let out = c.bare().args(["--root", root, "state", "x1"]).go();
        assert_ne!(out.code(), 0, "--root {root:?}");
        assert!(!out.stderr.contains("does not exist"), "refused before looking: {}", out.stderr);
    }
}

#[test]
fn version_is_what_engines_parse() {
    let c = Case::new();
    for flag in ["--version", "-v"] {
        let out = c.bare().arg(flag).go().ok();
        let lines: Vec<&str> = out.stdout.lines().collect();
        let (name, number) = lines[0].split_once(" version ").expect("NAME version X");
        assert_eq!(name, "orlop");
        assert!(number.split('.').count() >= 3, "{number}");
        assert!(lines.iter().skip(1).all(|l| !l.contains("version")), "docker takes the last: {lines:?}");
        assert!(lines.iter().any(|l| l.starts_with("spec: ")), "{lines:?}");
        assert!(lines.iter().any(|l| l.starts_with("commit: ")), "{lines:?}");
    }
}

#[test]
fn help_everywhere() {
    let c = Case::new();
    let commands = [
        "create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "pause", "resume", "update",
        "events", "features", "spec", "restore",
    ];
    for command in commands {
        for flag in ["--help", "-h"] {
            let out = c.bare().args([command, flag]).go().ok();
            assert!(out.stdout.contains(command), "{command} {flag}: {}", out.stdout);
        }
    }
    let all = c.bare().arg("--help").go().ok().stdout;
    assert!(commands.iter().all(|command| all.contains(command)), "{all}");
}

#[test]
fn features_document() {
    let c = Case::new();
    let out = c.bare().arg("features").go().ok();
    assert_eq!(out.stderr, "");
    let f = out.json();
    assert!(!f["ociVersionMin"].as_str().unwrap().is_empty() && !f["ociVersionMax"].as_str().unwrap().is_empty());
    let options = f["mountOptions"].as_array().unwrap();
    for wanted in ["rro", "bind", "rbind", "tmpcopyup", "ro", "rprivate"] {
        assert!(options.contains(&json!(wanted)), "{wanted}");
    }
    let hooks = f["hooks"].as_array().unwrap();
    assert_eq!(hooks.len(), 6);
    assert!(f["linux"]["namespaces"].as_array().unwrap().contains(&json!("mount")));
}

#[test]
fn both_ends_of_the_spec_are_accepted() {
    let mut c = Case::new();
    let f = c.bare().arg("features").go().ok().json();
    for end in ["ociVersionMin", "ociVersionMax"] {
        c.set("/ociVersion", f[end].clone());
        c.run().ok();
    }
}

#[test]
fn spec_makes_a_config_that_runs() {
    let mut c = Case::new();
    c.orlop(&["spec", "--bundle"]).arg(&c.bundle).go().ok();
    let text = fs::read_to_string(c.bundle.join("config.json")).unwrap();
    c.orlop(&["spec", "--bundle"]).arg(&c.bundle).go().exits(1);
    assert_eq!(fs::read_to_string(c.bundle.join("config.json")).unwrap(), text, "never overwritten");
    c.config = serde_json::from_str(&text).unwrap();
    assert_eq!(c.config["process"]["capabilities"].get("inheritable"), None, "CVE-2022-29162");
    for expected in ["/proc", "/sys", "/dev/pts", "/dev/shm"] {
        let there = c.config["mounts"].as_array().unwrap().iter().any(|m| m["destination"] == expected);
        assert!(there, "programs expect {expected}");
    }
    c.set("/process/terminal", false).sh("echo fine");
    c.env(&format!("{}={}", leaks::MARK, c.id));
    assert_eq!(c.run().ok().text(), "fine");
}

#[test]
fn without_any_cgroup() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    c.write();
    c.orlop(&["--cgroup-manager", "disabled", "create", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    assert_eq!(leaks::cgroups(&c.id), Vec::<std::path::PathBuf>::new());
    c.verb("start").ok();
    c.verb("pause").exits(1);
    c.delete();
}

// ---- stdio, parentage

#[test]
fn capture_pipe_reaches_its_end() {
    // go-runc waits for EOF on the pipe after create has exited; the container
    // has its own streams, only a forgotten helper would hold the pipe.
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]).set("/process/terminal", true);
    let socket = runtime_tests::console::FdSocket::new();
    let (mut read, write) = sys::pipe();
    let flags = ["--console-socket", socket.path.to_str().unwrap()];
    let copy = write.try_clone().unwrap();
    c.launch("create", &flags, &c.id).stdout(write).stderr(copy).go().ok();
    assert_eof(&mut read);
    let (read2, write2) = sys::pipe();
    let copy = write2.try_clone().unwrap();
    c.orlop(&["start", &c.id]).stdout(write2).stderr(copy).go().ok();
    assert_eof(&mut { read2 });
    c.delete();
}

fn assert_eof(pipe: &mut fs::File) {
    let end = Instant::now() + Duration::from_secs(5);
    let mut text = Vec::new();
    while Instant::now() < end {
        if sys::readable(pipe, 100) {
            let mut buffer = [0; 512];
            match pipe.read(&mut buffer).unwrap() {
                0 => return assert_eq!(String::from_utf8_lossy(&text), ""),
                n => text.extend_from_slice(&buffer[..n]),
            }
        }
    }
    panic!("somebody still holds the pipe");
}

#[test]
fn streams_are_inherited() {
    let mut c = Case::new();
    c.sh("cat; echo problem >&2; exit 3");
    fs::write(c.dir.join("in"), "from outside\n").unwrap();
    let run = c.launch("run", &[], &c.id).stdin(fs::File::open(c.dir.join("in")).unwrap()).go();
    let out = run.exits(3);
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("from outside\n", "problem\n"));
}

#[test]
fn create_hands_its_streams_on() {
    let mut c = Case::new();
    c.sh("echo out; echo err >&2");
    let (mut read, write) = sys::pipe();
    c.launch("create", &[], &c.id).stdin(Stdio::null()).stdout(write).go().ok();
    c.verb("start").ok();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\n");
    c.wait_status("stopped");
    c.delete();
}

#[test]
fn container_becomes_the_subreapers_child() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    c.write();
    let shim = c.program(paths::probe().to_str().unwrap()).arg("subreaper").arg(paths::orlop());
    let shim = shim.arg("--root").arg(&c.root).args(["create", "--bundle"]).arg(&c.bundle).arg(&c.id);
    let seen = shim.go().ok().last_json();
    assert_eq!(seen["code"], 0);
    let children = seen["children"].as_array().unwrap();
    // Exactly one: no helper, no zombie.
    assert_eq!(children.len(), 1, "{children:?}");
    assert_ne!(children[0]["state"], "Z");
    assert_eq!(children[0]["pid"], json!(c.pid()));
    c.delete();
}

#[test]
fn detached_exec_becomes_the_subreapers_child() {
    let c = Case::started();
    let shim = c.program(paths::probe().to_str().unwrap()).arg("subreaper").arg(paths::orlop());
    let pid_file = c.dir.join("exec.pid");
    let shim = shim.arg("--root").arg(&c.root).args(["exec", "-d", "--pid-file"]).arg(&pid_file);
    let seen = shim.arg(&c.id).args(["/bin/sleep", "1000"]).go().ok().last_json();
    let children = seen["children"].as_array().unwrap();
    assert_eq!(children.len(), 1, "{children:?}");
    assert_eq!(children[0]["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    c.delete();
}

#[test]
fn pidfd_socket() {
    let c = Case::new();
    let socket = runtime_tests::console::FdSocket::new();
    c.launch("create", &["--pidfd-socket", socket.path.to_str().unwrap()], &c.id).go().ok();
    let (name, fd) = socket.take();
    assert_eq!(name, "standard");
    let raw = std::os::fd::AsRawFd::as_raw_fd(&fd);
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{raw}")).unwrap();
    assert!(info.lines().any(|l| l == format!("Pid:\t{}", c.pid())), "{info}");
    c.delete();
}

// ---- run

#[test]
fn run_removes_its_container() {
    let mut c = Case::new();
    c.args(&["/bin/false"]).run().exits(1);
    c.assert_nothing_left();
    c.args(&["/nosuch"]).run().exits(1);
    c.assert_nothing_left();
}

#[test]
fn run_detached() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    c.launch("run", &["-d", "--pid-file", "p"], &c.id).cwd(&c.dir).go().ok();
    assert_eq!(c.status(), "running");
    assert_eq!(fs::read_to_string(c.dir.join("p")).unwrap(), c.pid().to_string());
    c.delete();
}

#[test]
fn run_keeps_the_container_when_asked() {
    let c = Case::new();
    c.launch("run", &["--keep"], &c.id).go().ok();
    assert_eq!(c.status(), "stopped");
    // BuildKit reads memory.events and the like there.
    assert_eq!(leaks::cgroups(&c.id).len(), 1, "the cgroup stays, too");
    c.verb("delete").ok();
}

#[test]
fn run_forwards_signals() {
    let mut c = Case::new();
    c.args(&["/bin/probe", "trap", "1", "2", "10", "34", "15"]);
    let run = c.launch("run", &[], &c.id).spawn();
    wait_for("ready", || run.stdout_so_far().contains("ready").then_some(()));
    for signal in [1, 2, 10, 34, 15] {
        sys::kill(run.pid(), signal).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = run.wait().exits(55);
    assert_eq!(out.stdout, "ready\nsignal 1\nsignal 2\nsignal 10\nsignal 34\nsignal 15\n");
}

#[test]
fn create_that_is_told_to_stop() {
    // conmon forwards TERM to the runtime: it must leave nothing.
    let mut c = Case::new();
    let mark = c.dir.join("in-hook");
    let script = format!("echo > {}; exec sleep 1000", mark.display());
    c.set("/hooks", json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] }));
    for signal in [15, 2] {
        let _ = fs::remove_file(&mark);
        let create = c.launch("create", &[], &c.id).spawn();
        wait_for("the hook", || mark.exists().then_some(()));
        sys::kill(create.pid(), signal).unwrap();
        create.wait().exits(128 + signal).says(&["interrupted by SIG"]);
        c.assert_nothing_left();
    }
}

#[test]
fn run_that_is_told_to_stop_while_hooks_run() {
    // A hook without a timeout must not make `run` deaf to its service manager.
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    let mark = c.rootfs("mark");
    for (kind, inside) in [("startContainer", "/mark"), ("poststart", mark.to_str().unwrap())] {
        let script = format!("echo > {inside}; exec sleep 1000");
        c.set("/hooks", json!({ kind: [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] }));
        for flags in [&["-d"][..], &[]] {
            let _ = fs::remove_file(&mark);
            let run = c.launch("run", flags, &c.id).spawn();
            wait_for("the hook", || mark.exists().then_some(()));
            sys::kill(run.pid(), 15).unwrap();
            run.wait().exits(143).says(&["interrupted by SIGTERM"]);
            c.assert_nothing_left();
        }
    }
}

#[test]
fn detached_run_that_never_gets_ready_can_be_stopped() {
    let mut c = Case::new();
    let socket = c.dir.join("manager.sock");
    let _manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    c.args(&["/bin/sleep", "1000"]);
    let run = c.launch("run", &["-d"], &c.id).env("NOTIFY_SOCKET", &socket).spawn();
    wait_for("the program", || {
        let state = c.orlop(&["state", &c.id]).go();
        state.stdout.contains("\"running\"").then_some(())
    });
    sys::kill(run.pid(), 15).unwrap();
    run.wait().exits(143).says(&["interrupted by SIGTERM"]);
    c.assert_nothing_left();
}

#[test]
fn run_whose_container_is_deleted_by_another() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    for _ in 0..5 {
        let run = c.launch("run", &[], &c.id).spawn();
        wait_for("the program", || c.orlop(&["state", &c.id]).go().stdout.contains("\"running\"").then_some(()));
        c.delete();
        let out = run.wait().exits(137);
        assert_eq!(out.stderr, "", "that it is gone already is no fault");
    }
}

#[test]
fn two_creates_of_one_id() {
    let c = Case::new();
    c.write();
    for _ in 0..10 {
        let both: Vec<_> = (0..2).map(|_| c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).spawn()).collect();
        let codes: Vec<i32> = both.into_iter().map(|r| r.wait().code()).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "one wins: {codes:?}");
        assert_eq!(c.status(), "created");
        c.verb("start").ok();
        c.delete();
    }
}

#[test]
fn pid_reuse_does_not_fool_us() {
    // The recorded start time is another one: the number now names a stranger.
    let c = Case::started();
    // Start times have a resolution of 10 ms.
    std::thread::sleep(Duration::from_millis(50));
    let mut stranger = c.program("sleep").arg("1000").spawn();
    let pid = c.pid();
    let dir = c.root.join(&c.id);
    let file = dir.join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&pid.to_string(), &stranger.pid().to_string())).unwrap();
    assert_eq!(c.status(), "stopped");
    c.kill("KILL").fails_with(&["container not running"]);
    assert!(stranger.child.try_wait().unwrap().is_none(), "the stranger lives");
    fs::write(&file, text).unwrap();
    c.delete();
    stranger.child.kill().unwrap();
    stranger.wait();
}
