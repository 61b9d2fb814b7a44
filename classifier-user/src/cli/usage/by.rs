//! `zerorate usage --by`: what records add up to, by the hour or by the day.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::api::client::{Fetched, Lines, escape, fetch, parse};
use crate::api::routes::{COMPLETE_UNTIL, COUNT, NEXT_AFTER};
use crate::cli::records::{self, Line};
use crate::ledger::rollups::{Rollup, Span};
use crate::report::Format;

/// Rows that are asked for at once.
const PAGE: u64 = 10_000;

/// How usage is put together.
#[derive(Debug, clap::Args)]
pub(super) struct By {
    /// What was recorded, by hours or days of the gateway's time zone.
    #[arg(long, value_name = "SPAN", group = "period", conflicts_with = "watch")]
    pub(super) by: Option<Span>,
    /// Only of this class.
    #[arg(long, value_name = "CLASS", requires = "by")]
    class: Option<String>,
    /// Only what is charged so: `free`, `metered`, a bucket's name, or `dropped`.
    #[arg(long, value_name = "CHARGED", requires = "by")]
    charged: Option<String>,
    /// Over all subscribers.
    #[arg(long, requires = "by", conflicts_with = "subscriber")]
    sum: bool,
    /// About so many rows at most [default: 10000]
    #[arg(long, value_name = "N", requires = "by")]
    limit: Option<u64>,
}

/// What else is asked for.
pub(super) struct Asked<'a> {
    pub(super) socket: &'a Path,
    pub(super) span: Span,
    pub(super) subscriber: Option<&'a str>,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) format: Format,
}

/// What people read of it.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Shown(Rollup);

impl Line for Shown {
    const HEADS: &'static [&'static str] = &[
        "period",
        "subscriber",
        "plan",
        "class",
        "group",
        "charged",
        "policy",
        "records",
        "bytes up",
        "bytes down",
        "active s",
        "peak up bit/s",
        "peak down bit/s",
    ];

    fn cells(&self) -> Vec<String> {
        let row = &self.0;
        let subscriber = row.subscriber.clone();
        vec![
            row.period.clone(),
            subscriber.unwrap_or_else(|| "(all)".to_owned()),
            row.plan.clone(),
            row.class.clone(),
            row.rating_group.to_string(),
            row.charged.clone(),
            row.policy_version.clone(),
            row.records.to_string(),
            row.bytes_up.to_string(),
            row.bytes_down.to_string(),
            format!("{:.1}", row.active_seconds),
            row.peak_up_bps.to_string(),
            row.peak_down_bps.to_string(),
        ]
    }
}

impl By {
    /// Prints page after page, as many as are wanted.
    ///
    /// # Errors
    /// When the agent does not answer, or refuses.
    pub(super) fn run(&self, asked: &Asked<'_>) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        let mut left = self.limit.unwrap_or(PAGE);
        let mut after = None;
        let mut shown = Vec::new();
        loop {
            let answer = self.fetch(asked, after.as_deref(), left)?;
            let next = answer.text(NEXT_AFTER);
            let complete = answer.text(COMPLETE_UNTIL);
            left = left.saturating_sub(answer.number(COUNT).unwrap_or(0));
            if asked.format == Format::Table {
                let mut lines = Lines::of(answer);
                while let Some(line) = lines.wait()? {
                    shown.push(Shown(parse(&line)?));
                }
            } else {
                print(&mut out, answer)?;
            }
            after = next;
            if after.is_some() && left > 0 {
                continue;
            }
            if asked.format == Format::Table {
                records::write(&mut out, Format::Table, &shown)?;
            }
            out.flush()?;
            if after.is_some() {
                eprintln!("zerorate: there is more; say --limit, or a shorter time");
            }
            if let Some(until) = complete {
                eprintln!("zerorate: everything until {until} is in it");
            }
            return Ok(ExitCode::SUCCESS);
        }
    }

    fn fetch(&self, asked: &Asked<'_>, after: Option<&str>, left: u64) -> anyhow::Result<Fetched> {
        let limit = left.min(PAGE);
        let mut path = format!(
            "/v1/usage/rollup?span={}&sum={}&limit={limit}",
            asked.span.as_str(),
            self.sum
        );
        for (name, value) in [
            ("from", asked.from),
            ("to", asked.to),
            ("subscriber", asked.subscriber),
            ("class", self.class.as_deref()),
            ("charged", self.charged.as_deref()),
            ("after", after),
        ] {
            if let Some(value) = value {
                path += &format!("&{name}={}", escape(value));
            }
        }
        let accept = match (asked.format, after) {
            (Format::Csv, None) => "text/csv",
            (Format::Csv, Some(_)) => "text/csv; header=absent",
            _ => "application/x-ndjson",
        };
        Ok(fetch(asked.socket, &path, accept)?)
    }
}

/// Prints the agent's own bytes.
fn print(out: &mut impl io::Write, mut answer: Fetched) -> anyhow::Result<()> {
    while let Some(piece) = answer.piece()? {
        out.write_all(&piece)?;
    }
    Ok(())
}
