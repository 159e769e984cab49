//! `orlop restore [flags] ID`

use std::path::PathBuf;

use super::checkpoint::Image;
use super::values::{any_path, given, given_text};
use super::{Context, Verb};
use crate::container::{self, CreateOptions, RestoreOptions};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub image: Image,
    /// Bundle directory [default: the current directory]
    #[arg(short, long, value_name = "DIR", value_parser = any_path())]
    pub bundle: Option<PathBuf>,
    /// Config file to use instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE", value_parser = any_path())]
    pub config: Option<PathBuf>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
    /// Write the first process's pid there, digits only
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub pid_file: Option<PathBuf>,
    /// Unix socket to send the terminal's file descriptor to
    #[arg(long, value_name = "SOCKET", value_parser = any_path())]
    pub console_socket: Option<PathBuf>,
    /// Unix socket to send a pidfd of the first process to
    #[arg(long, value_name = "SOCKET", value_parser = any_path())]
    pub pidfd_socket: Option<PathBuf>,
    /// Do not become the reaper of the container's orphans
    #[arg(long)]
    pub no_subreaper: bool,
    /// Accepted for engines: criu finds its own way to change the root
    #[arg(long)]
    pub no_pivot: bool,
    /// Let processes of exec keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// LSM profile to restore with
    #[arg(long, value_name = "TYPE:LABEL")]
    pub lsm_profile: Option<String>,
    /// SELinux mount context to restore with
    #[arg(long, value_name = "CONTEXT")]
    pub lsm_mount_context: Option<String>,
    /// Close open TCP connections
    #[arg(long)]
    pub tcp_close: bool,
    /// Container id, made of letters, digits and . _ + -
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Restore {
    const NAME: &'static str = "restore";

    fn run(self, ctx: &Context) -> Result<i32> {
        let create = CreateOptions {
            id: self.id,
            bundle: given(self.bundle),
            config: given(self.config),
            pid_file: given(self.pid_file),
            console_socket: given(self.console_socket),
            pidfd_socket: given(self.pidfd_socket),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: 0,
        };
        let options = RestoreOptions {
            create,
            image: self.image.options(),
            detach: self.detach,
            no_subreaper: self.no_subreaper,
            tcp_close: self.tcp_close,
            lsm_profile: given_text(self.lsm_profile),
            lsm_mount_context: given_text(self.lsm_mount_context),
        };
        container::restore(&ctx.runtime()?, &options)
    }
}
