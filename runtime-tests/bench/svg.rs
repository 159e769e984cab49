//! The chart: a bar for each operation and runtime, as a share of the base.

use std::fmt::Write;

use crate::measure::OPS;
use crate::report::Report;
use crate::stats::paired_ratio;
use crate::table::target;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 44.0;
const PANEL: f64 = 170.0;
const TOP: f64 = 44.0;
const GAP: f64 = 56.0;
/// Where bars end, whatever their value.
const CLIP: f64 = 1.5;

/// Colours that can be told apart on white and on black; the text takes the page's.
const STYLE: &str = "text { font: 12px sans-serif; fill: #24292f; }
.title { font-weight: bold; } .value { font-size: 10px; }
.axis { stroke: #8c959f; stroke-width: 1; } .base { stroke: #8c959f; stroke-dasharray: 4 3; }
.target { stroke: #cf222e; stroke-width: 2; }
.bar0 { fill: #2f81f7; } .bar1 { fill: #d4762a; } .bar2 { fill: #3fa45b; } .bar3 { fill: #a371f7; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .target { stroke: #ff7b72; } }";

/// The chart of a report, ours first.
pub fn chart(report: &Report) -> String {
    let mut names: Vec<&str> = report.runtimes.iter().map(|r| r.name.as_str()).filter(|n| *n != report.base).collect();
    names.sort_by_key(|n| *n != "orlop");
    let bundles = report.bundles();
    let height = TOP + bundles.len() as f64 * (PANEL + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Wall time as a share of that of {}</title>\n<style>\n{STYLE}\n</style>\n",
        escape(&report.base)
    );
    legend(&mut svg, &names, &report.base);
    for (i, bundle) in bundles.iter().enumerate() {
        panel(&mut svg, report, bundle, &names, TOP + i as f64 * (PANEL + GAP));
    }
    svg + "</svg>\n"
}

fn text(svg: &mut String, x: f64, y: f64, rest: &str, what: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\"{rest}>{}</text>", escape(what));
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn legend(svg: &mut String, names: &[&str], base: &str) {
    text(svg, LEFT, 18.0, " class=\"title\"", &format!("wall time, {base} = 1 (median of the ratios of each round)"));
    let mut x = WIDTH - 90.0 * (names.len() + 1) as f64;
    for (i, name) in names.iter().enumerate() {
        let _ = writeln!(svg, "<rect class=\"bar{}\" x=\"{x:.1}\" y=\"8\" width=\"12\" height=\"12\"/>", i % 4);
        text(svg, x + 17.0, 18.0, "", name);
        x += 90.0;
    }
    line(svg, "target", (x, 14.0), (x + 16.0, 14.0));
    text(svg, x + 21.0, 18.0, "", "target");
}

fn panel(svg: &mut String, report: &Report, bundle: &str, names: &[&str], top: f64) {
    let bottom = top + PANEL;
    let y = |ratio: f64| bottom - (ratio.min(CLIP) / CLIP) * (PANEL - 16.0);
    text(svg, LEFT, top + 4.0, " class=\"title\"", bundle);
    line(svg, "axis", (LEFT, bottom), (WIDTH, bottom));
    line(svg, "base", (LEFT, y(1.0)), (WIDTH, y(1.0)));
    for tick in [0.0, 0.5, 1.0] {
        text(svg, LEFT - 6.0, y(tick) + 4.0, " text-anchor=\"end\"", &format!("{tick}"));
    }
    let group = (WIDTH - LEFT) / OPS.len() as f64;
    let wide = group * 0.7 / names.len().max(1) as f64;
    for (i, op) in OPS.iter().enumerate() {
        let left = LEFT + group * (i as f64 + 0.15);
        text(svg, left + group * 0.35, bottom + 16.0, " text-anchor=\"middle\"", op);
        for (j, name) in names.iter().enumerate() {
            let pair = (report.find(bundle, op, name), report.find(bundle, op, &report.base));
            let (Some(m), Some(base)) = pair else { continue };
            let ratio = paired_ratio(&m.samples.wall_us, &base.samples.wall_us);
            let x = left + j as f64 * wide;
            let _ = writeln!(
                svg,
                "<rect class=\"bar{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                j % 4,
                y(ratio),
                wide - 2.0,
                bottom - y(ratio)
            );
            // A bar that is cut off says so.
            let label = if ratio > CLIP { format!("↑{ratio:.1}") } else { format!("{ratio:.2}") };
            text(svg, x + wide / 2.0 - 1.0, y(ratio) - 4.0, " class=\"value\" text-anchor=\"middle\"", &label);
        }
        line(svg, "target", (left - 4.0, y(target(op))), (left + wide + 2.0, y(target(op))));
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::example;

    /// The attribute of the first element of a class.
    fn attribute(svg: &str, class: &str, name: &str) -> f64 {
        let line = svg.lines().find(|l| l.contains(&format!("class=\"{class}\" x"))).expect("such an element");
        let rest = line.split_once(&format!("{name}=\"")).expect("such an attribute").1;
        rest.split('"').next().unwrap().parse().unwrap()
    }

    #[test]
    fn half_the_time_is_half_the_height() {
        let svg = chart(&example());
        let rows: Vec<&str> = svg.lines().filter(|l| l.contains("<rect class=\"bar0\"")).skip(1).collect();
        assert_eq!(rows.len(), OPS.len());
        let height =
            |l: &str| -> f64 { l.split_once("height=\"").unwrap().1.split('"').next().unwrap().parse().unwrap() };
        let base_height = attribute(&svg, "axis", "y1") - attribute(&svg, "base", "y1");
        assert!((height(rows[0]) - base_height / 2.0).abs() < 0.2, "run: {}", rows[0]);
        assert!((height(rows[5]) - base_height).abs() < 0.2, "exec: {}", rows[5]);
    }

    #[test]
    fn names_are_escaped_and_long_bars_are_cut() {
        let mut report = example();
        report.base = "<&>".to_owned();
        report.runtimes[0].name = "<&>".to_owned();
        for m in &mut report.results {
            if m.runtime == "crun" {
                m.runtime = "<&>".to_owned();
                m.samples.wall_us = vec![10.0; 3];
            }
        }
        let svg = chart(&report);
        assert!(svg.contains("&lt;&amp;&gt; = 1") && !svg.contains("<&>"));
        assert!(svg.contains("↑100.0"));
    }
}
