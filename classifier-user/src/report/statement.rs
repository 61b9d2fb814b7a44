//! A subscriber's statement: time, speed and volume, sent and received, by class and charge, and what was done for it.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DROPPED, Traffic};
use crate::balance::money::{Amount, Tariff};
use crate::ledger::notes::{Fault, Scope};
use crate::ledger::records::Record;
use crate::policy::parse_price;

mod called;
mod layout;
mod print;
mod sheet;

pub use called::{ByName, Called};
pub use sheet::{Entry, Grid, Sheet};

/// What a subscriber used in a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Statement {
    /// Of whom, when, and over all.
    #[serde(flatten)]
    pub head: Head,
    /// Sessions that were there in the period, oldest first.
    pub sessions: Vec<SessionRow>,
    /// What was charged, by class and charge.
    pub usage: Vec<StatementRow>,
    /// What was not let through, by class.
    pub dropped: Vec<StatementRow>,
    /// Outages that touched its sessions, with traffic or without, oldest record first.
    #[serde(default)]
    pub outages: Vec<OutageRow>,
    /// What was done for and to it: orders on buckets, changes of plan, state and addresses.
    pub records: Vec<Record>,
    /// What people are told classes, plans and buckets are called; absent where the policy has no titles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<Called>,
}

/// An outage that touched a subscriber's sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutageRow {
    /// Number of its record.
    pub seq: u64,
    /// Of whom the statement is.
    pub subscriber: String,
    /// What was out.
    #[serde(flatten)]
    pub scope: Scope,
    /// It began,
    pub from: Timestamp,
    /// and ended; as the latest correction says.
    pub to: Timestamp,
    /// What happened.
    pub cause: String,
    /// Whose fault it was.
    pub fault: Fault,
    /// What was noted beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How much of the subscriber's time, in the period, was in it.
    pub touched_seconds: f64,
    /// As much, where it was the operator's fault.
    pub creditable_seconds: f64,
}

/// Of whom a statement is, when, and over all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = StatementHead)]
pub struct Head {
    /// Of whom.
    pub subscriber: String,
    /// Name of the gateway.
    pub node: String,
    /// Time zone of the gateway's customers.
    pub timezone: String,
    /// The period begins after this,
    pub from: Timestamp,
    /// and ends with this.
    pub to: Timestamp,
    /// Everything the subscriber used until then is in it, but for what was pruned.
    pub complete_until: Timestamp,
    /// What was recorded until then was pruned, all or some of it, and is not in it; absent where the period begins later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned_until: Option<Timestamp>,
    /// End of the subscriber's latest record in the period; what came after it is in the statement, and in no record yet.
    pub recorded_until: Option<Timestamp>,
    /// Its plan now; `null` for who has no session.
    pub plan: Option<String>,
    /// `active`, `suspended`, or `removed`.
    pub state: String,
    /// Over all sessions.
    pub total: Totals,
}

/// A session in the period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionRow {
    /// Epoch of its counters, 16 hex digits.
    pub epoch: String,
    /// Its number in that epoch.
    pub session: u64,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; `null` while it runs.
    pub end: Option<Timestamp>,
    /// When it moved last, in the period; `null` if it did not.
    pub last_activity: Option<Timestamp>,
    /// Its prefixes.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
    /// How much of the period it was there.
    pub connected_seconds: f64,
    /// Time, speed and volume.
    #[serde(flatten)]
    pub used: Used,
}

/// Over all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Totals {
    /// How much of the period there was a session.
    pub connected_seconds: f64,
    /// How much of it the whole service was out by the operator's fault: each moment once.
    #[serde(default)]
    pub creditable_seconds: f64,
    /// Time, speed and volume.
    #[serde(flatten)]
    pub used: Used,
    /// Packets and IP bytes that were not let through.
    pub dropped: Traffic,
}

/// Time, speed and volume.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Used {
    /// Time in which something moved.
    pub active_seconds: f64,
    /// Mean over that time, sent, in bits a second.
    pub average_up_bps: u64,
    /// The same, received.
    pub average_down_bps: u64,
    /// Highest rate over a checkpoint, sent, in bits a second.
    pub peak_up_bps: u64,
    /// The same, received.
    pub peak_down_bps: u64,
    /// Packets and IP bytes that were let through.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// What was used of one class, and charged to one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatementRow {
    /// Of whom.
    pub subscriber: String,
    /// The plan it was charged under.
    pub plan: String,
    /// The service class.
    pub class: String,
    /// The number billing knew it by.
    pub rating_group: u32,
    /// `free`, `metered`, a bucket's name, or `dropped`.
    pub charged: String,
    /// Packets and IP bytes.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Bytes that left the bucket.
    pub bytes_drawn: u64,
    /// The price of the bucket under that plan when it was charged; absent where there is none. What was charged at another
    /// price is another row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// What those bytes cost at that price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
}

/// Adds up what was recorded.
#[derive(Debug, Default)]
pub struct Sum {
    rows: BTreeMap<Key, (Traffic, u64)>,
}

/// Class, rating group, charge, plan and price.
type Key = (String, u32, String, String, Option<String>);

impl Sum {
    /// Adds what one meter counted, under a plan, of a class and its rating group, charged to an account at its price.
    pub fn add(
        &mut self,
        (plan, class, rating_group, charged, price): (&str, &str, u32, &str, Option<&str>),
        traffic: &Traffic,
        drawn: u64,
    ) {
        let key = (
            class.to_owned(),
            rating_group,
            charged.to_owned(),
            plan.to_owned(),
            price.map(str::to_owned),
        );
        let (sum, all_drawn) = self.rows.entry(key).or_default();
        *sum = sum.plus(traffic);
        *all_drawn += drawn;
    }

    /// What was charged, and what was dropped; by class, rating group, charge, plan and price.
    #[must_use]
    pub fn rows(self, subscriber: &str) -> (Vec<StatementRow>, Vec<StatementRow>) {
        let row =
            |((class, rating_group, charged, plan, price), (traffic, bytes_drawn)): (Key, _)| {
                StatementRow {
                    subscriber: subscriber.to_owned(),
                    plan,
                    class,
                    rating_group,
                    charged,
                    traffic,
                    bytes_drawn,
                    amount: price
                        .as_deref()
                        .and_then(|price| amount(price, bytes_drawn)),
                    price,
                }
            };
        let rows = self.rows.into_iter().map(row);
        let rows = rows.filter(|row| row.traffic != Traffic::default());
        rows.partition(|row| row.charged != DROPPED)
    }
}

/// What bytes cost at a price. More than can be reckoned with has no amount.
fn amount(price: &str, bytes: u64) -> Option<Amount> {
    let tariff = Tariff::of(&parse_price(price).ok()?);
    let worth = tariff.worth(i64::try_from(bytes).ok()?, 0).ok()?;
    worth.amount(tariff.currency()).ok()
}

impl Used {
    /// Works the means out: bytes over active time, which is at least `shortest` seconds. No peak is below its mean.
    pub fn finish(&mut self, shortest: f64) {
        // Sums of whole milliseconds.
        self.active_seconds = (self.active_seconds * 1e3).round() / 1e3;
        let time = self.active_seconds.max(shortest);
        let mean = |bytes: u64| (bytes as f64 * 8.0 / time) as u64;
        self.average_up_bps = mean(self.traffic.bytes_up);
        self.average_down_bps = mean(self.traffic.bytes_down);
        self.peak_up_bps = self.peak_up_bps.max(self.average_up_bps);
        self.peak_down_bps = self.peak_down_bps.max(self.average_down_bps);
    }

    /// Adds another's time and volume; the higher peaks.
    pub fn add(&mut self, other: &Self) {
        self.active_seconds += other.active_seconds;
        self.peak_up_bps = self.peak_up_bps.max(other.peak_up_bps);
        self.peak_down_bps = self.peak_down_bps.max(other.peak_down_bps);
        self.traffic = self.traffic.plus(&other.traffic);
    }
}
