//! `zerorate bucket`: what billing does to a subscriber's buckets.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;

use super::agent::Socket;
use super::records::{self, Line};
use crate::agent::balances::Answer;
use crate::api::client::{escape, tell};
use crate::api::server::NewOrder;
use crate::balance::Action;
use crate::policy::parse_volume;
use crate::report::Format;

/// Buckets of subscribers of the running agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Adds a volume.
    Grant(OfVolume),
    /// Takes a volume; what is left may go below zero.
    Debit(OfVolume),
    /// Makes it so that a volume is left.
    Set(OfVolume),
    /// Gives back what is left.
    Return(OfAll),
    /// Begins a new cycle: what is left expires, and the plan grants anew.
    Restart(OfAll),
}

/// An order that says how much.
#[derive(Debug, clap::Args)]
struct OfVolume {
    #[command(flatten)]
    bucket: Bucket,
    /// How much: 500MB, 1.5GiB, 1000B.
    #[arg(value_parser = volume)]
    volume: u64,
    #[command(flatten)]
    common: Common,
}

/// An order that does not.
#[derive(Debug, clap::Args)]
struct OfAll {
    #[command(flatten)]
    bucket: Bucket,
    #[command(flatten)]
    common: Common,
}

/// Which bucket.
#[derive(Debug, clap::Args)]
struct Bucket {
    /// Id of the subscriber.
    subscriber: String,
    /// Name of the bucket.
    bucket: String,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Your id of this order. An order counts once, however often it is sent; the same id with another order is
    /// refused.
    #[arg(long, value_name = "ID")]
    id: String,
    /// Why; it is recorded.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

fn volume(text: &str) -> Result<u64, String> {
    parse_volume(text).map_err(|error| format!("{error}; {}", error.help()))
}

impl Line for Answer {
    const HEADS: &'static [&'static str] = &[
        "subscriber",
        "bucket",
        "order",
        "action",
        "booked",
        "left",
        "repeated",
    ];
    fn cells(&self) -> Vec<String> {
        let booked: Vec<_> = self
            .booked
            .iter()
            .map(|booking| format!("{}={}", booking.kind.as_str(), booking.bytes))
            .collect();
        vec![
            self.order.subscriber.clone(),
            self.order.bucket.clone(),
            self.order.id.clone(),
            self.order.action.as_str().to_owned(),
            booked.join(" "),
            self.left.to_string(),
            if self.repeated { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer, or does not follow the order.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let ((action, bytes), bucket, common) = match &args.command {
        Command::Grant(order) => ((Action::Grant, order.volume), &order.bucket, &order.common),
        Command::Debit(order) => ((Action::Debit, order.volume), &order.bucket, &order.common),
        Command::Set(order) => ((Action::Set, order.volume), &order.bucket, &order.common),
        Command::Return(order) => ((Action::Return, 0), &order.bucket, &order.common),
        Command::Restart(order) => ((Action::Restart, 0), &order.bucket, &order.common),
    };
    let path = format!(
        "/v1/subscribers/{}/buckets/{}/{}",
        escape(&bucket.subscriber),
        escape(&bucket.bucket),
        action.as_str()
    );
    let order = NewOrder {
        id: common.id.clone(),
        bytes,
        reason: common.reason.clone(),
    };
    let answer: Answer = tell(&common.socket.socket, Method::POST, &path, &order)?;
    records::write(&mut io::stdout().lock(), common.format, &[answer])?;
    Ok(ExitCode::SUCCESS)
}
