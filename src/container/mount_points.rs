//! The places in a rootfs that criu mounts onto.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::stage::{DIRECTORY, private_mounts, root_as_mount};
use crate::error::{Error, Result, Step};
use crate::init::sync::{Channel, Message};
use crate::spec::plan::{MountKind, Plan};
use crate::sys;
use crate::sys::mount::{self, FsContext};
use crate::sys::path::{Create, Root};
use crate::sys::process::Fork;

/// Makes the mount points that `create` would have made: criu makes none. In a
/// process and a mount namespace of its own, where bind mounts are as they will
/// be, so that what is mounted in them has its place there, and every other
/// filesystem is an empty one, so that its own mount points are nobody's.
///
/// # Errors
/// The mount whose place can't be made, and why.
pub fn make(plan: &Plan) -> Result<()> {
    let step = "cannot make the mount points";
    let (ours, theirs) = Channel::pair()?;
    match sys::process::fork(0, None).step(step)? {
        Fork::Child => {
            drop(ours);
            let made = private_mounts().step(step).and_then(|()| mount_all(plan));
            let said = match made {
                Ok(()) => theirs.send(&Message::Ready),
                Err(e) => theirs.send(&Message::Failed(Box::new(e))),
            };
            sys::process::exit_now(said.is_err().into())
        }
        Fork::Parent { pidfd, .. } => {
            drop(theirs);
            let said = ours.recv();
            let _ = sys::process::wait(&pidfd);
            match said? {
                Some(Message::Ready) => Ok(()),
                Some(Message::Failed(e)) => Err(*e),
                _ => Err(Error::new(step).message("the process that does it has died")),
            }
        }
    }
}

fn mount_all(plan: &Plan) -> Result<()> {
    let step = "cannot make the mount point";
    root_as_mount(&plan.rootfs)?;
    let dir = open(&plan.rootfs, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()).step_at(step, &plan.rootfs)?;
    let root = Root::new(dir);
    for m in &plan.mounts {
        let failed = |e: Error| e.in_field(format!("mounts[{}]", m.index)).path(&m.destination);
        let tree = match &m.kind {
            MountKind::Bind { source, .. } if m.copy_symlink && source.is_symlink() => continue,
            MountKind::Bind { source, .. } => {
                let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                let flags = if m.src_nofollow { flags | OFlag::O_NOFOLLOW } else { flags };
                let source = open(source, flags, Mode::empty()).step("cannot open the mount source").map_err(failed)?;
                mount::clone_tree(&source, false).step(step).map_err(failed)?
            }
            MountKind::Fs { .. } | MountKind::Cgroup => {
                FsContext::open(c"tmpfs").and_then(|fs| fs.mount(0)).step(step).map_err(failed)?
            }
            MountKind::Remount => continue,
        };
        let create = Create::like(&tree).step(step).map_err(failed)?;
        let (to, _) = root.find_or_create(&m.destination, create).step(step).map_err(failed)?;
        mount::attach(&tree, &to).step(step).map_err(failed)?;
    }
    if plan.root_readonly {
        // Where criu puts the old root, or tries to make a directory in a read-only one.
        root.find_or_create("/tmp", Create::Dir).step(step).map_err(|e| e.path("/tmp"))?;
    }
    Ok(())
}
