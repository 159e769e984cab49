//! Files and directories of cgroupfs, relative to a directory held open.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Opens a directory; good for `*at` calls, `CLONE_INTO_CGROUP` and bpf(2).
pub(super) fn open_dir(at: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    openat(at, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn open_file(at: BorrowedFd<'_>, name: &Path, access: OFlag) -> nix::Result<OwnedFd> {
    openat(at, name, access | OFlag::O_CLOEXEC, Mode::empty())
}

/// The text of a file, without the newline at its end.
pub(super) fn read(at: BorrowedFd<'_>, name: impl AsRef<Path>) -> nix::Result<String> {
    let file = open_file(at, name.as_ref(), OFlag::O_RDONLY)?;
    let mut text = Vec::new();
    let mut page = [0; 4096];
    loop {
        match nix::unistd::read(&file, &mut page) {
            Ok(n) => {
                text.extend_from_slice(&page[..n]);
                // The kernel hands out as many lines as fit: much room left means there are no more.
                if n < page.len() / 2 {
                    break;
                }
            }
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    text.truncate(text.trim_ascii_end().len());
    String::from_utf8(text).map_err(|_| Errno::EILSEQ)
}

/// Writes a value in one go, as cgroupfs wants it.
pub(super) fn write(at: BorrowedFd<'_>, name: impl AsRef<Path>, value: &str) -> nix::Result<()> {
    let file = open_file(at, name.as_ref(), OFlag::O_WRONLY)?;
    loop {
        match nix::unistd::write(&file, value.as_bytes()) {
            Ok(n) if n == value.len() => return Ok(()),
            // Taking half a value is not something cgroupfs does.
            Ok(_) => return Err(Errno::EIO),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// The directory (or what was there) has gone: removed by somebody, or dying.
pub(super) fn gone(e: Errno) -> bool {
    matches!(e, Errno::ENOENT | Errno::ENODEV)
}

/// The value of a key in a file of `key value` lines (`cgroup.events`, `memory.events`).
pub(super) fn flat_value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Waits until `key` in `cgroup.events` is `want`; false when that took too
/// long. A cgroup that goes away runs nothing, which is all anybody waits for.
pub(super) fn wait_event(dir: BorrowedFd<'_>, key: &str, want: bool, deadline: Instant) -> nix::Result<bool> {
    let file = match open_file(dir, Path::new("cgroup.events"), OFlag::O_RDONLY) {
        Err(e) if gone(e) => return Ok(true),
        file => file?,
    };
    let mut page = [0; 256];
    loop {
        let n = match nix::sys::uio::pread(&file, &mut page, 0) {
            Err(e) if gone(e) => return Ok(true),
            n => n?,
        };
        let text = String::from_utf8_lossy(&page[..n]);
        if flat_value(&text, key) == Some(u64::from(want)) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Rounded up, so that the last millisecond is not spent spinning.
        let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], left) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Removes a directory that is empty of processes and sub-cgroups; one that is not there is fine.
pub(super) fn rmdir(at: BorrowedFd<'_>, path: &Path) -> nix::Result<()> {
    match unlinkat(at, path, UnlinkatFlags::RemoveDir) {
        Err(e) if gone(e) => Ok(()),
        done => done,
    }
}

/// Removes all cgroups below a directory that can be, deepest first.
pub(super) fn remove_below(dir: BorrowedFd<'_>) -> nix::Result<()> {
    walk(dir, &mut |_| Ok(()), &mut |parent, name| {
        // What stays (EBUSY) is found by the caller, who cannot remove `dir` then.
        let _ = unlinkat(parent, name, UnlinkatFlags::RemoveDir);
    })
}

/// Goes through the sub-cgroups of a directory: `enter` is called with each of
/// them (not with `dir`), `leave` with its parent and its name when its own
/// have been seen.
///
/// A container can nest cgroups thousands deep, past what a path, the stack or
/// the descriptor table holds: hence one descriptor, and `..` to come back.
pub(super) fn walk(
    dir: BorrowedFd<'_>,
    enter: &mut dyn FnMut(BorrowedFd<'_>) -> nix::Result<()>,
    leave: &mut dyn FnMut(BorrowedFd<'_>, &CStr),
) -> nix::Result<()> {
    let mut names: Vec<CString> = Vec::new();
    let mut todo = vec![children(dir)?];
    let mut here: Option<OwnedFd> = None;
    while let Some(list) = todo.last_mut() {
        let at = here.as_ref().map_or(dir, AsFd::as_fd);
        if let Some(name) = list.pop() {
            let child = match open_dir(at, as_path(&name)) {
                Err(e) if gone(e) => continue,
                child => child?,
            };
            enter(child.as_fd())?;
            todo.push(children(child.as_fd())?);
            names.push(name);
            here = Some(child);
        } else {
            todo.pop();
            let Some(name) = names.pop() else { break };
            let up = open_dir(at, Path::new(".."))?;
            leave(up.as_fd(), &name);
            here = Some(up);
        }
    }
    Ok(())
}

/// The names of the sub-cgroups of a directory.
fn children(dir: BorrowedFd<'_>) -> nix::Result<Vec<CString>> {
    // cgroupfs counts sub-directories as links: two for a directory without any.
    match nix::sys::stat::fstat(dir) {
        Ok(stat) if stat.st_nlink == 2 => return Ok(Vec::new()),
        _ => {}
    }
    let mut found = Vec::new();
    let mut list = match Dir::from_fd(open_dir(dir, Path::new("."))?) {
        Err(e) if gone(e) => return Ok(found),
        list => list?,
    };
    for entry in list.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

/// The names of everything in a directory.
pub(super) fn names(dir: BorrowedFd<'_>) -> nix::Result<Vec<String>> {
    let mut list = Dir::from_fd(open_dir(dir, Path::new("."))?)?;
    list.iter().map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned())).collect()
}

/// A file whose changes the kernel announces with `POLLPRI`.
pub(super) fn open_events(dir: BorrowedFd<'_>, name: &str) -> nix::Result<OwnedFd> {
    open_file(dir, Path::new(name), OFlag::O_RDONLY)
}

/// The text of an open file, from its beginning.
pub(super) fn read_again(file: &OwnedFd) -> nix::Result<String> {
    let mut page = [0; 1024];
    let n = nix::sys::uio::pread(file, &mut page, 0)?;
    Ok(String::from_utf8_lossy(&page[..n]).into_owned())
}

fn as_path(name: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
