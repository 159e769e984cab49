//! `orlop ps [-f table|json] ID [PS OPTIONS]...`

use std::ffi::OsString;
use std::process::Command;

use super::{Context, Verb};
use crate::container;
use crate::error::{Error, Result, Step};

#[derive(Debug, clap::Args)]
pub(super) struct Ps {
    /// table or json (the pids only)
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"], hide_possible_values = true)]
    pub format: String,
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Options for the host's ps, for the table [default: -ef]
    #[arg(value_name = "PS_OPTIONS")]
    pub options: Vec<OsString>,
}

impl Verb for Ps {
    const NAME: &'static str = "ps";
    const VERBATIM: bool = true;
    const PARSED: bool = true;

    fn run(mut self, ctx: &Context) -> Result<i32> {
        let pids = container::processes(&ctx.runtime()?, &self.id)?;
        if self.format == "json" {
            return super::print_json(&pids);
        }
        if self.options.is_empty() {
            self.options.push("-ef".into());
        }
        let output = Command::new("ps").args(&self.options).output().step("cannot run ps")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::new("ps failed").message(said.lines().next().unwrap_or_default().trim()));
        }
        super::print(&select(&String::from_utf8_lossy(&output.stdout), &pids)?)
    }
}

/// The header and the lines of these processes.
fn select(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "PID");
    let column =
        column.ok_or_else(|| Error::new("ps: the output has no PID column").hint("choose other ps options"))?;
    let mut out = format!("{header}\n");
    let mut wanted = false;
    for line in lines {
        match line.split_whitespace().nth(column) {
            // A thread's line has no pid of its own; it belongs to the process above it.
            Some("-") => {}
            pid => wanted = pid.and_then(|p| p.parse().ok()).is_some_and(|p: i32| pids.contains(&p)),
        }
        if wanted {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_the_pid_column() {
        let table = "UID   PID  PPID CMD\nroot   10    1 a 20\nroot   20   10 b\nroot    -    - -\nroot   30   20 c\n";
        assert_eq!(select(table, &[20]).unwrap(), "UID   PID  PPID CMD\nroot   20   10 b\nroot    -    - -\n");
        assert_eq!(select(table, &[]).unwrap(), "UID   PID  PPID CMD\n");
        assert!(select("USER COMMAND\nroot 1\n", &[1]).is_err());
        assert!(select("", &[1]).is_err());
    }
}
