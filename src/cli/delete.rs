//! `orlop delete [-f] ID`

use super::{Context, Verb};
use crate::container;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Kill it first if it is running; no error if there is none
    #[arg(short, long)]
    pub force: bool,
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Delete {
    const NAME: &'static str = "delete";

    fn run(self, ctx: &Context) -> Result<i32> {
        container::delete(&ctx.runtime()?, &self.id, self.force).map(|()| 0)
    }
}
