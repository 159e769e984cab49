//! What a profile means, said as plainly as possible: a third opinion beside
//! orlop's program and libseccomp's. Where those two differ, this says why.

use std::collections::BTreeMap;

use runtime_tests::bpf::Data;

use crate::machine::{Machine, Sub, X32_BIT};
use crate::profile::{Condition, KILL, Op, Profile};

/// The calls of `socketcall` and of `ipc`, and the first argument for each.
const SOCKETCALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPCCALLS: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// A rule as it is for one number of one architecture.
#[derive(Clone, Debug)]
pub struct Rule {
    pub action: u32,
    pub conditions: Vec<Condition>,
    /// The first argument that libseccomp wants, of a call with many in it.
    code: Option<u64>,
}

/// The rules of one architecture, by number.
pub struct Part {
    pub sub: &'static Sub,
    pub rules: BTreeMap<u32, Vec<Rule>>,
}

pub struct Model {
    default: u32,
    pub parts: Vec<Part>,
}

/// The verdict on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub action: u32,
    /// Conditional rules with different actions match. orlop takes the first
    /// of the profile; libseccomp sorts them in a way of its own.
    pub ambiguous: bool,
    /// The call is one of those behind `socketcall` or `ipc`, by bits that the
    /// kernel looks at; others are set, so that libseccomp does not see it.
    pub disguised: bool,
}

impl Model {
    pub fn new(profile: &Profile, machine: &Machine) -> Self {
        let listed = |s: &&'static Sub| profile.archs.iter().any(|a| a == s.name) || s.name == machine.native().name;
        let part = |sub| Part { sub, rules: rules_of(profile, sub) };
        Self { default: profile.default, parts: machine.subs.iter().filter(listed).map(part).collect() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|p| p.sub.name == name)
    }

    /// The part of the filter that decides about calls with this number.
    pub fn part(&self, data: &Data) -> Option<&Part> {
        // x32 is known by the bit in its numbers, and -1 has all bits.
        let x32 = self.has("SCMP_ARCH_X32") && data.nr & X32_BIT != 0;
        let of_x32 = |p: &&Part| (p.sub.name == "SCMP_ARCH_X32") == (x32 && p.sub.audit == 0xc000_003e);
        self.parts.iter().filter(|p| p.sub.audit == data.arch).find(of_x32)
    }

    pub fn verdict(&self, data: &Data) -> Verdict {
        let plain = |action| Verdict { action, ambiguous: false, disguised: false };
        let Some(part) = self.part(data) else { return plain(KILL) };
        if part.sub.name == "SCMP_ARCH_X86_64"
            && data.nr >= X32_BIT
            && data.nr != u32::MAX
            && !self.has("SCMP_ARCH_X32")
        {
            return plain(KILL);
        }
        let rules = part.rules.get(&data.nr).map_or(&[][..], |r| r);
        if let Some(rule) = rules.iter().find(|r| r.conditions.is_empty()) {
            return plain(rule.action);
        }
        let holds = |r: &&Rule| r.conditions.iter().all(|c| holds(c, data.args[c.index], part.sub.wide));
        let mut matching = rules.iter().filter(holds);
        let Some(first) = matching.next() else { return plain(self.default) };
        let ambiguous = matching.clone().any(|r| r.action != first.action);
        let disguised = std::iter::once(first)
            .chain(matching)
            .any(|r| r.code.is_some_and(|code| code != cut(data.args[0], part.sub.wide)));
        Verdict { action: first.action, ambiguous, disguised }
    }
}

fn rules_of(profile: &Profile, sub: &Sub) -> BTreeMap<u32, Vec<Rule>> {
    let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
    for rule in &profile.rules {
        if let Some(nr) = sub.theirs().get(&rule.name) {
            rules.entry(*nr).or_default().push(of_width(rule.action, rule.conditions.clone(), sub));
        }
        let Some((call, code)) = muxed(&rule.name).filter(|_| sub.muxed) else { continue };
        // A condition on the first argument gives way to the code; others stay
        // as they are, little though they mean of arguments behind a pointer.
        let mut conditions = rule.conditions.clone();
        conditions.retain(|c| c.index != 0);
        // The kernel takes a number of 32 bits, and for ipc 16 of them.
        let mask = if call == "ipc" { 0xffff } else { 0xffff_ffff };
        conditions.push(Condition { index: 0, op: Op::Masked, value: mask, second: code });
        let rule = Rule { code: Some(cut(code, sub.wide)), ..of_width(rule.action, conditions, sub) };
        rules.entry(sub.theirs()[call]).or_default().push(rule);
    }
    rules
}

/// The call that a name is also made through, and its first argument.
fn muxed(name: &str) -> Option<(&'static str, u64)> {
    let socket = SOCKETCALLS.iter().position(|n| *n == name).map(|at| ("socketcall", at as u64 + 1));
    socket.or_else(|| IPCCALLS.iter().find(|(n, _)| *n == name).map(|(_, code)| ("ipc", *code)))
}

/// A mask that leaves nothing of an argument is no condition.
fn of_width(action: u32, mut conditions: Vec<Condition>, sub: &Sub) -> Rule {
    conditions.retain(|c| !matches!(c.op, Op::Masked) || cut(c.value, sub.wide) != 0);
    Rule { action, conditions, code: None }
}

fn cut(value: u64, wide: bool) -> u64 {
    if wide { value } else { value & 0xffff_ffff }
}

fn holds(c: &Condition, arg: u64, wide: bool) -> bool {
    let (arg, value) = (cut(arg, wide), cut(c.value, wide));
    match c.op {
        Op::Ne => arg != value,
        Op::Lt => arg < value,
        Op::Le => arg <= value,
        Op::Eq => arg == value,
        Op::Ge => arg >= value,
        Op::Gt => arg > value,
        Op::Masked => arg & value == c.second & value,
    }
}
