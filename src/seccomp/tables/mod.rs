//! Names and numbers of system calls, for each architecture a filter can be for.
//!
//! [`data`] is made from the kernel's headers by `make syscall-tables`. It is
//! packed at compile time into arrays without a pointer: the binary is a
//! static-pie, where each of five hundred pointers would be relocated at every
//! start, whether a container has a filter or not.

use std::str;

use data::{CALLS, NO};

mod data;
#[cfg(test)]
mod tests;

pub use data::KERNEL;

/// What x32's numbers have, and x86_64's do not.
const X32_BIT: u32 = 0x4000_0000;

/// The calls of `socketcall`, and its first argument for each. The kernel looks
/// at the lower 32 bits of that.
pub const SOCKETCALLS: [(&str, u32); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The calls of `ipc`, and its first argument for each. The kernel looks at the
/// lower 16 bits of that; what is above them is a version.
pub const IPCCALLS: [(&str, u32); 12] = [
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

/// An architecture as seccomp sees one (`AUDIT_ARCH_*` of linux/audit.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
    Ppc64le,
    S390x,
}

impl Arch {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 8] =
        [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm, Self::Riscv64, Self::Ppc64le, Self::S390x];

    /// The one this program is built for.
    pub const fn native() -> Option<Self> {
        let little = cfg!(target_endian = "little");
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "x86") {
            Some(Self::X86)
        } else if cfg!(target_arch = "aarch64") && little {
            Some(Self::Aarch64)
        } else if cfg!(target_arch = "arm") && little {
            Some(Self::Arm)
        } else if cfg!(target_arch = "riscv64") {
            Some(Self::Riscv64)
        } else if cfg!(target_arch = "powerpc64") && little {
            Some(Self::Ppc64le)
        } else if cfg!(target_arch = "s390x") {
            Some(Self::S390x)
        } else {
            None
        }
    }

    /// What a filter finds in `seccomp_data.arch`: the machine of ELF, and bits
    /// for 64-bit and little-endian. x32 has x86_64's; its numbers differ.
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
            Self::Riscv64 => 0xc000_00f3,
            Self::Ppc64le => 0xc000_0015,
            Self::S390x => 0x8000_0016,
        }
    }

    /// Its name in a profile.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
            Self::Riscv64 => "SCMP_ARCH_RISCV64",
            Self::Ppc64le => "SCMP_ARCH_PPC64LE",
            Self::S390x => "SCMP_ARCH_S390X",
        }
    }

    /// The one a profile names so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// All whose calls a kernel of this architecture takes.
    pub const fn family(self) -> &'static [Self] {
        match self {
            Self::X86_64 => &[Self::X86_64, Self::X86, Self::X32],
            Self::X86 => &[Self::X86],
            Self::X32 => &[Self::X32],
            Self::Aarch64 => &[Self::Aarch64, Self::Arm],
            Self::Arm => &[Self::Arm],
            Self::Riscv64 => &[Self::Riscv64],
            Self::Ppc64le => &[Self::Ppc64le],
            Self::S390x => &[Self::S390x],
        }
    }

    /// Whether arguments are compared in 64 bits. x32's are not, as in libseccomp.
    pub const fn is_64(self) -> bool {
        !matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    /// Whether [`SOCKETCALLS`] can be made through `socketcall`.
    pub const fn has_socketcall(self) -> bool {
        matches!(self, Self::X86 | Self::Ppc64le | Self::S390x)
    }

    /// Whether [`IPCCALLS`] can be made through `ipc`.
    pub const fn has_ipc(self) -> bool {
        self.has_socketcall()
    }

    /// The number of the call named, as a filter sees it: x32's with its bit.
    pub fn number(self, name: &str) -> Option<u32> {
        Call::find(name)?.number(self)
    }

    /// The largest number known, without arm's private ones; x32's has its bit.
    pub fn newest(self) -> u32 {
        let private = self.number("breakpoint").unwrap_or(u32::MAX);
        calls().filter_map(|call| call.number(self)).filter(|&number| number < private).max().unwrap_or(0)
    }
}

/// A system call, whatever its number on an architecture: a line of the table.
/// Whoever wants a call's number on several looks for its name once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call(u16);

impl Call {
    /// The call named so on any architecture.
    pub fn find(name: &str) -> Option<Self> {
        let mut at = slot(name.as_bytes());
        while SLOTS[at] != NO {
            let call = Self(SLOTS[at]);
            if call.name() == name {
                return Some(call);
            }
            at = (at + 1) % SLOTS.len();
        }
        None
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let line = usize::from(self.0);
        &NAMES[usize::from(STARTS[line])..usize::from(STARTS[line + 1])]
    }

    /// Its number as a filter sees it, on an architecture that has the call.
    pub fn number(self, arch: Arch) -> Option<u32> {
        let stored = NUMBERS[usize::from(self.0)][arch as usize];
        // Arm's private ones are 0xf000 and up in 16 bits, 0xf0000 and up outside.
        let number = (u32::from(stored & 0xf000) << 4) | u32::from(stored & 0x0fff);
        (stored != NO).then_some(if arch == Arch::X32 { number | X32_BIT } else { number })
    }
}

/// The name of a number, for messages: the first by alphabet if it has two.
pub fn name(arch: Arch, nr: u32) -> Option<&'static str> {
    calls().find(|call| call.number(arch) == Some(nr)).map(Call::name)
}

/// Every name known on any architecture, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    calls().map(Call::name)
}

/// Every line of the table.
fn calls() -> impl Iterator<Item = Call> {
    (0..CALLS.len() as u16).map(Call)
}

/// All names, one after the other; where each starts, and the last ends; all
/// numbers. Only these and `SLOTS` are in the binary, `CALLS` is not.
const NAMES: &str = match str::from_utf8(&BYTES) {
    Ok(names) => names,
    Err(_) => panic!("names are ASCII"),
};
static STARTS: [u16; CALLS.len() + 1] = starts();
static NUMBERS: [[u16; Arch::ALL.len()]; CALLS.len()] = numbers();

/// Lines of the table by the hash of their names, each in the first free slot
/// from its own on. A profile has some 400 names: four times as fast as halving.
static SLOTS: [u16; 1024] = slots();

const BYTES: [u8; starts()[CALLS.len()] as usize] = bytes();

const fn starts() -> [u16; CALLS.len() + 1] {
    let mut starts = [0; CALLS.len() + 1];
    let mut line = 0;
    while line < CALLS.len() {
        starts[line + 1] = starts[line] + CALLS[line].0.len() as u16;
        line += 1;
    }
    starts
}

const fn bytes() -> [u8; starts()[CALLS.len()] as usize] {
    let mut bytes = [0; starts()[CALLS.len()] as usize];
    let (mut line, mut at) = (0, 0);
    while line < CALLS.len() {
        let name = CALLS[line].0.as_bytes();
        let mut byte = 0;
        while byte < name.len() {
            bytes[at] = name[byte];
            (at, byte) = (at + 1, byte + 1);
        }
        line += 1;
    }
    bytes
}

const fn numbers() -> [[u16; Arch::ALL.len()]; CALLS.len()] {
    let mut numbers = [[NO; Arch::ALL.len()]; CALLS.len()];
    let mut line = 0;
    while line < CALLS.len() {
        numbers[line] = CALLS[line].1;
        line += 1;
    }
    numbers
}

/// The slot of a name, by FNV-1a.
const fn slot(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut byte = 0;
    while byte < name.len() {
        hash = (hash ^ name[byte] as u32).wrapping_mul(0x0100_0193);
        byte += 1;
    }
    (hash ^ (hash >> 16)) as usize % SLOTS.len()
}

const fn slots() -> [u16; SLOTS.len()] {
    // With too few free, what is not there takes long to miss.
    assert!(CALLS.len() < SLOTS.len() * 2 / 3);
    let mut slots = [NO; SLOTS.len()];
    let mut line = 0;
    while line < CALLS.len() {
        let mut at = slot(CALLS[line].0.as_bytes());
        while slots[at] != NO {
            at = (at + 1) % slots.len();
        }
        slots[at] = line as u16;
        line += 1;
    }
    slots
}
