//! Cycles end, and packages begin anew: what is left of them expires, and the plan grants them again, or billing does.
//! Packets go on meanwhile: the kernel is told a new total of what was granted, and what they draw comes off it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::error;

use crate::accounts::{Account, Accounts, Change, Cycles, Stamp};
use crate::agent::node::Node;
use crate::balance::{Action, Order, Refusal, lapse, settle};
use crate::ledger::LedgerError;
use crate::ledger::balances::Batch;
use crate::ledger::usage::Cause;
use crate::policy::{Cycle, Renew};

/// Subscribers whose cycles are ended in one transaction, while requests wait.
const AT_ONCE: usize = 1_000;
/// Why records of a cycle are there.
const ENDED: &str = "the cycle ended";

/// Ends of cycles, the next one first. An entry that is not its subscriber's end any more is passed over.
#[derive(Debug, Default)]
pub(in crate::agent) struct Ends(BinaryHeap<Reverse<(Stamp, Arc<str>)>>);

impl Ends {
    /// The ends of all cycles that run.
    pub(in crate::agent) fn of(accounts: &Accounts) -> Self {
        let present = accounts.present();
        Self(
            present
                .filter_map(|(id, account, _)| end_of(id, account))
                .collect(),
        )
    }

    /// Adds those of a change that were not there before it.
    pub(in crate::agent) fn learn(&mut self, before: &Accounts, change: &Change) {
        let is_new = |id: &Arc<str>, account: &Account| {
            let before = before.subscribers.get(id);
            let running = before.filter(|before| before.session.is_some());
            account.session.is_some()
                && running.is_none_or(|before| before.cycles != account.cycles)
        };
        let new = change
            .subscribers
            .iter()
            .filter(|(id, account)| is_new(id, account));
        self.0
            .extend(new.filter_map(|(id, account)| end_of(id, account)));
    }

    /// The next one.
    pub(in crate::agent) fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((due, _))| due.time())
    }
}

fn end_of(id: &Arc<str>, account: &Account) -> Option<Reverse<(Stamp, Arc<str>)>> {
    let due = account.cycles?.due;
    (due != Cycles::WAITING).then(|| Reverse((due, Arc::clone(id))))
}

/// A subscriber whose cycle has ended.
struct Ended {
    id: Arc<str>,
    account: Arc<Account>,
    cycles: Cycles,
    cycle: Cycle,
    renew: Renew,
}

impl Node {
    /// Ends cycles that are over, a number of them: whether there may be more. What is in the way is logged, and tried again.
    pub fn end_cycles(&mut self) -> bool {
        let now = Timestamp::now();
        let ended = self.ended_cycles(now);
        if ended.is_empty() {
            return false;
        }
        let more = ended.len() == AT_ONCE;
        match self.restart(&ended, now) {
            Ok(()) => more,
            Err(error) => {
                error!("cycles that ended: {error}; it is tried again");
                let again = ended
                    .iter()
                    .map(|ended| (ended.cycles.due, Arc::clone(&ended.id)));
                self.ends.0.extend(again.map(Reverse));
                false
            }
        }
    }

    fn ended_cycles(&mut self, now: Timestamp) -> Vec<Ended> {
        let mut ended: Vec<Ended> = Vec::new();
        while ended.len() < AT_ONCE && self.ends.next().is_some_and(|due| due <= now) {
            let Some(Reverse((due, id))) = self.ends.0.pop() else {
                break;
            };
            let Some(account) = self.accounts.subscribers.get(&id) else {
                continue;
            };
            let running = account.cycles.filter(|cycles| cycles.due == due);
            // Who has left goes on when it comes back; who has two entries has one end.
            let (Some(cycles), Some(plan)) = (running, self.plan_of(account)) else {
                continue;
            };
            let seen = ended.last().is_some_and(|last| last.id == id);
            if let Some(cycle) = plan.cycle.filter(|_| !seen) {
                ended.push(Ended {
                    account: Arc::clone(account),
                    cycles,
                    cycle,
                    renew: plan.renew,
                    id,
                });
            }
        }
        ended
    }

    /// Puts what is over behind subscribers and their next cycles before them: in the ledger, then in the kernel.
    fn restart(&mut self, ended: &[Ended], now: Timestamp) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        let mut lines = Vec::new();
        for Ended {
            id,
            account,
            cycles,
            cycle,
            renew,
        } in ended
        {
            let order = restart_of(id);
            for position in self.packages(account) {
                let held = self.hold(id, account, position)?;
                let settled = match renew {
                    Renew::Auto => settle(&order, held.level, &held.terms),
                    Renew::Billing => Ok(lapse(held.level)),
                };
                match settled {
                    Ok(settled) => {
                        held.book(&settled, (None, Some(ENDED)), &mut batch);
                        lines.push(account.bucket_line);
                    }
                    Err(refusal) => tell_refused(id, held.bucket(), &refusal),
                }
            }
            let due = match renew {
                Renew::Auto => cycle
                    .end_after(cycles.since.time(), now, &self.accounts.zone)
                    .into(),
                Renew::Billing => Cycles::WAITING,
            };
            batch
                .cycles
                .push((account.number, Cycles { due, ..*cycles }));
        }
        self.ledger.settle(None::<(&Order, &())>, &batch, now)?;
        for Ended { id, .. } in ended {
            // What is drawn from now on is of another cycle.
            self.cut_subscriber(id, Cause::Restart);
        }
        for (line, bucket) in lines.iter().zip(&batch.buckets) {
            self.lines
                .set_granted(*line, bucket.position, bucket.granted);
        }
        for (ended, (_, cycles)) in ended.iter().zip(&batch.cycles) {
            self.run_cycles(&ended.id, *cycles);
        }
        Ok(())
    }

    /// Notes where a subscriber is in its cycles now.
    pub(in crate::agent) fn run_cycles(&mut self, id: &Arc<str>, cycles: Cycles) {
        if let Some(account) = self.accounts.subscribers.get_mut(id) {
            let account = Arc::make_mut(account);
            account.cycles = Some(cycles);
            self.ends.0.extend(end_of(id, account));
        }
    }

    /// When the next cycle ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.next()
    }

    /// Sees that no cycle lasts longer than its plan says, after the clock was set back.
    pub fn mind_the_clock(&mut self) {
        let now = Timestamp::now();
        let shorter: Vec<_> = self
            .accounts
            .present()
            .filter_map(|(id, account, _)| {
                let (plan, cycles) = (self.plan_of(account)?, account.cycles?);
                let (cycle, zone) = (plan.cycle?, &self.accounts.zone);
                // What began when the clock was ahead begins now.
                let under = if cycles.since > now.into() {
                    Cycles::begin(cycle, now, zone)
                } else {
                    cycles.under(plan, cycle.end_after(cycles.since.time(), now, zone))
                };
                (under != cycles).then(|| (Arc::clone(id), account.number, under))
            })
            .collect();
        if shorter.is_empty() {
            return;
        }
        let batch = Batch {
            cycles: shorter
                .iter()
                .map(|(_, number, cycles)| (*number, *cycles))
                .collect(),
            ..Batch::default()
        };
        match self.ledger.settle(None::<(&Order, &())>, &batch, now) {
            Ok(()) => {
                for (id, _, cycles) in shorter {
                    self.run_cycles(&id, cycles);
                }
            }
            Err(error) => error!("cycles after the clock was set back: {error}"),
        }
    }
}

/// What a cycle's end orders for each package.
fn restart_of(subscriber: &str) -> Order {
    Order {
        id: String::new(),
        subscriber: subscriber.to_owned(),
        bucket: None,
        action: Action::Restart,
        bytes: 0,
        amount: None,
        reason: None,
    }
}

fn tell_refused(subscriber: &str, bucket: &str, refusal: &Refusal) {
    error!(
        subscriber,
        bucket, "the cycle ended, and the bucket stays as it is: {refusal}"
    );
}
