//! Device rules as an eBPF program of a cgroup.
//!
//! The rules are a list in which the last word on a device counts, for each
//! access (read, write, mknod) by itself; what no rule speaks of is denied.
//! The program asks them from the last to the first and strikes off the
//! accesses of the request a rule grants: when none is left the request is
//! allowed, when a rule denies one that is left it is not. Before that, rules
//! that cannot matter are dropped, which leaves little of the usual lists.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Error, Result, Step};
use crate::spec::plan::{DeviceRule, DeviceType};
use crate::sys::bpf::{self, Insn};
use crate::sys::ids::is_users;

const READ_WRITE_MKNOD: u8 = 7;
const MKNOD: u8 = 4;

/// What a container may use whatever its config says, as with runc: making
/// any node, and null, zero, full, random, urandom, tty, the ptys and tun.
/// They come after the config's rules, so these cannot take them away.
const BUILT_IN: [DeviceRule; 10] = [
    allow(None, None, None, MKNOD),
    allow_char(1, Some(3)),
    allow_char(1, Some(5)),
    allow_char(1, Some(7)),
    allow_char(1, Some(8)),
    allow_char(1, Some(9)),
    allow_char(5, Some(0)),
    allow_char(5, Some(2)),
    allow_char(10, Some(200)),
    allow_char(136, None),
];

const fn allow(kind: Option<DeviceType>, major: Option<u32>, minor: Option<u32>, access: u8) -> DeviceRule {
    DeviceRule { allow: true, kind, major, minor, access }
}

const fn allow_char(major: u32, minor: Option<u32>) -> DeviceRule {
    allow(Some(DeviceType::Char), Some(major), minor, READ_WRITE_MKNOD)
}

/// Puts the program for `rules` (and the built-in ones) on a cgroup, in the
/// place of any it has; nothing at all when everything is allowed.
///
/// `fresh` says that the cgroup is new and so has none.
pub(super) fn install(cgroup: BorrowedFd<'_>, fresh: bool, rules: &[DeviceRule]) -> Result<()> {
    let program = compile(rules)?;
    match replace(cgroup, fresh, program.as_deref()) {
        // Without privilege over the host's devices there is nobody to guard
        // them from: a user namespace can neither make a device node nor mount
        // a filesystem that honours one. runc lets this pass as well.
        Err(e) if e.raw_errno() == Some(libc::EPERM) && is_users() => Ok(()),
        done => done,
    }
}

fn replace(cgroup: BorrowedFd<'_>, fresh: bool, program: Option<&[Insn]>) -> Result<()> {
    let mut old = Vec::new();
    if !fresh {
        old = bpf::attached_devices(cgroup).step("cannot list the cgroup's device programs")?;
    }
    if let Some(program) = program {
        let loaded = bpf::load_device(program).map_err(|e| {
            Error::sys("cannot load the device program", e)
                .in_field("linux.resources.devices")
                .hint("loading needs CAP_BPF and CAP_NET_ADMIN, and a kernel with CONFIG_CGROUP_BPF")
        })?;
        let last = old.pop();
        bpf::attach_device(cgroup, loaded.as_fd(), last.as_ref().map(AsFd::as_fd)).map_err(|e| {
            Error::sys("cannot attach the device program", e)
                .in_field("linux.resources.devices")
                .hint("EPERM here can mean that a parent cgroup has a program that allows none below it")
        })?;
    }
    for prog in old {
        bpf::detach_device(cgroup, prog.as_fd()).step("cannot detach an old device program")?;
    }
    Ok(())
}

/// Compiles the config's rules followed by the built-in ones; `None` when that allows everything.
pub fn compile(rules: &[DeviceRule]) -> Result<Option<Vec<Insn>>> {
    assemble(&reduce(rules.iter().chain(&BUILT_IN)))
}

/// What the config's rules and the built-in ones allow, when that can be said
/// as a list; `None` when something wider is denied, and when all is allowed.
pub(super) fn allow_list(rules: &[DeviceRule]) -> Option<Vec<DeviceRule>> {
    let asked = reduce(rules.iter().chain(&BUILT_IN));
    let all =
        |r: &DeviceRule| r.kind.is_none() && r.major.is_none() && r.minor.is_none() && r.access == READ_WRITE_MKNOD;
    (asked.iter().all(|r| r.allow) && !asked.iter().any(all)).then_some(asked)
}

/// Does `a` speak of every device `b` speaks of?
fn covers(a: &DeviceRule, b: &DeviceRule) -> bool {
    (a.kind.is_none() || a.kind == b.kind)
        && (a.major.is_none() || a.major == b.major)
        && (a.minor.is_none() || a.minor == b.minor)
}

/// Is there a device both speak of?
fn meets(a: &DeviceRule, b: &DeviceRule) -> bool {
    fn agree<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
    agree(a.kind, b.kind) && agree(a.major, b.major) && agree(a.minor, b.minor)
}

/// The rules in the order they are asked (last first), without what cannot
/// change any answer. Every step leaves the meaning of the list as it was.
fn reduce<'a>(rules: impl DoubleEndedIterator<Item = &'a DeviceRule>) -> Vec<DeviceRule> {
    let mut asked: Vec<DeviceRule> = Vec::new();
    for rule in rules.rev() {
        // What wider rules asked earlier have decided never gets here.
        let decided = asked.iter().filter(|r| covers(r, rule)).fold(0, |bits, r| bits | r.access);
        let access = rule.access & READ_WRITE_MKNOD & !decided;
        if access != 0 && rule.kind != Some(DeviceType::Fifo) {
            asked.push(DeviceRule { access, ..*rule });
        }
    }
    for i in (0..asked.len()).rev() {
        let (head, later) = asked.split_at_mut(i + 1);
        head[i].access = needed(head[i], later);
        if head[i].access == 0 {
            asked.remove(i);
        }
    }
    asked
}

/// The accesses a rule has to speak of, given those asked after it.
fn needed(rule: DeviceRule, later: &mut [DeviceRule]) -> u8 {
    let mut needed = rule.access;
    if !rule.allow {
        // A denial needs saying only where something asked later would grant it.
        needed &= later.iter().filter(|r| r.allow && meets(r, &rule)).fold(0, |bits, r| bits | r.access);
    }
    // Nor need anything be said that a rule as wide says later, with nothing
    // between that says the opposite. One for just the same devices takes over
    // the rest as well.
    let mut open = needed;
    for r in later {
        if r.allow != rule.allow && meets(r, &rule) {
            open &= !r.access;
        } else if r.allow == rule.allow && covers(r, &rule) {
            if covers(&rule, r) {
                r.access |= needed & open;
            }
            needed &= !(r.access & open);
        }
    }
    needed
}

// Registers. R1 is the context the kernel passes, R0 the answer.
const R0: u8 = 0;
const CTX: u8 = 1;
const KIND: u8 = 2;
const LEFT: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }, with
// the kind of device in the low half of access_type and the accesses above it.
const LOAD: u8 = 0x61;
const MOV: u8 = 0xb4;
const MOV_REG: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_EQ: u8 = 0x16;
const JUMP_NE: u8 = 0x56;
const JUMP_ANY: u8 = 0x46;
const EXIT: u8 = 0x95;

const KIND_BLOCK: i32 = 1;
const KIND_CHAR: i32 = 2;

/// A program in the making. Jumps to the two ends are filled in last.
#[derive(Default)]
struct Assembler {
    code: Vec<Insn>,
    to_allow: Vec<usize>,
    to_deny: Vec<usize>,
    /// The accesses that can still be open here; the rest are decided for every device.
    open: u8,
}

/// The program for rules in the order they are asked; `None` when they allow everything.
fn assemble(rules: &[DeviceRule]) -> Result<Option<Vec<Insn>>> {
    if let [DeviceRule { allow: true, kind: None, major: None, minor: None, access: READ_WRITE_MKNOD }] = rules {
        return Ok(None);
    }
    let mut asm = Assembler { open: READ_WRITE_MKNOD, ..Assembler::default() };
    asm.load(rules);
    for run in rules.chunk_by(|a, b| a.allow == b.allow) {
        // Within a run the order has no meaning: sorted, neighbours share their comparisons.
        let mut run = run.to_vec();
        run.sort_by_key(|r| (r.kind.map(kind_number), r.major, r.minor));
        asm.run(&run);
    }
    asm.finish().map(Some)
}

fn kind_number(kind: DeviceType) -> i32 {
    if kind == DeviceType::Block { KIND_BLOCK } else { KIND_CHAR }
}

/// Our access bits (r 1, w 2, m 4) as the kernel's (mknod 1, read 2, write 4).
fn kernel_access(access: u8) -> i32 {
    i32::from((access & 3) << 1 | access >> 2)
}

impl Assembler {
    fn put(&mut self, code: u8, dst: u8, imm: i32) -> usize {
        self.code.push(Insn::new(code, dst, 0, 0, imm));
        self.code.len() - 1
    }

    /// Takes the request apart, as far as the rules ask about it.
    fn load(&mut self, rules: &[DeviceRule]) {
        self.put(MOV, R0, 0);
        self.code.push(Insn::new(LOAD, LEFT, CTX, 0, 0));
        if rules.iter().any(|r| r.kind.is_some()) {
            self.code.push(Insn::new(MOV_REG, KIND, LEFT, 0, 0));
            self.put(AND, KIND, 0xffff);
        }
        self.put(SHIFT_RIGHT, LEFT, 16);
        if rules.iter().any(|r| r.major.is_some()) {
            self.code.push(Insn::new(LOAD, MAJOR, CTX, 4, 0));
        }
        if rules.iter().any(|r| r.minor.is_some()) {
            self.code.push(Insn::new(LOAD, MINOR, CTX, 8, 0));
        }
    }

    /// A sorted run of rules that all allow or all deny.
    fn run(&mut self, rules: &[DeviceRule]) {
        for of_kind in rules.chunk_by(|a, b| a.kind == b.kind) {
            let kind = of_kind[0].kind.map(|kind| self.put(JUMP_NE, KIND, kind_number(kind)));
            for of_major in of_kind.chunk_by(|a, b| a.major == b.major) {
                let major = of_major[0].major.map(|n| self.put(JUMP_NE, MAJOR, n.cast_signed()));
                for rule in of_major {
                    let minor = rule.minor.map(|n| self.put(JUMP_NE, MINOR, n.cast_signed()));
                    self.decide(rule);
                    self.land(minor);
                }
                self.land(major);
            }
            self.land(kind);
        }
    }

    /// What a rule does once the device is known to be one of its own.
    fn decide(&mut self, rule: &DeviceRule) {
        let all = rule.access & self.open == self.open;
        match (rule.allow, all) {
            (true, true) => {
                let at = self.put(JUMP, 0, 0);
                self.to_allow.push(at);
            }
            (false, true) => {
                let at = self.put(JUMP, 0, 0);
                self.to_deny.push(at);
            }
            (true, false) => {
                self.put(AND, LEFT, !kernel_access(rule.access));
                let at = self.put(JUMP_EQ, LEFT, 0);
                self.to_allow.push(at);
            }
            (false, false) => {
                let at = self.put(JUMP_ANY, LEFT, kernel_access(rule.access));
                self.to_deny.push(at);
            }
        }
        if rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none() {
            self.open &= !rule.access;
        }
    }

    /// Lets the "not this one" jump at `skip` land here.
    fn land(&mut self, skip: Option<usize>) {
        let Some(skip) = skip else { return };
        let end = self.code.len();
        // "Unless equal skip; jump" is "if equal jump".
        if skip + 2 == end && self.code[end - 1].code == JUMP {
            self.code.pop();
            self.code[skip].code = JUMP_EQ;
            for list in [&mut self.to_allow, &mut self.to_deny] {
                list.iter_mut().filter(|at| **at == end - 1).for_each(|at| *at = skip);
            }
            return;
        }
        // Too far is noticed in finish(), because the ends are farther still.
        self.code[skip].off = i16::try_from(end - skip - 1).unwrap_or(i16::MAX);
    }

    /// Adds the two ends; what falls through all rules is denied.
    fn finish(mut self) -> Result<Vec<Insn>> {
        let deny = self.put(EXIT, 0, 0);
        let allow = self.code.len();
        // The verifier refuses code that nothing leads to.
        if !self.to_allow.is_empty() {
            self.put(MOV, R0, 1);
            self.put(EXIT, 0, 0);
        }
        if self.code.len() > i16::MAX as usize {
            return Err(Error::field("linux.resources.devices", "too many rules for one program"));
        }
        for (jumps, end) in [(&self.to_allow, allow), (&self.to_deny, deny)] {
            for &at in jumps {
                self.code[at].off = (end - at - 1) as i16;
            }
        }
        Ok(self.code)
    }
}

#[cfg(test)]
#[path = "devices_tests.rs"]
mod tests;
