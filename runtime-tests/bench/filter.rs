//! The filter of the pod bundle: how long it takes to make, and the kernel to load.

use std::time::Instant;

use orlop::seccomp::Insn;
use orlop::seccomp::tables::Arch;
use runtime_tests::Value;
use runtime_tests::sys;

use crate::report::Filter;

/// Each is done so often.
const TIMES: usize = 100;

/// Measures orlop's own compiler on a `linux.seccomp`, and seccomp(2) with what it made.
pub fn measure(seccomp: &Value) -> Result<Filter, String> {
    let native = Arch::native().ok_or("no system call table for this machine")?;
    let json = seccomp.to_string();
    let build = || orlop::spec::seccomp_program(&json, native, true).map_err(|e| e.to_string());
    let program = build()?;
    let mut filter = Filter { instructions: program.len(), ..Filter::default() };
    for _ in 0..TIMES {
        let start = Instant::now();
        build()?;
        filter.build_us.push(start.elapsed().as_secs_f64() * 1e6);
        filter.load_us.push(load(&program)?);
    }
    Ok(filter)
}

/// The time of one seccomp(2), in a child that ends with it.
fn load(program: &[Insn]) -> Result<f64, String> {
    let micros = sys::in_child(|| {
        orlop::sys::ids::no_new_privs().ok()?;
        let start = Instant::now();
        orlop::sys::seccomp::load(program, 0).ok()?;
        Some(start.elapsed().as_nanos() as u64)
    });
    match micros.map_err(|e| format!("measuring seccomp(2): {e}"))? {
        Some(nanos) => Ok(nanos as f64 / 1e3),
        None => Err("seccomp(2) does not take the filter".to_owned()),
    }
}
