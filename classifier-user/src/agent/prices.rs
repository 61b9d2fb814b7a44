//! Prices change, and money stays: what is left in a bucket with a price buys other bytes from then on, be it that the
//! policy says another price, or that the subscriber's plan does.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::{error, info};

use super::balances::price_of;
use super::node::Node;
use crate::balance::money::Tariff;
use crate::balance::{Order, reprice};
use crate::ledger::LedgerError;
use crate::ledger::balances::{Batch, Purse};
use crate::policy::{Policy, parse_price};

impl Node {
    /// Prices anew what was bought at other prices than those in force, of one subscriber or of all. What is in the way is
    /// logged: bytes stay what they were bought as until it is gone.
    pub(super) fn keep_money(&mut self, subscriber: Option<&str>) {
        if let Err(error) = self.price_anew(subscriber) {
            error!("money at new prices: {error}; until the next reload it is worth what it was");
        }
    }

    fn price_anew(&mut self, subscriber: Option<&str>) -> Result<(), LedgerError> {
        let purses = self.ledger.purses(subscriber)?;
        let mut batch = Batch::default();
        let mut lines = Vec::new();
        for purse in &purses {
            if let Some(line) = self.price_one(purse, &mut batch)? {
                lines.push(line);
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        info!(
            buckets = lines.len(),
            "money buys other bytes: prices changed"
        );
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
        let held = self.hold(&id, account, purse.position)?;
        match reprice(held.level, &Tariff::of(&before), &Tariff::of(price)) {
            Ok(settled) => {
                let reason = format!("{} became {price}, the money stays", purse.price);
                held.book(&settled, (None, Some(&reason)), batch);
                Ok(Some(account.bucket_line))
            }
            Err(refusal) => {
                error!(subscriber = &*id, bucket = name, "a new price: {refusal}");
                Ok(None)
            }
        }
    }
}

/// Whether any bucket has another price in one policy than in the other.
pub(super) fn differ(before: &Policy, after: &Policy) -> bool {
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
