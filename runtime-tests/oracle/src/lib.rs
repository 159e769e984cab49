//! What the tests and the fuzz target of orlop's seccomp compiler share. The
//! tests proper are in `tests/seccomp`: there libseccomp is asked as well.

pub mod random;

use orlop::seccomp::tables::Arch;
use runtime_tests::bpf::{self, Insn};

/// orlop's program for the JSON of a `linux.seccomp`.
pub fn compile(json: &str, native: Arch, newer_is_enosys: bool) -> Result<Vec<Insn>, orlop::Error> {
    let program = orlop::spec::seccomp_program(json, native, newer_is_enosys)?;
    Ok(program.into_iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect())
}

/// Compiles any text for every machine. What is compiled, the kernel takes;
/// what is refused is refused with a reason on one line.
///
/// # Panics
/// If that is not so.
pub fn fuzz(json: &str) {
    for native in Arch::ALL {
        for newer_is_enosys in [false, true] {
            match compile(json, native, newer_is_enosys) {
                Ok(program) => bpf::check(&program).unwrap_or_else(|e| panic!("{native:?}: {e}\n{json}")),
                Err(e) => assert!(!e.to_string().is_empty(), "{native:?}: no reason\n{json}"),
            }
        }
    }
}
