//! `zerorate diff`: what one policy makes other than another one, and what becomes of subscribers' buckets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::explain::{Format, parse_time};
use crate::policy::{self, Becomes, Changes, Effect, Policy, What};
use crate::subscribers;

/// Compare two policies
///
/// Says which prefixes change their class, which terms of classes and plans change, and what becomes of the buckets
/// subscribers have. Prints nothing where nothing changes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the policy as it is
    old_dir: PathBuf,
    /// Directory of the policy as it is to be
    new_dir: PathBuf,
    /// Subscriber file (CSV): says how many subscribers each change of a bucket is about
    #[arg(long, value_name = "FILE")]
    subscribers: Option<PathBuf>,
    /// The time at which prefixes are compared, as in 2024-05-01T00:00:00+05:00, or 2024-05-01 for its first
    /// instant in UTC [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// None of its own: what is wrong with the files is reported like `check` does, by exit code 1.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (Some(old), Some(new)) = (load(&args.old_dir), load(&args.new_dir)) else {
        return Ok(ExitCode::FAILURE);
    };
    let on = match &args.subscribers {
        None => None,
        // As they are, not as they are to be: who is on a plan that goes is wrong with the new policy.
        Some(path) => match subscribers::load(path, &new) {
            Ok(loaded) => Some(loaded.by_plan(&new)),
            Err(diagnostics) => {
                eprintln!("{diagnostics}");
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    let at = args.at.unwrap_or_else(Timestamp::now);
    let changes = Changes::between(&old, &new, at);
    let effects = policy::effects(&old, &new, on.as_ref());
    match args.format {
        Format::Table => {
            let lines = changes.to_string();
            let effects = effects.iter().map(Effect::to_string);
            for line in lines.lines().map(str::to_owned).chain(effects) {
                println!("{line}");
            }
        }
        Format::Json => {
            for line in prefixes(&changes)
                .chain(terms(&changes))
                .chain(effects.iter().map(effect))
            {
                println!("{line}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load(dir: &Path) -> Option<Policy> {
    match policy::load(dir) {
        Ok(checked) => Some(checked.policy),
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            None
        }
    }
}

fn prefixes(changes: &Changes) -> impl Iterator<Item = Value> {
    changes.prefixes.iter().map(|change| {
        json!({
            "kind": "prefixes",
            "from": change.from,
            "to": change.to,
            "count": change.count,
            "samples": change.samples,
        })
    })
}

fn terms(changes: &Changes) -> impl Iterator<Item = Value> {
    changes.terms.iter().map(|change| {
        let (what, from, to) = match &change.what {
            What::Added => ("added", None, None),
            What::Removed => ("removed", None, None),
            What::Changed { from, to } => ("changed", Some(from), Some(to)),
        };
        json!({"kind": "term", "subject": change.subject, "what": what, "from": from, "to": to})
    })
}

fn effect(effect: &Effect) -> Value {
    let what = match effect.what {
        Becomes::Created(_) => "created",
        Becomes::Unused => "unused",
        Becomes::Volume { .. } => "volume",
        Becomes::Price(_) => "price",
        Becomes::Kind => "kind",
    };
    json!({
        "kind": "bucket",
        "plan": effect.plan,
        "bucket": effect.bucket,
        "what": what,
        "subscribers": effect.subscribers,
        "text": effect.to_string(),
    })
}
