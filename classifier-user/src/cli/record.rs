//! `zerorate record`: what was done for and to subscribers.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;

use super::agent::Socket;
use super::records::{self, Line};
use crate::api::client::{ask, escape};
use crate::ledger::records::{Record, What};
use crate::report::Format;

/// Records of grants, debits, returns, expiries and changes of service.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists records, oldest first.
    List {
        /// Only of this subscriber.
        #[arg(long, value_name = "ID")]
        subscriber: Option<String>,
        /// Only those behind this number.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        limit: usize,
        #[command(flatten)]
        socket: Socket,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

impl Line for Record {
    const HEADS: &'static [&'static str] = &[
        "seq",
        "time",
        "kind",
        "subscriber",
        "bucket",
        "bytes",
        "amount",
        "left",
        "plan",
        "state",
        "addresses",
        "id",
        "reason",
    ];
    fn cells(&self) -> Vec<String> {
        let entry = &self.entry;
        let what = match &entry.what {
            What::Bucket {
                bucket,
                bytes,
                amount,
                left,
            } => [
                bucket.clone(),
                bytes.to_string(),
                amount
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string),
                left.to_string(),
                String::new(),
                String::new(),
                String::new(),
            ],
            What::State {
                plan,
                state,
                addresses,
            } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                [
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                    plan.clone(),
                    state.clone(),
                    addresses.join(" "),
                ]
            }
        };
        let mut cells = vec![
            self.seq.to_string(),
            self.time.to_string(),
            entry.kind.clone(),
            entry.subscriber.clone(),
        ];
        cells.extend(what);
        cells.push(entry.id.clone().unwrap_or_default());
        cells.push(entry.reason.clone().unwrap_or_default());
        cells
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::List {
        subscriber,
        after,
        limit,
        socket,
        format,
    } = &args.command;
    let of = subscriber
        .as_ref()
        .map_or_else(String::new, |id| format!("&subscriber={}", escape(id)));
    let path = format!("/v1/records?after={after}&limit={limit}{of}");
    let found: Vec<Record> = ask(&socket.socket, Method::GET, &path)?;
    records::write(&mut io::stdout().lock(), *format, &found)?;
    Ok(ExitCode::SUCCESS)
}
