//! The flags that are criu's, each by what it changes.

use std::fs;
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::console::Terminal;
use runtime_tests::{Case, Cmd, host, json, require, sys};

use super::{assert_gone, checkpoint, count, counting, criu, image, patient, restore, wait_until_past};

/// A first round of memory, then the rest, which says where the first one is.
#[test]
fn a_pre_dump_and_the_rest() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    let first = c.dir.join("first");
    let cmd = c.orlop(&["checkpoint", "--pre-dump", "--image-path"]).arg(&first).arg(&c.id);
    let out = patient(cmd).go();
    if out.stderr.contains("more than this criu or this kernel can do") {
        c.delete();
        runtime_tests::skip!("this kernel does not track changed memory (CONFIG_MEM_SOFT_DIRTY)");
    }
    out.ok();
    assert_eq!(c.status(), "running");
    assert!(!first.join("descriptors.json").exists());
    let now = count(&c);
    wait_until_past(&c, now);
    checkpoint(&c, &["--parent-path", "../first"]).go().ok();
    assert!(image(&c).join("parent").is_symlink());
    restore(&c, &[]).go().ok();
    wait_until_past(&c, now);
    c.delete();
}

/// Memory comes over when it is asked for: from the saved container, which
/// waits for that, by criu's own daemon.
#[test]
fn lazy_pages() {
    require!(criu());
    // For pipes larger than anybody may have.
    require!(host::sys_resource());
    let mut c = Case::new();
    counting(&mut c);
    let (mut ready, theirs) = std::io::pipe().unwrap();
    let flags = ["--lazy-pages", "--page-server", "127.0.0.1:27182", "--status-fd", "3"];
    let serving = checkpoint(&c, &flags).pass_fds(&[&theirs]).spawn();
    drop(theirs);
    // A byte when it serves; nothing if it came to an end before.
    let mut byte = [1];
    if std::io::Read::read(&mut ready, &mut byte).unwrap() == 0 {
        let out = serving.wait();
        assert!(out.stderr.contains("more than this criu or this kernel can do"), "{}", out.stderr);
        c.delete();
        runtime_tests::skip!("no userfaultfd that criu could use");
    }
    assert_eq!(byte, [0]);
    let daemon: Cmd =
        c.program("criu").args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "27182"]);
    let daemon = patient(daemon.arg("-D").arg(image(&c)).arg("-W").arg(c.dir.join("work"))).spawn();
    let socket = c.dir.join("work/lazy-pages.socket");
    wait_for("the daemon's socket", || socket.exists().then_some(()));
    let now = count(&c);
    // Beside the old one, which is there until all of its memory has gone.
    let id = format!("{}-lazy", c.id);
    let cmd = c.orlop(&["restore", "--detach", "--lazy-pages", "--image-path"]).arg(image(&c)).arg("--work-path");
    patient(cmd.arg(c.dir.join("work")).arg("--bundle").arg(&c.bundle).arg(&id)).go().ok();
    wait_until_past(&c, now);
    serving.wait().ok();
    daemon.wait().ok();
    c.verb("state").fails_with(&["container does not exist"]);
    c.orlop(&["delete", "--force", &id]).go().ok();
}

/// A lock that the program holds is an error, unless it is to be saved.
#[test]
fn file_locks() {
    require!(criu());
    let mut c = Case::new();
    c.args(&["/bin/probe", "keep-lock", "/lock"]);
    c.start();
    wait_until_past(&c, 2);
    checkpoint(&c, &[]).go().fails_with(&["cannot checkpoint the container", "dump.log"]);
    checkpoint(&c, &["--file-locks"]).go().ok();
    let now = count(&c);
    restore(&c, &["--file-locks"]).go().ok();
    wait_until_past(&c, now);
    let held = fs::File::open(c.rootfs("/lock")).unwrap().try_lock();
    assert!(matches!(held, Err(fs::TryLockError::WouldBlock)), "{held:?}");
    c.delete();
}

/// A file that has no name any more but a second link outside of criu's sight.
#[test]
fn link_remap() {
    require!(criu());
    let mut c = Case::new();
    c.sh(&format!("echo kept > /a; ln /a /b; exec 9</a; rm /a; {}", super::COUNTER));
    c.start();
    wait_until_past(&c, 2);
    checkpoint(&c, &[]).go().fails_with(&["cannot checkpoint the container"]);
    checkpoint(&c, &["--link-remap"]).go().ok();
    let now = count(&c);
    restore(&c, &["--link-remap"]).go().ok();
    wait_until_past(&c, now);
    assert_eq!(c.exec(&[], &["cat", "/proc/1/fd/9"]).go().ok().text(), "kept");
    c.delete();
}

/// An open connection: refused, kept, or closed.
#[test]
fn tcp() {
    require!(criu());
    let mut c = Case::new();
    c.args(&["/bin/probe", "keep-connection"]);
    c.start();
    wait_until_past(&c, 2);
    checkpoint(&c, &[]).go().fails_with(&["cannot checkpoint the container"]);
    checkpoint(&c, &["--tcp-established"]).go().ok();
    let now = count(&c);
    restore(&c, &["--tcp-established"]).go().ok();
    wait_until_past(&c, now);
    assert!(!c.rootfs("/lost").exists());
    c.delete();
    restore(&c, &["--tcp-close"]).go().ok();
    wait_for("the connection's end", || c.rootfs("/lost").exists().then_some(()));
    c.delete();
}

/// The stdio is the caller's own terminal, before and after.
#[test]
fn shell_job() {
    require!(criu());
    let mut c = Case::new();
    c.sh(&format!("tty >/on; read line; echo got $line >/got; {}", super::COUNTER));
    c.write();
    let run = |cmd: runtime_tests::Cmd| {
        let (master, slave) = sys::open_pty();
        cmd.on_tty(&slave).go().ok();
        Terminal::new(master)
    };
    let _first = run(c.launch("run", &["--detach"], &c.id));
    wait_for("the terminal", || c.rootfs("/on").exists().then_some(()));
    checkpoint(&c, &[]).go().fails_with(&[
        "cannot checkpoint the container",
        "a terminal of the host's",
        "--shell-job",
    ]);
    checkpoint(&c, &["--shell-job"]).go().ok();
    let mut second = run(restore(&c, &["--shell-job"]));
    second.send("hello\n");
    wait_for("the line", || fs::read_to_string(c.rootfs("/got")).ok().filter(|got| got == "got hello\n"));
    c.delete();
}

/// A network namespace is made, and its interfaces are left to a hook.
#[test]
fn empty_network() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    checkpoint(&c, &["--empty-ns", "network"]).go().ok();
    restore(&c, &["--empty-ns", "network"]).go().ok();
    let up = c.exec(&[], &["cat", "/sys/class/net/lo/flags"]).go().ok();
    assert_eq!(up.text(), "0x8", "somebody has set lo up");
    c.delete();
}

/// `org.criu.config` names a file of criu's options, which count more than ours; empty, there is none.
#[test]
fn a_config_file_of_criu() {
    require!(criu());
    let mut c = Case::new();
    let file = c.dir.join("criu.conf");
    c.set("/annotations", json!({ "org.criu.config": file.to_str().unwrap() }));
    counting(&mut c);
    checkpoint(&c, &[]).go().fails_with(&["annotations[org.criu.config]", "criu.conf"]);
    fs::write(&file, "leave-running\nlog-file other.log\n").unwrap();
    checkpoint(&c, &[]).go().ok();
    assert_eq!(c.status(), "running");
    assert!(c.dir.join("work/other.log").exists());
    c.delete();
}

/// Left alone by criu, the processes are in the container's cgroup all the same.
#[test]
fn cgroups_left_alone() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    checkpoint(&c, &["--manage-cgroups-mode", "ignore"]).go().ok();
    let now = count(&c);
    restore(&c, &["--manage-cgroups-mode", "ignore"]).go().ok();
    wait_until_past(&c, now);
    c.verb("pause").ok();
    assert_eq!(c.status(), "paused");
    c.delete();
}

/// How long what comes after a signal takes is not said; that nothing is left is.
#[test]
fn interrupted() {
    require!(criu());
    let mut c = Case::new();
    // Long enough to be interrupted.
    c.set("/hooks/createRuntime", json!([]));
    counting(&mut c);
    checkpoint(&c, &[]).go().ok();
    let began = c.dir.join("began");
    let script = format!("touch {}; exec sleep 1000", began.display());
    c.set("/hooks/createRuntime", json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]));
    let running = restore(&c, &[]).spawn();
    wait_for("the hook", || began.exists().then_some(()));
    std::thread::sleep(Duration::from_millis(50));
    sys::kill(running.pid(), 15).unwrap();
    running.wait().exits(143).says(&["interrupted by SIGTERM"]);
    assert_gone(&c);
}

/// It comes to its end first: neither is the container left paused, nor with
/// criu's code in its processes.
#[test]
fn interrupted_while_it_saves() {
    require!(criu());
    let mut c = Case::new();
    counting(&mut c);
    for delay in [5, 20, 40, 60, 80, 100, 130, 160] {
        let (master, slave) = sys::open_pty();
        let mut terminal = Terminal::new(master);
        let running = checkpoint(&c, &["--leave-running"]).on_tty(&slave).spawn();
        std::thread::sleep(Duration::from_millis(delay));
        terminal.send("\x03");
        running.wait();
        assert_eq!(c.status(), "running", "after {delay} ms");
        let now = count(&c);
        wait_until_past(&c, now);
    }
    c.delete();
}
