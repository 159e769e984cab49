//! bpf(2), as far as a cgroup's device program needs it: load, attach,
//! replace, list, detach.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One eBPF instruction, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source in the high four.
    pub regs: u8,
    /// Jump or memory offset.
    pub off: i16,
    /// Immediate operand.
    pub imm: i32,
}

impl Insn {
    /// An instruction with one or two registers and the other operands.
    pub const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        // Two four-bit fields, which C lays out from the byte order's own end.
        let regs = if cfg!(target_endian = "big") { dst << 4 | src } else { src << 4 | dst };
        Self { code, regs, off, imm }
    }
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 1 << 1;
const F_REPLACE: u32 = 1 << 2;

/// The kernel lets this many programs be attached to one cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGS: usize = 64;

/// A `union bpf_attr` with room to spare, always passed whole and zeroed.
///
/// Kernels 6.17 to 7.1 write answers at the end of the union whatever size
/// they were told, so a short one gets its neighbours overwritten. A longer
/// one is fine with every kernel as long as the tail is zero.
#[repr(C, align(8))]
struct Attr([u8; 256]);

impl Attr {
    fn new() -> Self {
        Self([0; 256])
    }

    fn u32(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn fd(self, at: usize, fd: RawFd) -> Self {
        self.u32(at, fd.cast_unsigned())
    }

    fn ptr<T>(mut self, at: usize, value: *const T) -> Self {
        self.0[at..at + 8].copy_from_slice(&(value.expose_provenance() as u64).to_ne_bytes());
        self
    }

    fn get_u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }
}

/// The system call itself. Safe only as long as each pointer inside `attr` is good for what `cmd` does with it.
unsafe fn bpf(cmd: libc::c_long, attr: &mut Attr) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes within the size given, which is that
    // of `attr`; what `attr` points to is the caller's promise.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, cmd, attr.0.as_mut_ptr(), size_of::<Attr>()) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// Loads a program of type `CGROUP_DEVICE`; the descriptor is close-on-exec.
pub fn load_device(insns: &[Insn]) -> io::Result<OwnedFd> {
    load(insns, &mut [])
}

/// The verifier's words on a program it refuses: for tests and for messages.
pub fn explain_device(insns: &[Insn]) -> String {
    let mut log = vec![0u8; 64 << 10];
    let refused = load(insns, &mut log).err();
    let end = log.iter().position(|b| *b == 0).unwrap_or(0);
    match refused {
        Some(e) => format!("{e}: {}", String::from_utf8_lossy(&log[..end])),
        None => String::new(),
    }
}

fn load(insns: &[Insn], log: &mut [u8]) -> io::Result<OwnedFd> {
    // The program calls no helper, so its licence matters to nobody; this is the project's.
    let licence = c"Apache-2.0";
    let count = u32::try_from(insns.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let mut attr = Attr::new().u32(0, PROG_TYPE_CGROUP_DEVICE).u32(4, count).ptr(8, insns.as_ptr());
    attr = attr.ptr(16, licence.as_ptr());
    if !log.is_empty() {
        attr = attr.u32(24, 1).u32(28, log.len() as u32).ptr(32, log.as_mut_ptr().cast_const());
    }
    attr.0[48..60].copy_from_slice(b"orlop_device");
    let mut tries = 0;
    loop {
        // SAFETY: instructions, licence and log outlive the call and have the sizes given.
        match unsafe { bpf(PROG_LOAD, &mut attr) } {
            // A signal during verification: the kernel asks for another try.
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && tries < 10 => tries += 1,
            done => return done.map(owned),
        }
    }
}

/// Attaches a device program to a cgroup, beside those there are, or in the
/// place of `replace` in one step so that there is no moment without any.
pub fn attach_device(cgroup: BorrowedFd<'_>, prog: BorrowedFd<'_>, replace: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let flags = F_ALLOW_MULTI | if replace.is_some() { F_REPLACE } else { 0 };
    let mut attr = on_cgroup(cgroup, prog).u32(12, flags);
    if let Some(old) = replace {
        attr = attr.fd(16, old.as_raw_fd());
    }
    // SAFETY: PROG_ATTACH takes numbers only.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(drop)
}

/// Detaches a device program from a cgroup.
pub fn detach_device(cgroup: BorrowedFd<'_>, prog: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: PROG_DETACH takes numbers only.
    unsafe { bpf(PROG_DETACH, &mut on_cgroup(cgroup, prog)) }.map(drop)
}

fn on_cgroup(cgroup: BorrowedFd<'_>, prog: BorrowedFd<'_>) -> Attr {
    Attr::new().fd(0, cgroup.as_raw_fd()).fd(4, prog.as_raw_fd()).u32(8, ATTACH_CGROUP_DEVICE)
}

/// The device programs attached to a cgroup itself (not those of its ancestors).
pub fn attached_devices(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_PROGS];
    let attr = Attr::new().fd(0, cgroup.as_raw_fd()).u32(4, ATTACH_CGROUP_DEVICE);
    let mut attr = attr.ptr(16, ids.as_mut_ptr().cast_const()).u32(24, MAX_PROGS as u32);
    // SAFETY: `ids` has room for the number of program ids given and outlives the call.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    let count = (attr.get_u32(24) as usize).min(MAX_PROGS);
    ids[..count].iter().filter_map(|id| fd_by_id(*id).transpose()).collect()
}

/// `None` when the program has gone in the meantime.
fn fd_by_id(id: u32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: PROG_GET_FD_BY_ID takes numbers only.
    match unsafe { bpf(PROG_GET_FD_BY_ID, &mut Attr::new().u32(0, id)) } {
        Ok(fd) => Ok(Some(owned(fd))),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}
