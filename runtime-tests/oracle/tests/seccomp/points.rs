//! The calls a filter is asked about: every number, and for those with
//! conditions the arguments where a comparison could go the wrong way.

use std::collections::BTreeSet;

use oracle::random::Random;
use runtime_tests::bpf::Data;

use crate::machine::{Machine, X32_BIT};
use crate::model::{Model, Rule};
use crate::profile::Op;

/// Calls `ask` for each point.
pub fn each(model: &Model, machine: &Machine, r: &mut Random, mut ask: impl FnMut(&Data)) {
    for audit in machine.subs.iter().map(|s| s.audit).collect::<BTreeSet<_>>() {
        for nr in numbers(machine, audit, r) {
            let data = Data { nr, arch: audit, ip: r.word(), args: [0; 6] };
            // Also the arguments of numbers nearby: a range may be too long.
            let near = nr.saturating_sub(4)..=nr.saturating_add(4);
            let rules = model.part(&data).into_iter().flat_map(|p| p.rules.range(near.clone()));
            let rules: Vec<_> = rules.flat_map(|(_, rules)| rules).collect();
            for args in arguments(&rules, r) {
                ask(&Data { args, ..data });
            }
        }
    }
    // Architectures that this machine has not, or not with such a profile.
    let others = [0, u32::MAX, 0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0x8000_0015, r.word() as u32];
    for arch in others {
        for nr in [0, 1, 3, 63, 102, 0x4000_0001, u32::MAX] {
            ask(&Data { nr, arch, ip: 0, args: [0; 6] });
        }
    }
}

/// All numbers of the architectures, their neighbours, -1, x32's bit on any,
/// and others far from them.
fn numbers(machine: &Machine, audit: u32, r: &mut Random) -> Vec<u32> {
    let mut all: Vec<_> = machine.subs.iter().filter(|s| s.audit == audit).flat_map(|s| s.numbers()).collect();
    all.extend([u32::MAX, 0x7fff_ffff, 0x8000_0000, X32_BIT - 1, 2 * X32_BIT - 1]);
    all.extend((0..600).step_by(37).map(|nr| nr | X32_BIT));
    // Not libseccomp's own numbers for what an architecture has not, which are
    // negative and small: they do have rules there, of calls nobody can make.
    all.extend((0..20).map(|_| r.word() as u32).filter(|nr| *nr < 0xffff_0000));
    all
}

/// Argument vectors that meet each condition of these rules, and miss it.
fn arguments(rules: &[&Rule], r: &mut Random) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    if rules.iter().all(|rule| rule.conditions.is_empty()) {
        return all;
    }
    let mut values: [Vec<u64>; 6] = [const { Vec::new() }; 6];
    for c in rules.iter().flat_map(|rule| &rule.conditions) {
        values[c.index].extend(around(c.value));
        if matches!(c.op, Op::Masked) {
            values[c.index].extend(around_masked(c.value, c.second, r));
        }
    }
    for values in &mut values {
        values.extend([0, u64::MAX]);
        values.sort_unstable();
        values.dedup();
    }
    // From where a rule holds, one argument at a time is led away.
    for rule in rules {
        let met = meeting(rule, r);
        all.push(met);
        for index in rule.conditions.iter().map(|c| c.index) {
            all.extend(values[index].iter().map(|value| {
                let mut args = met;
                args[index] = *value;
                args
            }));
        }
    }
    all.extend((0..20).map(|_| std::array::from_fn(|index| *r.pick(&values[index]))));
    all
}

/// A value, its neighbours, and the same with another upper half.
fn around(v: u64) -> [u64; 8] {
    let low = v & 0xffff_ffff;
    [v.wrapping_sub(1), v, v.wrapping_add(1), v ^ (1 << 32), v ^ (1 << 63), low, low | 0xffff_ffff_0000_0000, !v]
}

/// What a mask lets through, and what misses by one bit inside and outside it.
fn around_masked(mask: u64, wanted: u64, r: &mut Random) -> [u64; 7] {
    let met = wanted & mask;
    let lowest = mask & mask.wrapping_neg();
    let highest = 1u64.checked_shl(63 - mask.leading_zeros().min(63)).unwrap_or(0) & mask;
    [met, met | !mask, met ^ lowest, met ^ highest, met ^ (r.word() & mask), met | (r.word() & !mask), wanted]
}

/// Arguments for which all conditions hold, if there are any.
fn meeting(rule: &Rule, r: &mut Random) -> [u64; 6] {
    let mut args = if r.percent(50) { [0; 6] } else { std::array::from_fn(|_| r.word()) };
    for c in &rule.conditions {
        args[c.index] = match c.op {
            Op::Eq | Op::Ge | Op::Le => c.value,
            Op::Gt | Op::Ne => c.value.wrapping_add(1),
            Op::Lt => c.value.wrapping_sub(1),
            Op::Masked => (c.second & c.value) | (r.word() & !c.value),
        };
    }
    args
}
