use proptest::prelude::*;

use super::*;

const ALL: Option<u32> = None;
const C: Option<DeviceType> = Some(DeviceType::Char);
const B: Option<DeviceType> = Some(DeviceType::Block);
const R: u8 = 1;
const W: u8 = 2;
const M: u8 = 4;
const RW: u8 = 3;
const RWM: u8 = 7;

fn deny(kind: Option<DeviceType>, major: Option<u32>, minor: Option<u32>, access: u8) -> DeviceRule {
    DeviceRule { allow: false, ..allow(kind, major, minor, access) }
}

type Request = (DeviceType, u32, u32, u8);

/// The meaning, straight from the rules: each access asked for is granted or
/// denied by the last rule that speaks of it.
fn meaning(rules: &[DeviceRule], (kind, major, minor, access): Request) -> bool {
    [R, W, M].into_iter().filter(|bit| access & bit != 0).all(|bit| {
        let speaks = |r: &&DeviceRule| {
            r.access & bit != 0
                && r.kind.is_none_or(|k| k == kind)
                && r.major.is_none_or(|n| n == major)
                && r.minor.is_none_or(|n| n == minor)
        };
        rules.iter().rev().find(speaks).is_some_and(|r| r.allow)
    })
}

/// Runs a program as the kernel would, panicking on whatever the verifier would refuse.
fn run(code: &[Insn], (kind, major, minor, access): Request) -> bool {
    let ctx = [(kernel_access(access) << 16 | kind_number(kind)) as u32, major, minor];
    let mut regs = [None::<u32>; 6];
    let mut pc = 0;
    loop {
        let insn = code[pc];
        let (dst, src) = ((insn.regs & 15) as usize, (insn.regs >> 4) as usize);
        let imm = insn.imm as u32;
        pc += 1;
        let jump = match insn.code {
            LOAD => {
                assert_eq!(src, CTX as usize);
                regs[dst] = Some(ctx[insn.off as usize / 4]);
                false
            }
            MOV => {
                regs[dst] = Some(imm);
                false
            }
            MOV_REG => {
                regs[dst] = Some(regs[src].unwrap());
                false
            }
            AND => {
                regs[dst] = Some(regs[dst].unwrap() & imm);
                false
            }
            SHIFT_RIGHT => {
                regs[dst] = Some(regs[dst].unwrap() >> imm);
                false
            }
            JUMP => true,
            JUMP_EQ => regs[dst].unwrap() == imm,
            JUMP_NE => regs[dst].unwrap() != imm,
            JUMP_ANY => regs[dst].unwrap() & imm != 0,
            EXIT => return regs[0].unwrap() != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        if jump {
            assert!(insn.off >= 0, "a loop");
            pc += insn.off as usize;
        }
    }
}

fn answer(program: &Option<Vec<Insn>>, request: Request) -> bool {
    program.as_ref().is_none_or(|code| run(code, request))
}

/// Every instruction can be reached: the verifier wants that.
fn assert_reachable(code: &[Insn]) {
    let mut reached = vec![false; code.len()];
    let mut todo = vec![0];
    while let Some(at) = todo.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let target = at + 1 + code[at].off.max(0) as usize;
        match code[at].code {
            EXIT => {}
            JUMP => todo.push(target),
            JUMP_EQ | JUMP_NE | JUMP_ANY => todo.extend([at + 1, target]),
            _ => todo.push(at + 1),
        }
    }
    assert!(reached.iter().all(|r| *r), "dead code in {code:?}");
}

fn compile_only(rules: &[DeviceRule]) -> Option<Vec<Insn>> {
    assemble(&reduce(rules.iter())).unwrap()
}

/// All requests for devices named in the rules, their neighbours, and built-in ones.
fn requests(rules: &[DeviceRule]) -> Vec<Request> {
    let mut majors: Vec<u32> = rules.iter().filter_map(|r| r.major).chain([1, 77]).collect();
    let mut minors: Vec<u32> = rules.iter().filter_map(|r| r.minor).chain([3, 99]).collect();
    for list in [&mut majors, &mut minors] {
        list.sort_unstable();
        list.dedup();
    }
    let mut all = Vec::new();
    for kind in [DeviceType::Char, DeviceType::Block] {
        for &major in &majors {
            for &minor in &minors {
                all.extend((1..=7).map(|access| (kind, major, minor, access)));
            }
        }
    }
    all
}

fn check(rules: &[DeviceRule]) {
    let program = compile_only(rules);
    if let Some(code) = &program {
        assert_reachable(code);
    }
    for request in requests(rules) {
        assert_eq!(answer(&program, request), meaning(rules, request), "{request:?} under {rules:?}: {program:?}");
    }
    let with_built_in: Vec<DeviceRule> = rules.iter().chain(&BUILT_IN).copied().collect();
    let program = compile(rules).unwrap();
    for request in requests(&with_built_in) {
        assert_eq!(answer(&program, request), meaning(&with_built_in, request), "{request:?} under {rules:?}");
    }
}

#[test]
fn table() {
    let lists: &[&[DeviceRule]] = &[
        &[],
        &[deny(None, ALL, ALL, RWM)],
        &[allow(None, ALL, ALL, RWM)],
        &[deny(None, ALL, ALL, RWM), allow(None, ALL, ALL, RWM)],
        // The union of two partial grants answers a request for both.
        &[allow(C, Some(1), Some(3), R), allow(C, Some(1), Some(3), W)],
        &[allow(C, Some(8), ALL, RW), deny(C, Some(8), Some(1), W), allow(C, Some(8), Some(1), M)],
        &[allow(None, ALL, ALL, RWM), deny(B, Some(8), ALL, W)],
        &[deny(B, Some(8), Some(0), W), allow(B, Some(8), ALL, RWM)],
        &[allow(C, ALL, ALL, RWM), allow(B, ALL, ALL, RWM)],
        &[allow(None, Some(8), Some(0), RW), deny(None, ALL, Some(0), R)],
        &[allow(C, Some(u32::MAX), Some(u32::MAX), RW)],
        &[allow(Some(DeviceType::Fifo), ALL, ALL, RWM), allow(C, Some(5), Some(1), 0)],
        &[allow(C, Some(1), ALL, M), deny(C, Some(1), Some(3), W), allow(C, Some(1), Some(3), R)],
    ];
    lists.iter().for_each(|rules| check(rules));
}

#[test]
fn partial_grants_add_up() {
    let program = compile(&[allow(C, Some(9), Some(3), R), allow(C, Some(9), Some(3), W)]).unwrap();
    assert!(answer(&program, (DeviceType::Char, 9, 3, RW)));
    assert!(answer(&program, (DeviceType::Char, 9, 3, RWM)), "mknod is built in");
    assert!(!answer(&program, (DeviceType::Char, 9, 4, R)));
}

#[test]
fn allowing_everything_needs_no_program() {
    let all = allow(None, ALL, ALL, RWM);
    let none = deny(None, ALL, ALL, RWM);
    assert_eq!(compile(&[all]).unwrap(), None);
    assert_eq!(compile(&[none, all]).unwrap(), None);
    assert_eq!(
        compile(&[deny(C, Some(1), ALL, R), none, allow(None, ALL, ALL, R), allow(None, ALL, ALL, W)]).unwrap(),
        None
    );
    assert!(compile(&[all, none]).unwrap().is_some());
    assert!(compile(&[]).unwrap().is_some());
}

#[test]
fn the_usual_lists_are_short() {
    // What podman and containerd send: deny all, then what the built-in list has anyway.
    let mut rules = vec![deny(None, ALL, ALL, RWM)];
    rules.extend(BUILT_IN);
    assert_eq!(reduce(rules.iter().chain(&BUILT_IN)).len(), BUILT_IN.len());
    let code = compile(&rules).unwrap().unwrap();
    assert!(code.len() <= 26, "{} instructions: {code:#?}", code.len());
    assert_eq!(compile(&[]).unwrap().unwrap(), code);
}

#[test]
fn too_many_rules() {
    let rules: Vec<_> = (0..40_000).map(|n| allow(C, Some(n + 200), Some(n), RW)).collect();
    assert!(compile_only_result(&rules).unwrap_err().to_string().contains("too many rules"));
}

fn compile_only_result(rules: &[DeviceRule]) -> Result<Option<Vec<Insn>>> {
    // Not reduced: that is quadratic, and there is nothing to reduce.
    assemble(rules)
}

fn rule() -> impl Strategy<Value = DeviceRule> {
    let kind = prop_oneof![Just(None), Just(B), Just(C)];
    let major = prop_oneof![Just(None), (0u32..3).prop_map(Some)];
    let minor = prop_oneof![Just(None), (0u32..3).prop_map(Some)];
    (any::<bool>(), kind, major, minor, 0u8..8).prop_map(|(allow, kind, major, minor, access)| DeviceRule {
        allow,
        kind,
        major,
        minor,
        access,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn program_means_what_the_rules_mean(rules in prop::collection::vec(rule(), 0..12)) {
        check(&rules);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_verifier_takes_it(rules in prop::collection::vec(rule(), 0..12)) {
        for program in [compile_only(&rules), compile(&rules).unwrap()].into_iter().flatten() {
            match bpf::load_device(&program) {
                Err(e) if e.raw_os_error() == Some(libc::EPERM) => eprintln!("skipped: loading eBPF is not permitted"),
                Err(_) => panic!("{}", bpf::explain_device(&program)),
                Ok(_) => {}
            }
        }
    }
}
