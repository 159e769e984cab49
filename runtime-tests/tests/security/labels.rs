//! CVE-2019-16884, CVE-2025-52881 and their like: a profile or label that is said to be in force and is not.

use std::fs;
use std::os::unix::fs::symlink;

use runtime_tests::apparmor::{self, Profile};
use runtime_tests::command::wait_for;
use runtime_tests::{Case, host, require};

/// The files a runtime may write a profile to.
const FILES: [&str; 8] = [
    "self/attr/exec",
    "self/attr/current",
    "self/attr/apparmor/exec",
    "self/attr/apparmor/current",
    "thread-self/attr/exec",
    "thread-self/attr/apparmor/exec",
    "1/attr/exec",
    "1/attr/apparmor/exec",
];

/// No procfs is mounted, and the image has ordinary files there. The profile
/// must be in force, as the host sees it, and the fakes as they were.
#[test]
fn profile_with_a_fake_proc_in_the_image() {
    require!(host::apparmor());
    let home = Case::new();
    let (profile, other) = (Profile::load(&home, "a", ""), Profile::load(&home, "b", ""));
    let mut c = Case::new();
    for file in FILES {
        let path = c.rootfs("proc").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "unconfined\n").unwrap();
    }
    c.replace_mount("/proc", None);
    c.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    c.set("/process/apparmorProfile", profile.name.as_str()).args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(apparmor::of(c.pid()), profile.enforced());
    exec_and_look(&c, &other);
    for file in FILES {
        assert_eq!(fs::read_to_string(c.rootfs("proc").join(file)).unwrap(), "unconfined\n", "{file}");
    }
    c.delete();
}

/// `exec --apparmor` of a sleeper; the host's procfs says what it runs under.
fn exec_and_look(c: &Case, profile: &Profile<'_>) {
    let pid_file = c.dir.join("exec.pid");
    let flags = ["--detach", "--apparmor", &profile.name, "--pid-file", pid_file.to_str().unwrap()];
    c.exec(&flags, &["/bin/sleep", "1000"]).go().ok();
    let pid = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert_eq!(apparmor::of(pid), profile.enforced());
}

/// The program of a privileged container covers its own /proc, or parts of it,
/// with what swallows a write or leads it elsewhere, and waits for `exec`.
#[test]
fn exec_with_a_proc_that_the_program_has_covered() {
    require!(host::apparmor());
    let home = Case::new();
    let profile = Profile::load(&home, "a", "");
    let make = "mkdir -p /tmp/p/self/attr/apparmor /tmp/p/thread-self /tmp/p/1;
        for f in exec current; do echo unconfined > /tmp/p/self/attr/$f; echo unconfined > /tmp/p/self/attr/apparmor/$f; done;
        ln -s ../self/attr /tmp/p/thread-self/attr; ln -s ../self/attr /tmp/p/1/attr";
    for cover in [
        "mount -t tmpfs none /tmp; @; mount --rbind /tmp/p /proc",
        "@; mount --bind /tmp/p /proc",
        "mount -t tmpfs none /proc; mkdir /proc/self; ln -s /etc /proc/self/attr",
        "mount -t tmpfs none /proc; ln -s /tmp/p/self /proc/self; @",
        // The real one, with one file of it over another.
        "mount --bind /proc/self/comm /proc/self/attr/exec; mount --bind /proc/1/comm /proc/1/attr/apparmor/exec",
    ] {
        let mut c = Case::new();
        c.add_caps(&["CAP_SYS_ADMIN"]);
        let script = format!("{}; echo done > /etc/covered; sleep 1000", cover.replace('@', make));
        c.sh(&script);
        c.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
        c.start();
        wait_for("the cover", || fs::read_to_string(c.rootfs("etc/covered")).ok().filter(|t| t == "done\n"));
        exec_and_look(&c, &profile);
        c.delete();
    }
}

/// The way to /proc/self/attr leads through links of the image, which point at
/// what the runtime would then write to, or at a file of the host's.
#[test]
fn profile_through_links_of_the_image() {
    require!(host::apparmor());
    let home = Case::new();
    let profile = Profile::load(&home, "a", "");
    let mut c = Case::new();
    let canary = c.canary().join("exec");
    fs::create_dir_all(c.rootfs("proc/self")).unwrap();
    symlink(canary.parent().unwrap(), c.rootfs("proc/self/attr")).unwrap();
    symlink("self", c.rootfs("proc/thread-self")).unwrap();
    c.replace_mount("/proc", None);
    c.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    c.set("/process/apparmorProfile", profile.name.as_str()).args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(apparmor::of(c.pid()), profile.enforced());
    c.delete();
    c.assert_canary_alone();
}

/// A profile that is taken out of the kernel while the container is created
/// only: the kernel would run the program unconfined, and say nothing.
#[test]
fn profile_that_is_removed_before_start() {
    require!(host::apparmor());
    let home = Case::new();
    let profile = Profile::load(&home, "a", "");
    let mut c = Case::new();
    let ran = c.rootfs("tmp/ran");
    c.set("/process/apparmorProfile", profile.name.as_str()).args(&["/bin/touch", "/tmp/ran"]);
    c.create().ok();
    profile.remove();
    c.verb("start").fails_with(&["process.apparmorProfile", "not in force", &profile.name, "unconfined"]);
    assert!(!ran.exists(), "the program ran unconfined");
    c.delete();
}
