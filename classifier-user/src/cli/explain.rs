//! `zerorate explain`: which class an address is in at a given time, why, and who pays for it under
//! each plan; now, or as it was. And the reverse: what a set, a class or a whole prefix is, and what a usage record came from.

mod address;
mod asn;
mod lifetime;
mod record;
mod reverse;
mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, ValueEnum};
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use self::address::{Answer, print_table};
use self::lifetime::Life;
use self::source::{Found, Source};
use crate::import::Key;
use crate::policy::{self, Plan, Policy, parse_prefix};

/// Explain the class of an address, and who pays for it
///
/// From a policy directory, or from what was in force on a gateway at a time (--history). Also: which sets touch a whole
/// prefix, or what an AS originates; what a set or a class holds, and what a usage record came from.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// The remote address, as in 203.0.113.7 or 2001:db8::1; or a whole prefix, for the sets that touch it
    #[arg(long, value_name = "IP", group = "what", value_parser = parse_remote)]
    remote: Option<IpNet>,
    /// Which sets touch what this AS originates, as in AS48979; with --routes or --dump
    #[arg(long, value_name = "AS", group = "what", value_parser = parse_asn)]
    asn: Option<String>,
    #[command(flatten)]
    routes: asn::Routes,
    /// What this set holds
    #[arg(long, value_name = "NAME", group = "what")]
    set: Option<String>,
    /// Which sets this class is made of, and who pays for it
    #[arg(long, value_name = "NAME", group = "what")]
    class: Option<String>,
    /// What the usage record of this number came from; with --history and --ledger, or --config
    #[arg(long, value_name = "SEQ", group = "what", conflicts_with_all = ["policy_dir", "kept", "at", "plan"])]
    record: Option<u64>,
    /// The ledger the record is in [default: of the configuration]
    #[arg(long, value_name = "FILE", requires = "record")]
    ledger: Option<PathBuf>,
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
    if let Some(seq) = args.record {
        let ledger = match &args.ledger {
            Some(ledger) => Some(ledger.clone()),
            None => args.source.ledger()?,
        };
        let ledger = ledger.context("name the ledger with --ledger FILE, or --config FILE")?;
        record::explain(&args.source, &ledger, seq, args.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let at = args.at.unwrap_or_else(Timestamp::now);
    let Found { policy, in_force } = match args.source.at(at)? {
        Ok(found) => found,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let plans = match &args.plan {
        None => policy.plans.iter().collect(),
        Some(name) => vec![find_plan(&policy, name)?],
    };
    if let Some(set) = &args.set {
        reverse::set(&policy, set, at, args.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &args.class {
        explain_class(&policy, name, &plans, at, args.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(asn) = &args.asn {
        args.routes.explain(&policy, asn, at, args.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let remote = args.remote.context("name a --remote")?;
    if remote.prefix_len() != remote.max_prefix_len() {
        reverse::touching(&policy, remote, at, args.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = Answer::new(&policy, remote.addr(), at, in_force);
    let charges: Vec<Charge<'_>> = plans
        .into_iter()
        .map(|plan| Charge::new(&answer, &policy, plan, at))
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

/// Prints the sets of a class, and who pays for it.
fn explain_class(
    policy: &Policy,
    name: &str,
    plans: &[&Plan],
    at: Timestamp,
    format: Format,
) -> Result<()> {
    let Some((index, class)) = policy.class(name) else {
        let known = policy.classes.iter().map(|class| class.name.as_str());
        bail!(
            "the policy has no class {name:?}; {}",
            policy::suggest(name, "classes", known)
        )
    };
    if format == Format::Table {
        reverse::head(policy, at);
    }
    reverse::sets_of(policy, index, at, true, format)?;
    if format == Format::Table && index == policy.default_class {
        println!("\nThe default class: every remote address that no set names.");
    }
    for plan in plans {
        let life = Life::of(policy, plan, at);
        let charge = Charge::of(&class.name, class.essential, index, plan, life);
        match format {
            Format::Table => print_charge(class.essential, &charge),
            Format::Json => println!("{}", serde_json::to_string(&charge)?),
        }
    }
    Ok(())
}

/// An address, or a prefix.
fn parse_remote(text: &str) -> Result<IpNet> {
    parse_prefix(text).map_err(|error| anyhow::anyhow!("{error}; {}", error.help()))
}

/// An AS number, as tables are compared with it.
fn parse_asn(text: &str) -> Result<String> {
    let normal = Key::Asn.normal(text);
    normal.map_err(|error| anyhow::anyhow!("{error}; {}", error.help()))
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
    #[serde(flatten)]
    life: Life<'a>,
}

impl<'a> Charge<'a> {
    fn new(answer: &Answer<'a>, policy: &'a Policy, plan: &'a Plan, at: Timestamp) -> Self {
        let life = Life::of(policy, plan, at);
        Self::of(answer.class, answer.essential, answer.index, plan, life)
    }

    /// Who pays for the class of this number.
    fn of(class: &'a str, essential: bool, index: usize, plan: &'a Plan, life: Life<'a>) -> Self {
        let chain = plan.chains[index].words(plan);
        let ungated = chain == ["free"];
        let gate = plan.gate.iter().filter(|_| !ungated);
        Charge {
            plan: &plan.name,
            class,
            chain,
            gate: gate
                .map(|&bucket| plan.buckets[bucket].name.as_str())
                .collect(),
            count: plan.count.as_str(),
            limit: plan
                .limit_of(&plan.chains[index])
                .map(|bucket| plan.buckets[bucket].name.as_str()),
            when_suspended: if essential || plan.suspension_ignored {
                "pass"
            } else {
                "drop"
            },
            life,
        }
    }
}

/// Who pays, behind an empty line.
fn print_charge(essential: bool, charge: &Charge<'_>) {
    let shut = if essential { "free" } else { "dropped" };
    println!();
    row("plan", charge.plan);
    charge.life.print();
    row("chain", &charge.chain.join(" > "));
    if essential {
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

/// A line for people.
fn row(name: &str, value: &str) {
    println!("{name:<14} {value}");
}
