//! `orlop run [flags] ID`

use super::create::Shared;
use super::{Context, Verb};
use crate::container::{self, RunOptions};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub shared: Shared,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
    /// Do not delete the container when it has ended
    #[arg(long)]
    pub keep: bool,
    /// Do not become the reaper of the container's orphans
    #[arg(long)]
    pub no_subreaper: bool,
}

impl Run {
    pub(super) fn options(self) -> RunOptions {
        let Self { shared, detach, keep, no_subreaper } = self;
        RunOptions { create: shared.options(), detach, keep, no_subreaper }
    }
}

impl Verb for Run {
    const NAME: &'static str = "run";
    const ENTERS: bool = true;

    fn run(self, ctx: &Context) -> Result<i32> {
        container::run(&ctx.runtime()?, &self.options())
    }
}
