//! A bucket of a subscriber in hand: what is in it, what the subscriber's plan says of it, and what is to be written down.

use tracing::info;

use crate::accounts::Account;
use crate::agent::node::Node;
use crate::balance::money::Tariff;
use crate::balance::{Booking, Level, Settled, Terms};
use crate::ledger::LedgerError;
use crate::ledger::balances::{Batch, Booked, Purse};
use crate::ledger::records::{Entry, What};
use crate::policy::{Bucket, Grant, LIMIT, Plan, parse_price};

/// A bucket of a subscriber that something is done to.
pub(in crate::agent) struct Held<'a> {
    pub(in crate::agent) subscriber: &'a str,
    pub(in crate::agent) account: &'a Account,
    pub(in crate::agent) position: u32,
    pub(in crate::agent) level: Level,
    pub(in crate::agent) terms: Terms,
    /// The price, as the policy has it.
    pub(in crate::agent) price: Option<String>,
}

impl Held<'_> {
    pub(in crate::agent) fn bucket(&self) -> &str {
        &self.account.buckets[self.position as usize].name
    }

    /// Adds what becomes of it to what is written down.
    pub(in crate::agent) fn book(
        &self,
        settled: &Settled,
        (id, reason): (Option<&str>, Option<&str>),
        batch: &mut Batch,
    ) {
        let mut left = self.level.left();
        for Booking {
            kind,
            bytes,
            amount,
        } in &settled.booked
        {
            let (subscriber, bucket) = (self.subscriber, self.bucket());
            left = kind.applied(left, *bytes);
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
    /// Positions of the packages of the subscriber's plan: its buckets that have no price.
    pub(in crate::agent) fn packages(&self, account: &Account) -> Vec<u32> {
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
    pub(in crate::agent) fn hold<'a>(
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
    pub(in crate::agent) fn plan_of(&self, account: &Account) -> Option<&Plan> {
        let session = account.session.as_ref()?;
        let layout = &self.accounts.catalog.layouts[session.row.layout as usize];
        let policy = &self.in_force.as_ref()?.policy;
        policy.plans.iter().find(|plan| plan.name == layout.plan)
    }
}

/// What a plan grants a bucket, for whoever compares prices.
pub(in crate::agent) fn price_of<'a>(
    plan: &'a Plan,
    bucket: &str,
) -> Option<&'a crate::policy::Price> {
    let planned: Option<&Bucket> = plan.buckets.iter().find(|planned| planned.name == bucket);
    match planned.map(|planned| &planned.grant) {
        Some(Grant::Money(price)) => Some(price),
        _ => None,
    }
}
