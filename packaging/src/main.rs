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
