//! Containers saved to a directory and brought back, by criu.

mod attacks;
mod basic;
mod engines;
mod options;
mod without;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::{Case, Cmd, host};

/// Counts up in memory alone, and says where it is in /count.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i > /count.new; mv /count.new /count; sleep 0.1; done";

/// Can it be tried here?
fn criu() -> Result<(), String> {
    static READY: OnceLock<()> = OnceLock::new();
    host::program("criu")?;
    host::program("iptables-restore")?;
    READY.get_or_init(|| {
        if host::vm().is_ok() {
            without_breakpoints();
        }
    });
    Ok(())
}

/// In the VM, which may be emulated: criu's hardware breakpoints have the kernel
/// patch its scheduler, and an emulated processor then runs into the half
/// patched code (a panic, "int3" in `__schedule`). criu has another way to stop
/// a process at the right moment. A wrapper, as engines pass no variables on.
fn without_breakpoints() {
    let wrapper = "#!/bin/sh\nCRIU_FAULT=130 exec /usr/sbin/criu \"$@\"\n";
    fs::write("/usr/local/sbin/criu", wrapper).expect("the wrapper");
    fs::set_permissions("/usr/local/sbin/criu", fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// What takes a while under emulation.
fn patient(cmd: Cmd) -> Cmd {
    cmd.limit(Duration::from_secs(90))
}

/// A container that counts, whatever else its config has.
fn counting(c: &mut Case) {
    c.sh(COUNTER);
    c.start();
    wait_until_past(c, 2);
}

fn count(c: &Case) -> u32 {
    fs::read_to_string(c.rootfs("/count")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn wait_until_past(c: &Case, n: u32) {
    wait_for("the counter", || (count(c) > n).then_some(()));
}

fn image(c: &Case) -> PathBuf {
    c.dir.join("image")
}

fn checkpoint(c: &Case, flags: &[&str]) -> Cmd {
    let cmd = c.orlop(&["checkpoint", "--image-path"]).arg(image(c)).arg("--work-path").arg(c.dir.join("work"));
    patient(cmd.args(flags).arg(&c.id))
}

/// `restore --detach`; the config is written anew.
fn restore(c: &Case, flags: &[&str]) -> Cmd {
    c.write();
    restore_as_it_is(c, flags)
}

fn restore_as_it_is(c: &Case, flags: &[&str]) -> Cmd {
    let cmd =
        c.orlop(&["restore", "--detach", "--image-path"]).arg(image(c)).arg("--work-path").arg(c.dir.join("work"));
    patient(cmd.arg("--bundle").arg(&c.bundle).args(flags).arg(&c.id))
}

/// Nothing of the container: the id is free, no process, no cgroup.
#[track_caller]
fn assert_gone(c: &Case) {
    c.verb("state").fails_with(&["container does not exist"]);
    assert_eq!(runtime_tests::leaks::processes(&c.id), [0; 0]);
    assert_eq!(runtime_tests::leaks::cgroups(&c.id), Vec::<PathBuf>::new());
}
