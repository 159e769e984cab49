//! podman walked through on the runtime, by root and by a user, and buildah
//! with it: what a podman user does, and what it asks of a runtime. Limits,
//! default profiles and user namespaces are in the suite `engines`.
//! Only in the VM: engines change the machine they run on.

mod build;
mod life;
mod namespaces;
mod network;
mod notify;
mod pods;
mod rights;
mod rootless;
mod systemd;
mod terminal;
mod volumes;

use std::fs;
use std::path::PathBuf;
use std::sync::MutexGuard;

use runtime_tests::command::wait_for;
use runtime_tests::engines::podman::{podman, podman_run, rootless, rootless_run};
use runtime_tests::engines::{Manager, cgroup_of, engines};
use runtime_tests::{Case, Cmd, Output, Value, leaks, paths};

/// Whose podman it is.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Root,
    Tester,
}

/// One test's podman: it has its turn, and at the end everything of it is
/// removed and has to be gone.
struct Podman {
    c: Case,
    who: Who,
    manager: Manager,
    /// Cgroups that somebody else has left.
    before: Vec<PathBuf>,
    _turn: MutexGuard<'static, ()>,
}

impl Podman {
    /// Root's, with a cgroup manager.
    fn new(manager: Manager) -> Self {
        Self::of(Who::Root, manager)
    }

    /// tester's, with their own systemd.
    fn rootless() -> Self {
        Self::of(Who::Tester, Manager::Systemd)
    }

    fn of(who: Who, manager: Manager) -> Self {
        // Both before the case, to which what engines keep would look like something
        // left, and so would what systemd mounts when podman first looks at it.
        let turn = engines();
        let _ = fs::read_dir("/proc/sys/fs/binfmt_misc");
        Self { c: Case::new(), who, manager, before: leaks::cgroups("libpod-"), _turn: turn }
    }

    /// Any subcommand.
    fn command(&self, args: &[&str]) -> Cmd {
        match self.who {
            Who::Root => podman(&self.c, self.manager, args),
            Who::Tester => rootless(&self.c, self.manager, args),
        }
    }

    /// Any subcommand, which must succeed.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> Output {
        self.command(args).go().ok()
    }

    /// `podman run`, without a network.
    fn run(&self, flags: &[&str], command: &[&str]) -> Cmd {
        let flags = [&["--log-driver=k8s-file"], flags].concat();
        match self.who {
            Who::Root => podman_run(&self.c, self.manager, &flags, command),
            Who::Tester => rootless_run(&self.c, self.manager, &flags, command),
        }
    }

    /// `podman run --rm` of the probe; gives its last line, as JSON.
    #[track_caller]
    fn probe(&self, flags: &[&str], command: &[&str]) -> Value {
        self.run(&[&["--rm"], flags].concat(), &[&["probe"], command].concat()).go().ok().last_json()
    }

    /// A container that stays, of the case's name.
    #[track_caller]
    fn start(&self, flags: &[&str], command: &[&str]) {
        self.run(&[&["-d", "--name", &self.c.id], flags].concat(), command).go().ok();
    }

    /// `podman exec` in that container.
    fn exec(&self, flags: &[&str], command: &[&str]) -> Cmd {
        self.command(&[&["exec"], flags, &[&self.c.id], command].concat())
    }

    /// A shell's script by `podman exec`, which must succeed; gives its output.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        self.exec(&[], &["sh", "-c", script]).go().ok().text().to_owned()
    }

    /// One thing that podman knows of a container.
    #[track_caller]
    fn inspect(&self, container: &str, what: &str) -> String {
        self.ok(&["inspect", "--format", &format!("{{{{.{what}}}}}"), container]).text().to_owned()
    }

    /// The container's first process.
    #[track_caller]
    fn pid(&self) -> u64 {
        self.inspect(&self.c.id, "State.Pid").parse().expect("a pid")
    }

    /// The container's cgroup.
    #[track_caller]
    fn cgroup(&self) -> PathBuf {
        cgroup_of(self.pid())
    }

    /// Waits until the container has written a text.
    #[track_caller]
    fn wait_log(&self, text: &str) -> String {
        wait_for(&format!("{text:?} in the log"), || {
            let log = self.ok(&["logs", &self.c.id]).stdout;
            log.contains(text).then_some(log)
        })
    }

    /// Removes all containers and their anonymous volumes; pods are removed by their tests.
    fn clean_up(&self) -> Output {
        self.command(&["rm", "-afv", "--time=0"]).go()
    }

    /// Neither podman's cgroups nor the runtime's own files.
    fn nothing_left(&self) {
        let gone = || leaks::cgroups("libpod-").iter().all(|c| self.before.contains(c)).then_some(());
        wait_for("the end of podman's cgroups", gone);
        let state = PathBuf::from("/run").join(paths::orlop().file_name().expect("a name"));
        // crun keeps two hidden directories of its own there.
        let names = fs::read_dir(&state).into_iter().flatten().flatten().map(|e| e.file_name());
        let left: Vec<_> = names.filter(|n| !n.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "in {}: {left:?}", state.display());
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let all = || {
                self.command(&["pod", "rm", "--all", "--force", "--time=0"]).go();
                self.clean_up()
            };
            // In a thread of its own: a second panic would end everything.
            let _ = std::thread::scope(|s| s.spawn(all).join());
            return;
        }
        self.clean_up().ok();
        self.nothing_left();
    }
}
