//! `zerorate publish`: the pages that operators owe their subscribers, from the policy.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::explain::parse_time;
use crate::diagnostic::render::Renderer;
use crate::language::Language;
use crate::policy::{self, Terms};
use crate::publish::{Publication, previous, write};

/// Write the pages that subscribers are to read: plans, packages, free services, restrictions, and what changed
///
/// A page of HTML for each language, and publication.json with all of it. What changed is told by comparing with the
/// publication.json that is in the directory. What has no title in a language is told by its name, with a warning.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory with policy.toml and its lists
    policy_dir: PathBuf,
    /// Directory to write into; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Languages, separated by commas [default: all]
    #[arg(long, value_name = "LANG", value_delimiter = ',')]
    lang: Vec<Language>,
    /// Time zone in which the pages have times, as in Asia/Almaty
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = parse_zone)]
    timezone: TimeZone,
    /// The time of the publication, as in 2026-11-26T09:00:00+05:00, or 2026-11-26 for its first instant in UTC
    /// [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
}

/// Runs the command.
///
/// # Errors
/// When the pages cannot be written. A policy with errors is reported like `check` does, by exit code 1.
pub fn run(args: &Args) -> Result<ExitCode> {
    let at = args.at.unwrap_or_else(Timestamp::now);
    let at = Timestamp::from_second(at.as_second())?;
    let terms = Terms {
        now: at,
        ..Terms::now()
    };
    let policy = match policy::load_on(&args.policy_dir, &terms) {
        Ok(checked) => checked.policy,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let languages = languages(&args.lang);
    let mut renderer = Renderer::for_stderr();
    for warning in policy.untitled(&languages) {
        eprintln!("{}", renderer.show(&warning));
    }
    let last = previous(&args.out)?;
    let publication = Publication::of(&policy, at, &args.timezone, last.as_ref());
    for path in write(&args.out, &publication, &languages)? {
        println!("{}", path.display());
    }
    for language in Language::ALL {
        let page = args.out.join(format!("{language}.html"));
        if !languages.contains(&language) && page.exists() {
            eprintln!(
                "{}: warning: of an earlier publication, and not written again\n  help: add {language} to --lang, or \
                 remove it",
                page.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Each language once, in the order in which they are listed everywhere.
fn languages(asked: &[Language]) -> Vec<Language> {
    let all = Language::ALL.into_iter();
    all.filter(|language| asked.is_empty() || asked.contains(language))
        .collect()
}

fn parse_zone(text: &str) -> Result<TimeZone> {
    TimeZone::get(text).with_context(|| {
        format!("there is no time zone {text:?}; write one of the IANA database, as in Asia/Almaty")
    })
}
