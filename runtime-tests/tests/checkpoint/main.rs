//! Containers saved to a directory and brought back, by criu.

mod attacks;
mod basic;
mod mounts;
mod options;
mod without;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::host::criu;
use runtime_tests::{Case, Cmd};

/// Counts up in memory alone, and says where it is by a link, /count: of a file that it
/// had open as it was saved, a second restore would find that it has changed.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); ln -sfn $i /count.new; mv -f /count.new /count; sleep 0.1; done";

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
    count_at(&c.rootfs("/count"))
}

fn count_at(link: &Path) -> u32 {
    fs::read_link(link).ok().and_then(|link| link.to_str()?.parse().ok()).unwrap_or(0)
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
