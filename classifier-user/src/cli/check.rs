//! `zerorate check`: reads a policy, and subscribers if asked, and says what is wrong with them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::{self, Checked};
use crate::subscribers;

/// Check a policy, and subscribers against it
///
/// Diagnostics go to standard error, one `file:line:column: error: message` each with a line of
/// help. Exits with 0 if there is no error (warnings are none), else with 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory with policy.toml and its lists
    policy_dir: PathBuf,
    /// Subscriber file (CSV: id,plan,state,addresses)
    #[arg(long, value_name = "FILE")]
    subscribers: Option<PathBuf>,
    /// Directory of the policy it is to follow: also says what becomes of subscribers' buckets (`zerorate diff` says
    /// what else changes)
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// None of its own: what is wrong with the files is printed and told by the exit code.
pub fn run(args: &Args) -> Result<ExitCode> {
    let checked = match policy::load(&args.policy_dir) {
        Ok(checked) => checked,
        Err(diagnostics) => return Ok(refuse(&diagnostics)),
    };
    warn(&checked.warnings);
    let mut warnings = checked.warnings.len();
    let mut summary = summarise(&checked);
    let mut on = None;
    if let Some(path) = &args.subscribers {
        match subscribers::load(path, &checked.policy) {
            Ok(loaded) => {
                warn(&loaded.warnings);
                warnings += loaded.warnings.len();
                summary.push(("subscribers", loaded.subscribers.len().to_string()));
                on = Some(loaded.by_plan(&checked.policy));
            }
            Err(diagnostics) => return Ok(refuse(&diagnostics)),
        }
    }
    if let Some(path) = &args.against {
        match policy::load(path) {
            Ok(old) => {
                let effects = policy::effects(&old.policy, &checked.policy, on.as_ref());
                summary.extend(effects.iter().map(|effect| ("buckets", effect.to_string())));
            }
            Err(diagnostics) => return Ok(refuse(&diagnostics)),
        }
    }
    summary.push(("warnings", warnings.to_string()));
    for (name, value) in summary {
        println!("{name:<12} {value}");
    }
    Ok(ExitCode::SUCCESS)
}

fn summarise(checked: &Checked) -> Vec<(&'static str, String)> {
    let policy = &checked.policy;
    let (v4, v6) = policy.prefix_counts();
    vec![
        ("policy", policy.name.clone()),
        ("version", policy.version.clone()),
        ("classes", policy.classes.len().to_string()),
        ("sets", policy.sets.len().to_string()),
        ("prefixes", format!("{v4} IPv4, {v6} IPv6")),
        ("plans", policy.plans.len().to_string()),
    ]
}

fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        eprintln!("{warning}");
    }
}

fn refuse(diagnostics: &Diagnostics) -> ExitCode {
    eprintln!("{diagnostics}");
    let (errors, warnings) = (diagnostics.errors(), diagnostics.warnings());
    eprintln!("errors: {errors}, warnings: {warnings}");
    ExitCode::FAILURE
}
