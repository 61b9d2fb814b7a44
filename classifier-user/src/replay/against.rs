//! What another policy would have charged otherwise: each packet of a capture judged under both, by the one verdict, and
//! what it came to compared. Each policy draws its own buckets from the first packet on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use classifier::charge::Direction;

use super::capture::Frame;
use super::noted::Noted;
use super::{Bench, Native, ReplayError, Role};
use crate::policy::Policy;
use crate::report::Traffic;
use crate::report::difference::{Compared, Difference, DifferenceRow, Sides};
use crate::subscribers::Subscriber;

/// Two replays of one capture, in progress.
pub struct Against {
    old: Side,
    new: Side,
    found: BTreeMap<Key, Traffic>,
    unattributed: BTreeMap<(u32, u32), Traffic>,
    compared: Compared,
}

/// A replay, and whose rows are whose.
struct Side {
    bench: Bench,
    native: Native,
    /// Place among the subscribers, and layout of the plan, by the first line of the row.
    rows: HashMap<u32, (u32, u32)>,
    /// Subscribers in the order of their ids.
    ids: Vec<String>,
}

/// A subscriber, by its place, and the meter it was counted in under each policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    subscriber: u32,
    old: (u32, u32),
    new: (u32, u32),
}

impl Against {
    /// Makes both replays, in this process. `subscribers` are the same people, with the plans of each policy.
    ///
    /// # Errors
    /// When something does not fit.
    pub fn new(
        old: (&Policy, &[Subscriber]),
        new: (&Policy, &[Subscriber]),
        role: Role,
    ) -> Result<Self, ReplayError> {
        Ok(Self {
            old: Side::new(old.0, old.1, role)?,
            new: Side::new(new.0, new.1, role)?,
            found: BTreeMap::new(),
            unattributed: BTreeMap::new(),
            compared: Compared::default(),
        })
    }

    /// Judges one frame under both policies.
    pub fn judge(&mut self, frame: &Frame) {
        let (old, direction) = self.old.judge(frame);
        let (new, _) = self.new.judge(frame);
        let mut traffic = Traffic::default();
        let (bytes, packets) = match direction.is_down() {
            true => (&mut traffic.bytes_down, &mut traffic.packets_down),
            false => (&mut traffic.bytes_up, &mut traffic.packets_up),
        };
        (*bytes, *packets) = (old.bytes, 1);
        self.compared.packets += 1;
        match (self.old.counted(old), self.new.counted(new)) {
            (Some((subscriber, old)), Some((_, new))) => {
                let key = Key {
                    subscriber,
                    old,
                    new,
                };
                let sum = self.found.entry(key).or_default();
                *sum = sum.plus(&traffic);
            }
            _ => {
                if let (Some(old), Some(new)) = (old.unattributed, new.unattributed) {
                    let sum = self.unattributed.entry((old, new)).or_default();
                    *sum = sum.plus(&traffic);
                }
            }
        }
    }

    /// What came out.
    #[must_use]
    pub fn report(&self) -> Difference {
        let mut compared = self.compared.clone();
        // Meters of two layouts of one plan may be the same to whoever reads.
        let mut rows: BTreeMap<DifferenceRow, Traffic> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        let mut add = |row: DifferenceRow, traffic: &Traffic| {
            let bytes = traffic.bytes_up + traffic.bytes_down;
            compared.ip_bytes += bytes;
            if row.sides.is_difference() {
                compared.bytes_otherwise += bytes;
                compared.packets_otherwise += traffic.packets_up + traffic.packets_down;
                touched.extend(row.subscriber.clone());
                let sum = rows.entry(row).or_default();
                *sum = sum.plus(traffic);
            }
        };
        for (key, traffic) in &self.found {
            let (old, new) = (self.old.side(key.old), self.new.side(key.new));
            let row = DifferenceRow {
                subscriber: Some(self.old.ids[key.subscriber as usize].clone()),
                sides: Sides::of(old, new),
            };
            add(row, traffic);
        }
        for ((old, new), traffic) in &self.unattributed {
            let row = DifferenceRow {
                subscriber: None,
                sides: Sides::of(self.old.unattributed(*old), self.new.unattributed(*new)),
            };
            add(row, traffic);
        }
        compared.subscribers_otherwise = touched.len() as u64;
        Difference {
            rows: rows.into_iter().collect(),
            compared,
        }
    }
}

impl Side {
    fn new(policy: &Policy, subscribers: &[Subscriber], role: Role) -> Result<Self, ReplayError> {
        let (mut bench, changes) = Bench::new(policy, subscribers, role)?;
        let native = Native::new(changes.lines());
        bench.lay_out(changes, &native.lines);
        let mut all: Vec<_> = bench.accounts.rows().collect();
        all.sort_by_key(|(_, id)| *id);
        let ids = all.iter().map(|(_, id)| (*id).to_owned()).collect();
        let rows = all
            .iter()
            .zip(0..)
            .map(|((row, _), place)| (row.line, (place, row.layout)))
            .collect();
        Ok(Self {
            bench,
            native,
            rows,
            ids,
        })
    }

    fn judge(&self, frame: &Frame) -> (Noted, Direction) {
        let (interval, direction) = self.bench.place(frame);
        let image = &self.bench.images[interval];
        (self.native.judge(image, direction, frame), direction)
    }

    /// The subscriber a packet was counted for, and the meter of its plan's layout.
    fn counted(&self, noted: Noted) -> Option<(u32, (u32, u32))> {
        let (line, meter) = noted.meter?;
        let (subscriber, layout) = *self.rows.get(&line)?;
        Some((subscriber, (layout, meter)))
    }

    /// Class, rating group, plan and charge of a meter.
    fn side(&self, (layout, meter): (u32, u32)) -> (&str, u32, &str, &str) {
        let catalog = &self.bench.accounts.catalog;
        let plan = &catalog.layouts[layout as usize];
        let key = plan.meters[meter as usize];
        let class = &catalog.classes[key.class as usize];
        let charged = catalog.charged(layout, key.charged);
        (&class.name, class.rating_group, &plan.plan, charged)
    }

    fn unattributed(&self, class: u32) -> (&str, u32, &str, &str) {
        let class = &self.bench.accounts.catalog.classes[class as usize];
        (&class.name, class.rating_group, "", "unattributed")
    }
}
