//! The one resolver for paths under a container's rootfs.
//!
//! The rootfs is hostile and a sibling may rename parts of it while we look.
//! So nothing under it is ever reached by a string: existing paths are
//! resolved by openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`, and
//! missing ones are made component by component, each from the directory fd of
//! the one before and never through a symlink that was not read and resolved
//! inside the root first (CVE-2018-15664, CVE-2021-30465, CVE-2024-45310).

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat, mknodat};

/// As many symlinks as the kernel follows in one path.
const MAX_LINKS: u32 = 40;
/// How often openat2(2) is tried again when a rename raced with it.
const MAX_RACES: u32 = 128;

/// What to make where the last component is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// A directory, mode 0755.
    Dir,
    /// An empty regular file, mode 0644; its parents are directories.
    File,
}

impl Create {
    /// What a mount of this can be attached to.
    ///
    /// # Errors
    /// The errno of fstat(2).
    pub fn like(fd: impl AsFd) -> nix::Result<Self> {
        Ok(if is_type(&fstat(fd)?, SFlag::S_IFDIR) { Self::Dir } else { Self::File })
    }
}

/// A directory that acts as `/` for everything resolved through it.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Takes a directory fd as the root.
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens what the path leads to, following symlinks inside the root, as `O_PATH` or with `flags`.
    ///
    /// # Errors
    /// The errno of openat2(2).
    pub fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        for _ in 0..MAX_RACES {
            match openat2(&self.0, Path::new(path), how) {
                // A rename or mount elsewhere raced with the walk; the kernel asks to try again.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                other => return other,
            }
        }
        Err(Errno::EAGAIN)
    }

    /// An `O_PATH` handle of what the path leads to.
    ///
    /// # Errors
    /// The errno of openat2(2).
    pub fn find(&self, path: &str) -> nix::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH)
    }

    /// An `O_PATH` handle of the path's last component itself, symlink or not.
    ///
    /// # Errors
    /// The errno of openat2(2).
    pub fn find_nofollow(&self, path: &str) -> nix::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)
    }

    /// Like [`Root::find`], but makes what is missing. Says whether the last component was made.
    ///
    /// # Errors
    /// The errno of the call that failed: `ENOTDIR` when a file is in the way,
    /// `ELOOP` for too many symlinks.
    pub fn find_or_create(&self, path: &str, create: Create) -> nix::Result<(OwnedFd, bool)> {
        match self.find(path) {
            Ok(fd) => Ok((fd, false)),
            Err(Errno::ENOENT) => Walk::new(self)?.run(path, create),
            Err(e) => Err(e),
        }
    }

    /// The directory that holds the path's last component (made if missing), and that component.
    /// The component itself is not looked at.
    ///
    /// # Errors
    /// `EINVAL` when the path has no last component, else as [`Root::find_or_create`].
    pub fn parent(&self, path: &str) -> nix::Result<(OwnedFd, CString)> {
        let (parent, name) = split(path)?;
        Ok((self.directory(parent)?, name))
    }

    fn directory(&self, path: &str) -> nix::Result<OwnedFd> {
        let (dir, _) = self.find_or_create(path, Create::Dir)?;
        reopen_dir(&dir)
    }
}

/// [`Root::parent`] for many paths, most of them in one directory: the last one is kept open.
#[derive(Debug)]
pub struct Parents<'a> {
    root: &'a Root,
    last: Option<(String, OwnedFd)>,
}

impl<'a> Parents<'a> {
    /// Below `root`.
    pub fn of(root: &'a Root) -> Self {
        Self { root, last: None }
    }

    /// The root they are all below.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// As [`Root::parent`].
    ///
    /// # Errors
    /// As [`Root::parent`].
    pub fn parent(&mut self, path: &str) -> nix::Result<(BorrowedFd<'_>, CString)> {
        let (parent, name) = split(path)?;
        let dir = match self.last.take() {
            Some((last, dir)) if last == parent => dir,
            _ => self.root.directory(parent)?,
        };
        let (_, dir) = &*self.last.insert((parent.to_owned(), dir));
        Ok((dir.as_fd(), name))
    }
}

/// A path's directory and its last component.
fn split(path: &str) -> nix::Result<(&str, CString)> {
    let path = Path::new(path);
    let name = path.file_name().ok_or(Errno::EINVAL)?;
    let parent = path.parent().and_then(Path::to_str).ok_or(Errno::EINVAL)?;
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Fails with `ENOTDIR` unless the fd is a directory; returns a duplicate that is known to be one.
fn reopen_dir(fd: impl AsFd) -> nix::Result<OwnedFd> {
    openat(fd, c".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Is this the stat of a file of type `kind` (`S_IFDIR` …)?
pub fn is_type(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

/// The target of the symlink an `O_PATH|O_NOFOLLOW` fd refers to.
///
/// # Errors
/// The errno of readlinkat(2).
pub fn read_link(fd: impl AsFd) -> nix::Result<OsString> {
    readlinkat(fd, c"")
}

/// The walk that creates. `dirs` holds an fd for each level from the root to
/// here, so `..` is a pop and can never lead out of the root, whatever is
/// renamed meanwhile.
struct Walk {
    dirs: Vec<OwnedFd>,
    todo: VecDeque<OsString>,
    links: u32,
}

impl Walk {
    fn new(root: &Root) -> nix::Result<Self> {
        Ok(Self { dirs: vec![reopen_dir(root)?], todo: VecDeque::new(), links: 0 })
    }

    fn run(mut self, path: &str, create: Create) -> nix::Result<(OwnedFd, bool)> {
        self.push_front(OsStr::new(path));
        let mut made = false;
        while let Some(name) = self.todo.pop_front() {
            if name == ".." {
                if self.dirs.len() > 1 {
                    self.dirs.pop();
                }
                continue;
            }
            let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
            let last = self.todo.is_empty();
            let want = if last { create } else { Create::Dir };
            let (fd, new) = self.enter(&name, want)?;
            let stat = fstat(&fd)?;
            if is_type(&stat, SFlag::S_IFLNK) {
                self.follow(&read_link(&fd)?)?;
                continue;
            }
            if !last && !is_type(&stat, SFlag::S_IFDIR) {
                return Err(Errno::ENOTDIR);
            }
            made = new;
            self.dirs.push(fd);
        }
        self.dirs.pop().map(|fd| (fd, made)).ok_or(Errno::EINVAL)
    }

    /// Opens (or makes, then opens) one component without following it.
    fn enter(&self, name: &CString, want: Create) -> nix::Result<(OwnedFd, bool)> {
        let dir = self.dirs.last().ok_or(Errno::EINVAL)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(dir, name.as_c_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            other => return other.map(|fd| (fd, false)),
        }
        let made = match want {
            Create::Dir => mkdirat(dir, name.as_c_str(), Mode::from_bits_truncate(0o755)),
            Create::File => mknodat(dir, name.as_c_str(), SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0),
        };
        // EEXIST: somebody was faster; what is there now is opened without following it.
        if let Err(e) = made
            && e != Errno::EEXIST
        {
            return Err(e);
        }
        openat(dir, name.as_c_str(), flags, Mode::empty()).map(|fd| (fd, made.is_ok()))
    }

    fn follow(&mut self, target: &OsStr) -> nix::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        if target.as_bytes().first() == Some(&b'/') {
            self.dirs.truncate(1);
        }
        self.push_front(target);
        Ok(())
    }

    fn push_front(&mut self, path: &OsStr) {
        let parts = path.as_bytes().split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".");
        for part in parts.rev() {
            self.todo.push_front(OsStr::from_bytes(part).to_owned());
        }
    }
}

/// Removes an empty file or a symlink below a directory fd.
///
/// # Errors
/// The errno of unlinkat(2).
pub fn unlink_at(dir: impl AsFd, name: &std::ffi::CStr) -> nix::Result<()> {
    nix::unistd::unlinkat(dir, name, nix::unistd::UnlinkatFlags::NoRemoveDir)
}

/// Stats an entry of a directory without following it.
///
/// # Errors
/// The errno of fstatat(2).
pub fn stat_at(dir: impl AsFd, name: &std::ffi::CStr) -> nix::Result<FileStat> {
    nix::sys::stat::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let fd = nix::fcntl::open(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        (dir, Root::new(fd))
    }

    #[test]
    fn creates_through_symlinks_inside_the_root() {
        let (dir, root) = root();
        symlink("/run/target", dir.path().join("link")).unwrap();
        symlink("../../../../../etc", dir.path().join("up")).unwrap();
        let (_, made) = root.find_or_create("/link", Create::File).unwrap();
        assert!(made && dir.path().join("run/target").is_file());
        root.find_or_create("/up/x/../y", Create::Dir).unwrap();
        assert!(dir.path().join("etc/x").is_dir() && dir.path().join("etc/y").is_dir());
        let (_, made) = root.find_or_create("/etc/y", Create::Dir).unwrap();
        assert!(!made);
    }

    #[test]
    fn refuses_loops_and_files_in_the_way() {
        let (dir, root) = root();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(root.find_or_create("/a/x", Create::Dir).unwrap_err(), Errno::ELOOP);
        fs::write(dir.path().join("f"), "").unwrap();
        assert_eq!(root.find_or_create("/f/x", Create::Dir).unwrap_err(), Errno::ENOTDIR);
    }

    #[test]
    fn dangling_absolute_link_stays_inside() {
        let (dir, root) = root();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("l")).unwrap();
        root.find_or_create("/l/made", Create::Dir).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn parent_of_a_path() {
        let (dir, root) = root();
        let (_, name) = root.parent("/dev/console").unwrap();
        assert_eq!(name.as_c_str(), c"console");
        assert!(dir.path().join("dev").is_dir());
        assert_eq!(root.parent("/").unwrap_err(), Errno::EINVAL);
    }
}
