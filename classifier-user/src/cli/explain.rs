//! `zerorate explain`: which class an address is in at a given time, why, and who pays for it under
//! each plan.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::policy::{self, Class, ListedPrefix, Plan, Policy, PrefixSet};

/// Explain the class of an address, and who pays for it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory with policy.toml and its lists
    policy_dir: PathBuf,
    /// The remote address, as in 203.0.113.7 or 2001:db8::1
    #[arg(long, value_name = "IP")]
    remote: IpAddr,
    /// Only this plan [default: every plan]
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// The time, as in 2024-05-01T00:00:00+05:00, or 2024-05-01 for its first instant in UTC
    /// [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What `explain` and `diff` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One object a line
    Json,
}

/// Runs the command.
///
/// # Errors
/// If there is no such plan. A policy with errors is reported like `check` does, by exit code 1.
pub fn run(args: &Args) -> Result<ExitCode> {
    let policy = match policy::load(&args.policy_dir) {
        Ok(checked) => checked.policy,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let plans = match &args.plan {
        None => policy.plans.iter().collect(),
        Some(name) => vec![find_plan(&policy, name)?],
    };
    let at = args.at.unwrap_or_else(Timestamp::now);
    let answer = Answer::new(&policy, args.remote, at);
    let charges: Vec<Charge<'_>> = plans
        .into_iter()
        .map(|plan| Charge::new(&answer, plan))
        .collect();
    match args.format {
        Format::Table => print_table(&answer, &charges),
        Format::Json => {
            println!("{}", serde_json::to_string(&answer)?);
            for charge in &charges {
                println!("{}", serde_json::to_string(charge)?);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn find_plan<'a>(policy: &'a Policy, name: &str) -> Result<&'a Plan> {
    match policy.plan(name) {
        Some((_, plan)) => Ok(plan),
        None => {
            let known = policy.plans.iter().map(|plan| plan.name.as_str());
            bail!(
                "the policy has no plan {name:?}; {}",
                policy::suggest(name, "plans", known)
            )
        }
    }
}

pub(super) fn parse_time(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let midnight = text
        .parse::<Date>()
        .ok()
        .filter(|_| text.len() == "2024-05-01".len());
    let zoned = midnight
        .context("write a time with its offset, as in 2024-05-01T00:00:00+05:00, or a date")?
        .to_zoned(TimeZone::UTC)?;
    Ok(zoned.timestamp())
}

/// The class of one address at one time, and why.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "explain")]
struct Answer<'a> {
    remote: IpAddr,
    at: String,
    policy: &'a str,
    policy_version: &'a str,
    class: &'a str,
    rating_group: u32,
    essential: bool,
    /// `None` if no set names the address: its class is the default class.
    #[serde(rename = "match")]
    matched: Option<Match<'a>>,
    /// Less specific listings that would decide if the match were not there.
    shadowed: Vec<Match<'a>>,
    /// Listings of sets that do not exist at that time.
    inactive: Vec<Match<'a>>,
    #[serde(skip)]
    index: usize,
}

/// A listing that covers the address.
#[derive(Serialize)]
struct Match<'a> {
    prefix: String,
    set: &'a str,
    class: &'a str,
    source: Option<&'a str>,
    file: String,
    line: u32,
    column: u32,
    valid_from: Option<String>,
    valid_until: Option<String>,
    #[serde(skip)]
    validity: String,
}

impl<'a> Answer<'a> {
    fn new(policy: &'a Policy, remote: IpAddr, at: Timestamp) -> Self {
        let (index, _) = policy.class_of(remote, at);
        let Class {
            name,
            rating_group,
            essential,
        } = &policy.classes[index];
        let (active, inactive): (Vec<_>, Vec<_>) = policy
            .listings_of(remote)
            .into_iter()
            .partition(|(set, _)| set.validity.contains(at));
        let show = |listing| Match::new(policy, listing);
        let mut active = active.into_iter().map(show);
        Answer {
            remote,
            at: at.to_string(),
            policy: &policy.name,
            policy_version: &policy.version,
            class: name,
            rating_group: *rating_group,
            essential: *essential,
            matched: active.next(),
            shadowed: active.collect(),
            inactive: inactive.into_iter().map(show).collect(),
            index,
        }
    }
}

impl<'a> Match<'a> {
    fn new(policy: &'a Policy, (set, prefix): (&'a PrefixSet, &ListedPrefix)) -> Self {
        Match {
            prefix: prefix.net.to_string(),
            set: &set.name,
            class: &policy.classes[set.class].name,
            source: set.source.as_deref(),
            file: prefix.place.file.display().to_string(),
            line: prefix.place.line,
            column: prefix.place.column,
            valid_from: set.validity.from.as_ref().map(Timestamp::to_string),
            valid_until: set.validity.until.as_ref().map(Timestamp::to_string),
            validity: set.validity.to_string(),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Who pays for the class under one plan.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "charge")]
struct Charge<'a> {
    plan: &'a str,
    class: &'a str,
    chain: Vec<&'a str>,
    /// Empty if there is none, or if it does not matter because the chain is free.
    gate: Vec<&'a str>,
    count: &'static str,
    /// The bucket without which nothing is metered; what is beyond it is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    /// Whether a suspended subscriber reaches the class.
    when_suspended: &'static str,
}

impl<'a> Charge<'a> {
    fn new(answer: &Answer<'a>, plan: &'a Plan) -> Self {
        let chain = plan.chains[answer.index].words(plan);
        let ungated = chain == ["free"];
        let gate = plan.gate.iter().filter(|_| !ungated);
        Charge {
            plan: &plan.name,
            class: answer.class,
            chain,
            gate: gate
                .map(|&bucket| plan.buckets[bucket].name.as_str())
                .collect(),
            count: plan.count.as_str(),
            limit: plan
                .limit_of(&plan.chains[answer.index])
                .map(|bucket| plan.buckets[bucket].name.as_str()),
            when_suspended: if answer.essential || plan.suspension_ignored {
                "pass"
            } else {
                "drop"
            },
        }
    }
}

fn print_table(answer: &Answer<'_>, charges: &[Charge<'_>]) {
    let row = |name: &str, value: &str| println!("{name:<14} {value}");
    let essential = if answer.essential { ", essential" } else { "" };
    row("remote", &answer.remote.to_string());
    row("at", &answer.at);
    row(
        "policy",
        &format!("{} (version {})", answer.policy, answer.policy_version),
    );
    row(
        "class",
        &format!(
            "{} (rating group {}{essential})",
            answer.class, answer.rating_group
        ),
    );
    match &answer.matched {
        None => row("set", "none: this is the default class"),
        Some(found) => {
            row("set", found.set);
            row("source", found.source.unwrap_or("not given"));
            row("prefix", &found.prefix);
            row("listed at", &found.place());
            row("valid", &found.validity);
        }
    }
    for other in &answer.shadowed {
        row("less specific", &describe(other));
    }
    for other in &answer.inactive {
        row(
            "not in force",
            &format!("{}, valid {}", describe(other), other.validity),
        );
    }
    let shut = if answer.essential { "free" } else { "dropped" };
    for charge in charges {
        println!();
        row("plan", charge.plan);
        row("chain", &charge.chain.join(" > "));
        if answer.essential {
            row(
                "",
                "essential: never dropped, free where the chain or a gate would drop it",
            );
        }
        if !charge.gate.is_empty() {
            row(
                "gate",
                &format!("{shut} if all are empty: {}", charge.gate.join(", ")),
            );
        }
        if let Some(limit) = charge.limit {
            row(
                "limit",
                &format!("metered while {limit} holds something, then {shut}"),
            );
        }
        row("draws down", charge.count);
        row("suspended", charge.when_suspended);
    }
}

fn describe(found: &Match<'_>) -> String {
    format!(
        "{} {} (set {}, {})",
        found.prefix,
        found.class,
        found.set,
        found.place()
    )
}
