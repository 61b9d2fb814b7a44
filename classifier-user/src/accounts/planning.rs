//! Planning a change: what a new policy and list of subscribers give out, keep and end, before anything is done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use classifier::layout::{CHUNK_LINES, MAX_CHUNKS, row_lines};
use ipnet::IpNet;
use jiff::Timestamp;

use super::endowment::{Endowment, Newly};
use super::succession::{as_it_is, reason as reason_of_end};
use super::{
    Account, Accounts, Bucket, Cause, Change, EndedRow, Full, Row, Session, Summary, row_head,
};
use crate::ledger::records::{Entry, What};
use crate::policy::Policy;
use crate::subscribers::{State, Subscriber};

/// Why subscribers change when nobody says.
const FILE: &str = "the subscribers' file";

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
        let mut planning = Planning::new(self, policy, at)?;
        planning.change.bindings.reserve(subscribers.len());
        // By address: rows that stand in memory as their addresses do are found without a table.
        let mut by_address: Vec<&Subscriber> = subscribers.iter().collect();
        by_address.sort_by_key(|subscriber| subscriber.prefixes.first().map(|first| first.net));
        for subscriber in by_address {
            planning.subscriber(subscriber)?;
        }
        planning.departures(subscribers);
        Ok(planning.finish())
    }

    /// Plans what one subscriber is to be, under the policy that is in force; `None`: nobody's.
    ///
    /// # Errors
    /// When it does not fit; nothing has changed then.
    pub fn plan_one(
        &self,
        policy: &Policy,
        id: &str,
        subscriber: Option<&Subscriber>,
        at: Timestamp,
        cause: Cause,
    ) -> Result<Change, Full> {
        let mut planning = Planning::new(self, policy, at)?;
        planning.cause = cause;
        planning.change.of_one = true;
        match subscriber {
            Some(subscriber) => planning.subscriber(subscriber)?,
            None => {
                if let Some((id, account)) = self.subscribers.get_key_value(id) {
                    planning.departure(id, account);
                }
            }
        }
        Ok(planning.finish())
    }

    /// Plans a bucket block for a subscriber that has left and has none since counters began anew.
    ///
    /// # Errors
    /// When there is no room.
    pub fn plan_block(&self, policy: &Policy, id: &str, at: Timestamp) -> Result<Change, Full> {
        let mut planning = Planning::new(self, policy, at)?;
        planning.change.of_one = true;
        if let Some((id, account)) = self.subscribers.get_key_value(id) {
            let mut placed = Account::clone(account);
            placed.bucket_line = planning.lines(1)?;
            planning.carry_over(account, placed.bucket_line);
            let placed = (Arc::clone(id), Arc::new(placed));
            planning.change.subscribers.push(placed);
        }
        Ok(planning.finish())
    }

    /// The change to the same policy with the same subscribers, at another time or behind another gateway: who is on a plan
    /// that has ended goes to its successor.
    ///
    /// # Errors
    /// None that the policy did not meet before.
    pub fn carry_on(&self, policy: &Policy, at: Timestamp) -> Result<Change, Full> {
        let mut planning = Planning::new(self, policy, at)?;
        let moves = planning.successions();
        if moves.is_empty() {
            planning.change.bindings = self.bindings();
            return Ok(planning.finish());
        }
        for (id, account, session) in self.present() {
            let Some(plan) = moves.get(&session.row.layout) else {
                planning.change.bindings.extend(account.bindings());
                continue;
            };
            planning.subscriber(&as_it_is(id, session, *plan))?;
        }
        Ok(planning.finish())
    }
}

pub(super) struct Planning<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) policy: &'a Policy,
    pub(super) at: Timestamp,
    pub(super) cause: Cause,
    /// Subscribers that were never seen before.
    pub(super) newcomers: u32,
    /// By where the list of buckets from before is, and the plan: few, however many the subscribers.
    pub(super) endowments: HashMap<(*const Bucket, usize), Endowment>,
    /// Who is granted something at first.
    pub(super) endowed: Vec<Newly>,
    /// By beginning and plan: when the cycle that runs now ends. Many subscribers began together.
    pub(super) ends: HashMap<(Timestamp, usize), Timestamp>,
    pub(super) change: Change,
}

impl<'a> Planning<'a> {
    fn new(accounts: &'a Accounts, policy: &'a Policy, at: Timestamp) -> Result<Self, Full> {
        let mut catalog = accounts.catalog.clone();
        let numbers = catalog.learn(policy)?;
        Ok(Self {
            accounts,
            policy,
            at,
            cause: Cause {
                id: None,
                reason: Some(FILE.to_owned()),
            },
            newcomers: 0,
            endowments: HashMap::new(),
            endowed: Vec::new(),
            ends: HashMap::new(),
            change: Change {
                catalog,
                numbers,
                subscribers: Vec::new(),
                ended: Vec::new(),
                rows: Vec::new(),
                grants: Vec::new(),
                drawn: Vec::new(),
                bindings: Vec::new(),
                bound: Vec::new(),
                unbound: Vec::new(),
                first_line: accounts.next_line,
                next_line: accounts.next_line,
                free: accounts.free.clone(),
                reused: Vec::new(),
                next_session: accounts.next_session,
                summary: Summary::default(),
                stranded: Vec::new(),
                at,
                of_one: false,
                wishes: Vec::new(),
                entries: Vec::new(),
                endowed: Vec::new(),
            },
        })
    }

    fn subscriber(&mut self, subscriber: &Subscriber) -> Result<(), Full> {
        let suspended = subscriber.state == State::Suspended;
        let known = self.accounts.subscribers.get_key_value(&*subscriber.id);
        let (id, before) = match known {
            Some((id, account)) => (id, Some(&**account)),
            None => (&subscriber.id, None),
        };
        let (plan, mut account) = self.on_its_plan(id, before, subscriber.plan)?;
        let layout = self.change.numbers.layouts[plan];
        let mut reason = self.cause.reason.clone();
        let mut other_service = false;
        let summary = &mut self.change.summary;
        let session = match before.and_then(|account| account.session.as_ref()) {
            Some(session) => {
                let layouts = &self.change.catalog.layouts;
                let plan_of = |layout: u32| &layouts[layout as usize].plan;
                let (other_state, other_plan) = (
                    session.suspended != suspended,
                    plan_of(session.row.layout) != plan_of(layout),
                );
                summary.state_changed += usize::from(other_state);
                summary.replanned += usize::from(other_plan);
                other_service = other_state || other_plan;
                if other_plan && let Some(ended) = reason_of_end(self.policy, subscriber.plan, plan)
                {
                    reason = Some(ended);
                }
                if !same_addresses(&session.addresses, subscriber) {
                    summary.readdressed += 1;
                    self.end(id, session);
                    self.session(layout, suspended, subscriber)?
                } else if session.row.layout == layout {
                    Session {
                        suspended,
                        ..session.clone()
                    }
                } else {
                    self.end(id, session);
                    let row = self.row(layout)?;
                    Session {
                        suspended,
                        row,
                        ..session.clone()
                    }
                }
            }
            None => {
                summary.added += 1;
                self.session(layout, suspended, subscriber)?
            }
        };
        let old = before.and_then(|account| account.session.as_ref());
        let new_row = old.is_none_or(|old| old.row != session.row);
        let change = &mut self.change;
        account.session = Some(session);
        change.bindings.extend(account.bindings());
        if before.and_then(Account::binding) != account.binding() {
            change.bound.extend(account.bindings());
            let gone = old.into_iter().flat_map(|old| &old.addresses);
            let kept = account
                .session
                .as_ref()
                .map_or(&[][..], |session| &session.addresses);
            let gone = gone.filter(|net| kept.binary_search(net).is_err());
            change.unbound.extend(gone);
        }
        if before == Some(&account) {
            return Ok(());
        }
        if let Some(session) = &account.session
            && new_row
        {
            let head = row_head(&change.catalog, &account, session);
            change.rows.push((session.row, head));
        }
        // Who is new in a file is in its sessions' records; whom somebody adds by name is recorded.
        if other_service || change.of_one {
            self.record(id, &account, State::as_str(subscriber.state), reason);
        }
        let account = Arc::new(account);
        self.change.subscribers.push((Arc::clone(id), account));
        Ok(())
    }

    /// Notes what a subscriber has now.
    fn record(&mut self, id: &str, account: &Account, state: &str, reason: Option<String>) {
        let Some(session) = &account.session else {
            return;
        };
        let layout = &self.change.catalog.layouts[session.row.layout as usize];
        self.change.entries.push(Entry {
            kind: "state".to_owned(),
            subscriber: id.to_owned(),
            id: self.cause.id.clone(),
            reason,
            what: What::State {
                plan: layout.plan.clone(),
                state: state.to_owned(),
                addresses: session.addresses.to_vec(),
            },
        });
    }

    fn session(
        &mut self,
        layout: u32,
        suspended: bool,
        subscriber: &Subscriber,
    ) -> Result<Session, Full> {
        let number = self.change.next_session;
        self.change.next_session += 1;
        let mut addresses: Vec<IpNet> = subscriber
            .prefixes
            .iter()
            .map(|prefix| prefix.net)
            .collect();
        // The same addresses in another order are the same session.
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Session {
            number,
            start: self.at.into(),
            addresses: addresses.into(),
            suspended,
            row: self.row(layout)?,
        })
    }

    /// A new row.
    fn row(&mut self, layout: u32) -> Result<Row, Full> {
        let meters = self.change.catalog.layouts[layout as usize].meters.len();
        Ok(Row {
            line: self.row_lines(row_lines(meters as u32))?,
            layout,
            start: self.at.into(),
        })
    }

    /// Notes that a session's row ceases to count.
    fn end(&mut self, id: &Arc<str>, session: &Session) {
        self.change.ended.push(EndedRow {
            row: session.row,
            session: session.number,
            subscriber: Arc::clone(id),
            end: self.at,
        });
    }

    /// Ends the sessions of subscribers that are not listed any more.
    fn departures(&mut self, subscribers: &[Subscriber]) {
        let stayed = subscribers.len() - self.change.summary.added;
        if self.accounts.present().count() == stayed {
            return;
        }
        let listed: HashSet<&str> = subscribers
            .iter()
            .map(|subscriber| &*subscriber.id)
            .collect();
        let accounts = self.accounts;
        for (id, account, _) in accounts.present() {
            if !listed.contains(&**id) {
                self.departure(id, account);
            }
        }
    }

    /// Ends a subscriber's session.
    fn departure(&mut self, id: &Arc<str>, account: &Account) {
        let Some(session) = &account.session else {
            return;
        };
        self.change.summary.removed += 1;
        self.end(id, session);
        self.change.unbound.extend(&session.addresses);
        self.record(id, account, "removed", self.cause.reason.clone());
        let gone = Account {
            session: None,
            ..account.clone()
        };
        let gone = Arc::new(gone);
        self.change.subscribers.push((Arc::clone(id), gone));
    }

    /// Gives out the lines of a row.
    fn row_lines(&mut self, count: u32) -> Result<u32, Full> {
        match self.change.free.take(count) {
            Some(line) => {
                self.change.reused.push((line, count));
                Ok(line)
            }
            None => self.lines(count),
        }
    }

    /// Gives out consecutive lines of one chunk, for the first time.
    pub(super) fn lines(&mut self, count: u32) -> Result<u32, Full> {
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

/// Whether a session's addresses are those the file lists, in whatever order and however often.
fn same_addresses(addresses: &[IpNet], subscriber: &Subscriber) -> bool {
    if let ([address], [listed]) = (addresses, &*subscriber.prefixes) {
        return *address == listed.net;
    }
    let listed = || subscriber.prefixes.iter().map(|prefix| prefix.net);
    addresses
        .iter()
        .all(|net| listed().any(|listed| listed == *net))
        && listed().all(|net| addresses.binary_search(&net).is_ok())
}
