//! podman, as root and as a user, with the runtime that is tested.

use std::sync::OnceLock;

use super::{IMAGE, Manager, Profile, program};
use crate::{Case, Cmd, leaks, paths};

fn name_of(manager: Manager) -> &'static str {
    if manager == Manager::Systemd { "systemd" } else { "cgroupfs" }
}

/// podman with the runtime and the manager, and a subcommand.
pub fn podman(c: &Case, manager: Manager, args: &[&str]) -> Cmd {
    program(c, "podman").arg("--runtime").arg(paths::orlop()).args(["--cgroup-manager", name_of(manager)]).args(args)
}

/// `podman run`.
pub fn podman_run(c: &Case, manager: Manager, flags: &[&str], command: &[&str]) -> Cmd {
    podman(c, manager, &["run", "--network=none"]).args(flags).arg(IMAGE).args(command)
}

/// A program of the user `tester`, as in a session of theirs.
pub fn as_tester(c: &Case, name: &str) -> Cmd {
    let uid = c.program("id").args(["-u", "tester"]).go().ok().text().to_owned();
    let user = ["--reuid=tester", "--regid=tester", "--init-groups", "env", "HOME=/home/tester", "USER=tester"];
    let session = program(c, "setpriv").args(user).arg(format!("XDG_RUNTIME_DIR=/run/user/{uid}"));
    // The process that keeps podman's namespaces stays, and is not this test's.
    let session = session.with(|c| {
        c.env_remove(leaks::MARK);
    });
    session.cwd("/home/tester").arg(name)
}

/// tester's podman, which has got the image.
pub fn rootless(c: &Case, manager: Manager, args: &[&str]) -> Cmd {
    static IMAGE_THERE: OnceLock<()> = OnceLock::new();
    let command = |c: &Case| as_tester(c, "podman");
    IMAGE_THERE.get_or_init(|| {
        let layout = paths::work_dir().join("image/layout");
        let pulled = command(c).args(["pull", "-q"]).arg(format!("oci:{}:one", layout.display())).go().ok();
        command(c).args(["tag", pulled.text(), IMAGE]).go().ok();
    });
    command(c).arg("--runtime").arg(paths::orlop()).args(["--cgroup-manager", name_of(manager)]).args(args)
}

/// tester's `podman run`.
pub fn rootless_run(c: &Case, manager: Manager, flags: &[&str], command: &[&str]) -> Cmd {
    rootless(c, manager, &["run", "--network=none"]).args(flags).arg(IMAGE).args(command)
}

/// Of containers-common: what it does not name does not exist.
pub const PROFILE: Profile = Profile {
    apparmor: "containers-default-",
    verdicts: &[
        ("clone", "ok"),
        ("clone3", "EINVAL"),
        ("unshare(0)", "ok"),
        ("add_key", "ENOSYS"),
        ("io_uring_setup", "ENOSYS"),
        ("bpf", "EPERM"),
        ("userfaultfd", "EPERM"),
        ("personality(8)", "ok"),
        ("personality(ADDR_NO_RANDOMIZE)", "ENOSYS"),
        ("socket(AF_INET)", "ok"),
        ("socket(AF_VSOCK)", "EPERM"),
        ("socket(AF_NETLINK, AUDIT)", "EINVAL"),
        ("socket(AF_NETLINK, ROUTE)", "ok"),
        ("open_by_handle_at", "EPERM"),
        ("number 500", "ENOSYS"),
        ("i386: vm86old", "EPERM"),
    ],
};
