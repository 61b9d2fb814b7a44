//! `zerorate record`: what subscribers used, what was done for and to them, and what people record themselves.

mod notes;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde::{Serialize, Serializer};

use super::agent::Socket;
use super::records::{self, Line};
use crate::api::client::{ApiError, Fetched, Lines, ask, escape, fetch, parse, tell};
use crate::api::routes::{Acknowledgement, COUNT, NEXT_AFTER};
use crate::ledger::consumers::Consumer;
use crate::ledger::records::What;
use crate::ledger::usage::AnyRecord;
use crate::report::Format;

/// Records of usage, grants, debits, returns, expiries and changes of service; outages and corrections; and who has pulled
/// them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists records, oldest first.
    List(List),
    /// Records a time in which the service, or some of it, was not there. It is in the statements of those it touched, and
    /// creditable where it was the operator's fault.
    Outage(notes::Outage),
    /// Records what a record should have said: of usage all four numbers, of an outage `--from` and `--to`. The record and
    /// all sums stay as they are.
    Correct(notes::Correct),
    /// Says who pulls records, and how far each has come.
    Consumers {
        #[command(flatten)]
        socket: Socket,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Notes that a consumer has all records up to a number.
    Acknowledge {
        /// Name of the consumer.
        name: String,
        /// The number.
        seq: u64,
        /// Also if it had acknowledged more.
        #[arg(long)]
        rewind: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Forgets a consumer.
    Forget {
        /// Name of the consumer.
        name: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// Which records, and how.
#[derive(Debug, clap::Args)]
struct List {
    /// Only of this subscriber.
    #[arg(long, value_name = "ID")]
    subscriber: Option<String>,
    /// Only of this kind: `usage`, `grant`, `state` and so on.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only those behind this number.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// At most so many: 10000 if nothing is said, and any number with `--follow`.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Goes on with those that come, until the agent stops.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
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
                    What::Prune {
                        first_seq,
                        last_seq,
                        by,
                        ..
                    } => (
                        "",
                        "",
                        format!("records {first_seq} to {last_seq}, by {by}"),
                    ),
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

impl Line for Consumer {
    const HEADS: &'static [&'static str] = &["consumer", "acknowledged", "behind", "time"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.acknowledged.to_string(),
            self.behind.to_string(),
            self.time.to_string(),
        ]
    }
}

/// Runs the command. Following exits with 1 when the agent stopped.
///
/// # Errors
/// When the agent does not answer, or refuses.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = |name: &str| format!("/v1/consumers/{}", escape(name));
    match &args.command {
        Command::List(list) => return list.run(),
        Command::Outage(outage) => return outage.run(),
        Command::Correct(correct) => return correct.run(),
        Command::Consumers { socket, format } => {
            let found: Vec<Consumer> = ask(&socket.socket, Method::GET, "/v1/consumers")?;
            records::write(&mut io::stdout().lock(), *format, &found)?;
        }
        Command::Acknowledge {
            name,
            seq,
            rewind,
            socket,
        } => {
            let new = Acknowledgement {
                acknowledged: *seq,
                rewind: *rewind,
            };
            let known: Consumer = tell(&socket.socket, Method::PUT, &path(name), &new)?;
            println!(
                "consumer {} has all records up to {}; there are {} behind it",
                known.name, known.acknowledged, known.behind
            );
        }
        Command::Forget { name, socket } => {
            ask::<()>(&socket.socket, Method::DELETE, &path(name))?;
            println!("consumer {name} is forgotten");
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl List {
    /// Records that are asked for at once while following.
    const PAGE: u64 = 10_000;
    /// Seconds the agent waits for some.
    const WAIT: u64 = 30;

    fn run(&self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        if !self.follow {
            let answer = self.fetch(self.after, self.limit.unwrap_or(Self::PAGE), 0, true)?;
            self.print(&mut out, answer, true)?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let (mut after, mut left) = (self.after, self.limit.unwrap_or(u64::MAX));
        let mut is_first = true;
        while left > 0 {
            let asked = left.min(Self::PAGE);
            let answer = match self.fetch(after, asked, Self::WAIT, is_first) {
                // It was there before.
                Err(ApiError::Unreachable { .. } | ApiError::Broken(_)) if !is_first => break,
                answer => answer?,
            };
            after = answer.number(NEXT_AFTER).unwrap_or(after);
            left -= answer.number(COUNT).unwrap_or(0).min(left);
            self.print(&mut out, answer, is_first)?;
            out.flush()?;
            is_first = false;
        }
        if left == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("zerorate: the agent has stopped");
        Ok(ExitCode::FAILURE)
    }

    fn fetch(&self, after: u64, limit: u64, wait: u64, header: bool) -> Result<Fetched, ApiError> {
        let mut path = format!("/v1/records?after={after}&limit={limit}&wait={wait}");
        for (name, value) in [("subscriber", &self.subscriber), ("kind", &self.kind)] {
            if let Some(value) = value {
                path += &format!("&{name}={}", escape(value));
            }
        }
        let accept = match (self.format, header) {
            (Format::Csv, true) => "text/csv",
            (Format::Csv, false) => "text/csv; header=absent",
            _ => "application/x-ndjson",
        };
        fetch(&self.socket.socket, &path, accept)
    }

    /// Prints what comes.
    fn print(&self, out: &mut impl Write, mut answer: Fetched, header: bool) -> anyhow::Result<()> {
        if self.format != Format::Table {
            // The agent's own bytes.
            while let Some(piece) = answer.piece()? {
                out.write_all(&piece)?;
            }
            return Ok(());
        }
        let mut lines = Lines::of(answer);
        let mut found: Vec<AnyRecord> = Vec::new();
        while let Some(line) = lines.wait()? {
            found.push(parse(&line)?);
        }
        let shown: Vec<_> = found.iter().map(Shown).collect();
        if header || !shown.is_empty() {
            records::write(out, Format::Table, &shown)?;
        }
        Ok(())
    }
}
