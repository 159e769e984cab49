//! The sweeps: every command is killed at each of its system calls in turn, and
//! so is the process it makes. Afterwards `delete --force` must leave nothing,
//! and the same id must work again. And each of those calls fails in turn:
//! then `create` must leave nothing by itself.
//!
//! By default every call of a command is tried. `SWEEP=9` tries every ninth;
//! `SWEEP=full` also kills both together.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use runtime_tests::sys::trace::{End, Harm, Who, harm_at};
use runtime_tests::{Case, host, json, leaks, paths, reaper, require};

/// How many calls to go forward each time.
fn step() -> usize {
    std::env::var("SWEEP").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn full() -> bool {
    std::env::var("SWEEP").is_ok_and(|s| s == "full")
}

/// No command makes more calls than this; the sweep would not end.
const MOST: usize = 5000;

fn command(c: &Case, args: &[&str]) -> Command {
    let mut command = Command::new(paths::orlop());
    command.arg("--root").arg(&c.root).args(args).env(leaks::MARK, &c.id).current_dir(&c.bundle);
    command.stdin(Stdio::null());
    for (name, n) in [("out", 1), ("err", 2)] {
        let file = fs::File::create(c.dir.join(format!("sweep.{name}"))).expect("output file");
        if n == 1 {
            command.stdout(file)
        } else {
            command.stderr(file)
        };
    }
    command
}

/// Kills `args` at its n-th call for n = 1, 2, … until it completes unharmed.
fn sweep(who: Who, args: &[&str], mut setup: impl FnMut(&mut Case)) {
    reaper::start();
    let mut c = Case::new();
    c.args(&["/bin/true"]);
    c.write();
    let full_args: Vec<&str> = args.to_vec();
    let mut faults = Vec::new();
    let mut n = 1;
    loop {
        assert!(n < MOST, "{args:?} never completes");
        setup(&mut c);
        let id = c.id.clone();
        let argv: Vec<&str> = full_args.iter().map(|a| if *a == "ID" { id.as_str() } else { a }).collect();
        let end = harm_at(&mut command(&c, &argv), who, n, Harm::Kill).expect("ptrace");
        let fault = look(&c).err();
        if let (Some(fault), End::Harmed { syscall, .. }) = (&fault, end) {
            faults.push(format!("killed at call {n} (number {syscall}): {fault}"));
            c.forget();
        }
        if let End::Completed { status } = end {
            assert_eq!(status & 0x7f, 0, "{args:?} died of a signal by itself");
            assert_eq!(fault, None, "even unharmed");
            break;
        }
        n += step();
    }
    assert!(faults.is_empty(), "{who:?} of {args:?}, {} of {n} calls:\n{}", faults.len(), faults.join("\n"));
    // The sweep itself must have happened.
    assert!(n > 20 * usize::from(who != Who::Child), "{args:?} made only {n} calls");
}

/// `delete --force` succeeds, nothing is left, the id can be used again.
fn look(c: &Case) -> Result<(), String> {
    let forced = c.orlop(&["delete", "--force", &c.id]).go();
    if forced.code() != 0 {
        return Err(format!("delete --force: {}", forced.stderr.trim_end()));
    }
    c.nothing_left()?;
    let again = c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).go();
    if again.code() != 0 {
        return Err(format!("create again: {}", again.stderr.trim_end()));
    }
    let forced = c.orlop(&["delete", "--force", &c.id]).go();
    if forced.code() != 0 {
        return Err(format!("delete --force again: {}", forced.stderr.trim_end()));
    }
    c.nothing_left()
}

/// Has each call of `create`, or of its child, fail with EIO in turn. It may
/// succeed all the same; when it fails it has undone everything itself, and
/// said why in one line. (Calls whose failure ends it by a signal, as when it
/// gets no memory, are as if it were killed there.)
fn failing_create(who: Who) {
    if cfg!(not(target_arch = "x86_64")) {
        runtime_tests::skip!("calls can only be made to fail on x86_64");
    }
    let mut c = Case::new();
    // A user who is handed the cgroup, so that this can fail as well.
    c.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).mount("/sys/fs/cgroup", "cgroup", "cgroup", &[]);
    c.args(&["/bin/true"]);
    c.write();
    let (mut faults, mut refused, mut n) = (Vec::new(), 0, 1);
    loop {
        assert!(n < MOST, "create never completes");
        let end = harm_at(&mut command(&c, &["create", &c.id]), who, n, Harm::Fail(libc::EIO)).expect("ptrace");
        let End::Harmed { syscall, status } = end else { break };
        let said = fs::read_to_string(c.dir.join("sweep.err")).expect("stderr");
        // Without random numbers Rust's own hash maps give up: a panic, which in
        // the release build is a signal.
        let random = syscall == libc::SYS_getrandom as u64;
        let failed = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0 && !random;
        let fault = match failed {
            true if said.trim_end().lines().count() != 1 => Err(format!("it said {said:?}")),
            true => c.nothing_left(),
            false => Ok(()),
        };
        refused += usize::from(failed);
        if let Err(fault) = fault.and_then(|()| look(&c)) {
            faults.push(format!("call {n} (number {syscall}) failed: {fault}; {}", said.trim_end()));
            c.forget();
        }
        n += step();
    }
    c.forget();
    assert!(faults.is_empty(), "{who:?}, {} of {n} calls:\n{}", faults.len(), faults.join("\n"));
    assert!(refused > 20 / step(), "only {refused} of {n} failing calls made create fail");
}

#[test]
fn create_undoes_itself_when_a_call_fails() {
    failing_create(Who::Parent);
}

#[test]
fn create_undoes_itself_when_a_call_of_init_fails() {
    failing_create(Who::Child);
}

fn nothing(_: &mut Case) {}

fn created(c: &mut Case) {
    c.orlop(&["create", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
}

fn running(c: &mut Case) {
    c.args(&["/bin/sleep", "1000"]);
    c.write();
    created(c);
    c.verb("start").ok();
}

fn stopped(c: &mut Case) {
    created(c);
    c.kill("KILL").ok();
    c.wait_status("stopped");
}

/// A filter that asks an agent, who takes every listener and lets it go.
fn asking(c: &mut Case) {
    let path = c.dir.join("agent.sock");
    if !path.exists() {
        let socket = UnixListener::bind(&path).expect("the agent's socket");
        std::thread::spawn(move || {
            for mut connection in socket.incoming().flatten() {
                let _ = std::io::copy(&mut connection, &mut std::io::sink());
            }
        });
    }
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_NOTIFY" });
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": path });
    c.set("/linux/seccomp", profile).set("/process/noNewPrivileges", false);
    c.write();
}

const CREATE: [&str; 2] = ["create", "ID"];
const RUN: [&str; 2] = ["run", "ID"];
const EXEC: [&str; 3] = ["exec", "ID", "/bin/true"];

#[test]
fn create_is_killed() {
    sweep(Who::Parent, &CREATE, nothing);
}

#[test]
fn create_loses_its_child() {
    sweep(Who::Child, &CREATE, nothing);
}

#[test]
fn run_is_killed() {
    sweep(Who::Parent, &RUN, nothing);
}

#[test]
fn run_loses_its_child() {
    sweep(Who::Child, &RUN, nothing);
}

#[test]
fn start_is_killed() {
    sweep(Who::Parent, &["start", "ID"], created);
}

#[test]
fn start_is_killed_with_an_agent() {
    sweep(Who::Parent, &["start", "ID"], |c| {
        asking(c);
        created(c);
    });
}

#[test]
fn run_loses_its_child_with_an_agent() {
    sweep(Who::Child, &RUN, asking);
}

#[test]
fn exec_is_killed_with_an_agent() {
    sweep(Who::Parent, &EXEC, |c| {
        asking(c);
        running(c);
    });
}

#[test]
fn exec_is_killed() {
    sweep(Who::Parent, &EXEC, running);
}

#[test]
fn exec_loses_its_child() {
    sweep(Who::Child, &EXEC, running);
}

#[test]
fn delete_is_killed() {
    sweep(Who::Parent, &["delete", "ID"], stopped);
}

#[test]
fn forced_delete_is_killed() {
    sweep(Who::Parent, &["delete", "--force", "ID"], running);
}

#[test]
fn update_is_killed() {
    // Core files, which need no controller.
    sweep(Who::Parent, &["update", "-r", "limits.json", "ID"], |c| {
        running(c);
        let limits = r#"{"unified": {"cgroup.max.depth": "9", "cgroup.max.descendants": "99"}}"#;
        fs::write(c.bundle.join("limits.json"), limits).expect("limits.json");
    });
}

const CHECKPOINT: [&str; 4] = ["checkpoint", "--image-path", "image", "ID"];
const RESTORE: [&str; 5] = ["restore", "--detach", "--image-path", "image", "ID"];

#[test]
fn checkpoint_is_killed() {
    require!(host::criu());
    sweep(Who::Parent, &CHECKPOINT, running);
}

#[test]
fn restore_is_killed() {
    require!(host::criu());
    sweep(Who::Parent, &RESTORE, |c| {
        if !c.bundle.join("image").exists() {
            running(c);
            let args: Vec<&str> = CHECKPOINT[..3].iter().copied().chain([c.id.as_str()]).collect();
            c.orlop(&args).cwd(&c.bundle).go().ok();
        }
    });
}

#[test]
fn everybody_is_killed() {
    if !full() {
        runtime_tests::skip!("only with SWEEP=full");
    }
    sweep(Who::All, &CREATE, nothing);
    sweep(Who::All, &RUN, nothing);
    sweep(Who::All, &EXEC, running);
}
