//! What is said where it cannot be done.

use runtime_tests::{Case, require};

use super::{checkpoint, criu, restore};

/// No criu: a plain word, no side effect, and nobody is told otherwise.
#[test]
fn without_criu() {
    let c = Case::started();
    let without = |cmd: runtime_tests::Cmd| cmd.env("PATH", "/no/such/directory");
    let said = ["cannot find criu", "PATH", "--criu"];
    without(checkpoint(&c, &[])).go().fails_with(&said);
    without(restore(&c, &[])).go().fails_with(&said);
    assert!(!super::image(&c).exists() && !c.dir.join("work").exists());
    // podman asks by this.
    without(c.bare().args(["checkpoint", "--help"])).go().fails_with(&said);
    let features = without(c.bare().arg("features")).go().ok().json();
    assert_eq!(features["annotations"]["org.orlop.checkpoint.enabled"], "false");
    c.bare().args(["--criu", "/etc/passwd", "checkpoint", "x"]).go().fails_with(&["/etc/passwd", "--criu"]);
    assert_eq!(c.status(), "running");
    c.delete();
}

#[test]
fn with_criu() {
    require!(criu());
    let c = Case::new();
    let help = c.bare().args(["checkpoint", "--help"]).go().ok();
    assert!(help.stdout.contains("--leave-running"), "{}", help.stdout);
    assert_eq!(c.bare().arg("features").go().ok().json()["annotations"]["org.orlop.checkpoint.enabled"], "true");
    // podman asks by this whether whole pods can be restored.
    c.bare().args(["restore", "--lsm-mount-context"]).go().exits(1).says(&["requires an argument"]);
}

#[test]
fn bad_requests() {
    require!(criu());
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    checkpoint(&c, &[]).go().fails_with(&["container does not exist"]);
    c.create().ok();
    checkpoint(&c, &[]).go().fails_with(&["container not running"]);
    c.verb("start").ok();
    for (flags, said) in [
        (&["--parent-path", "/absolute"][..], "relative to the image"),
        (&["--parent-path", "../nowhere"], "no such file"),
        (&["--manage-cgroups-mode", "mild"], "soft, full, strict or ignore"),
        (&["--empty-ns", "ipc"], "network"),
        (&["--page-server", "nobody"], "ADDRESS:PORT"),
        (&["--network-lock", "chain"], "iptables"),
        (&["--status-fd", "77", "--lazy-pages"], "--status-fd 77"),
    ] {
        checkpoint(&c, flags).go().fails_with(&[said]);
    }
    assert_eq!(c.status(), "running");
    restore(&c, &[]).go().fails_with(&["already exists"]);
    c.delete();
    restore(&c, &["--image-path", "/no/such/image"]).go().fails_with(&["--image-path", "/no/such/image"]);
    // A directory that is no image.
    std::fs::create_dir_all(super::image(&c)).unwrap();
    restore(&c, &[]).go().fails_with(&["descriptors.json", "is it the image of a container?"]);
    std::fs::write(super::image(&c).join("descriptors.json"), "[]").unwrap();
    restore(&c, &[]).go().fails_with(&["cannot restore the container", "restore.log"]);
    super::assert_gone(&c);
}

/// criu cannot tell such a container from the host.
#[test]
fn without_a_mount_namespace() {
    require!(criu());
    let mut c = Case::new();
    c.no_namespace("mount");
    for field in ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths"] {
        c.unset(field);
    }
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    checkpoint(&c, &[]).go().fails_with(&["linux.namespaces", "host's mounts"]);
    c.delete();
    restore(&c, &[]).go().exits(1);
}
