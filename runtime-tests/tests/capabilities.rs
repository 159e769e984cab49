//! The five capability sets, seen from inside, in every combination of user,
//! no_new_privs, kind of program, and way in.
//!
//! What is expected comes from the formula of capabilities(7), written once
//! below, not from a table of results.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime_tests::bundle::{CAPS, PATH};
use runtime_tests::{Case, Value, host, json, sys};

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;
const SETFCAP: u64 = 1 << 31;
/// Of the second word.
const CHECKPOINT_RESTORE: u64 = 1 << 40;

const NAMES: [(&str, u64); 7] = [
    ("CAP_CHOWN", CHOWN),
    ("CAP_KILL", KILL),
    ("CAP_NET_BIND_SERVICE", NET_BIND_SERVICE),
    ("CAP_NET_RAW", NET_RAW),
    ("CAP_SYS_ADMIN", SYS_ADMIN),
    ("CAP_SETFCAP", SETFCAP),
    ("CAP_CHECKPOINT_RESTORE", CHECKPOINT_RESTORE),
];

/// The five sets of a process, as masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sets {
    bounding: u64,
    permitted: u64,
    effective: u64,
    inheritable: u64,
    ambient: u64,
}

impl Sets {
    /// As docker has it: the same in three sets.
    const fn three(mask: u64) -> Self {
        Self { bounding: mask, permitted: mask, effective: mask, inheritable: 0, ambient: 0 }
    }

    /// As podman has it for a user that is not root: the same in all.
    const fn five(mask: u64) -> Self {
        Self { inheritable: mask, ambient: mask, ..Self::three(mask) }
    }

    /// `process.capabilities`.
    fn config(&self) -> Value {
        json!({
            "bounding": names(self.bounding), "permitted": names(self.permitted), "effective": names(self.effective),
            "inheritable": names(self.inheritable), "ambient": names(self.ambient),
        })
    }

    /// From the probe's report.
    fn of(report: &Value) -> Self {
        let mask = |name: &str| {
            let list = report["caps"][name].as_array().expect("a list");
            list.iter().fold(0, |mask, n| mask | 1 << n.as_u64().unwrap())
        };
        Self {
            bounding: mask("bounding"),
            permitted: mask("permitted"),
            effective: mask("effective"),
            inheritable: mask("inheritable"),
            ambient: mask("ambient"),
        }
    }

    /// What the runtime has before the execve: what is asked for, as far as the
    /// kernel can give it and this machine's root has it.
    fn granted(self, held: Sets) -> Self {
        let permitted = self.permitted & held.permitted;
        let inheritable = self.inheritable & held.permitted;
        Self {
            bounding: self.bounding & held.bounding,
            permitted,
            effective: self.effective & permitted,
            inheritable,
            ambient: self.ambient & permitted & inheritable,
        }
    }
}

fn names(mask: u64) -> Vec<&'static str> {
    NAMES.iter().filter(|(_, bit)| mask & bit != 0).map(|(name, _)| *name).collect()
}

/// What this test holds itself, which is what orlop holds.
fn held() -> Sets {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = |name: &str| {
        let hex = status.lines().find_map(|l| l.strip_prefix(name)).expect("a line").trim_start_matches(':').trim();
        u64::from_str_radix(hex, 16).unwrap()
    };
    Sets {
        bounding: mask("CapBnd"),
        permitted: mask("CapPrm"),
        effective: mask("CapEff"),
        inheritable: mask("CapInh"),
        ambient: mask("CapAmb"),
    }
}

/// A program in the rootfs, and what execve(2) looks at of it.
#[derive(Debug, Clone, Copy)]
struct Program {
    path: &'static str,
    setuid_root: bool,
    /// File capabilities: permitted, inheritable, effective bit.
    caps: Option<(u64, u64, bool)>,
}

const PROGRAMS: [Program; 5] = [
    Program { path: "/bin/probe", setuid_root: false, caps: None },
    Program { path: "/bin/probe-setuid", setuid_root: true, caps: None },
    Program { path: "/bin/probe-permitted", setuid_root: false, caps: Some((NET_RAW, 0, true)) },
    Program { path: "/bin/probe-inherits", setuid_root: false, caps: Some((0, CHOWN | KILL | NET_RAW, true)) },
    // It copes with what it is not given: no effective bit.
    Program { path: "/bin/probe-modest", setuid_root: false, caps: Some((SYS_ADMIN | KILL, NET_RAW, false)) },
];

impl Program {
    /// Puts it into the rootfs; the reason if the filesystem can't hold it.
    fn install(&self, c: &Case) -> Result<(), String> {
        let path = c.rootfs(self.path);
        if !path.exists() {
            fs::copy(runtime_tests::paths::probe(), &path).unwrap();
        }
        if self.setuid_root {
            sys::chown(&path, 0, 0);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        }
        let Some((permitted, inheritable, effective)) = self.caps else { return Ok(()) };
        sys::set_file_caps(&path, permitted, inheritable, effective)
            .map_err(|e| format!("no file capabilities on this filesystem: {e}"))
    }
}

/// execve(2) by capabilities(7), "Transformation of capabilities during
/// execve()" and "Capabilities and execution of programs by root", and
/// no_new_privs as prctl(2) has it. `None`: it fails with EPERM, since a program
/// that relies on its file capabilities would not get all of them.
fn execve(p: Sets, uid: u32, no_new_privs: bool, program: &Program) -> Option<Sets> {
    // Under no_new_privs the setuid bit counts for nothing.
    let euid = if program.setuid_root && !no_new_privs { 0 } else { uid };
    let privileged_file = program.caps.is_some() || euid != uid;
    let (mut f_permitted, mut f_inheritable, mut f_effective) = program.caps.unwrap_or_default();
    if f_effective && f_permitted & !(f_permitted & p.bounding | f_inheritable & p.inheritable) != 0 {
        return None;
    }
    if uid == 0 || euid == 0 {
        (f_permitted, f_inheritable) = (u64::MAX, u64::MAX);
    }
    f_effective |= euid == 0;
    let ambient = if privileged_file { 0 } else { p.ambient };
    let mut permitted = p.inheritable & f_inheritable | f_permitted & p.bounding;
    permitted |= ambient;
    if no_new_privs {
        // Nothing that it had not before.
        permitted &= p.permitted;
    }
    let effective = if f_effective { permitted } else { ambient };
    Some(Sets { bounding: p.bounding, permitted, effective, inheritable: p.inheritable, ambient })
}

/// What the configs ask for; a machine that is emulated takes a third of it.
fn wanted() -> Vec<(&'static str, Sets)> {
    let many = CHOWN | KILL | NET_RAW | SETFCAP;
    let all = vec![
        ("docker", Sets::three(many | NET_BIND_SERVICE)),
        ("podman, a user", Sets::five(KILL | NET_RAW)),
        ("none", Sets::default()),
        ("bounding only", Sets { bounding: many, ..Sets::default() }),
        ("not effective", Sets { effective: 0, ..Sets::three(many) }),
        ("permitted beyond bounding", Sets { bounding: KILL, ..Sets::three(KILL | CHOWN) }),
        ("some ambient", Sets { inheritable: KILL | CHOWN, ambient: KILL, ..Sets::three(many | CHECKPOINT_RESTORE) }),
        ("ambient that cannot be", Sets { inheritable: KILL, ambient: KILL | CHOWN, ..Sets::three(many) }),
        (
            "inheritable, not permitted",
            Sets { inheritable: NET_RAW, permitted: KILL, effective: KILL, ..Sets::three(many) },
        ),
    ];
    host::sample(all).collect()
}

/// One program run in one way: what it saw, or that it could not be executed.
type Run<'a> = &'a dyn Fn(&Program) -> runtime_tests::Output;

#[track_caller]
fn compare(what: &str, granted: Sets, uid: u32, nnp: bool, programs: &[Program], run: Run<'_>) {
    for program in programs {
        let out = run(program);
        let what = format!("{what}: uid {uid}, no_new_privs {nnp}, {}", program.path);
        match execve(granted, uid, nnp, program) {
            Some(expected) => {
                assert_eq!(out.code(), 0, "{what}: {}", out.stderr);
                let report = out.last_json();
                assert_eq!(Sets::of(&report), expected, "{what}, before: {granted:x?}");
                assert_eq!(report["no_new_privs"], nnp, "{what}");
            }
            None => {
                assert_ne!(out.code(), 0, "{what} was executed: {}", out.stdout);
                assert!(out.stderr.contains("operation not permitted"), "{what}: {}", out.stderr);
            }
        }
    }
}

/// The programs this machine can have, in a case's rootfs.
fn installed(c: &Case, test: &str) -> Vec<Program> {
    let one = |p: &Program| match p.install(c) {
        Ok(()) => Some(*p),
        Err(why) => {
            host::report_part(test, p.path.trim_start_matches("/bin/"), &why);
            None
        }
    };
    PROGRAMS.iter().filter_map(one).collect()
}

#[test]
fn of_the_first_process() {
    let mut c = Case::new();
    let programs = installed(&c, "of_the_first_process");
    for (what, sets) in wanted() {
        for (uid, nnp) in [(0, false), (0, true), (1000, false), (1000, true)] {
            c.set("/process/user", json!({ "uid": uid, "gid": uid }));
            c.set("/process/noNewPrivileges", nnp).set("/process/capabilities", sets.config());
            let cell = std::cell::RefCell::new(&mut c);
            compare(what, sets.granted(held()), uid, nnp, &programs, &|p| {
                let mut c = cell.borrow_mut();
                c.args(&[p.path, "report"]);
                c.run()
            });
        }
    }
}

#[test]
fn of_exec_with_a_document() {
    let c = Case::started();
    let programs = installed(&c, "of_exec_with_a_document");
    for (what, sets) in wanted() {
        for (uid, nnp) in [(0, false), (0, true), (1000, false), (1000, true)] {
            compare(what, sets.granted(held()), uid, nnp, &programs, &|p| {
                let process = json!({
                    "args": [p.path, "report"], "cwd": "/", "env": [PATH], "user": { "uid": uid, "gid": uid },
                    "noNewPrivileges": nnp, "capabilities": sets.config(),
                });
                let file = c.dir.join("process.json");
                fs::write(&file, process.to_string()).unwrap();
                c.orlop(&["exec", "--process"]).arg(&file).arg(&c.id).go()
            });
        }
    }
    c.delete();
}

/// `exec` by flags: the container's sets, changed. `--cap` never makes
/// anything inheritable (CVE-2022-29162).
#[test]
fn of_exec_with_flags() {
    for (what, sets) in wanted() {
        for (uid, nnp) in [(0, false), (1000, false), (1000, true)] {
            let mut c = Case::new();
            c.set("/process/user", json!({ "uid": uid, "gid": uid })).set("/process/noNewPrivileges", nnp);
            c.set("/process/capabilities", sets.config()).args(&["/bin/sleep", "1000"]);
            c.start();
            let programs = &installed(&c, "of_exec_with_flags")[..2];
            let run = |flags: &'static [&'static str]| {
                let c = &c;
                move |p: &Program| c.exec(flags, &[p.path, "report"]).go()
            };
            let granted = sets.granted(held());
            compare(what, granted, uid, nnp, programs, &run(&[]));
            compare(what, granted, 1000, nnp, programs, &run(&["--user", "1000:1000"]));
            compare(what, granted, 0, nnp, programs, &run(&["--user", "0"]));
            compare(what, granted, uid, true, programs, &run(&["--no-new-privs"]));
            let added = CHOWN | SYS_ADMIN;
            let more = Sets {
                bounding: sets.bounding | added,
                permitted: sets.permitted | added,
                effective: sets.effective | added,
                ambient: sets.ambient | added & sets.inheritable,
                ..sets
            };
            let caps = &["--cap", "CAP_CHOWN", "--cap", "CAP_SYS_ADMIN"];
            compare(what, more.granted(held()), uid, nnp, programs, &run(caps));
            c.delete();
        }
    }
}

/// A shell of the image starts the setuid program: two execve, one after the other.
#[test]
fn of_a_setuid_program_that_a_user_starts() {
    let shell = Program { path: "/bin/sh", setuid_root: false, caps: None };
    for (what, sets) in wanted() {
        for nnp in [false, true] {
            let mut c = Case::new();
            let programs = installed(&c, "of_a_setuid_program_that_a_user_starts");
            c.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).set("/process/noNewPrivileges", nnp);
            c.set("/process/capabilities", sets.config());
            let first = execve(sets.granted(held()), 1000, nnp, &shell).unwrap();
            c.sh(&format!("{} report", programs[1].path));
            let report = c.run().ok().last_json();
            assert_eq!(Some(Sets::of(&report)), execve(first, 1000, nnp, &programs[1]), "{what}, {nnp}");
            assert_eq!(report["uid"][1], if nnp { 1000 } else { 0 }, "{what}, {nnp}");
        }
    }
}

/// Without `capabilities` the sets are the runtime's own, for root; another
/// user loses them by the change of ids (capabilities(7)).
#[test]
fn that_are_not_mentioned() {
    let mut c = Case::new();
    c.unset("/process/capabilities");
    for (uid, nnp) in [(0, false), (0, true), (1000, false), (1000, true)] {
        c.set("/process/user", json!({ "uid": uid, "gid": uid })).set("/process/noNewPrivileges", nnp);
        let own = held();
        let before = if uid == 0 { own } else { Sets { permitted: 0, effective: 0, ambient: 0, ..own } };
        let cell = std::cell::RefCell::new(&mut c);
        compare("absent", before, uid, nnp, &PROGRAMS[..1], &|p| {
            let mut c = cell.borrow_mut();
            c.args(&[p.path, "report"]);
            c.run()
        });
    }
}

/// What no kernel gives to anybody is refused, before anything is touched.
#[test]
fn that_nobody_could_grant() {
    let three = json!(["CAP_KILL", "CAP_CHOWN"]);
    for (set, caps, text) in [
        (
            "effective",
            json!({ "bounding": three, "effective": three, "permitted": ["CAP_KILL"] }),
            "CAP_CHOWN not in permitted",
        ),
        ("effective", json!({ "bounding": three, "effective": three }), "CAP_CHOWN, CAP_KILL not in permitted"),
        ("inheritable", json!({ "bounding": ["CAP_KILL"], "inheritable": three }), "CAP_CHOWN not in bounding"),
    ] {
        let mut c = Case::new();
        let seen = c.dir.join("hook");
        c.push("/hooks/createRuntime", json!({ "path": "/bin/touch", "args": ["touch", seen] }));
        c.set("/process/capabilities", caps.clone());
        let field = format!("process.capabilities.{set}");
        c.create().fails_with(&[&field, "cannot be granted", text]);
        assert!(!seen.exists());
        c.assert_nothing_left();
        let c = Case::started();
        let file = c.dir.join("process.json");
        fs::write(&file, json!({ "args": ["/bin/true"], "cwd": "/", "capabilities": caps }).to_string()).unwrap();
        c.orlop(&["exec", "-p"]).arg(&file).arg(&c.id).go().exits(255).says(&[&field, text]);
        c.delete();
    }
}

/// What the kernel does not know, or cannot raise, or this machine's root does
/// not have, is left out with a warning. Nobody but who asks for warnings sees it.
#[test]
fn that_are_left_out_with_a_warning() {
    let mut c = Case::new();
    c.args(&["/bin/probe", "report"]);
    let mut expected = vec!["process.capabilities.ambient: cannot be granted: CAP_CHOWN"];
    let mut caps = Sets { ambient: CHOWN | KILL, inheritable: KILL, ..Sets::three(CHOWN | KILL) }.config();
    if host::sys_resource().is_err() {
        for set in ["bounding", "permitted", "effective"] {
            caps[set].as_array_mut().unwrap().push(json!("CAP_SYS_RESOURCE"));
        }
        expected.extend([
            "permitted: cannot be granted: CAP_SYS_RESOURCE",
            "effective: cannot be granted: CAP_SYS_RESOURCE",
        ]);
    } else {
        host::report_part("that_are_left_out_with_a_warning", "not held", "this machine's root has every capability");
    }
    caps["permitted"].as_array_mut().unwrap().push(json!("CAP_FROM_THE_FUTURE"));
    expected.push("unknown capability \"CAP_FROM_THE_FUTURE\" ignored");
    c.set("/process/capabilities", caps.clone());
    let out = c.run().ok();
    assert_eq!(out.stderr, "", "by default nothing precedes what engines parse");
    assert_eq!(Sets::of(&out.last_json()).ambient, KILL);
    let warned = c.orlop(&["--log-level", "warning", "run", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    warned.says(&expected);
    let c = Case::started();
    let file = c.dir.join("process.json");
    fs::write(&file, json!({ "args": ["/bin/true"], "cwd": "/", "capabilities": caps }).to_string()).unwrap();
    let exec = |level: &str| c.orlop(&["--log-level", level, "exec", "-p"]).arg(&file).arg(&c.id).go().ok();
    assert_eq!(exec("error").stderr, "");
    exec("warning").says(&expected);
    c.delete();
}

/// The list of docker's `--cap-add ALL` and podman's `--privileged` works on
/// any machine: what its root does not have is not given.
#[test]
fn all_of_them() {
    let mut c = Case::new();
    c.write();
    let known: Value = c.bare().arg("features").go().ok().json();
    let list = known["linux"]["capabilities"].clone();
    assert!(list.as_array().unwrap().len() >= CAPS.len());
    c.set("/process/capabilities", json!({ "bounding": list, "effective": list, "permitted": list }));
    c.args(&["/bin/probe", "report"]);
    let sets = Sets::of(&c.run().ok().last_json());
    assert_eq!(sets, Sets { bounding: held().bounding, ..Sets::three(held().permitted & held().bounding) });
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(Sets::of(&c.exec_probe(&[], &["report"])), sets);
    c.delete();
}
