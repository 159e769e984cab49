//! sd_notify(3) for containers under a systemd service: a socket of ours is
//! mounted into the container, and what it says is passed on to the service
//! manager with the container's pid as MAINPID.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::handle::Handle;
use super::launch::Interrupts;
use crate::error::{Error, Result, Step};
use crate::spec::plan::{Mount, MountAttr, MountKind, NamespaceKind, Plan};

const DIR_INSIDE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// What a container may tell the service manager: how it is, and nothing that
/// changes the service itself (`MAINPID`, `NOTIFYACCESS`, `FDSTORE`, …).
const PASSED_ON: [&str; 8] =
    ["READY", "RELOADING", "MONOTONIC_USEC", "STOPPING", "STATUS", "ERRNO", "WATCHDOG", "EXTEND_TIMEOUT_USEC"];

/// The service manager's socket, if this process has one.
fn service_manager() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Prepares the container for a socket: the mount of its directory and the
/// variable that names it. Nothing without `NOTIFY_SOCKET`, without a mount
/// namespace, or when the config mounts that directory itself (podman).
///
/// # Errors
/// The errno of mkdir(2).
pub fn set_up(handle: &Handle, plan: &mut Plan) -> Result<()> {
    let taken = plan.mounts.iter().any(|m| m.destination.trim_end_matches('/') == DIR_INSIDE);
    if service_manager().is_none() || taken || !plan.namespaces.has(NamespaceKind::Mount) {
        return Ok(());
    }
    let Some(process) = &mut plan.process else { return Ok(()) };
    let source = handle.path().join("notify");
    std::fs::DirBuilder::new().mode(0o755).create(&source).step_at("cannot make the notify directory", &source)?;
    process.env.retain(|e| !e.to_bytes().starts_with(b"NOTIFY_SOCKET="));
    process.env.push(c"NOTIFY_SOCKET=/run/notify/notify.sock".to_owned());
    plan.mounts.push(directory(source, plan.mounts.len()));
    Ok(())
}

/// The mount that the container has of it, if it has one.
pub fn mount(handle: &Handle, plan: &Plan) -> Mount {
    directory(handle.path().join("notify"), plan.mounts.len())
}

/// The same for a container that is restored, whose image may have one or not:
/// there is a directory in any case.
///
/// # Errors
/// The errno of mkdir(2).
pub fn for_restored(handle: &Handle, plan: &Plan) -> Result<Mount> {
    let source = handle.path().join("notify");
    let made = std::fs::DirBuilder::new().mode(0o755).create(&source);
    made.step_at("cannot make the notify directory", &source)?;
    Ok(mount(handle, plan))
}

fn directory(source: PathBuf, index: usize) -> Mount {
    let inert = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    Mount {
        index,
        destination: DIR_INSIDE.to_owned(),
        kind: MountKind::Bind { source, recursive: false },
        attr: MountAttr { set: inert, clear: 0 },
        recursive_attr: MountAttr::default(),
        id_map: None,
        propagation: Vec::new(),
        tmpcopyup: false,
        copy_symlink: false,
        src_nofollow: false,
        dest_nofollow: false,
    }
}

/// The container's socket and where its messages go.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    manager: PathBuf,
}

/// Listens on the container's socket, if it was prepared for one.
///
/// # Errors
/// The errno of bind(2).
pub fn listen(handle: &Handle) -> Result<Option<Notify>> {
    let Some(manager) = service_manager() else { return Ok(None) };
    let dir = handle.path().join("notify");
    if !dir.is_dir() {
        return Ok(None);
    }
    let (step, path) = ("cannot listen on the notify socket", dir.join(SOCKET));
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).step_at(step, &path)?;
    socket.set_nonblocking(true).step_at(step, &path)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&path, mode).step_at(step, &path)?;
    Ok(Some(Notify { socket, manager }))
}

impl Notify {
    /// Passes on one message, if there is one; says whether it was READY=1.
    ///
    /// # Errors
    /// When the service manager does not take it.
    pub fn forward(&self, main_pid: i32) -> Result<bool> {
        let mut buf = [0; 4096];
        let Ok(len) = self.socket.recv(&mut buf) else { return Ok(false) };
        let text = String::from_utf8_lossy(&buf[..len]);
        let ready = text.lines().any(|line| line == "READY=1");
        let known = |line: &&str| line.split_once('=').is_some_and(|(key, _)| PASSED_ON.contains(&key));
        let mut lines: Vec<&str> = text.lines().filter(known).collect();
        let main = format!("MAINPID={main_pid}");
        if ready {
            lines.push(&main);
        }
        self.send(&lines.join("\n")).map(|()| ready)
    }

    fn send(&self, message: &str) -> Result<()> {
        let step = "cannot notify the service manager";
        let socket = UnixDatagram::unbound().step(step)?;
        let name = self.manager.to_string_lossy();
        let sent = match name.strip_prefix('@') {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                std::os::unix::net::SocketAddr::from_abstract_name(name)
                    .and_then(|addr| socket.send_to_addr(message.as_bytes(), &addr))
            }
            None => socket.send_to(message.as_bytes(), Path::new(&self.manager)),
        };
        sent.map(drop).step_at(step, &self.manager)
    }

    /// Passes messages on until the container is ready, or gone.
    ///
    /// # Errors
    /// As [`Notify::forward`]; the signal that came first.
    pub fn forward_until_ready(&self, init: &OwnedFd, main_pid: i32, interrupts: Option<&Interrupts>) -> Result<()> {
        loop {
            interrupts.map_or(Ok(()), Interrupts::check)?;
            // The same fd twice where there are no signals to look for.
            let signals = interrupts.map_or(init.as_fd(), Interrupts::as_fd);
            let mut fds = [self.as_fd(), init.as_fd(), signals].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(Error::sys("cannot wait for the container to be ready", e)),
            }
            let [message, end, _] = fds.map(|fd| fd.any() == Some(true));
            if (message && self.forward(main_pid)?) || end {
                return Ok(());
            }
        }
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
