//! `orlop list [-q] [-f table|json]`

use super::{Context, Verb};
use crate::container::{self, StateReport, Status};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"], hide_possible_values = true)]
    pub format: String,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const PARSED: bool = true;

    fn run(self, ctx: &Context) -> Result<i32> {
        let all = container::list(&ctx.runtime()?)?;
        if self.quiet {
            super::print(&all.iter().map(|c| format!("{}\n", c.id)).collect::<String>())
        } else if self.format == "json" {
            super::print_json(&all)
        } else {
            super::print(&table(&all))
        }
    }
}

fn table(all: &[StateReport]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(all.iter().map(row)).collect();
    align(&rows)
}

fn row(c: &StateReport) -> [String; 6] {
    let status = match c.status {
        Status::Creating => "creating",
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Stopped => "stopped",
    };
    let bundle = c.bundle.display().to_string();
    [c.id.clone(), c.pid.to_string(), status.to_owned(), bundle, c.created.clone(), c.owner.clone()]
}

/// Columns at least 12 wide and 3 apart, the last one as long as it is: what
/// scripts that cut runc's table by columns expect.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let (last, cells) = row.split_last().map_or(("", &row[..]), |(last, cells)| (last.as_str(), cells));
        for (cell, width) in cells.iter().zip(widths) {
            out.push_str(&format!("{cell:width$}"));
        }
        out.push_str(last);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: &str) -> StateReport {
        StateReport {
            oci_version: "1.3.0".into(),
            id: id.into(),
            pid: 42,
            status: Status::Running,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-02T03:04:05Z".into(),
            annotations: Default::default(),
            oom: None,
            owner: "root".into(),
        }
    }

    #[test]
    fn columns_are_aligned() {
        let text = table(&[report("a"), report("a-rather-long-id")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ID                 PID         STATUS      BUNDLE      CREATED                OWNER");
        assert_eq!(lines[1], "a                  42          running     /b          2026-01-02T03:04:05Z   root");
        assert_eq!(lines[2], "a-rather-long-id   42          running     /b          2026-01-02T03:04:05Z   root");
    }

    #[test]
    fn header_alone() {
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    }
}
