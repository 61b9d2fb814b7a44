//! What the rows and books say, as rows for people and billing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use classifier::books::{Books, Cell};
use classifier::layout::Meter;

use super::{Accounts, Charged, Layout};
use crate::engine::lines::Lines;
use crate::report::{Traffic, UnattributedRow, UsageRow};

/// What rows counted of a subscriber under a plan layout that ended and have other owners.
pub type Past = (Arc<str>, u32, Vec<Meter>);

/// Sums of meters, by plan layout.
pub type ByLayout = HashMap<u32, Vec<Meter>>;

/// Adds the meters of a row of a layout.
pub fn add_meters(to: &mut ByLayout, layout: u32, meters: impl Iterator<Item = Meter>) {
    let sums = to.entry(layout).or_default();
    for (at, meter) in meters.enumerate() {
        if at == sums.len() {
            sums.push(Meter::default());
        }
        add(&mut sums[at], &meter);
    }
}

/// Adds a meter to another.
pub(crate) fn add(to: &mut Meter, what: &Meter) {
    to.bytes_up += what.bytes_up;
    to.bytes_down += what.bytes_down;
    to.packets_up += what.packets_up;
    to.packets_down += what.packets_down;
}

/// Usage of every subscriber, past sessions included: one row per subscriber, plan, class and charge, sorted.
#[must_use]
pub fn usage(accounts: &Accounts, lines: &Lines, past: &[Past]) -> Vec<UsageRow> {
    let catalog = &accounts.catalog;
    let mut found: BTreeMap<(&str, &str, &str, &str), UsageRow> = BTreeMap::new();
    let mut add = |subscriber, number, meters: &mut dyn Iterator<Item = Meter>| {
        let layout = &catalog.layouts[number as usize];
        for (key, meter) in layout.meters.iter().zip(meters) {
            if meter.packets_up == 0 && meter.packets_down == 0 {
                continue;
            }
            let class = &catalog.classes[key.class as usize];
            let charged = catalog.charged(number, key.charged);
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
    };
    for (row, subscriber) in accounts.rows() {
        let meters = catalog.layouts[row.layout as usize].meters.len();
        let mut meters = lines.meters(row.line, meters as u32);
        add(subscriber, row.layout, &mut meters);
    }
    for (subscriber, layout, meters) in past {
        add(subscriber, *layout, &mut meters.iter().copied());
    }
    found.into_values().collect()
}

/// Bytes of all rows since counters began, both ways: what was charged, and what was dropped.
#[must_use]
pub fn totals(accounts: &Accounts, lines: &Lines) -> [u64; 2] {
    let mut totals = [0; 2];
    let mut add = |layout: &Layout, meters: &mut dyn Iterator<Item = Meter>| {
        for (key, meter) in layout.meters.iter().zip(meters) {
            let dropped = key.charged == Charged::Dropped;
            totals[usize::from(dropped)] += meter.bytes_up + meter.bytes_down;
        }
    };
    let layouts = &accounts.catalog.layouts;
    for (row, _) in accounts.rows() {
        let layout = &layouts[row.layout as usize];
        add(
            layout,
            &mut lines.meters(row.line, layout.meters.len() as u32),
        );
    }
    for (layout, meters) in &accounts.past {
        add(&layouts[*layout as usize], &mut meters.iter().copied());
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
