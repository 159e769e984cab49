//! libseccomp's own program for a profile, built with the calls that runc and
//! crun make.

use std::io::{Read, Seek};
use std::sync::Mutex;

use libseccomp::error::SeccompErrno;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use runtime_tests::bpf::{Insn, from_bytes};

use crate::machine::Machine;
use crate::profile::{Condition, Op, Profile, Rule};

/// Why there is no program: libseccomp would not have a rule of the profile,
/// and neither would runc or crun.
#[derive(Debug)]
pub struct Refusal(#[allow(dead_code, reason = "for whoever looks into it")] pub String);

/// The program, or what was refused. Anything else that fails is a panic.
pub fn program(profile: &Profile, machine: &Machine) -> Result<Vec<Insn>, Refusal> {
    if hangs(&profile.rules) {
        return Err(Refusal("libseccomp would not come back".into()));
    }
    // The library looks at the kernel once, and keeps that in globals.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());

    let default = action(profile.default);
    let mut filter = ScmpFilterContext::new(default).map_err(|e| Refusal(format!("default: {e}")))?;
    // It starts with the architecture it runs on.
    let native = ScmpArch::native();
    filter.remove_arch(native).expect("the native architecture is in");
    filter.add_arch(machine.native().theirs).expect("a known architecture");
    for name in &profile.archs {
        let sub = machine.subs.iter().find(|s| s.name == *name).expect("an architecture of this machine");
        if !filter.is_arch_present(sub.theirs).expect("a known architecture") {
            filter.add_arch(sub.theirs).expect("a known architecture");
        }
    }
    for rule in &profile.rules {
        add(&mut filter, rule)?;
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    filter.export_bpf(&file).expect("an export");
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a readable file");
    let program = from_bytes(&bytes);
    if loads_number(&program) { Ok(program) } else { Err(Refusal("a program that judges no number".into())) }
}

/// Whether all architectures begin with loading the number. libseccomp, also
/// 2.6.1, leaves that out where the first rule is about a name without a number
/// there: arm has no `mmap`, x86 has no `accept` but in `socketcall`. It then
/// compares numbers with the architecture.
fn loads_number(program: &[Insn]) -> bool {
    const LD: u16 = 0x20;
    const JA: u16 = 0x05;
    const JEQ: u16 = 0x15;
    const RET: u16 = 0x06;
    let landing = |mut at: usize| {
        while program[at].code == JA {
            at += 1 + program[at].k as usize;
        }
        at
    };
    let mut at = 1;
    while program[at].code == JEQ {
        let first = program[landing(at + 1 + usize::from(program[at].jt))];
        if first.code != RET && (first.code, first.k) != (LD, 0) {
            return false;
        }
        at = landing(at + 1 + usize::from(program[at].jf));
    }
    true
}

/// A program for each rule of a profile, as if there were no other, if one can be had. It is asked
/// where that for all says what the rules do not: libseccomp (2.5.4, and 2.6.1
/// too) loses rules, and compares the wrong words, where several meet.
///
/// - arm, `send`: arg3 <= 0, then arg3 > 0 and arg0 <= 0. The second is not in
///   the program.
/// - x86, `readdir`: arg0 == 1, then arg0 != 24 and arg1 < 5. For (1, 9) the 9
///   is compared with 1: arg0 is not loaded again.
pub fn one_by_one(profile: &Profile, machine: &Machine) -> Vec<Option<Vec<Insn>>> {
    let alone = |rule: &Rule| Profile { rules: vec![rule.clone()], ..profile.clone() };
    profile.rules.iter().map(|rule| program(&alone(rule), machine).ok()).collect()
}

/// libseccomp, also 2.6.1, goes round in circles when two rules of one call
/// begin with the same comparison that takes both halves of an argument in
/// turn, and go on differently: arg0 < 1 and arg1 == 5, arg0 < 1 and arg2 == 6.
fn hangs(rules: &[Rule]) -> bool {
    // The first argument is another one where the call is one of `socketcall` or `ipc`.
    let chains = |least: usize| {
        rules.iter().map(move |rule| {
            let mut chain: Vec<_> = rule.conditions.iter().filter(|c| c.index >= least).copied().collect();
            chain.sort_by_key(|c| c.index);
            (&rule.name, chain)
        })
    };
    let halves = |c: &Condition| !matches!(c.op, Op::Eq | Op::Masked);
    let circular = |a: &[Condition], b: &[Condition]| {
        let same = a.iter().zip(b).take_while(|(a, b)| (a.index, a.op, a.value) == (b.index, b.op, b.value)).count();
        a[..same].iter().any(halves) && a.len() > same && b.len() > same
    };
    (0..2).any(|least| {
        let chains: Vec<_> = chains(least).collect();
        let pairs = chains.iter().enumerate().flat_map(|(i, a)| chains[..i].iter().map(move |b| (a, b)));
        pairs.into_iter().any(|((x, a), (y, b))| x == y && circular(a, b))
    })
}

fn add(filter: &mut ScmpFilterContext, rule: &Rule) -> Result<(), Refusal> {
    // Names that it does not know are skipped.
    let Ok(call) = ScmpSyscall::from_name(&rule.name) else { return Ok(()) };
    let conditions: Vec<_> = rule.conditions.iter().map(compare).collect();
    let added = filter.add_rule_conditional(action(rule.action), call, &conditions);
    added.map(drop).map_err(|e| match e.errno() {
        Some(SeccompErrno::EEXIST | SeccompErrno::EINVAL) => Refusal(format!("{rule:?}: {e}")),
        _ => panic!("{rule:?}: {e}"),
    })
}

fn compare(c: &Condition) -> ScmpArgCompare {
    let (op, datum) = match c.op {
        Op::Ne => (ScmpCompareOp::NotEqual, c.value),
        Op::Lt => (ScmpCompareOp::Less, c.value),
        Op::Le => (ScmpCompareOp::LessOrEqual, c.value),
        Op::Eq => (ScmpCompareOp::Equal, c.value),
        Op::Ge => (ScmpCompareOp::GreaterEqual, c.value),
        Op::Gt => (ScmpCompareOp::Greater, c.value),
        Op::Masked => (ScmpCompareOp::MaskedEqual(c.value), c.second),
    };
    ScmpArgCompare::new(c.index as u32, op, datum)
}

fn action(verdict: u32) -> ScmpAction {
    let data = verdict as u16;
    match verdict & 0xffff_0000 {
        0x8000_0000 => ScmpAction::KillProcess,
        0x0000_0000 => ScmpAction::KillThread,
        0x0003_0000 => ScmpAction::Trap,
        0x0005_0000 => ScmpAction::Errno(data.into()),
        0x7fc0_0000 => ScmpAction::Notify,
        0x7ff0_0000 => ScmpAction::Trace(data),
        0x7ffc_0000 => ScmpAction::Log,
        0x7fff_0000 => ScmpAction::Allow,
        _ => panic!("no verdict: {verdict:#x}"),
    }
}
