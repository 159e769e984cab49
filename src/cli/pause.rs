//! `orlop pause ID`

use super::{Context, Verb};
use crate::container;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Pause {
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Pause {
    const NAME: &'static str = "pause";

    fn run(self, ctx: &Context) -> Result<i32> {
        container::pause(&ctx.runtime()?, &self.id).map(|()| 0)
    }
}
