//! What a subscriber used in a period, by label, as it stands in a row: for each label, by number, its number, how many records
//! there were, and what they count, as [counters](super::super::usage::codec) are written.

use std::collections::BTreeMap;

use classifier::layout::Meter;

use super::super::usage::account::checked_plus;
use super::super::usage::codec;

/// What records add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::ledger) struct Cell {
    /// How many they are.
    pub(in crate::ledger) records: u64,
    /// What they count.
    pub(in crate::ledger) counted: Meter,
}

impl Cell {
    /// Adds another; `None` where the sum is more than there can be.
    #[must_use]
    pub(in crate::ledger) fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            records: self.records.checked_add(other.records)?,
            counted: checked_plus(&self.counted, &other.counted)?,
        })
    }
}

/// All of a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::ledger) struct Cells(pub(in crate::ledger) BTreeMap<u64, Cell>);

impl Cells {
    /// Adds to what a label counts; `None` where that is more than there can be.
    pub(super) fn add(&mut self, label: u64, cell: &Cell) -> Option<()> {
        let known = self.0.entry(label).or_default();
        *known = known.plus(cell)?;
        Some(())
    }

    pub(super) fn put(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 20);
        for (label, Cell { records, counted }) in &self.0 {
            codec::put(&mut out, *label);
            codec::put(&mut out, *records);
            codec::put_meter(&mut out, counted);
        }
        out
    }

    /// The reverse of [`Self::put`]; `None` when it is something else.
    pub(in crate::ledger) fn of(mut bytes: &[u8]) -> Option<Self> {
        let mut found = BTreeMap::new();
        while !bytes.is_empty() {
            let label = codec::take(&mut bytes)?;
            let cell = Cell {
                records: codec::take(&mut bytes)?,
                counted: codec::take_meter(&mut bytes)?,
            };
            if found.insert(label, cell).is_some() {
                return None;
            }
        }
        Some(Self(found))
    }
}
