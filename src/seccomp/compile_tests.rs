//! Tests of the compiler by a small machine that runs what it makes.
//!
//! (Verdicts are compared with libseccomp's elsewhere; these are about the
//! shape of programs: their length, and jumps that are far.)

use super::*;

/// Runs a program on a call; `None` when it does what the kernel would refuse.
fn verdict(program: &[Insn], arch: u32, nr: u32, args: [u64; 6]) -> Option<u32> {
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const JSET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const JGT: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    let word = |offset: u32| match offset {
        NR => Some(nr),
        ARCH => Some(arch),
        16..64 if offset.is_multiple_of(4) => {
            let arg = args[(offset as usize - 16) / 8];
            Some(if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 })
        }
        _ => None,
    };
    let (mut at, mut acc) = (0, 0);
    loop {
        let insn = program.get(at)?;
        at += 1;
        let holds = match insn.code {
            LD_ABS => {
                acc = word(insn.k)?;
                continue;
            }
            AND => {
                acc &= insn.k;
                continue;
            }
            JMP_JA => {
                at += insn.k as usize;
                continue;
            }
            RET => return Some(insn.k),
            JMP_JEQ => acc == insn.k,
            JMP_JGE => acc >= insn.k,
            JGT => acc > insn.k,
            JSET => acc & insn.k != 0,
            _ => return None,
        };
        at += usize::from(if holds { insn.jt } else { insn.jf });
    }
}

const X86_64: u32 = 0xc000_003e;
const DEFAULT: u32 = ret::errno(1);

fn profile(rules: Vec<Rule>) -> Profile {
    Profile { default: DEFAULT, arches: vec![], rules, newer_is_enosys: true }
}

fn rule(names: &[&str], verdict: u32) -> Rule {
    Rule { calls: names.iter().filter_map(|name| Call::find(name)).collect(), verdict, conditions: vec![] }
}

/// `getppid` with these arguments.
fn when(conditions: &[(u8, u64)], verdict: u32) -> Rule {
    let equal = |(index, value): &(u8, u64)| Condition { index: *index, compare: Compare::Equal, value: *value };
    Rule { conditions: conditions.iter().map(equal).collect(), ..rule(&["getppid"], verdict) }
}

/// The numbers that x86_64 gives its calls.
fn x86_64() -> impl Iterator<Item = (&'static str, u32)> {
    tables::names().filter_map(|name| Arch::X86_64.number(name).map(|nr| (name, nr)))
}

/// As the engines' default profile: most calls allowed on three architectures,
/// some with conditions, the rest denied.
#[test]
fn a_profile_like_the_engines_is_short() {
    let denied =
        ["add_key", "bpf", "delete_module", "init_module", "kexec_load", "keyctl", "mount", "ptrace", "reboot"];
    let names: Vec<_> = tables::names().filter(|name| !denied.contains(name) && *name != "personality").collect();
    let mut rules = vec![rule(&names, ret::ALLOW), rule(&denied[..2], ret::errno(38))];
    for value in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        let conditions = vec![Condition { index: 0, compare: Compare::Equal, value }];
        rules.push(Rule { conditions, ..rule(&["personality"], ret::ALLOW) });
    }
    let arches = vec![Arch::X86_64, Arch::X86, Arch::X32];
    let program = compile(&Profile { arches, ..profile(rules) }, Arch::X86_64).unwrap();
    assert!(program.len() < 500, "{}", program.len());
    let of = |nr, arg| verdict(&program, X86_64, nr, [arg, 0, 0, 0, 0, 0]).unwrap();
    for (name, nr) in x86_64() {
        let wanted = match denied.iter().position(|denied| *denied == name) {
            Some(0 | 1) => ret::errno(38),
            Some(_) => DEFAULT,
            None if name == "personality" => DEFAULT,
            None => ret::ALLOW,
        };
        assert_eq!(of(nr, 1), wanted, "{name}");
    }
    let personality = Arch::X86_64.number("personality").unwrap();
    assert_eq!((of(personality, 8), of(personality, 8 | 1 << 32)), (ret::ALLOW, DEFAULT));
    assert_eq!(verdict(&program, Arch::Aarch64.audit(), 0, [0; 6]), Some(ret::KILL_THREAD));
}

/// Nearly as many fates as the kernel takes, so that nothing can be shared and
/// every way to the other half is farther than a conditional jump reaches.
#[test]
fn far_jumps_get_where_they_lead() {
    let calls: Vec<_> = x86_64().collect();
    let mut numbers: Vec<u32> = calls.iter().map(|(_, nr)| *nr).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut rules = Vec::new();
    // Three fates for each: two by arguments and one for all else.
    for (i, (name, _)) in calls.iter().enumerate() {
        for (value, part) in [(1, 0), (1 << 40, 1)] {
            let conditions = vec![Condition { index: 3, compare: Compare::Equal, value }];
            let verdict = ret::trace((4 * i + part) as u16);
            rules.push(Rule { conditions, ..rule(&[name], verdict) });
        }
    }
    let whole = Profile { default: ret::ALLOW, ..profile(rules.clone()) };
    let error = compile(&whole, Arch::X86_64).unwrap_err();
    assert!(error.contains("instructions, and the kernel takes 4096"), "{error}");
    // As many of these as fit.
    let kept = calls.len() / 2 * 2;
    let program = compile(&Profile { default: ret::ALLOW, ..profile(rules[..kept].to_vec()) }, Arch::X86_64).unwrap();
    assert!(program.len() > 2000 && program.len() <= MAX_INSNS, "{}", program.len());
    assert!(program.iter().any(|insn| insn.code == JMP_JA && insn.k > 255), "there is no far jump");
    for (i, (name, nr)) in calls.iter().enumerate() {
        let of = |arg| verdict(&program, X86_64, *nr, [0, 0, 0, arg, 0, 0]);
        let known = calls.iter().position(|(_, other)| other == nr) == Some(i);
        if !known {
            continue;
        }
        let (first, second) = match 2 * i < kept {
            true => (ret::trace(4 * i as u16), ret::trace(4 * i as u16 + 1)),
            false => (ret::ALLOW, ret::ALLOW),
        };
        assert_eq!((of(1), of(1 << 40), of(0)), (Some(first), Some(second), Some(ret::ALLOW)), "{name}");
        assert_eq!(of(1 << 40 | 1), Some(ret::ALLOW), "{name}");
    }
}

/// A fate for each number, alone: the tree with the most ways there are.
#[test]
fn a_verdict_for_every_call() {
    let calls: Vec<_> = x86_64().collect();
    let own = |nr: u32| ret::trace(1000 + nr as u16);
    let rules = calls.iter().map(|(name, nr)| rule(&[name], own(*nr))).collect();
    let program = compile(&profile(rules), Arch::X86_64).unwrap();
    for (name, nr) in &calls {
        assert_eq!(verdict(&program, X86_64, *nr, [0; 6]), Some(own(*nr)), "{name}");
    }
    // Numbers that are nobody's, among them and beyond.
    let gap = (0..600).find(|nr| calls.iter().all(|(_, known)| known != nr)).unwrap();
    let newest = Arch::X86_64.newest();
    assert_eq!(verdict(&program, X86_64, newest + 1, [0; 6]), Some(ret::errno(libc::ENOSYS as u16)));
    assert!([Some(DEFAULT), Some(ret::errno(38))].contains(&verdict(&program, X86_64, gap, [0; 6])));
    assert_eq!(verdict(&program, X86_64, X32_BIT, [0; 6]), Some(ret::KILL_THREAD));
    assert_eq!(verdict(&program, X86_64, u32::MAX, [0; 6]), Some(DEFAULT), "skipped by a tracer");
}

/// Many rules about one call, which are tried one after the other.
#[test]
fn a_long_list_of_conditions() {
    let rules: Vec<Rule> = (1..=400).map(|n| when(&[(0, n), (5, n << 33)], ret::trace(n as u16))).collect();
    let program = compile(&profile(rules.clone()), Arch::X86_64).unwrap();
    let getppid = Arch::X86_64.number("getppid").unwrap();
    for n in 1..=400 {
        assert_eq!(verdict(&program, X86_64, getppid, [n, 0, 0, 0, 0, n << 33]), Some(ret::trace(n as u16)));
        assert_eq!(verdict(&program, X86_64, getppid, [n, 0, 0, 0, 0, 1]), Some(DEFAULT));
    }
    let twice: Vec<Rule> = (1..=1000).map(|n| when(&[(0, n), (5, n << 33)], ret::trace(n as u16))).collect();
    assert!(compile(&profile(twice), Arch::X86_64).unwrap_err().contains("4096"));
}

/// The kernel refuses a program that could run past its end.
#[test]
fn every_jump_is_inside() {
    let names: Vec<_> = tables::names().step_by(3).collect();
    for arch in Arch::ALL.into_iter().filter(|arch| supports(*arch)) {
        let rules = vec![rule(&names, ret::ALLOW), when(&[(0, 1), (1, 2)], ret::LOG)];
        let arches = vec![Arch::X86, Arch::X32, Arch::Arm];
        let program = compile(&Profile { arches, ..profile(rules) }, arch).unwrap();
        for (at, insn) in program.iter().enumerate() {
            let farthest = match insn.code {
                RET => continue,
                JMP_JA => insn.k as usize,
                _ => usize::from(insn.jt.max(insn.jf)),
            };
            assert!(at + 1 + farthest < program.len(), "{}: {at} of {}", arch.name(), program.len());
        }
    }
}
