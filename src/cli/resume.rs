//! `orlop resume ID`

use super::{Context, Verb};
use crate::container;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Resume {
    const NAME: &'static str = "resume";

    fn run(self, ctx: &Context) -> Result<i32> {
        container::resume(&ctx.runtime()?, &self.id).map(|()| 0)
    }
}
