//! Links planted in the image where the runtime makes or opens files:
//! CVE-2019-18837, CVE-2025-24965, CVE-2026-41579, CVE-2026-47766, CVE-2026-88264, CVE-2026-88265.
//!
//! The canary is a directory of the host that every link points to. A runtime
//! that resolves a path outside the rootfs leaves something in it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use runtime_tests::console::FdSocket;
use runtime_tests::{Case, json, sys};

/// The canary as a link target: by its name, and by climbing.
fn ways(canary: &Path) -> [String; 2] {
    let name = canary.to_str().unwrap().to_owned();
    let climb = format!("{}{}", "../".repeat(30), name.trim_start_matches('/'));
    [name, climb]
}

/// /dev is the image's own, but for the devpts that terminals need.
fn without_dev_mounts(c: &mut Case) {
    for at in ["/dev/shm", "/dev/mqueue", "/dev"] {
        c.replace_mount(at, None);
    }
}

/// CVE-2026-41579, CVE-2026-47766: /dev itself is a link. Devices and links
/// would be made on the host.
#[test]
fn dev_is_a_link() {
    for mounted in [true, false] {
        for way in 0..2 {
            let mut c = Case::new();
            let target = ways(&c.canary())[way].clone();
            fs::remove_dir(c.rootfs("dev")).unwrap();
            symlink(&target, c.rootfs("dev")).unwrap();
            if !mounted {
                without_dev_mounts(&mut c);
            }
            c.set("/linux/devices", json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3 }]));
            c.run();
            c.assert_canary_alone();
        }
    }
}

/// Each of the names the runtime makes in /dev is a link out.
#[test]
fn names_in_dev_are_links() {
    let names = [
        "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "fd", "stdin", "stdout", "stderr",
        "pts", "shm",
    ];
    for name in names {
        for terminal in [false, true] {
            let mut c = Case::new();
            let target = c.canary().join(name);
            symlink(&target, c.rootfs("dev").join(name)).unwrap();
            without_dev_mounts(&mut c);
            if terminal {
                c.set("/process/terminal", true);
            }
            let socket = FdSocket::new();
            let flags = ["--console-socket", socket.path.to_str().unwrap()];
            // It may well refuse such an image; the canary is what counts.
            let out = c.launch("create", if terminal { &flags } else { &[] }, &c.id).go();
            let devices = ["null", "zero", "full", "random", "urandom", "tty"];
            if out.code() == 0 && (devices.contains(&name) || (terminal && name == "console")) {
                let stat = format!("stat:/dev/{name}");
                assert_eq!(c.exec_probe(&[], &["try", &stat])[&stat]["kind"], "char", "left as it was: {name}");
            }
            c.orlop(&["start", &c.id]).go();
            c.delete();
            c.assert_canary_alone();
        }
    }
}

/// CVE-2026-88264: /dev/console is a link to a file of the host that exists.
#[test]
fn console_is_a_link_to_an_existing_file() {
    let mut c = Case::new();
    let precious = c.dir.join("precious");
    fs::write(&precious, "precious").unwrap();
    without_dev_mounts(&mut c);
    symlink(&precious, c.rootfs("dev/console")).unwrap();
    c.set("/process/terminal", true).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    c.sh("echo overwritten > /dev/console");
    let socket = FdSocket::new();
    let out = c.launch("create", &["--console-socket", socket.path.to_str().unwrap()], &c.id).go();
    if out.code() == 0 {
        let r = c.exec_probe(&[], &["try", "stat:/dev/console"]);
        assert_eq!(r["stat:/dev/console"]["kind"], "char", "bound to where the link leads");
    }
    c.orlop(&["start", &c.id]).go();
    c.delete();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::metadata(&precious).unwrap().uid(), 0, "chowned to the container's user");
}

/// CVE-2026-88265: /dev/null leads to a bind-mounted file of the host. Reopened
/// as our stdio and given to the user, it can be written by the container.
#[test]
fn null_is_a_link_to_a_bound_file() {
    for mounted in [true, false] {
        let mut c = Case::new();
        let precious = c.dir.join("precious");
        fs::write(&precious, "precious").unwrap();
        if mounted {
            // On a tmpfs of an earlier container's making: bound at /dev as a directory.
            let dev = c.dir.join("dev");
            fs::create_dir(&dev).unwrap();
            symlink("/hostfile", dev.join("null")).unwrap();
            for at in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
                c.replace_mount(at, None);
            }
            let bind = runtime_tests::bundle::mount("/dev", "bind", dev.to_str().unwrap(), &["bind"]);
            c.replace_mount("/dev", Some(bind));
        } else {
            without_dev_mounts(&mut c);
            symlink("/hostfile", c.rootfs("dev/null")).unwrap();
        }
        c.mount("/hostfile", "bind", precious.to_str().unwrap(), &["bind"]);
        c.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).sh("echo overwritten; echo overwritten >&2");
        let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
        c.launch("run", &[], &c.id).stdin(null()).stdout(null()).stderr(null()).go();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "mounted: {mounted}");
        assert_eq!(fs::metadata(&precious).unwrap().uid(), 0, "mounted: {mounted}");
    }
}

/// CVE-2019-18837 and 2025-24965: anything made for a mount or a cwd.
#[test]
fn destinations_and_cwd_through_links() {
    for way in 0..2 {
        let mut c = Case::new();
        let target = ways(&c.canary())[way].clone();
        symlink(&target, c.rootfs("out")).unwrap();
        symlink("/", c.rootfs("tmp/up")).unwrap();
        let file = c.dir.join("file");
        fs::write(&file, "").unwrap();
        let canary = c.canary().display().to_string();
        c.mount("/out/dir", "tmpfs", "tmpfs", &[]).mount("/out/deep/er", "tmpfs", "tmpfs", &[]);
        c.mount("/out/file", "bind", file.to_str().unwrap(), &["bind"]);
        c.mount(&format!("/tmp/up{canary}/via-up"), "tmpfs", "tmpfs", &[]);
        c.mount("/out/../out/dotdot", "tmpfs", "tmpfs", &[]);
        c.set("/process/cwd", "/out/cwd/deep");
        c.set("/linux/devices", json!([{ "path": "/out/device", "type": "c", "major": 1, "minor": 3 }]));
        c.run();
        c.assert_canary_alone();
    }
}

/// The link itself is the destination.
#[test]
fn destination_is_a_dangling_link_out() {
    let mut c = Case::new();
    let canary = c.canary();
    symlink(canary.join("dir"), c.rootfs("dir")).unwrap();
    symlink(canary.join("file"), c.rootfs("file")).unwrap();
    let file = c.dir.join("content");
    fs::write(&file, "content").unwrap();
    c.mount("/dir", "tmpfs", "tmpfs", &[]).mount("/file", "bind", file.to_str().unwrap(), &["bind"]);
    c.run();
    c.assert_canary_alone();
}

/// Masked and read-only paths lead out: the host's directory would be covered
/// or made read-only in the container's namespace, and its content shown.
#[test]
fn masked_and_readonly_paths_through_links() {
    let mut c = Case::new();
    let canary = c.canary();
    symlink(&canary, c.rootfs("out")).unwrap();
    // What the link means inside is what must be covered.
    for name in ["masked", "kept"] {
        fs::create_dir_all(c.rootfs(canary.to_str().unwrap()).join(name).join("inner")).unwrap();
    }
    c.set("/linux/maskedPaths", json!(["/out/x", "/out/masked"])).set("/linux/readonlyPaths", json!(["/out/kept"]));
    let r = c.attempts(&["ls:/out/masked", "create:/out/kept/new"]);
    assert_eq!(r, json!({ "ls:/out/masked": [], "create:/out/kept/new": "EROFS" }));
    c.assert_canary_alone();
}

/// What is read from the image must come from the image: HOME from a passwd of
/// the host would be a leak, and a file that never ends a hang.
#[test]
fn passwd_is_a_trap() {
    let mut c = Case::new();
    let host = c.dir.join("passwd");
    fs::write(&host, "root:x:0:0:root:/from-the-host:/bin/sh\n").unwrap();
    fs::remove_file(c.rootfs("etc/passwd")).unwrap();
    symlink(&host, c.rootfs("etc/passwd")).unwrap();
    let r = c.probe(&["report"]);
    assert_eq!(r["env"]["HOME"], "/");
    // A FIFO nobody writes to, a device that never ends, a directory.
    fs::remove_file(c.rootfs("etc/passwd")).unwrap();
    sys::mknod(c.rootfs("etc/passwd"), libc_fifo() | 0o644, 0, 0).unwrap();
    c.args(&["/bin/true"]).run();
    fs::remove_file(c.rootfs("etc/passwd")).unwrap();
    symlink("/dev/zero", c.rootfs("etc/passwd")).unwrap();
    c.run();
    fs::remove_file(c.rootfs("etc/passwd")).unwrap();
    fs::create_dir(c.rootfs("etc/passwd")).unwrap();
    c.run();
}

fn libc_fifo() -> u32 {
    0o010_000
}

/// tmpcopyup copies what a directory holds; links in it stay links.
#[test]
fn tmpcopyup_does_not_follow() {
    let mut c = Case::new();
    let secret = c.dir.join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(c.rootfs("data")).unwrap();
    symlink(&secret, c.rootfs("data/file")).unwrap();
    symlink(c.canary(), c.rootfs("data/dir")).unwrap();
    c.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let r = c.attempts(&["read:/data/file", "stat:/data/file", "stat:/data/dir"]);
    assert_eq!(r["read:/data/file"], "ENOENT");
    assert_eq!((&r["stat:/data/file"]["kind"], &r["stat:/data/dir"]["kind"]), (&json!("link"), &json!("link")));
    // And where the directory itself is a link out.
    let mut c = Case::new();
    let outside = c.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, c.rootfs("data")).unwrap();
    c.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    c.sh("cat /data/secret; true");
    let out = c.run();
    assert!(!out.stdout.contains("secret"), "{}", out.stdout);
}

/// CVE-2021-43784: sizes beyond 16 bits must not wrap around.
#[test]
fn large_strings() {
    let mut c = Case::new();
    c.env(&format!("BIG={}", "x".repeat(100_000)));
    let r = c.probe(&["report"]);
    assert_eq!(r["env"]["BIG"].as_str().unwrap().len(), 100_000);
    for n in 0..300 {
        c.mount(&format!("/many/{n}/{}", "d".repeat(200)), "tmpfs", "tmpfs", &["size=4k"]);
    }
    let list = c.probe(&["mountinfo"]);
    let many = list.as_array().unwrap().iter().filter(|m| m["point"].as_str().unwrap().starts_with("/many/"));
    assert_eq!(many.count(), 300);
    // Longer than the kernel takes: an error, not a cut.
    let mut c = Case::new();
    c.mount("/m", "tmpfs", "tmpfs", &[&"o".repeat(70_000)]);
    c.create().fails_with(&["mounts[6]"]);
    c.assert_nothing_left();
}
