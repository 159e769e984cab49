//! The user's program: its directory, its lookup, and the execve.

use std::ffi::{CStr, CString};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::sync::Message;
use super::{Common, credentials, seccomp};
use crate::error::{Error, Result, Step};
use crate::spec::plan::Process;
use crate::sys;
use crate::sys::path::{Create, Root, is_type};
use crate::sys::procfs::Procfs;
use crate::sys::{ids, process as kernel};

/// What execvp(3) searches without a `PATH`.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
const CAP_DAC_OVERRIDE: u64 = 1 << 1;
/// More than any `/etc/passwd` has: a sparse file costs its maker nothing, and
/// a line of it would be read into memory whole.
const MAX_PASSWD: u64 = 1 << 20;

/// A program that was found.
#[derive(Debug)]
pub struct Program {
    path: CString,
    /// Its environment, `HOME` filled in.
    pub env: Vec<CString>,
    /// The working directory could not be entered as root: to be tried as the user.
    enter_as_user: bool,
}

/// The value for `HOME`: `None` when the environment has one, else from the
/// container's `/etc/passwd`, else `/`.
///
/// # Errors
/// The errno of reading the file, if it is one.
pub fn home(process: &Process, root: &Root, proc: &Procfs) -> Result<Option<CString>> {
    if process.env.iter().any(|e| e.to_bytes().strip_prefix(b"HOME=").is_some_and(|v| !v.is_empty())) {
        return Ok(None);
    }
    let from_passwd = read_home(process.uid, root, proc).unwrap_or_default();
    let home = from_passwd.filter(|h| !h.is_empty()).unwrap_or_else(|| b"/".to_vec());
    CString::new([b"HOME=", home.as_slice()].concat()).map(Some).map_err(|_| Error::new("NUL byte in a home directory"))
}

/// The sixth field of the user's line, found by uid: names are never looked up (CVE-2016-3697).
fn read_home(uid: u32, root: &Root, proc: &Procfs) -> nix::Result<Option<Vec<u8>>> {
    let node = root.find("/etc/passwd")?;
    // A fifo or device in its place would block or worse when opened, and so
    // would what only calls itself a regular file: /proc/kmsg, of which every
    // byte read is taken from the host's log.
    if !is_type(&fstat(&node)?, SFlag::S_IFREG) || fstatfs(&node)?.filesystem_type() == PROC_SUPER_MAGIC {
        return Ok(None);
    }
    let number = CString::new(node.as_raw_fd().to_string()).map_err(|_| Errno::EINVAL)?;
    let file = std::fs::File::from(proc.magic_link(c"self/fd", &number, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
    for line in BufReader::new(file.take(MAX_PASSWD)).split(b'\n') {
        let line = line.map_err(|_| Errno::EIO)?;
        let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
        if let [_, _, id, _, _, home, ..] = fields.as_slice()
            && std::str::from_utf8(id).ok().and_then(|id| id.parse::<u32>().ok()) == Some(uid)
        {
            return Ok(Some(home.to_vec()));
        }
    }
    Ok(None)
}

impl Program {
    /// Enters the working directory and finds the program as its user would, so
    /// that `create` fails and not `start`.
    ///
    /// # Errors
    /// The texts of engine-contract §1.10.
    pub fn find(process: &Process, common: &Common, home: Option<CString>) -> Result<Self> {
        let enter_as_user = !enter_cwd(process)?;
        if process.args.is_empty() {
            // A config without `process` can be created, but never started.
            return Ok(Self { path: CString::default(), env: Vec::new(), enter_as_user });
        }
        let mut env = process.env.clone();
        if let Some(home) = home {
            env.retain(|e| !e.to_bytes().starts_with(b"HOME="));
            env.push(home);
        }
        if common.listen_fds > 0 {
            set_listen_fds(&mut env, common.listen_fds);
        }
        let as_user = process.uid != 0 && process.capabilities.is_none_or(|c| c.effective & CAP_DAC_OVERRIDE == 0);
        if as_user {
            put_on(process)?;
        }
        let path = look_up(process, &env);
        if as_user {
            take_off()?;
        }
        Ok(Self { path: path?, env, enter_as_user })
    }

    /// Becomes the user, in the working directory.
    ///
    /// # Errors
    /// Names the step.
    pub fn become_user(&self, process: &Process, common: &Common) -> Result<()> {
        late_attributes(common)?;
        credentials::become_user(process, seccomp::needed_right(common.filter.as_ref(), process))?;
        // A change of ids sets it to fs.suid_dumpable, which may be 1.
        ids::set_dumpable(false).step("cannot protect the process")?;
        kernel::umask(process.umask);
        if self.enter_as_user {
            nix::unistd::chdir(process.cwd.as_str()).map_err(|e| cwd_error(process, e))?;
        }
        check_cwd(process)
    }

    /// Executes the program.
    ///
    /// # Errors
    /// Returns only to say why it failed.
    pub fn execute(&self, process: &Process, common: &Common, keep: &[RawFd]) -> Result<()> {
        sys::fd::close_except(3, &[keep, &common.inherit].concat())
            .step("cannot close what the program must not have")?;
        for fd in common.inherit.iter().filter_map(|fd| sys::fd::inherited(*fd)) {
            sys::fd::set_cloexec(fd, false).step("cannot hand over an fd")?;
        }
        // The end of the channel alone could be init's death as well.
        common.channel.send(&Message::Executing)?;
        // Under the filter no memory can be had, so this comes first.
        let program = kernel::Exec::new(&self.path, &process.args, &self.env);
        if let Some(filter) = &common.filter {
            seccomp::load(filter, process, common)?;
        }
        let errno = program.go();
        let error = exec_error(&self.path, errno);
        Err(match (&process.selinux_label, errno) {
            // The file may be executed, which was looked at, but perhaps not by what we are to become.
            (Some(label), Errno::EACCES | Errno::EPERM) => {
                error.hint(format!("the selinux policy may not allow process.selinuxLabel {label:?} here"))
            }
            _ => error,
        })
    }
}

/// Attributes that would be in the way of our own work before.
fn late_attributes(common: &Common) -> Result<()> {
    if let Some(policy) = &common.memory_policy {
        sys::sched::set_memory_policy(policy.mode, &policy.nodes)
            .step("cannot set the memory policy")
            .map_err(|e| e.in_field("linux.memoryPolicy"))?;
    }
    match common.personality {
        Some(domain) => sys::sched::set_personality(domain)
            .step("cannot set the personality")
            .map_err(|e| e.in_field("linux.personality")),
        None => Ok(()),
    }
}

fn set_listen_fds(env: &mut Vec<CString>, count: u32) {
    env.retain(|e| !e.to_bytes().starts_with(b"LISTEN_FDS=") && !e.to_bytes().starts_with(b"LISTEN_PID="));
    let pid = nix::unistd::getpid();
    // Numbers hold no NUL byte.
    env.extend(
        [format!("LISTEN_FDS={count}"), format!("LISTEN_PID={pid}")].into_iter().filter_map(|e| CString::new(e).ok()),
    );
}

/// Changes to the working directory, making it if missing. False: not permitted
/// to root, which a user may still be (a FUSE or NFS mount).
fn enter_cwd(process: &Process) -> Result<bool> {
    let entered = match nix::unistd::chdir(process.cwd.as_str()) {
        Err(Errno::ENOENT) => {
            let root = super::rootfs::current()?;
            root.find_or_create(&process.cwd, Create::Dir).map_err(|e| cwd_error(process, e))?;
            drop(root);
            nix::unistd::chdir(process.cwd.as_str())
        }
        other => other,
    };
    match entered {
        Ok(()) => check_cwd(process).map(|()| true),
        Err(Errno::EACCES | Errno::EPERM) if process.uid != 0 => Ok(false),
        Err(e) => Err(cwd_error(process, e)),
    }
}

fn cwd_error(process: &Process, errno: Errno) -> Error {
    Error::sys("cannot change to the working directory", errno).in_field("process.cwd").path(&process.cwd)
}

/// The working directory must be inside of the root (CVE-2024-21626).
fn check_cwd(process: &Process) -> Result<()> {
    match kernel::kernel_cwd() {
        Ok(path) if path.first() == Some(&b'/') => Ok(()),
        Ok(_) => Err(Error::new("the working directory is outside of the container")
            .in_field("process.cwd")
            .path(&process.cwd)),
        Err(e) => Err(cwd_error(process, e)),
    }
}

/// Looks at files as the container's user does, for the time of the lookup.
fn put_on(process: &Process) -> Result<()> {
    let step = "cannot look the program up as its user";
    ids::set_gids(None, Some(process.gid), None).step(step)?;
    ids::set_uids(None, Some(process.uid), None).step(step)
}

fn take_off() -> Result<()> {
    let step = "cannot come back from the user's identity";
    // The saved ids are those of before, root's.
    let (uid, gid) = ids::saved().step(step)?;
    ids::set_uids(None, Some(uid), None).step(step)?;
    ids::set_gids(None, Some(gid), None).step(step)?;
    credentials::hide().step(step)
}

fn look_up(process: &Process, env: &[CString]) -> Result<CString> {
    let name = process.args.first().map_or(c"", |n| n.as_c_str());
    if name.to_bytes().contains(&b'/') {
        return executable(name).map(|()| name.to_owned()).map_err(|e| exec_error(name, e));
    }
    let path = env.iter().find_map(|e| e.to_bytes().strip_prefix(b"PATH="));
    let mut denied = None;
    for dir in path.unwrap_or(DEFAULT_PATH).split(|b| *b == b':') {
        let dir: &[u8] = if dir.is_empty() { b"." } else { dir };
        let Ok(candidate) = CString::new([dir, b"/", name.to_bytes()].concat()) else { continue };
        match executable(&candidate) {
            Ok(()) if !name.is_empty() => return Ok(candidate),
            Err(Errno::EACCES) => denied = Some(candidate),
            _ => {}
        }
    }
    match denied {
        Some(path) => Err(exec_error(&path, Errno::EACCES)),
        None => Err(Error::new(format!("exec: {:?}: executable file not found in $PATH", name.to_string_lossy()))
            .in_field("process.args[0]")),
    }
}

fn executable(path: &CStr) -> nix::Result<()> {
    let stat = nix::sys::stat::stat(path)?;
    if is_type(&stat, SFlag::S_IFDIR) {
        return Err(Errno::EISDIR);
    }
    kernel::may_execute(path)
}

fn exec_error(path: &CStr, errno: Errno) -> Error {
    let path = path.to_string_lossy();
    match errno {
        Errno::ENOENT => Error::sys(format!("exec: {path:?}: stat {path}"), errno),
        _ => Error::sys(format!("exec: {path:?}"), errno),
    }
}
