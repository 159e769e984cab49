//! Terminals: the console socket, sizes, the foreground, what is restored.

use std::fs::File;

use runtime_tests::command::wait_for;
use runtime_tests::console::{FdSocket, Terminal};
use runtime_tests::{Case, json, sys};

/// A container with a terminal, created, and the other side of it.
fn created_with_terminal(c: &mut Case) -> Terminal {
    c.set("/process/terminal", true);
    let socket = FdSocket::new();
    c.launch("create", &["--console-socket", socket.path.to_str().unwrap()], &c.id).go().ok();
    let (name, master) = socket.take();
    assert!((1..4096).contains(&name.len()), "a name, not nothing: {name:?}");
    Terminal::new(master)
}

#[test]
fn console_socket() {
    let mut c = Case::new();
    c.sh("tty; test -t 0 && test -t 1 && test -t 2 && echo all three; read x; echo got $x");
    let mut t = created_with_terminal(&mut c);
    c.verb("start").ok();
    let text = t.expect("all three");
    assert!(text.contains("/dev/pts/0") || text.contains("/dev/console"), "{text}");
    t.send("hello\n");
    t.expect("got hello");
    c.wait_status("stopped");
    c.delete();
}

#[test]
fn settings_are_the_kernels_defaults() {
    // As with runc and crun (tried): ONLCR stays set. The docker CLI puts the
    // user's terminal in raw mode and relies on the CR from inside.
    let mut c = Case::new();
    c.sh("echo one; echo two");
    let mut t = created_with_terminal(&mut c);
    c.verb("start").ok();
    assert_eq!(t.rest(), "one\r\ntwo\r\n");
    c.wait_status("stopped");
    c.delete();
}

#[test]
fn console_device() {
    let mut c = Case::new();
    c.sh("echo written > /dev/console; stat -c '%F %u' /dev/console; cat /proc/self/stat | cut -d' ' -f6,7");
    c.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let mut t = created_with_terminal(&mut c);
    c.verb("start").ok();
    let text = t.rest().replace("\r\n", "\n");
    assert!(text.contains("written\n"), "{text}");
    assert!(text.contains("character special file 1000\n"), "owned by the user: {text}");
    let line = text.lines().last().unwrap();
    let (session, tty) = line.split_once(' ').unwrap();
    assert_eq!(session, "1", "the leader of a session of its own");
    assert_ne!(tty, "0", "with the console as its controlling terminal");
    c.wait_status("stopped");
    c.delete();
}

#[test]
fn console_size() {
    let mut c = Case::new();
    c.set("/process/consoleSize", json!({ "height": 33, "width": 111 })).args(&["/bin/stty", "size"]);
    let mut t = created_with_terminal(&mut c);
    assert_eq!(sys::tty_size(&t.master).unwrap(), (33, 111), "already when create returns");
    c.verb("start").ok();
    t.expect("33 111");
    c.wait_status("stopped");
    c.delete();
}

#[test]
fn console_size_without_a_terminal_is_ignored() {
    let mut c = Case::new();
    c.set("/process/consoleSize", json!({ "height": 33, "width": 111 }));
    c.run().ok();
}

#[test]
fn terminal_needs_a_socket_and_a_socket_a_terminal() {
    let mut c = Case::new();
    let socket = FdSocket::new();
    let path = socket.path.to_str().unwrap().to_owned();
    c.launch("create", &["--console-socket", &path], &c.id).go().fails_with(&["console-socket", "terminal"]);
    c.set("/process/terminal", true);
    c.launch("create", &[], &c.id).go().fails_with(&["console-socket"]);
    c.launch("run", &["-d"], &c.id).go().fails_with(&["console-socket"]);
    c.launch("create", &["--console-socket", "/no/such/socket"], &c.id).go().fails_with(&["/no/such/socket"]);
    assert!(socket.is_untouched());
    c.assert_nothing_left();
}

#[test]
fn socket_path_is_relative_to_the_caller() {
    let mut c = Case::new();
    c.set("/process/terminal", true);
    let socket = FdSocket::new();
    let dir = socket.path.parent().unwrap().to_owned();
    c.launch("create", &["--console-socket", "s"], &c.id).cwd(dir).go().ok();
    socket.take();
    c.delete();
}

#[test]
fn socket_path_may_be_long() {
    // sun_path has room for 108 bytes; engines' state directories may be deeper.
    let mut c = Case::new();
    c.set("/process/terminal", true);
    let socket = FdSocket::new();
    let deep = socket.path.parent().unwrap().join("d".repeat(60)).join("e".repeat(60));
    std::fs::create_dir_all(&deep).unwrap();
    let long = deep.join("socket");
    std::fs::rename(&socket.path, &long).unwrap();
    c.launch("create", &["--console-socket", long.to_str().unwrap()], &c.id).go().ok();
    socket.take();
    c.delete();
}

#[test]
fn exec_with_a_terminal() {
    let c = Case::started();
    let socket = FdSocket::new();
    let path = socket.path.to_str().unwrap().to_owned();
    c.exec(&["-t", "-d", "--console-socket", &path], &["/bin/sh", "-c", "tty; read x; echo got $x"]).go().ok();
    let (_, master) = socket.take();
    let mut t = Terminal::new(master);
    t.expect("/dev/pts/");
    t.send("word\n");
    t.expect("got word");
    c.exec(&["-t", "-d"], &["/bin/true"]).go().exits(255).says(&["console-socket"]);
    c.delete();
}

#[test]
fn exec_console_size_from_a_file() {
    let c = Case::started();
    let process = json!({
        "terminal": true, "consoleSize": { "height": 21, "width": 43 }, "user": { "uid": 0, "gid": 0 },
        "args": ["/bin/stty", "size"], "cwd": "/", "env": [runtime_tests::bundle::PATH],
    });
    let file = c.dir.join("p.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let socket = FdSocket::new();
    let (file, path) = (file.to_str().unwrap(), socket.path.to_str().unwrap());
    c.orlop(&["exec", "--process", file, "--console-socket", path, "-d", &c.id]).go().ok();
    let mut t = Terminal::new(socket.take().1);
    t.expect("21 43");
    c.delete();
}

// ---- in the foreground: our terminal is the user's

struct Foreground {
    terminal: Terminal,
    slave: File,
    before: [u32; 4],
}

impl Foreground {
    fn new() -> Self {
        let (master, slave) = sys::open_pty();
        sys::set_tty_size(&master, 40, 100);
        let before = sys::termios(&slave).unwrap();
        Self { terminal: Terminal::new(master), slave, before }
    }

    #[track_caller]
    fn assert_restored(&self) {
        assert_eq!(sys::termios(&self.slave).unwrap(), self.before, "the terminal is as it was");
    }
}

#[test]
fn run_in_the_foreground() {
    let mut c = Case::new();
    c.set("/process/terminal", true).args(&["/bin/probe", "winch"]);
    let mut f = Foreground::new();
    let run = c.launch("run", &[], &c.id).on_tty(&f.slave).spawn();
    f.terminal.expect("size 40x100.");
    let raw = sys::termios(&f.slave).unwrap();
    assert_ne!(raw, f.before, "raw while it runs");
    assert_eq!(raw[3] & (libc_echo() | libc_icanon()), 0);
    // A resize of ours becomes one of the container's.
    sys::set_tty_size(&f.terminal.master, 50, 120);
    sys::kill(run.pid(), 28).unwrap();
    f.terminal.expect("size 50x120.");
    sys::kill(run.pid(), 10).unwrap();
    f.terminal.expect("usr1.");
    sys::kill(run.pid(), 15).unwrap();
    run.wait().exits(55);
    f.assert_restored();
}

fn libc_echo() -> u32 {
    0o10
}

fn libc_icanon() -> u32 {
    0o2
}

#[test]
fn typing_reaches_the_program() {
    let mut c = Case::new();
    c.set("/process/terminal", true).sh("echo ready; read x; echo got $x; exit 9");
    let mut f = Foreground::new();
    let run = c.launch("run", &[], &c.id).on_tty(&f.slave).spawn();
    f.terminal.expect("ready");
    f.terminal.send("typed\r");
    f.terminal.expect("got typed");
    run.wait().exits(9);
    f.assert_restored();
}

#[test]
fn control_c_goes_to_the_program() {
    let mut c = Case::new();
    c.set("/process/terminal", true)
        .sh("trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done");
    let mut f = Foreground::new();
    let run = c.launch("run", &[], &c.id).on_tty(&f.slave).spawn();
    f.terminal.expect("ready");
    f.terminal.send("\x03");
    f.terminal.expect("interrupted");
    run.wait().exits(3);
    f.assert_restored();
}

#[test]
fn terminal_is_restored_when_the_program_is_killed() {
    let mut c = Case::new();
    c.set("/process/terminal", true).sh("stty raw; echo ready; sleep 1000");
    let mut f = Foreground::new();
    let run = c.launch("run", &[], &c.id).on_tty(&f.slave).spawn();
    f.terminal.expect("ready");
    c.kill("KILL").ok();
    run.wait().exits(137);
    f.assert_restored();
}

#[test]
fn terminal_is_restored_after_our_own_failure() {
    let mut c = Case::new();
    c.set("/process/terminal", true).args(&["/nosuch"]);
    let f = Foreground::new();
    c.launch("run", &[], &c.id).on_tty(&f.slave).spawn().wait().exits(1);
    f.assert_restored();
    c.assert_nothing_left();
}

#[test]
fn all_output_arrives() {
    // What is still in the pty when the program ends must not be lost.
    let mut c = Case::new();
    c.set("/process/terminal", true).sh("seq 1 20000; echo the end");
    let mut f = Foreground::new();
    let run = c.launch("run", &[], &c.id).on_tty(&f.slave).spawn();
    let text = f.terminal.expect("the end");
    assert!(text.contains("19999"));
    run.wait().exits(0);
}

#[test]
fn exec_in_the_foreground() {
    let c = Case::started();
    let mut f = Foreground::new();
    let run = c.exec(&["-t"], &["/bin/sh", "-c", "stty size; read x; echo got $x; exit 6"]).on_tty(&f.slave).spawn();
    f.terminal.expect("40 100");
    f.terminal.send("text\r");
    f.terminal.expect("got text");
    run.wait().exits(6);
    f.assert_restored();
    c.delete();
}

#[test]
fn terminal_without_a_tty_of_ours() {
    // CRI and scripts: terminal asked for, our own streams are pipes.
    let mut c = Case::new();
    c.set("/process/terminal", true).sh("test -t 1 && echo a terminal inside");
    let out = c.run().ok();
    assert!(out.stdout.contains("a terminal inside"), "{}", out.stdout);
}

#[test]
fn terminal_in_a_readonly_root() {
    let mut c = Case::new();
    c.set("/root/readonly", true).sh("echo fine > /dev/console");
    let mut t = created_with_terminal(&mut c);
    c.verb("start").ok();
    t.expect("fine");
    wait_for("its end", || (c.status() == "stopped").then_some(()));
    c.delete();
}
