//! CVE-2019-5736: overwriting the host's binary from inside.
//! CVE-2016-9962: looking into the runtime while it enters.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use runtime_tests::command::{Cmd, wait_for};
use runtime_tests::{Case, host, paths, sys};

/// A copy of the binary: an attack that works destroys only that.
struct Victim {
    path: PathBuf,
    content: Vec<u8>,
}

impl Victim {
    fn new(c: &Case) -> Self {
        let path = c.dir.join("victim");
        fs::copy(paths::orlop(), &path).unwrap();
        let content = fs::read(&path).unwrap();
        Self { path, content }
    }

    fn cmd(&self, c: &Case, args: &[&str]) -> Cmd {
        c.program(self.path.to_str().unwrap()).arg("--root").arg(&c.root).args(args)
    }

    #[track_caller]
    fn assert_unharmed(&self) {
        assert!(fs::read(&self.path).unwrap() == self.content, "the host's binary was overwritten");
    }
}

/// A container whose first process attacks, with the right to trace: then not
/// even being undumpable hides the runtime's /proc/PID/exe.
fn attacker(c: &mut Case, victim: &Victim, how: &str, caps: &[&str]) -> PathBuf {
    c.add_caps(caps).args(&["/bin/probe", how]);
    c.write();
    let log = c.dir.join("attack.log");
    let run = victim.cmd(c, &["run", "--detach", "-b"]).arg(&c.bundle).arg(&c.id);
    run.stdout(fs::File::create(&log).unwrap()).go().ok();
    wait_for("the attacker", || fs::read_to_string(&log).unwrap().contains("attacking").then_some(()));
    log
}

#[track_caller]
fn assert_nothing_written(log: &PathBuf) {
    let text = fs::read_to_string(log).unwrap();
    // A sealed copy may be opened for writing; the write must fail.
    assert!(!text.contains("wrote: true"), "{text}");
}

/// Without a copy or a read-only mount the first exec that is caught ends with
/// `wrote: true`, and the binary begins with `#!/bin/false`.
#[test]
fn exe_of_an_entering_process() {
    let mut c = Case::new();
    let victim = Victim::new(&c);
    let log = attacker(&mut c, &victim, "attack-exe", &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]);
    for _ in 0..host::rounds(40) {
        victim.cmd(&c, &["exec", &c.id, "/bin/true"]).go().ok();
        victim.assert_unharmed();
    }
    c.delete();
    assert_nothing_written(&log);
    victim.assert_unharmed();
}

/// The same with the image making *us* its program: `#!/proc/self/exe`, and
/// the link itself. The kernel then executes whatever the runtime's exe is.
#[test]
fn the_runtime_as_the_images_program() {
    let mut c = Case::new();
    let victim = Victim::new(&c);
    for name in ["entry", "entry2"] {
        let text = if name == "entry" { "#!/proc/self/exe\n" } else { "#!/proc/self/exe exec\n" };
        fs::write(c.rootfs(name), text).unwrap();
        fs::set_permissions(c.rootfs(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let log = attacker(&mut c, &victim, "attack-exe", &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]);
    for program in ["/entry", "/entry2", "/proc/self/exe", "/proc/thread-self/exe"] {
        for _ in 0..host::rounds(15) {
            // Whether that fails, and how, is up to the kernel; writing is what must not happen.
            victim.cmd(&c, &["exec", &c.id, program]).go();
            victim.assert_unharmed();
        }
    }
    c.delete();
    assert_nothing_written(&log);
    // And as the first process of a container.
    for program in ["/entry", "/proc/self/exe"] {
        c.args(&[program]);
        c.write();
        victim.cmd(&c, &["run", "-b"]).arg(&c.bundle).arg(&c.id).go();
        victim.assert_unharmed();
    }
    c.delete();
}

/// The first process writes to its own exe, which was ours a moment ago.
#[test]
fn exe_held_over_from_create() {
    let mut c = Case::new();
    let victim = Victim::new(&c);
    // A created container waits inside with our program as its exe.
    c.add_caps(&["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]).args(&["/bin/sleep", "1000"]);
    c.write();
    victim.cmd(&c, &["create", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    write_once_it_is_idle(&c, &victim, || ());
    c.delete();
}

/// Opens the waiting init's exe from inside, has the container started, so that
/// nobody executes that file any more, and writes to it.
fn write_once_it_is_idle(c: &Case, victim: &Victim, before_writing: impl FnOnce()) {
    let script = "exec 9< /proc/1/exe; touch /pinned; while [ ! -e /go ]; do sleep 0.02; done; \
                  echo attack > /proc/self/fd/9; touch /done";
    victim.cmd(c, &["exec", "--detach", &c.id, "/bin/sh", "-c", script]).go().ok();
    wait_for("the pin", || c.rootfs("pinned").exists().then_some(()));
    victim.cmd(c, &["start", &c.id]).go().ok();
    before_writing();
    fs::write(c.rootfs("go"), "").unwrap();
    wait_for("the attack", || c.rootfs("done").exists().then_some(()));
    victim.assert_unharmed();
}

/// The binary is on a mount that is read-only now: whoever holds it open from
/// inside waits until the host makes that writable, for an upgrade say.
#[test]
fn exe_on_a_mount_that_becomes_writable() {
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = sys::umount(self.0.to_str().unwrap());
        }
    }
    let mut c = Case::new();
    let dir = c.dir.join("usr");
    fs::create_dir(&dir).unwrap();
    let victim = Victim { path: dir.join("victim"), ..Victim::new(&c) };
    fs::copy(paths::orlop(), &victim.path).unwrap();
    let at = dir.to_str().unwrap();
    sys::mount(at, at, "", libc::MS_BIND, "").unwrap();
    let mounted = Mounted(dir.clone());
    let remount = |flags| sys::mount("none", at, "", libc::MS_BIND | libc::MS_REMOUNT | flags, "").unwrap();
    remount(libc::MS_RDONLY);
    c.add_caps(&["CAP_SYS_PTRACE"]).args(&["/bin/sleep", "1000"]);
    c.write();
    victim.cmd(&c, &["create", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    write_once_it_is_idle(&c, &victim, || remount(0));
    c.delete();
    drop(mounted);
}

/// Without `PR_SET_DUMPABLE 0` before it joins the namespaces, the process
/// that enters can be traced and its descriptors read: lines `saw PID …`.
#[test]
fn entering_process_cannot_be_looked_into() {
    let mut c = Case::new();
    let victim = Victim::new(&c);
    let log = attacker(&mut c, &victim, "attack-proc", &[]);
    for _ in 0..host::rounds(60) {
        victim.cmd(&c, &["exec", &c.id, "/bin/true"]).go().ok();
    }
    c.delete();
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("saw "), "{text}");
}

/// A created container's init waits inside with all of the host's rights. Who
/// is executed beside it must not see its descriptors, memory or root. Two
/// defences: it has rights that they lack, and it is not dumpable.
#[test]
fn waiting_init_cannot_be_looked_into() {
    let c = Case::new();
    c.create().ok();
    let ops = [
        // Their numbers can be listed; what they are cannot be seen.
        "link:/proc/1/fd/0",
        "open:/proc/1/fd/0:r",
        "link:/proc/1/exe",
        "link:/proc/1/root",
        "link:/proc/1/cwd",
        "link:/proc/1/ns/mnt",
        "open:/proc/1/mem:rw",
        "open:/proc/1/environ:r",
        "open:/proc/1/exe:r",
        "ls:/proc/1/root/",
    ];
    let args: Vec<&str> = ["try"].into_iter().chain(ops).collect();
    let r = c.exec_probe(&[], &args);
    for op in ops {
        assert!(["EACCES", "EPERM"].contains(&r[op].as_str().unwrap_or("")), "{op}: {}", r[op]);
    }
    c.delete();
}
