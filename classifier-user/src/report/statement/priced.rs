//! What of a statement only the policy knows: what was drawn from money costs, and what things are called.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Statement;
use crate::balance::money::Tariff;
use crate::policy::{Bucket, Grant, Policy, Price, Titles};

/// What people are told things in a statement are called: by name, by language.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = StatementTitles)]
pub struct Called {
    /// Service classes.
    #[serde(default)]
    pub classes: ByName,
    /// Plans.
    #[serde(default)]
    pub plans: ByName,
    /// What was charged.
    #[serde(default)]
    pub buckets: ByName,
}

/// Titles by language code, by name.
pub type ByName = BTreeMap<String, BTreeMap<String, String>>;

impl Statement {
    /// Adds prices and amounts of what was drawn from money, and titles, as a policy has them.
    pub fn told_by(&mut self, policy: &Policy) {
        let mut called = Called::default();
        let plans = self.head.plan.iter().cloned();
        let rows = || self.usage.iter().chain(&self.dropped);
        for name in plans.chain(rows().map(|row| row.plan.clone())) {
            if let Some((_, plan)) = policy.plan(&name) {
                note(&mut called.plans, name, &plan.titles);
            }
        }
        for row in rows() {
            if let Some((_, class)) = policy.class(&row.class) {
                note(&mut called.classes, row.class.clone(), &class.titles);
            }
            let titles = policy.bucket_titles(&row.charged);
            note(&mut called.buckets, row.charged.clone(), &titles);
        }
        for row in &mut self.usage {
            let Some(price) = price_of(policy, &row.plan, &row.charged) else {
                continue;
            };
            let tariff = Tariff::of(price);
            let drawn = i64::try_from(row.bytes_drawn).unwrap_or(i64::MAX);
            let worth = tariff.worth(drawn, 0);
            let amount = worth.and_then(|worth| worth.amount(tariff.currency()));
            row.price = Some(price.to_string());
            // More than can be reckoned with has a price and no amount.
            row.amount = amount.ok();
        }
        self.called = Some(called).filter(|called| *called != Called::default());
    }
}

fn note(names: &mut ByName, name: String, titles: &Titles) {
    if !titles.0.is_empty() {
        let titles = titles.0.iter();
        let titles = titles.map(|(language, title)| (language.to_string(), title.clone()));
        names.insert(name, titles.collect());
    }
}

/// What a plan asks for what is drawn from a bucket.
fn price_of<'a>(policy: &'a Policy, plan: &str, bucket: &str) -> Option<&'a Price> {
    let (_, plan) = policy.plan(plan)?;
    let named = |known: &&Bucket| known.name == bucket;
    match &plan.buckets.iter().find(named)?.grant {
        Grant::Money(price) => Some(price),
        Grant::Bytes(_) => None,
    }
}
