//! System calls that seccomp profiles are about, and what becomes of each here.
//!
//! Most have arguments that the kernel refuses otherwise than filters do (bad
//! descriptors and pointers), so that the errno says who refused. The numbers
//! are those of x86_64.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::process::Command;

use runtime_tests::sys::verdict::{self, Call};
use serde_json::{Value, json};

const X32: u64 = 0x4000_0000;
/// No descriptor, no process and no pointer.
const BAD: u64 = u64::MAX;
/// Numbers tried without knowing what they are.
const NUMBERS: u64 = 600;

/// What mknod makes.
const MADE: &CStr = c"/tmp/made";

type Attempt = (&'static str, u64, [u64; 6]);

/// The verdicts on some attempts, by name.
pub fn some(names: &[String]) -> Value {
    let wanted = attempts().into_iter().filter(|(name, _)| names.iter().any(|n| n == name));
    wanted.map(|(name, call)| (name, text(&call))).collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// `named`: each attempt, its verdict, the architecture and its number, in order.
/// `numbers`: by architecture, the verdicts on all numbers with all arguments [`BAD`].
pub fn all() -> Value {
    let named = attempts().into_iter().map(|(name, call)| {
        let arch = if call.i386 { "i386" } else { ["x86_64", "x32"][usize::from(call.number >= X32)] };
        json!([name, text(&call), arch, call.number & !X32])
    });
    let named: Vec<Value> = named.chain([json!(["strace of a program", strace()])]).collect();
    let numbers = json!({
        "x86_64": every(false, 0, [VFORK, PAUSE]),
        "x32": every(false, X32, [VFORK, PAUSE]),
        "i386": every(true, 0, [I386_VFORK, I386_PAUSE]),
    });
    json!({ "named": named, "numbers": numbers })
}

fn attempts() -> Vec<(&'static str, Call)> {
    let native = [tracing(), mounting(), namespaces(), keys_and_kernel(), sockets(), newest()].into_iter().flatten();
    let native = native.map(|(name, number, args)| (name, Call { i386: false, number, args }));
    let i386 = foreign().into_iter().map(|(name, number, args)| (name, Call { i386: true, number, args }));
    native.chain(i386).collect()
}

fn text(call: &Call) -> String {
    let verdict = verdict::of(call).expect("a child");
    // What mknod has made would be in the way of the next attempt.
    let _ = std::fs::remove_file(MADE.to_str().expect("a path"));
    match verdict {
        Ok(0) => "ok".to_owned(),
        Ok(errno) => runtime_tests::sys::errno_name(&io::Error::from_raw_os_error(errno)),
        Err(signal) => format!("signal {signal}"),
    }
}

/// Shares its caller's stack until it ends, which no function can return from.
const VFORK: u64 = 58;
const I386_VFORK: u64 = 190;
/// Does not end.
const PAUSE: u64 = 34;
const I386_PAUSE: u64 = 29;

fn every(i386: bool, base: u64, without: [u64; 2]) -> Vec<String> {
    let one = |n: u64| text(&Call { i386, number: base + n, args: [BAD; 6] });
    (0..NUMBERS).map(|n| if without.contains(&n) { "not tried".to_owned() } else { one(n) }).collect()
}

/// The real one, where it is.
fn strace() -> String {
    let traced = Command::new("strace").args(["-f", "-o", "/tmp/strace", "/bin/true"]).output();
    match traced {
        Err(e) => format!("no strace: {e}"),
        Ok(out) if out.status.success() => "ok".to_owned(),
        Ok(out) => format!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim()),
    }
}

fn ptr(text: &'static CStr) -> u64 {
    text.as_ptr() as u64
}

/// Arguments, the rest 0.
fn args<const N: usize>(given: [u64; N]) -> [u64; 6] {
    std::array::from_fn(|i| given.get(i).copied().unwrap_or(0))
}

fn tracing() -> Vec<Attempt> {
    let own = u64::from(std::process::id());
    vec![
        ("ptrace(TRACEME)", 101, args([0])),
        ("process_vm_readv", 310, args([own])),
        ("process_vm_writev", 311, args([own])),
        ("kcmp", 312, args([own, own, BAD])),
        ("pidfd_getfd", 438, args([BAD, 0])),
        ("perf_event_open", 298, args([BAD])),
        ("bpf", 321, args([0, BAD, 8])),
        ("personality(0)", 135, args([0])),
        ("personality(8)", 135, args([8])),
        ("personality(0x20000)", 135, args([0x2_0000])),
        ("personality(0xffffffff)", 135, args([0xffff_ffff])),
        ("personality(ADDR_NO_RANDOMIZE)", 135, args([0x4_0000])),
    ]
}

fn mounting() -> Vec<Attempt> {
    const CHARACTER: u64 = libc::S_IFCHR as u64 | 0o600;
    const NULL: u64 = 0x103;
    vec![
        ("mount", 165, args([ptr(c"none"), BAD, ptr(c"tmpfs")])),
        ("umount2", 166, args([BAD])),
        ("pivot_root", 155, args([BAD, BAD])),
        ("chroot(/)", 161, args([ptr(c"/")])),
        ("open_tree", 428, args([BAD, BAD])),
        ("move_mount", 429, args([BAD, BAD, BAD, BAD, BAD])),
        ("fsopen", 430, args([BAD, BAD])),
        ("mount_setattr", 442, args([BAD, BAD, 0, BAD, 0])),
        ("mknod(null)", 133, args([ptr(MADE), CHARACTER, NULL])),
        ("mknod(fifo)", 133, args([ptr(MADE), libc::S_IFIFO.into()])),
        ("name_to_handle_at", 303, args([BAD, BAD])),
        ("open_by_handle_at", 304, args([BAD, BAD])),
        ("swapon", 167, args([BAD])),
        ("swapoff", 168, args([BAD])),
        ("quotactl", 179, args([BAD, BAD])),
        ("fanotify_init", 300, args([BAD])),
    ]
}

fn namespaces() -> Vec<Attempt> {
    let unshare = |name, flag: i32| (name, 272, args([flag as u32 as u64]));
    let clone = |name, flag: i32| (name, 56, args([(flag | libc::SIGCHLD) as u32 as u64]));
    vec![
        unshare("unshare(0)", 0),
        unshare("unshare(NEWNS)", libc::CLONE_NEWNS),
        unshare("unshare(NEWUTS)", libc::CLONE_NEWUTS),
        unshare("unshare(NEWIPC)", libc::CLONE_NEWIPC),
        unshare("unshare(NEWUSER)", libc::CLONE_NEWUSER),
        unshare("unshare(NEWPID)", libc::CLONE_NEWPID),
        unshare("unshare(NEWNET)", libc::CLONE_NEWNET),
        unshare("unshare(NEWCGROUP)", libc::CLONE_NEWCGROUP),
        unshare("unshare(NEWTIME)", 0x80),
        ("setns", 308, args([BAD, 0])),
        clone("clone", 0),
        clone("clone(NEWUSER)", libc::CLONE_NEWUSER),
        clone("clone(NEWNS)", libc::CLONE_NEWNS),
        clone("clone(NEWNET)", libc::CLONE_NEWNET),
        ("clone3", 435, args([BAD, 0])),
        ("sethostname", 170, args([BAD, 1])),
        ("setdomainname", 171, args([BAD, 1])),
    ]
}

fn keys_and_kernel() -> Vec<Attempt> {
    vec![
        ("add_key", 248, args([BAD])),
        ("request_key", 249, args([BAD])),
        ("keyctl", 250, args([BAD])),
        ("userfaultfd", 323, args([BAD])),
        ("io_uring_setup", 425, args([0, BAD])),
        ("memfd_secret", 447, args([BAD])),
        ("kexec_load", 246, args([0, BAD, 0, BAD])),
        ("kexec_file_load", 320, args([BAD, BAD, 0, 0, BAD])),
        ("init_module", 175, args([BAD])),
        ("finit_module", 313, args([BAD])),
        ("delete_module", 176, args([BAD])),
        ("reboot", 169, args([BAD, BAD])),
        ("settimeofday", 164, args([BAD, BAD])),
        ("clock_settime", 227, args([0, BAD])),
        ("adjtimex", 159, args([BAD])),
        ("syslog", 103, args([10])),
        ("acct", 163, args([BAD])),
        ("vhangup", 153, args([])),
        ("iopl", 172, args([3])),
        ("ioperm", 173, args([0, 1, 1])),
        ("uselib", 134, args([BAD])),
        ("ustat", 136, args([BAD, BAD])),
        ("sysfs", 139, args([BAD])),
        ("lookup_dcookie", 212, args([])),
        ("nfsservctl", 180, args([])),
        ("set_mempolicy", 238, args([BAD])),
        ("mbind", 237, args([BAD])),
        ("move_pages", 279, args([BAD])),
        ("vmsplice", 278, args([BAD])),
    ]
}

fn sockets() -> Vec<Attempt> {
    let socket = |name, family: i32, kind: i32, protocol: u64| (name, 41, args([family as u64, kind as u64, protocol]));
    let (dgram, raw) = (libc::SOCK_DGRAM, libc::SOCK_RAW);
    vec![
        socket("socket(AF_INET)", libc::AF_INET, dgram, 0),
        socket("socket(AF_VSOCK)", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        socket("socket(AF_ALG)", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        socket("socket(AF_NETLINK, ROUTE)", libc::AF_NETLINK, raw, 0),
        socket("socket(AF_NETLINK, AUDIT)", libc::AF_NETLINK, raw, 9),
        // The kernel looks at the lower half only; what a filter looks at, its profile says.
        ("socket(AF_VSOCK + 2³²)", 41, args([1 << 32 | libc::AF_VSOCK as u64, 1])),
    ]
}

fn newest() -> Vec<Attempt> {
    vec![
        ("landlock_create_ruleset", 444, args([BAD, 1])),
        ("cachestat", 451, args([BAD])),
        ("statmount", 457, args([BAD])),
        ("lsm_get_self_attr", 459, args([BAD])),
        ("mseal (462)", 462, args([BAD])),
        ("open_tree_attr (467)", 467, args([BAD, BAD])),
        ("file_getattr (468)", 468, args([BAD, BAD])),
        ("number 500", 500, args([])),
        ("number 5000", 5000, args([])),
        ("x32: getpid", X32 + 39, args([])),
        ("x32: mount", X32 + 165, args([BAD, BAD])),
        ("x32: number 600", X32 + 600, args([])),
    ]
}

/// Those of i386, with its numbers.
fn foreign() -> Vec<Attempt> {
    vec![
        ("i386: getpid", 20, args([])),
        ("i386: mount", 21, args([BAD, BAD, BAD, BAD])),
        ("i386: unshare(NEWUSER)", 310, args([libc::CLONE_NEWUSER as u64])),
        ("i386: keyctl", 288, args([BAD])),
        ("i386: clone3", 435, args([BAD, 0])),
        ("i386: stime", 25, args([BAD])),
        ("i386: clock_settime64", 404, args([0, BAD])),
        ("i386: socket(AF_VSOCK)", 359, args([40, 1])),
        ("i386: socketcall(SOCKET)", 102, args([1, BAD])),
        ("i386: socketcall(SENDMSG)", 102, args([16, BAD])),
        ("i386: ipc(SHMGET)", 117, args([23, BAD, BAD, BAD])),
        ("i386: ipc(SHMGET, version 1)", 117, args([1 << 16 | 23, BAD, BAD, BAD])),
        ("i386: vm86old", 113, args([BAD])),
        ("i386: modify_ldt", 123, args([BAD])),
        ("i386: number 600", 600, args([])),
    ]
}
