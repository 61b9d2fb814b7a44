//! `zerorate bucket`: what billing does to a subscriber's buckets.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;

use super::agent::Socket;
use super::records::{self, Line};
use crate::agent::charging::orders::{Answer, BookedOf};
use crate::api::client::{escape, tell};
use crate::api::routes::NewOrder;
use crate::balance::Action;
use crate::balance::money::{Amount, InvalidAmount};
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
    /// Adds a volume, or money where the plan has a price for the bucket.
    Grant(HowMuch),
    /// Takes a volume or money: a fee. What is left may go below zero.
    Debit(HowMuch),
    /// Makes it so that a volume, or money, is left. What the bucket `limit` of a plan settled by credit is set to, it is
    /// granted each cycle.
    Set(HowMuch),
    /// Gives back what is left.
    Return(OfOne),
    /// Begins a new cycle of all packages of the subscriber's plan, or of one: what is left expires, and the plan grants
    /// anew. The next cycle is reckoned from now, unless it is one package of several.
    Restart(OfOneOrAll),
}

/// An order that says how much.
#[derive(Debug, clap::Args)]
struct HowMuch {
    /// Id of the subscriber.
    subscriber: String,
    /// Name of the bucket.
    bucket: String,
    /// How much: 500MB, 1.5GiB, 1000B; or, of a bucket with a price, "5000 UZS".
    #[arg(value_parser = quantity, value_name = "VOLUME|AMOUNT")]
    quantity: Quantity,
    #[command(flatten)]
    common: Common,
}

/// An order that does not.
#[derive(Debug, clap::Args)]
struct OfOne {
    /// Id of the subscriber.
    subscriber: String,
    /// Name of the bucket.
    bucket: String,
    #[command(flatten)]
    common: Common,
}

/// An order that may be for all packages.
#[derive(Debug, clap::Args)]
struct OfOneOrAll {
    /// Id of the subscriber.
    subscriber: String,
    /// Name of the bucket; without it all packages.
    bucket: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Bytes or money.
#[derive(Debug, Clone)]
enum Quantity {
    Bytes(u64),
    Money(Amount),
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

fn quantity(text: &str) -> Result<Quantity, String> {
    match Amount::parse(text) {
        Ok(amount) => Ok(Quantity::Money(amount)),
        Err(InvalidAmount::Form) => parse_volume(text).map(Quantity::Bytes).map_err(|error| {
            let money = "where the bucket has a price, an amount such as \"5.50 EUR\"";
            format!("{error}; {}; or, {money}", error.help())
        }),
        Err(error) => Err(error.to_string()),
    }
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
            .map(|BookedOf { bucket, booking }| {
                let (kind, bytes) = (booking.kind.as_str(), booking.bytes);
                let of = match self.order.bucket {
                    Some(_) => String::new(),
                    None => format!("{bucket}:"),
                };
                match &booking.amount {
                    Some(amount) => format!("{of}{kind}={bytes} ({amount})"),
                    None => format!("{of}{kind}={bytes}"),
                }
            })
            .collect();
        vec![
            self.order.subscriber.clone(),
            self.order
                .bucket
                .clone()
                .unwrap_or_else(|| "all".to_owned()),
            self.order.id.clone(),
            self.order.action.as_str().to_owned(),
            booked.join(" "),
            match &self.left_amount {
                Some(amount) => format!("{} ({amount})", self.left),
                None => self.left.to_string(),
            },
            if self.repeated { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer, or does not follow the order.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let of_one = |order: &'_ OfOne| (order.subscriber.clone(), Some(order.bucket.clone()));
    let of_much = |order: &'_ HowMuch| (order.subscriber.clone(), Some(order.bucket.clone()));
    let ((subscriber, bucket), action, quantity, common) = match &args.command {
        Command::Grant(order) => (
            of_much(order),
            Action::Grant,
            Some(&order.quantity),
            &order.common,
        ),
        Command::Debit(order) => (
            of_much(order),
            Action::Debit,
            Some(&order.quantity),
            &order.common,
        ),
        Command::Set(order) => (
            of_much(order),
            Action::Set,
            Some(&order.quantity),
            &order.common,
        ),
        Command::Return(order) => (of_one(order), Action::Return, None, &order.common),
        Command::Restart(order) => {
            let of = (order.subscriber.clone(), order.bucket.clone());
            (of, Action::Restart, None, &order.common)
        }
    };
    let subscriber = escape(&subscriber);
    let path = match bucket {
        Some(bucket) => format!(
            "/v1/subscribers/{subscriber}/buckets/{}/{}",
            escape(&bucket),
            action.as_str()
        ),
        None => format!("/v1/subscribers/{subscriber}/restart"),
    };
    let mut order = NewOrder {
        id: common.id.clone(),
        reason: common.reason.clone(),
        ..NewOrder::default()
    };
    match quantity {
        Some(Quantity::Bytes(bytes)) => order.bytes = *bytes,
        Some(Quantity::Money(amount)) => order.amount = Some(amount.clone()),
        None => {}
    }
    let answer: Answer = tell(&common.socket.socket, Method::POST, &path, &order)?;
    records::write(&mut io::stdout().lock(), common.format, &[answer])?;
    Ok(ExitCode::SUCCESS)
}
