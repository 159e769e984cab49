//! `-it`: a terminal, its size, leaving it and coming back.

use std::fs::File;

use runtime_tests::console::Terminal;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, require, sys};

use super::Podman;

/// What ends being attached: one key, because podman reads it by itself.
const DETACH: (&str, &str) = ("--detach-keys=ctrl-x", "\u{18}");

/// A terminal as a user sits at.
fn terminal() -> (Terminal, File) {
    let (master, slave) = sys::open_pty();
    sys::set_tty_size(&master, 40, 100);
    (Terminal::new(master), slave)
}

/// `run -it`, resized, left, come back to; then `exec -it`.
fn at_a_terminal(p: &Podman) {
    let (mut t, slave) = terminal();
    let run = p.run(&["-it", DETACH.0, "--name", &p.c.id], &["probe", "winch"]).on_tty(&slave).spawn();
    t.expect("size 40x100.");
    sys::set_tty_size(&t.master, 50, 120);
    t.expect("size 50x120.");
    t.send(DETACH.1);
    run.wait().ok();

    let (mut t, slave) = terminal();
    let exec = p.exec(&["-it"], &["sh", "-c", "tty; stty size; read x; echo got $x; exit 7"]).on_tty(&slave).spawn();
    t.expect("/dev/pts/");
    t.send("word\n");
    t.expect("got word");
    exec.wait().exits(7);

    let (mut t, slave) = terminal();
    let attach = p.command(&["attach", "--sig-proxy=false", &p.c.id]).on_tty(&slave).spawn();
    t.expect("size 40x100.");
    p.ok(&["kill", "--signal=TERM", &p.c.id]);
    attach.wait().ok();
    assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), "55");
}

#[test]
fn run_exec_and_attach_at_a_terminal() {
    require!(offered(Manager::Systemd));
    at_a_terminal(&Podman::new(Manager::Systemd));
}

#[test]
fn run_exec_and_attach_at_a_terminal_rootless() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    at_a_terminal(&Podman::rootless());
}
