//! What it takes to load a filter without `no_new_privs` is kept up to then,
//! and never reaches the program.

use std::fs;

use runtime_tests::{Case, Value, host, json, leaks};

use crate::{allowing, errno, odd};

const SYS_ADMIN: u32 = 21;

/// The capability sets to try: those of a usual container, with the one that
/// matters, none, and no object at all.
fn capabilities() -> [Value; 5] {
    let sets = |caps: &[&str]| json!({ "bounding": caps, "effective": caps, "permitted": caps });
    let mut usual = runtime_tests::bundle::CAPS.to_vec();
    let without = sets(&usual);
    usual.push("CAP_SYS_ADMIN");
    let bounding = json!({ "bounding": ["CAP_SYS_ADMIN", "CAP_CHOWN"], "effective": [], "permitted": ["CAP_CHOWN"] });
    [without, sets(&usual), sets(&[]), bounding, Value::Null]
}

/// Gives the case a combination.
fn combine(c: &mut Case, uid: u32, unprivileged: bool, caps: &Value) {
    c.set("/process/user", json!({ "uid": uid, "gid": uid })).set("/process/noNewPrivileges", unprivileged);
    match caps {
        Value::Null => c.unset("/process/capabilities"),
        caps => c.set("/process/capabilities", caps.clone()),
    };
}

fn every_combination(mut f: impl FnMut(u32, bool, &Value)) {
    for caps in host::sample(&capabilities()) {
        for (uid, unprivileged) in [(0, false), (0, true), (1000, false), (1000, true)] {
            f(uid, unprivileged, caps);
        }
    }
}

/// A filter changes nothing about the rights of a program: they are the same
/// as without one, and as configured.
#[test]
fn the_same_as_without_a_filter() {
    let (mut plain, mut filtered) = (Case::new(), odd());
    every_combination(|uid, unprivileged, caps| {
        let about = format!("uid {uid}, noNewPrivileges {unprivileged}, {caps}");
        let [without, with] = [&mut plain, &mut filtered].map(|c| {
            combine(c, uid, unprivileged, caps);
            c.probe(&["report"])
        });
        assert_eq!(without["caps"], with["caps"], "{about}");
        assert_eq!(with["no_new_privs"], unprivileged, "{about}");
        assert_eq!((&with["seccomp"], &with["filters"]), (&json!("2"), &json!("1")), "{about}");
        assert_eq!(with["uid"], json!([uid, uid, uid, uid]), "{about}");
    });
}

/// Nor of exec'ed programs, nor of what they execute in turn.
#[test]
fn nor_do_children_or_execed_programs_have_more() {
    let mut c = odd();
    every_combination(|uid, unprivileged, caps| {
        let about = format!("uid {uid}, noNewPrivileges {unprivileged}, {caps}");
        combine(&mut c, uid, unprivileged, caps);
        let first = c.probe(&["report"]);
        c.sh("/bin/probe report");
        let child = c.run().ok().last_json();
        assert_eq!(first["caps"], child["caps"], "{about}");
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        assert_eq!(first["caps"], c.exec_probe(&[], &["report"])["caps"], "{about}");
        c.delete();
    });
}

fn status_field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)).expect("a field");
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("hex")
}

/// startContainer hooks are programs of the image as well.
#[test]
fn nor_have_start_container_hooks() {
    let mut c = odd();
    c.set("/hooks", json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat /proc/self/status >/tmp/status"] }] }));
    fs::write(c.rootfs("tmp/status"), "").unwrap();
    fs::set_permissions(c.rootfs("tmp/status"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    every_combination(|uid, unprivileged, caps| {
        let about = format!("uid {uid}, noNewPrivileges {unprivileged}, {caps}");
        combine(&mut c, uid, unprivileged, caps);
        c.args(&["/bin/true"]);
        c.run().ok();
        let hook = fs::read_to_string(c.rootfs("tmp/status")).unwrap();
        c.args(&["/bin/cat", "/proc/self/status"]);
        let program = c.run().ok().stdout;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Seccomp", "Seccomp_filters", "NoNewPrivs"] {
            assert_eq!(status_field(&hook, set), status_field(&program, set), "{set}: {about}");
        }
    });
}

/// Kept is one capability, permitted only, and only where it is needed.
#[test]
fn what_init_has_while_it_waits() {
    let mut c = odd();
    c.args(&["/bin/sleep", "1000"]);
    every_combination(|uid, unprivileged, caps| {
        combine(&mut c, uid, unprivileged, caps);
        c.create().ok();
        let text = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
        let [effective, permitted, ambient] = ["CapEff", "CapPrm", "CapAmb"].map(|f| status_field(&text, f));
        let own = caps["permitted"].as_array().map_or(0, |list| list.len() as u32);
        let asked = caps["permitted"].as_array().is_some_and(|list| list.contains(&json!("CAP_SYS_ADMIN")));
        if !caps.is_null() {
            let extra = u32::from(!unprivileged && !asked);
            assert_eq!(permitted.count_ones(), own + extra, "uid {uid}, {unprivileged}, {caps}: {permitted:x}");
            assert_eq!(effective & 1 << SYS_ADMIN != 0, asked, "uid {uid}, {unprivileged}, {caps}: {effective:x}");
        } else if uid != 0 {
            assert_eq!((permitted.count_ones(), effective), (u32::from(!unprivileged), 0), "{unprivileged}");
        }
        assert_eq!(ambient, 0);
        c.delete();
    });
}

/// An init that waits for `start` is of the container's user, and holds
/// more than that user may. Nobody in the container gets at it.
#[test]
fn nobody_gets_at_a_waiting_init() {
    for uid in [0, 1000] {
        let mut c = odd();
        combine(&mut c, uid, false, &capabilities()[0]);
        c.create().ok();
        let text = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
        assert_ne!(status_field(&text, "CapPrm") & 1 << SYS_ADMIN, 0, "or there is nothing to get");
        let ops = [
            "open:/proc/1/mem:rw",
            "open:/proc/1/mem:r",
            "link:/proc/1/fd/0",
            "link:/proc/1/exe",
            "ls:/proc/1/root/",
            "link:/proc/1/cwd",
            "open:/proc/1/environ:r",
            "link:/proc/1/ns/mnt",
        ];
        let args: Vec<&str> = ["try"].into_iter().chain(ops).collect();
        for flags in [&[][..], &["--user", "1000"], &["--user", "0", "--no-new-privs"]] {
            let r = c.exec_probe(flags, &args);
            for op in ops {
                let got = r[op].as_str().unwrap_or("done");
                assert!(["EACCES", "EPERM"].contains(&got), "uid {uid}, {flags:?}: {op} was {}", r[op]);
            }
            let traced = c.exec_probe(flags, &["try", &attach(1)]);
            assert_eq!(traced[attach(1)], -1, "uid {uid}, {flags:?}: PTRACE_ATTACH");
        }
        c.delete();
    }
}

/// `PTRACE_ATTACH` as an operation of the probe.
fn attach(pid: i32) -> String {
    crate::call(libc::SYS_ptrace, &[16, pid as u64, 0, 0])
}

/// The same from a container that shares its pid namespace.
#[test]
fn nor_does_a_neighbour() {
    let mut c = odd();
    combine(&mut c, 1000, false, &capabilities()[0]);
    c.create().ok();
    let pid = c.pid();
    let mut other = Case::new();
    other.join_namespace("pid", &format!("/proc/{pid}/ns/pid"));
    for uid in [0, 1000] {
        other.set("/process/user", json!({ "uid": uid, "gid": uid }));
        let r = other.attempts(&["open:/proc/1/mem:rw", "link:/proc/1/fd/0", "ls:/proc/1/root/", &attach(1)]);
        assert_eq!(
            r,
            json!({ "open:/proc/1/mem:rw": "EACCES", "link:/proc/1/fd/0": "EACCES", "ls:/proc/1/root/": "EACCES", attach(1): -1 })
        );
    }
    assert!(leaks::processes(&c.id).contains(&pid));
    c.delete();
}

/// Under no_new_privs a filter that fakes success must not let anybody keep
/// rights: setuid programs give none, and the count of filters is one.
#[test]
fn setuid_programs_under_a_filter() {
    for unprivileged in [true, false] {
        let mut c = crate::with(allowing(json!([errno(&["setuid", "setresuid", "capset"], 0)])));
        c.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).set("/process/noNewPrivileges", unprivileged);
        c.set("/process/capabilities", json!({ "bounding": runtime_tests::bundle::CAPS }));
        // A file of its own: the usual one is shared by all cases.
        let probe = c.rootfs("bin/setuid");
        fs::copy(c.rootfs("bin/probe"), &probe).unwrap();
        fs::set_permissions(&probe, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
        c.args(&["/bin/setuid", "report"]);
        let r = c.run().ok().last_json();
        let wanted = if unprivileged { 1000 } else { 0 };
        assert_eq!(r["uid"], json!([1000, wanted, wanted, wanted]), "noNewPrivileges {unprivileged}");
        let rights = r["caps"]["effective"].as_array().unwrap();
        assert_eq!(rights.len(), if unprivileged { 0 } else { runtime_tests::bundle::CAPS.len() });
        assert!(!rights.contains(&json!(SYS_ADMIN)));
    }
}
