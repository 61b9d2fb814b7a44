//! The figures as people read them.

use crate::goals::goals;
use crate::packets::Pattern;
use crate::results::{Line, Program, Results};

const PROGRAMS: [Program; 7] = [
    Program::Floor,
    Program::Parse,
    Program::Reference,
    Program::Nftables,
    Program::Ours,
    Program::OursTc,
    Program::Native,
];

/// Prints everything: costs of a packet, other figures, goals.
pub(crate) fn print(results: &Results) {
    println!(
        "\nA packet's cost in ns (± half the distance of the quartiles); ours/ref and ours/nft are over the floor"
    );
    print!(
        "{:>2} {:>9} {:>11} {:>8} {:>4}",
        "IP", "prefixes", "subscribers", "pattern", "CPUs"
    );
    for program in PROGRAMS {
        print!(" {:>14}", program.name());
    }
    println!(" {:>9} {:>9} {:>10}", "ours/ref", "ours/nft", "ours-floor");
    let mut shown: Vec<&Line> = Vec::new();
    for line in &results.lines {
        if shown.iter().any(|before| same_place(before, line)) {
            continue;
        }
        shown.push(line);
        let row = |program| {
            let mut found = results.lines.iter();
            found.find(|other| same_place(other, line) && other.program == program)
        };
        print!(
            "{:>2} {:>9} {:>11} {:>8} {:>4}",
            line.family,
            line.prefixes,
            line.subscribers,
            pattern(line.pattern),
            line.cpus
        );
        for program in PROGRAMS {
            match row(program) {
                Some(line) => print!(" {:>8.1} ±{:>4.1}", line.ns, line.spread / 2.0),
                None => print!(" {:>14}", "-"),
            }
        }
        let over_floor = |program| Some(row(program)?.ns - row(Program::Floor)?.ns);
        let ratio = |to| Some(over_floor(to)? / over_floor(Program::Ours)?);
        for ratio in [ratio(Program::Reference), ratio(Program::Nftables)] {
            match ratio {
                Some(ratio) => print!(" {:>9}", format!("1/{ratio:.1}")),
                None => print!(" {:>9}", "-"),
            }
        }
        println!(" {:>10.1}", over_floor(Program::Ours).unwrap_or(0.0));
    }
    println!("\nOther figures");
    for figure in &results.figures {
        println!(" {:<34} {}", figure.figure, figure.value);
    }
    println!("\nGoals");
    for goal in goals(results) {
        let Some(reached) = goal.reached else {
            println!(
                " {:<78} {:>8} not measured in this run",
                goal.what, goal.bound
            );
            continue;
        };
        let verdict = if goal.met { "met" } else { "NOT MET" };
        println!(
            " {:<78} {:>8} {:>10} {verdict}",
            goal.what,
            goal.bound,
            said(goal.bound, reached)
        );
    }
}

/// A figure in the form of its bound.
fn said(bound: &str, reached: f64) -> String {
    if bound.contains('/') && reached > 0.0 {
        format!("1/{:.1}", 1.0 / reached)
    } else if reached.fract() == 0.0 {
        format!("{reached}")
    } else {
        format!("{reached:.3}")
    }
}

fn same_place(one: &Line, other: &Line) -> bool {
    let place = |line: &Line| {
        (
            line.family,
            line.prefixes,
            line.subscribers,
            line.pattern,
            line.cpus,
        )
    };
    place(one) == place(other)
}

const fn pattern(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::Hot => "hot",
        Pattern::Zipf => "zipf",
        Pattern::Uniform => "uniform",
    }
}
