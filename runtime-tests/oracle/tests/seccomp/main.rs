//! orlop's seccomp programs beside libseccomp's: the same verdict on every
//! call. `ORACLE_SEED` and `ORACLE_ROUNDS` choose the random profiles.

mod compare;
mod generate;
mod machine;
mod model;
mod points;
mod profile;
mod reference;
mod shrink;

use std::collections::BTreeSet;

use compare::{Counts, compare};
use machine::Machine;
use oracle::random::Random;
use runtime_tests::bpf::Insn;
use serde_json::{Value, json};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is no number: {v}")))
}

/// orlop's compiler, without what it adds for calls newer than the profile.
fn ours(json: &str, machine: &Machine) -> Result<Vec<Insn>, String> {
    oracle::compile(json, machine.native().ours, false).map_err(|e| e.to_string())
}

#[test]
fn random_profiles() {
    let rounds = setting("ORACLE_ROUNDS").unwrap_or(600);
    let first = setting("ORACLE_SEED").unwrap_or(1);
    let mut counts = Counts::default();
    for seed in first..first + rounds {
        for machine in &machine::ALL {
            let json = generate::profile(&mut Random::new(seed), machine);
            let judge = |json: &Value, counts: &mut Counts| compare(json, machine, seed, &ours, counts);
            if judge(&json, &mut counts).is_err() {
                let less = shrink::shrink(json, |json| judge(json, &mut Counts::default()).is_err());
                panic!("ORACLE_SEED={seed} ORACLE_ROUNDS=1: {}", judge(&less, &mut counts).expect_err("still"));
            }
        }
    }
    println!("{counts:?}");
    // The exceptions are to stay exceptions.
    assert!(counts.refused * 5 < counts.profiles, "{counts:?}");
    assert!((counts.ambiguous + counts.disguised + counts.strayed) * 20 < counts.points, "{counts:?}");
}

/// Profiles as engines give them, for every machine and list of architectures.
#[test]
fn known_profiles() {
    let known = [include_str!("profiles/podman.json"), include_str!("profiles/deny.json")];
    let mut counts = Counts::default();
    for text in known {
        let mut json: Value = serde_json::from_str(text).expect("a profile");
        for machine in &machine::ALL {
            for listed in 0..1usize << machine.subs.len() {
                let named = machine.subs.iter().enumerate().filter(|(i, _)| listed & (1 << i) != 0);
                json["architectures"] = named.map(|(_, s)| s.name).collect();
                compare(&json, machine, 1, &ours, &mut counts).unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
    assert_eq!((counts.ambiguous, counts.strayed), (0, 0), "{counts:?}");
}

/// What a rule of each kind of orlop's would miss is noticed: every program
/// with one thing wrong in it is told from the right one.
#[test]
fn wrong_programs_are_found() {
    let machine = &machine::X86_64;
    let json = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            { "names": ["read", "close"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["socket"], "action": "SCMP_ACT_LOG", "args": [{ "index": 0, "op": "SCMP_CMP_LE", "value": 40 }] },
            {
                "names": ["personality"],
                "action": "SCMP_ACT_TRAP",
                "args": [{ "index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 0xf0_0000_000f_u64, "valueTwo": 0x10_0000_0001_u64 }],
            },
        ],
    });
    let right = ours(&json.to_string(), machine).expect("a program");
    compare(&json, machine, 1, &ours, &mut Counts::default()).expect("the right program");
    let mut unnoticed = BTreeSet::new();
    for at in 0..right.len() {
        for (what, wrong) in spoiled(&right, at) {
            let wrong = |_: &str, _: &Machine| Ok(wrong.clone());
            if compare(&json, machine, 1, &wrong, &mut Counts::default()).is_ok() {
                unnoticed.insert((at, what));
            }
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?} of {right:#?}");
}

/// The program with one instruction changed, in each way that matters.
fn spoiled(program: &[Insn], at: usize) -> Vec<(&'static str, Vec<Insn>)> {
    let with = |change: fn(&mut Insn)| {
        let mut program = program.to_vec();
        change(&mut program[at]);
        program
    };
    let jump = program[at].jt != program[at].jf;
    let mut all = vec![("its value", with(|i| i.k = i.k.wrapping_add(4)))];
    if jump {
        all.push(("its branches", with(|i| std::mem::swap(&mut i.jt, &mut i.jf))));
    }
    all
}

/// Numbers differ never; what only one of the two knows is left alone.
#[test]
fn numbers() {
    for sub in machine::ALL.iter().flat_map(|m| m.subs) {
        let both = sub.theirs().iter().filter_map(|(name, nr)| Some((name, *nr, sub.ours.number(name)?)));
        let wrong: Vec<_> = both.clone().filter(|(_, theirs, ours)| theirs != ours).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", sub.name);
        let missing: Vec<_> = sub.theirs().keys().filter(|name| sub.ours.number(name).is_none()).collect();
        assert!(missing.is_empty(), "{}: orlop has no {missing:?}", sub.name);
        assert!(both.count() > 300, "{}", sub.name);
    }
}
