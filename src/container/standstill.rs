//! A container's processes made to stand still where criu can take hold of them.
//!
//! Who has called vfork(2) waits, killable but not to be interrupted, until the
//! child executes a program. criu 4.2 freezes the cgroup, and with it a child
//! that was about to; then it waits ten seconds for the parent and gives up.
//! Shells start their commands so (dash, busybox since 1.38). So orlop freezes
//! the cgroup itself, lets go again while somebody waits like that, and gives
//! criu a frozen one, which criu thaws for its work and leaves frozen.

use std::ffi::CString;
use std::time::{Duration, Instant};

use super::stat::Stat;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::sys::procfs::Procfs;

const STEP: &str = "cannot hold the container's processes still";
/// For as long a child may be on its way to a program.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the processes run between two looks, at most.
const LONGEST_RUN: Duration = Duration::from_millis(50);

/// A cgroup that is frozen for as long as this is there; one that was paused before stays so.
#[derive(Debug)]
pub struct Standstill<'a> {
    cgroup: &'a Cgroup,
    thaw: bool,
}

impl<'a> Standstill<'a> {
    /// Freezes the cgroup at a moment when nobody in it waits in vfork(2).
    ///
    /// # Errors
    /// There is no such moment within two seconds, or the cgroup is paused at
    /// another one; it can't be frozen.
    pub fn of(cgroup: &'a Cgroup, paused: bool, proc: &Procfs) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let mut run = Duration::from_millis(1);
        loop {
            if !paused {
                cgroup.set_frozen(true)?;
            }
            let still = Self { cgroup, thaw: !paused };
            let Some(tid) = in_vfork(cgroup, proc)? else { return Ok(still) };
            if paused || Instant::now() >= deadline {
                let text = format!("process {tid} waits in vfork(2) for a child that has executed no program yet");
                let again = if paused { "resume the container and try again" } else { "try again later" };
                return Err(Error::new(STEP).message(text).hint(again));
            }
            still.end()?;
            std::thread::sleep(run);
            run = LONGEST_RUN.min(run * 2);
        }
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    /// They can't be told to.
    pub fn end(mut self) -> Result<()> {
        match std::mem::take(&mut self.thaw) {
            true => self.cgroup.set_frozen(false),
            false => Ok(()),
        }
    }
}

impl Drop for Standstill<'_> {
    fn drop(&mut self) {
        // The error that there is already says more. The cgroup may be gone, too.
        if self.thaw {
            let _ = self.cgroup.set_frozen(false);
        }
    }
}

/// A thread of a frozen cgroup that is in vfork(2): it is in state D. All others
/// stand in the freezer, interruptible, or are stopped. That the cgroup is
/// frozen is said a little before they have come to rest: one that was woken by
/// the last thaw, or that is just going to sleep, is still in state R.
fn in_vfork(cgroup: &Cgroup, proc: &Procfs) -> Result<Option<i32>> {
    let deadline = Instant::now() + PATIENCE;
    for tid in cgroup.threads()? {
        let name = CString::new(format!("{tid}/stat")).unwrap_or_default();
        loop {
            // One that is not there any more waits for nothing.
            match proc.read(&name).ok().as_deref().and_then(Stat::parse).map(|stat| stat.state) {
                Some(b'D') => return Ok(Some(tid)),
                Some(b'R') if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
    }
    Ok(None)
}
