//! Terminals through docker: run, exec, attach.

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, require, sys};

use super::walk::{DEBIAN, Walk, eventually};

#[test]
fn run_with_an_interactive_shell() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.debian();
    let (mut t, run) = w.on_terminal(w.make("run", &["--rm", "-i", "-t"], DEBIAN, &["/bin/bash"]));
    let prompt = t.expect(":/# ");
    assert!(prompt.contains("root@"), "{prompt}");
    t.send("tty; stty size; echo $TERM $- $((6 * 7))\n");
    let seen = t.expect(" 42\r\n");
    assert!(seen.contains("/dev/pts/0\r\n") && seen.contains("40 100\r\n"), "{seen}");
    // An interactive shell with job control: it has the terminal for its own.
    let line = seen.lines().find(|l| l.ends_with(" 42")).unwrap();
    let flags = line.split(' ').nth_back(1).unwrap();
    assert!(line.contains("xterm ") && flags.contains('i') && flags.contains('m'), "{line:?}");
    // Interrupts what is in the foreground, and nothing else.
    t.send("sh -c 'echo $((6 * 8)); exec sleep 1000'\n");
    t.expect("48\r\n");
    t.send("\x03");
    t.expect("^C");
    t.send("echo ended with $?\n");
    t.expect("ended with 130\r\n");
    sys::set_tty_size(&t.master, 33, 77);
    // docker passes the new size on in its own time.
    t.send("until test \"$(stty size)\" = '33 77'; do sleep 0.1; done; echo resized to $(stty size)\n");
    t.expect("resized to 33 77");
    t.send("exit 3\n");
    run.wait().exits(3);
}

#[test]
fn exec_with_an_interactive_shell() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.debian();
    let id = w.start_image(DEBIAN, &[], &["sleep", "1000"]);
    let (mut t, exec) = w.on_terminal(w.docker(&["exec", "-i", "-t", "-e", "COLOUR=green", "-w", "/usr", &id, "bash"]));
    t.expect(&format!("root@{}:/usr# ", &id[..12]));
    t.send("tty; stty size; echo $COLOUR $((6 * 7)); cat /proc/1/comm\n");
    let seen = t.expect("green 42\r\nsleep");
    assert!(seen.contains("/dev/pts/0\r\n") && seen.contains("40 100\r\n"), "{seen}");
    t.send("exit 4\n");
    exec.wait().exits(4);
    assert_eq!(w.inspect(&id, "{{.State.Running}}"), "true");
}

#[test]
fn attach_and_detach_by_keys() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let id =
        w.start(&["-i", "-t"], "echo begun; while read line; do echo got:$line; test $line != end || exit 5; done");
    w.wait_log(&id, "begun");
    let (mut t, attach) = w.on_terminal(w.docker(&["attach", &id]));
    t.send("one\r");
    t.expect("got:one");
    // Control-P control-Q leaves it alone.
    t.send("\x10\x11");
    attach.wait();
    assert_eq!(w.inspect(&id, "{{.State.Status}}"), "running");
    let (mut t, attach) = w.on_terminal(w.docker(&["attach", &id]));
    t.send("two\r");
    t.expect("got:two");
    t.send("end\r");
    attach.wait().exits(5);
    assert_eq!(w.inspect(&id, "{{.State.ExitCode}}"), "5");
}

#[test]
fn attach_without_a_terminal() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "while read line; do echo got:$line; echo heard:$line >&2; done; exit 6";
    let id = w.start(&["-i"], script);
    let (reader, mut writer) = sys::pipe();
    let attach = w.docker(&["attach", &id]).stdin(reader).spawn();
    std::io::Write::write_all(&mut writer, b"one\n").unwrap();
    eventually("an answer", || attach.stdout_so_far().contains("got:one\n").then_some(()));
    std::io::Write::write_all(&mut writer, b"two\n").unwrap();
    eventually("an answer", || attach.stdout_so_far().contains("got:two\n").then_some(()));
    // docker keeps the container's standard input open for whoever attaches next.
    drop(writer);
    w.docker(&["stop", "--time=0", &id]).go().ok();
    let out = attach.wait();
    assert_eq!((out.text(), out.stderr.trim_end()), ("got:one\ngot:two", "heard:one\nheard:two"));
}

/// What is written into `docker run -i` reaches the program, and its end too.
#[test]
fn standard_input_by_a_pipe() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let (reader, mut writer) = sys::pipe();
    let run = w.run(&["-i"], "wc -c; echo over >&2; exit 7").stdin(reader).spawn();
    // More than a pipe holds.
    std::io::Write::write_all(&mut writer, &vec![b'x'; 1 << 20]).unwrap();
    drop(writer);
    let out = run.wait().exits(7);
    assert_eq!((out.text(), out.stderr.trim_end()), ("1048576", "over"));
}
