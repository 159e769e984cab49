//! Finds libseccomp.a for the linker. The tests are linked statically where
//! .cargo/config.toml says so, but libseccomp-sys asks for a shared library:
//! a directory with nothing but the archive leaves the linker no choice.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    let cc = env::var("CC").unwrap_or_else(|_| "cc".into());
    let found = Command::new(cc).arg("-print-file-name=libseccomp.a").output();
    let found = found.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
    // Missing, it is no fault until something is linked: `make check` gets by.
    println!("cargo:rerun-if-changed={}", if found.is_empty() { "libseccomp.a" } else { &found });
    let dir = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let link = Path::new(&dir).join("libseccomp.a");
    let _ = fs::remove_file(&link);
    if Path::new(&found).is_absolute() && std::os::unix::fs::symlink(&found, &link).is_ok() {
        println!("cargo:rustc-link-search=native={dir}");
    }
}
