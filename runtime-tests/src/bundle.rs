//! The root filesystem and the config every case starts from.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::{paths, reaper};

/// The capabilities of a usual container (Docker's list).
pub const CAPS: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The `PATH` inside.
pub const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// busybox and the probe, once per run; cases link to these two files.
fn programs() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        // Beside the cases, which is the same file system also in the VM.
        let dir = paths::work_dir().join("programs");
        fs::create_dir_all(&dir).expect("target/test-work/programs");
        let busybox = ["/usr/bin/busybox", "/bin/busybox"].iter().find(|p| Path::new(p).exists());
        let busybox = busybox.expect("no busybox: apt-get install busybox-static (make test does it)");
        install(Path::new(busybox), &dir.join("busybox"));
        install(&paths::probe(), &dir.join("probe"));
        dir
    })
}

/// Copies by a temporary name: test programs may run side by side.
fn install(from: &Path, to: &Path) {
    let temp = to.with_extension(std::process::id().to_string());
    fs::copy(from, &temp).unwrap_or_else(|e| panic!("copy {}: {e}", from.display()));
    fs::set_permissions(&temp, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::rename(&temp, to).expect("rename");
}

fn applets() -> &'static [String] {
    static LIST: OnceLock<Vec<String>> = OnceLock::new();
    LIST.get_or_init(|| {
        let mut list = Command::new(programs().join("busybox"));
        let out = reaper::output(list.arg("--list")).expect("busybox --list");
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    })
}

/// Makes a root filesystem at `dir`.
pub fn make_rootfs(dir: &Path) {
    for sub in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(dir.join(sub)).expect("rootfs directory");
    }
    fs::set_permissions(dir.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod /tmp");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod /");
    for name in ["busybox", "probe"] {
        let (from, to) = (programs().join(name), dir.join("bin").join(name));
        // A link costs nothing; across file systems it has to be a copy.
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ())).expect("program");
    }
    for name in applets().iter().filter(|a| *a != "busybox") {
        symlink("busybox", dir.join("bin").join(name)).expect("applet");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
    fs::write(dir.join("etc/passwd"), passwd).expect("passwd");
    fs::write(dir.join("etc/group"), "root:x:0:\nuser:x:1000:\n").expect("group");
}

/// The config every case starts from: what an engine would send, without limits and seccomp.
pub fn base_config(tag: &str) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "hostname": "orlop-test",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/true"],
            "env": [PATH, format!("{}={tag}", crate::leaks::MARK)],
            "cwd": "/",
            "capabilities": { "bounding": CAPS, "effective": CAPS, "permitted": CAPS },
            "noNewPrivileges": true,
        },
        "mounts": base_mounts(),
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn base_mounts() -> Value {
    json!([
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ])
}

/// One entry of `mounts`.
pub fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}
