//! `orlop spec [-b DIR] [--rootless]`

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::values::{any_path, given};
use super::{Context, Verb};
use crate::error::{Error, Result, Step};

#[derive(Debug, clap::Args)]
pub(super) struct Spec {
    /// Directory to write config.json to [default: the current directory]
    #[arg(short, long, value_name = "DIR", value_parser = any_path())]
    pub bundle: Option<PathBuf>,
    /// For a user without privileges: in a user namespace of one user, without limits
    #[arg(long)]
    pub rootless: bool,
}

impl Verb for Spec {
    const NAME: &'static str = "spec";

    fn run(self, _: &Context) -> Result<i32> {
        let ids = || (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let text = render(&crate::spec::template(self.rootless.then(ids)))?;
        let path = given(self.bundle).unwrap_or_default().join("config.json");
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(&text).step_at("cannot write", &path).map(|()| 0),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::new("file exists").path(&path).hint("remove it first"))
            }
            Err(e) => Err(Error::sys("cannot write", e).path(&path)),
        }
    }
}

/// JSON for editing by hand: one tab per level, a newline at the end.
fn render(value: &serde_json::Value) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))
        .map_err(|e| Error::new("cannot write JSON").message(e.to_string()))?;
    text.push(b'\n');
    Ok(text)
}
