//! CVE-2024-21626: a working directory outside, through a descriptor of the host's.

use std::fs::{self, File};

use runtime_tests::{Case, Output, Value};

/// The program either didn't start, or is inside. A working directory outside
/// reads `(unreachable)/…`, or is ENOENT to getcwd.
#[track_caller]
fn assert_inside(what: &str, out: &Output) {
    if out.code() != 0 {
        assert!([1, 255].contains(&out.code()), "{what}: {} {}", out.code(), out.stderr);
        return;
    }
    let r: Value = out.last_json();
    let cwd = r["cwd"].as_str().unwrap();
    assert!(cwd.starts_with('/') && !cwd.contains("unreachable"), "{what}: {cwd}");
}

/// Directories of the host, open in the runtime as 3, 4, …
fn host_directories() -> Vec<File> {
    (0..6).map(|_| File::open("/etc").unwrap()).collect()
}

#[test]
fn run_with_a_leaked_descriptor_as_cwd() {
    let mut c = Case::new();
    for n in 3..=20 {
        for path in [format!("/proc/self/fd/{n}"), format!("/proc/self/fd/{n}/../..")] {
            c.set("/process/cwd", path.as_str()).args(&["/bin/probe", "report"]);
            let out = c.launch("run", &[], &c.id).pass_fds(&host_directories()).go();
            assert_inside(&path, &out);
        }
    }
}

#[test]
fn exec_with_a_leaked_descriptor_as_cwd() {
    let c = Case::started();
    for n in 3..=20 {
        let path = format!("/proc/self/fd/{n}");
        let out = c.exec(&["--cwd", &path], &["/bin/probe", "report"]).pass_fds(&host_directories()).go();
        assert_inside(&path, &out);
    }
    c.delete();
}

/// The image chooses the descriptor by a link, the config looks harmless.
#[test]
fn link_to_a_leaked_descriptor() {
    let mut c = Case::new();
    c.set("/process/cwd", "/work");
    for n in 3..=20 {
        let _ = fs::remove_file(c.rootfs("work"));
        std::os::unix::fs::symlink(format!("/proc/self/fd/{n}"), c.rootfs("work")).unwrap();
        c.args(&["/bin/probe", "report"]);
        let out = c.launch("run", &[], &c.id).pass_fds(&host_directories()).go();
        assert_inside(&format!("link to {n}"), &out);
    }
}

/// Preserved on purpose: even then the working directory must be inside.
#[test]
fn preserved_descriptor_as_cwd() {
    let mut c = Case::new();
    c.set("/process/cwd", "/proc/self/fd/3").args(&["/bin/probe", "report"]);
    let out = c.launch("run", &["--preserve-fds", "1"], &c.id).pass_fds(&host_directories()).go();
    assert_inside("preserved", &out);
}

/// The program looks for a way out through what it inherited.
#[test]
fn no_descriptor_leads_outside() {
    let c = Case::started();
    for flags in [&[][..], &["--cwd", "/tmp"]] {
        let out = c.exec(flags, &["/bin/probe", "report"]).pass_fds(&host_directories()).go().ok();
        let r = out.last_json();
        assert_eq!(r["fds"].as_object().unwrap().len(), 3, "{}", r["fds"]);
    }
    c.delete();
}
