//! The two bundles: what `spec` writes, and what podman sends.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use runtime_tests::bundle::mount;
use runtime_tests::{Value, json};

/// Their names.
pub const BUNDLES: [&str; 2] = ["min", "pod"];

const PODMAN_CAPS: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a config is for.
pub struct Want<'a> {
    /// The root filesystem, absolute; with a directory `files` beside it.
    pub rootfs: PathBuf,
    /// `linux.cgroupsPath`.
    pub cgroup: String,
    /// `process.args`.
    pub args: &'a [&'a str],
    /// `linux.seccomp` of the pod bundle.
    pub seccomp: Option<&'a Value>,
}

/// The config of the bundle `name`.
pub fn config(name: &str, want: &Want) -> Value {
    if name == "pod" { pod(want) } else { min(want) }
}

fn kernel_mounts() -> Vec<Value> {
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

fn base(want: &Want, caps: &[&str], mounts: Vec<Value>, masked: &[&str]) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": want.rootfs, "readonly": false },
        "hostname": "bench",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": want.args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024 }],
            "noNewPrivileges": true,
        },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": want.cgroup,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
            ],
            "maskedPaths": masked,
            "readonlyPaths": READ_ONLY,
        },
    })
}

fn min(want: &Want) -> Value {
    let caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    base(want, &caps, kernel_mounts(), &MASKED)
}

fn pod(want: &Want) -> Value {
    let mut mounts = kernel_mounts();
    for name in ["resolv.conf", "hosts", "hostname"] {
        let source = want.rootfs.with_file_name("files").join(name);
        let options = ["bind", "rprivate", "nosuid", "nodev", "rw"];
        mounts.push(mount(&format!("/etc/{name}"), "bind", &source.to_string_lossy(), &options));
    }
    let mut config = base(want, &PODMAN_CAPS, mounts, &MASKED);
    config["process"]["oomScoreAdj"] = json!(0);
    config["process"]["noNewPrivileges"] = json!(false);
    config["annotations"] = json!({
        "io.container.manager": "libpod",
        "org.opencontainers.image.stopSignal": "15",
    });
    config["linux"]["devices"] = json!([
        { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0 },
        { "path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 438, "uid": 0, "gid": 0 },
    ]);
    config["linux"]["resources"]["devices"] = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm" },
    ]);
    config["linux"]["sysctl"] = json!({ "net.ipv4.ping_group_range": "0 0" });
    if let Some(seccomp) = want.seccomp {
        config["linux"]["seccomp"] = seccomp.clone();
    }
    config
}

/// Makes the root filesystem of all bundles at `dir/rootfs`, and `dir/files` for the bind mounts.
pub fn make_rootfs(dir: &Path) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("root filesystem in {}: {e}", dir.display());
    let rootfs = dir.join("rootfs");
    for sub in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(rootfs.join(sub)).map_err(fail)?;
    }
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].iter().find(|p| Path::new(p).exists());
    let busybox = busybox.ok_or("no busybox: apt-get install busybox-static")?;
    fs::copy(busybox, rootfs.join("bin/busybox")).map_err(fail)?;
    fs::set_permissions(rootfs.join("bin/busybox"), fs::Permissions::from_mode(0o755)).map_err(fail)?;
    for name in ["true", "sleep"] {
        symlink("busybox", rootfs.join("bin").join(name)).map_err(fail)?;
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").map_err(fail)?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\n").map_err(fail)?;
    fs::create_dir_all(dir.join("files")).map_err(fail)?;
    for name in ["resolv.conf", "hosts", "hostname"] {
        fs::write(rootfs.join("etc").join(name), "").map_err(fail)?;
        fs::write(dir.join("files").join(name), "127.0.0.1 localhost\n").map_err(fail)?;
    }
    Ok(())
}

/// `linux.seccomp` from a profile in the format of containers-common: the
/// entries that apply to x86_64 and the capabilities of the pod bundle.
pub fn seccomp(profile: &Value) -> Value {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let list = |v: &Value| v.as_array().map(|a| a.iter().map(text).collect::<Vec<_>>()).unwrap_or_default();
    let applies = |entry: &&Value| {
        let (with, without) = (&entry["includes"], &entry["excludes"]);
        let arches = list(&with["arches"]);
        let has = |cap: &String| PODMAN_CAPS.contains(&cap.as_str());
        (arches.is_empty() || arches.iter().any(|a| a == "amd64"))
            && list(&with["caps"]).iter().all(has)
            && !list(&without["caps"]).iter().any(has)
            && !list(&without["arches"]).iter().any(|a| a == "amd64")
    };
    let mut syscalls = Vec::new();
    for entry in profile["syscalls"].as_array().into_iter().flatten().filter(applies) {
        let mut rule = HashMap::from([("names", entry["names"].clone()), ("action", entry["action"].clone())]);
        if entry["args"].as_array().is_some_and(|a| !a.is_empty()) {
            rule.insert("args", entry["args"].clone());
        }
        if entry["errnoRet"].is_number() {
            rule.insert("errnoRet", entry["errnoRet"].clone());
        }
        syscalls.push(json!(rule));
    }
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": syscalls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_has_ten_mounts_and_min_has_no_binds() {
        let want = Want { rootfs: "/r/rootfs".into(), cgroup: "/x".into(), args: &["/bin/true"], seccomp: None };
        let (min, pod) = (config("min", &want), config("pod", &want));
        assert_eq!(pod["mounts"].as_array().map(Vec::len), Some(10));
        assert_eq!(min["mounts"].as_array().map(Vec::len), Some(7));
        assert_eq!(pod["mounts"][7]["source"], "/r/files/resolv.conf");
        assert!(pod["linux"].get("seccomp").is_none());
    }

    #[test]
    fn seccomp_keeps_what_applies() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "syscalls": [
                { "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {} },
                { "names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_BPF"] } },
                { "names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": { "caps": ["CAP_BPF"] } },
                { "names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_CHROOT"] } },
                { "names": ["sync_file_range2"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["ppc64le"] } },
            ],
        });
        let rules = seccomp(&profile);
        let names: Vec<&Value> = rules["syscalls"].as_array().unwrap().iter().map(|r| &r["names"][0]).collect();
        assert_eq!(names, ["read", "bpf", "chroot"]);
        assert_eq!(rules["syscalls"][1], json!({ "names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }));
        assert_eq!(rules["defaultErrnoRet"], 38);
    }
}
