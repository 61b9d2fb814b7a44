//! `zerorate ledger`: whether a ledger holds what was recorded, and copies of it for auditors. Beside the agent, or without one.

mod export;
mod prune;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::config::Config;
use crate::ledger::Reader;
use crate::ledger::chain::Head;
use crate::report::Format;

/// Proves that records are complete and as they were written, and copies them out.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads everything: numbers without gaps, sums that are totals, the chain of hashes, the file itself. Exit code 1 if
    /// anything is wrong.
    Verify {
        #[command(flatten)]
        which: Which,
        /// What an earlier run printed as the head: whether all that was recorded until then is the same.
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<Head>,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Copies records into a directory, with a manifest: how many, their sums, SHA-256, and the head of the chain.
    Export {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        what: export::What,
    },
    /// Removes sealed files whose records nobody has to keep any longer, for good, oldest first. A record says so, and the
    /// chain is proved behind it as before.
    Prune(prune::What),
}

/// Which ledger.
#[derive(Debug, clap::Args)]
struct Which {
    /// The ledger.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    ledger: Option<PathBuf>,
    /// Configuration file of the agent whose ledger it is.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/zerorate/zerorate.toml"
    )]
    config: PathBuf,
}

impl Which {
    /// The ledger, and the time zone dates are in.
    fn open(&self) -> anyhow::Result<(Reader, jiff::tz::TimeZone)> {
        let (path, zone) = match &self.ledger {
            Some(path) => (path.clone(), jiff::tz::TimeZone::UTC),
            None => {
                let config = Config::load(&self.config)?;
                (config.ledger, config.timezone)
            }
        };
        Ok((Reader::open(&path)?, zone))
    }
}

/// Runs the command.
///
/// # Errors
/// When the ledger cannot be read, or the copy cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Verify {
            which,
            head,
            format,
        } => verify(which, *head, *format),
        Command::Export { which, what } => {
            let (reader, zone) = which.open()?;
            export::run(&reader, &zone, what)
        }
        Command::Prune(what) => prune::run(what),
    }
}

fn verify(which: &Which, head: Option<Head>, format: Format) -> anyhow::Result<ExitCode> {
    let (reader, _) = which.open()?;
    let found = reader.verify(head)?;
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer(&mut out, &found)?;
            writeln!(out)?;
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(&mut out);
            csv.write_record(["problem"])?;
            for problem in &found.problems {
                csv.write_record([problem])?;
            }
            csv.flush()?;
        }
        Format::Table => {
            writeln!(out, "records   {}", found.records)?;
            writeln!(
                out,
                "sealed    {} of them, in {} files",
                found.sealed_records, found.sealed_files
            )?;
            writeln!(out, "rollups   those up to {}", found.rolled_through)?;
            if found.pruned_until > 0 {
                writeln!(out, "pruned    those up to {}", found.pruned_until)?;
            }
            writeln!(out, "batches   {}", found.batches)?;
            let sums = &found.sums;
            writeln!(
                out,
                "usage     {} bytes up, {} bytes down",
                sums.bytes_up, sums.bytes_down
            )?;
            writeln!(out, "head      {}", found.head.as_deref().unwrap_or("none"))?;
            writeln!(out, "problems  {}", found.found)?;
            for problem in &found.problems {
                writeln!(out, "WRONG     {problem}")?;
            }
            let more = found.found - found.problems.len();
            if more > 0 {
                writeln!(out, "WRONG     and {more} more")?;
            }
        }
    }
    Ok(ExitCode::from(u8::from(found.found > 0)))
}
