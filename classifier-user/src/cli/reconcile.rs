//! `zerorate reconcile`: the kernel's counters of interfaces beside the books.

use std::io;
use std::process::ExitCode;

use hyper::Method;

use super::agent::Socket;
use super::records::{self, Line};
use crate::api::client::{ask, escape};
use crate::reconcile::Reconciliation;
use crate::report::Format;

/// Holds the kernel's own counters of each interface against the books: what both counted, the difference, and what is known
/// to make one.
///
/// Exits with 1 if there is a difference that no reason explains, or no such interface.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Intervals that ended after this: a date in the gateway's time zone, or RFC 3339; the last day, if it is not said.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// And not after this; up to now, if it is not said.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Of this interface only.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// One line for each interface and direction, over all the time.
    #[arg(long)]
    sum: bool,
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Line for Reconciliation {
    const HEADS: &'static [&'static str] = &[
        "interface",
        "direction",
        "hook",
        "from",
        "to",
        "kernel_packets",
        "kernel_bytes",
        "books_packets",
        "books_bytes",
        "difference",
        "unexplained",
        "reasons",
    ];

    fn cells(&self) -> Vec<String> {
        let reasons: Vec<_> = self.reasons.iter().map(|reason| reason.as_str()).collect();
        vec![
            self.interface.clone(),
            self.direction.to_string(),
            self.hook.clone(),
            self.from.to_string(),
            self.to.to_string(),
            self.kernel.packets.to_string(),
            self.kernel.bytes.to_string(),
            self.books.packets.to_string(),
            self.books.bytes.to_string(),
            self.difference.to_string(),
            self.unexplained.to_string(),
            reasons.join(" "),
        ]
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let bounds = [("from", &args.from), ("to", &args.to)];
    let mut asked: Vec<String> = bounds
        .iter()
        .filter_map(|(name, time)| Some(format!("{name}={}", escape((*time).as_ref()?))))
        .collect();
    if let Some(interface) = &args.interface {
        asked.push(format!("interface={}", escape(interface)));
    }
    let path = format!("/v1/reconciliation?{}", asked.join("&"));
    let mut found: Vec<Reconciliation> = ask(&args.socket.socket, Method::GET, &path)?;
    if args.sum {
        found = sums(found);
    }
    let mut out = io::stdout().lock();
    records::write(&mut out, args.format, &found)?;
    let unexplained = found.iter().any(|row| row.unexplained > 0);
    Ok(ExitCode::from(u8::from(unexplained)))
}

fn sums(rows: Vec<Reconciliation>) -> Vec<Reconciliation> {
    let mut sums: Vec<Reconciliation> = Vec::new();
    for row in rows {
        let place = |sum: &&mut Reconciliation| {
            (&sum.interface, sum.direction) == (&row.interface, row.direction)
        };
        match sums.iter_mut().find(place) {
            Some(sum) => sum.extend(row),
            None => sums.push(row),
        }
    }
    sums
}
