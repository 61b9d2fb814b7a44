//! Usage records as others read them: one for each meter, with every field in words.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Cause, Moved, Stored};
use crate::ledger::records::Record;

/// A usage record: what one meter of a session counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageRecord {
    /// `usage`.
    pub kind: Kind,
    /// Name of the gateway.
    pub node: String,
    /// Epoch of its counters.
    pub epoch: String,
    /// Its number on this node, from 1, without gaps, in one sequence with all other records.
    pub seq: u64,
    /// Id of the subscriber.
    pub subscriber: String,
    /// Number of the session in its epoch.
    pub session: u64,
    /// Number of the record in its session, from 1, without gaps.
    pub session_seq: u64,
    /// The session has ended: its meters have no further records.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The session's prefixes.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
    /// The plan.
    pub plan: String,
    /// `active` or `suspended`.
    pub state: String,
    /// The service class.
    pub class: String,
    /// The number billing knew it by.
    pub rating_group: u32,
    /// `free`, `metered`, a bucket's name, or `dropped`.
    pub charged: String,
    /// Version of the policy.
    pub policy_version: String,
    /// IP bytes sent since the meter's last record.
    pub bytes_up: u64,
    /// IP bytes received.
    pub bytes_down: u64,
    /// Packets sent.
    pub packets_up: u64,
    /// Packets received.
    pub packets_down: u64,
    /// IP bytes sent since the session began.
    pub total_bytes_up: u64,
    /// IP bytes received.
    pub total_bytes_down: u64,
    /// Packets sent.
    pub total_packets_up: u64,
    /// Packets received.
    pub total_packets_down: u64,
    /// Bytes that left the bucket.
    pub bytes_drawn: u64,
    /// Seconds in which the session moved, of all its meters.
    pub active_seconds: f64,
    /// Highest rate of the session, sent, in bits a second.
    pub peak_up_bps: u64,
    /// The same, received.
    pub peak_down_bps: u64,
    /// What it counts moved after this,
    pub start: Timestamp,
    /// and not after this.
    pub end: Timestamp,
    /// When the session moved last.
    pub last_activity: Timestamp,
    /// Why it ends here.
    pub cause: Cause,
    /// Time that is known to be in no record.
    pub gap: Option<Gap>,
    /// Seconds the clock on the wall was set by while it was counted, forward or back; left out where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_step: Option<f64>,
    /// Where it was counted.
    pub count_point: String,
    /// What a byte is: `ip`.
    pub byte_basis: String,
}

/// Time of which something may have been counted that is in no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Gap {
    /// It begins after this,
    pub from: Timestamp,
    /// and ends with this.
    pub to: Timestamp,
    /// Why.
    pub reason: GapReason,
}

/// Why there is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The counters are gone, with what they had counted since they were last recorded: the machine went down, or the pins
    /// were removed.
    CountersLost,
    /// A counter stood below what had been recorded of it.
    CountersBackwards,
}

impl GapReason {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CountersLost => "counters_lost",
            Self::CountersBackwards => "counters_backwards",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub(super) fn of(word: &str) -> Option<Self> {
        let all = [Self::CountersLost, Self::CountersBackwards];
        all.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// The kind of usage records, which no other record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = UsageKind)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What a subscriber used.
    Usage,
}

/// Any record, in the one sequence they have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum AnyRecord {
    /// What a subscriber used.
    Usage(Box<UsageRecord>),
    /// What was done for or to it.
    Other(Record),
}

impl AnyRecord {
    /// Its number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Usage(record) => record.seq,
            Self::Other(record) => record.seq,
        }
    }
}

/// The word for a subscriber's state.
const fn state(suspended: bool) -> &'static str {
    if suspended { "suspended" } else { "active" }
}

impl Stored {
    /// As records, those that are written.
    pub(in crate::ledger) fn records(
        self,
        subscriber: &str,
        session: u64,
        addresses: &[IpNet],
    ) -> Vec<UsageRecord> {
        let terms = &self.terms;
        let record = |(number, moved): (u64, &Moved)| {
            let label = &terms.meters[moved.meter];
            UsageRecord {
                kind: Kind::Usage,
                node: terms.node.clone(),
                epoch: terms.epoch.clone(),
                seq: self.seq.unwrap_or(0) + number,
                subscriber: subscriber.to_owned(),
                session,
                session_seq: self.session_seq + number,
                is_final: self.cause.is_final(),
                addresses: addresses.to_vec(),
                plan: terms.plan.clone(),
                state: state(self.suspended).to_owned(),
                class: label.class.clone(),
                rating_group: label.rating_group,
                charged: label.charged.clone(),
                policy_version: terms.policy_version.clone(),
                bytes_up: moved.delta.bytes_up,
                bytes_down: moved.delta.bytes_down,
                packets_up: moved.delta.packets_up,
                packets_down: moved.delta.packets_down,
                total_bytes_up: moved.total.bytes_up,
                total_bytes_down: moved.total.bytes_down,
                total_packets_up: moved.total.packets_up,
                total_packets_down: moved.total.packets_down,
                bytes_drawn: terms.drawn(moved.meter, &moved.delta),
                active_seconds: self.active as f64 / 1e3,
                peak_up_bps: self.peak_up_bps,
                peak_down_bps: self.peak_down_bps,
                start: self.start,
                end: self.end,
                last_activity: self.last,
                cause: self.cause,
                gap: self.gap,
                clock_step: (self.clock_step != 0).then_some(self.clock_step as f64 / 1e3),
                count_point: terms.count_point.clone(),
                byte_basis: "ip".to_owned(),
            }
        };
        (0..).zip(&self.moved).map(record).collect()
    }
}
