//! `orlop state ID`

use super::{Context, Verb};
use crate::container;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct State {
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for State {
    const NAME: &'static str = "state";
    const PARSED: bool = true;

    fn run(self, ctx: &Context) -> Result<i32> {
        super::print_json(&container::state(&ctx.runtime()?, &self.id)?)
    }
}
