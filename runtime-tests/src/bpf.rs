//! Classic BPF as seccomp has it: the kernel's check of a program and an
//! interpreter, so that filters can be judged without loading them.
//!
//! Written from the kernel's `bpf_check_classic` and `seccomp_check_filter`:
//! what those refuse is refused here, and nothing else.

use std::fmt;

/// One instruction: `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// The longest program the kernel takes (`BPF_MAXINSNS`).
pub const MAX: usize = 4096;

/// The cells of scratch memory (`BPF_MEMWORDS`).
const CELLS: usize = 16;
/// The bytes of `struct seccomp_data`.
const DATA: u32 = 64;

// The classes, and what is added to them; names as in <linux/bpf_common.h>.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
const X: u16 = 0x08;
const A: u16 = 0x10;
const TAX: u16 = 0x00;
const TXA: u16 = 0x80;
const ADD: u16 = 0x00;
const SUB: u16 = 0x10;
const MUL: u16 = 0x20;
const DIV: u16 = 0x30;
const OR: u16 = 0x40;
const AND: u16 = 0x50;
const LSH: u16 = 0x60;
const RSH: u16 = 0x70;
const NEG: u16 = 0x80;
const XOR: u16 = 0xa0;
const JA: u16 = 0x00;
const JEQ: u16 = 0x10;
const JGT: u16 = 0x20;
const JGE: u16 = 0x30;
const JSET: u16 = 0x40;

/// What an instruction does; the operand of `true` is the register X.
#[derive(Clone, Copy)]
enum Op {
    LoadData,
    LoadLen,
    LoadImm,
    LoadCell,
    IndexLen,
    IndexImm,
    IndexCell,
    StoreA,
    StoreX,
    Alu(u16, bool),
    Neg,
    Ja,
    Jump(u16, bool),
    ReturnK,
    ReturnA,
    ToX,
    ToA,
}

/// The operation of a code that seccomp knows. Sizes other than a word, loads
/// relative to X, and MOD are classic BPF but not for seccomp.
fn decode(code: u16) -> Option<Op> {
    const LEN_X: u16 = LDX | LEN;
    const MEM_X: u16 = LDX | MEM;
    Some(match code {
        c if c == LD | ABS => Op::LoadData,
        c if c == LD | LEN => Op::LoadLen,
        c if c == LD | IMM => Op::LoadImm,
        c if c == LD | MEM => Op::LoadCell,
        LEN_X => Op::IndexLen,
        LDX => Op::IndexImm,
        MEM_X => Op::IndexCell,
        ST => Op::StoreA,
        STX => Op::StoreX,
        c if c == ALU | NEG => Op::Neg,
        c if c == JMP | JA => Op::Ja,
        RET => Op::ReturnK,
        c if c == RET | A => Op::ReturnA,
        c if c == MISC | TAX => Op::ToX,
        c if c == MISC | TXA => Op::ToA,
        c => return with_operand(c),
    })
}

/// The codes whose operand is K or X.
fn with_operand(code: u16) -> Option<Op> {
    let (op, x) = (code & 0xf0, code & X != 0);
    match code & !0xf8 {
        ALU if matches!(op, ADD | SUB | MUL | DIV | OR | AND | LSH | RSH | XOR) => Some(Op::Alu(op, x)),
        JMP if matches!(op, JEQ | JGT | JGE | JSET) => Some(Op::Jump(op, x)),
        _ => None,
    }
}

/// Why the kernel would not load a program, and at which instruction.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub usize, pub &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "instruction {}: {}", self.0, self.1)
    }
}

/// Checks a program as the kernel does before it takes it.
pub fn check(program: &[Insn]) -> Result<(), Refused> {
    if program.is_empty() || program.len() > MAX {
        return Err(Refused(program.len(), "length"));
    }
    for (at, insn) in program.iter().enumerate() {
        let op = decode(insn.code).ok_or(Refused(at, "unknown code"))?;
        check_one(op, insn, program.len() - at - 1).map_err(|why| Refused(at, why))?;
    }
    let last = program.len() - 1;
    if !matches!(decode(program[last].code), Some(Op::ReturnK | Op::ReturnA)) {
        return Err(Refused(last, "no return at the end"));
    }
    check_cells(program)
}

/// One instruction with `after` more behind it.
fn check_one(op: Op, insn: &Insn, after: usize) -> Result<(), &'static str> {
    let (k, jt, jf) = (insn.k, usize::from(insn.jt), usize::from(insn.jf));
    match op {
        Op::LoadData if k >= DATA => Err("load beyond the data"),
        Op::LoadData if k & 3 != 0 => Err("load that is not aligned"),
        Op::LoadCell | Op::IndexCell | Op::StoreA | Op::StoreX if k as usize >= CELLS => Err("no such cell"),
        Op::Alu(DIV, false) if k == 0 => Err("division by zero"),
        Op::Alu(LSH | RSH, false) if k >= 32 => Err("shift too far"),
        Op::Ja if k as usize >= after => Err("jump past the end"),
        Op::Jump(..) if jt >= after || jf >= after => Err("jump past the end"),
        _ => Ok(()),
    }
}

/// No cell may be read that was not written on every way there. Jumps go
/// forward only, so one pass is enough.
fn check_cells(program: &[Insn]) -> Result<(), Refused> {
    let mut known = vec![u16::MAX; program.len()];
    let mut here = 0u16;
    for (at, insn) in program.iter().enumerate() {
        here &= known[at];
        match decode(insn.code) {
            Some(Op::StoreA | Op::StoreX) => here |= 1 << insn.k,
            Some(Op::LoadCell | Op::IndexCell) if here & (1 << insn.k) == 0 => {
                return Err(Refused(at, "cell read before it is written"));
            }
            Some(Op::Ja) => {
                known[at + 1 + insn.k as usize] &= here;
                here = u16::MAX;
            }
            Some(Op::Jump(..)) => {
                known[at + 1 + usize::from(insn.jt)] &= here;
                known[at + 1 + usize::from(insn.jf)] &= here;
                here = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a filter is asked about: `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub nr: u32,
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

impl Data {
    /// The sixteen words a program can load, on a little-endian machine.
    pub fn words(&self) -> [u32; 16] {
        let mut words = [0; 16];
        words[0] = self.nr;
        words[1] = self.arch;
        let wide = std::iter::once(&self.ip).chain(&self.args);
        for (pair, value) in words[2..].chunks_exact_mut(2).zip(wide) {
            pair.copy_from_slice(&[*value as u32, (*value >> 32) as u32]);
        }
        words
    }
}

/// Runs a program that [`check`] took: its verdict, and how many instructions
/// that needed.
pub fn run(program: &[Insn], data: &[u32; 16]) -> (u32, usize) {
    let (mut a, mut x, mut at, mut steps) = (0u32, 0u32, 0usize, 0usize);
    let mut cells = [0u32; CELLS];
    loop {
        let insn = program[at];
        (at, steps) = (at + 1, steps + 1);
        match decode(insn.code).expect("a checked program") {
            Op::LoadData => a = data[insn.k as usize / 4],
            Op::LoadLen => a = DATA,
            Op::LoadImm => a = insn.k,
            Op::LoadCell => a = cells[insn.k as usize],
            Op::IndexLen => x = DATA,
            Op::IndexImm => x = insn.k,
            Op::IndexCell => x = cells[insn.k as usize],
            Op::StoreA => cells[insn.k as usize] = a,
            Op::StoreX => cells[insn.k as usize] = x,
            // The one thing that can go wrong ends the program with 0.
            Op::Alu(DIV, true) if x == 0 => return (0, steps),
            Op::Alu(op, by_x) => a = alu(op, a, if by_x { x } else { insn.k }),
            Op::Neg => a = a.wrapping_neg(),
            Op::Ja => at += insn.k as usize,
            Op::Jump(op, by_x) => {
                let taken = jumps(op, a, if by_x { x } else { insn.k });
                at += usize::from(if taken { insn.jt } else { insn.jf });
            }
            Op::ReturnK => return (insn.k, steps),
            Op::ReturnA => return (a, steps),
            Op::ToX => x = a,
            Op::ToA => a = x,
        }
    }
}

fn alu(op: u16, a: u32, b: u32) -> u32 {
    match op {
        ADD => a.wrapping_add(b),
        SUB => a.wrapping_sub(b),
        MUL => a.wrapping_mul(b),
        DIV => a / b,
        OR => a | b,
        AND => a & b,
        // A shift by X too far is masked, as the kernel's 32-bit shifts are.
        LSH => a.wrapping_shl(b),
        RSH => a.wrapping_shr(b),
        XOR => a ^ b,
        _ => unreachable!("decoded"),
    }
}

fn jumps(op: u16, a: u32, b: u32) -> bool {
    match op {
        JEQ => a == b,
        JGT => a > b,
        JGE => a >= b,
        JSET => a & b != 0,
        _ => unreachable!("decoded"),
    }
}

/// A program as the kernel has it in memory: eight bytes an instruction.
pub fn from_bytes(bytes: &[u8]) -> Vec<Insn> {
    let (all, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty(), "whole instructions");
    let insn = |[c0, c1, jt, jf, k @ ..]: [u8; 8]| Insn {
        code: u16::from_le_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_le_bytes(k),
    };
    all.iter().copied().map(insn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insn(code: u16, k: u32) -> Insn {
        Insn { code, jt: 0, jf: 0, k }
    }

    fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
        Insn { code, jt, jf, k }
    }

    fn ret(k: u32) -> Insn {
        insn(RET, k)
    }

    const RETURN_A: Insn = Insn { code: RET | A, jt: 0, jf: 0, k: 0 };

    /// The verdict of a program that must be a good one.
    fn verdict(program: &[Insn]) -> u32 {
        let data = Data {
            nr: 7,
            arch: 0xc000_003e,
            ip: 0x1111_2222_3333_4444,
            args: [0xa, 0xb_0000_000c, 0, 0, 0, u64::MAX - 1],
        };
        check(program).expect("a good program");
        run(program, &data.words()).0
    }

    /// What is left in A after `before`.
    fn a_after(before: &[Insn]) -> u32 {
        verdict(&[before, &[RETURN_A]].concat())
    }

    fn why(program: &[Insn]) -> &'static str {
        check(program).expect_err("a bad program").1
    }

    #[test]
    fn loads() {
        for (k, word) in
            [(0, 7), (4, 0xc000_003e), (8, 0x3333_4444), (12, 0x1111_2222), (16, 0xa), (24, 0xc), (28, 0xb)]
        {
            assert_eq!(a_after(&[insn(LD | ABS, k)]), word, "offset {k}");
        }
        assert_eq!(a_after(&[insn(LD | ABS, 60)]), u32::MAX);
        assert_eq!(a_after(&[insn(LD | LEN, 0)]), 64);
        assert_eq!(a_after(&[insn(LD | IMM, 9)]), 9);
        assert_eq!(a_after(&[insn(LDX | IMM, 8), insn(MISC | TXA, 0)]), 8);
        assert_eq!(a_after(&[insn(LDX | LEN, 0), insn(MISC | TXA, 0)]), 64);
        assert_eq!(a_after(&[]), 0);
    }

    #[test]
    fn scratch() {
        let stored = [insn(LD | IMM, 5), insn(ST, 15), insn(LD | IMM, 6), insn(LD | MEM, 15)];
        assert_eq!(a_after(&stored), 5);
        let indexed = [insn(LDX | IMM, 4), insn(STX, 0), insn(LDX | IMM, 3), insn(LDX | MEM, 0), insn(MISC | TXA, 0)];
        assert_eq!(a_after(&indexed), 4);
        assert_eq!(why(&[insn(LD | MEM, 0), RETURN_A]), "cell read before it is written");
        // Written on one way of two: not good enough. On both: good.
        let one = [jump(JMP | JEQ, 0, 0, 1), insn(ST, 1), insn(LD | MEM, 1), RETURN_A];
        assert_eq!(why(&one), "cell read before it is written");
        let both = [jump(JMP | JEQ, 0, 0, 2), insn(ST, 1), insn(JMP | JA, 1), insn(ST, 1), insn(LD | MEM, 1), RETURN_A];
        assert_eq!(check(&both), Ok(()));
        for code in [ST, STX, LD | MEM, LDX | MEM] {
            assert_eq!(why(&[insn(code, 16), ret(0)]), "no such cell");
        }
    }

    #[test]
    fn arithmetic() {
        let with = |op: u16, a: u32, b: u32| {
            let by_k = a_after(&[insn(LD | IMM, a), insn(ALU | op, b)]);
            let by_x = a_after(&[insn(LDX | IMM, b), insn(LD | IMM, a), insn(ALU | op | X, 0)]);
            assert_eq!(by_k, by_x, "{op:#x} {a} {b}");
            by_k
        };
        assert_eq!(with(ADD, u32::MAX, 2), 1);
        assert_eq!(with(SUB, 1, 2), u32::MAX);
        assert_eq!(with(MUL, 1 << 31, 2), 0);
        assert_eq!(with(DIV, 7, 2), 3);
        assert_eq!(with(OR, 5, 2), 7);
        assert_eq!(with(AND, 5, 4), 4);
        assert_eq!(with(XOR, 5, 4), 1);
        assert_eq!(with(LSH, 1, 31), 1 << 31);
        assert_eq!(with(RSH, 1 << 31, 31), 1);
        assert_eq!(a_after(&[insn(LD | IMM, 1), insn(ALU | NEG, 0)]), u32::MAX);
        assert_eq!(a_after(&[insn(LD | IMM, 3), insn(MISC | TAX, 0), insn(ALU | ADD | X, 0)]), 6);
        // Division by an X of zero ends the program.
        assert_eq!(verdict(&[insn(LD | IMM, 3), insn(ALU | DIV | X, 0), ret(9)]), 0);
        assert_eq!(why(&[insn(ALU | DIV, 0), ret(0)]), "division by zero");
        assert_eq!(why(&[insn(ALU | LSH, 32), ret(0)]), "shift too far");
        assert_eq!(why(&[insn(ALU | RSH, 32), ret(0)]), "shift too far");
    }

    #[test]
    fn jumping() {
        let cases =
            [(JEQ, 5, 5), (JEQ, 5, 6), (JGT, 6, 5), (JGT, 5, 5), (JGE, 5, 5), (JGE, 4, 5), (JSET, 6, 2), (JSET, 5, 2)];
        for (n, (op, a, b)) in cases.into_iter().enumerate() {
            let by_k = [insn(LD | IMM, a), jump(JMP | op, b, 0, 1), ret(1), ret(0)];
            let by_x = [insn(LD | IMM, a), insn(LDX | IMM, b), jump(JMP | op | X, 99, 0, 1), ret(1), ret(0)];
            let taken = u32::from(n % 2 == 0);
            assert_eq!((verdict(&by_k), verdict(&by_x)), (taken, taken), "{op:#x} {a} {b}");
        }
        // Comparisons are of unsigned numbers.
        assert_eq!(verdict(&[insn(LD | IMM, u32::MAX), jump(JMP | JGT, 1, 0, 1), ret(1), ret(0)]), 1);
        assert_eq!(verdict(&[insn(JMP | JA, 1), ret(1), ret(2)]), 2);
        for bad in [insn(JMP | JA, 1), insn(JMP | JA, u32::MAX), jump(JMP | JEQ, 0, 1, 0), jump(JMP | JGE, 0, 0, 255)] {
            assert_eq!(why(&[bad, ret(0)]), "jump past the end");
        }
        let words = Data::default().words();
        assert_eq!(run(&[insn(JMP | JA, 1), ret(1), ret(2)], &words).1, 2, "instructions that were run");
    }

    #[test]
    fn refusals() {
        assert_eq!(why(&[]), "length");
        assert_eq!(why(&vec![ret(0); MAX + 1]), "length");
        assert_eq!(check(&vec![ret(0); MAX]), Ok(()));
        assert_eq!(why(&[insn(LD | IMM, 0)]), "no return at the end");
        assert_eq!(why(&[insn(LD | ABS, 64), ret(0)]), "load beyond the data");
        assert_eq!(why(&[insn(LD | ABS, u32::MAX), ret(0)]), "load beyond the data");
        assert_eq!(why(&[insn(LD | ABS, 2), ret(0)]), "load that is not aligned");
        // Half words, bytes, relative loads, MOD, RET X, wide codes.
        for code in [0x28, 0x30, 0x40, 0xb1, 0x94, 0x9c, 0x0e, 0x88, 0x55, 0x100, 0xffff] {
            assert_eq!(why(&[insn(code, 0), ret(0)]), "unknown code", "{code:#x}");
        }
        assert_eq!(Refused(3, "length").to_string(), "instruction 3: length");
    }

    #[test]
    fn bytes() {
        let b = [0x15, 0, 1, 2, 3, 0, 0, 4, 0x06, 0, 0, 0, 0, 0, 0xff, 0x7f];
        assert_eq!(from_bytes(&b), [jump(JMP | JEQ, 0x0400_0003, 1, 2), ret(0x7fff_0000)]);
    }
}
