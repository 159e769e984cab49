//! The Debian package of `make deb`: it is installed and removed in the VM,
//! which is thrown away afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use runtime_tests::{Case, host, paths, require};

/// What has to be there, and where distributions look for it.
const PLACES: [&str; 9] = [
    "/usr/bin/orlop",
    "/usr/share/man/man8/orlop.8.gz",
    "/usr/share/man/man8/orlop-create.8.gz",
    "/usr/share/bash-completion/completions/orlop",
    "/usr/share/zsh/vendor-completions/_orlop",
    "/usr/share/fish/vendor_completions.d/orlop.fish",
    "/usr/share/doc/orlop/copyright",
    "/usr/share/doc/orlop/README.md",
    "/usr/share/doc/orlop/docs/commands.md",
];

fn package() -> Result<PathBuf, String> {
    let is_one = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("orlop_") && name.ends_with(".deb")
    };
    let files = fs::read_dir(paths::target_dir()).map_err(|e| e.to_string())?;
    files.flatten().map(|e| e.path()).find(is_one).ok_or_else(|| "no target/orlop_*.deb (make deb)".to_owned())
}

#[test]
fn is_installed_and_removed() {
    require!(host::vm());
    let package = match package() {
        Ok(package) => package,
        Err(why) => runtime_tests::skip!("{why}"),
    };
    let c = Case::new();
    let dpkg = |how: &str, what: &Path| c.program("dpkg").arg(how).arg(what).go().ok();
    let name = Path::new("orlop");
    dpkg("-i", &package);
    let list = dpkg("-L", name).stdout;
    let listed: BTreeSet<&str> = list.lines().collect();
    for place in PLACES {
        assert!(listed.contains(place), "{place} is not in {listed:?}");
        assert!(Path::new(place).is_file(), "{place}");
    }
    let version = c.program("/usr/bin/orlop").arg("--version").go().ok().stdout;
    assert!(version.starts_with(concat!("orlop version ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
    assert_eq!(dpkg("--verify", name).stdout, "", "no file is another than the package's");

    dpkg("-P", name);
    // Directories of other packages stay.
    let ours = |path: &&str| path.contains("orlop") || Path::new(path).is_file();
    let left: Vec<_> = listed.into_iter().filter(ours).filter(|p| fs::symlink_metadata(p).is_ok()).collect();
    assert!(left.is_empty(), "{left:?}");
    c.program("dpkg").args(["-s", "orlop"]).go().exits(1);
}
