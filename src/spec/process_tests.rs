//! Tests of `process`, its scheduling included.

use serde_json::{Value, json};

use super::*;

fn run(mut extra: Value) -> (Process, String) {
    let mut doc = json!({"args": ["sh"], "cwd": "/"});
    doc.as_object_mut().unwrap().append(extra.as_object_mut().unwrap());
    let mut faults = Faults::default();
    let spec = super::super::parse::process::<SpecProcess>(&doc.to_string(), &mut faults);
    let process = spec.map(|s| resolve(&s, &mut faults)).unwrap_or_default();
    let warnings = faults.warnings.join("|");
    (process, faults.into_error("x").map_or(warnings, |e| e.to_string()))
}

fn good(extra: Value) -> Process {
    let (process, faults) = run(extra);
    assert_eq!(faults, "");
    process
}

#[test]
fn environment() {
    let p = good(json!({"env": ["A=1", "B=x=y", "A=", "C=3"]}));
    let env: Vec<_> = p.env.iter().map(|e| e.to_str().unwrap()).collect();
    assert_eq!(env, ["B=x=y", "A=", "C=3"]);
    assert_eq!(run(json!({"env": ["A=1", "B"]})).1, "x: process.env[1]: \"B\" has no \"=\"");
    assert_eq!(run(json!({"env": ["=1"]})).1, "x: process.env[0]: \"=1\" has an empty name");
}

#[test]
fn capabilities_by_name() {
    let (p, warnings) = run(json!({"capabilities": {
        "bounding": ["CAP_CHOWN", "cap_kill", "CAP_WARP_DRIVE", "CAP_CHECKPOINT_RESTORE"], "ambient": []}}));
    let caps = p.capabilities.unwrap();
    assert_eq!(caps.bounding, 1 | 1 << 5 | 1 << 40);
    assert_eq!(caps.permitted, 0);
    assert_eq!(warnings, "process.capabilities.bounding: unknown capability \"CAP_WARP_DRIVE\" ignored");
    assert_eq!(good(json!({})).capabilities, None);
}

#[test]
fn every_capability_is_known_to_both_crates() {
    for cap in caps::all() {
        let name = cap.to_string();
        let p = good(json!({"capabilities": {"permitted": [name]}}));
        assert_eq!(p.capabilities.unwrap().permitted, cap.bitmask(), "{name}");
        assert_eq!(capability_names(cap.bitmask()), name);
    }
}

#[test]
fn capabilities_that_nobody_could_grant() {
    let (kill, both) = (json!(["CAP_KILL"]), json!(["CAP_KILL", "CAP_CHOWN"]));
    let fault = |caps| run(json!({ "capabilities": caps })).1;
    assert_eq!(
        fault(json!({"bounding": both, "permitted": kill, "effective": both})),
        "x: process.capabilities.effective: cannot be granted: CAP_CHOWN not in permitted"
    );
    assert_eq!(
        fault(json!({"bounding": kill, "permitted": both, "inheritable": both})),
        "x: process.capabilities.inheritable: cannot be granted: CAP_CHOWN not in bounding"
    );
    // What older `runc spec`s and `crun spec` write.
    assert_eq!(fault(json!({"bounding": both, "permitted": both, "effective": both, "ambient": both})), "");
    assert_eq!(fault(json!({"effective": ["CAP_WARP_DRIVE"]})), FUTURE);
}

const FUTURE: &str = "process.capabilities.effective: unknown capability \"CAP_WARP_DRIVE\" ignored";

#[test]
fn console_size_needs_a_terminal() {
    let size = json!({"height": 24, "width": 80});
    assert_eq!(good(json!({"terminal": true, "consoleSize": size})).console_size, Some((24, 80)));
    assert_eq!(good(json!({"consoleSize": size})).console_size, None);
    assert_eq!(good(json!({"terminal": true, "consoleSize": {"height": 0, "width": 80}})).console_size, None);
}

#[test]
fn scheduling_numbers() {
    let p = good(json!({
        "scheduler": {"policy": "SCHED_FIFO", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "", "final": "0-1, 3"}}));
    let s = p.scheduler.unwrap();
    assert_eq!((s.policy, s.priority, s.flags), (1, 3, 5));
    assert_eq!(p.io_priority, Some(2 << 13 | 4));
    assert_eq!((p.affinity_initial, p.affinity_final), (None, Some(vec![0b1011])));
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 6000, "period": 7000});
    assert_eq!(good(json!({"scheduler": deadline})).scheduler.unwrap().deadline, 6000);
}

#[test]
fn rlimits_and_umask() {
    let p = good(json!({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}], "user": {"umask": 63}}));
    assert_eq!(p.rlimits, [Rlimit { name: "RLIMIT_NOFILE".into(), resource: 7, soft: 1, hard: 2 }]);
    assert_eq!(p.umask, 0o77);
}

#[test]
fn faults() {
    for (extra, text) in [
        (json!({"args": []}), "process.args: must have at least one element"),
        (json!({"args": ["a\0"]}), "process.args[0]: contains a NUL byte"),
        (json!({"cwd": "a"}), "process.cwd: \"a\" is not absolute"),
        (json!({"cwd": "/\0"}), "process.cwd: contains a NUL byte"),
        (json!({"user": {"uid": 4294967295u32}}), "process.user.uid: 4294967295 is not"),
        (json!({"user": {"gid": -1}}), "process.user.gid: invalid value: integer `-1`"),
        (json!({"oomScoreAdj": 1001}), "process.oomScoreAdj: 1001 is not between"),
        (json!({"rlimits": [{"type": "RLIMIT_NO", "soft": 1, "hard": 2}]}), "process.rlimits[0].type: unknown variant"),
        (json!({"rlimits": [{"type": "RLIMIT_CPU", "soft": 3, "hard": 2}]}), "process.rlimits[0].soft: 3 is more"),
        (
            json!({"rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 2}]}),
            "process.rlimits[1].type: a second limit",
        ),
        (json!({"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 8}}), "process.ioPriority.priority: 8 is not"),
        (json!({"ioPriority": {"class": "x", "priority": 1}}), "process.ioPriority.class: unknown variant"),
        (json!({"execCPUAffinity": {"final": "3-1"}}), "process.execCPUAffinity.final: range"),
        (json!({"execCPUAffinity": {"initial": "x"}}), "process.execCPUAffinity.initial: "),
        (json!({"terminal": true, "consoleSize": {"height": 70000, "width": 1}}), "process.consoleSize: larger"),
        (json!({"scheduler": {"policy": "SCHED_ISO"}}), "process.scheduler.policy: SCHED_ISO does not exist"),
        (json!({"scheduler": {"policy": "SCHED_X"}}), "process.scheduler.policy: unknown variant"),
        (json!({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}), "process.scheduler.nice: 20 is not"),
        (json!({"scheduler": {"policy": "SCHED_OTHER", "priority": 1}}), "process.scheduler.priority: is for"),
        (json!({"scheduler": {"policy": "SCHED_RR"}}), "process.scheduler.priority: 0 is not"),
        (
            json!({"scheduler": {"policy": "SCHED_RR", "priority": 1, "runtime": 1}}),
            "process.scheduler.runtime: is for",
        ),
        (json!({"scheduler": {"policy": "SCHED_DEADLINE"}}), "process.scheduler: SCHED_DEADLINE needs"),
        (
            json!({"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}),
            "process.scheduler.flags[0]: unknown variant",
        ),
        (json!({"apparmorProfile": "\0"}), "process.apparmorProfile: contains a NUL"),
    ] {
        let found = run(extra).1;
        assert!(found.starts_with(&format!("x: {text}")), "{found} instead of {text}");
        assert!(!found.contains("; "), "one fault: {found}");
    }
}
