//! Orders on buckets: worked out, written down, and in the kernel, in that order. What the kernel is told is how much a
//! bucket was granted in all, so that telling it again, after a crash in between, changes nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::held::price_of;
use crate::accounts::{Account, Cycles};
use crate::agent::error::NodeError;
use crate::agent::node::Node;
use crate::balance::{Action, Booking, Order, Refusal, forgive, settle};
use crate::diagnostic::quote;
use crate::ledger::LedgerError;
use crate::ledger::balances::Batch;
use crate::ledger::usage::{AnyRecord, Cause, Which};
use crate::policy::{LIMIT, Overrun, Plan, Settlement, suggest};

/// Why what ran over is written off when nothing is granted.
const GONE: &str = "the subscriber left";

/// What an order came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OrderAnswer)]
pub struct Answer {
    /// The order.
    #[serde(flatten)]
    pub order: Order,
    /// What was booked, in this order.
    pub booked: Vec<BookedOf>,
    /// What was left when it was followed, in bytes; of an order for all packages, in all of them.
    pub left: i64,
    /// The same in money, where the bucket has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_amount: Option<String>,
    /// When it was followed.
    pub time: Timestamp,
    /// It had been followed before: this is the answer of that time.
    #[serde(default)]
    pub repeated: bool,
}

/// What was booked, and of which bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BookedOf {
    /// The bucket.
    pub bucket: String,
    /// What.
    #[serde(flatten)]
    pub booking: Booking,
}

/// An order that was not followed. Nothing is different from before.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such subscriber.
    #[error("no subscriber {} is known", quote(.0))]
    Subscriber(String),
    /// It has no such bucket.
    #[error(
        "subscriber {} has no bucket {}; {help}",
        quote(subscriber),
        quote(bucket)
    )]
    Bucket {
        /// The subscriber.
        subscriber: String,
        /// The bucket.
        bucket: String,
        /// What it may have meant.
        help: String,
    },
    /// The id was used for something else: the order of that time, and this one.
    #[error("order {} was another one: it said {}, and now it says {}", quote(&.0[0].id), .0[0], .0[1])]
    Conflict(Box<[Order; 2]>),
    /// It is no order.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The node could not.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl Node {
    /// Follows an order, once.
    ///
    /// # Errors
    /// Why it was not followed.
    pub fn order(&mut self, order: Order) -> Result<Answer, OrderError> {
        order.check()?;
        if let Some((before, answer)) = self.ledger.answered::<Answer>(&order.id)? {
            if before != order {
                return Err(OrderError::Conflict(Box::new([before, order])));
            }
            return Ok(Answer {
                repeated: true,
                ..answer
            });
        }
        if !self.accounts.subscribers.contains_key(&*order.subscriber) {
            return Err(OrderError::Subscriber(order.subscriber));
        }
        self.give_block(&order.subscriber)?;
        // What was bought at another price is worth what it was.
        self.keep_money(Some(&order.subscriber));
        let found = self.accounts.subscribers.get_key_value(&*order.subscriber);
        let (id, account) =
            found.ok_or_else(|| OrderError::Subscriber(order.subscriber.clone()))?;
        let (id, account) = (id.clone(), account.clone());
        let positions = self.ordered(&order, &account)?;
        let time = Timestamp::now();
        let mut batch = Batch::default();
        let (mut booked, mut left, mut left_amount) = (Vec::new(), 0, None);
        for position in positions {
            let held = self.hold(&id, &account, position)?;
            let settled = settle(&order, held.level, &held.terms)?;
            let why = (Some(&*order.id), order.reason.as_deref());
            held.book(&settled, why, &mut batch);
            left += settled.level.left();
            if let Some(tariff) = &held.terms.tariff {
                left_amount = Some(settled.level.amount(tariff)?.to_string());
            }
            let bucket = held.bucket().to_owned();
            let of = |booking| BookedOf {
                bucket: bucket.clone(),
                booking,
            };
            booked.extend(settled.booked.into_iter().map(of));
        }
        self.keep_limit(&order, &account, &mut batch);
        let begun = self.begun(&order, &account, time);
        batch
            .cycles
            .extend(begun.map(|cycles| (account.number, cycles)));
        let answer = Answer {
            booked,
            left,
            left_amount,
            time,
            repeated: false,
            order,
        };
        self.ledger
            .settle(Some((&answer.order, &answer)), &batch, time)?;
        if answer.order.action == Action::Restart {
            // What is drawn from now on is of another cycle.
            self.cut_subscriber(&answer.order.subscriber, Cause::Restart);
        }
        self.tell(&batch, &account);
        if let Some(cycles) = begun {
            self.run_cycles(&id, cycles);
        }
        Ok(answer)
    }

    /// Positions of the buckets an order is for.
    fn ordered(&self, order: &Order, account: &Account) -> Result<Vec<u32>, OrderError> {
        // A bucket its plan has not granted yet is none: the grant would come over whatever was ordered before it.
        let granted = || {
            account
                .buckets
                .iter()
                .filter(|bucket| bucket.granted.is_some())
        };
        let Some(name) = &order.bucket else {
            let packages = self.packages(account);
            return if packages.is_empty() {
                Err(Refusal::NoPackage.into())
            } else {
                Ok(packages)
            };
        };
        let position = account
            .buckets
            .iter()
            .position(|bucket| bucket.granted.is_some() && bucket.name == *name);
        let position = position.ok_or_else(|| OrderError::Bucket {
            help: suggest(name, "buckets", granted().map(|bucket| &*bucket.name)),
            subscriber: order.subscriber.clone(),
            bucket: name.clone(),
        })?;
        let position = position as u32;
        if order.action == Action::Restart && !self.packages(account).contains(&position) {
            let plan = self.plan_of(account);
            let priced = plan.is_some_and(|plan| price_of(plan, name).is_some());
            let refusal = if priced {
                Refusal::Money
            } else {
                Refusal::NotAPackage
            };
            return Err(refusal.into());
        }
        Ok(vec![position])
    }

    /// A subscriber that sets its limit sets that of the cycles to come, too.
    fn keep_limit(&self, order: &Order, account: &Account, batch: &mut Batch) {
        let plan = self.plan_of(account);
        let credit = plan.is_some_and(|plan| plan.settlement == Settlement::Credit);
        let is_limit = order.bucket.as_deref() == Some(LIMIT);
        if credit && is_limit && order.action == Action::Set {
            let number = account.number;
            let kept = batch
                .buckets
                .iter()
                .map(|bucket| (number, bucket.position, order.bytes));
            batch.own = kept.collect();
        }
    }

    /// The cycles an order begins: one that restarts all the plan's packages, the only one, or the first of those that
    /// wait for billing.
    fn begun(&self, order: &Order, account: &Account, now: Timestamp) -> Option<Cycles> {
        let waits = account
            .cycles
            .is_some_and(|cycles| cycles.due == Cycles::WAITING);
        let all = order.bucket.is_none() || waits || self.packages(account).len() == 1;
        let cycle = self.plan_of(account)?.cycle?;
        (all && order.action == Action::Restart)
            .then(|| Cycles::begin(cycle, now, &self.accounts.zone))
    }

    /// Writes off what ran over in the buckets of a subscriber that has left a plan that says so.
    pub(in crate::agent) fn forgive(
        &mut self,
        id: &str,
        account: &Account,
    ) -> Result<(), LedgerError> {
        let written_off = |plan: &Plan| plan.overrun == Overrun::WriteOff;
        if !self.plan_of(account).is_some_and(written_off) {
            return Ok(());
        }
        let mut batch = Batch::default();
        for position in 0..account.buckets.len() as u32 {
            let held = self.hold(id, account, position)?;
            if held.level.left() < 0 {
                held.book(&forgive(held.level), (None, Some(GONE)), &mut batch);
            }
        }
        if !batch.buckets.is_empty() {
            self.ledger
                .settle(None::<(&Order, &())>, &batch, Timestamp::now())?;
            self.tell(&batch, account);
        }
        Ok(())
    }

    /// Tells the kernel what was written down of a subscriber's buckets.
    pub(in crate::agent) fn tell(&self, batch: &Batch, account: &Account) {
        for bucket in &batch.buckets {
            self.lines
                .set_granted(account.bucket_line, bucket.position, bucket.granted);
        }
    }

    /// Records behind a number.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records(&self, which: Which<'_>) -> Result<Vec<AnyRecord>, LedgerError> {
        self.ledger.all_records(which)
    }

    /// Forgets the ids of orders nobody will repeat any more.
    pub(in crate::agent) fn forget_orders(&mut self) {
        match self.ledger.forget_orders(Timestamp::now()) {
            Ok(0) => {}
            Ok(forgotten) => info!(
                forgotten,
                "ids of orders of more than two years ago are free again"
            ),
            Err(error) => tracing::error!("ids of old orders: {error}; it is tried again tomorrow"),
        }
    }

    /// Tells the kernel what orders made of the buckets: what a process that was killed may have left undone.
    pub(in crate::agent) fn recall_grants(&self) -> Result<(), LedgerError> {
        let untold = self.ledger.untold()?;
        if untold.is_empty() {
            return Ok(());
        }
        let numbers = self.accounts.subscribers.values();
        let lines: std::collections::HashMap<u32, u32> = numbers
            .filter(|account| account.bucket_line != 0)
            .map(|account| (account.number, account.bucket_line))
            .collect();
        for (account, position, bytes) in untold {
            if let Some(line) = lines.get(&account) {
                self.lines.set_granted(*line, position, bytes);
            }
        }
        Ok(())
    }
}
