//! `tmpcopyup`: what a tmpfs would hide is copied into it first.
//!
//! The source is in the hostile rootfs: every entry is opened from its
//! directory's fd without following symlinks. The copy goes into a tmpfs that
//! is not attached yet, which nobody else can reach.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};

use crate::error::{Error, Result, Step};
use crate::sys::path::{is_type, stat_at};
use crate::sys::xattr;

/// Deeper trees than any real one; keeps a hostile one from exhausting our stack.
const MAX_DEPTH: usize = 256;

/// What the tmpfs's own options say of its root directory, which the one that it
/// hides has no say in then.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    /// `mode=`.
    pub mode: bool,
    /// `uid=`.
    pub uid: bool,
    /// `gid=`.
    pub gid: bool,
}

/// Copies everything in `from` into `to`: owners, modes, times, extended
/// attributes, symlinks, hard links and special files.
///
/// # Errors
/// Names the entry.
pub fn copy(from: &OwnedFd, to: &OwnedFd, said: Said) -> Result<()> {
    // Both are O_PATH handles, through which nothing can be read or changed.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let reopen = |fd: &OwnedFd| openat(fd, c".", flags, Mode::empty()).step("cannot open");
    let (from, to) = (&reopen(from)?, &reopen(to)?);
    let own = fstat(to).step("cannot stat the tmpfs")?;
    let mut copier = Copier { top: to, links: HashMap::new() };
    copier.directory(from, to, b"", 0)?;
    dress(from, to)?;
    let (uid, gid) = (said.uid.then(|| Uid::from_raw(own.st_uid)), said.gid.then(|| Gid::from_raw(own.st_gid)));
    nix::unistd::fchown(to, uid, gid).step("cannot set the owner of the tmpfs")?;
    if said.mode {
        let mode = Mode::from_bits_truncate(own.st_mode & 0o7777);
        nix::sys::stat::fchmod(to, mode).step("cannot set the mode of the tmpfs")?;
    }
    Ok(())
}

struct Copier<'a> {
    top: &'a OwnedFd,
    /// Where the first of several hard links went, by device and inode.
    links: HashMap<(u64, u64), CString>,
}

impl Copier<'_> {
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        let at = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        if depth > MAX_DEPTH {
            return Err(Error::sys("too deep a tree", Errno::ELOOP).path(at(path)));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mut dir = Dir::openat(from, c".", flags, Mode::empty()).step_at("cannot read", at(path))?;
        let entries: Vec<_> = dir.iter().collect::<nix::Result<_>>().step_at("cannot read", at(path))?;
        for entry in entries {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let full = [path, b"/", name.to_bytes()].concat();
            self.entry(from, to, name, &full, depth).map_err(|e| e.path(at(&full)))?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, path: &[u8], depth: usize) -> Result<()> {
        let step = "cannot copy";
        let stat = stat_at(from, name).step(step)?;
        if self.is_known_link(&stat, to, name, path)? {
            return Ok(());
        }
        if is_type(&stat, SFlag::S_IFDIR) {
            mkdirat(to, name, Mode::from_bits_truncate(0o700)).step(step)?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let inner_from = openat(from, name, flags, Mode::empty()).step(step)?;
            let inner_to = openat(to, name, flags, Mode::empty()).step(step)?;
            self.directory(&inner_from, &inner_to, path, depth + 1)?;
            return dress(&inner_from, &inner_to);
        }
        if is_type(&stat, SFlag::S_IFREG) {
            return copy_file(from, to, name);
        }
        if is_type(&stat, SFlag::S_IFLNK) {
            let target = readlinkat(from, name).step(step)?;
            symlinkat(target.as_os_str(), to, name).step(step)?;
        } else {
            let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
            mknodat(to, name, kind, Mode::from_bits_truncate(stat.st_mode & 0o7777), stat.st_rdev).step(step)?;
        }
        own(to, name, &stat).step(step)
    }

    fn is_known_link(&mut self, stat: &FileStat, to: &OwnedFd, name: &CStr, path: &[u8]) -> Result<bool> {
        if stat.st_nlink < 2 || is_type(stat, SFlag::S_IFDIR) {
            return Ok(false);
        }
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let here = CString::new(relative).map_err(|_| Error::new("NUL byte in a name"))?;
        match self.links.entry((stat.st_dev, stat.st_ino)) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(here);
                Ok(false)
            }
            std::collections::hash_map::Entry::Occupied(first) => {
                linkat(self.top, first.get().as_c_str(), to, name, AtFlags::empty()).step("cannot link").map(|()| true)
            }
        }
    }
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    let step = "cannot copy";
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let source = openat(from, name, flags, Mode::empty()).step(step)?;
    // It may have been swapped for something else since it was looked at.
    if !is_type(&fstat(&source).step(step)?, SFlag::S_IFREG) {
        return Err(Error::sys(step, Errno::ESTALE));
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let target = openat(to, name, flags, Mode::from_bits_truncate(0o600)).step(step)?;
    let (mut reader, mut writer) = (std::fs::File::from(source), std::fs::File::from(target));
    std::io::copy(&mut reader, &mut writer).step(step)?;
    dress(&reader.into(), &writer.into())
}

fn own(dir: impl AsFd, name: &CStr, stat: &FileStat) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Gives a copy its original's owner, mode, extended attributes and times.
fn dress(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let step = "cannot copy attributes";
    let stat = fstat(from).step(step)?;
    nix::unistd::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))).step(step)?;
    nix::sys::stat::fchmod(to, Mode::from_bits_truncate(stat.st_mode & 0o7777)).step(step)?;
    for name in xattr::list(from).step(step)? {
        // Where the policy does not let us relabel, the tmpfs's own label stays.
        let is_label = name.as_c_str() == c"security.selinux";
        match xattr::get(from, &name).and_then(|value| xattr::set(to, &name, &value)) {
            Err(Errno::EACCES) if is_label => {}
            // Attributes that a tmpfs has no room for (SELinux disabled, user.* before Linux 6.6).
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENODATA | Errno::EPERM) => {}
            Err(e) => return Err(Error::sys(step, e)),
        }
    }
    let time = |secs, nanos| TimeSpec::new(secs, nanos);
    let (access, modify) = (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
    nix::sys::stat::futimens(to, &access, &modify).step(step)
}
