//! Who is counted where: subscribers, their sessions, the rows and bucket blocks these have in the kernel.
//!
//! A reload is planned whole against what there is ([`Accounts::plan`]), and only then written down, put into
//! memory, published and adopted, in that order: at whatever point it stops, the running policy is untouched.
//!
//! | thing | lives as long as |
//! |---|---|
//! | bucket block | its subscriber is known to the node |
//! | session | the subscriber has the same addresses |
//! | row | the session has the same plan layout; an ended row keeps its counts |

mod catalog;
mod change;
pub mod usage;

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::catalog::{Catalog, Charged, Full, KnownClass, Layout, MeterKey, Numbers};
pub use self::change::{Change, Summary};
/// All a node knows about who is counted where.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// Numbers of classes and plan layouts.
    pub catalog: Catalog,
    /// Subscribers by id, present and past.
    pub subscribers: BTreeMap<String, Account>,
    /// Rows in the order they were given out, ended ones included.
    pub rows: Vec<Row>,
    /// First line that was never given out.
    pub next_line: u32,
    /// Number of the next session.
    pub next_session: u64,
}

/// A subscriber as the node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Line of its bucket block, 0 while it has no buckets.
    pub bucket_line: u32,
    /// Its buckets by position in the block.
    pub buckets: Vec<Bucket>,
    /// The running session; `None` once it has left.
    pub session: Option<Session>,
}

/// A bucket of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Whether its plan's grant was given.
    pub granted: bool,
}

/// One binding of addresses to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number on this node.
    pub number: u64,
    /// When it began.
    pub start: Timestamp,
    /// Its prefixes, as they were given.
    pub addresses: Vec<IpNet>,
    /// Plan name.
    pub plan: String,
    /// Whether the subscriber is suspended.
    pub suspended: bool,
    /// Index of its row in [`Accounts::rows`].
    pub row: usize,
}

/// A row in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its first line.
    pub line: u32,
    /// Number of its plan layout.
    pub layout: u32,
    /// Number of its session.
    pub session: u64,
    /// Id of its subscriber.
    pub subscriber: String,
    /// When it began to count.
    pub start: Timestamp,
    /// When it ceased to.
    pub end: Option<Timestamp>,
}

impl Accounts {
    /// A node that has counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next_line: 1,
            next_session: 1,
            ..Self::default()
        }
    }

    /// Adopts a change that was written down, taking what it gave out from it.
    pub fn adopt(&mut self, change: &mut Change) {
        self.catalog.clone_from(&change.catalog);
        self.rows.append(&mut change.rows);
        for row in change.ended.drain(..) {
            self.rows[row].end = Some(change.at);
        }
        self.subscribers.extend(change.subscribers.drain(..));
        self.next_line = change.next_line;
        self.next_session = change.next_session;
    }

    /// Subscribers with a running session.
    pub fn present(&self) -> impl Iterator<Item = (&str, &Account, &Session)> {
        self.subscribers
            .iter()
            .filter_map(|(id, account)| Some((id.as_str(), account, account.session.as_ref()?)))
    }
}

#[cfg(test)]
mod tests;
