//! The VM of runtime-tests/vm is what the other suites take it for. Anywhere
//! else these tests are skipped: what a test needs it asks for itself there.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use runtime_tests::{Case, host, leaks, paths, require};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
}

#[track_caller]
fn assert_words(text: &str, wanted: &[&str]) {
    let missing: Vec<_> = wanted.iter().filter(|w| !text.split_whitespace().any(|t| t == **w)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {text:?}");
}

#[test]
fn only_cgroup_v2_with_all_controllers() {
    require!(host::vm());
    let kinds: Vec<_> = leaks::mounts().iter().map(|m| m.split(" - ").nth(1).unwrap().to_owned()).collect();
    assert!(kinds.iter().any(|k| k.starts_with("cgroup2 ")));
    assert!(!kinds.iter().any(|k| k.starts_with("cgroup ")), "{kinds:?}");
    let all = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
    assert_words(&read("/sys/fs/cgroup/cgroup.controllers"), &all);
    assert_words(&read("/sys/fs/cgroup/cgroup.subtree_control"), &all);
}

#[test]
fn swap_file_is_in_use() {
    require!(host::vm());
    let swaps = read("/proc/swaps");
    let fields: Vec<_> = swaps.lines().nth(1).expect("a swap area").split_whitespace().collect();
    assert_eq!(fields[..2], ["/swapfile", "file"]);
    assert!(fields[2].parse::<u64>().unwrap() > 500_000, "{swaps}");
}

#[test]
fn spare_disk_is_there_and_free() {
    require!(host::vm());
    let disk = fs::canonicalize(host::spare_disk().expect("a spare disk")).unwrap();
    assert!(fs::metadata(&disk).unwrap().file_type().is_block_device());
    let name = disk.file_name().unwrap().to_str().unwrap();
    assert_eq!(read(&format!("/sys/block/{name}/size")), (2 * 1024 * 1024).to_string(), "1 GiB in sectors");
    assert!(!leaks::mounts().iter().any(|m| m.contains(&format!(" {} ", disk.display()))), "it is mounted");
}

#[test]
fn cases_are_on_a_disk_of_its_own() {
    // In the shared directory device nodes, overlays and some modes don't work.
    require!(host::vm());
    let c = Case::new();
    let at = c.program("stat").args(["-f", "-c", "%T"]).arg(&c.dir).go().ok();
    assert_eq!(at.stdout.trim(), "ext2/ext3", "{}", paths::work_dir().display());
}

#[test]
fn apparmor_is_on_and_takes_profiles() {
    require!(host::vm());
    let c = Case::new();
    assert_eq!(c.program("aa-enabled").go().ok().stdout.trim(), "Yes");
    assert_eq!(read("/sys/module/apparmor/parameters/enabled"), "Y");
    assert!(leaks::mounts().iter().any(|m| m.contains(" /sys/kernel/security ") && m.contains(" - securityfs ")));
    let profile = c.dir.join("profile");
    let name = format!("orlop-{}", c.id);
    fs::write(&profile, format!("#include <tunables/global>\nprofile {name} {{ file, }}\n")).unwrap();
    let parser = |how: &str| c.program("apparmor_parser").arg(how).arg(&profile).go().ok();
    parser("--add");
    assert!(read("/sys/kernel/security/apparmor/profiles").contains(&format!("{name} (enforce)")));
    parser("--remove");
}

#[test]
fn tester_has_a_session_and_ids() {
    require!(host::vm());
    for file in ["/etc/subuid", "/etc/subgid"] {
        assert_words(&read(file), &["tester:100000:65536"]);
    }
    assert!(Path::new("/var/lib/systemd/linger/tester").exists());
    let c = Case::new();
    c.program("systemctl").args(["is-active", "user@1000.service"]).go().ok();
    assert!(fs::metadata("/run/user/1000/bus").unwrap().file_type().is_socket());
    let own = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers";
    assert_words(&read(own), &["cpuset", "cpu", "io", "memory", "pids"]);
    // The bus alone leads to the manager, which may make a scope with a limit.
    let as_tester = ["-u", "tester", "XDG_RUNTIME_DIR=/run/user/1000", "systemd-run", "--user", "--scope", "--quiet"];
    let script = "cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/pids.max";
    let out = c.program("sudo").args(as_tester).args(["-p", "TasksMax=33", "sh", "-c", script]).go().ok();
    assert_eq!(out.stdout.trim(), "33");
}

#[test]
fn systemd_has_come_up() {
    require!(host::vm());
    let c = Case::new();
    let failed = c.program("systemctl").args(["--failed", "--plain", "--no-legend"]).go().ok();
    assert_eq!(failed.stdout, "");
    assert_eq!(c.program("systemctl").arg("is-system-running").go().ok().stdout.trim(), "running");
}

#[test]
fn engines_and_tools_are_installed() {
    require!(host::vm());
    let engines = ["podman", "conmon", "containerd", "ctr", "dockerd", "docker"];
    let tools = ["crun", "runc", "criu", "bats", "busybox", "skopeo", "umoci", "jq", "strace", "apparmor_parser"];
    for name in engines.iter().chain(&tools) {
        host::program(name).unwrap();
    }
    host::filesystem("overlay").unwrap();
}
