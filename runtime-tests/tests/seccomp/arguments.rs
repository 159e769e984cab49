//! Conditions on arguments, and which of several rules holds.

use runtime_tests::{Case, Value, json};

use crate::{allowing, call, denying, errno, result_of, with};

/// A condition.
fn arg(index: u64, op: &str, value: u64) -> Value {
    json!({ "index": index, "value": value, "op": format!("SCMP_CMP_{op}") })
}

/// A rule about `getppid`, which looks at none of its arguments.
fn when(errno: i64, args: Value) -> Value {
    json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args })
}

/// What becomes of `getppid` with each of these lists of arguments.
fn results(c: &mut Case, lists: &[&[u64]]) -> Vec<i64> {
    let ops: Vec<String> = lists.iter().map(|args| call(libc::SYS_getppid, args)).collect();
    let r = c.attempts(&ops.iter().map(String::as_str).collect::<Vec<_>>());
    ops.iter().map(|op| r[op].as_i64().expect("a number")).collect()
}

/// A value with something in both halves, and its neighbours, also in one half alone.
const VALUE: u64 = 0x0000_0005_8000_0000;
const AROUND: [u64; 8] =
    [0, VALUE - 1, VALUE, VALUE + 1, 0x8000_0000, 0x0000_0005_0000_0000, 0x0000_0006_0000_0000, u64::MAX];

#[test]
fn the_seven_operators_on_all_of_64_bits() {
    type Holds = fn(u64) -> bool;
    let operators: [(&str, Holds); 6] = [
        ("EQ", |a| a == VALUE),
        ("NE", |a| a != VALUE),
        ("LT", |a| a < VALUE),
        ("LE", |a| a <= VALUE),
        ("GT", |a| a > VALUE),
        ("GE", |a| a >= VALUE),
    ];
    for index in [0, 5] {
        let at = |a: u64| {
            let mut list = [0; 6];
            list[index as usize] = a;
            list
        };
        let lists: Vec<[u64; 6]> = AROUND.iter().map(|a| at(*a)).collect();
        let lists: Vec<&[u64]> = lists.iter().map(|l| &l[..]).collect();
        for (op, holds) in operators {
            let mut c = with(allowing(json!([when(70, json!([arg(index, op, VALUE)]))])));
            let wanted: Vec<i64> = AROUND.iter().map(|a| if holds(*a) { -70 } else { 0 }).collect();
            assert_eq!(results(&mut c, &lists), wanted, "{op} of argument {index}: {AROUND:x?}");
        }
    }
}

/// The first value is the mask, the second what is left to be.
#[test]
fn masked_equal() {
    let masked = |mask: u64, rest: Value| {
        let arg = json!({ "index": 1, "value": mask, "valueTwo": rest, "op": "SCMP_CMP_MASKED_EQ" });
        with(allowing(json!([when(70, json!([arg]))])))
    };
    let lists: [&[u64]; 5] = [&[0, 0], &[0, 0x1000], &[0, 0x2_0000_1000], &[0, 0x2_0000_0fff], &[0, u64::MAX]];
    assert_eq!(results(&mut masked(0x2_0000_1000, json!(0x1000)), &lists), [0, -70, 0, 0, 0]);
    assert_eq!(results(&mut masked(0x2_0000_1000, json!(0x2_0000_1000_u64)), &lists), [0, 0, -70, 0, -70]);
    assert_eq!(results(&mut masked(0x2_0000_0000, json!(null)), &lists), [-70, -70, 0, 0, 0]);
}

/// All conditions of a rule must hold; but of two on the same argument, one.
#[test]
fn both_or_one_of_them() {
    let mut c = with(allowing(json!([when(70, json!([arg(0, "EQ", 7), arg(2, "GT", 10)]))])));
    assert_eq!(results(&mut c, &[&[7, 0, 11], &[7, 0, 10], &[8, 0, 11], &[0, 0, 0]]), [-70, 0, 0, 0]);
    let mut c = with(allowing(json!([when(70, json!([arg(2, "EQ", 7), arg(2, "EQ", 9)]))])));
    assert_eq!(results(&mut c, &[&[0, 0, 7], &[0, 0, 9], &[0, 0, 8], &[7, 9, 0]]), [-70, -70, 0, 0]);
}

#[test]
fn the_first_rule_that_holds() {
    let mut c = with(allowing(json!([when(70, json!([arg(0, "EQ", 1)])), when(71, json!([arg(0, "LE", 5)]))])));
    assert_eq!(results(&mut c, &[&[1], &[3], &[5], &[6]]), [-70, -71, -71, 0]);
    // One without conditions is the end of it, wherever it stands.
    let mut c = with(allowing(json!([when(70, json!([arg(0, "EQ", 1)])), errno(&["getppid"], 72)])));
    assert_eq!(results(&mut c, &[&[1], &[3]]), [-72, -72]);
    let mut c = with(allowing(json!([errno(&["getppid"], 72), errno(&["getppid"], 73)])));
    assert_eq!(results(&mut c, &[&[1]]), [-72]);
}

/// What profiles are made of: a call allowed with some arguments only.
#[test]
fn allowed_with_some_arguments() {
    let mut profile = denying("SCMP_ACT_ERRNO", &[]);
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    let some =
        |value: u64| json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [arg(0, "EQ", value)] });
    rules.extend([some(0), some(8), some(0xffff_ffff)]);
    let mut c = with(profile);
    assert_eq!(result_of(&mut c, libc::SYS_personality, &[0xffff_ffff]), 0);
    assert_eq!(result_of(&mut c, libc::SYS_personality, &[8]), 0);
    assert_eq!(result_of(&mut c, libc::SYS_personality, &[0x0040_0000]), -1, "ADDR_NO_RANDOMIZE");
    assert_eq!(result_of(&mut c, libc::SYS_personality, &[0x1_0000_0008]), -1, "only one half of it is allowed");
}

/// What is newer than the profile does not exist for it: programs then take
/// what they took on older kernels. EPERM they would believe.
#[test]
fn newer_calls_do_not_exist() {
    let old = call(libc::SYS_getppid, &[]);
    let new = call(libc::SYS_mount_setattr, &[]);
    let both = |c: &mut Case| {
        let r = c.attempts(&[&old, &new]);
        [r[&old].as_i64(), r[&new].as_i64()].map(|n| n.expect("a number"))
    };
    assert_eq!(both(&mut with(denying("SCMP_ACT_ERRNO", &["openat2"]))), [-1, -38]);
    assert_eq!(both(&mut with(denying("SCMP_ACT_ERRNO", &["landlock_create_ruleset"]))), [-1, -1]);
    let mut c = with(denying("SCMP_ACT_KILL_PROCESS", &["openat2"]));
    assert_eq!(result_of(&mut c, libc::SYS_mount_setattr, &[]), -38);
    // An allowed default has no end.
    let mut c = with(allowing(json!([errno(&["openat2"], 1)])));
    assert_eq!(result_of(&mut c, libc::SYS_mount_setattr, &[]), -22, "the kernel's own answer");
}
