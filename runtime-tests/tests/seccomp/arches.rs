//! Calls by other ways than the machine's own: i386's and x32's on x86_64.

use runtime_tests::{Case, json, paths, skip};

use crate::{ODD, allowing, errno, killed, with};

const X32_GETPID: &str = "call:0x40000027";
const I386_GETPID: &str = "i386:20";
const I386_GETPPID: &str = "i386:64";

/// Can this kernel do what 32-bit programs call?
fn i386() -> Result<(), String> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err("only on x86_64".to_owned());
    }
    let out = std::process::Command::new(paths::probe()).args(["try", I386_GETPID]).output().expect("the probe");
    if out.status.success() { Ok(()) } else { Err("no ia32 emulation in this kernel".to_owned()) }
}

fn native() -> &'static str {
    "SCMP_ARCH_X86_64"
}

/// A filter that goes by the numbers of one architecture is got round by
/// another's: what is not listed is not let in at all.
#[test]
fn a_foreign_architecture_is_killed() {
    if let Err(why) = i386() {
        skip!("{why}");
    }
    for arches in [json!(null), json!([]), json!([native()]), json!([native(), "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"])] {
        let mut c = with(allowing(json!([errno(&["getppid"], ODD)])));
        c.set("/linux/seccomp/architectures", arches.clone());
        killed(&mut c, &["try", I386_GETPID]);
        assert_eq!(c.attempts(&["mkdir:/tmp/x"])["mkdir:/tmp/x"], 0, "{arches}: what the machine's own does");
        std::fs::remove_dir(c.rootfs("tmp/x")).unwrap();
    }
}

#[test]
fn the_same_rules_by_its_own_numbers() {
    if let Err(why) = i386() {
        skip!("{why}");
    }
    let mut c = with(allowing(json!([errno(&["getppid"], ODD)])));
    // The machine's own is always there.
    for arches in [json!([native(), "SCMP_ARCH_X86"]), json!(["SCMP_ARCH_X86"])] {
        c.set("/linux/seccomp/architectures", arches);
        assert_eq!(c.attempts(&[I386_GETPID, I386_GETPPID]), json!({ I386_GETPID: 1, I386_GETPPID: -ODD }));
        assert_eq!(c.attempts(&[&crate::getppid()])[crate::getppid()], -ODD);
    }
}

#[test]
fn x32_is_an_architecture_of_its_own() {
    if cfg!(not(target_arch = "x86_64")) {
        skip!("only on x86_64");
    }
    let rules = json!([errno(&["getpid"], ODD)]);
    for arches in [json!(null), json!([native(), "SCMP_ARCH_X86"])] {
        let mut c = with(allowing(rules.clone()));
        c.set("/linux/seccomp/architectures", arches);
        killed(&mut c, &["try", X32_GETPID]);
    }
    let mut c = with(allowing(rules));
    c.set("/linux/seccomp/architectures", json!([native(), "SCMP_ARCH_X32"]));
    assert_eq!(c.attempts(&[X32_GETPID])[X32_GETPID], -ODD);
    // What no rule is about goes to the kernel, which mostly has none of it.
    let getuid = "call:0x40000066";
    let got = c.attempts(&[getuid])[getuid].as_i64();
    assert!(got == Some(0) || got == Some(-38), "{got:?}");
}

/// Where a filter denies by default, what is foreign dies all the same.
#[test]
fn also_with_an_errno_as_default() {
    if let Err(why) = i386() {
        skip!("{why}");
    }
    let mut c: Case = with(crate::denying("SCMP_ACT_ERRNO", &[]));
    killed(&mut c, &["try", I386_GETPID]);
    killed(&mut c, &["try", X32_GETPID]);
}
