//! `zerorate statement`: a subscriber's statement for a billing period, in its language, to be read, printed or sent.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::ArgGroup;
use hyper::Method;
use jiff::ToSpan as _;
use jiff::civil::Date;

use super::agent::Socket;
use crate::api::client::{ask, escape};
use crate::language::Language;
use crate::report;
use crate::report::statement::{Sheet, Statement};

/// A subscriber's statement for a period, in a language: time, speed, volume, prices, outages
///
/// The numbers are those of `zerorate usage --subscriber`, whose JSON it prints with --format json.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("when").multiple(true).conflicts_with("period"))]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    /// Id of the subscriber
    subscriber: String,
    /// The month, in the gateway's time zone, as in 2026-11
    #[arg(long, value_name = "MONTH", value_parser = parse_month)]
    period: Option<Date>,
    /// Or what was recorded after this: a date in the gateway's time zone, or RFC 3339
    #[arg(long, value_name = "TIME", group = "when")]
    from: Option<String>,
    /// And not after this [default: now]
    #[arg(long, value_name = "TIME", group = "when")]
    to: Option<String>,
    /// The language
    #[arg(long, value_name = "LANG", default_value_t = Language::En)]
    lang: Language,
    /// How to print: text; csv for spreadsheets; html, a page to be printed; json
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Csv,
    Html,
    Json,
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer, or knows nothing of the subscriber.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (from, to) = match args.period {
        Some(first) => {
            let next = first.checked_add(1.month());
            let next = next.context("there is no month behind the period")?;
            (Some(first.to_string()), Some(next.to_string()))
        }
        None => (args.from.clone(), args.to.clone()),
    };
    let bounds = [("from", from), ("to", to)];
    let bounds: Vec<String> = bounds
        .into_iter()
        .filter_map(|(name, time)| Some(format!("{name}={}", escape(&time?))))
        .collect();
    let path = format!(
        "/v1/subscribers/{}/usage?{}",
        escape(&args.subscriber),
        bounds.join("&")
    );
    let statement: Statement = ask(&args.socket.socket, Method::GET, &path)?;
    let mut out = io::stdout().lock();
    let sheet = || Sheet::of(&statement, args.lang);
    match args.format {
        Format::Text => sheet().text(&mut out)?,
        Format::Csv => sheet().csv(&mut out)?,
        Format::Html => out.write_all(sheet().page().as_bytes())?,
        Format::Json => statement.write(&mut out, report::Format::Json)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The first day of a month.
fn parse_month(text: &str) -> Result<Date> {
    let first = Some(text).filter(|text| text.len() == "2026-11".len());
    let first = first.and_then(|text| format!("{text}-01").parse().ok());
    first.context("write a month as in 2026-11; for other periods there are --from and --to")
}
