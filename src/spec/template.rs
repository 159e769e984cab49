//! The config `spec` writes: a shell in a read-only root, as users of `runc spec` know it.

use serde_json::{Value, json};

use super::OCI_VERSION;

/// The default config. With the user and group ids of somebody without
/// privileges, one that they can run: in a user namespace in which they are
/// root and there is nobody else, on the host's network, without limits.
pub fn template(user: Option<(u32, u32)>) -> Value {
    json!({
        "ociVersion": OCI_VERSION,
        "process": process(),
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "orlop",
        "mounts": mounts(user.is_some()),
        "linux": linux(user),
    })
}

fn process() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": true,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        // Nothing inheritable or ambient: an execve must not hand these on (CVE-2022-29162).
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": true,
    })
}

fn mounts(rootless: bool) -> Value {
    // There is no group 5 where only one is mapped.
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // Who does not own the network namespace may not mount a sysfs, which shows it.
    let sysfs = if rootless {
        json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "rro"]})
    } else {
        terminals.push("gid=5");
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]})
    };
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": terminals,
        },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        sysfs,
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ])
}

fn linux(user: Option<(u32, u32)>) -> Value {
    let kinds = |kinds: &[&str]| kinds.iter().map(|kind| json!({"type": kind})).collect::<Vec<_>>();
    let mut linux = json!({
        "namespaces": kinds(&["pid", "network", "ipc", "uts", "mount", "cgroup"]),
        "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/devices/virtual/powercap",
            "/sys/firmware",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if let Some((uid, gid)) = user {
        let only = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        linux["namespaces"] = json!(kinds(&["pid", "ipc", "uts", "mount", "cgroup", "user"]));
        linux["uidMappings"] = only(uid);
        linux["gidMappings"] = only(gid);
        linux.as_object_mut().map(|members| members.remove("resources"));
    }
    linux
}
