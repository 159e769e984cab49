//! The mount API by fd: open_tree(2), fsopen(2), mount_setattr(2), move_mount(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::check;
use super::fd::own;

const OPEN_TREE_CLONE: u32 = 1;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

/// A clone of the mount at `fd`, detached (open_tree(2) with `OPEN_TREE_CLONE`).
///
/// # Errors
/// The errno of open_tree(2).
pub fn clone_tree(fd: impl AsFd, recursive: bool) -> nix::Result<OwnedFd> {
    open_tree(Some(fd.as_fd().as_raw_fd()), c"", recursive, libc::AT_EMPTY_PATH)
}

/// A detached clone of the mount at a host path; `follow` says whether a final symlink is followed.
///
/// # Errors
/// The errno of open_tree(2).
pub fn clone_tree_at(path: &CStr, recursive: bool, follow: bool) -> nix::Result<OwnedFd> {
    open_tree(None, path, recursive, if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW })
}

fn open_tree(dir: Option<i32>, path: &CStr, recursive: bool, at: i32) -> nix::Result<OwnedFd> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | (recursive | at) as u32;
    // SAFETY: the path is a C string, the rest are numbers.
    own(unsafe { libc::syscall(libc::SYS_open_tree, dir.unwrap_or(libc::AT_FDCWD), path.as_ptr(), flags) })
}

/// A filesystem being configured (fsopen(2)).
#[derive(Debug)]
pub struct FsContext(OwnedFd);

impl FsContext {
    /// Starts a new filesystem of this type.
    ///
    /// # Errors
    /// The errno of fsopen(2): `ENODEV` when the kernel has no such filesystem.
    pub fn open(fstype: &CStr) -> nix::Result<Self> {
        // SAFETY: a C string and a number.
        own(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
    }

    /// Sets a parameter: a flag, or a key with a value.
    ///
    /// # Errors
    /// The errno of fsconfig(2).
    pub fn set(&self, key: &CStr, value: Option<&CStr>) -> nix::Result<()> {
        match value {
            None => self.config(FSCONFIG_SET_FLAG, key.as_ptr(), std::ptr::null()),
            Some(value) => self.config(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr()),
        }
    }

    /// Makes the superblock and a detached mount of it with these `MOUNT_ATTR_*`.
    ///
    /// # Errors
    /// The errno of fsconfig(2) or fsmount(2).
    pub fn mount(&self, attr: u64) -> nix::Result<OwnedFd> {
        self.config(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        // SAFETY: numbers only.
        own(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attr) })
    }

    /// What the kernel has to say about the last failure: `tmpfs: Unknown parameter 'foo'`.
    pub fn complaint(&self) -> Option<String> {
        let mut buf = [0; 512];
        let mut last = None;
        while let Ok(n) = nix::unistd::read(&self.0, &mut buf) {
            let text = String::from_utf8_lossy(&buf[..n]);
            last = Some(text.trim_start_matches("e ").trim_start_matches("w ").trim().to_owned());
        }
        last
    }

    fn config(&self, cmd: u32, key: *const libc::c_char, value: *const libc::c_char) -> nix::Result<()> {
        // SAFETY: key and value are C strings or null as the command wants them.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), cmd, key, value, 0) }).map(drop)
    }
}

/// Changes a mount's (or, with `recursive`, a tree's) attributes and propagation (mount_setattr(2), Linux 5.12).
///
/// # Errors
/// The errno of mount_setattr(2).
pub fn set_attr(fd: impl AsFd, set: u64, clear: u64, propagation: u64, recursive: bool) -> nix::Result<()> {
    setattr(fd, &libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 }, recursive)
}

/// Shows the owners on a detached mount, or tree, as a user namespace maps them (Linux 5.12).
///
/// # Errors
/// `EINVAL` when the filesystem cannot do it, `EPERM` when it is mapped already.
pub fn set_id_map(fd: impl AsFd, userns: impl AsFd, recursive: bool) -> nix::Result<()> {
    let userns_fd = userns.as_fd().as_raw_fd() as u64;
    let attr_set = libc::MOUNT_ATTR_IDMAP;
    setattr(fd, &libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd }, recursive)
}

fn setattr(fd: impl AsFd, attr: &libc::mount_attr, recursive: bool) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the struct is the kernel's own, its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Attaches the mount `from` on top of what `to` refers to (move_mount(2)).
///
/// # Errors
/// The errno of move_mount(2).
pub fn attach(from: impl AsFd, to: impl AsFd) -> nix::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    // SAFETY: fds and constant strings.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) }).map(drop)
}

/// pivot_root(".", "."): the working directory becomes the root, with the old root mounted on top of it.
///
/// # Errors
/// The errno of pivot_root(2).
pub fn pivot_here() -> nix::Result<()> {
    // SAFETY: constant strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// Mounts by the old mount(2), onto a path that the caller made from a pinned
/// fd. Only for what the new API cannot say: parameters over 255 bytes.
///
/// # Errors
/// The errno of mount(2).
pub fn mount_classic(source: &CStr, target: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> nix::Result<()> {
    // SAFETY: C strings and a number.
    let ret = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast::<libc::c_void>())
    };
    check(ret.into()).map(drop)
}

/// The id of the mount an fd is on, and whether the fd is that mount's root (statx(2), Linux 5.8).
///
/// # Errors
/// The errno of statx(2).
pub fn mount_identity(fd: impl AsFd) -> nix::Result<(u64, bool)> {
    let mut buf = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the buffer is of the kernel's own type.
    let ret = unsafe {
        libc::statx(fd.as_fd().as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_MNT_ID, buf.as_mut_ptr())
    };
    check(ret.into())?;
    // SAFETY: all-zero is a valid value, and the kernel has filled it in.
    let stat = unsafe { buf.assume_init() };
    if stat.stx_mask & libc::STATX_MNT_ID == 0 {
        return Err(Errno::ENOSYS);
    }
    Ok((stat.stx_mnt_id, stat.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0))
}
