//! Random subscribers, whose prefixes never overlap but inside one subscriber's own.

use std::fmt::Write as _;

use proptest::prelude::*;
use zerorate_tests::oracle::Prefix;

use super::policy::Policy;
use super::world::{Seed, lengths, seeds};

/// A line of the subscribers file.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    plan: u8,
    suspended: bool,
    prefixes: Vec<(Seed, u8)>,
}

/// In no order of their own.
const IDS: [&str; 9] = [
    "s2", "s10", "Anna", "anna", "zoe", "0", "s1", "a.b-c_d", "mid",
];

/// All subscribers.
pub(crate) fn subscribers() -> impl Strategy<Value = Subscriber> {
    let prefixes = prop::collection::vec((seeds(), lengths()), 1..6);
    (0..4u8, prop::bool::weighted(0.25), prefixes).prop_map(|(plan, suspended, prefixes)| {
        Subscriber {
            plan,
            suspended,
            prefixes,
        }
    })
}

/// The prefixes each of them is written with.
pub(crate) fn prefixes(subscribers: &[Subscriber]) -> Vec<Vec<Prefix>> {
    let mut all: Vec<Vec<Prefix>> = Vec::new();
    for subscriber in subscribers {
        let mut own: Vec<Prefix> = Vec::new();
        for (seed, length) in &subscriber.prefixes {
            let prefix = seed.prefix(*length);
            let taken = all.iter().flatten().any(|other| other.overlaps(&prefix));
            if !taken && !own.contains(&prefix) {
                own.push(prefix);
            }
        }
        all.push(own);
    }
    all
}

/// The file. A subscriber left without prefixes is left out.
pub(crate) fn table(subscribers: &[Subscriber], policy: &Policy) -> String {
    let mut text = String::from("id,plan,state,addresses\n");
    for ((id, subscriber), own) in IDS.iter().zip(subscribers).zip(prefixes(subscribers)) {
        if own.is_empty() {
            continue;
        }
        let state = if subscriber.suspended {
            "suspended"
        } else {
            "active"
        };
        let addresses: Vec<String> = own.iter().map(Prefix::to_string).collect();
        let plan = policy.plan(subscriber.plan);
        let _ = writeln!(text, "{id},{plan},{state},{}", addresses.join(" "));
    }
    text
}
