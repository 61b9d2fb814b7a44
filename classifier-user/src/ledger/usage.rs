//! Usage records: what a subscriber's meters counted since their last record, and what is known to have been recorded
//! of each of them.
//!
//! The counters in pinned memory are the truth. `taken` says how far records have followed them; both are written in one
//! transaction, so an agent that is killed at any moment leaves nothing to be lost or recorded twice: the next one goes
//! on from `taken`. A row of the table `usage` holds all records of one row of counters at one moment, one after the
//! other in the same sequence as the records of `records.rs`.

mod codec;
mod read;
mod write;

use std::sync::Arc;

use classifier::layout::Meter;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::records::Record;
use crate::accounts::activity::Activity;

pub use self::read::{PastSession, Stored, Which};
pub use self::write::TermsNumbers;
pub(crate) use self::write::closings;
pub(super) use self::write::{end_epoch, next_seq, put_closings};

/// The tables. Times are nanoseconds since 1970, UTC; `active` is milliseconds, rates are bits a second.
pub(super) const TABLES: &str = "
CREATE TABLE terms (number INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE image (serial INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE session (
    number INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, session INTEGER NOT NULL, subscriber TEXT NOT NULL,
    start INTEGER NOT NULL, ended INTEGER, addresses TEXT NOT NULL, UNIQUE (epoch, session)
);
CREATE INDEX session_of_subscriber ON session (subscriber);
CREATE TABLE usage (
    seq INTEGER PRIMARY KEY, records INTEGER NOT NULL, session INTEGER NOT NULL, session_seq INTEGER NOT NULL,
    terms INTEGER NOT NULL, cause INTEGER NOT NULL, suspended INTEGER NOT NULL, start INTEGER NOT NULL,
    ended INTEGER NOT NULL, last INTEGER NOT NULL, active INTEGER NOT NULL, peak_up INTEGER NOT NULL,
    peak_down INTEGER NOT NULL, meters BLOB NOT NULL
);
CREATE INDEX usage_of_session ON usage (session, ended);
CREATE TABLE taken (
    line INTEGER PRIMARY KEY, session INTEGER NOT NULL, session_seq INTEGER NOT NULL, ended INTEGER NOT NULL,
    last INTEGER NOT NULL, active INTEGER NOT NULL, peak_up INTEGER NOT NULL, peak_down INTEGER NOT NULL,
    counters BLOB NOT NULL, carried TEXT
);
CREATE TABLE closing (
    line INTEGER PRIMARY KEY, layout INTEGER NOT NULL, row_start INTEGER NOT NULL, subscriber TEXT NOT NULL,
    session INTEGER NOT NULL, start INTEGER NOT NULL, addresses TEXT NOT NULL, suspended INTEGER NOT NULL,
    ended INTEGER NOT NULL, cause INTEGER NOT NULL, next_line INTEGER, serial INTEGER NOT NULL
);
";

/// Those of them that are about the counters of one epoch.
pub(super) const OF_AN_EPOCH: [&str; 2] = ["taken", "closing"];

/// Why a record ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It was time for one.
    Interval,
    /// A day began in the configured time zone.
    Midnight,
    /// The subscriber was removed.
    Leave,
    /// The subscriber has other addresses.
    Reassign,
    /// It has another plan.
    Plan,
    /// It was suspended or resumed.
    State,
    /// One of its buckets was restarted.
    Restart,
    /// Another policy, or the same at another time.
    Policy,
    /// The agent was told to stop.
    Shutdown,
    /// Counted while no agent ran, or before the last one could record it.
    Recovered,
}

impl Cause {
    /// All of them, by the number they have in the tables.
    const ALL: [Self; 10] = [
        Self::Interval,
        Self::Midnight,
        Self::Leave,
        Self::Reassign,
        Self::Plan,
        Self::State,
        Self::Restart,
        Self::Policy,
        Self::Shutdown,
        Self::Recovered,
    ];

    const fn number(self) -> u8 {
        self as u8
    }

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Midnight => "midnight",
            Self::Leave => "leave",
            Self::Reassign => "reassign",
            Self::Plan => "plan",
            Self::State => "state",
            Self::Restart => "restart",
            Self::Policy => "policy",
            Self::Shutdown => "shutdown",
            Self::Recovered => "recovered",
        }
    }

    /// Whether the session ends with it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Leave | Self::Reassign)
    }
}

/// What the records of a row have in common for as long as plan and policy are the same: few, however many the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Name of the gateway.
    pub node: String,
    /// Epoch of the counters, 16 hex digits.
    pub epoch: String,
    /// Where it was counted: `xdp-native`, `xdp-generic`, `tc-egress`; several joined by `+`.
    pub count_point: String,
    /// The plan.
    pub plan: String,
    /// Version of the policy.
    pub policy_version: String,
    /// Whether what is sent draws buckets.
    pub count_up: bool,
    /// Whether what is received does.
    pub count_down: bool,
    /// What the row's meters count, by number.
    pub meters: Vec<Label>,
}

/// What a meter counts, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The service class.
    pub class: String,
    /// Its rating group under this policy.
    pub rating_group: u32,
    /// `free`, `metered`, `dropped`, or a bucket's name.
    pub charged: String,
}

impl Label {
    /// Whether it names a bucket.
    #[must_use]
    pub fn is_bucket(&self) -> bool {
        !matches!(&*self.charged, "free" | "metered" | "dropped")
    }
}

impl Terms {
    /// What left the bucket, of what a meter counted.
    #[must_use]
    pub fn drawn(&self, meter: usize, counted: &Meter) -> u64 {
        if !self.meters[meter].is_bucket() {
            return 0;
        }
        u64::from(self.count_up) * counted.bytes_up
            + u64::from(self.count_down) * counted.bytes_down
    }
}

/// What a published image was compiled from, as far as records need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Version of the policy; behind `@`, the latest validity boundary it had passed.
    pub policy_version: String,
    /// Plans by name: whether what is sent, and what is received, draws buckets.
    pub plans: std::collections::BTreeMap<String, (bool, bool)>,
    /// Rating groups by class.
    pub rating_groups: std::collections::BTreeMap<String, u32>,
}

/// A row of counters, read to be recorded.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Its first line.
    pub line: u32,
    /// When it began to count.
    pub row_start: Timestamp,
    /// Whose it is.
    pub subscriber: Arc<str>,
    /// Number of the session.
    pub session: u64,
    /// When that began.
    pub session_start: Timestamp,
    /// Its prefixes.
    pub addresses: Box<[IpNet]>,
    /// Whether the subscriber was suspended.
    pub suspended: bool,
    /// Plan, policy, and what the meters count.
    pub terms: Arc<Terms>,
    /// Why it was read.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// How it moved since its last record, as far as anybody looked.
    pub activity: Option<Activity>,
    /// Its meters.
    pub meters: Box<[Meter]>,
    /// The row ends, and with it the session, unless that goes on in the row at this line.
    pub ends: Option<Option<u32>>,
}

/// A row that ended, before its counters are final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Its first line.
    pub line: u32,
    /// Its plan layout.
    pub layout: u32,
    /// When it began to count.
    pub row_start: Timestamp,
    /// Whose it was.
    pub subscriber: Arc<str>,
    /// Number of its session.
    pub session: u64,
    /// When that began.
    pub session_start: Timestamp,
    /// Its prefixes.
    pub addresses: Box<[IpNet]>,
    /// Whether the subscriber was suspended.
    pub suspended: bool,
    /// When it ended.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// The row its session goes on in.
    pub next_line: Option<u32>,
    /// Serial number of the image it was judged by; set where it is read from the ledger.
    pub serial: Option<u32>,
}

/// What of a row has been recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Number of the session in the ledger.
    session: i64,
    /// Records of the session so far.
    pub session_seq: u64,
    /// End of the latest record.
    pub ended: Timestamp,
    /// When the session moved last.
    pub last: Timestamp,
    /// Milliseconds in which the session moved.
    pub active: u64,
    /// Highest rates of the session, in bits a second.
    pub peak_up_bps: u64,
    /// The same, received.
    pub peak_down_bps: u64,
    /// The row's meters as they were.
    pub counters: Vec<Meter>,
    /// What earlier rows of the session counted.
    carried: Vec<Carried>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Carried {
    class: String,
    charged: String,
    /// Bytes and packets up, bytes and packets down.
    counted: [u64; 4],
}

/// What a meter counted between two records, and since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Number of the meter.
    pub meter: usize,
    /// Since its last record.
    pub delta: Meter,
    /// Since the session began, whatever the plan.
    pub total: Meter,
}

/// What a cut adds to what was recorded before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounted {
    /// Where the time it is about begins.
    pub start: Timestamp,
    /// When it moved last.
    pub last: Timestamp,
    /// Milliseconds in which it moved.
    pub active: u64,
    /// Its meters: those that moved, and at the end of a session all that ever did.
    pub moved: Vec<Moved>,
    /// What has been recorded afterwards.
    pub taken: Taken,
}

/// A counter stands below what was recorded of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "meter {meter} of the row at line {line} counts {now:?}, and {recorded:?} were recorded of it"
)]
pub struct Backwards {
    line: u32,
    meter: usize,
    now: Meter,
    recorded: Meter,
}

impl Cut {
    /// What it adds to what was recorded of the row before.
    ///
    /// # Errors
    /// When a counter went backwards, which none does.
    ///
    /// # Panics
    /// When the records of a meter do not add up to its total: nothing may be written then.
    pub fn account(&self, before: Option<&Taken>) -> Result<Accounted, Backwards> {
        let mut taken = before.cloned().unwrap_or_else(|| self.nothing_taken());
        let recorded = std::mem::take(&mut taken.counters);
        let mut moved = Vec::new();
        for (meter, now) in self.meters.iter().enumerate() {
            let recorded = recorded.get(meter).copied().unwrap_or_default();
            let delta = minus(now, &recorded).ok_or(Backwards {
                line: self.line,
                meter,
                now: *now,
                recorded,
            })?;
            let label = &self.terms.meters[meter];
            let carried = taken.carried(label);
            let total = plus(&carried, now);
            assert_eq!(
                plus(&plus(&carried, &recorded), &delta),
                total,
                "the records of a meter do not add up"
            );
            let ended = self.cause.is_final() && total != Meter::default();
            if delta != Meter::default() || ended {
                moved.push(Moved {
                    meter,
                    delta,
                    total,
                });
            }
        }
        taken.counters = self.meters.to_vec();
        let mut start = self.row_start;
        if let Some(before) = before {
            start = start.max(before.ended);
        }
        if let Some(activity) = &self.activity {
            start = start.max(activity.since);
        }
        // Only a clock that was set back ends a record before it begins.
        let start = start.min(self.at);
        let most = crate::accounts::activity::between(start, self.at);
        let activity = self.activity.as_ref();
        let active = activity.map_or(std::time::Duration::ZERO, |activity| activity.active);
        let active = active.min(most).as_millis() as u64;
        let last = activity.map_or(self.at, |activity| activity.last.min(self.at));
        if !moved.is_empty() {
            taken.session_seq += moved.len() as u64;
            taken.ended = self.at;
            taken.last = taken.last.max(last);
            taken.active += active;
            if let Some(activity) = activity {
                taken.peak_up_bps = taken.peak_up_bps.max(activity.peak_up_bps);
                taken.peak_down_bps = taken.peak_down_bps.max(activity.peak_down_bps);
            }
        }
        Ok(Accounted {
            start,
            last,
            active,
            moved,
            taken,
        })
    }

    fn nothing_taken(&self) -> Taken {
        Taken {
            session: 0,
            session_seq: 0,
            ended: self.row_start,
            last: self.session_start,
            active: 0,
            peak_up_bps: 0,
            peak_down_bps: 0,
            counters: Vec::new(),
            carried: Vec::new(),
        }
    }

    /// What is to be known of the session when it goes on in another row.
    #[must_use]
    pub fn carry(&self, mut taken: Taken) -> Taken {
        let counters = std::mem::take(&mut taken.counters);
        for (label, counted) in self.terms.meters.iter().zip(counters) {
            if counted == Meter::default() {
                continue;
            }
            let sum = plus(&taken.carried(label), &counted);
            let (class, charged) = (&label.class, &label.charged);
            taken
                .carried
                .retain(|carried| (&carried.class, &carried.charged) != (class, charged));
            taken.carried.push(Carried {
                class: class.clone(),
                charged: charged.clone(),
                counted: codec::words(&sum),
            });
        }
        taken
    }
}

impl Taken {
    /// What of the session has been recorded and was let through, where its row counts under `terms`.
    #[must_use]
    pub fn passed(&self, terms: &Terms) -> Meter {
        let own = terms.meters.iter().zip(&self.counters);
        let own = own.map(|(label, counted)| (&label.charged, *counted));
        let carried = self.carried.iter();
        let carried = carried.map(|carried| (&carried.charged, codec::meter(carried.counted)));
        own.chain(carried)
            .filter(|(charged, _)| *charged != "dropped")
            .fold(Meter::default(), |sum, (_, counted)| plus(&sum, &counted))
    }

    fn carried(&self, label: &Label) -> Meter {
        let mut found = self.carried.iter();
        let found =
            found.find(|carried| carried.class == label.class && carried.charged == label.charged);
        found.map_or_else(Meter::default, |carried| codec::meter(carried.counted))
    }
}

fn plus(a: &Meter, b: &Meter) -> Meter {
    Meter {
        bytes_up: a.bytes_up + b.bytes_up,
        packets_up: a.packets_up + b.packets_up,
        bytes_down: a.bytes_down + b.bytes_down,
        packets_down: a.packets_down + b.packets_down,
    }
}

fn minus(a: &Meter, b: &Meter) -> Option<Meter> {
    Some(Meter {
        bytes_up: a.bytes_up.checked_sub(b.bytes_up)?,
        packets_up: a.packets_up.checked_sub(b.packets_up)?,
        bytes_down: a.bytes_down.checked_sub(b.bytes_down)?,
        packets_down: a.packets_down.checked_sub(b.packets_down)?,
    })
}

/// A usage record: what one meter of a session counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Time that is known not to be in it.
    pub gap: Option<()>,
    /// Where it was counted.
    pub count_point: String,
    /// What a byte is: `ip`.
    pub byte_basis: String,
}

/// The kind of usage records, which no other record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What a subscriber used.
    Usage,
}

/// Any record, in the one sequence they have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests;
