//! `zerorate record`: what subscribers used, and what was done for and to them.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde::{Serialize, Serializer};

use super::agent::Socket;
use super::records::{self, Line};
use crate::api::client::{ask, escape};
use crate::ledger::records::What;
use crate::ledger::usage::AnyRecord;
use crate::report::{Format, rows};

/// Records of usage, grants, debits, returns, expiries and changes of service.
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
        /// Only of this kind: `usage`, `grant`, `state` and so on.
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
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

/// A record as a line for people: what kinds of record do not have in common is in one column.
struct Shown<'a>(&'a AnyRecord);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Line for Shown<'_> {
    const HEADS: &'static [&'static str] = &[
        "seq",
        "time",
        "kind",
        "subscriber",
        "plan",
        "state",
        "what",
        "id",
        "reason",
    ];
    fn cells(&self) -> Vec<String> {
        let (time, subscriber, plan, state, what, id, reason) = match self.0 {
            AnyRecord::Usage(usage) => (
                usage.end,
                &usage.subscriber,
                &*usage.plan,
                &*usage.state,
                format!(
                    "{} {}: {} bytes up, {} down ({})",
                    usage.class,
                    usage.charged,
                    usage.bytes_up,
                    usage.bytes_down,
                    usage.cause.as_str()
                ),
                None,
                None,
            ),
            AnyRecord::Other(record) => {
                let entry = &record.entry;
                let (plan, state, what) = match &entry.what {
                    What::Bucket {
                        bucket,
                        bytes,
                        amount,
                        left,
                    } => {
                        let amount = amount.as_ref();
                        let amount =
                            amount.map_or_else(String::new, |amount| format!(", {amount}"));
                        let what = format!("{bucket}: {bytes} bytes{amount}, {left} left");
                        ("", "", what)
                    }
                    What::State {
                        plan,
                        state,
                        addresses,
                    } => {
                        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                        (&**plan, &**state, addresses.join(" "))
                    }
                    What::Outage(outage) => ("", "", outage.to_string()),
                    What::Correction(correction) => ("", "", correction.to_string()),
                    What::Gap { from, to, .. } => ("", "", format!("{from} to {to}")),
                };
                let (id, reason) = (entry.id.clone(), entry.reason.clone());
                (
                    record.time,
                    &entry.subscriber,
                    plan,
                    state,
                    what,
                    id,
                    reason,
                )
            }
        };
        vec![
            self.0.seq().to_string(),
            time.to_string(),
            match self.0 {
                AnyRecord::Usage(_) => "usage".to_owned(),
                AnyRecord::Other(record) => record.entry.kind.clone(),
            },
            subscriber.clone(),
            plan.to_owned(),
            state.to_owned(),
            what,
            id.unwrap_or_default(),
            reason.unwrap_or_default(),
        ]
    }
}

/// Every field any record has: those of all kinds first, then those of usage.
pub(crate) const COLUMNS: [&str; 50] = [
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
    "scope",
    "interface",
    "subscribers",
    "from",
    "to",
    "fault",
    "corrects",
    "approver",
    "node",
    "epoch",
    "session",
    "session_seq",
    "final",
    "class",
    "rating_group",
    "charged",
    "policy_version",
    "bytes_up",
    "bytes_down",
    "packets_up",
    "packets_down",
    "total_bytes_up",
    "total_bytes_down",
    "total_packets_up",
    "total_packets_down",
    "bytes_drawn",
    "active_seconds",
    "peak_up_bps",
    "peak_down_bps",
    "start",
    "end",
    "last_activity",
    "cause",
    "gap",
    "clock_step",
    "count_point",
    "byte_basis",
];

/// Runs the command.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::List {
        subscriber,
        kind,
        after,
        limit,
        socket,
        format,
    } = &args.command;
    let mut path = format!("/v1/records?after={after}&limit={limit}");
    for (name, value) in [("subscriber", subscriber), ("kind", kind)] {
        if let Some(value) = value {
            path += &format!("&{name}={}", escape(value));
        }
    }
    let found: Vec<AnyRecord> = ask(&socket.socket, Method::GET, &path)?;
    let out = &mut io::stdout().lock();
    match format {
        Format::Csv => rows::write(out, &COLUMNS, &found)?,
        _ => records::write(out, *format, &found.iter().map(Shown).collect::<Vec<_>>())?,
    }
    Ok(ExitCode::SUCCESS)
}
