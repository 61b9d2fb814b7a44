//! Orders on buckets: worked out, written down, and in the kernel, in that order. What the kernel is told is how much a
//! bucket was granted in all, so that telling it again, after a crash in between, changes nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::error::NodeError;
use super::node::Node;
use crate::accounts::{Account, Cycles};
use crate::balance::money::Tariff;
use crate::balance::{Action, Booking, Level, Order, Refusal, Settled, Terms, forgive, settle};
use crate::diagnostic::quote;
use crate::ledger::LedgerError;
use crate::ledger::balances::{Batch, Booked, Purse};
use crate::ledger::records::{Entry, What};
use crate::ledger::usage::{AnyRecord, Cause, Which};
use crate::policy::{Bucket, Grant, LIMIT, Overrun, Plan, Settlement, parse_price, suggest};

/// Why what ran over is written off when nothing is granted.
const GONE: &str = "the subscriber left";

/// What an order came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A bucket of a subscriber that something is done to.
pub(super) struct Held<'a> {
    pub(super) subscriber: &'a str,
    pub(super) account: &'a Account,
    pub(super) position: u32,
    pub(super) level: Level,
    pub(super) terms: Terms,
    /// The price, as the policy has it.
    pub(super) price: Option<String>,
}

impl Held<'_> {
    pub(super) fn bucket(&self) -> &str {
        &self.account.buckets[self.position as usize].name
    }

    /// Adds what becomes of it to what is written down.
    pub(super) fn book(
        &self,
        settled: &Settled,
        (id, reason): (Option<&str>, Option<&str>),
        batch: &mut Batch,
    ) {
        let left = settled.level.left();
        for Booking {
            kind,
            bytes,
            amount,
        } in &settled.booked
        {
            let (subscriber, bucket) = (self.subscriber, self.bucket());
            info!(id, subscriber, bucket, bytes, left, "{}", kind.as_str());
            batch.entries.push(Entry {
                kind: kind.as_str().to_owned(),
                subscriber: subscriber.to_owned(),
                id: id.map(str::to_owned),
                reason: reason.map(str::to_owned),
                what: What::Bucket {
                    bucket: bucket.to_owned(),
                    bytes: *bytes,
                    amount: amount.clone(),
                    left,
                },
            });
        }
        batch.buckets.push(Booked {
            account: self.account.number,
            position: self.position,
            granted: settled.level.granted,
            purse: self.price.as_ref().map(|price| Purse {
                subscriber: self.subscriber.to_owned(),
                position: self.position,
                price: price.clone(),
                rest: settled.level.rest,
            }),
        });
    }
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

    /// Positions of the packages of the subscriber's plan: its buckets that have no price.
    pub(super) fn packages(&self, account: &Account) -> Vec<u32> {
        let Some(plan) = self.plan_of(account) else {
            return Vec::new();
        };
        let is_package = |name: &str| {
            let planned = plan.buckets.iter().find(|planned| planned.name == name);
            planned.is_some_and(|planned| matches!(planned.grant, Grant::Bytes(_)))
        };
        (0..)
            .zip(&*account.buckets)
            .filter(|(_, bucket)| bucket.granted.is_some() && is_package(&bucket.name))
            .map(|(position, _)| position)
            .collect()
    }

    /// A bucket as it is, with what the subscriber's plan says of it; nothing, for who has left.
    pub(super) fn hold<'a>(
        &self,
        subscriber: &'a str,
        account: &'a Account,
        position: u32,
    ) -> Result<Held<'a>, LedgerError> {
        let line = account.bucket_line;
        let name = &account.buckets[position as usize].name;
        let plan = self.plan_of(account);
        let planned = plan.and_then(|plan| plan.buckets.iter().find(|bucket| bucket.name == *name));
        let mut terms = Terms {
            overrun: plan.map(|plan| plan.overrun).unwrap_or_default(),
            ..Terms::default()
        };
        let (mut price, mut rest) = (None, 0);
        match planned.map(|planned| &planned.grant) {
            Some(Grant::Bytes(bytes)) => {
                let own = match plan.is_some_and(|plan| plan.limit.is_some()) && name == LIMIT {
                    true => self.ledger.own(account.number, position)?,
                    false => None,
                };
                terms.cycle = own.unwrap_or(*bytes);
            }
            Some(Grant::Money(of)) => {
                terms.tariff = Some(Tariff::of(of));
                price = Some(of.to_string());
            }
            None => {}
        }
        let purses = self.ledger.purses(Some(subscriber))?;
        if let Some(purse) = purses.into_iter().find(|purse| purse.position == position)
            && let Ok(of) = parse_price(&purse.price)
        {
            // Bytes were bought at this price, whatever the plan says, or whether there is one.
            terms.tariff = Some(Tariff::of(&of));
            price = Some(purse.price);
            rest = purse.rest;
        }
        Ok(Held {
            subscriber,
            account,
            position,
            level: Level {
                drawn: self.lines.drawn(line, position),
                granted: self.lines.granted(line, position),
                rest,
            },
            terms,
            price,
        })
    }

    /// The plan of a subscriber's session, under the policy in force.
    pub(super) fn plan_of(&self, account: &Account) -> Option<&Plan> {
        let session = account.session.as_ref()?;
        let layout = &self.accounts.catalog.layouts[session.row.layout as usize];
        let policy = &self.in_force.as_ref()?.policy;
        policy.plans.iter().find(|plan| plan.name == layout.plan)
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
    pub(super) fn forgive(&mut self, id: &str, account: &Account) -> Result<(), LedgerError> {
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
    pub(super) fn tell(&self, batch: &Batch, account: &Account) {
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
    pub(super) fn forget_orders(&mut self) {
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
    pub(super) fn recall_grants(&self) -> Result<(), LedgerError> {
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

/// What a plan grants a bucket, for whoever compares prices.
pub(super) fn price_of<'a>(plan: &'a Plan, bucket: &str) -> Option<&'a crate::policy::Price> {
    let planned: Option<&Bucket> = plan.buckets.iter().find(|planned| planned.name == bucket);
    match planned.map(|planned| &planned.grant) {
        Some(Grant::Money(price)) => Some(price),
        _ => None,
    }
}
