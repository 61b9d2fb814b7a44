//! Who is counted where: subscribers, their sessions, the rows and bucket blocks these have in the kernel.
//!
//! A reload is planned whole against what there is ([`Accounts::plan`]), and only then written down, put into
//! memory, published and adopted, in that order: at whatever point it stops, the running policy is untouched.
//!
//! | thing | lives as long as |
//! |---|---|
//! | bucket block | its subscriber is known to the node |
//! | session | the subscriber has the same addresses |
//! | row | the session has the same plan layout; one that ended keeps its counts until they are recorded, and then others have its lines |

pub mod activity;
mod addresses;
mod catalog;
mod change;
mod cycles;
mod endowment;
mod free;
mod planning;
mod stamp;
mod succession;
pub mod usage;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use classifier::image::Binding;
use classifier::layout::{Meter, RowHead, row_lines};
use imbl::OrdMap;
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use self::addresses::Addresses;
pub use self::catalog::{Catalog, Charged, Full, KnownClass, Layout, MeterKey, Numbers};
pub use self::change::{Cause, Change, Endowed, Summary};
pub use self::cycles::Cycles;
pub use self::free::Free;
pub use self::stamp::Stamp;
use self::usage::{ByLayout, add_meters};

/// Subscribers by id. A copy costs nothing, and stays as it was. Its nodes may be half empty, so that what stands
/// in them is to be small.
pub type Directory = OrdMap<Arc<str>, Arc<Account>>;

/// All a node knows about who is counted where.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// Numbers of classes and plan layouts.
    pub catalog: Catalog,
    /// Subscribers by id, present and past.
    pub subscribers: Directory,
    /// Rows that ceased to count and are not recorded to the end, in that order.
    pub ended: Vec<EndedRow>,
    /// What rows counted that ended before those.
    pub past: ByLayout,
    /// Lines below `next_line` that nobody has.
    pub free: Free,
    /// First line that was never given out.
    pub next_line: u32,
    /// Number of the next session.
    pub next_session: u64,
    /// Whose days and months cycles are counted in.
    pub zone: TimeZone,
    /// After counters began anew: what was in the buckets before, by number of account, until they have a block again.
    pub carried: HashMap<u32, Vec<Carried>>,
}

/// What was in a bucket before counters began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Its position in the block.
    pub position: u32,
    /// Bytes it was ever granted, if that is not what its plan granted it at first.
    pub granted: Option<u64>,
    /// Bytes that were ever drawn from it, as far as they were written down.
    pub drawn: u64,
}

/// A subscriber as the node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number: subscribers are numbered as they appear.
    pub number: u32,
    /// Line of its bucket block, 0 while it has no buckets.
    pub bucket_line: u32,
    /// Its buckets by position in the block. Subscribers of one plan share the list.
    pub buckets: Arc<[Bucket]>,
    /// Where it is in its cycles; `None` if no plan it had has any.
    pub cycles: Option<Cycles>,
    /// The running session; `None` once it has left.
    pub session: Option<Session>,
}

/// A bucket of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What its plan granted it at first, in bytes, once that was given.
    pub granted: Option<u64>,
}

/// One binding of addresses to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number on this node.
    pub number: u64,
    /// When it began.
    pub start: Stamp,
    /// Its prefixes, sorted.
    pub addresses: Addresses,
    /// Whether the subscriber is suspended.
    pub suspended: bool,
    /// Where it is counted.
    pub row: Row,
}

/// A row in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its first line.
    pub line: u32,
    /// Number of its plan layout, and so of its plan.
    pub layout: u32,
    /// When it began to count.
    pub start: Stamp,
}

/// A row that ceased to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRow {
    /// The row.
    pub row: Row,
    /// Number of its session.
    pub session: u64,
    /// Id of its subscriber.
    pub subscriber: Arc<str>,
    /// When it ceased to count.
    pub end: Timestamp,
}

impl Accounts {
    /// A node that has counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            catalog: Catalog::default(),
            subscribers: Directory::new(),
            ended: Vec::new(),
            past: ByLayout::new(),
            free: Free::default(),
            next_line: 1,
            next_session: 1,
            zone: TimeZone::UTC,
            carried: HashMap::new(),
        }
    }

    /// The same subscribers after counters began anew: without sessions and rows.
    #[must_use]
    pub fn anew(self) -> Self {
        let without = |account: Arc<Account>| {
            Arc::new(Account {
                session: None,
                bucket_line: 0,
                ..Arc::unwrap_or_clone(account)
            })
        };
        let subscribers = self.subscribers.into_iter();
        Self {
            subscribers: subscribers
                .map(|(id, account)| (id, without(account)))
                .collect(),
            zone: self.zone,
            ..Self::new()
        }
    }

    /// Numbers of accounts that had buckets before counters began anew, and have no block since.
    #[must_use]
    pub fn without_block(&self) -> HashSet<u32> {
        let without = self.subscribers.values().filter(|account| account.waits());
        without.map(|account| account.number).collect()
    }

    /// Adopts a change that was written down, taking what it gave out from it.
    pub fn adopt(&mut self, change: &mut Change) {
        self.catalog.clone_from(&change.catalog);
        self.ended.append(&mut change.ended);
        if !self.carried.is_empty() {
            let placed = change
                .subscribers
                .iter()
                .filter(|(_, account)| account.bucket_line != 0);
            for (_, account) in placed {
                self.carried.remove(&account.number);
            }
        }
        let mut subscribers = std::mem::take(&mut change.subscribers);
        if self.subscribers.is_empty() {
            // One beside the other, much faster. A node is split where it is full, and its first half never meets another id
            // that comes in order: every second one at first, so that the others fill the halves.
            subscribers.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let mut others = Vec::with_capacity(subscribers.len() / 2);
            for (index, subscriber) in subscribers.into_iter().enumerate() {
                if index % 2 == 0 {
                    self.subscribers.insert(subscriber.0, subscriber.1);
                } else {
                    others.push(subscriber);
                }
            }
            subscribers = others;
        }
        self.subscribers.extend(subscribers);
        self.next_line = change.next_line;
        self.free.clone_from(&change.free);
        self.next_session = change.next_session;
        // Laid out once: from now on somebody may count there. Their memory is needed for what follows.
        change.rows = Vec::new();
        change.reused = Vec::new();
        change.first_line = change.next_line;
        change.grants = Vec::new();
        change.drawn = Vec::new();
        change.entries = Vec::new();
        change.endowed = Vec::new();
    }

    /// Finds which lines nobody has.
    pub fn find_free(&mut self) {
        let length =
            |row: &Row| row_lines(self.catalog.layouts[row.layout as usize].meters.len() as u32);
        let rows = self.rows().map(|(row, _)| (row.line, length(row)));
        let blocks = self
            .subscribers
            .values()
            .map(|account| (account.bucket_line, 1));
        let used = rows.chain(blocks).collect();
        self.free = Free::between(used, self.next_line);
    }

    /// Gives away the lines of rows whose counts are kept elsewhere from now on.
    pub fn recycle(&mut self, rows: &HashMap<u32, &[Meter]>) {
        let Self {
            ended,
            free,
            past,
            catalog,
            ..
        } = self;
        ended.retain(|EndedRow { row, .. }| {
            let Some(counted) = rows.get(&row.line) else {
                return true;
            };
            let meters = catalog.layouts[row.layout as usize].meters.len();
            free.give_back(row.line, row_lines(meters as u32));
            add_meters(past, row.layout, counted.iter().copied());
            false
        });
        if ended.is_empty() {
            // Half of all rows may have been there at once.
            *ended = Vec::new();
        }
    }

    /// Subscribers with a running session.
    pub fn present(&self) -> impl Iterator<Item = (&Arc<str>, &Account, &Session)> {
        self.subscribers
            .iter()
            .filter_map(|(id, account)| Some((id, &**account, account.session.as_ref()?)))
    }

    /// Rows that count or counted: layout, first line and subscriber.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, &str)> {
        let ended = self.ended.iter();
        let present = self.present();
        ended
            .map(|ended| (&ended.row, &*ended.subscriber))
            .chain(present.map(|(id, _, session)| (&session.row, &**id)))
    }

    /// Who the prefixes of all running sessions belong to.
    #[must_use]
    pub fn bindings(&self) -> Vec<(IpNet, Binding)> {
        self.present()
            .flat_map(|(_, account, _)| account.bindings())
            .collect()
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new()
    }
}

impl Account {
    /// Whether it had buckets before counters began anew, and has no block since.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.bucket_line == 0 && self.buckets.iter().any(|bucket| bucket.granted.is_some())
    }

    /// What a packet learns from one of the running session's addresses.
    #[must_use]
    pub fn binding(&self) -> Option<Binding> {
        let session = self.session.as_ref()?;
        let Row { line, layout, .. } = session.row;
        let binding = Binding::new(line, layout, session.suspended);
        // Line 0 is nobody's block, and line 1 may be a row.
        Some(match self.bucket_line {
            1.. if self.bucket_line + 1 == line => binding.with_block_before(),
            _ => binding,
        })
    }

    /// The running session's prefixes, bound to it.
    pub fn bindings(&self) -> impl Iterator<Item = (IpNet, Binding)> {
        let addresses = self.session.iter().flat_map(|session| &session.addresses);
        self.binding()
            .into_iter()
            .flat_map(move |binding| addresses.clone().map(move |net| (*net, binding)))
    }
}

/// The head of the row that counts for a session.
fn row_head(catalog: &Catalog, account: &Account, session: &Session) -> RowHead {
    let layout = &catalog.layouts[session.row.layout as usize];
    let mut bucket_map = 0;
    for (number, name) in layout.buckets.iter().enumerate() {
        let position = account
            .buckets
            .iter()
            .position(|bucket| bucket.name == *name);
        bucket_map |= (position.unwrap_or(0) as u32) << (number * 4);
    }
    RowHead {
        bucket_line: account.bucket_line,
        bucket_map,
    }
}

#[cfg(test)]
mod tests;
