//! The report as Markdown, readable on a terminal as well.

use crate::measure::OPS;
use crate::report::{About, Filter, Measured, Report};
use crate::stats::{median, p10, paired_ratio, ratio};

const BEGIN: &str = "<!-- bench: begin, written by `make bench DOC=1` -->";
const END: &str = "<!-- bench: end -->";

/// The runtime that has targets.
const OURS: &str = "orlop";

/// How long each operation may take, as a share of what the base takes.
pub fn target(op: &str) -> f64 {
    match op {
        "run" | "create" => 0.6,
        "exec" => 0.5,
        _ => 0.25,
    }
}

/// The smallest memory limit that must do, in KiB.
const MEMORY_TARGET: u64 = 512;

/// One runtime's times beside the base's.
pub struct Ratios {
    /// Median of the ratios of each round.
    pub paired: f64,
    /// Ratio of the medians.
    pub medians: f64,
    /// Ratio of the tenth percentiles.
    pub p10: f64,
    /// Ratio of the medians of processor time.
    pub cpu: f64,
}

impl Ratios {
    /// `a` as a share of `base`.
    pub fn of(a: &Measured, base: &Measured) -> Self {
        let (wall, wall_base) = (&a.samples.wall_us, &base.samples.wall_us);
        Self {
            paired: paired_ratio(wall, wall_base),
            medians: ratio(median(wall), median(wall_base)),
            p10: ratio(p10(wall), p10(wall_base)),
            cpu: ratio(median(&a.samples.cpu_us), median(&base.samples.cpu_us)),
        }
    }

    /// Which of these are above the target.
    fn misses(&self, target: f64) -> Vec<&'static str> {
        let all = [(self.paired, "paired"), (self.medians, "median"), (self.p10, "p10"), (self.cpu, "cpu")];
        // As precise as the table, so that what it shows agrees with the verdict.
        all.iter().filter(|(r, _)| (r * 100.0).round() / 100.0 > target).map(|(_, name)| *name).collect()
    }
}

/// All tables of one report.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("### {}\n\n", report.place);
    text += &format!("{}: {}.\n", report.date, report.machine.join(", "));
    for about in &report.runtimes {
        text += &format!("{}: {}.\n", about.name, about.version.trim_end());
    }
    text += &format!(
        "{} rounds, {} ms between commands. Pod bundle {} seccomp filter. {}\n",
        report.rounds,
        report.gap_ms,
        if report.filter.is_some() { "with the" } else { "without a" },
        floor(report)
    );
    for bundle in report.bundles() {
        text += &format!("\n**{bundle}**: ms, wall median (p10); cpu median (p10)\n\n");
        text += &times(report, bundle);
    }
    text += "\n**What they do**: system calls / tasks / executed programs; peak resident set in MiB\n\n";
    text += &doings(report);
    text += &report.filter.as_ref().map(filter).unwrap_or_default();
    text += "\n**What they are**\n\n";
    text += &sizes(report);
    text
}

/// How long a filter may take to make and to load, in microseconds.
const FILTER_TARGETS: (f64, f64) = (500.0, 150.0);

fn filter(filter: &Filter) -> String {
    let one = |us: &[f64], target: f64| {
        let verdict = if median(us) <= target { "pass" } else { "**miss**" };
        format!("{:.0} ({:.0}) µs (target {target:.0}: {verdict})", median(us), p10(us))
    };
    format!(
        "\n**The filter** of the pod bundle in orlop: {} instructions; built in {}, loaded in {}\n",
        filter.instructions,
        one(&filter.build_us, FILTER_TARGETS.0),
        one(&filter.load_us, FILTER_TARGETS.1)
    )
}

fn floor(report: &Report) -> String {
    let (wall, cpu) = (&report.floor.wall_us, &report.floor.cpu_us);
    format!("Starting and reaping a static program that does nothing takes {} ms.", figures(wall, cpu))
}

/// `median (p10); median (p10)`, of wall and cpu, in ms.
fn figures(wall: &[f64], cpu: &[f64]) -> String {
    let pair = |us: &[f64]| format!("{:.2} ({:.2})", median(us) / 1e3, p10(us) / 1e3);
    format!("{}; {}", pair(wall), pair(cpu))
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn head(cells: &[String]) -> String {
    let line: Vec<String> =
        cells.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "---:" }.to_owned()).collect();
    row(cells) + &row(&line)
}

fn times(report: &Report, bundle: &str) -> String {
    let mut titles = vec!["op".to_owned()];
    titles.extend(report.runtimes.iter().map(|r| r.name.clone()));
    let others: Vec<&About> = report.runtimes.iter().filter(|r| r.name != report.base).collect();
    for other in &others {
        titles.push(format!("{} ÷ {}: by round", other.name, report.base));
        titles.extend(["median", "p10", "cpu"].map(str::to_owned));
        if other.name == OURS {
            titles.push("target".to_owned());
        }
    }
    let mut text = head(&titles);
    for op in OPS {
        let Some(base) = report.find(bundle, op, &report.base) else { continue };
        let mut cells = vec![op.to_owned()];
        let all = report.runtimes.iter().filter_map(|r| report.find(bundle, op, &r.name));
        cells.extend(all.map(|m| figures(&m.samples.wall_us, &m.samples.cpu_us)));
        for m in others.iter().filter_map(|r| report.find(bundle, op, &r.name)) {
            let ratios = Ratios::of(m, base);
            cells.extend([ratios.paired, ratios.medians, ratios.p10, ratios.cpu].map(|r| format!("{r:.2}")));
            if m.runtime == OURS {
                cells.push(verdict(target(op), &ratios.misses(target(op))));
            }
        }
        text += &row(&cells);
    }
    text
}

fn verdict(target: f64, misses: &[&str]) -> String {
    match misses.len() {
        0 => format!("{target} pass"),
        4 => format!("{target} **miss**"),
        _ => format!("{target} **miss** ({})", misses.join(", ")),
    }
}

fn doings(report: &Report) -> String {
    let mut titles = vec![String::new()];
    titles.extend(report.runtimes.iter().map(|r| r.name.clone()));
    let mut text = head(&titles);
    for bundle in report.bundles() {
        for op in OPS {
            let mut cells = vec![format!("{op}, {bundle}")];
            for m in report.runtimes.iter().filter_map(|r| report.find(bundle, op, &r.name)) {
                let mib = m.peak_kib as f64 / 1024.0;
                cells.push(format!("{} / {} / {}; {mib:.1}", m.syscalls, m.tasks, m.execs));
            }
            text += &row(&cells);
        }
    }
    text
}

fn sizes(report: &Report) -> String {
    let mut titles = vec![String::new()];
    titles.extend(report.runtimes.iter().map(|r| r.name.clone()));
    let line = |title: &str, cell: &dyn Fn(&About) -> String| {
        let mut cells = vec![title.to_owned()];
        cells.extend(report.runtimes.iter().map(cell));
        row(&cells)
    };
    head(&titles)
        + &line("binary, MB", &|r| format!("{:.1}", r.bytes as f64 / 1e6))
        + &line("shared libraries", &|r| r.libraries.to_string())
        + &line("smallest memory limit that starts, KiB", &memory)
}

fn memory(about: &About) -> String {
    match about.least_memory_kib {
        None => "no memory controller".to_owned(),
        Some(n) if about.name != OURS => n.to_string(),
        Some(n) if n <= MEMORY_TARGET => format!("{n} (target {MEMORY_TARGET}: pass)"),
        Some(n) => format!("{n} (target {MEMORY_TARGET}: **miss**)"),
    }
}

/// `document` with what is between the markers replaced; `None` without markers.
pub fn replace(document: &str, with: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{with}\n{END}{after}"))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::report::Samples;

    fn samples(us: f64) -> Samples {
        Samples { wall_us: vec![us; 3], cpu_us: vec![us; 3] }
    }

    /// orlop takes half of what crun takes, except for exec.
    pub fn example() -> Report {
        let mut report = Report { base: "crun".to_owned(), rounds: 3, ..Report::default() };
        for name in ["crun", "orlop"] {
            report.runtimes.push(About { name: name.to_owned(), ..About::default() });
            for op in OPS {
                let us = if name == "crun" || op == "exec" { 2000.0 } else { 1000.0 };
                let (bundle, op, runtime) = ("min".to_owned(), op.to_owned(), name.to_owned());
                report.results.push(Measured { bundle, op, runtime, samples: samples(us), ..Measured::default() });
            }
        }
        report
    }

    #[test]
    fn rows_have_ratios_and_verdicts() {
        let text = markdown(&example());
        let line = |op: &str| text.lines().find(|l| l.starts_with(&format!("| {op} |"))).unwrap().to_owned();
        assert_eq!(
            line("run"),
            "| run | 2.00 (2.00); 2.00 (2.00) | 1.00 (1.00); 1.00 (1.00) | 0.50 | 0.50 | 0.50 | 0.50 | 0.6 pass |"
        );
        assert!(line("exec").ends_with("| 1.00 | 1.00 | 1.00 | 1.00 | 0.5 **miss** |"), "{}", line("exec"));
        assert!(line("state").ends_with("| 0.25 **miss** |"), "{}", line("state"));
    }

    #[test]
    fn a_miss_names_the_figure() {
        let ratios = Ratios { paired: 0.2, medians: 0.254, p10: 0.256, cpu: 0.3 };
        assert_eq!(verdict(0.25, &ratios.misses(0.25)), "0.25 **miss** (p10, cpu)");
    }

    #[test]
    fn a_filter_has_targets() {
        let slow = Filter { instructions: 7, build_us: vec![600.0], load_us: vec![99.6] };
        let text = filter(&slow);
        assert!(text.contains("7 instructions; built in 600 (600) µs (target 500: **miss**)"), "{text}");
        assert!(text.contains("loaded in 100 (100) µs (target 150: pass)"), "{text}");
    }

    #[test]
    fn memory_has_a_target() {
        let about = |name: &str, kib| About { name: name.to_owned(), least_memory_kib: kib, ..About::default() };
        assert_eq!(memory(&about("orlop", Some(512))), "512 (target 512: pass)");
        assert_eq!(memory(&about("orlop", Some(544))), "544 (target 512: **miss**)");
        assert_eq!(memory(&about("crun", Some(320))), "320");
        assert_eq!(memory(&about("crun", None)), "no memory controller");
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let document = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(replace(&document, "new\n"), Some(format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n")));
        assert_eq!(replace("no markers", "new"), None);
    }
}
