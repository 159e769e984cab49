//! No systemd there, or something else in its place: needs none to be tested.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use runtime_tests::{Case, host, json, require, sys};

use super::{case, create, systemd};

fn at(socket: &Path) -> String {
    format!("unix:path={}", socket.display())
}

#[test]
fn no_bus() {
    require!(host::has_cgroup2());
    let (c, _) = case();
    let nobody = c.dir.join("nobody");
    let said = create(&c).env("DBUS_SYSTEM_BUS_ADDRESS", at(&nobody)).go().fails_with(&[
        "cannot talk to systemd",
        "nobody: no such file or directory",
        "--cgroup-manager cgroupfs",
    ]);
    assert_eq!(said.stderr.trim().lines().count(), 1, "{}", said.stderr);
    create(&c).env("DBUS_SYSTEM_BUS_ADDRESS", "tcp:host=x").go().fails_with(&["no address of a bus"]);
    if systemd().is_err() {
        create(&c).go().fails_with(&["cannot talk to systemd: /run/dbus/system_bus_socket, /run/systemd/private"]);
    }
    c.assert_nothing_left();
}

#[test]
fn faults_are_found_before_systemd_is_asked() {
    require!(host::has_cgroup2());
    let (mut c, _) = case();
    let nobody = at(&c.dir.join("nobody"));
    for path in ["/a/b", "a.slice:b", "a.slice:b:c:d", "a/b.slice:c:d", "a--b.slice:c:d", "a:b:c", "a.slice:b:"] {
        c.set("/linux/cgroupsPath", path);
        create(&c).env("DBUS_SYSTEM_BUS_ADDRESS", &nobody).go().fails_with(&["linux.cgroupsPath", path]);
    }
    c.set("/linux/cgroupsPath", ":x:y");
    for (name, value) in
        [("A", "1"), ("Foo2", "1"), ("Foo", "bar"), ("Foo", "['a'"), ("TimeoutStopSec", "'x'"), ("PIDs", "[1]")]
    {
        let key = format!("org.systemd.property.{name}");
        c.set("/annotations", json!({ &key: value }));
        create(&c).env("DBUS_SYSTEM_BUS_ADDRESS", &nobody).go().fails_with(&["annotations[", &key]);
    }
    c.assert_nothing_left();
    // They mean nothing to cgroupfs.
    c.unset("/linux/cgroupsPath").args(&["/bin/true"]);
    c.run().ok();
}

/// Serves one connection on a socket of the case; gives the address.
fn peer(c: &Case, name: &str, serve: impl FnOnce(&mut UnixStream) + Send + 'static) -> String {
    let path = c.dir.join(format!("peer-{name}"));
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        serve(&mut stream);
    });
    at(&path)
}

/// Reads until the end of a line.
fn line(stream: &mut UnixStream) {
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != b'\n' {}
}

/// Reads until the other end has gone, so that it is not us who hangs up.
fn stay(stream: &mut UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Lets anybody in.
fn log_in(stream: &mut UnixStream) {
    line(stream);
    stream.write_all(b"OK 1234\r\n").unwrap();
    line(stream);
}

#[test]
fn something_else_in_its_place() {
    require!(host::has_cgroup2());
    let (c, _) = case();
    let refused = |address: String, texts: &[&str]| {
        let said = create(&c).env("DBUS_SYSTEM_BUS_ADDRESS", address).go();
        said.fails_with(&["cannot talk to systemd"]).says(texts);
    };
    refused(peer(&c, "a", |_| {}), &["it hung up"]);
    refused(
        peer(&c, "b", |s| {
            line(s);
            s.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        }),
        &["did not let us in"],
    );
    refused(
        peer(&c, "c", |s| {
            let _ = s.write_all(&[b'x'; 10_000]);
            stay(s);
        }),
        &["does not speak D-Bus"],
    );
    refused(
        peer(&c, "d", |s| {
            log_in(s);
            s.write_all(&[0xff; 64]).unwrap();
            stay(s);
        }),
        &["makes no sense"],
    );
    refused(
        peer(&c, "e", |s| {
            log_in(s);
            // A reply that says it is 4 GiB long.
            s.write_all(b"l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00").unwrap();
            stay(s);
        }),
        &["makes no sense: too long"],
    );
    c.assert_nothing_left();
}

#[test]
fn told_to_stop_while_it_is_silent() {
    require!(host::has_cgroup2());
    let (c, _) = case();
    let (heard, hear) = std::sync::mpsc::channel();
    let address = peer(&c, "silent", move |s| {
        log_in(s);
        heard.send(()).unwrap();
        stay(s);
    });
    let creating = create(&c).env("DBUS_SYSTEM_BUS_ADDRESS", address).spawn();
    hear.recv().unwrap();
    sys::kill(creating.pid(), libc::SIGTERM).unwrap();
    creating.wait().exits(143).says(&["interrupted by SIGTERM"]);
    c.assert_nothing_left();
}

#[test]
fn no_answer_in_time() {
    require!(host::has_cgroup2());
    let (c, _) = case();
    let address = peer(&c, "silent", |s| {
        log_in(s);
        stay(s);
    });
    let create = create(&c).env("DBUS_SYSTEM_BUS_ADDRESS", address).limit(Duration::from_secs(90));
    create.go().fails_with(&["cannot talk to systemd", "no answer in 30 s"]);
    c.assert_nothing_left();
}
