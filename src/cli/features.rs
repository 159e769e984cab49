//! `orlop features`

use super::{Context, Verb};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Features {}

impl Verb for Features {
    const NAME: &'static str = "features";
    const PARSED: bool = true;

    fn run(self, ctx: &Context) -> Result<i32> {
        super::print_json(&crate::spec::features(crate::criu::find(ctx.criu()).is_ok()))
    }
}
