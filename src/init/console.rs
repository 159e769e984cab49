//! The container's terminal: a pty from its own devpts.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat, major, minor, mknodat};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Uid, fchown};

use crate::error::{Error, Result, Step};
use crate::spec::plan::{NamespaceKind, Plan, Process};
use crate::sys;
use crate::sys::path::{Root, is_type};
use crate::sys::procfs::Procfs;
use crate::sys::tty::{self, Size};

const DEVPTS_SUPER_MAGIC: FsType = FsType(0x1cd1);

/// What the receiver of the master is told it is: any name will do.
pub const PAYLOAD: &[u8] = b"/dev/ptmx";

/// A pty pair in the container's devpts.
#[derive(Debug)]
pub struct Console {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Console {
    /// Opens a pair through the container's `/dev/pts/ptmx`, which must be that
    /// of a devpts, whatever the image has put in its place.
    ///
    /// # Errors
    /// Names the step; a hint when there is no devpts.
    pub fn open(root: &Root, process: &Process, proc: &Procfs) -> Result<Self> {
        let step = "cannot open a terminal";
        let path = "/dev/pts/ptmx";
        let node = root.find(path).map_err(|e| {
            let error = Error::sys(step, e).in_field("process.terminal").path(path);
            if e == Errno::ENOENT { error.hint("the config needs a devpts mount on /dev/pts") } else { error }
        })?;
        let stat = fstat(&node).step(step)?;
        let is_ptmx = is_type(&stat, SFlag::S_IFCHR) && (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2);
        if !is_ptmx || fstatfs(&node).step(step)?.filesystem_type() != DEVPTS_SUPER_MAGIC {
            return Err(Error::new(step).in_field("process.terminal").path(path).message("not the ptmx of a devpts"));
        }
        let number = CString::new(node.as_raw_fd().to_string()).map_err(|_| Error::new(step))?;
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        let master = proc.magic_link(c"self/fd", &number, flags).step_at(step, path)?;
        let slave = tty::open_slave(&master).step_at(step, path)?;
        if let Some((rows, cols)) = process.console_size {
            tty::set_size(&master, Size { rows, cols })
                .step("cannot set the terminal's size")
                .map_err(|e| e.in_field("process.consoleSize"))?;
        }
        match fchown(&slave, Some(Uid::from_raw(process.uid)), None) {
            Ok(()) | Err(Errno::EPERM | Errno::EROFS | Errno::EINVAL) => {}
            Err(e) => return Err(Error::sys("cannot give the terminal to the user", e)),
        }
        Ok(Self { master, slave })
    }

    /// Binds the slave to `/dev/console`. The file is made if missing and never
    /// followed if it is a symlink (CVE-2026-88264).
    ///
    /// # Errors
    /// Names the step and the path.
    pub fn bind(&self, root: &Root, plan: &Plan) -> Result<()> {
        if !plan.populate_dev || !plan.namespaces.has(NamespaceKind::Mount) {
            return Ok(());
        }
        let (step, path) = ("cannot bind the terminal", "/dev/console");
        let (dir, name) = root.parent(path).step_at(step, path)?;
        match mknodat(&dir, name.as_c_str(), SFlag::S_IFREG, Mode::from_bits_truncate(0o600), 0) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(Error::sys(step, e).path(path)),
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let to = nix::fcntl::openat(&dir, name.as_c_str(), flags, Mode::empty()).step_at(step, path)?;
        if is_type(&fstat(&to).step(step)?, SFlag::S_IFLNK) {
            return Err(Error::sys(step, Errno::ELOOP).path(path).message("it is a symlink in the rootfs"));
        }
        let tree = sys::mount::clone_tree(self.slave.as_fd(), false).step_at(step, path)?;
        sys::mount::attach(&tree, &to).step_at(step, path)
    }

    /// Makes the slave stdin, stdout, stderr and the controlling terminal, and
    /// sends the master away.
    ///
    /// # Errors
    /// Names the step.
    pub fn take_over(self, socket: Option<&OwnedFd>) -> Result<()> {
        let step = "cannot take over the terminal";
        tty::make_controlling(&self.slave).step(step)?;
        for number in 0..=2 {
            sys::fd::dup_onto(&self.slave, number).step(step)?;
        }
        let socket = socket.ok_or_else(|| Error::new("nobody takes the terminal"))?;
        sys::socket::send_fd(socket, PAYLOAD, self.master.as_fd())
            .map(drop)
            .step("cannot send the terminal to the console socket")
    }
}
