//! A plan on a page: its time, what is free, what its packages are for, and what happens behind their end.

use maud::{Markup, html};

use super::content::{Charge, Package, PlanFacts};
use super::page::Writer;

/// A plan, under a heading of its own.
pub(super) fn section(writer: &Writer<'_>, number: usize, plan: &PlanFacts) -> Markup {
    let phrases = writer.phrases;
    let id = format!("plan-{number}");
    let free: Vec<&str> = plan.free().map(|class| writer.class(class)).collect();
    let essential = plan.charges.iter().filter(|charge| charge.essential);
    let essential: Vec<&str> = essential
        .map(|charge| writer.class(&charge.class))
        .collect();
    let gate: Vec<&str> = plan.gate.iter().map(|name| writer.package(name)).collect();
    html! {
        section aria-labelledby=(id) {
            h3 id=(id) { (writer.titled(&plan.plan)) }
            ul {
                @if plan.closed { li { (phrases.closed) } }
                @if let Some(from) = plan.valid_from { li { (phrases.valid_from) " " (writer.time(from)) "." } }
                @if let Some(until) = plan.valid_until {
                    li {
                        (phrases.valid_until) " " (writer.time(until)) "."
                        @if let Some(successor) = &plan.successor {
                            " " (phrases.successor) " " (writer.plan(successor)) "."
                        }
                    }
                }
                li { @if plan.settlement == "credit" { (phrases.credit) } @else { (phrases.advance) } }
                @if free.is_empty() {
                    li { (phrases.nothing_free) }
                } @else {
                    li { (phrases.free) ": " (free.join(", ")) "." }
                }
                @if !gate.is_empty() { li { (phrases.gate) ": " (gate.join(", ")) "." } }
                @if plan.suspension_ignored {
                    li { (phrases.never_suspended) }
                } @else if !essential.is_empty() {
                    li { (phrases.when_suspended) ": " (essential.join(", ")) "." }
                }
                (packages_anew(writer, plan))
            }
            @if !plan.packages.is_empty() { (packages(writer, plan)) }
            (charges(writer, plan))
        }
    }
}

fn packages_anew(writer: &Writer<'_>, plan: &PlanFacts) -> Markup {
    let phrases = writer.phrases;
    let count = match &*plan.count {
        "down" => phrases.count_down,
        "up" => phrases.count_up,
        _ => phrases.count_both,
    };
    let days = plan.cycle_days.map(|days| phrases.days.of(days));
    let anew = days.or_else(|| plan.cycle_months.map(|months| phrases.months.of(months)));
    html! {
        @if !plan.packages.is_empty() { li { (count) } }
        @if let Some(anew) = anew {
            li {
                (anew) " " (phrases.lapses)
                @if plan.renewed_by_billing { " " (phrases.renewed_when_paid) }
            }
        }
    }
}

fn packages(writer: &Writer<'_>, plan: &PlanFacts) -> Markup {
    let phrases = writer.phrases;
    let row = |package: &Package| {
        html! {
            tr {
                th scope="row" { (writer.package(&package.package)) }
                td { (writer.holds(&package.holds)) }
            }
        }
    };
    html! {
        table {
            caption { (phrases.packages) }
            thead { tr { th scope="col" { (phrases.package) } th scope="col" { (phrases.volume) } } }
            tbody { @for package in &plan.packages { (row(package)) } }
        }
    }
}

/// Who pays for what is not free: classes that are paid for alike share a line.
fn charges(writer: &Writer<'_>, plan: &PlanFacts) -> Markup {
    let phrases = writer.phrases;
    let mut alike: Vec<(&Charge, Vec<&str>)> = Vec::new();
    for charge in plan.charges.iter().filter(|charge| !charge.is_free()) {
        let same = |known: &&mut (&Charge, Vec<&str>)| {
            let known = known.0;
            (&known.packages, &known.end, &known.limit, known.essential)
                == (
                    &charge.packages,
                    &charge.end,
                    &charge.limit,
                    charge.essential,
                )
        };
        let class = writer.class(&charge.class);
        match alike.iter_mut().find(same) {
            Some((_, classes)) => classes.push(class),
            None => alike.push((charge, vec![class])),
        }
    }
    let row = |(charge, classes): &(&Charge, Vec<&str>)| {
        let first = charge.packages.first().map(|name| writer.package(name));
        html! {
            tr {
                th scope="row" { (classes.join(", ")) }
                td { (first.unwrap_or("–")) }
                td { (afterwards(writer, charge)) }
            }
        }
    };
    html! {
        @if !alike.is_empty() {
            table {
                caption { (phrases.covers) }
                thead {
                    tr {
                        th scope="col" { (phrases.service) }
                        th scope="col" { (phrases.package) }
                        th scope="col" { (phrases.afterwards) }
                    }
                }
                tbody { @for line in &alike { (row(line)) } }
            }
        }
    }
}

/// What pays behind the first package, in turn.
fn afterwards(writer: &Writer<'_>, charge: &Charge) -> String {
    let chain = &writer.phrases.chain;
    let packages = charge.packages.iter().skip(1);
    let mut steps: Vec<&str> = packages.map(|name| writer.package(name)).collect();
    let stop = if charge.essential {
        chain.free
    } else {
        chain.drop
    };
    steps.push(match &*charge.end {
        "free" => chain.free,
        "metered" => chain.metered,
        _ => stop,
    });
    // What is metered is so up to a limit, and then stops.
    if let Some(limit) = &charge.limit {
        let metered = steps.pop().unwrap_or_default();
        let bounded = format!("{metered} ({})", writer.package(limit));
        let steps = steps.into_iter().map(str::to_owned);
        let all: Vec<String> = steps.chain([bounded, stop.to_owned()]).collect();
        return all.join(&format!(", {} ", chain.then));
    }
    steps.join(&format!(", {} ", chain.then))
}
