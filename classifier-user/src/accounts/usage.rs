//! What the rows and books say, as rows for people and billing.

use std::collections::BTreeMap;

use classifier::books::{Books, Cell};

use super::{Accounts, Charged};
use crate::engine::lines::Lines;
use crate::report::{Traffic, UnattributedRow, UsageRow};

/// Usage of every subscriber, past sessions included: one row per subscriber, plan, class and charge, sorted.
#[must_use]
pub fn usage(accounts: &Accounts, lines: &Lines) -> Vec<UsageRow> {
    let catalog = &accounts.catalog;
    let mut found: BTreeMap<(&str, &str, &str, &str), UsageRow> = BTreeMap::new();
    for (row, subscriber) in accounts.rows() {
        let layout = &catalog.layouts[row.layout as usize];
        let meters = lines.meters(row.line, layout.meters.len() as u32);
        for (key, meter) in layout.meters.iter().zip(meters) {
            if meter.packets_up == 0 && meter.packets_down == 0 {
                continue;
            }
            let class = &catalog.classes[key.class as usize];
            let charged = catalog.charged(row.layout, key.charged);
            let sum = found
                .entry((subscriber, &class.name, charged, &layout.plan))
                .or_insert_with(|| UsageRow {
                    subscriber: subscriber.to_owned(),
                    plan: layout.plan.clone(),
                    class: class.name.clone(),
                    rating_group: class.rating_group,
                    charged: charged.to_owned(),
                    traffic: Traffic::default(),
                });
            let traffic = &mut sum.traffic;
            traffic.bytes_up += meter.bytes_up;
            traffic.packets_up += meter.packets_up;
            traffic.bytes_down += meter.bytes_down;
            traffic.packets_down += meter.packets_down;
        }
    }
    found.into_values().collect()
}

/// Bytes of all rows, both ways: what was charged, and what was dropped.
#[must_use]
pub fn totals(accounts: &Accounts, lines: &Lines) -> [u64; 2] {
    let mut totals = [0; 2];
    for (row, _) in accounts.rows() {
        let layout = &accounts.catalog.layouts[row.layout as usize];
        let meters = lines.meters(row.line, layout.meters.len() as u32);
        for (key, meter) in layout.meters.iter().zip(meters) {
            let dropped = key.charged == Charged::Dropped;
            totals[usize::from(dropped)] += meter.bytes_up + meter.bytes_down;
        }
    }
    totals
}

/// Unattributed traffic by class, from the books of both directions.
#[must_use]
pub fn unattributed(accounts: &Accounts, up: &Books, down: &Books) -> Vec<UnattributedRow> {
    let mut found: Vec<UnattributedRow> = (0..)
        .zip(&accounts.catalog.classes)
        .map(|(number, class)| {
            let cell = Cell::unattributed(number) as usize;
            UnattributedRow {
                class: class.name.clone(),
                rating_group: class.rating_group,
                traffic: Traffic {
                    bytes_up: up[cell + 1],
                    packets_up: up[cell],
                    bytes_down: down[cell + 1],
                    packets_down: down[cell],
                },
            }
        })
        .filter(|row| !row.traffic.is_empty())
        .collect();
    found.sort_by(|a, b| a.class.cmp(&b.class));
    found
}
