//! Programs that want more than they may have.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use runtime_tests::sys;
use serde_json::{Value, json};

use crate::say;

const PAGE: usize = 4096;

/// Memory in which every page was written to.
fn touched(mib: &str) -> Vec<u8> {
    let mut memory = vec![0u8; mib.parse::<usize>().expect("MiB") << 20];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    black_box(memory)
}

/// Takes so much memory and says that it has it.
pub fn alloc(mib: &str) {
    let memory = touched(mib);
    say(&format!("touched {}", memory.len()));
}

/// Holds memory and shows a sign of life now and then.
pub fn hold(mib: &str) {
    let mut memory = touched(mib);
    loop {
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = byte.wrapping_add(1));
        say("tick");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// So many threads want all the time there is.
pub fn burn(threads: &str) {
    for _ in 1..threads.parse::<u32>().expect("a number") {
        std::thread::spawn(spin);
    }
    spin();
}

fn spin() {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Every process forks as often as it can, its children too. Where nothing
/// stops it, it stops by itself at some six hundred.
pub fn fork_bomb() {
    let (mut generation, mut children, mut told) = (0, 0, false);
    while generation < 3 && children < 8 {
        match sys::fork() {
            Ok(true) => (generation, children, told) = (generation + 1, 0, false),
            Ok(false) => children += 1,
            Err(e) => {
                if !std::mem::replace(&mut told, true) {
                    say(&sys::errno_name(&e));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    std::thread::sleep(Duration::from_secs(1000));
}

/// Writes to a device past the page cache; says how many milliseconds that took.
pub fn write_direct(path: &str, bytes: &str) -> Value {
    const BLOCK: usize = 64 << 10;
    let memory = vec![7u8; BLOCK + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).expect("the device");
    let began = Instant::now();
    for _ in 0..bytes.parse::<usize>().expect("bytes") / BLOCK {
        file.write_all(&memory[start..start + BLOCK]).expect("written");
    }
    json!({ "ms": u64::try_from(began.elapsed().as_millis()).expect("a short time") })
}
