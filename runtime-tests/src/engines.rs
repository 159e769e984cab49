//! What the suites of engines share: their turn, an image without a registry,
//! the limits every container gets, and what default profiles allow.
//!
//! Only in the VM: engines change the machine they run on.

pub mod podman;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::command::wait_for;
use crate::{Case, Cmd, Value, bundle, host, paths};

/// As podman and containerd name it.
pub const IMAGE: &str = "localhost/orlop-test:one";

/// Every container here has these limits, by whatever flags its engine has for them.
pub const LIMITS: [(&str, &str); 3] = [("memory.max", "67108864"), ("cpu.max", "50000 100000"), ("pids.max", "20")];

#[derive(Clone, Copy, PartialEq)]
pub enum Manager {
    Cgroupfs,
    Systemd,
}

/// Can this be tried here?
pub fn offered(manager: Manager) -> Result<(), String> {
    host::vm()?;
    let out = Command::new(paths::orlop()).arg("features").output().expect("features");
    let features: Value = serde_json::from_slice(&out.stdout).expect("features in JSON");
    let offered = manager == Manager::Cgroupfs || features["linux"]["cgroup"]["systemd"] == true;
    if offered { Ok(()) } else { Err("the runtime has no systemd cgroup manager".to_owned()) }
}

/// The engines' turn: one test at a time, with an image and containerd ready.
///
/// Before the test's case, to which what they keep running or mounted would
/// look like something left behind.
pub fn engines() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    static READY: OnceLock<()> = OnceLock::new();
    let turn = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    READY.get_or_init(prepare);
    turn
}

/// An image without a registry: a rootfs made into a layout, which each engine reads.
fn prepare() {
    let dir = paths::work_dir().join("image");
    let _ = fs::remove_dir_all(&dir);
    bundle::make_rootfs(&dir.join("rootfs"));
    // With the machine's /usr mounted, its dynamically linked programs run as well.
    let script = format!(
        "set -e
        mkdir rootfs/usr
        ln -s usr/lib rootfs/lib
        ln -s usr/lib64 rootfs/lib64
        umoci init --layout layout
        umoci new --image layout:one
        umoci insert --image layout:one rootfs /
        chmod -R a+rX layout
        tar -C layout -cf image.tar .
        skopeo copy -q oci:layout:one containers-storage:{IMAGE}
        systemctl start containerd
        ctr image import --base-name localhost/orlop-test image.tar"
    );
    shell(&dir, &script);
}

/// A script of what is got ready.
#[track_caller]
pub fn shell(dir: &Path, script: &str) {
    let out = Command::new("sh").args(["-c", script]).current_dir(dir).output().expect("sh");
    assert!(out.status.success(), "not ready: {}", String::from_utf8_lossy(&out.stderr));
}

pub fn program(c: &Case, name: &str) -> Cmd {
    c.program(name).limit(Duration::from_secs(120))
}

/// The cgroup of a process, below the mount point.
pub fn cgroup_of(pid: u64) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("a cgroup v2");
    host::cgroup2().unwrap().join(path)
}

/// The kernel, and systemd if it is the manager, have the limits of the config.
#[track_caller]
pub fn assert_limits(c: &Case, manager: Manager, cgroup: &Path) {
    for (file, value) in LIMITS {
        let found = fs::read_to_string(cgroup.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(found.trim(), value, "{file}");
    }
    let scope = cgroup.iter().map(|p| p.to_str().unwrap()).find(|p| p.ends_with(".scope"));
    assert_eq!(scope.is_some(), manager == Manager::Systemd, "{}", cgroup.display());
    let Some(scope) = scope else { return };
    let show = ["show", scope, "-p", "ActiveState,MemoryMax,TasksMax,CPUQuotaPerSecUSec"];
    let shown = program(c, "systemctl").args(show).go().ok().stdout;
    for line in ["ActiveState=active", "MemoryMax=67108864", "TasksMax=20", "CPUQuotaPerSecUSec=500ms"] {
        assert!(shown.lines().any(|l| l == line), "{line}: {shown}");
    }
}

#[track_caller]
pub fn assert_gone(cgroup: &Path) {
    wait_for("the cgroup's end", || (!cgroup.exists()).then_some(()));
}

// ---- the default profiles

/// What an engine's default profiles make of a program.
pub struct Profile {
    /// The name of its AppArmor profile begins so; empty if there is none.
    pub apparmor: &'static str,
    /// Attempts of `probe verdicts` and what becomes of them.
    pub verdicts: &'static [(&'static str, &'static str)],
}

impl Profile {
    /// A program that says what it has got: in an engine's argument list.
    pub fn question(&self) -> Vec<&str> {
        const SCRIPT: &str = r#"grep Seccomp: /proc/self/status
            cat /proc/self/attr/current
            exec probe verdicts "$@""#;
        let names = self.verdicts.iter().map(|(name, _)| *name);
        ["sh", "-c", SCRIPT, "sh"].into_iter().chain(names).collect()
    }

    #[track_caller]
    pub fn assert_in(&self, answer: &crate::Output) {
        let text = &answer.stdout;
        assert!(text.contains("Seccomp:\t2\n"), "no filter: {text}{}", answer.stderr);
        if !self.apparmor.is_empty() {
            let label = text.lines().nth(1).unwrap_or("");
            assert!(label.starts_with(self.apparmor) && label.ends_with(" (enforce)"), "{label}");
        }
        let verdicts = answer.last_json();
        for (name, expected) in self.verdicts {
            assert_eq!(verdicts[name], *expected, "{name}");
        }
    }
}

/// docker's profile, which is also that of containerd's `ctr`.
pub const DOCKERS: &[(&str, &str)] = &[
    ("clone", "ok"),
    ("clone(NEWUSER)", "EPERM"),
    // With ENOSYS the C library tries clone, whose flags a filter can see.
    ("clone3", "ENOSYS"),
    ("unshare(0)", "EPERM"),
    ("add_key", "EPERM"),
    ("keyctl", "EPERM"),
    ("bpf", "EPERM"),
    ("io_uring_setup", "EPERM"),
    ("personality(8)", "ok"),
    ("personality(ADDR_NO_RANDOMIZE)", "EPERM"),
    ("socket(AF_INET)", "ok"),
    ("socket(AF_VSOCK)", "EPERM"),
    ("mount", "EPERM"),
    ("number 500", "ENOSYS"),
    ("i386: unshare(NEWUSER)", "EPERM"),
];
