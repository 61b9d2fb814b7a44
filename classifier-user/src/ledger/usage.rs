//! Usage records: what a subscriber's meters counted since their last record, and what is known to have been recorded
//! of each of them.
//!
//! The counters in pinned memory are the truth. `taken` says how far records have followed them; both are written in one
//! transaction, so an agent that is killed at any moment leaves nothing to be lost or recorded twice: the next one goes
//! on from `taken`. A row of the table `usage` holds all records of one row of counters at one moment, one after the
//! other in the same sequence as the records of `records.rs`.

pub(super) mod account;
mod closings;
pub(super) mod codec;
mod gaps;
mod past;
mod read;
mod record;
mod sessions;
mod terms;
mod write;

pub(super) use self::past::TABLES as PAST;
use serde::{Deserialize, Serialize};

pub use self::account::{Accounted, Backwards, Closing, Cut, End, Moved, Taken};
pub(crate) use self::closings::closings;
pub(super) use self::closings::put_closings;
pub(super) use self::gaps::end_epoch;
pub(super) use self::read::prefixes;
pub use self::read::{Stored, Which};
pub use self::record::{AnyRecord, Gap, GapReason, Kind, UsageRecord};
pub use self::sessions::{PastSession, SealedUsage};
pub use self::terms::{Counts, Judged, Label, Terms};
pub use self::write::TermsNumbers;
pub(super) use self::write::next_seq;

/// The tables. Times are nanoseconds since 1970, UTC; `active` is milliseconds, rates are bits a second.
pub(super) const TABLES: &str = "
CREATE TABLE terms (number INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE image (serial INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE session (
    number INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, session INTEGER NOT NULL, subscriber TEXT NOT NULL,
    start INTEGER NOT NULL, ended INTEGER, addresses TEXT NOT NULL, lost INTEGER, UNIQUE (epoch, session)
);
CREATE INDEX session_of_subscriber ON session (subscriber);
CREATE TABLE usage (
    seq INTEGER PRIMARY KEY, records INTEGER NOT NULL, session INTEGER NOT NULL, session_seq INTEGER NOT NULL,
    terms INTEGER NOT NULL, cause INTEGER NOT NULL, suspended INTEGER NOT NULL, start INTEGER NOT NULL,
    ended INTEGER NOT NULL, last INTEGER NOT NULL, active INTEGER NOT NULL, peak_up INTEGER NOT NULL,
    peak_down INTEGER NOT NULL, meters BLOB NOT NULL, gap INTEGER, clock INTEGER NOT NULL DEFAULT 0
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

/// Times that are known to be in no record.
pub(super) const GAPS: &str = "
CREATE TABLE gap (number INTEGER PRIMARY KEY, start INTEGER NOT NULL, ended INTEGER NOT NULL, reason TEXT NOT NULL);
";

/// Those of them that only grow.
pub(super) const GROWING: [&str; 4] = ["usage", "session", "batch", super::rollups::GROWING];

/// Those of them that are about the counters of one epoch.
pub(super) const OF_AN_EPOCH: [&str; 5] = [
    "taken",
    "closing",
    "past",
    "past_sum",
    super::reconciled::OF_AN_EPOCH,
];

/// Why a record ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RecordCause)]
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

    pub(super) fn of_number(number: u8) -> Option<Self> {
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

#[cfg(test)]
pub(super) mod tests;
