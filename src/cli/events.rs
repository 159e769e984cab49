//! `orlop events [--stats] [--interval DURATION] ID`

use std::io::Write;

use super::{Context, Verb, values};
use crate::container::{self, Event};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Print the statistics once
    #[arg(long)]
    pub stats: bool,
    /// Time between two prints, as 5s or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub interval: String,
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Events {
    const NAME: &'static str = "events";

    fn run(self, ctx: &Context) -> Result<i32> {
        let every = values::duration(&self.interval).map_err(|e| e.during("--interval"))?;
        let interval = (!self.stats).then_some(every);
        container::events(&ctx.runtime()?, &self.id, interval, &mut print_line).map(|()| 0)
    }
}

/// One event, one line; false when nobody reads any more.
fn print_line(event: &Event<'_>) -> Result<bool> {
    let step = "cannot write to stdout";
    let mut line = serde_json::to_vec(event).map_err(|e| Error::new(step).message(e.to_string()))?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    match out.write_all(&line).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::sys(step, e)),
    }
}
