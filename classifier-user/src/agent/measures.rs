//! What metrics tell of a node, read in pieces: whoever waits for the node has it between two of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use classifier::books::Cell;
use classifier::layout::{CHUNK_LINES, LINE_BYTES, MAX_CHUNKS, Meter};
use jiff::Timestamp;

use super::error::NodeError;
use super::feeds::FeedStatus;
use super::node::Node;
use super::views::{Counted, InterfaceStatus, closing};
use crate::accounts::usage::{self, ByLayout, add, add_meters};
use crate::config::Subscribers;
use crate::datapath::image_map::MAX_IMAGE_WORDS;
use crate::report::UsageRow;
use crate::sinks::board::SinkStatus;

/// Subscribers, or ended rows, that are looked at in one go: some milliseconds of it.
const SLICE: usize = 1 << 13;

/// The names a counter of a row is shown under: class, charged.
pub(crate) type Account = (String, String);

/// Sums over all rows of a node, those that ended included, made piece by piece.
///
/// A sum never falls while the counters are the same. A row is missed where it ends while the others are added up; then the
/// sum of the time before is told, which is one scrape old.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// What was told last.
    told: BTreeMap<Account, Meter>,
    /// What is found at present,
    now: Pass,
    /// and what was found when all had been looked at last.
    pub(crate) found: Found,
}

/// What is found on the way through all subscribers.
#[derive(Debug, Default)]
struct Pass {
    rows: ByLayout,
    found: Found,
    /// The last subscriber that was looked at.
    last: Option<Arc<str>>,
    begun: bool,
}

/// How many there are.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Found {
    /// Subscribers with a session that have their service,
    pub(crate) active: u64,
    /// and that do not.
    pub(crate) suspended: u64,
    /// Bucket blocks in the kernel.
    pub(crate) blocks: u64,
}

impl Sums {
    /// What is to be told: by class and charged.
    pub(crate) const fn told(&self) -> &BTreeMap<Account, Meter> {
        &self.told
    }
}

fn raise(to: &mut Meter, what: &Meter) {
    to.bytes_up = to.bytes_up.max(what.bytes_up);
    to.bytes_down = to.bytes_down.max(what.bytes_down);
    to.packets_up = to.packets_up.max(what.packets_up);
    to.packets_down = to.packets_down.max(what.packets_down);
}

/// What there is to tell of a node beside its rows.
#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) node: String,
    pub(crate) epoch: String,
    pub(crate) policy: Option<PolicyInForce>,
    pub(crate) image_room_bytes: u64,
    pub(crate) image_limit_bytes: u64,
    pub(crate) known_subscribers: u64,
    pub(crate) lines: u64,
    pub(crate) line_room: u64,
    pub(crate) line_limit: u64,
    pub(crate) line_bytes: u64,
    pub(crate) classes: Vec<String>,
    pub(crate) counted: Vec<Counted>,
    pub(crate) interfaces: Vec<InterfaceStatus>,
    pub(crate) events: u64,
    pub(crate) refused: bool,
    pub(crate) unrecorded: bool,
    pub(crate) oldest_unrecorded: Option<Timestamp>,
    pub(crate) ledger_bytes: u64,
    pub(crate) sealed_bytes: u64,
    pub(crate) unsealed: bool,
    /// What CPUs counted cannot be added to the rows.
    pub(crate) ungathered: bool,
    /// Records that are in no roll-up yet.
    pub(crate) unrolled: u64,
    pub(crate) sinks: Vec<SinkStatus>,
    pub(crate) feeds: Vec<FeedStatus>,
    /// Of those whose usage is to be told by name.
    pub(crate) usage: Vec<UsageRow>,
}

/// What packets are judged by.
#[derive(Debug)]
pub(crate) struct PolicyInForce {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Option<Timestamp>,
    pub(crate) image_bytes: u64,
}

impl Node {
    /// Looks at a piece of the rows; whether there are more.
    pub(crate) fn add_up(&self, sums: &mut Sums) -> bool {
        if !std::mem::replace(&mut sums.now.begun, true) {
            self.gather();
            // What ended before. What ends from here on is found with its subscriber, or next time: it is in neither twice.
            let mut rows = self.accounts.past.clone();
            for ended in &self.accounts.ended {
                self.add_row(&mut rows, ended.row.line, ended.row.layout);
            }
            sums.now.rows = rows;
            return true;
        }
        let after = match &sums.now.last {
            Some(last) => Bound::Excluded(Arc::clone(last)),
            None => Bound::Unbounded,
        };
        let mut some = self
            .accounts
            .subscribers
            .range((after, Bound::Unbounded))
            .take(SLICE);
        let pass = &mut sums.now;
        let before = pass.last.clone();
        for (id, account) in &mut some {
            pass.found.blocks += u64::from(account.bucket_line != 0);
            if let Some(session) = &account.session {
                match session.suspended {
                    true => pass.found.suspended += 1,
                    false => pass.found.active += 1,
                }
                self.add_row(&mut pass.rows, session.row.line, session.row.layout);
            }
            pass.last = Some(Arc::clone(id));
        }
        if pass.last != before {
            return true;
        }
        self.finish(sums);
        false
    }

    fn finish(&self, sums: &mut Sums) {
        let pass = std::mem::take(&mut sums.now);
        sums.found = pass.found;
        let catalog = &self.accounts.catalog;
        let mut all: BTreeMap<Account, Meter> = BTreeMap::new();
        for (layout, meters) in &pass.rows {
            let keys = &catalog.layouts[*layout as usize].meters;
            for (key, meter) in keys.iter().zip(meters) {
                let class = catalog.classes[key.class as usize].name.clone();
                let charged = catalog.charged(*layout, key.charged).to_owned();
                add(all.entry((class, charged)).or_default(), meter);
            }
        }
        for (account, meter) in all {
            raise(sums.told.entry(account).or_default(), &meter);
        }
    }

    fn add_row(&self, to: &mut ByLayout, line: u32, layout: u32) {
        let meters = self.accounts.catalog.layouts[layout as usize].meters.len();
        add_meters(to, layout, self.lines.meters(line, meters as u32));
    }

    /// What there is to tell beside that, and what the subscribers that are asked for by name used.
    ///
    /// # Errors
    /// When the books cannot be read, or what ended rows counted.
    pub(crate) fn measures(&self, by_name: &Subscribers) -> Result<Measures, NodeError> {
        let counted = self.counted()?;
        let waiting = self.recording.oldest_waiting();
        let policy = self.in_force.as_ref().map(|in_force| PolicyInForce {
            name: in_force.policy.name.clone(),
            version: in_force.policy.version.clone(),
            since: in_force.since,
            until: in_force.until,
            image_bytes: in_force.image_bytes as u64,
        });
        let usage = match by_name.is_any() {
            true => {
                let past = self.ledger.past()?;
                let mut usage = usage::usage(&self.accounts, self.rows(), &past);
                usage.retain(|row| by_name.has(&row.subscriber));
                usage
            }
            false => Vec::new(),
        };
        Ok(Measures {
            node: self.config.node.clone(),
            epoch: format!("{:016x}", self.maps.epoch()),
            policy,
            image_room_bytes: u64::from(self.maps.image.words()) * 4,
            image_limit_bytes: u64::from(MAX_IMAGE_WORDS) * 4,
            known_subscribers: self.accounts.subscribers.len() as u64,
            lines: u64::from(self.accounts.next_line) - self.accounts.free.lines(),
            line_room: u64::from(self.lines.len()) * u64::from(CHUNK_LINES),
            line_limit: u64::from(MAX_CHUNKS) * u64::from(CHUNK_LINES),
            line_bytes: u64::from(LINE_BYTES),
            classes: self
                .accounts
                .catalog
                .classes
                .iter()
                .map(|class| class.name.clone())
                .collect(),
            interfaces: self.interface_states(&counted),
            counted,
            events: self.feed().total(),
            refused: self.refused.is_some(),
            unrecorded: self.recording.in_the_way().is_some(),
            oldest_unrecorded: waiting,
            ledger_bytes: self.ledger.file_bytes(),
            sealed_bytes: self.ledger.sealed_bytes()?,
            unsealed: self.unsealed.is_some(),
            ungathered: self.gathering.is_troubled(),
            unrolled: self.ledger.unrolled()?,
            sinks: self.sinks.status(&self.ledger),
            feeds: self.feeds.clone(),
            usage,
        })
    }
}

/// What is in the books of an interface and direction.
impl Counted {
    pub(crate) fn cell(&self, cell: Cell) -> u64 {
        self.books[cell as usize]
    }

    /// IP bytes that were seen and are in no other part of the books.
    pub(crate) fn difference(&self) -> i64 {
        closing(&self.books).difference_bytes
    }

    /// Packets and bytes of unknown subscribers, of a class by its number.
    pub(crate) fn unattributed(&self, class: u32) -> (u64, u64) {
        let cell = Cell::unattributed(class) as usize;
        (self.books[cell], self.books[cell + 1])
    }
}
