//! The comparison: one profile, three opinions.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use oracle::random::Random;
use runtime_tests::bpf::{self, Insn};
use serde_json::Value;

use crate::machine::Machine;
use crate::model::Model;
use crate::points;
use crate::profile::{Profile, Shown};
use crate::reference;

/// What compiles the JSON of a profile for a machine.
pub type Compiler<'a> = &'a dyn Fn(&str, &Machine) -> Result<Vec<Insn>, String>;

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub profiles: usize,
    /// Profiles that libseccomp would not have: the model alone judged orlop.
    pub refused: usize,
    pub points: usize,
    /// Points where libseccomp's order of conditional rules decides.
    pub ambiguous: usize,
    /// Points behind `ipc` or `socketcall` that libseccomp does not see.
    pub disguised: usize,
    /// Points where libseccomp's program is not what its programs for each rule are.
    pub strayed: usize,
}

/// Compares orlop's verdicts with the model's everywhere, and libseccomp's with
/// both wherever it has one to give. The error is made for reading.
pub fn compare(json: &Value, machine: &Machine, seed: u64, ours: Compiler, counts: &mut Counts) -> Result<(), String> {
    let told = |what: String| format!("{what}\nmachine: {}\nprofile: {json}", machine.native().name);
    let profile = Profile::read(json);
    let program = ours(&json.to_string(), machine).map_err(|e| told(format!("orlop will not compile it: {e}")))?;
    bpf::check(&program).map_err(|e| told(format!("the kernel will not load it: {e}")))?;
    let theirs = reference::program(&profile, machine);
    if let Ok(theirs) = &theirs {
        bpf::check(theirs).map_err(|e| told(format!("the kernel will not load libseccomp's: {e}")))?;
    }
    counts.profiles += 1;
    counts.refused += usize::from(theirs.is_err());

    let model = Model::new(&profile, machine);
    let added = added(&profile, machine);
    let one_by_one = LazyCell::new(|| reference::one_by_one(&profile, machine));
    let mut wrong = Vec::new();
    points::each(&model, machine, &mut Random::new(seed), |data| {
        if added.contains(&(data.arch, data.nr)) {
            return;
        }
        let words = data.words();
        let expected = model.verdict(data);
        let got = bpf::run(&program, &words).0;
        let free = expected.ambiguous || expected.disguised;
        counts.points += 1;
        counts.ambiguous += usize::from(expected.ambiguous);
        counts.disguised += usize::from(expected.disguised);
        let mut said = theirs.as_ref().ok().filter(|_| !free).map(|t| bpf::run(t, &words).0);
        if said.is_some_and(|said| said != expected.action) {
            let alone: Vec<_> = one_by_one.iter().map(|p| p.as_ref().map(|p| bpf::run(p, &words).0)).collect();
            let found = alone.iter().any(|v| v.is_none_or(|v| v == expected.action))
                && (expected.action != profile.default || alone.iter().all(|v| v.is_none_or(|v| v == expected.action)));
            counts.strayed += usize::from(found);
            said = said.filter(|_| !found);
        }
        if got != expected.action || said.is_some_and(|said| said != expected.action) {
            let said = said.map_or("nothing".into(), |s| Shown(s).to_string());
            let args = data.args.map(|a| format!("{a:#x}")).join(", ");
            wrong.push(format!(
                "arch {:#x} nr {:#x} ({args}): orlop {}, model {}, libseccomp {said}",
                data.arch,
                data.nr,
                Shown(got),
                Shown(expected.action)
            ));
        }
    });
    if wrong.is_empty() {
        return Ok(());
    }
    let total = wrong.len();
    wrong.truncate(5);
    Err(told(format!("{total} calls are judged differently:\n{}", wrong.join("\n"))))
}

/// Numbers that names of the profile have with orlop, but not with this
/// libseccomp: newer calls, and other names of old ones.
fn added(profile: &Profile, machine: &Machine) -> BTreeSet<(u32, u32)> {
    let mut all = BTreeSet::new();
    for rule in &profile.rules {
        let subs = machine.subs.iter().filter(|s| !s.theirs().contains_key(&rule.name));
        all.extend(subs.filter_map(|s| Some((s.audit, s.ours.number(&rule.name)?))));
    }
    all
}
