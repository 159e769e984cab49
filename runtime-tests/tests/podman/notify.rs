//! What a caller hands over, and what a service manager is told.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, require, sys};

use super::Podman;

#[test]
fn descriptors_are_preserved() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let handed = |text: &str| {
        let (out, mut to) = sys::pipe();
        to.write_all(text.as_bytes()).unwrap();
        out
    };
    let script = "cat <&3; cat <&4; ls /proc/self/fd | wc -l";
    // ls has its directory open besides.
    let run = p.run(&["--rm", "--preserve-fds=2"], &["sh", "-c", script]).pass_fds(&[handed("one "), handed("two\n")]);
    assert_eq!(run.go().ok().stdout, "one two\n6\n");
    p.start(&[], &["sleep", "1000"]);
    let exec = p.exec(&["--preserve-fds=1"], &["sh", "-c", "cat <&3"]).pass_fds(&[handed("to exec")]);
    assert_eq!(exec.go().ok().stdout, "to exec");
}

/// A service manager's socket.
struct Service {
    socket: UnixDatagram,
    path: String,
    _dir: tempfile::TempDir,
}

impl Service {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned(), _dir: dir }
    }

    /// Everything it is told until it has been told what is asked for.
    #[track_caller]
    fn told(&self, texts: &[&str]) -> String {
        let mut all = String::new();
        while !texts.iter().all(|text| all.contains(text)) {
            let mut buffer = [0; 4096];
            let n = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{e}: only {all:?}"));
            all += &String::from_utf8_lossy(&buffer[..n]);
            all.push('\n');
        }
        all
    }
}

#[test]
fn conmon_says_that_it_is_ready() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let service = Service::new();
    let flags = ["-d", "--name", &p.c.id, "--sdnotify=conmon"];
    p.run(&flags, &["sh", "-c", "echo socket=$NOTIFY_SOCKET; exec sleep 1000"])
        .env("NOTIFY_SOCKET", &service.path)
        .go()
        .ok();
    let told = service.told(&["READY=1", "MAINPID="]);
    let conmon = fs::read_to_string(p.inspect(&p.c.id, "ConmonPidFile")).unwrap();
    assert!(told.contains(&format!("MAINPID={}", conmon.trim())), "{told}");
    assert_eq!(p.wait_log("socket="), "socket=\n", "the container knows nothing of it");
}

#[test]
fn the_program_says_that_it_is_ready() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let service = Service::new();
    let flags = ["-d", "--name", &p.c.id, "--sdnotify=container"];
    // Not before it is told to: nobody else says so in its place.
    let program = "until [ -e /tmp/go ]; do sleep 0.1; done; probe notify READY=1; exec sleep 1000";
    let run = p.run(&flags, &["sh", "-c", program]).env("NOTIFY_SOCKET", &service.path).go().ok();
    drop(run);
    service.socket.set_nonblocking(true).unwrap();
    let mut early = [0; 4096];
    let n = service.socket.recv(&mut early).unwrap_or(0);
    assert!(!String::from_utf8_lossy(&early[..n]).contains("READY=1"), "not ready yet");
    service.socket.set_nonblocking(false).unwrap();
    p.sh("touch /tmp/go");
    service.told(&["READY=1"]);
}
