//! The system calls that std lacks: the only unsafe code of the tests.

pub mod calls;
pub mod child;
pub mod notif;
pub mod trace;
pub mod verdict;

use std::ffi::{CString, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn c(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_bytes()).expect("no NUL in a path")
}

fn check(result: impl Into<i64>) -> io::Result<i64> {
    let n = result.into();
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n) }
}

/// The name of an errno as programmers write it; only those the tests look for.
pub fn errno_name(e: &io::Error) -> String {
    let code = e.raw_os_error().unwrap_or(0);
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ESRCH, "ESRCH"),
        (libc::EACCES, "EACCES"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::EROFS, "EROFS"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENXIO, "ENXIO"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ETXTBSY, "ETXTBSY"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::ELOOP, "ELOOP"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EFAULT, "EFAULT"),
        (libc::EBADF, "EBADF"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
    ];
    names.iter().find(|(n, _)| *n == code).map_or_else(|| format!("errno {code}"), |(_, s)| (*s).to_owned())
}

// ---- what a command does between fork and exec

/// The command is killed when the thread that started it ends.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe.
    unsafe { command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(|_| ())) };
}

/// No descriptor but 0, 1 and 2 survives exec, unless passed later.
pub fn close_on_exec_from_3(command: &mut Command) {
    const CLOSE_RANGE_CLOEXEC: i32 = 4;
    // SAFETY: only flags of descriptors change; async-signal-safe.
    unsafe {
        command.pre_exec(|| check(libc::syscall(libc::SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC)).map(|_| ()))
    };
}

/// `fds` become 3, 4, … of the command, open across exec.
pub fn pass_fds(command: &mut Command, fds: &[impl AsFd]) {
    let copies: Vec<OwnedFd> = fds.iter().map(|f| f.as_fd().try_clone_to_owned().expect("dup")).collect();
    let act = move || {
        let mut high: [RawFd; 16] = [-1; 16];
        for (slot, fd) in high.iter_mut().zip(&copies) {
            // SAFETY: duplicates an fd we own, above any target number.
            *slot = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 200) })? as RawFd;
        }
        for (target, fd) in (3..).zip(&high[..copies.len()]) {
            // SAFETY: the child may overwrite its low descriptors; exec closes the rest.
            check(unsafe { libc::dup2(*fd, target) })?;
        }
        Ok(())
    };
    // SAFETY: only fcntl and dup2 are called, no allocation.
    unsafe { command.pre_exec(act) };
}

/// A new session with standard input as its terminal.
pub fn new_session_on_stdin(command: &mut Command) {
    let act = || {
        // SAFETY: both calls are async-signal-safe and take no pointers.
        check(unsafe { libc::setsid() })?;
        // SAFETY: as above.
        check(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(|_| ())
    };
    // SAFETY: see inside.
    unsafe { command.pre_exec(act) };
}

/// The command starts with `signal` ignored and `blocked` blocked.
pub fn odd_signals(command: &mut Command, ignored: i32, blocked: i32) {
    let act = move || {
        // SAFETY: signal, sigemptyset, sigaddset and sigprocmask on local data are async-signal-safe.
        unsafe {
            libc::signal(ignored, libc::SIG_IGN);
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, blocked);
            check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())).map(|_| ())
        }
    };
    // SAFETY: see inside.
    unsafe { command.pre_exec(act) };
}

// ---- processes

/// kill(2).
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid, signal) }).map(|_| ())
}

/// fork(2) of a process with one thread: true in the child.
pub fn fork() -> io::Result<bool> {
    // SAFETY: with one thread the child is a whole copy, locks and all.
    check(unsafe { libc::fork() }).map(|pid| pid == 0)
}

/// Waits as in vfork(2), for a child that ends after so long. Unlike there the
/// child has memory of its own, so that it can change nothing of this process.
pub fn wait_in_vfork(child: std::time::Duration) -> io::Result<()> {
    let flags = i64::from(libc::CLONE_VFORK | libc::SIGCHLD);
    // SAFETY: without a stack it goes on like fork(2), and the child does two
    // system calls only. It is the one child that can be waited for.
    unsafe {
        if check(libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) as i32)? == 0 {
            libc::poll(std::ptr::null_mut(), 0, child.as_millis().try_into().unwrap_or(-1));
            libc::_exit(0)
        }
        libc::wait(std::ptr::null_mut());
    }
    Ok(())
}

/// Runs `f` in a forked child, which ends with it; gives what it found. The
/// calling process must have one thread, or `f` take no lock and no memory.
pub fn in_child(f: impl FnOnce() -> Option<u64>) -> io::Result<Option<u64>> {
    let (mut read, mut write) = pipe();
    if fork()? {
        let bytes = f().map(u64::to_ne_bytes);
        let _ = bytes.map(|b| io::Write::write_all(&mut write, &b));
        // SAFETY: does not return, and runs nothing of the parent's.
        unsafe { libc::_exit(0) }
    }
    drop(write);
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut read, &mut bytes)?;
    // SAFETY: any child of ours; there is one.
    unsafe { libc::wait(std::ptr::null_mut()) };
    Ok(bytes.try_into().ok().map(u64::from_ne_bytes))
}

/// Waits for a child if it has ended.
///
/// Looks first: of one that a thread here traces, waiting would take the stops
/// as well, and the tracer would wait for them for ever.
pub fn reap(pid: i32) {
    // SAFETY: zeroed is a valid siginfo, which is written; then no status is asked for.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let found = libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, flags);
        if found == 0 && [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED].contains(&info.si_code) {
            libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG);
        }
    }
}

/// Orphaned descendants become children of this process.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }).map(|_| ())
}

/// `PR_GET_PDEATHSIG`.
pub fn pdeathsig() -> i32 {
    let mut signal = 0i32;
    // SAFETY: writes one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut signal) };
    signal
}

/// `PR_GET_DUMPABLE`.
pub fn dumpable() -> i32 {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
}

/// PTRACE_ATTACH.
pub fn ptrace_attach(pid: i32) -> io::Result<()> {
    let null = std::ptr::null_mut::<c_void>();
    // SAFETY: attach takes no pointers.
    check(unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, null, null) }).map(|_| ())
}

/// Blocks `signals`, so that [`next_signal`] sees them.
pub fn block(signals: &[i32]) {
    // SAFETY: set is local.
    unsafe {
        let set = set_of(signals);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Waits for one of `signals`.
pub fn next_signal(signals: &[i32]) -> i32 {
    let mut got = 0;
    // SAFETY: both are local.
    unsafe {
        let set = set_of(signals);
        libc::sigwait(&set, &mut got);
    }
    got
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // As the kernel has it: musl's sigaddset refuses 34, everybody else's SIGRTMIN.
    let bits = signals.iter().fold(0u64, |bits, signal| bits | 1 << (signal - 1));
    // SAFETY: zeroed is the empty set, and the first 64 bits are the kernel's.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        std::ptr::copy_nonoverlapping((&raw const bits).cast::<u8>(), (&raw mut set).cast::<u8>(), size_of::<u64>());
        set
    }
}

/// unshare(2) for this thread.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::unshare(flags) }).map(|_| ())
}

/// Soft and hard limit.
pub fn rlimit(resource: u32) -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one struct.
    unsafe { libc::getrlimit(resource as _, &mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

/// Policy, nice, priority, flags, runtime, deadline and period of this process.
pub fn sched_attr() -> [u64; 7] {
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let mut a = Attr::default();
    // SAFETY: the kernel writes at most the size given.
    unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &mut a, size_of::<Attr>(), 0) };
    [u64::from(a.policy), a.nice as i64 as u64, u64::from(a.priority), a.flags, a.runtime, a.deadline, a.period]
}

/// ioprio_get(2) of this process.
pub fn io_priority() -> i64 {
    // SAFETY: no pointers.
    unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) }
}

/// personality(2).
pub fn personality() -> i32 {
    // SAFETY: this value only asks.
    unsafe { libc::personality(0xffff_ffff) }
}

/// The umask.
pub fn umask() -> u32 {
    // SAFETY: no pointers; the process has one thread.
    unsafe {
        let mask = libc::umask(0);
        libc::umask(mask);
        mask
    }
}

/// The memory policy: mode and first 64 nodes.
pub fn mempolicy() -> (i32, u64) {
    let (mut mode, mut nodes) = (0i32, [0u64; 16]);
    let null = std::ptr::null_mut::<c_void>();
    // SAFETY: the mask has room for the 1024 bits announced.
    unsafe { libc::syscall(libc::SYS_get_mempolicy, &mut mode, nodes.as_mut_ptr(), 1024, null, 0) };
    (mode, nodes[0])
}

/// The description of the session keyring.
pub fn session_keyring() -> io::Result<String> {
    const KEYCTL_DESCRIBE: i32 = 6;
    about_session_keyring(KEYCTL_DESCRIBE)
}

/// The SELinux label of the session keyring.
pub fn session_keyring_label() -> io::Result<String> {
    const KEYCTL_GET_SECURITY: i32 = 17;
    about_session_keyring(KEYCTL_GET_SECURITY)
}

fn about_session_keyring(what: i32) -> io::Result<String> {
    const SESSION: i32 = -3;
    let mut text = [0u8; 256];
    // SAFETY: the buffer and its length match.
    let n = check(unsafe { libc::syscall(libc::SYS_keyctl, what, SESSION, text.as_mut_ptr(), text.len()) })?;
    Ok(String::from_utf8_lossy(&text[..(n as usize).clamp(1, text.len()) - 1]).into_owned())
}

/// Seconds of a clock.
pub fn clock(id: i32) -> i64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one struct.
    unsafe { libc::clock_gettime(id, &mut t) };
    t.tv_sec
}

/// Ends with a signal, whatever its disposition was.
pub fn die_of(signal: i32) -> ! {
    // SAFETY: no pointers.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::process::exit(99)
}

// ---- files

/// mknod(2) with the type in `mode`.
pub fn mknod(path: impl AsRef<Path>, mode: u32, major: u32, minor: u32) -> io::Result<()> {
    let path = c(path);
    // SAFETY: a NUL-terminated path.
    check(unsafe { libc::mknod(path.as_ptr(), mode, libc::makedev(major, minor)) }).map(|_| ())
}

/// Gives a file capabilities, as setcap(8) does (`struct vfs_cap_data`, revision 2).
pub fn set_file_caps(path: impl AsRef<Path>, permitted: u64, inheritable: u64, effective: bool) -> io::Result<()> {
    const REVISION_2: u32 = 0x0200_0000;
    let half = |set: u64, n: u32| (set >> (32 * n)) as u32;
    let (p, i) = (permitted, inheritable);
    let words = [REVISION_2 | u32::from(effective), half(p, 0), half(i, 0), half(p, 1), half(i, 1)];
    let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let path = c(path);
    let name = c"security.capability".as_ptr();
    // SAFETY: two C strings, pointer and length of one buffer.
    check(unsafe { libc::setxattr(path.as_ptr(), name, data.as_ptr().cast(), data.len(), 0) }).map(|_| ())
}

/// The SELinux label of a file.
pub fn label(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = [0u8; 256];
    let (path, name) = (c(path), c"security.selinux".as_ptr());
    // SAFETY: two C strings, pointer and length of one buffer.
    let n = check(unsafe { libc::getxattr(path.as_ptr(), name, text.as_mut_ptr().cast(), text.len()) } as i64)?;
    Ok(String::from_utf8_lossy(&text[..n as usize]).trim_end_matches('\0').to_owned())
}

/// Gives a file an SELinux label.
pub fn set_label(path: impl AsRef<Path>, label: &str) -> io::Result<()> {
    let (path, name) = (c(path), c"security.selinux".as_ptr());
    // SAFETY: two C strings, pointer and length of one buffer.
    check(unsafe { libc::setxattr(path.as_ptr(), name, label.as_ptr().cast(), label.len(), 0) }).map(|_| ())
}

/// chown(2).
pub fn chown(path: impl AsRef<Path>, uid: u32, gid: u32) {
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("chown");
}

/// renameat2(2) with `RENAME_EXCHANGE`: both names swap what they name, atomically.
pub fn exchange(a: impl AsRef<Path>, b: impl AsRef<Path>) -> io::Result<()> {
    let (a, b) = (c(a), c(b));
    let here = libc::AT_FDCWD;
    // SAFETY: two NUL-terminated paths.
    check(unsafe { libc::syscall(libc::SYS_renameat2, here, a.as_ptr(), here, b.as_ptr(), libc::RENAME_EXCHANGE) })
        .map(|_| ())
}

/// mount(2).
pub fn mount(source: &str, target: impl AsRef<Path>, kind: &str, flags: u64, data: &str) -> io::Result<()> {
    let (source, target, kind, data) = (c(source), c(target), c(kind), c(data));
    let data = data.as_ptr().cast();
    // SAFETY: NUL-terminated strings.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data) }).map(|_| ())
}

/// umount2(2), detaching.
pub fn umount(target: impl AsRef<Path>) -> io::Result<()> {
    let target = c(target);
    // SAFETY: a NUL-terminated path.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(|_| ())
}

/// The magic number of the file system a path is on.
pub fn fs_magic(path: impl AsRef<Path>) -> i64 {
    let path = c(path);
    // SAFETY: zeroed is a valid statfs, and the kernel fills it.
    unsafe {
        let mut s: libc::statfs = std::mem::zeroed();
        libc::statfs(path.as_ptr(), &mut s);
        s.f_type as _
    }
}

// ---- terminals

/// A new pty: master and slave.
pub fn open_pty() -> (File, File) {
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: two ints to write to; no name, settings or size given.
    let rc = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) };
    check(rc).expect("openpty");
    for fd in [master, slave] {
        // SAFETY: our own new descriptors: not for the children of parallel tests.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: both were just opened and belong to nobody else.
    unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) }
}

/// Rows and columns.
pub fn tty_size(tty: &impl AsFd) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: writes one struct.
    check(unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

/// Sets rows and columns.
pub fn set_tty_size(tty: &impl AsFd, rows: u16, columns: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: reads one struct.
    check(unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &size) }).expect("TIOCSWINSZ");
}

/// The settings of a terminal: input, output, control and local flags.
pub fn termios(tty: &impl AsFd) -> io::Result<[u32; 4]> {
    // SAFETY: zeroed is a valid termios, and tcgetattr fills it.
    unsafe {
        let mut t: libc::termios = std::mem::zeroed();
        check(libc::tcgetattr(tty.as_fd().as_raw_fd(), &mut t))?;
        Ok([t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag])
    }
}

/// Waits until `fd` can be read, no longer than `ms`.
pub fn readable(fd: &impl AsFd, ms: i32) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one struct.
    unsafe { libc::poll(&mut poll, 1, ms) > 0 }
}

/// One recvmsg(2): the bytes and the descriptors that came with them.
pub fn recv_fds(socket: &impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0u8; 4096];
    let mut control = [0u64; 64];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: zeroed is a valid msghdr; its pointers are set to buffers that outlive the call.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: as above.
    let n = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
    bytes.truncate(check(n as i64)? as usize);
    Ok((bytes, fds_of(&message)))
}

/// listen(2) again: how many connections may wait to be accepted, besides one.
pub fn set_backlog(listener: &impl AsFd, backlog: i32) {
    // SAFETY: no pointers.
    check(unsafe { libc::listen(listener.as_fd().as_raw_fd(), backlog) }).expect("listen");
}

#[allow(clippy::unnecessary_cast)] // C libraries differ in their types
fn fds_of(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the CMSG macros walk the control buffer that recvmsg filled; each
    // descriptor in it is new and ours.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(message);
        while let Some(h) = head.as_ref() {
            if h.cmsg_level == libc::SOL_SOCKET && h.cmsg_type == libc::SCM_RIGHTS {
                let count = (h.cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                let data = libc::CMSG_DATA(h).cast::<RawFd>();
                fds.extend((0..count).map(|i| OwnedFd::from_raw_fd(data.add(i).read_unaligned())));
            }
            head = libc::CMSG_NXTHDR(message, head);
        }
    }
    fds
}

/// A pipe: the end to read, the end to write. Both close-on-exec.
pub fn pipe() -> (File, File) {
    let mut ends = [-1; 2];
    // SAFETY: writes two ints, which become ours.
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC)).expect("pipe");
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

/// Has anything been mounted or unmounted since this was last asked of an open `mountinfo`?
pub fn mounts_changed(mountinfo: &std::fs::File) -> bool {
    let mut poll = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(mountinfo), events: libc::POLLPRI, revents: 0 };
    // SAFETY: one struct.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & libc::POLLPRI != 0 }
}
