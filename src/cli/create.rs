//! `orlop create [flags] ID`

use std::path::PathBuf;

use super::values::{any_path, given};
use super::{Context, Verb};
use crate::container::{self, CreateOptions};
use crate::error::Result;

// No doc comments: clap would take them for the text of whoever includes these.
// What `create`, `run` and `restore` share.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Bundle directory [default: the current directory]
    #[arg(short, long, value_name = "DIR", value_parser = any_path())]
    pub bundle: Option<PathBuf>,
    /// Config file to use instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE", value_parser = any_path())]
    pub config: Option<PathBuf>,
    /// Write the first process's pid there, digits only
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub pid_file: Option<PathBuf>,
    /// Unix socket to send the terminal's file descriptor to
    #[arg(long, value_name = "SOCKET", value_parser = any_path())]
    pub console_socket: Option<PathBuf>,
    /// Unix socket to send a pidfd of the first process to
    #[arg(long, value_name = "SOCKET", value_parser = any_path())]
    pub pidfd_socket: Option<PathBuf>,
    /// Container id, made of letters, digits and . _ + -
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Common {
    pub(super) fn options(self) -> CreateOptions {
        CreateOptions {
            id: self.id,
            bundle: given(self.bundle),
            config: given(self.config),
            pid_file: given(self.pid_file),
            console_socket: given(self.console_socket),
            pidfd_socket: given(self.pidfd_socket),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
        }
    }
}

// What `create` and `run` share.
#[derive(Debug, clap::Args)]
pub(super) struct Shared {
    #[command(flatten)]
    pub common: Common,
    /// Change the root by moving a mount instead of pivot_root, for a root on a ramdisk
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Hand this many file descriptors from 3 on to the container, besides $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,
}

impl Shared {
    pub(super) fn options(self) -> CreateOptions {
        let Self { common, no_pivot, no_new_keyring, preserve_fds } = self;
        CreateOptions { no_pivot, no_new_keyring, preserve_fds, ..common.options() }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    pub shared: Shared,
    /// Accepted for crun callers: create never makes a subreaper
    #[arg(long)]
    pub no_subreaper: bool,
}

impl Verb for Create {
    const NAME: &'static str = "create";
    const ENTERS: bool = true;

    fn run(self, ctx: &Context) -> Result<i32> {
        container::create(&ctx.runtime()?, &self.shared.options()).map(|()| 0)
    }
}
