//! From a profile to one program: dispatch on the architecture, then a balanced
//! tree over the system call numbers.
//!
//! The program is built backwards, from its last instruction to its first:
//! jumps in BPF only go forwards, so when a jump is made all it can lead to is
//! there already, and a verdict that stands near enough is not written twice.

use seccompiler::{BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::tables::{self, Arch, Call};
use super::{Compare, Condition, Insn, MAX_INSNS, Profile, Rule, ret};

const LD_ABS: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JMP_JA: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JMP_JEQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JMP_JGE: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;

/// x32 has its numbers above this bit, and x86_64's architecture.
const X32_BIT: u32 = 0x4000_0000;
/// A tracer that skips a system call sets its number to -1 (seccomp(2)).
const SKIPPED: u32 = u32::MAX;

/// Can programs be made for machines of this architecture?
pub fn supports(native: Arch) -> bool {
    // seccompiler looks for the halves of an argument where little-endian machines have them.
    native != Arch::S390x
}

/// Compiles a profile for a machine that is natively `native`: architectures
/// that such a machine cannot run have no part in the program.
///
/// # Errors
/// What is wrong, in words: the program is too long for the kernel, or the
/// architecture is not supported.
pub fn compile(profile: &Profile, native: Arch) -> Result<Vec<Insn>, String> {
    if !supports(native) {
        return Err(format!("filters for {} are not supported", native.name()));
    }
    let mut arches: Vec<Arch> = native.family().iter().copied().filter(|a| profile.arches.contains(a)).collect();
    if !arches.contains(&native) {
        arches.push(native);
    }
    let mut code = Backwards::default();
    // What a process of another architecture calls would be judged by the wrong numbers.
    let bad_arch = code.verdict(ret::KILL_THREAD);
    let mut next = bad_arch;
    for audit in distinct_audits(&arches).into_iter().rev() {
        let ranges = ranges(profile, &arches, audit);
        let tree = code.tree(&ranges, profile.default)?;
        let start = code.push(LD_ABS, NR, 0, 0);
        debug_assert_eq!(start, tree + 1);
        next = code.branch(JMP_JEQ, audit, start, next);
    }
    code.push(LD_ABS, ARCH, 0, 0);
    if code.code.len() > MAX_INSNS {
        return Err(format!(
            "the filter would have {} instructions, and the kernel takes {MAX_INSNS}",
            code.code.len()
        ));
    }
    Ok(code.finish())
}

/// The values of `seccomp_data.arch`, the first architecture's first.
fn distinct_audits(arches: &[Arch]) -> Vec<u32> {
    let mut audits = Vec::with_capacity(arches.len());
    for arch in arches {
        if !audits.contains(&arch.audit()) {
            audits.push(arch.audit());
        }
    }
    audits
}

/// What happens to one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// The same whatever its arguments are.
    Always(u32),
    /// The first of these rules whose conditions hold, else the default.
    /// `wide` says whether arguments have 64 bits.
    When { rules: Vec<(Vec<Condition>, u32)>, wide: bool },
}

/// The fates of all numbers, each with the first number it is that of.
type Ranges = Vec<(u32, Fate)>;

fn ranges(profile: &Profile, arches: &[Arch], audit: u32) -> Ranges {
    let has = |arch| arches.contains(&arch);
    let mut out = Vec::new();
    if audit != Arch::X86_64.audit() {
        let arch = arches.iter().find(|a| a.audit() == audit);
        arch.into_iter().for_each(|arch| add_arch(&mut out, profile, *arch, 0));
        return out;
    }
    // Numbers of the other one of the two are as bad as a foreign architecture.
    match has(Arch::X86_64) {
        true => add_arch(&mut out, profile, Arch::X86_64, 0),
        false => add(&mut out, 0, Fate::Always(ret::KILL_THREAD)),
    }
    match has(Arch::X32) {
        true => add_arch(&mut out, profile, Arch::X32, X32_BIT),
        false => add(&mut out, X32_BIT, Fate::Always(ret::KILL_THREAD)),
    }
    add(&mut out, SKIPPED, Fate::Always(profile.default));
    out
}

/// Adds a range from `first` to the next one's first, unless it only goes on with the last.
fn add(out: &mut Ranges, first: u32, fate: Fate) {
    if out.last().is_some_and(|(at, _)| *at == first) {
        out.pop();
    }
    if out.last().is_none_or(|(_, last)| *last != fate) {
        out.push((first, fate));
    }
}

/// Adds the ranges of one architecture, whose numbers begin at `base`.
fn add_arch(out: &mut Ranges, profile: &Profile, arch: Arch, base: u32) {
    let many = Many::of(arch);
    let (uses, newest) = uses(profile, &many, arch);
    let default = || Fate::Always(profile.default);
    add(out, base, default());
    let end = end(arch);
    let (ordinary, private) = uses.split_at(uses.partition_point(|u| u.nr < end));
    let add_calls = |out: &mut Ranges, uses: &[Use<'_>]| {
        for call in uses.chunk_by(|a, b| a.nr == b.nr) {
            if let (Some(first), Some(fate)) = (call.first(), fate(call, arch)) {
                add(out, first.nr, fate);
                add(out, first.nr + 1, default());
            }
        }
    };
    add_calls(out, ordinary);
    // Calls newer than all that the profile names do not exist for it: what has
    // a fallback for older kernels then takes it, where it would believe EPERM.
    if let Some(newest) = newest.filter(|_| profile.newer_is_enosys && ret::denies(profile.default)) {
        add(out, newest + 1, Fate::Always(ret::errno(libc::ENOSYS as u16)));
    }
    add(out, end, default());
    add_calls(out, private);
}

/// Where an architecture's ordinary numbers end; arm has private ones above.
const fn end(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => X32_BIT,
        Arch::Arm => 0x000f_0000,
        _ => 0x8000_0000,
    }
}

/// A number that a rule is about, and the sub-call if it is of one of the calls that are many.
struct Use<'a> {
    nr: u32,
    sub: Option<&'a Condition>,
    rule: &'a Rule,
}

/// All that the rules are about, in the order of the numbers and, for one
/// number, of the profile; and the newest number the profile names.
fn uses<'a>(profile: &'a Profile, many: &'a Many, arch: Arch) -> (Vec<Use<'a>>, Option<u32>) {
    let mut uses = Vec::with_capacity(profile.rules.iter().map(|r| r.calls.len()).sum());
    let mut newest = None;
    for rule in &profile.rules {
        for call in &rule.calls {
            let direct = call.number(arch).map(|nr| Use { nr, sub: None, rule });
            for one in direct.into_iter().chain(many.uses(*call, rule)) {
                if one.nr < end(arch) {
                    newest = newest.max(Some(one.nr));
                }
                // What the default does anyway is no rule, also where it would
                // make an exception from an earlier one (libseccomp refuses it).
                if rule.verdict != profile.default {
                    uses.push(one);
                }
            }
        }
    }
    uses.sort_by_key(|u| u.nr);
    (uses, newest)
}

/// The calls of an architecture that are many, by their first argument.
struct Many(Vec<(Call, u32, Condition)>);

impl Many {
    fn of(arch: Arch) -> Self {
        let mut out = Vec::new();
        // The kernel itself looks at no more than these bits; what compares more is got round.
        let mut add = |carrier: &str, list: &[(&str, u32)], mask: u64| {
            let Some(nr) = arch.number(carrier) else { return };
            for (name, sub) in list {
                let is_sub = Condition { index: 0, compare: Compare::MaskedEqual(mask), value: (*sub).into() };
                out.extend(Call::find(name).map(|call| (call, nr, is_sub)));
            }
        };
        if arch.has_socketcall() {
            add("socketcall", &tables::SOCKETCALLS, u32::MAX.into());
        }
        if arch.has_ipc() {
            add("ipc", &tables::IPCCALLS, u16::MAX.into());
        }
        Self(out)
    }

    fn uses<'a>(&'a self, call: Call, rule: &'a Rule) -> impl Iterator<Item = Use<'a>> {
        let of_call = self.0.iter().filter(move |(known, ..)| *known == call);
        of_call.map(move |(_, nr, sub)| Use { nr: *nr, sub: Some(sub), rule })
    }
}

/// What the rules about one number come to, with libseccomp's precedence: the
/// first without conditions takes the place of all that have some.
fn fate(uses: &[Use<'_>], arch: Arch) -> Option<Fate> {
    let mut rules: Vec<(Vec<Condition>, u32)> = Vec::new();
    for one in uses {
        // Nearly all rules of nearly all profiles.
        if one.sub.is_none() && one.rule.conditions.is_empty() {
            return Some(Fate::Always(one.rule.verdict));
        }
        for conditions in alternatives(one, arch) {
            if conditions.is_empty() {
                return Some(Fate::Always(one.rule.verdict));
            }
            if !rules.iter().any(|(known, _)| *known == conditions) {
                rules.push((conditions, one.rule.verdict));
            }
        }
    }
    (!rules.is_empty()).then_some(Fate::When { rules, wide: arch.is_64() })
}

/// The conditions under which a rule holds: any of these lists, each as a whole.
fn alternatives(one: &Use<'_>, arch: Arch) -> Vec<Vec<Condition>> {
    let conditions = one.rule.conditions.as_slice();
    let mut seen = [false; 6];
    let mut again = |c: &Condition| seen.get_mut(usize::from(c.index)).is_some_and(|s| std::mem::replace(s, true));
    // libseccomp compares no argument twice in one rule, so the runtimes made
    // every condition of such a rule one of its own.
    let lists: Vec<&[Condition]> =
        if conditions.iter().any(&mut again) { conditions.chunks(1).collect() } else { vec![conditions] };
    lists.into_iter().map(|list| of_call(one.sub, list, arch)).collect()
}

/// Conditions as they are for one call on one architecture.
fn of_call(sub: Option<&Condition>, conditions: &[Condition], arch: Arch) -> Vec<Condition> {
    let bits = if arch.is_64() { u64::MAX } else { u64::from(u32::MAX) };
    let any = |c: &Condition| matches!(c.compare, Compare::MaskedEqual(mask) if mask & bits == 0);
    let own = conditions.iter().filter(|c| !any(c));
    match sub {
        None => own.copied().collect(),
        // The first argument says which call it is, and takes the place of what
        // is in memory now, where no filter can look. The others stay, as in libseccomp.
        Some(sub) => std::iter::once(*sub).chain(own.copied().filter(|c| c.index != 0)).collect(),
    }
}

/// A program from its end. A place in it is counted from the end as well, so
/// that it stays the same when something is put in front.
#[derive(Debug, Default)]
struct Backwards {
    code: Vec<Insn>,
    /// The place of each verdict that was put in front last.
    verdicts: Vec<(u32, usize)>,
}

impl Backwards {
    /// Puts an instruction in front; gives its place.
    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> usize {
        self.code.push(Insn { code, jt, jf, k });
        self.code.len() - 1
    }

    /// How many instructions one put in front now would have to skip to get to `place`.
    fn distance(&self, place: usize) -> usize {
        self.code.len() - 1 - place
    }

    /// A place that returns this verdict: one there is, if it is near, or a new one.
    fn verdict(&mut self, verdict: u32) -> usize {
        /// Near enough for the jumps that a node may still put in between.
        const NEAR: usize = 200;
        let known = self.verdicts.iter().position(|(v, _)| *v == verdict);
        let near = known.map(|i| self.verdicts[i].1).filter(|place| self.code.len() - place < NEAR);
        near.unwrap_or_else(|| {
            let place = self.push(RET, verdict, 0, 0);
            match known {
                Some(i) => self.verdicts[i].1 = place,
                None => self.verdicts.push((verdict, place)),
            }
            place
        })
    }

    /// A conditional jump to two places, however far away they are.
    fn branch(&mut self, code: u16, k: u32, mut yes: usize, mut no: usize) -> usize {
        // One more may come in front of the first before the jump itself does.
        for place in [&mut no, &mut yes] {
            let distance = self.distance(*place);
            if distance >= usize::from(u8::MAX) {
                *place = self.push(JMP_JA, distance as u32, 0, 0);
            }
        }
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(code, k, jt, jf)
    }

    /// The decision among ranges, with the number in the accumulator. What
    /// is entered is always the last that was put in front.
    fn tree(&mut self, ranges: &[(u32, Fate)], default: u32) -> Result<usize, String> {
        let entry = self.subtree(ranges, default)?;
        if entry == self.code.len() - 1 {
            return Ok(entry);
        }
        let distance = self.distance(entry) as u32;
        Ok(self.push(JMP_JA, distance, 0, 0))
    }

    fn subtree(&mut self, ranges: &[(u32, Fate)], default: u32) -> Result<usize, String> {
        match ranges {
            [] => Ok(self.verdict(default)),
            [(_, fate)] => self.leaf(fate, default),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let first = high.first().map_or(0, |(first, _)| *first);
                let high = self.subtree(high, default)?;
                let low = self.subtree(low, default)?;
                Ok(self.branch(JMP_JGE, first, high, low))
            }
        }
    }

    fn leaf(&mut self, fate: &Fate, default: u32) -> Result<usize, String> {
        match fate {
            Fate::Always(verdict) => Ok(self.verdict(*verdict)),
            Fate::When { rules, wide } => {
                let mut entry = self.push(RET, default, 0, 0);
                for (conditions, verdict) in rules.iter().rev() {
                    self.push(RET, *verdict, 0, 0);
                    entry = self.conditions(conditions, *wide)?;
                }
                Ok(entry)
            }
        }
    }

    /// In front of a verdict and what comes after it: reaches the verdict only
    /// if all conditions hold, and skips it otherwise.
    fn conditions(&mut self, conditions: &[Condition], wide: bool) -> Result<usize, String> {
        /// A rule begins with two jumps for a caller that enters from elsewhere.
        const JUMPS: usize = 2;
        let made: Result<_, _> = conditions.iter().map(|c| condition(c, wide)).collect();
        let rule = made.and_then(SeccompRule::new).map_err(|e| e.to_string())?;
        for i in BpfProgram::from(rule).iter().skip(JUMPS).rev() {
            self.push(i.code, i.k, i.jt, i.jf);
        }
        Ok(self.code.len() - 1)
    }

    fn finish(mut self) -> Vec<Insn> {
        self.code.reverse();
        self.code
    }
}

/// A condition as seccompiler has it.
fn condition(c: &Condition, wide: bool) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (len, bits) = match wide {
        true => (SeccompCmpArgLen::Qword, u64::MAX),
        // The upper half is no argument's there.
        false => (SeccompCmpArgLen::Dword, u64::from(u32::MAX)),
    };
    let op = match c.compare {
        Compare::Equal => SeccompCmpOp::Eq,
        Compare::NotEqual => SeccompCmpOp::Ne,
        Compare::Less => SeccompCmpOp::Lt,
        Compare::LessOrEqual => SeccompCmpOp::Le,
        Compare::Greater => SeccompCmpOp::Gt,
        Compare::GreaterOrEqual => SeccompCmpOp::Ge,
        Compare::MaskedEqual(mask) => SeccompCmpOp::MaskedEq(mask & bits),
    };
    SeccompCondition::new(c.index, len, op, c.value & bits)
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
