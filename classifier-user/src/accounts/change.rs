//! A planned change from one policy and list of subscribers to the next, and what of it is laid out in memory.
//! `planning.rs` works it out.

use std::sync::Arc;

use classifier::image::Binding;
use classifier::layout::RowHead;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Account, Catalog, EndedRow, Free, Full, Numbers, Row};
use crate::engine::lines::Lines;
use crate::ledger::records::Entry;
use crate::subscribers::Wish;

/// A planned change from one policy and list of subscribers to the next.
#[derive(Debug, Clone)]
pub struct Change {
    /// The catalog with the new policy's names.
    pub catalog: Catalog,
    /// The new policy's numbers.
    pub numbers: Numbers,
    /// Subscribers that are new or not as they were.
    pub subscribers: Vec<(Arc<str>, Arc<Account>)>,
    /// Rows that cease to count.
    pub ended: Vec<EndedRow>,
    /// New rows, and their heads.
    pub rows: Vec<(Row, RowHead)>,
    /// What buckets that are new are granted: line, position, bytes.
    pub grants: Vec<(u32, u32, u64)>,
    /// What was drawn from buckets before counters began anew: line, position, bytes.
    pub drawn: Vec<(u32, u32, u64)>,
    /// Who all prefixes belong to after the change.
    pub bindings: Vec<(IpNet, Binding)>,
    /// Those of `bindings` that are new or not as they were.
    pub bound: Vec<(IpNet, Binding)>,
    /// Prefixes that belong to nobody any more, or are among `bound`.
    pub unbound: Vec<IpNet>,
    /// First line the change gives out for the first time.
    pub first_line: u32,
    /// First line that was never given out, after the change.
    pub next_line: u32,
    /// Lines that are free again, after the change.
    pub free: Free,
    /// Those it gives out again: first line and length.
    pub reused: Vec<(u32, u32)>,
    /// Number of the next session after the change.
    pub next_session: u64,
    /// What changed, for the log.
    pub summary: Summary,
    /// Who cannot go to the successor of a plan that has ended, and so stays on it, and why.
    pub stranded: Vec<Full>,
    /// When.
    pub at: Timestamp,
    /// It is about one subscriber: `bindings` says nothing of the others.
    pub of_one: bool,
    /// What was asked for subscribers otherwise than by their file, and what no longer holds of it.
    pub wishes: Vec<(Arc<str>, Option<Wish>)>,
    /// What is to be recorded: subscribers that have another plan or state, or are gone, and what plans grant a few at first.
    pub entries: Vec<Entry>,
    /// First grants that are recorded together.
    pub endowed: Vec<Endowed>,
}

/// What a plan grants many at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endowed {
    /// Its name.
    pub plan: String,
    /// Names of the buckets, and bytes.
    pub grants: Vec<(String, u64)>,
    /// Ids of the subscribers.
    pub subscribers: Vec<Arc<str>>,
}

/// Why a subscriber changes.
#[derive(Debug, Clone, Default)]
pub struct Cause {
    /// The caller's id of the order.
    pub id: Option<String>,
    /// Why, as the caller said.
    pub reason: Option<String>,
}

/// How many subscribers a change touches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SubscriberSummary)]
pub struct Summary {
    /// Subscribers that were not there before.
    pub added: usize,
    /// Subscribers that are there no longer.
    pub removed: usize,
    /// Subscribers whose addresses changed.
    pub readdressed: usize,
    /// Subscribers whose plan changed.
    pub replanned: usize,
    /// Subscribers that were suspended or resumed.
    pub state_changed: usize,
}

impl Summary {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Change {
    /// Lays out new rows and bucket blocks, and stores what new buckets are granted: where nobody counts or draws before
    /// the change is published. A change that was given up may have left something there.
    pub fn write_new(&self, lines: &Lines) {
        lines.clear(self.first_line..self.next_line);
        for (line, length) in &self.reused {
            lines.clear(*line..line + length);
        }
        for (line, position, bytes) in &self.grants {
            lines.set_granted(*line, *position, *bytes);
        }
        for (line, position, bytes) in &self.drawn {
            lines.set_drawn(*line, *position, *bytes);
        }
        for (row, head) in &self.rows {
            lines.set_head(row.line, *head);
        }
    }

    /// Whether it changes nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.wishes.is_empty()
    }
}
