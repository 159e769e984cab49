//! Random profiles: valid ones, with everything in them that a filter can get
//! wrong.

use oracle::random::Random;
use serde_json::{Value, json};

use crate::machine::{Machine, names};
use crate::profile::OPS;

/// Where comparisons in two halves go wrong, if they do.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x1_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// Calls that are made in two ways on some architectures, and the other way.
const MUXED: [&str; 12] = [
    "socket",
    "connect",
    "accept",
    "accept4",
    "send",
    "socketcall",
    "ipc",
    "semop",
    "semtimedop",
    "shmget",
    "shmctl",
    "msgrcv",
];

/// What the rules of one profile are made of; kept few, so that they meet.
struct Parts {
    names: Vec<String>,
    actions: Vec<Value>,
    values: Vec<u64>,
}

pub fn profile(r: &mut Random, machine: &Machine) -> Value {
    let parts = Parts {
        names: (0..1 + r.below(8)).map(|_| name(r)).collect(),
        actions: (0..1 + r.below(3)).map(|_| action(r, true)).collect(),
        values: (0..1 + r.below(4)).map(|_| value(r)).collect(),
    };
    let rules = if r.percent(5) { r.below(60) } else { r.below(12) };
    let syscalls: Vec<_> = (0..rules).map(|_| rule(r, &parts)).collect();
    let default = action(r, false);
    let mut profile = json!({ "defaultAction": default["action"], "syscalls": syscalls });
    if !default["errnoRet"].is_null() {
        profile["defaultErrnoRet"] = default["errnoRet"].clone();
    }
    if !r.percent(10) {
        profile["architectures"] = machine.subs.iter().map(|s| s.name).filter(|_| r.percent(60)).collect();
    }
    if parts.actions.iter().any(|a| a["action"] == "SCMP_ACT_NOTIFY") {
        profile["listenerPath"] = json!("/run/agent.sock");
    }
    profile
}

fn name(r: &mut Random) -> String {
    match r.below(100) {
        0..30 => r.pick(&MUXED).to_string(),
        30..35 => format!("no_such_call_{}", r.below(3)),
        35..60 => r.pick(&["read", "ioctl", "clone", "personality", "mmap", "execve"]).to_string(),
        _ => r.pick(names()).clone(),
    }
}

/// An action and its errno.
fn action(r: &mut Random, notify: bool) -> Value {
    let name = *r.pick(&[
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
    ]);
    if name == "SCMP_ACT_NOTIFY" && !notify {
        return action(r, notify);
    }
    let mut action = json!({ "action": name });
    let has_data = matches!(name, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
    if has_data && r.percent(80) {
        // 4095 is the kernel's greatest, and one more than libseccomp's.
        let edge = *r.pick(&[0, 1, 13, 22, 38, 4094]);
        action["errnoRet"] = json!(if r.percent(1) {
            4095
        } else if r.percent(50) {
            r.below(4095)
        } else {
            edge
        });
    }
    action
}

fn rule(r: &mut Random, parts: &Parts) -> Value {
    let count = if r.percent(3) { 1 + r.below(60) } else { 1 + r.below(2) };
    let called: Vec<_> =
        (0..count).map(|_| if count > 3 { r.pick(names()) } else { r.pick(&parts.names) }).cloned().collect();
    // Rules of one name mostly have one action: libseccomp refuses the same
    // conditions with two, and where several match has an order of its own.
    let usual = called[0].bytes().map(usize::from).sum::<usize>() % parts.actions.len();
    let mut rule = parts.actions[if r.percent(80) { usual } else { r.below(parts.actions.len()) }].clone();
    rule["names"] = json!(called);
    let conditions = if r.percent(35) { 0 } else { 1 + r.below(3) };
    if conditions > 0 || r.percent(10) {
        rule["args"] = (0..conditions).map(|_| condition(r, parts)).collect();
    }
    rule
}

fn condition(r: &mut Random, parts: &Parts) -> Value {
    let op = r.pick(&OPS).0;
    let index = if r.percent(60) { r.below(2) } else { r.below(6) };
    let mut condition = json!({ "index": index, "op": op, "value": known(r, parts) });
    if op == "SCMP_CMP_MASKED_EQ" || r.percent(10) {
        // Mostly something that the mask can leave.
        let mask = condition["value"].as_u64().expect("a number");
        let second = known(r, parts);
        condition["valueTwo"] = json!(if r.percent(70) { second & mask } else { second });
    }
    condition
}

fn known(r: &mut Random, parts: &Parts) -> u64 {
    if r.percent(60) { *r.pick(&parts.values) } else { value(r) }
}

fn value(r: &mut Random) -> u64 {
    match r.below(10) {
        0..5 => *r.pick(&EDGES),
        5..8 => r.below(30) as u64,
        8 => r.pick(&EDGES).wrapping_add(r.below(3) as u64).wrapping_sub(1),
        _ => r.word() >> r.below(64),
    }
}
