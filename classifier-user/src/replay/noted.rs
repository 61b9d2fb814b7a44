//! What the verdict says of one packet: the same function over the same memory, with a note of what it counted where.

use std::cell::Cell as Slot;

use classifier::books::Cell;
use classifier::case::{Case, Ruling};
use classifier::events::Event;
use classifier::layout::{Place, RowHead};
use classifier::verdict::{Size, Tables};

use crate::engine::native::NativeTables;
use crate::image::Compiled;

/// What was counted for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Noted {
    /// A subscriber's row, by its first line, and the meter of it.
    pub(super) meter: Option<(u32, u32)>,
    /// Number of the class, where the subscriber is unknown.
    pub(super) unattributed: Option<u32>,
    /// IP bytes.
    pub(super) bytes: u64,
}

/// Tables that note what is counted in them.
pub(super) struct Noting<'a> {
    tables: NativeTables<'a>,
    noted: Slot<Noted>,
}

impl<'a> Noting<'a> {
    pub(super) fn new(tables: NativeTables<'a>) -> Self {
        Self {
            tables,
            noted: Slot::default(),
        }
    }

    /// What was counted since it was made.
    pub(super) fn noted(&self) -> Noted {
        self.noted.get()
    }

    fn note(&self, change: impl FnOnce(&mut Noted)) {
        let mut noted = self.noted.get();
        change(&mut noted);
        self.noted.set(noted);
    }
}

impl<'a> Tables for Noting<'a> {
    type Words = &'a Compiled;
    type Line = u32;

    fn image(&self) -> Option<&'a Compiled> {
        self.tables.image()
    }
    fn line(&self, line: u32) -> Option<u32> {
        self.tables.line(line)
    }
    fn approach_buckets(&self, line: u32) {
        self.tables.approach_buckets(line);
    }
    fn row(&self, line: u32) -> RowHead {
        self.tables.row(line)
    }
    fn add_again(&self, _: Case, _: Size) -> Option<Ruling> {
        // What becomes of each packet is to be seen.
        None
    }
    fn defer(&self, _: Case, _: Size, _: bool) -> bool {
        false
    }
    fn add(&self, place: Place, size: Size, decided: Option<(Case, Ruling)>) -> bool {
        let added = self.tables.add(place, size, decided);
        if added {
            self.note(|noted| {
                noted.meter = Some((place.line, place.meter));
                noted.bytes = size.bytes.into();
            });
        }
        added
    }
    fn add_aside(&self, serial: u32, place: Place, size: Size) -> bool {
        self.tables.add_aside(serial, place, size)
    }
    fn level(&self, block: u32, position: u32) -> i64 {
        self.tables.level(block, position)
    }
    fn draw(&self, block: u32, position: u32, bytes: u32) -> i64 {
        self.tables.draw(block, position, bytes)
    }
    fn report(&self, event: Event) {
        self.tables.report(event);
    }
    fn tally(&self, cell: u32, n: u64) {
        if let Some(behind) = cell.checked_sub(Cell::Unattributed.index()) {
            self.note(|noted| {
                noted.unattributed = Some(behind / 2);
                if behind % 2 == 1 {
                    noted.bytes = n;
                }
            });
        }
        self.tables.tally(cell, n);
    }
}
