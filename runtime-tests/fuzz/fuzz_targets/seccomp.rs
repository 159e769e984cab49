//! Any text as a profile: never a panic, and no program the kernel won't take.
//!
//! `cargo install cargo-fuzz`, then in `runtime-tests`, with what the tests
//! know as a start:
//!
//! ```sh
//! mkdir -p fuzz/corpus/seccomp && cp oracle/tests/seccomp/profiles/*.json fuzz/corpus/seccomp
//! cargo +nightly fuzz run seccomp --target x86_64-unknown-linux-gnu
//! ```
//!
//! The same body runs on a bounded number of texts in `oracle/tests/anything.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| oracle::fuzz(text));
