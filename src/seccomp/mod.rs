//! Seccomp: from the rules of a config to a program for the kernel.
//!
//! `spec` resolves a profile's names into a [`Profile`], [`compile`] makes one
//! BPF program of it, init loads that as its last act, and `exec` loads the
//! same one, which the state directory keeps. Calls that are to be decided by
//! an agent outside ([`notify`]) come to it through a listener.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub mod compile;
pub mod notify;
pub mod tables;

pub use crate::sys::seccomp::Insn;
pub use compile::compile;
use tables::{Arch, Call};

/// The kernel takes no longer programs (`BPF_MAXINSNS`).
pub const MAX_INSNS: usize = 4096;

/// Verdicts, as a program returns them: `SECCOMP_RET_*` with their data (seccomp(2)).
pub mod ret {
    /// `SECCOMP_RET_KILL_THREAD`
    pub const KILL_THREAD: u32 = 0;
    /// `SECCOMP_RET_KILL_PROCESS`
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    /// `SECCOMP_RET_TRAP`
    pub const TRAP: u32 = 0x0003_0000;
    /// `SECCOMP_RET_USER_NOTIF`
    pub const NOTIFY: u32 = 0x7fc0_0000;
    /// `SECCOMP_RET_LOG`
    pub const LOG: u32 = 0x7ffc_0000;
    /// `SECCOMP_RET_ALLOW`
    pub const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    const TRACE: u32 = 0x7ff0_0000;
    const ACTION: u32 = 0xffff_0000;

    /// `SECCOMP_RET_ERRNO` with an errno.
    pub const fn errno(errno: u16) -> u32 {
        ERRNO | errno as u32
    }

    /// `SECCOMP_RET_TRACE` with a message for the tracer.
    pub const fn trace(message: u16) -> u32 {
        TRACE | message as u32
    }

    /// Does it keep the call from being made?
    pub const fn denies(verdict: u32) -> bool {
        matches!(verdict & ACTION, KILL_THREAD | KILL_PROCESS | TRAP | ERRNO)
    }

    /// Is the caller ended by it, or sent a signal it did not reckon with?
    pub const fn kills(verdict: u32) -> bool {
        matches!(verdict & ACTION, KILL_THREAD | KILL_PROCESS | TRAP)
    }

    /// Is the call made, whoever else is asked?
    pub const fn lets_through(verdict: u32) -> bool {
        matches!(verdict & ACTION, ALLOW | LOG)
    }
}

/// A profile, its names resolved as far as they are the same on all architectures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The verdict on what no rule is about.
    pub default: u32,
    /// The architectures that may make calls, besides the native one.
    pub arches: Vec<Arch>,
    /// The rules, in the order of the profile.
    pub rules: Vec<Rule>,
    /// Where the default denies, calls newer than all that are named get ENOSYS.
    pub newer_is_enosys: bool,
}

/// One entry of `syscalls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// System calls; one that an architecture does not have is passed over there.
    pub calls: Vec<Call>,
    /// The verdict.
    pub verdict: u32,
    /// What must hold of the arguments; with one argument twice, any of it.
    pub conditions: Vec<Condition>,
}

/// What must hold of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// How it is compared, as unsigned numbers.
    pub compare: Compare,
    /// With what; on 32-bit architectures its lower half.
    pub value: u64,
}

/// A comparison of an argument with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `SCMP_CMP_EQ`
    Equal,
    /// `SCMP_CMP_NE`
    NotEqual,
    /// `SCMP_CMP_LT`
    Less,
    /// `SCMP_CMP_LE`
    LessOrEqual,
    /// `SCMP_CMP_GT`
    Greater,
    /// `SCMP_CMP_GE`
    GreaterOrEqual,
    /// `SCMP_CMP_MASKED_EQ`: only the bits of this mask are compared.
    MaskedEqual(u64),
}

/// A filter as init and exec load it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: Vec<Insn>,
    /// The rest.
    pub setup: Setup,
}

/// How a filter is loaded, and who is asked about the calls it does not decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// The agent's socket, if a rule notifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
}

/// Where the listener goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `listenerPath`.
    pub path: PathBuf,
    /// `listenerMetadata`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// The filter does not kill who calls close(2): then the process closes its
    /// own copy, which would keep calls waiting for an agent that has gone.
    #[serde(default)]
    pub may_close: bool,
}

impl Filter {
    /// The program as bytes, for the state directory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let one = |i: &Insn| {
            let [a, b] = i.code.to_ne_bytes();
            let [c, d, e, f] = i.k.to_ne_bytes();
            [a, b, i.jt, i.jf, c, d, e, f]
        };
        self.program.iter().flat_map(one).collect()
    }

    /// A program from those bytes; `None` if they are none.
    pub fn program_from(bytes: &[u8]) -> Option<Vec<Insn>> {
        let (insns, rest) = bytes.as_chunks::<8>();
        let one = |&[a, b, jt, jf, c, d, e, f]: &[u8; 8]| Insn {
            code: u16::from_ne_bytes([a, b]),
            jt,
            jf,
            k: u32::from_ne_bytes([c, d, e, f]),
        };
        (rest.is_empty() && !insns.is_empty() && insns.len() <= MAX_INSNS).then(|| insns.iter().map(one).collect())
    }
}
