//! A chart of what a packet costs over the floor, on a logarithmic scale, as the number of prefixes grows: uniformly
//! random packets, the most subscribers that were measured.

use std::fmt::Write as _;

use crate::packets::Pattern;
use crate::results::{Line, Program, Results};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;
const PANEL: f64 = 350.0;
const GAP: f64 = 50.0;
/// Decades of the scale, from 1 ns.
const DECADES: f64 = 4.0;

const SERIES: [(Program, &str); 3] = [
    (Program::Reference, "#b45309"),
    (Program::Nftables, "#6d28d9"),
    (Program::Ours, "#0f766e"),
];

/// Draws the chart.
pub(crate) fn draw(results: &Results) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">A packet's cost over an empty program, ns \
         (uniformly random packets)</text>\n"
    );
    for (number, family) in [4, 6].into_iter().enumerate() {
        let left = LEFT + number as f64 * (PANEL + GAP);
        panel(&mut svg, results, family, left);
    }
    svg.push_str("</svg>\n");
    svg
}

fn height_of(ns: f64) -> f64 {
    let share = ns.max(1.0).log10() / DECADES;
    HEIGHT - BOTTOM - share.min(1.0) * (HEIGHT - TOP - BOTTOM)
}

fn panel(svg: &mut String, results: &Results, family: u8, left: f64) {
    let uniform =
        |line: &&Line| line.family == family && line.pattern == Pattern::Uniform && line.cpus == 1;
    let lines: Vec<&Line> = results.lines.iter().filter(uniform).collect();
    let Some(subscribers) = lines.iter().map(|line| line.subscribers).max() else {
        return;
    };
    let right = left + PANEL;
    for decade in 0..=DECADES as i32 {
        let (y, ns) = (height_of(10_f64.powi(decade)), 10_i32.pow(decade as u32));
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {y}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" \
             text-anchor=\"end\" fill=\"#555\">{ns}</text>",
            left - 6.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"38\" fill=\"#555\">IPv{family}, {subscribers} subscribers</text>"
    );
    let mut sizes: Vec<usize> = lines
        .iter()
        .filter(|line| line.subscribers == subscribers)
        .map(|line| line.prefixes)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    let step = PANEL / sizes.len() as f64;
    let at = |size: usize| {
        let place = sizes.iter().position(|found| *found == size)?;
        Some(left + (place as f64 + 0.5) * step)
    };
    for size in &sizes {
        let x = at(*size).unwrap_or(left);
        let y = HEIGHT - BOTTOM + 18.0;
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#555\">{size}</text>"
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">prefixes</text>",
        left + PANEL / 2.0,
        HEIGHT - 12.0
    );
    for (program, colour) in SERIES {
        let mut points: Vec<(f64, f64, f64)> = Vec::new();
        for size in &sizes {
            let ns = |program| {
                let mut found = lines.iter().filter(|line| {
                    line.program == program
                        && line.prefixes == *size
                        && line.subscribers == subscribers
                });
                found.next().map(|line| line.ns)
            };
            if let (Some(x), Some(ns), Some(floor)) = (at(*size), ns(program), ns(Program::Floor)) {
                points.push((x, height_of(ns - floor), ns - floor));
            }
        }
        series(svg, &points, program.name(), colour);
    }
}

fn series(svg: &mut String, points: &[(f64, f64, f64)], name: &str, colour: &str) {
    let path: Vec<String> = points
        .iter()
        .map(|(x, y, _)| format!("{x:.1},{y:.1}"))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (number, (x, y, ns)) in points.iter().enumerate() {
        // The first point says whose line it is.
        let whose = if number == 0 {
            format!("{name} ")
        } else {
            String::new()
        };
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/><text x=\"{x:.1}\" \
             y=\"{:.1}\" text-anchor=\"middle\" fill=\"{colour}\">{whose}{ns:.0}</text>",
            y - 8.0
        );
    }
}
