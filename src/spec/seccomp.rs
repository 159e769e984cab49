//! `linux.seccomp`: a profile's names are numbers and verdicts, and all of it
//! is one program (runtime-spec config-linux.md, "Seccomp").

use std::collections::BTreeMap;
use std::path::Path;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::faults::Faults;
use super::parse;
use crate::seccomp::tables::{Arch, Call};
use crate::seccomp::{Compare, Condition, Filter, Insn, Listener, Profile, Rule, Setup, compile, ret};
use crate::{Error, Result};

/// An unknown name in a profile is an error with this annotation (crun's).
pub(crate) const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";
/// The agent's socket, for who cannot write the config (crun's).
pub(crate) const RECEIVER: &str = "run.oci.seccomp.receiver";

const AT: &str = "linux.seccomp";

/// Actions by name; the number is the verdict without data.
pub(crate) const ACTIONS: [(&str, Action, u32); 9] = [
    ("SCMP_ACT_ALLOW", Action::ScmpActAllow, ret::ALLOW),
    ("SCMP_ACT_ERRNO", Action::ScmpActErrno, ret::errno(0)),
    ("SCMP_ACT_KILL", Action::ScmpActKill, ret::KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", Action::ScmpActKillProcess, ret::KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", Action::ScmpActKillThread, ret::KILL_THREAD),
    ("SCMP_ACT_LOG", Action::ScmpActLog, ret::LOG),
    ("SCMP_ACT_NOTIFY", Action::ScmpActNotify, ret::NOTIFY),
    ("SCMP_ACT_TRACE", Action::ScmpActTrace, ret::trace(0)),
    ("SCMP_ACT_TRAP", Action::ScmpActTrap, ret::TRAP),
];

/// Flags by name.
pub(crate) const FLAGS: [(&str, Flag, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", Flag::SeccompFilterFlagLog, libc::SECCOMP_FILTER_FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", Flag::SeccompFilterFlagSpecAllow, SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", Flag::SeccompFilterFlagTsync, TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", Flag::SeccompFilterFlagWaitKillableRecv, WAIT_KILLABLE),
];

const TSYNC: u64 = libc::SECCOMP_FILTER_FLAG_TSYNC;
const SPEC_ALLOW: u64 = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
/// TSYNC's failures as an errno: else it cannot be had with a listener (Linux 5.7).
const TSYNC_ESRCH: u64 = libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
/// Linux 5.19; of no meaning to a filter without a listener, which the kernel refuses it for.
const WAIT_KILLABLE: u64 = 1 << 5;

/// Operators by name.
pub(crate) const OPERATORS: [(&str, Operator, Compare); 7] = [
    ("SCMP_CMP_EQ", Operator::ScmpCmpEq, Compare::Equal),
    ("SCMP_CMP_GE", Operator::ScmpCmpGe, Compare::GreaterOrEqual),
    ("SCMP_CMP_GT", Operator::ScmpCmpGt, Compare::Greater),
    ("SCMP_CMP_LE", Operator::ScmpCmpLe, Compare::LessOrEqual),
    ("SCMP_CMP_LT", Operator::ScmpCmpLt, Compare::Less),
    ("SCMP_CMP_MASKED_EQ", Operator::ScmpCmpMaskedEq, Compare::MaskedEqual(u64::MAX)),
    ("SCMP_CMP_NE", Operator::ScmpCmpNe, Compare::NotEqual),
];

/// What a profile is resolved with.
pub(crate) struct Context<'a> {
    /// A relative listener path is below it.
    pub bundle: &'a Path,
    /// The container's.
    pub annotations: &'a BTreeMap<String, String>,
    /// Of the machine.
    pub native: Option<Arch>,
}

/// Resolves and compiles a profile. `None` with a fault, or if it is about nothing.
pub(crate) fn resolve(seccomp: &LinuxSeccomp, cx: &Context<'_>, faults: &mut Faults) -> Option<Filter> {
    let Some(native) = cx.native else {
        faults.add(AT, "not supported on this architecture");
        return None;
    };
    let profile = profile(seccomp, cx, faults);
    let notifies = profile.rules.iter().any(|r| r.verdict == ret::NOTIFY);
    let mut listener = listener(seccomp, cx, notifies, faults);
    if let Some(listener) = &mut listener {
        listener.may_close = !may_kill(&profile, "close");
    }
    let setup = Setup { flags: flags(seccomp, notifies), listener };
    if notifies {
        what_init_needs(&profile, faults);
    }
    match compile(&profile, native) {
        Ok(program) => Some(Filter { program, setup }),
        Err(message) => {
            faults.add(AT, message);
            None
        }
    }
}

/// The program for a profile on a machine of some architecture, for tests and fuzzing.
///
/// # Errors
/// All faults of the profile.
pub fn program(json: &str, native: Arch, newer_is_enosys: bool) -> Result<Vec<Insn>> {
    let mut faults = Faults::default();
    let cx = Context { bundle: Path::new("/"), annotations: &BTreeMap::new(), native: Some(native) };
    let parsed = parse::seccomp::<LinuxSeccomp>(json, &mut faults);
    let profile = parsed.map(|seccomp| Profile { newer_is_enosys, ..profile(&seccomp, &cx, &mut faults) });
    match (faults.into_error("invalid profile"), profile) {
        (None, Some(profile)) => compile(&profile, native).map_err(|e| Error::field(AT, e)),
        (error, _) => Err(error.unwrap_or_else(|| Error::new("invalid profile"))),
    }
}

fn profile(seccomp: &LinuxSeccomp, cx: &Context<'_>, faults: &mut Faults) -> Profile {
    let at = format!("{AT}.defaultErrnoRet");
    let default = verdict(seccomp.default_action(), seccomp.default_errno_ret(), &at, faults);
    if default == ret::NOTIFY {
        faults.add(
            format!("{AT}.defaultAction"),
            "SCMP_ACT_NOTIFY cannot be used as default action: init itself would wait for an agent",
        );
    }
    let strict = cx.annotations.get(FAIL_UNKNOWN).is_some_and(|v| !matches!(v.as_str(), "0" | "false"));
    let rules = seccomp.syscalls().iter().flatten().enumerate();
    Profile {
        default,
        // One that this table does not have cannot occur on a machine that orlop runs on.
        arches: seccomp.architectures().iter().flatten().filter_map(|a| Arch::from_name(&a.to_string())).collect(),
        rules: rules.map(|(i, call)| rule(&format!("{AT}.syscalls[{i}]"), call, strict, faults)).collect(),
        newer_is_enosys: true,
    }
}

/// An action and its data as one verdict.
fn verdict(action: Action, data: Option<u32>, at: &str, faults: &mut Faults) -> u32 {
    /// The kernel's largest errno.
    const MAX_ERRNO: u16 = 4095;
    let verdict = ACTIONS.iter().find(|(_, known, _)| *known == action).map_or(ret::KILL_THREAD, |(.., v)| *v);
    let max = match action {
        Action::ScmpActErrno => MAX_ERRNO,
        Action::ScmpActTrace => u16::MAX,
        _ => {
            if data.is_some() {
                faults.add(at, format!("{action} returns no errno"));
            }
            return verdict;
        }
    };
    let data = data.unwrap_or(libc::EPERM as u32);
    if data > u32::from(max) {
        faults.add(at, format!("{data} is larger than {max}"));
    }
    verdict | data & u32::from(max)
}

fn rule(at: &str, call: &LinuxSyscall, strict: bool, faults: &mut Faults) -> Rule {
    if call.names().is_empty() {
        faults.add(format!("{at}.names"), "must have at least one element");
    }
    if strict {
        let unknown = call.names().iter().enumerate().filter(|(_, name)| Call::find(name).is_none());
        unknown.for_each(|(i, name)| faults.add(format!("{at}.names[{i}]"), format!("unknown system call {name:?}")));
    }
    let verdict = verdict(call.action(), call.errno_ret(), &format!("{at}.errnoRet"), faults);
    let args = call.args().iter().flatten().enumerate();
    Rule {
        calls: call.names().iter().filter_map(|name| Call::find(name)).collect(),
        verdict,
        conditions: args.filter_map(|(i, arg)| condition(&format!("{at}.args[{i}]"), arg, faults)).collect(),
    }
}

fn condition(at: &str, arg: &LinuxSeccompArg, faults: &mut Faults) -> Option<Condition> {
    let index = u8::try_from(arg.index()).ok().filter(|i| *i < 6);
    if index.is_none() {
        faults.add(format!("{at}.index"), format!("{} is more than 5, the last argument", arg.index()));
    }
    let compare = OPERATORS.iter().find(|(_, op, _)| *op == arg.op()).map(|(.., compare)| *compare);
    let (compare, value) = match compare? {
        // The value is the mask, and the second one what is left to be (libseccomp's order).
        Compare::MaskedEqual(_) => (Compare::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0)),
        compare => (compare, arg.value()),
    };
    Some(Condition { index: index?, compare, value })
}

fn flags(seccomp: &LinuxSeccomp, notifies: bool) -> u64 {
    let Some(given) = seccomp.flags() else { return SPEC_ALLOW };
    let number = |flag: &Flag| FLAGS.iter().find(|(_, known, _)| known == flag).map_or(0, |(.., n)| *n);
    let flags = given.iter().fold(0, |all, flag| all | number(flag));
    match notifies {
        true if flags & TSYNC != 0 => flags | TSYNC_ESRCH,
        true => flags,
        false => flags & !WAIT_KILLABLE,
    }
}

fn listener(seccomp: &LinuxSeccomp, cx: &Context<'_>, notifies: bool, faults: &mut Faults) -> Option<Listener> {
    let given = seccomp.listener_path().as_ref().filter(|p| !p.as_os_str().is_empty());
    let receiver = cx.annotations.get(RECEIVER).map(Path::new).filter(|p| !p.as_os_str().is_empty());
    if given.is_none() && receiver.is_some_and(|p| !p.is_absolute()) {
        faults.add(super::faults::keyed("annotations", RECEIVER), "not an absolute path");
    }
    let metadata = seccomp.listener_metadata().clone().unwrap_or_default();
    let Some(path) = given.map(|p| p.as_path()).or(receiver) else {
        if notifies {
            faults.add(format!("{AT}.listenerPath"), "missing, and a rule has SCMP_ACT_NOTIFY");
        }
        if !metadata.is_empty() {
            faults.add(format!("{AT}.listenerMetadata"), "needs a listenerPath");
        }
        return None;
    };
    faults.text(format!("{AT}.listenerPath"), &path.to_string_lossy());
    notifies.then(|| Listener { path: cx.bundle.join(path), metadata, may_close: false })
}

/// Could the caller of this be killed by the profile, with some arguments at least?
fn may_kill(profile: &Profile, name: &str) -> bool {
    let mut rules = profile.rules.iter().filter(|rule| rule.calls.iter().any(|call| call.name() == name));
    let always = rules.clone().any(|rule| rule.conditions.is_empty());
    rules.any(|rule| ret::kills(rule.verdict)) || !always && ret::kills(profile.default)
}

/// Before its listener is with the agent, init must not be stopped by its own filter.
fn what_init_needs(profile: &Profile, faults: &mut Faults) {
    for (i, rule) in profile.rules.iter().enumerate() {
        if rule.verdict == ret::NOTIFY && rule.calls.iter().any(|call| call.name() == "write") {
            let text = "SCMP_ACT_NOTIFY cannot be used for the write syscall: nothing could be said any more \
                        when the agent does not answer";
            faults.add(format!("{AT}.syscalls[{i}].action"), text);
        }
    }
    let about_read = |rule: &&Rule| rule.calls.iter().any(|call| call.name() == "read");
    let read = profile.rules.iter().find(about_read).map_or(profile.default, |rule| rule.verdict);
    if !ret::lets_through(read) && read != ret::NOTIFY {
        let text = "with SCMP_ACT_NOTIFY read must be allowed: init waits by it until the agent has its listener";
        faults.add(format!("{AT}.syscalls"), text);
    }
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
