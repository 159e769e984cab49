//! Machines, and the architectures whose programs each can run; numbers of
//! system calls as libseccomp has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use libseccomp::{ScmpArch, ScmpSyscall};
use orlop::seccomp::tables::Arch;

/// What x32's numbers have, and x86_64's do not.
pub const X32_BIT: u32 = 0x4000_0000;

/// An architecture of system calls.
pub struct Sub {
    pub name: &'static str,
    pub ours: Arch,
    pub theirs: ScmpArch,
    /// `AUDIT_ARCH_*`.
    pub audit: u32,
    /// Arguments have 64 bits, in libseccomp's eyes.
    pub wide: bool,
    /// Has `socketcall` and `ipc` beside the calls they stand for.
    pub muxed: bool,
}

/// A machine: what it is itself comes first. s390x is left out, as orlop leaves
/// it out.
pub struct Machine {
    pub subs: &'static [Sub],
}

impl Machine {
    pub fn native(&self) -> &Sub {
        &self.subs[0]
    }
}

const X86: Sub =
    Sub { name: "SCMP_ARCH_X86", ours: Arch::X86, theirs: ScmpArch::X86, audit: 0x4000_0003, wide: false, muxed: true };
const ARM: Sub = Sub {
    name: "SCMP_ARCH_ARM",
    ours: Arch::Arm,
    theirs: ScmpArch::Arm,
    audit: 0x4000_0028,
    wide: false,
    muxed: false,
};

pub const X86_64: Machine = Machine {
    subs: &[
        Sub {
            name: "SCMP_ARCH_X86_64",
            ours: Arch::X86_64,
            theirs: ScmpArch::X8664,
            audit: 0xc000_003e,
            wide: true,
            muxed: false,
        },
        X86,
        Sub {
            name: "SCMP_ARCH_X32",
            ours: Arch::X32,
            theirs: ScmpArch::X32,
            audit: 0xc000_003e,
            wide: false,
            muxed: false,
        },
    ],
};

pub const AARCH64: Machine = Machine {
    subs: &[
        Sub {
            name: "SCMP_ARCH_AARCH64",
            ours: Arch::Aarch64,
            theirs: ScmpArch::Aarch64,
            audit: 0xc000_00b7,
            wide: true,
            muxed: false,
        },
        ARM,
    ],
};

pub const RISCV64: Machine = Machine {
    subs: &[Sub {
        name: "SCMP_ARCH_RISCV64",
        ours: Arch::Riscv64,
        theirs: ScmpArch::Riscv64,
        audit: 0xc000_00f3,
        wide: true,
        muxed: false,
    }],
};

pub const PPC64LE: Machine = Machine {
    subs: &[Sub {
        name: "SCMP_ARCH_PPC64LE",
        ours: Arch::Ppc64le,
        theirs: ScmpArch::Ppc64Le,
        audit: 0xc000_0015,
        wide: true,
        muxed: true,
    }],
};

/// The machines, and their 32-bit relatives on their own.
pub const ALL: [Machine; 6] = [X86_64, AARCH64, RISCV64, PPC64LE, Machine { subs: &[X86] }, Machine { subs: &[ARM] }];

impl Sub {
    /// The numbers that may be in use: from the first to well beyond the
    /// newest, and those that ARM keeps for itself.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let base = if matches!(self.ours, Arch::X32) { X32_BIT } else { 0 };
        let private = if matches!(self.ours, Arch::Arm) { 0xf_0000..0xf_000a } else { 0..0 };
        (base..base + 600).chain(private)
    }

    /// As libseccomp knows them. Numbers are asked for and not names: those it
    /// translates into numbers of its own.
    pub fn theirs(&self) -> &'static BTreeMap<String, u32> {
        static CELLS: [OnceLock<BTreeMap<String, u32>>; 8] = [const { OnceLock::new() }; 8];
        CELLS[self.ours as usize].get_or_init(|| {
            let mut all = BTreeMap::new();
            for nr in self.numbers() {
                let call = ScmpSyscall::from_raw_syscall(nr as i32);
                // libseccomp 2.5.4 has a number for this one, but no rule for it.
                let name = call.get_name_by_arch(self.theirs).ok();
                if let Some(name) = name.filter(|name| name != "sys_debug_setcontext") {
                    all.insert(name, nr);
                }
            }
            all
        })
    }
}

/// Every name that libseccomp knows, on whatever architecture.
pub fn names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let subs = ALL.iter().flat_map(|m| m.subs);
        let names: BTreeSet<_> = subs.flat_map(|s| s.theirs().keys()).cloned().collect();
        names.into_iter().collect()
    })
}
