//! The body of the fuzz target (`runtime-tests/fuzz`) on a bounded number of
//! texts: JSON of the right shape with wrong things in it, and anything else.

use proptest::prelude::*;
use serde_json::{Value, json};

/// Words of a profile, and near misses.
fn word() -> impl Strategy<Value = Value> {
    let known = prop::sample::select(vec![
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_LOG",
        "SCMP_CMP_EQ",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_MIPS",
        "SECCOMP_FILTER_FLAG_LOG",
        "read",
        "socket",
        "semop",
        "no_such_call",
        "",
    ]);
    prop_oneof![8 => known.prop_map(Value::from), 1 => any::<String>().prop_map(Value::from)]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0u64..7).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ]
}

/// A value of any kind where one was expected.
fn odd() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number(), word()];
    leaf.prop_recursive(2, 8, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::from))
}

fn one_of(action: &[&'static str]) -> impl Strategy<Value = Value> + use<> {
    prop_oneof![12 => prop::sample::select(action.to_vec()).prop_map(Value::from), 1 => odd()]
}

fn argument() -> impl Strategy<Value = Value> {
    let op = one_of(&["SCMP_CMP_NE", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"]);
    (0u64..7, number(), prop::option::of(number()), op)
        .prop_map(|(index, value, two, op)| json!({ "index": index, "value": value, "valueTwo": two, "op": op }))
}

fn rule() -> impl Strategy<Value = Value> {
    let action = one_of(&["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"]);
    let names = prop::collection::vec(word(), 0..4);
    (names, action, prop::option::of(0u32..70000), prop::collection::vec(argument(), 0..5)).prop_map(
        |(names, action, errno, args)| json!({ "names": names, "action": action, "errnoRet": errno, "args": args }),
    )
}

fn profile() -> impl Strategy<Value = Value> {
    let action = one_of(&["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL"]);
    let archs = prop::collection::vec(one_of(&["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]), 0..3);
    (action, prop::option::weighted(0.2, odd()), archs, prop::collection::vec(rule(), 0..6)).prop_map(
        |(action, errno, archs, rules)| {
            json!({ "defaultAction": action, "defaultErrnoRet": errno, "architectures": archs, "syscalls": rules })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn profiles(json in profile()) {
        oracle::fuzz(&json.to_string());
    }

    #[test]
    fn values(json in odd()) {
        oracle::fuzz(&json.to_string());
    }

    #[test]
    fn texts(text in any::<String>()) {
        oracle::fuzz(&text);
    }
}

/// As many rules as no program has room for: refused, with the numbers.
#[test]
fn too_long() {
    let arg = |n: u64| json!([{ "index": 0, "op": "SCMP_CMP_EQ", "value": n << 20 | n }]);
    let rules: Vec<_> =
        (0..2000).map(|n| json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": arg(n) })).collect();
    let json = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules }).to_string();
    oracle::fuzz(&json);
    let refused = oracle::compile(&json, orlop::seccomp::tables::Arch::X86_64, true).expect_err("too long");
    assert!(refused.to_string().contains("4096"), "{refused}");
}
