//! `orlop kill [-a] ID [SIGNAL]`

use super::{Context, Verb, values};
use crate::container;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Kill {
    /// Signal every process in the container's cgroup, also of a stopped container
    #[arg(short, long)]
    pub all: bool,
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Number or name: 9, KILL, SIGKILL, RTMIN+3 [default: TERM]
    #[arg(value_name = "SIGNAL")]
    pub signal: Option<String>,
}

impl Verb for Kill {
    const NAME: &'static str = "kill";
    const VERBATIM: bool = true;

    fn run(self, ctx: &Context) -> Result<i32> {
        let signal = values::signal(self.signal.as_deref().unwrap_or("TERM"))?;
        container::kill(&ctx.runtime()?, &self.id, signal, self.all).map(|()| 0)
    }
}
