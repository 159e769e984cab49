//! A program for the inside of containers: it says what it sees, as JSON, and
//! tries what it is told to try. On the host it serves as a small parent.

mod attack;
mod attempts;
mod calls;
mod keep;
mod load;
mod report;
mod verdicts;

use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::Duration;

use runtime_tests::sys;
use serde_json::{Value, json};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map_or("", String::as_str) {
        "report" => print(report::all()),
        "try" => print(attempts::all(rest)),
        "traced" => print(calls::traced(&rest[0])),
        "trapped" => print(calls::trapped(&rest[0])),
        "thread" => print(calls::in_a_thread(&rest[0])),
        "verdicts" if rest.is_empty() => print(verdicts::all()),
        "verdicts" => print(verdicts::some(rest)),
        "mountinfo" => print(report::mountinfo(rest)),
        "clock" => print(
            json!({ "monotonic": sys::clock(libc::CLOCK_MONOTONIC), "boottime": sys::clock(libc::CLOCK_BOOTTIME) }),
        ),
        "sleep" => std::thread::sleep(Duration::from_millis(rest[0].parse().expect("ms"))),
        "exit" => return ExitCode::from(rest[0].parse::<u8>().expect("a code")),
        "die" => sys::die_of(rest[0].parse().expect("a signal")),
        "trap" => trap(rest),
        "winch" => winch(),
        "subreaper" => subreaper(rest),
        "attack-exe" => attack::overwrite_exe(),
        "attack-proc" => attack::look_into_others(),
        "daemon" => daemon(),
        "notify" => notify(&rest[0]),
        "alloc" => load::alloc(&rest[0]),
        "hold" => load::hold(&rest[0]),
        "burn" => load::burn(&rest[0]),
        "fork-bomb" => load::fork_bomb(),
        "keep-lock" => keep::lock(&rest[0]),
        "keep-vfork" => keep::vfork(&rest[0]),
        "keep-connection" => keep::connection(),
        "write-direct" => print(load::write_direct(&rest[0], &rest[1])),
        other => {
            eprintln!("probe: no command {other:?}");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

fn print(value: Value) {
    println!("{value}");
}

fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

/// Prints `ready`, then each signal it gets; ends with 40 + TERM's number.
fn trap(signals: &[String]) {
    let numbers: Vec<i32> = signals.iter().map(|s| s.parse().expect("a signal")).collect();
    sys::block(&numbers);
    say("ready");
    loop {
        let got = sys::next_signal(&numbers);
        say(&format!("signal {got}"));
        if got == libc::SIGTERM {
            std::process::exit(40 + got);
        }
    }
}

/// Prints the size of the terminal now and after each change; ends with TERM.
fn winch() {
    let signals = [libc::SIGWINCH, libc::SIGTERM, libc::SIGUSR1];
    sys::block(&signals);
    loop {
        let (rows, columns) = sys::tty_size(&std::io::stdin()).unwrap_or_default();
        say(&format!("size {rows}x{columns}."));
        match sys::next_signal(&signals) {
            libc::SIGTERM => std::process::exit(55),
            libc::SIGUSR1 => say("usr1."),
            _ => {}
        }
    }
}

/// Runs a command as an engine's shim does, then says which children it has got.
fn subreaper(command: &[String]) {
    sys::become_subreaper().expect("subreaper");
    let status = Command::new(&command[0]).args(&command[1..]).status().expect("the command");
    let me = std::process::id().to_string();
    let children = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).expect("children");
    let states: Vec<Value> = children.split_whitespace().map(child).collect();
    print(json!({ "code": status.code(), "children": states }));
}

fn child(pid: &str) -> Value {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|l| l.strip_prefix("State:")).unwrap_or("").trim().chars().next();
    json!({ "pid": pid.parse::<i32>().ok(), "state": state })
}

/// Leaves a process behind that holds whatever it inherited.
#[allow(clippy::zombie_processes)] // that is the point
fn daemon() {
    let own = std::env::current_exe().expect("own path");
    Command::new(own).args(["sleep", "600000"]).spawn().expect("the daemon");
}

/// Says something to the service manager, as sd_notify(3) does.
fn notify(text: &str) {
    let path = std::env::var_os("NOTIFY_SOCKET").expect("NOTIFY_SOCKET");
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    socket.send_to(text.as_bytes(), path).expect("sent");
}
