//! A profile needs to allow what the program calls, and nothing that orlop
//! calls: not a call of ours is made between the filter and the execve.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime_tests::{Case, Value, json, skip};

use crate::{KILLED, rule, with};

/// A program that writes `hi` and ends with status 7, by two system calls.
const CODE: &[u8] = &[
    0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
    0xbf, 1, 0, 0, 0, // mov edi, 1
    0x48, 0x8d, 0x35, 21, 0, 0, 0, // lea rsi, [rip + 21]
    0xba, 3, 0, 0, 0, // mov edx, 3
    0x0f, 0x05, // syscall
    0xb8, 231, 0, 0, 0, // mov eax, 231 (exit_group)
    0xbf, 7, 0, 0, 0, // mov edi, 7
    0x0f, 0x05, // syscall
    0xeb, 0xfe, // jmp to itself
    b'h', b'i', b'\n',
];

/// The smallest file that the kernel executes: a header, one segment, the code.
fn elf() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2u16, 62].iter().flat_map(|n| n.to_le_bytes())); // executable, x86_64
    file.extend(1u32.to_le_bytes());
    file.extend([BASE + HEADERS, 64, 0].iter().flat_map(|n: &u64| n.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    file.extend([1u32, 5].iter().flat_map(|n| n.to_le_bytes())); // loaded, readable and executable
    file.extend([0, BASE, BASE, size, size, 0x1000].iter().flat_map(|n: &u64| n.to_le_bytes()));
    file.extend(CODE);
    file
}

/// A container with that program and a filter which kills for any other call.
fn tiny(allowed: &[&str]) -> Case {
    let mut c = with(json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [rule(allowed, "SCMP_ACT_ALLOW")],
    }));
    let path = c.rootfs("bin/tiny");
    fs::write(&path, elf()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    c.args(&["/bin/tiny"]);
    // As much as makes it necessary to get memory for the list.
    for n in 0..3000 {
        c.env(&format!("VARIABLE_{n}={}", "x".repeat(60)));
    }
    c
}

const ALL: [&str; 3] = ["execve", "write", "exit_group"];

fn combinations() -> Vec<(u32, bool, Value)> {
    let caps = json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] });
    let of = |uid, unprivileged| [(uid, unprivileged, caps.clone()), (uid, unprivileged, Value::Null)];
    [(0, true), (0, false), (1000, true), (1000, false)].into_iter().flat_map(|(u, p)| of(u, p)).collect()
}

fn set(c: &mut Case, (uid, unprivileged, caps): &(u32, bool, Value)) {
    c.set("/process/user", json!({ "uid": uid, "gid": uid })).set("/process/noNewPrivileges", *unprivileged);
    c.set("/process/capabilities", caps.clone());
}

#[test]
fn only_what_the_program_calls() {
    if cfg!(not(target_arch = "x86_64")) {
        skip!("the program is one for x86_64");
    }
    let mut c = tiny(&ALL);
    for how in combinations() {
        set(&mut c, &how);
        assert_eq!(c.run().exits(7).stdout, "hi\n", "{how:?}");
        let out = c.start_with_output();
        c.wait_status("stopped");
        assert_eq!(fs::read_to_string(out).unwrap(), "hi\n", "{how:?}");
        c.delete();
    }
}

#[test]
fn nor_does_exec_need_more() {
    if cfg!(not(target_arch = "x86_64")) {
        skip!("the program is one for x86_64");
    }
    for how in combinations() {
        let mut c = tiny(&ALL);
        set(&mut c, &how);
        c.create().ok();
        assert_eq!(c.exec(&[], &["/bin/tiny"]).go().exits(7).stdout, "hi\n", "{how:?}");
        assert_eq!(c.exec(&["--no-new-privs", "-u", "5"], &["/bin/tiny"]).go().exits(7).stdout, "hi\n", "{how:?}");
        c.delete();
    }
}

/// The counterpart: one call less, and it does not run.
#[test]
fn and_each_of_these_is_needed() {
    if cfg!(not(target_arch = "x86_64")) {
        skip!("the program is one for x86_64");
    }
    // With a name as new as exit_group, which would not exist else.
    let c = tiny(&["execve", "write", "openat2"]);
    assert_eq!(c.run().exits(KILLED).stdout, "hi\n");
    let c = tiny(&["execve", "exit_group"]);
    assert_eq!(c.run().exits(KILLED).stdout, "");
}

/// Init killed at its execve, or kept from saying why it failed, is no program that ran.
#[test]
fn an_execve_that_cannot_be() {
    if cfg!(not(target_arch = "x86_64")) {
        skip!("the program is one for x86_64");
    }
    let text = "died before it could execute the program: linux.seccomp";
    // Killed; refused, as is exit_group after it; or there are no such calls.
    let old: &[&str] = &["write", "openat2"];
    for (default, allowed) in [
        ("SCMP_ACT_KILL_PROCESS", old),
        ("SCMP_ACT_KILL", old),
        ("SCMP_ACT_ERRNO", old),
        ("SCMP_ACT_ERRNO", &["write"]),
    ] {
        let mut c = tiny(allowed);
        c.set("/linux/seccomp/defaultAction", default);
        assert_eq!(c.run().fails_with(&[text]).stdout, "", "{default}");
        c.assert_nothing_left();
        c.create().ok();
        let out = c.exec(&[], &["/bin/tiny"]).go().exits(255).says(&[text]);
        assert_eq!(out.stdout, "", "{default}");
        c.delete();
    }
}
