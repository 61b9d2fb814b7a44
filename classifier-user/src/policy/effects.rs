//! What another policy does to the buckets subscribers have: said before it happens.

use std::collections::HashMap;
use std::fmt;

use super::model::{Bucket, Grant, Plan, Policy};
use super::volume::show_volume;

/// What becomes of one bucket of one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The plan.
    pub plan: String,
    /// The bucket.
    pub bucket: String,
    /// What becomes of it.
    pub what: Becomes,
    /// How many subscribers are on the plan, where that is known.
    pub subscribers: Option<usize>,
}

/// What becomes of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Becomes {
    /// Who had none gets it, with what it is granted.
    Created(Grant),
    /// No chain draws on it any more.
    Unused,
    /// Another volume is granted, when the plan's cycle begins anew; without a cycle, to newcomers only.
    Volume {
        /// Bytes from now on.
        bytes: u64,
        /// Whether there is a cycle.
        cycle: bool,
    },
    /// Money buys other bytes.
    Price(String),
    /// It was money and is a package, or the other way round: bytes stay bytes.
    Kind,
}

/// What a new policy does to the buckets of the plans both have; `on` says how many subscribers are on a plan.
#[must_use]
pub fn effects(old: &Policy, new: &Policy, on: Option<&HashMap<String, usize>>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for plan in &new.plans {
        let Some(before) = old.plans.iter().find(|before| before.name == plan.name) else {
            continue;
        };
        let mut add = |bucket: &Bucket, what| {
            effects.push(Effect {
                plan: plan.name.clone(),
                bucket: bucket.name.clone(),
                what,
                subscribers: on.map(|on| on.get(&plan.name).copied().unwrap_or(0)),
            });
        };
        for bucket in &plan.buckets {
            match bucket_of(before, &bucket.name) {
                None => add(bucket, Becomes::Created(bucket.grant.clone())),
                Some(was) if was.grant != bucket.grant => {
                    add(bucket, changed(plan, &was.grant, &bucket.grant));
                }
                Some(_) => {}
            }
        }
        for bucket in &before.buckets {
            if bucket_of(plan, &bucket.name).is_none() {
                add(bucket, Becomes::Unused);
            }
        }
    }
    effects
}

fn bucket_of<'a>(plan: &'a Plan, name: &str) -> Option<&'a Bucket> {
    plan.buckets.iter().find(|bucket| bucket.name == name)
}

fn changed(plan: &Plan, was: &Grant, is: &Grant) -> Becomes {
    match (was, is) {
        (Grant::Bytes(_), Grant::Bytes(bytes)) => Becomes::Volume {
            bytes: *bytes,
            cycle: plan.cycle.is_some(),
        },
        (Grant::Money(_), Grant::Money(price)) => Becomes::Price(price.to_string()),
        _ => Becomes::Kind,
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            plan,
            bucket,
            what,
            subscribers,
        } = self;
        write!(f, "plan {plan}: bucket {bucket}")?;
        if let Some(count) = subscribers {
            let noun = if *count == 1 {
                "subscriber"
            } else {
                "subscribers"
            };
            write!(f, " of {count} {noun}")?;
        }
        match what {
            Becomes::Created(Grant::Bytes(bytes)) => write!(
                f,
                " is created: who has none yet is granted {}",
                show_volume(*bytes)
            ),
            Becomes::Created(Grant::Money(price)) => {
                write!(f, " is created, empty, at {price}")
            }
            Becomes::Unused => {
                f.write_str(" goes: what is left in it stays with the subscriber, unused")
            }
            Becomes::Volume { bytes, cycle: true } => write!(
                f,
                " keeps what is left, and is granted {} from the next cycle on",
                show_volume(*bytes)
            ),
            Becomes::Volume {
                bytes,
                cycle: false,
            } => write!(
                f,
                " keeps what is left: there is no cycle, so only who never had it is granted {}",
                show_volume(*bytes)
            ),
            Becomes::Price(price) => {
                write!(f, " keeps its money, which buys other bytes at {price}")
            }
            Becomes::Kind => {
                f.write_str(" keeps the bytes that are left, and is another kind of bucket")
            }
        }
    }
}
