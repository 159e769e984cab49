//! The benchmark: orlop beside crun and runc, interleaved, in one run.
//!
//! `measure` writes a JSON file; `show` makes the tables, the chart and the
//! part of `docs/performance.md` between its markers from such files.

mod arena;
mod bundles;
mod filter;
mod limit;
mod measure;
mod report;
mod stats;
mod svg;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use measure::{Runtime, Settings};
use report::Report;

/// orlop's own: what is timed in this process is orlop's code.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const USAGE: &str = "\
bench measure --out FILE [OPTIONS]     as root, with cgroup v2 at /sys/fs/cgroup
    --runtime NAME=PATH    a runtime to measure; repeat it for each
    --base NAME            the one the others are compared with [crun]
    --rounds N             rounds that count [100]
    --warmup N             rounds before, that do not [5]
    --gap MS               pause after each command [2]
    --bundle NAME          only min, or only pod
    --seccomp FILE         pod bundle: a profile in the format of containers-common
    --place TEXT, --date TEXT   for the report
bench show FILE… [--svg FILE] [--docs FILE]
    tables of FILE…; the chart is of the first";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("measure") => measure(&args[1..]),
        Some("show") => show(&args[1..]),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The value of an option that needs one.
fn value<'a>(flag: &str, rest: &mut impl Iterator<Item = &'a String>) -> Result<&'a str, String> {
    rest.next().map(String::as_str).ok_or_else(|| format!("{flag} needs a value"))
}

fn number(flag: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{flag}: not a number: {text}"))
}

fn measure(args: &[String]) -> Result<(), String> {
    let mut settings = Settings::default();
    let mut out = None;
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let text = value(flag, &mut rest)?;
        match flag.as_str() {
            "--out" => out = Some(PathBuf::from(text)),
            "--runtime" => settings.runtimes.push(Runtime::parse(text)?),
            "--base" => settings.base = text.to_owned(),
            "--rounds" => settings.rounds = number(flag, text)?,
            "--warmup" => settings.warmup = number(flag, text)?,
            "--gap" => settings.gap_ms = number(flag, text)? as u64,
            "--bundle" => settings.bundles.retain(|b| *b == text),
            "--seccomp" => settings.seccomp = Some(PathBuf::from(text)),
            "--place" => settings.place = text.to_owned(),
            "--date" => settings.date = text.to_owned(),
            _ => return Err(format!("no such option: {flag}\n{USAGE}")),
        }
    }
    let out = out.ok_or("measure needs --out")?;
    settings.check()?;
    let report = measure::measure(&settings)?;
    let text = serde_json::to_string(&report).map_err(|e| e.to_string())?;
    fs::write(&out, text).map_err(|e| format!("{}: {e}", out.display()))
}

fn show(args: &[String]) -> Result<(), String> {
    let (mut reports, mut svg, mut docs) = (Vec::new(), None, None);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--svg" => svg = Some(value(arg, &mut rest)?),
            "--docs" => docs = Some(value(arg, &mut rest)?),
            file => reports.push(Report::read(Path::new(file))?),
        }
    }
    let first = reports.first().ok_or("show needs a file")?;
    let text: Vec<String> = reports.iter().map(table::markdown).collect();
    let text = text.join("\n");
    println!("{text}");
    if let Some(path) = svg {
        fs::write(path, svg::chart(first)).map_err(|e| format!("{path}: {e}"))?;
    }
    if let Some(path) = docs {
        let old = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        let new = table::replace(&old, &text).ok_or_else(|| format!("{path}: no markers for the tables"))?;
        fs::write(path, new).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(())
}
