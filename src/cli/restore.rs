//! `orlop restore [flags] ID`

use super::checkpoint::Image;
use super::create::Common;
use super::values::given_text;
use super::{Context, Verb};
use crate::container::{self, CreateOptions, RestoreOptions};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub image: Image,
    #[command(flatten)]
    pub common: Common,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
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
}

impl Verb for Restore {
    const NAME: &'static str = "restore";

    fn run(self, ctx: &Context) -> Result<i32> {
        let Self { common, no_pivot, no_new_keyring, .. } = self;
        let create = CreateOptions { no_pivot, no_new_keyring, ..common.options() };
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
