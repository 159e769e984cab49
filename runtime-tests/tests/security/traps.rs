//! Things in an image that would have the runtime wait, swell or go astray.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use runtime_tests::{Case, host, json, require, sys};

/// HOME is looked up in a file of the image. /proc/kmsg says it is a regular
/// file, and reading it waits for the kernel's next message (and takes it away
/// from the host's log).
#[test]
fn passwd_that_never_ends() {
    for target in ["/proc/kmsg", "/proc/self/mem", "/proc/self/clear_refs"] {
        let mut c = Case::new();
        fs::remove_file(c.rootfs("etc/passwd")).unwrap();
        symlink(target, c.rootfs("etc/passwd")).unwrap();
        let r = c.probe(&["report"]);
        assert_eq!(r["env"]["HOME"], "/", "{target}");
    }
}

/// One line of a terabyte: read whole, it takes all memory there is.
#[test]
fn passwd_of_a_terabyte() {
    let mut c = Case::new();
    File::create(c.rootfs("etc/passwd")).unwrap().set_len(1 << 40).unwrap();
    // Without this limit the attack would hit whoever runs the tests.
    c.set("/process/rlimits", json!([{ "type": "RLIMIT_AS", "soft": 1 << 28, "hard": 1 << 28 }]));
    let r = c.probe(&["report"]);
    assert_eq!(r["env"]["HOME"], "/");
}

/// What a hook of the image prints is in the error: as text, and not as words
/// to the terminal or as a second line in the log.
#[test]
fn errors_do_not_speak_to_the_terminal() {
    let mut c = Case::new();
    let script = r"printf '\033]0;owned\007\033[2J\rforged\nforged\302\2332J'; exit 1";
    c.push("/hooks/startContainer", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    let out = c.run();
    let line = out.stderr.strip_suffix('\n').unwrap();
    assert!(line.contains("owned") && !line.contains(char::is_control), "{line:?}");
}

/// Without a mount namespace the container is held by chroot(2) alone, which
/// joining its namespaces does not bring along: exec would be on the host.
#[test]
fn exec_without_a_mount_namespace_is_inside() {
    let mut c = Case::new();
    c.no_namespace("mount").set("/mounts", json!([])).unset("/linux/maskedPaths");
    c.unset("/linux/readonlyPaths").args(&["/bin/sleep", "1000"]);
    c.start();
    fs::write(c.rootfs("inside"), "").unwrap();
    for flags in [&[][..], &["--cwd", "/tmp/made"]] {
        let out = c.exec(flags, &["/bin/busybox", "ls", "/"]).go().ok();
        assert!(out.stdout.lines().any(|l| l == "inside"), "on the host: {}", out.stdout);
    }
    assert!(c.rootfs("tmp/made").is_dir());
    c.delete();
}

/// A device node in a shared volume is replaced by a link as soon as it is
/// there: its mode and owner must not be given to what the link leads to,
/// which before the pivot is a file of the host.
#[test]
fn device_is_exchanged_for_a_link() {
    let mut c = Case::new();
    let (volume, precious) = (c.dir.join("volume"), c.dir.join("precious"));
    fs::create_dir(&volume).unwrap();
    fs::write(&precious, "").unwrap();
    fs::set_permissions(&precious, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let look = || fs::metadata(&precious).map(|m| (m.mode(), m.uid())).unwrap();
    let before = look();
    c.mount("/volume", "bind", volume.to_str().unwrap(), &["bind"]).args(&["/bin/true"]);
    let device = json!({ "path": "/volume/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o1666, "uid": 5 });
    c.set("/linux/devices", json!([device]));
    let (node, link, stop) = (volume.join("node"), c.dir.join("link"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = symlink(&precious, &link);
                while sys::exchange(&link, &node).is_err() && !stop.load(Ordering::Relaxed) {}
                let _ = fs::remove_file(&node);
                let _ = fs::remove_file(&link);
            }
        });
        for _ in 0..host::rounds(100) {
            c.run();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(look(), before, "changed on the host");
}

/// An overlay with a layer whose path is too long for the new mount API is
/// made on a directory of the host's first. As a peer of the host's mounts it
/// would be there on the host as well: files of the image as /proc.
#[test]
fn overlay_is_not_made_on_the_host() {
    require!(host::filesystem("overlay"));
    let mut c = Case::new();
    let layer = c.dir.join("l".repeat(200)).join("m".repeat(200));
    fs::create_dir_all(&layer).unwrap();
    fs::write(layer.join("file"), "").unwrap();
    let options = [format!("lowerdir={}:{}", layer.display(), c.rootfs("etc").display())];
    c.mount("/o", "overlay", "overlay", &[options[0].as_str()]).set("/linux/rootfsPropagation", "shared");
    c.args(&["/bin/ls", "/o/file"]);
    c.write();
    // A host of our own whose mounts are all shared, as systemd has them.
    std::thread::scope(|scope| {
        let host = scope.spawn(|| {
            sys::unshare(libc::CLONE_NEWNS).unwrap();
            for kind in [libc::MS_SLAVE, libc::MS_SHARED] {
                sys::mount("none", "/", "", libc::MS_REC | kind, "").unwrap();
            }
            let mounts = File::open("/proc/thread-self/mountinfo").unwrap();
            sys::mounts_changed(&mounts);
            let out = c.orlop(&["run", "-b"]).arg(&c.bundle).arg(&c.id).go();
            (out, sys::mounts_changed(&mounts))
        });
        let (out, changed) = host.join().unwrap();
        out.ok();
        assert!(!changed, "mounted on the host");
    });
}
