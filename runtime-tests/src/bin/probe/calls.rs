//! System calls by number, under whatever filter there is.

use std::fs;
use std::time::{Duration, Instant};

use runtime_tests::sys::calls;
use serde_json::{Value, json};

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).expect("a hexadecimal number"),
        None => text.parse().expect("a number"),
    }
}

fn numbers<const N: usize>(texts: &[&str]) -> [u64; N] {
    let mut args = [0; N];
    args.iter_mut().zip(texts).for_each(|(arg, text)| *arg = number(text));
    args
}

/// What the call returns; a failure is the negated errno.
pub fn by_number(call: &str, args: &[&str]) -> Value {
    json!(calls::raw(number(call) as i64, numbers(args)))
}

/// The same for a call of i386.
pub fn i386(call: &str, args: &[&str]) -> Value {
    json!(calls::i386(number(call) as u32, numbers::<2>(args).map(|n| n as u32)))
}

/// The call with a tracer: its message and the result.
pub fn traced(call: &str) -> Value {
    let (message, result) = calls::traced(number(call) as i64).expect("traced");
    json!({ "message": message, "result": result })
}

/// The call with SIGSYS caught.
pub fn trapped(call: &str) -> Value {
    let (_, errno, syscall) = calls::with_sigsys(number(call) as i64, [0; 6]);
    json!({ "errno": errno, "syscall": syscall })
}

/// The call made by a second thread: does that come back, and do we live on?
pub fn in_a_thread(call: &str) -> Value {
    let call = number(call) as i64;
    let thread = std::thread::spawn(move || calls::raw(call, [0; 6]));
    let threads = || fs::read_dir("/proc/self/task").expect("/proc/self/task").count();
    let end = Instant::now() + Duration::from_secs(10);
    while !thread.is_finished() && threads() > 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    json!(if thread.is_finished() { "came back" } else { "is gone" })
}
