//! What this machine can do, and how a test says that it can't.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Prints `skip: NAME: reason`, not captured.
pub fn report_skip(here: &str, why: &str) {
    let name = here.trim_end_matches("::here");
    let line = format!("skip: {name}: {why}\n");
    // One write, so that lines of parallel tests don't mix.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A part of a test that can't run here: `skip: NAME[PART]: reason`. The rest of the test counts.
pub fn report_part(name: &str, part: &str, why: &str) {
    let _ = std::io::stderr().write_all(format!("skip: {name}[{part}]: {why}\n").as_bytes());
}

/// The mount point of the cgroup v2 hierarchy, `/sys/fs/cgroup` or `…/unified`.
pub fn cgroup2() -> Option<PathBuf> {
    static MOUNT: OnceLock<Option<PathBuf>> = OnceLock::new();
    MOUNT.get_or_init(find_cgroup2).clone()
}

fn find_cgroup2() -> Option<PathBuf> {
    let info = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut points = info.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| PathBuf::from(left.split(' ').nth(4).unwrap_or("")))
    });
    points.rfind(|p| p.starts_with("/sys/fs/cgroup"))
}

/// Is a v2 controller there for us to use?
pub fn controller(name: &str) -> Result<(), String> {
    let mount = cgroup2().ok_or("no cgroup v2 mount")?;
    let list = fs::read_to_string(mount.join("cgroup.controllers")).map_err(|e| e.to_string())?;
    if list.split_whitespace().any(|c| c == name) { Ok(()) } else { Err(format!("no {name} controller in cgroup v2")) }
}

/// The contrary: for tests of how a missing controller is reported.
pub fn no_controller(name: &str) -> Result<(), String> {
    if controller(name).is_err() { Ok(()) } else { Err(format!("the {name} controller is there")) }
}

/// Is a cgroup v2 hierarchy mounted at all?
pub fn has_cgroup2() -> Result<(), String> {
    cgroup2().map(|_| ()).ok_or_else(|| "no cgroup v2 mount".to_owned())
}

/// Do we have this capability (by number) ourselves?
pub fn capability(number: u32, name: &str) -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let hex = status.lines().find_map(|l| l.strip_prefix("CapEff:")).expect("CapEff").trim().to_owned();
    let mask = u64::from_str_radix(&hex, 16).expect("hex");
    if mask & (1 << number) != 0 { Ok(()) } else { Err(format!("this machine's root has no {name}")) }
}

/// CAP_SYS_RESOURCE: raising limits.
pub fn sys_resource() -> Result<(), String> {
    capability(24, "CAP_SYS_RESOURCE")
}

/// Is a kernel file there?
pub fn file(path: &str) -> Result<(), String> {
    if fs::exists(path).unwrap_or(false) { Ok(()) } else { Err(format!("no {path}")) }
}

/// Is a filesystem type known to the kernel?
pub fn filesystem(name: &str) -> Result<(), String> {
    let list = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = list.lines().any(|l| l.split_whitespace().last() == Some(name));
    if known { Ok(()) } else { Err(format!("no {name} filesystem in this kernel")) }
}

/// Is this the VM of runtime-tests/vm, which is thrown away afterwards?
pub fn vm() -> Result<(), String> {
    file("/etc/orlop-vm").map_err(|_| "only in the VM (make test-vm)".to_owned())
}

/// A disk that nobody uses, for limits on it and file systems of a test's own; the VM has one.
pub fn spare_disk() -> Result<PathBuf, String> {
    let disk = "/dev/disk/by-id/virtio-spare";
    vm().and_then(|()| file(disk)).map(|()| disk.into())
}

/// `usual` rounds of what has to be tried again and again, or ROUNDS percent
/// of that: machines that are emulated take a part of them.
pub fn rounds(usual: usize) -> usize {
    let percent = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    (usual * percent / 100).max(1)
}

/// All of a list of combinations, or every sixth of them where ROUNDS is less than 100.
pub fn sample<T>(all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    all.into_iter().step_by(if rounds(100) < 100 { 6 } else { 1 })
}

/// Are checks wanted that take engines half a minute and more where they are emulated?
pub fn at_length() -> Result<(), String> {
    match std::env::var("ENGINES").as_deref() {
        Ok("all") => Ok(()),
        _ => Err("takes long: with ENGINES=all (make test-engines)".to_owned()),
    }
}

/// Is AppArmor on, with the means to load profiles?
pub fn apparmor() -> Result<(), String> {
    let on = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
    if !on {
        return Err("AppArmor is not enabled in this kernel".to_owned());
    }
    file("/sys/kernel/security/apparmor/profiles").and_then(|()| program("apparmor_parser"))
}

/// Is SELinux there with a policy?
pub fn selinux() -> Result<(), String> {
    file("/sys/fs/selinux/enforce").map_err(|_| "SELinux is not enabled in this kernel".to_owned())?;
    let label = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    if label.trim_end_matches('\0') == "kernel" { Err("SELinux has no policy loaded".to_owned()) } else { Ok(()) }
}

/// Is a program installed?
pub fn program(name: &str) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').any(|dir| std::path::Path::new(dir).join(name).exists());
    if found { Ok(()) } else { Err(format!("{name} is not installed")) }
}

/// A user with ranges of subordinate ids, and a systemd of its own.
pub struct Tester {
    /// Its id.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// First host id, count.
    pub range: (u32, u32),
}

/// `tester`, whom the VM has.
pub fn tester() -> Result<Tester, String> {
    program("newuidmap")?;
    let passwd = fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == "tester");
    let fields = fields.ok_or("no user tester")?;
    let subuid = fs::read_to_string("/etc/subuid").map_err(|e| e.to_string())?;
    let range = subuid.lines().find_map(|line| line.strip_prefix("tester:")?.split_once(':'));
    let (first, count) = range.ok_or("no range of tester's in /etc/subuid")?;
    let number = |text: &str| text.parse::<u32>().expect("a number");
    Ok(Tester { uid: number(fields[2]), gid: number(fields[3]), range: (number(first), number(count)) })
}

/// Is there a criu(8), with what it needs to keep packets out?
pub fn criu() -> Result<(), String> {
    static READY: OnceLock<()> = OnceLock::new();
    program("criu")?;
    program("iptables-restore")?;
    READY.get_or_init(|| {
        if vm().is_ok() {
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
