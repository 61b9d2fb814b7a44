//! What a reading of a row adds to what was recorded of it before.

use std::sync::Arc;
use std::time::Duration;

use classifier::layout::Meter;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec;
use super::{Cause, Label, Terms};
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
    /// The row ends.
    pub ends: Option<End>,
}

/// The end of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its plan layout.
    pub layout: u32,
    /// The row in which its session goes on, if it does.
    pub next_line: Option<u32>,
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
    pub(super) session: i64,
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
    /// The row's first line.
    pub line: u32,
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
        let most = between(start, self.at);
        let activity = self.activity.as_ref();
        let active = activity.map_or(Duration::ZERO, |activity| activity.active);
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

    /// Bytes in the row, both ways: what was charged, and what was dropped.
    #[must_use]
    pub fn bytes(&self) -> [u64; 2] {
        let mut bytes = [0; 2];
        for (label, meter) in self.terms.meters.iter().zip(&self.meters) {
            bytes[usize::from(label.charged == "dropped")] += meter.bytes_up + meter.bytes_down;
        }
        bytes
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

pub(super) fn plus(a: &Meter, b: &Meter) -> Meter {
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
