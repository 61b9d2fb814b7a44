//! The ledger as the JSON lines of the public contract.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::charge::{Ledger, Tally};
use super::policy::Policy;
use super::subscribers::Subscribers;

// The order of the fields is the order in which they are printed.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Usage {
        subscriber: &'a str,
        plan: &'a str,
        class: &'a str,
        rating_group: u64,
        charged: &'a str,
        bytes_up: u128,
        packets_up: u128,
        bytes_down: u128,
        packets_down: u128,
    },
    Unattributed {
        class: &'a str,
        rating_group: u64,
        bytes_up: u128,
        packets_up: u128,
        bytes_down: u128,
        packets_down: u128,
    },
    Books {
        packets: u128,
        ip_packets: u128,
        ip_bytes: u128,
        non_ip_packets: u128,
        malformed_packets: u128,
    },
}

/// Usage by subscriber, class and who paid; then what is unattributed by class; then the books.
/// Only rows that counted a packet exist; the books are always there.
pub(super) fn json_lines(
    policy: &Policy,
    subscribers: &Subscribers,
    ledger: &Ledger<'_>,
) -> Result<String> {
    let rating_group = |class: &str| {
        policy
            .classes
            .get(class)
            .map_or(0, |class| class.rating_group)
    };
    let by_name: BTreeMap<(&str, &str, &str), (&str, &Tally)> = ledger
        .usage
        .iter()
        .map(|((place, class, charged), tally)| {
            let subscriber = &subscribers.0[*place];
            (
                (subscriber.id.as_str(), class.as_str(), charged.as_str()),
                (&*subscriber.plan, tally),
            )
        })
        .collect();
    let mut lines = Vec::new();
    for ((subscriber, class, charged), (plan, tally)) in by_name {
        lines.push(Line::Usage {
            subscriber,
            plan,
            class,
            rating_group: rating_group(class),
            charged,
            bytes_up: tally.bytes_up,
            packets_up: tally.packets_up,
            bytes_down: tally.bytes_down,
            packets_down: tally.packets_down,
        });
    }
    for (class, tally) in &ledger.unattributed {
        lines.push(Line::Unattributed {
            class,
            rating_group: rating_group(class),
            bytes_up: tally.bytes_up,
            packets_up: tally.packets_up,
            bytes_down: tally.bytes_down,
            packets_down: tally.packets_down,
        });
    }
    let books = ledger.books;
    lines.push(Line::Books {
        packets: books.packets,
        ip_packets: books.ip_packets,
        ip_bytes: books.ip_bytes,
        non_ip_packets: books.non_ip_packets,
        malformed_packets: books.malformed_packets,
    });
    let mut text = String::new();
    for line in &lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}
