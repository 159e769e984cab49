//! A container's state directory, open and perhaps locked.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::state::{STATE_VERSION, State, Status};
use super::{Runtime, check_id};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, Step};
use crate::seccomp::Filter;
use crate::sys;
use crate::sys::fd::Share;

const STATE: &std::ffi::CStr = c"state.json";
const STATE_NEW: &std::ffi::CStr = c"state.json.new";
/// The instructions of the filter, as the kernel takes them.
const FILTER: &std::ffi::CStr = c"seccomp.bpf";
/// The file that init keeps locked until its execve.
pub const CREATED: &std::ffi::CStr = c"created";
/// The socket on which init waits for `start`.
pub const START_SOCKET: &str = "start.sock";
/// How long a verb waits for another one that is changing the container.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open state directory.
#[derive(Debug)]
pub struct Handle {
    dir: OwnedFd,
    path: PathBuf,
}

/// A lock on a state directory, held by a verb that changes the container.
#[derive(Debug)]
#[must_use]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] OwnedFd);

/// The text engines know for an id that is taken.
pub fn already_exists(id: &str) -> Error {
    Error::new("container with given ID already exists").message(format!("{id:?}"))
}

fn does_not_exist(id: &str) -> Error {
    Error::new("container does not exist").message(format!("{id:?}"))
}

impl Handle {
    /// Makes the state directory of a new container, and the root if need be.
    ///
    /// # Errors
    /// `container with given ID already exists`.
    pub fn make(rt: &Runtime, id: &str) -> Result<(Self, Lock)> {
        let path = rt.dir(id);
        let mode = Mode::from_bits_truncate(0o711);
        let step = "cannot make the state directory";
        match mkdirat(AT_FDCWD, &path, mode) {
            Err(Errno::ENOENT) => {
                make_root(&rt.root)?;
                mkdirat(AT_FDCWD, &path, mode)
            }
            other => other,
        }
        .map_err(|e| match e {
            Errno::EEXIST => already_exists(id),
            e => Error::sys(step, e).path(&path),
        })?;
        let opened = open_dir(&path).step_at(step, &path);
        let locked = opened.map(|dir| Self { dir, path: path.clone() }).and_then(|h| h.lock().map(|lock| (h, lock)));
        locked.inspect_err(|_| {
            // Only as long as it is empty: it is ours alone.
            let _ = unlinkat(AT_FDCWD, &path, UnlinkatFlags::RemoveDir);
        })
    }

    /// Opens the state directory of a container.
    ///
    /// # Errors
    /// `container does not exist`.
    pub fn open(rt: &Runtime, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = rt.dir(id);
        match open_dir(&path) {
            Ok(dir) => Ok(Self { dir, path }),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Err(does_not_exist(id)),
            Err(e) => Err(Error::sys("cannot open the state directory", e).path(path)),
        }
    }

    /// Opens a container, its state read.
    ///
    /// # Errors
    /// `container does not exist`, also while there is no state yet.
    pub fn open_with_state(rt: &Runtime, id: &str) -> Result<(Self, State)> {
        let handle = Self::open(rt, id)?;
        let state = handle.state()?.ok_or_else(|| does_not_exist(id))?;
        Ok((handle, state))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for other verbs to be done with this container.
    ///
    /// # Errors
    /// When another verb holds the lock for too long, or the container was
    /// deleted meanwhile.
    pub fn lock(&self) -> Result<Lock> {
        let step = "cannot lock the container";
        let deadline = Instant::now() + PATIENCE;
        let fd = openat(&self.dir, c".", DIRECTORY, Mode::empty()).step_at(step, &self.path)?;
        while !sys::fd::try_lock(&fd, Share::Exclusive).step_at(step, &self.path)? {
            if Instant::now() > deadline {
                return Err(Error::new(step).path(&self.path).message("another command is changing it"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.is_gone() { Err(Error::new("container does not exist")) } else { Ok(Lock(fd)) }
    }

    /// Was the directory removed since it was opened?
    pub fn is_gone(&self) -> bool {
        fstat(&self.dir).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Reads `state.json`; `None` when there is none.
    ///
    /// # Errors
    /// For a file that is not ours.
    pub fn state(&self) -> Result<Option<State>> {
        let step = "cannot read the container's state";
        let bytes = match sys::fd::read_at(&self.dir, STATE) {
            Ok(bytes) => bytes,
            Err(Errno::ENOENT) => return Ok(None),
            Err(e) => return Err(Error::sys(step, e).path(self.path.join("state.json"))),
        };
        let bad = |text: String| Error::new(step).path(self.path.join("state.json")).message(text);
        let state: State = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if state.orlop.version != STATE_VERSION {
            return Err(bad(format!("unknown version {}", state.orlop.version)));
        }
        Ok(Some(state))
    }

    /// Writes `state.json` whole: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// The errno of the write or the rename.
    pub fn write_state(&self, state: &State) -> Result<()> {
        let step = "cannot write the container's state";
        let bytes = serde_json::to_vec(state).map_err(|e| Error::new(step).message(e.to_string()))?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let write = || -> nix::Result<()> {
            let fd = openat(&self.dir, STATE_NEW, flags, Mode::from_bits_truncate(0o600))?;
            sys::fd::write_all(&fd, &bytes)?;
            renameat(&self.dir, STATE_NEW, &self.dir, STATE)
        };
        write().step_at(step, &self.path)
    }

    /// Writes down the filter's program, for exec.
    ///
    /// # Errors
    /// The errno of openat(2) or write(2).
    pub fn write_filter(&self, filter: &Filter) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let fd = openat(&self.dir, FILTER, flags, Mode::from_bits_truncate(0o600));
        fd.and_then(|fd| sys::fd::write_all(&fd, &filter.to_bytes()))
            .step_at("cannot write the container's seccomp filter", &self.path)
    }

    /// The container's filter; `None` if its config has none.
    ///
    /// # Errors
    /// When there is one and it cannot be read: nothing runs without it.
    pub fn filter(&self, state: &State) -> Result<Option<Filter>> {
        let Some(setup) = state.orlop.seccomp.clone() else { return Ok(None) };
        let step = "cannot read the container's seccomp filter";
        let bytes = sys::fd::read_at(&self.dir, FILTER).step_at(step, &self.path)?;
        match Filter::program_from(&bytes) {
            Some(program) => Ok(Some(Filter { program, setup })),
            None => Err(Error::new(step).path(&self.path).message("not a filter")),
        }
    }

    /// Makes the file whose lock says "created", locked; init inherits it.
    ///
    /// # Errors
    /// The errno of openat(2) or flock(2).
    pub fn lock_created(&self) -> Result<OwnedFd> {
        let step = "cannot make the created mark";
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        let fd = openat(&self.dir, CREATED, flags, Mode::from_bits_truncate(0o600)).step_at(step, &self.path)?;
        match sys::fd::try_lock(&fd, Share::Exclusive).step_at(step, &self.path)? {
            true => Ok(fd),
            false => Err(Error::new(step).path(&self.path).message("somebody else holds it")),
        }
    }

    /// Is init still before its execve?
    fn is_created(&self) -> Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        match openat(&self.dir, CREATED, flags, Mode::empty()) {
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(Error::sys("cannot read the created mark", e).path(&self.path)),
            Ok(fd) => {
                let free = sys::fd::try_lock(&fd, Share::Shared).step_at("cannot read the created mark", &self.path)?;
                Ok(!free)
            }
        }
    }

    /// The container's status now, and a pidfd of init if it is alive.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn status(&self, state: &State) -> Result<(Status, Option<OwnedFd>)> {
        let Some(pidfd) = state.init()? else {
            let creating = state.init_process_pid == 0 && self.is_busy()?;
            return Ok((if creating { Status::Creating } else { Status::Stopped }, None));
        };
        let frozen = match open_cgroup(state)? {
            Some(cgroup) => cgroup.is_frozen()?,
            None => false,
        };
        let status = match frozen {
            true => Status::Paused,
            false if self.is_created()? => Status::Created,
            false => Status::Running,
        };
        Ok((status, Some(pidfd)))
    }

    /// Is some verb holding the lock?
    fn is_busy(&self) -> Result<bool> {
        let step = "cannot look at the container's lock";
        let fd = openat(&self.dir, c".", DIRECTORY, Mode::empty()).step_at(step, &self.path)?;
        Ok(!sys::fd::try_lock(&fd, Share::Shared).step_at(step, &self.path)?)
    }

    /// `start` has done its work: what it needed goes.
    ///
    /// # Errors
    /// The errno of unlinkat(2).
    pub fn forget_created(&self) -> Result<()> {
        for name in [CREATED.to_str().unwrap_or_default(), START_SOCKET] {
            remove(&self.dir, name, UnlinkatFlags::NoRemoveDir).step_at("cannot remove", self.path.join(name))?;
        }
        Ok(())
    }

    /// Removes the whole state directory; the state itself goes last, so that
    /// a removal that is interrupted can be taken up again.
    ///
    /// # Errors
    /// The errno of unlinkat(2).
    pub fn remove(&self) -> Result<()> {
        let step = "cannot remove the state directory";
        let notify = |flag| move || remove(&self.dir, "notify", flag);
        let inner = remove(&self.dir, "notify/notify.sock", UnlinkatFlags::NoRemoveDir);
        inner.and_then(|()| notify(UnlinkatFlags::RemoveDir)()).step_at(step, &self.path)?;
        self.forget_created()?;
        for name in [FILTER, STATE_NEW, STATE] {
            let name = name.to_str().unwrap_or_default();
            remove(&self.dir, name, UnlinkatFlags::NoRemoveDir).step_at(step, self.path.join(name))?;
        }
        match unlinkat(AT_FDCWD, &self.path, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(Error::sys(step, e).path(&self.path)),
        }
    }
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

fn open_dir(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Removes a name that may not be there.
fn remove(dir: impl AsFd, name: &str, flag: UnlinkatFlags) -> nix::Result<()> {
    match unlinkat(dir, name, flag) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// The state root: for its owner only. Under `XDG_RUNTIME_DIR` the sticky bit
/// keeps systemd-tmpfiles from cleaning it (XDG base directory specification).
fn make_root(root: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let step = "cannot make the state root";
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root).step_at(step, root)?;
    let in_session = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| !dir.is_empty() && root.starts_with(dir));
    if in_session {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1700);
        std::fs::set_permissions(root, mode).step_at(step, root)?;
    }
    Ok(())
}

/// The container's cgroup, if it has one and it is still there.
///
/// # Errors
/// The errno of open(2).
pub fn open_cgroup(state: &State) -> Result<Option<Cgroup>> {
    let Some(target) = &state.orlop.cgroup else { return Ok(None) };
    match Cgroup::open_target(target) {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(e) if matches!(e.raw_errno(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
        Err(e) => Err(e),
    }
}
