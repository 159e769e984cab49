//! Writes orlop's man pages and shell completions, from the table that
//! `orlop --help` is made of and from `docs/commands.md`.
//!
//!     packaging DIRECTORY DATE      writes DIRECTORY/man and DIRECTORY/completions
//!
//! A program of its own, so that the one that is installed carries none of it.

use std::fs;
use std::io::{Error, Result};
use std::path::Path;

mod completions;
mod manual;
mod page;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [directory, date] => write(Path::new(directory), date),
        _ => Err(Error::other("usage: packaging DIRECTORY YYYY-MM-DD")),
    }
}

/// Writes everything anew: a command that is gone leaves no page behind.
fn write(into: &Path, date: &str) -> Result<()> {
    for (directory, files) in [("man", page::all(date)), ("completions", completions::all())] {
        let directory = into.join(directory);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        for (name, text) in files {
            fs::write(directory.join(name), text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    fn files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
        }
    }

    /// `make TARGET` with what is installed elsewhere than here.
    fn make(target: &str, dir: &Path) -> Vec<PathBuf> {
        let set = |name: &str, value: &str| format!("{name}={}", dir.join(value).display());
        let mut make = Command::new("make");
        make.args(["-s", "-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), target, "BIN=/bin/true", "PREFIX=/opt/x"]);
        make.args([set("PAGES", "pages"), set("DESTDIR", "root")]);
        // What a make above this test has told its children.
        let out = make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut found = Vec::new();
        files(&dir.join("root"), &mut found);
        let root = dir.join("root/opt/x");
        found.iter().map(|p| p.strip_prefix(&root).expect("below the prefix").to_owned()).collect()
    }

    #[test]
    fn is_installed_where_distributions_look_and_uninstalled() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("pages"), "2026-01-31").unwrap();
        let installed = make("install", dir.path());
        for place in [
            "bin/orlop",
            "share/man/man8/orlop.8",
            "share/man/man8/orlop-create.8",
            "share/bash-completion/completions/orlop",
            "share/zsh/site-functions/_orlop",
            "share/fish/vendor_completions.d/orlop.fish",
            "share/doc/orlop/README.md",
            "share/doc/orlop/docs/commands.md",
        ] {
            assert!(installed.contains(&place.into()), "{place} is not in {installed:?}");
        }
        // Somebody else's page, which is no command of ours.
        fs::write(dir.path().join("root/opt/x/share/man/man8/orlopd.8"), "").unwrap();
        assert_eq!(make("uninstall", dir.path()), [Path::new("share/man/man8/orlopd.8")]);
    }

    #[test]
    fn what_was_written_before_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "2026-01-31").unwrap();
        let stale = dir.path().join("man/orlop-gone.8");
        fs::write(&stale, "").unwrap();
        write(dir.path(), "2026-01-31").unwrap();
        assert!(!stale.exists() && dir.path().join("man/orlop.8").exists());
    }
}
