//! Reaping what killed commands leave as orphans, in place of the machine's PID 1.
//!
//! Some PID 1s look only every few seconds, and until then a container's init
//! can't end: its namespace waits for each of its processes to be reaped.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, Once};
use std::time::Duration;

use crate::sys;

/// The processes somebody here will wait for.
static OWN: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

/// Spawns a command that its caller will wait for, and then tell by [`done`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // Locked: a child that ends at once must be known before anybody reaps.
    let mut own = OWN.lock().unwrap_or_else(|e| e.into_inner());
    let child = command.spawn()?;
    own.get_or_insert_default().insert(child.id() as i32);
    Ok(child)
}

/// Runs a command to its end and gives what it wrote.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let pid = child.id() as i32;
    let output = child.wait_with_output();
    done(pid);
    output
}

/// It has been waited for.
pub fn done(pid: i32) {
    OWN.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert_default().remove(&pid);
}

/// From now on orphans come to this process and are reaped.
pub fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        sys::become_subreaper().expect("subreaper");
        std::thread::spawn(|| {
            loop {
                reap_orphans();
                std::thread::sleep(Duration::from_millis(3));
            }
        });
    });
}

fn reap_orphans() {
    let own = OWN.lock().unwrap_or_else(|e| e.into_inner());
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|p| p.parse::<i32>().ok());
        for pid in pids.filter(|p| own.as_ref().is_none_or(|own| !own.contains(p))) {
            sys::reap(pid);
        }
    }
}
