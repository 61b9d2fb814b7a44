//! Planning a change: what a new policy and list of subscribers give out, keep and end, before anything is done.

use std::collections::HashSet;

use classifier::layout::{
    CHUNK_LINES, MAX_BUCKETS, MAX_CHUNKS, RowHead, STATE_SUSPENDED, row_lines,
};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Account, Accounts, Bucket, Catalog, Full, Numbers, Row, Session};
use crate::engine::lines::Lines;
use crate::policy::{Grant, Plan, Policy};
use crate::subscribers::{State, Subscriber};

/// A planned change from one policy and list of subscribers to the next.
#[derive(Debug, Clone)]
pub struct Change {
    /// The catalog with the new policy's names.
    pub catalog: Catalog,
    /// The new policy's numbers.
    pub numbers: Numbers,
    /// Subscribers that are new or not as they were.
    pub subscribers: Vec<(String, Account)>,
    /// Rows to append.
    pub rows: Vec<Row>,
    /// Indices of rows that end.
    pub ended: Vec<usize>,
    /// When they end.
    pub at: Timestamp,
    /// Bucket levels to store: line, position, bytes.
    pub levels: Vec<(u32, u32, i64)>,
    /// Heads of every row in use after the change, by first line.
    pub heads: Vec<(u32, RowHead)>,
    /// Which row counts for a prefix.
    pub bindings: Vec<(IpNet, u32)>,
    /// First line free after the change.
    pub next_line: u32,
    /// Number of the next session after the change.
    pub next_session: u64,
    /// What changed, for the log.
    pub summary: Summary,
}

/// How many subscribers a change touches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Lines there can be: the first one stands for none.
const CAPACITY: u32 = MAX_CHUNKS * CHUNK_LINES;

impl Accounts {
    /// Plans the change to a policy and a list of subscribers.
    ///
    /// # Errors
    /// When something does not fit; nothing has changed then.
    pub fn plan(
        &self,
        policy: &Policy,
        subscribers: &[Subscriber],
        at: Timestamp,
    ) -> Result<Change, Full> {
        let mut catalog = self.catalog.clone();
        let numbers = catalog.learn(policy)?;
        let mut planning = Planning {
            accounts: self,
            policy,
            change: Change {
                catalog,
                numbers,
                subscribers: Vec::new(),
                rows: Vec::new(),
                ended: Vec::new(),
                at,
                levels: Vec::new(),
                heads: Vec::with_capacity(subscribers.len()),
                bindings: Vec::new(),
                next_line: self.next_line,
                next_session: self.next_session,
                summary: Summary::default(),
            },
        };
        for subscriber in subscribers {
            planning.subscriber(subscriber)?;
        }
        planning.departures(subscribers);
        Ok(planning.change)
    }
}

impl Change {
    /// Stores the grants. Before the change is published, and once only: nobody draws from these buckets yet.
    pub fn write_levels(&self, lines: &Lines) {
        for (line, position, bytes) in &self.levels {
            lines.set_level(*line, *position, *bytes);
        }
    }

    /// Writes the heads of rows no packet has counted in yet.
    pub fn write_new_heads(&self, lines: &Lines) {
        let new: HashSet<u32> = self.rows.iter().map(|row| row.line).collect();
        for (line, head) in self.heads.iter().filter(|(line, _)| new.contains(line)) {
            lines.set_head(*line, head);
        }
    }

    /// Writes the heads of all rows in use. Heads of rows that are in use already differ in nothing but the
    /// subscriber's state.
    pub fn write_heads(&self, lines: &Lines) {
        for (line, head) in &self.heads {
            lines.set_head(*line, head);
        }
    }
}

struct Planning<'a> {
    accounts: &'a Accounts,
    policy: &'a Policy,
    change: Change,
}

impl Planning<'_> {
    fn subscriber(&mut self, subscriber: &Subscriber) -> Result<(), Full> {
        let plan = &self.policy.plans[subscriber.plan];
        let layout = self.change.numbers.layouts[subscriber.plan];
        let suspended = subscriber.state == State::Suspended;
        let mut addresses: Vec<IpNet> = subscriber
            .prefixes
            .iter()
            .map(|prefix| prefix.net)
            .collect();
        // The same addresses in another order are the same session.
        addresses.sort();
        addresses.dedup();
        let known = self.accounts.subscribers.get(&subscriber.id);
        let mut account = known.cloned().unwrap_or_else(|| Account {
            bucket_line: 0,
            buckets: Vec::new(),
            session: None,
        });
        self.buckets(&subscriber.id, plan, layout, &mut account)?;

        let summary = &mut self.change.summary;
        let session = match account.session.take() {
            Some(mut session) => {
                summary.state_changed += usize::from(session.suspended != suspended);
                summary.replanned += usize::from(session.plan != plan.name);
                session.suspended = suspended;
                session.plan.clone_from(&plan.name);
                if session.addresses != addresses {
                    summary.readdressed += 1;
                    self.change.ended.push(session.row);
                    self.session(&subscriber.id, plan, layout, suspended, addresses)?
                } else if self.accounts.rows[session.row].layout != layout {
                    self.change.ended.push(session.row);
                    session.row = self.row(&subscriber.id, layout, session.number)?;
                    session
                } else {
                    session
                }
            }
            None => {
                summary.added += 1;
                self.session(&subscriber.id, plan, layout, suspended, addresses)?
            }
        };
        self.head(&account, &session, layout);
        account.session = Some(session);
        if known != Some(&account) {
            self.change
                .subscribers
                .push((subscriber.id.clone(), account));
        }
        Ok(())
    }

    /// Sees that the account has every bucket of the layout, and plans the grants of those new to it.
    fn buckets(
        &mut self,
        id: &str,
        plan: &Plan,
        layout: u32,
        account: &mut Account,
    ) -> Result<(), Full> {
        for name in &self.change.catalog.layouts[layout as usize].buckets {
            if !account.buckets.iter().any(|bucket| bucket.name == *name) {
                account.buckets.push(Bucket {
                    name: name.clone(),
                    granted: false,
                });
            }
        }
        if account.buckets.len() > MAX_BUCKETS as usize {
            let names: Vec<_> = account
                .buckets
                .iter()
                .map(|bucket| bucket.name.as_str())
                .collect();
            return Err(Full::Buckets {
                subscriber: id.to_owned(),
                names: names.join(", "),
            });
        }
        if account.bucket_line == 0 && !account.buckets.is_empty() {
            account.bucket_line = self.lines(1)?;
        }
        for (position, bucket) in account.buckets.iter_mut().enumerate() {
            let Some(planned) = plan
                .buckets
                .iter()
                .find(|planned| planned.name == bucket.name)
            else {
                continue;
            };
            if !bucket.granted {
                bucket.granted = true;
                let bytes = match planned.grant {
                    Grant::Bytes(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
                    Grant::Money(_) => 0,
                };
                self.change
                    .levels
                    .push((account.bucket_line, position as u32, bytes));
            }
        }
        Ok(())
    }

    fn session(
        &mut self,
        id: &str,
        plan: &Plan,
        layout: u32,
        suspended: bool,
        addresses: Vec<IpNet>,
    ) -> Result<Session, Full> {
        let number = self.change.next_session;
        self.change.next_session += 1;
        let row = self.row(id, layout, number)?;
        let start = self.change.at;
        Ok(Session {
            number,
            start,
            addresses,
            plan: plan.name.clone(),
            suspended,
            row,
        })
    }

    /// A new row; its index.
    fn row(&mut self, subscriber: &str, layout: u32, session: u64) -> Result<usize, Full> {
        let meters = self.change.catalog.layouts[layout as usize].meters.len();
        let line = self.lines(row_lines(meters as u32))?;
        self.change.rows.push(Row {
            line,
            layout,
            session,
            subscriber: subscriber.to_owned(),
            start: self.change.at,
            end: None,
        });
        Ok(self.accounts.rows.len() + self.change.rows.len() - 1)
    }

    fn head(&mut self, account: &Account, session: &Session, layout: u32) {
        let mut bucket_map = 0;
        let buckets = &self.change.catalog.layouts[layout as usize].buckets;
        for (number, name) in buckets.iter().enumerate() {
            let position = account
                .buckets
                .iter()
                .position(|bucket| bucket.name == *name);
            bucket_map |= (position.unwrap_or(0) as u32) << (number * 4);
        }
        let before = self.accounts.rows.len();
        let line = match session.row.checked_sub(before) {
            Some(new) => self.change.rows[new].line,
            None => self.accounts.rows[session.row].line,
        };
        let head = RowHead {
            plan: layout,
            state: if session.suspended {
                STATE_SUSPENDED
            } else {
                0
            },
            bucket_line: account.bucket_line,
            bucket_map,
            session: session.number,
            reserved: 0,
        };
        self.change.heads.push((line, head));
        self.change
            .bindings
            .extend(session.addresses.iter().map(|net| (*net, line)));
    }

    /// Ends the sessions of subscribers that are not listed any more.
    fn departures(&mut self, subscribers: &[Subscriber]) {
        let listed: HashSet<&str> = subscribers
            .iter()
            .map(|subscriber| subscriber.id.as_str())
            .collect();
        for (id, account, session) in self.accounts.present() {
            if !listed.contains(id) {
                self.change.summary.removed += 1;
                self.change.ended.push(session.row);
                let gone = Account {
                    session: None,
                    ..account.clone()
                };
                self.change.subscribers.push((id.to_owned(), gone));
            }
        }
    }

    /// Gives out consecutive lines of one chunk.
    fn lines(&mut self, count: u32) -> Result<u32, Full> {
        let mut first = self.change.next_line;
        if first % CHUNK_LINES + count > CHUNK_LINES {
            first = first.next_multiple_of(CHUNK_LINES);
        }
        if first + count > CAPACITY {
            return Err(Full::Rows {
                rows: self.change.rows.len() + 1,
                lines: self.accounts.next_line,
                capacity: CAPACITY,
            });
        }
        self.change.next_line = first + count;
        Ok(first)
    }
}
