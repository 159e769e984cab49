//! `orlop start ID`

use super::{Context, Verb};
use crate::container;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Start {
    const NAME: &'static str = "start";

    fn run(self, ctx: &Context) -> Result<i32> {
        container::start(&ctx.runtime()?, &self.id).map(|()| 0)
    }
}
