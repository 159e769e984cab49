//! Where things are: the binary under test, the probe, scratch space.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The directory of this build: `target/<triple>/<profile>`.
///
/// Test programs are in its `deps`, the probe is in it.
pub fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("own path");
    let dir = exe.parent().expect("a directory");
    if dir.ends_with("deps") { dir.parent().expect("above deps").to_owned() } else { dir.to_owned() }
}

/// Cargo's target directory: above the triple, when there is one.
///
/// By names: the CACHEDIR.TAG that cargo writes is missing if something else
/// (the VM's image) made the directory first.
pub fn target_dir() -> PathBuf {
    let dir = profile_dir();
    let up = dir.parent().expect("above the profile");
    let name = up.file_name().unwrap_or_default().to_string_lossy();
    let triple = name.starts_with(std::env::consts::ARCH) && name.contains("-linux-");
    if triple { up.parent().expect("above the triple").to_owned() } else { up.to_owned() }
}

/// The runtime under test: `$ORLOP`, else the release build, else the debug build.
pub fn orlop() -> &'static Path {
    static ORLOP: OnceLock<PathBuf> = OnceLock::new();
    ORLOP.get_or_init(|| {
        if let Some(path) = std::env::var_os("ORLOP") {
            return std::fs::canonicalize(path).expect("ORLOP must name the runtime to be tested");
        }
        let target = target_dir();
        let beside = profile_dir().parent().expect("a parent").to_owned();
        let tried = [target.join("release/orlop"), beside.join("release/orlop"), beside.join("debug/orlop")];
        let found = tried.iter().find(|p| p.exists());
        found.unwrap_or_else(|| panic!("no orlop to test: run `make`, or set ORLOP (looked at {tried:?})")).clone()
    })
}

/// The probe program, built with the tests.
pub fn probe() -> PathBuf {
    profile_dir().join("probe")
}

/// Scratch space for all cases: `target/test-work`.
///
/// On the disk of the build rather than in `/tmp`, which may be a tmpfs
/// mounted `nodev`: then no device node in a rootfs would work.
pub fn work_dir() -> PathBuf {
    target_dir().join("test-work")
}
