//! Prices change, and money stays: what is left in a bucket with a price buys other bytes from then on, be it that the
//! policy says another price, or that the subscriber's plan does.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::error;

use super::held::price_of;
use crate::agent::node::Node;
use crate::balance::money::Tariff;
use crate::balance::{Level, Order, Refusal, Settled, reprice};
use crate::ledger::LedgerError;
use crate::ledger::balances::{Batch, Purse};
use crate::policy::{Policy, parse_price};

/// Buckets that are priced in one transaction, while requests wait.
const AT_ONCE: usize = 1_000;

impl Node {
    /// Prices anew what was bought at other prices than those in force, of one subscriber or of all; of many, some now and
    /// the rest when [`Node::price_more`] is asked. What is in the way is logged: bytes are worth what they were bought as
    /// until it is gone.
    pub(in crate::agent) fn keep_money(&mut self, subscriber: Option<&str>) {
        match self.ledger.purses(subscriber) {
            Ok(purses) if subscriber.is_some() => self.price_anew(&purses),
            Ok(purses) => {
                self.purses = purses;
                self.price_more();
            }
            Err(error) => tell(&error),
        }
    }

    /// Prices some of what is left to be; whether there is more.
    pub fn price_more(&mut self) -> bool {
        let left = self.purses.len().saturating_sub(AT_ONCE);
        let purses = self.purses.split_off(left);
        self.price_anew(&purses);
        !self.purses.is_empty()
    }

    fn price_anew(&mut self, purses: &[Purse]) {
        if let Err(error) = self.try_to_price(purses) {
            tell(&error);
        }
    }

    fn try_to_price(&mut self, purses: &[Purse]) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        let mut lines = Vec::new();
        for purse in purses {
            if let Some(line) = self.price_one(purse, &mut batch)? {
                lines.push(line);
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.ledger
            .settle(None::<(&Order, &())>, &batch, Timestamp::now())?;
        for (line, bucket) in lines.iter().zip(&batch.buckets) {
            self.lines
                .set_granted(*line, bucket.position, bucket.granted);
        }
        Ok(())
    }

    /// Adds what becomes of one bucket, if its price is another one; its line.
    fn price_one(&self, purse: &Purse, batch: &mut Batch) -> Result<Option<u32>, LedgerError> {
        let found = self.accounts.subscribers.get_key_value(&*purse.subscriber);
        let Some((id, account)) = found else {
            return Ok(None);
        };
        let name = &account.buckets[purse.position as usize].name;
        let plan = self.plan_of(account);
        let price = plan.and_then(|plan| price_of(plan, name));
        let Some(price) = price.filter(|price| price.to_string() != purse.price) else {
            return Ok(None);
        };
        let Ok(before) = parse_price(&purse.price) else {
            return Ok(None);
        };
        let id = Arc::clone(id);
        let mut held = self.hold(&id, account, purse.position)?;
        let level = held.level;
        let repriced = match reprice(level, &Tariff::of(&before), &Tariff::of(price)) {
            // Nothing is left but what is less than a coin of the old currency.
            Err(Refusal::Currency { .. }) if level.left() == 0 => Ok(Settled {
                level: Level { rest: 0, ..level },
                booked: Vec::new(),
            }),
            repriced => repriced,
        };
        match repriced {
            Ok(settled) => {
                let reason = format!("{} became {price}, the money stays", purse.price);
                held.price = Some(price.to_string());
                held.book(&settled, (None, Some(&reason)), batch);
                Ok(Some(account.bucket_line))
            }
            // Paid in one currency, and priced in another: said when the policy says so, not at every order.
            Err(Refusal::Currency { .. }) => Ok(None),
            Err(refusal) => {
                error!(subscriber = &*id, bucket = name, "a new price: {refusal}");
                Ok(None)
            }
        }
    }
}

fn tell(error: &LedgerError) {
    error!("money at new prices: {error}; until the next order or reload it is worth what it was");
}

/// Whether any bucket has another price in one policy than in the other.
pub(in crate::agent) fn differ(before: &Policy, after: &Policy) -> bool {
    let prices = |policy: &Policy| -> Vec<(String, String, String)> {
        let of_plans = policy.plans.iter().flat_map(|plan| {
            plan.buckets.iter().filter_map(|bucket| {
                let price = price_of(plan, &bucket.name)?;
                Some((plan.name.clone(), bucket.name.clone(), price.to_string()))
            })
        });
        of_plans.collect()
    };
    prices(before) != prices(after)
}
