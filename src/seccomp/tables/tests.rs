use std::collections::BTreeSet;

use super::*;

/// Written by hand: a wrong column or a shifted line can't have all of these right.
fn assert_numbers(arch: Arch, expected: &[(&str, u32)]) {
    for &(call, number) in expected {
        assert_eq!(arch.number(call), Some(number), "{call} on {arch:?}");
    }
}

#[test]
fn x86_64() {
    let expected = [
        ("read", 0),
        ("write", 1),
        ("open", 2),
        ("mmap", 9),
        ("ioctl", 16),
        ("socket", 41),
        ("clone", 56),
        ("execve", 59),
        ("exit", 60),
        ("kill", 62),
        ("ptrace", 101),
        ("prctl", 157),
        ("arch_prctl", 158),
        ("mount", 165),
        ("umount2", 166),
        ("fadvise64", 221),
        ("openat", 257),
        ("newfstatat", 262),
        ("unshare", 272),
        ("setns", 308),
        ("seccomp", 317),
        ("getrandom", 318),
        ("bpf", 321),
        ("execveat", 322),
        ("userfaultfd", 323),
        ("rseq", 334),
        ("uretprobe", 335),
        ("io_uring_setup", 425),
        ("clone3", 435),
        ("openat2", 437),
        ("mseal", 462),
        ("listns", 470),
    ];
    assert_numbers(Arch::X86_64, &expected);
}

#[test]
fn x86() {
    let expected = [
        ("restart_syscall", 0),
        ("exit", 1),
        ("read", 3),
        ("open", 5),
        ("execve", 11),
        ("umount", 22),
        ("umount2", 52),
        ("socketcall", 102),
        ("ipc", 117),
        ("clone", 120),
        ("_llseek", 140),
        ("_newselect", 142),
        ("_sysctl", 149),
        ("stat64", 195),
        ("set_thread_area", 243),
        ("fadvise64_64", 272),
        ("openat", 295),
        ("fstatat64", 300),
        ("socket", 359),
        ("sendmmsg", 345),
        ("clock_gettime64", 403),
        ("semtimedop_time64", 420),
        ("clone3", 435),
        ("openat2", 437),
        ("memfd_secret", 447),
    ];
    assert_numbers(Arch::X86, &expected);
}

#[test]
fn x32() {
    let expected = [
        ("read", X32_BIT),
        ("open", X32_BIT | 2),
        ("getpid", X32_BIT | 39),
        ("openat", X32_BIT | 257),
        ("clone3", X32_BIT | 435),
        ("rt_sigaction", X32_BIT | 512),
        ("ioctl", X32_BIT | 514),
        ("execve", X32_BIT | 520),
        ("ptrace", X32_BIT | 521),
        ("execveat", X32_BIT | 545),
        ("pwritev2", X32_BIT | 547),
    ];
    assert_numbers(Arch::X32, &expected);
    assert_eq!(name(Arch::X32, 520), None, "x86_64's numbers are not x32's");
    assert_eq!(name(Arch::X86_64, X32_BIT), None, "nor the other way round");
}

#[test]
fn aarch64() {
    let expected = [
        ("io_setup", 0),
        ("fcntl", 25),
        ("ioctl", 29),
        ("umount2", 39),
        ("mount", 40),
        ("openat", 56),
        ("read", 63),
        ("write", 64),
        ("newfstatat", 79),
        ("exit_group", 94),
        ("ptrace", 117),
        ("socket", 198),
        ("clone", 220),
        ("execve", 221),
        ("mmap", 222),
        ("setns", 268),
        ("seccomp", 277),
        ("bpf", 280),
        ("openat2", 437),
    ];
    assert_numbers(Arch::Aarch64, &expected);
    assert_eq!(Arch::Aarch64.number("open"), None);
}

#[test]
fn arm() {
    let expected = [
        ("restart_syscall", 0),
        ("read", 3),
        ("open", 5),
        ("execve", 11),
        ("clone", 120),
        ("fcntl64", 221),
        ("arm_fadvise64_64", 270),
        ("socket", 281),
        ("send", 289),
        ("openat", 322),
        ("arm_sync_file_range", 341),
        ("seccomp", 383),
        ("clock_gettime64", 403),
        ("breakpoint", 0xf0001),
        ("cacheflush", 0xf0002),
        ("usr26", 0xf0003),
        ("usr32", 0xf0004),
        ("set_tls", 0xf0005),
        ("get_tls", 0xf0006),
    ];
    assert_numbers(Arch::Arm, &expected);
    assert_eq!(name(Arch::Arm, 0xf005), None, "the number as the table has it");
    assert_eq!(Arch::Arm.number("socketcall"), None, "of the old ABI only");
}

#[test]
fn riscv64() {
    let expected = [
        ("openat", 56),
        ("read", 63),
        ("execve", 221),
        ("mmap", 222),
        ("riscv_hwprobe", 258),
        ("riscv_flush_icache", 259),
        ("prlimit64", 261),
        ("clone3", 435),
    ];
    assert_numbers(Arch::Riscv64, &expected);
    assert_eq!(Arch::Riscv64.number("renameat"), None, "it began with renameat2");
}

#[test]
fn ppc64le() {
    let expected = [
        ("restart_syscall", 0),
        ("read", 3),
        ("socketcall", 102),
        ("ipc", 117),
        ("switch_endian", 363),
        ("_newselect", 142),
        ("swapcontext", 249),
        ("spu_run", 278),
        ("openat", 286),
        ("newfstatat", 291),
        ("sync_file_range2", 308),
        ("socket", 326),
        ("seccomp", 358),
        ("semtimedop", 392),
        ("clone3", 435),
    ];
    assert_numbers(Arch::Ppc64le, &expected);
}

#[test]
fn s390x() {
    let expected = [
        ("exit", 1),
        ("read", 3),
        ("execve", 11),
        ("socketcall", 102),
        ("ipc", 117),
        ("clone", 120),
        ("select", 142),
        ("_sysctl", 149),
        ("openat", 288),
        ("newfstatat", 293),
        ("s390_runtime_instr", 342),
        ("seccomp", 348),
        ("s390_pci_mmio_write", 352),
        ("socket", 359),
        ("s390_sthyi", 380),
        ("semtimedop", 392),
        ("clone3", 435),
    ];
    assert_numbers(Arch::S390x, &expected);
}

#[test]
fn newest() {
    for arch in Arch::ALL {
        let last = if arch == Arch::X32 { "pwritev2" } else { "rseq_slice_yield" };
        assert_eq!(name(arch, arch.newest()), Some(last), "{arch:?}");
    }
}

#[test]
fn names_are_sorted_and_found() {
    let all: Vec<_> = names().collect();
    assert!(all.is_sorted_by(|a, b| a < b));
    for &name in &all {
        assert_eq!(Call::find(name).map(Call::name), Some(name));
        assert!(Arch::ALL.iter().any(|arch| arch.number(name).is_some()), "{name} is nowhere");
    }
    for name in ["", "a", "_", "zzz", "rea", "readx", "read\0", "READ", "open\n", "é"] {
        assert_eq!(Call::find(name), None, "{name:?}");
    }
}

#[test]
fn numbers_have_one_name() {
    for arch in Arch::ALL {
        for call in names() {
            let Some(number) = arch.number(call) else { continue };
            let first = if (arch, call) == (Arch::Arm, "sync_file_range2") { "arm_sync_file_range" } else { call };
            assert_eq!(name(arch, number), Some(first), "{number} on {arch:?}");
        }
    }
}

/// libc's numbers are of its own making, for the architecture this runs on.
#[test]
fn libc_has_the_same_numbers() {
    let native = Arch::native().expect("the table has a column for what tests run on");
    let expected = [
        ("accept4", libc::SYS_accept4),
        ("add_key", libc::SYS_add_key),
        ("bpf", libc::SYS_bpf),
        ("brk", libc::SYS_brk),
        ("capset", libc::SYS_capset),
        ("chdir", libc::SYS_chdir),
        ("chroot", libc::SYS_chroot),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("close_range", libc::SYS_close_range),
        ("connect", libc::SYS_connect),
        ("delete_module", libc::SYS_delete_module),
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("exit_group", libc::SYS_exit_group),
        ("fsopen", libc::SYS_fsopen),
        ("futex", libc::SYS_futex),
        ("getrandom", libc::SYS_getrandom),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("ioctl", libc::SYS_ioctl),
        ("kexec_load", libc::SYS_kexec_load),
        ("keyctl", libc::SYS_keyctl),
        ("kill", libc::SYS_kill),
        ("mount", libc::SYS_mount),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("move_mount", libc::SYS_move_mount),
        ("open_tree", libc::SYS_open_tree),
        ("openat", libc::SYS_openat),
        ("openat2", libc::SYS_openat2),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("pidfd_open", libc::SYS_pidfd_open),
        ("pivot_root", libc::SYS_pivot_root),
        ("prctl", libc::SYS_prctl),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("ptrace", libc::SYS_ptrace),
        ("read", libc::SYS_read),
        ("reboot", libc::SYS_reboot),
        ("rt_sigreturn", libc::SYS_rt_sigreturn),
        ("seccomp", libc::SYS_seccomp),
        ("sendmsg", libc::SYS_sendmsg),
        ("setns", libc::SYS_setns),
        ("socket", libc::SYS_socket),
        ("umount2", libc::SYS_umount2),
        ("unshare", libc::SYS_unshare),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("write", libc::SYS_write),
    ];
    for (call, number) in expected {
        assert_eq!(native.number(call), Some(number as u32), "{call} on {native:?}");
    }
}

#[test]
fn architectures() {
    for (column, arch) in Arch::ALL.into_iter().enumerate() {
        assert_eq!(arch as usize, column);
        assert_eq!(Arch::from_name(arch.name()), Some(arch));
        assert_eq!(arch.family()[0], arch, "the kernel's own is the first of its family");
        let of_64 = arch.audit() & 0x8000_0000 != 0;
        assert_eq!(arch.is_64(), of_64 && arch != Arch::X32);
        assert_eq!(arch.has_socketcall(), arch.number("socketcall").is_some());
        assert_eq!(arch.has_ipc(), arch.number("ipc").is_some());
    }
    let audit: BTreeSet<_> = Arch::ALL.iter().map(|arch| arch.audit()).collect();
    assert_eq!(audit.len(), Arch::ALL.len() - 1, "but for x32's they differ");
    assert_eq!(Arch::from_name("SCMP_ARCH_PPC"), None);
    assert_eq!(Arch::from_name("x86_64"), None);
}

#[test]
fn calls_within_calls() {
    for (at, (call, number)) in (1..).zip(SOCKETCALLS) {
        assert_eq!(number, at, "{call}");
    }
    assert!(IPCCALLS.is_sorted_by(|a, b| a.1 < b.1));
    for (call, _) in SOCKETCALLS.iter().chain(&IPCCALLS) {
        assert!(Call::find(call).is_some(), "{call}");
    }
    // What i386 never got a number of its own for.
    let only_within: Vec<_> = SOCKETCALLS.iter().filter(|(call, _)| Arch::X86.number(call).is_none()).collect();
    assert_eq!(only_within, [&("accept", 5), &("send", 9), &("recv", 10)]);
}
