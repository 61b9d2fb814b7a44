//! What a reading of a row adds to what was recorded of it before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use classifier::layout::Meter;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::codec;
use super::{Cause, Label, Terms};
use crate::accounts::Addresses;
use crate::accounts::activity::{Activity, between};

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
    pub addresses: Addresses,
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
    /// The row ends.
    pub ends: Option<End>,
    /// Milliseconds the clock on the wall was set by since it was time for records last; 0 where it was not.
    pub clock_step: i64,
}

/// The end of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its plan layout.
    pub layout: u32,
    /// The row in which its session goes on, if it does.
    pub next_line: Option<u32>,
}

/// How far a clock that was set back may be behind the session's latest record, so that the next one ends with that, and not
/// before it. Where it was further ahead than that, what was recorded meanwhile is not what the rest is measured by.
const HELD_BACK: SignedDuration = SignedDuration::from_hours(1);

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
    pub addresses: Addresses,
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
    pub(in crate::ledger) session: i64,
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
    pub(super) carried: Vec<Carried>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carried {
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
    /// Where it ends: when the row was read, or with the record before, where the clock was set back.
    pub end: Timestamp,
    /// A counter stands below what was recorded of it: what it counted in between is in no record.
    pub backwards: Option<Backwards>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backwards {
    /// The row's first line.
    pub line: u32,
    meter: usize,
    now: Meter,
    recorded: Meter,
}

impl fmt::Display for Backwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            meter,
            now,
            recorded,
        } = self;
        write!(
            f,
            "meter {meter} of the row at line {line} counts {now:?}, and {recorded:?} were recorded of it"
        )
    }
}

impl Cut {
    /// What it adds to what was recorded of the row before. Where a counter went backwards, which none does unless the ledger
    /// is that of other counters, it is counted on from where it stands.
    ///
    /// # Panics
    /// When the records of a meter do not add up to its total: nothing may be written then.
    #[must_use]
    pub fn account(&self, before: Option<&Taken>) -> Accounted {
        let mut taken = before.cloned().unwrap_or_else(|| self.nothing_taken());
        let recorded = std::mem::take(&mut taken.counters);
        let mut moved = Vec::new();
        let mut backwards = None;
        for (meter, now) in self.meters.iter().enumerate() {
            let recorded = recorded.get(meter).copied().unwrap_or_default();
            let label = &self.terms.meters[meter];
            let so_far = plus(&taken.carried(label), &recorded);
            let below = minus(&recorded, now);
            if below != Meter::default() {
                // What was recorded stays in its total.
                taken.carry_more(label, &below);
                backwards.get_or_insert(Backwards {
                    line: self.line,
                    meter,
                    now: *now,
                    recorded,
                });
            }
            let delta = minus(now, &recorded);
            let total = plus(&taken.carried(label), now);
            assert_eq!(
                plus(&so_far, &delta),
                total,
                "the records of a meter do not add up"
            );
            let ended = self.cause.is_final() && total != Meter::default();
            if delta != Meter::default() || below != Meter::default() || ended {
                moved.push(Moved {
                    meter,
                    delta,
                    total,
                });
            }
        }
        taken.counters = self.meters.to_vec();
        let mut start = self.row_start;
        let mut end = self.at;
        if let Some(before) = before {
            start = start.max(before.ended);
            if before.ended > end && before.ended.duration_since(end) <= HELD_BACK {
                end = before.ended;
            }
        }
        if let Some(activity) = &self.activity {
            start = start.max(activity.since);
        }
        // Only a clock that was set back ends a record before it begins.
        let start = start.min(end);
        let most = between(start, end);
        let activity = self.activity.as_ref();
        let active = activity.map_or(Duration::ZERO, |activity| activity.active);
        let active = active.min(most).as_millis() as u64;
        let last = activity.map_or(end, |activity| activity.last.min(end));
        if !moved.is_empty() {
            taken.session_seq += moved.len() as u64;
            taken.ended = end;
            taken.last = taken.last.max(last);
            taken.active += active;
            if let Some(activity) = activity {
                taken.peak_up_bps = taken.peak_up_bps.max(activity.peak_up_bps);
                taken.peak_down_bps = taken.peak_down_bps.max(activity.peak_down_bps);
            }
        }
        Accounted {
            start,
            end,
            backwards,
            last,
            active,
            moved,
            taken,
        }
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
            taken.carry_more(label, &counted);
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

    /// All that has been recorded of the session; `None` where it is more than can be.
    pub(in crate::ledger) fn sum(&self) -> Option<Meter> {
        let carried = self.carried.iter();
        let mut carried = carried.map(|carried| codec::meter(carried.counted));
        let mut all = self.counters.iter().copied().chain(&mut carried);
        all.try_fold(Meter::default(), |sum, counted| {
            checked_plus(&sum, &counted)
        })
    }

    /// Adds to what a meter counted, of which its present row knows nothing.
    fn carry_more(&mut self, label: &Label, counted: &Meter) {
        let sum = plus(&self.carried(label), counted);
        let (class, charged) = (&label.class, &label.charged);
        self.carried
            .retain(|carried| (&carried.class, &carried.charged) != (class, charged));
        self.carried.push(Carried {
            class: class.clone(),
            charged: charged.clone(),
            counted: codec::words(&sum),
        });
    }

    fn carried(&self, label: &Label) -> Meter {
        let mut found = self.carried.iter();
        let found =
            found.find(|carried| carried.class == label.class && carried.charged == label.charged);
        found.map_or_else(Meter::default, |carried| codec::meter(carried.counted))
    }
}

pub(super) fn plus(a: &Meter, b: &Meter) -> Meter {
    Meter {
        bytes_up: a.bytes_up + b.bytes_up,
        packets_up: a.packets_up + b.packets_up,
        bytes_down: a.bytes_down + b.bytes_down,
        packets_down: a.packets_down + b.packets_down,
    }
}

/// The sum, where it is one that can be.
pub(in crate::ledger) fn checked_plus(a: &Meter, b: &Meter) -> Option<Meter> {
    Some(Meter {
        bytes_up: a.bytes_up.checked_add(b.bytes_up)?,
        packets_up: a.packets_up.checked_add(b.packets_up)?,
        bytes_down: a.bytes_down.checked_add(b.bytes_down)?,
        packets_down: a.packets_down.checked_add(b.packets_down)?,
    })
}

/// How far the counts of the one are above those of the other.
fn minus(a: &Meter, b: &Meter) -> Meter {
    Meter {
        bytes_up: a.bytes_up.saturating_sub(b.bytes_up),
        packets_up: a.packets_up.saturating_sub(b.packets_up),
        bytes_down: a.bytes_down.saturating_sub(b.bytes_down),
        packets_down: a.packets_down.saturating_sub(b.packets_down),
    }
}
