//! What the verdict says of one packet: the same function over the same memory, with a note of what it counted where.

use std::cell::Cell as Slot;

use classifier::books::Cell;
use classifier::charge::Direction;
use classifier::events::Event;
use classifier::layout::{Aside, LOWER_HALF, RowHead, meter_word};
use classifier::verdict::{Room, Tables};

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
    direction: Direction,
    noted: Slot<Noted>,
}

impl<'a> Noting<'a> {
    pub(super) fn new(tables: NativeTables<'a>, direction: Direction) -> Self {
        Self {
            tables,
            direction,
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
    fn approach(&self, line: u32, word: u32) {
        self.tables.approach(line, word);
    }
    fn approach_buckets(&self, line: u32) {
        self.tables.approach_buckets(line);
    }
    fn row(&self, line: u32) -> RowHead {
        self.tables.row(line)
    }
    fn add(&self, line: u32, word: u32, n: u64) {
        let first = if self.direction.is_down() {
            LOWER_HALF
        } else {
            0
        };
        let meter = (word - first) / 2;
        // The packets' counter stands behind that of the bytes.
        if word == meter_word(meter, self.direction.is_down()) {
            self.note(|noted| {
                noted.meter = Some((line, meter));
                noted.bytes = n;
            });
        }
        self.tables.add(line, word, n);
    }
    fn add_aside(&self, place: Aside, down: bool, bytes: u64, packets: u64) -> Room {
        self.tables.add_aside(place, down, bytes, packets)
    }
    fn level(&self, block: u32, position: u32) -> i64 {
        self.tables.level(block, position)
    }
    fn counted(&self, line: u32, word: u32) -> u64 {
        self.tables.counted(line, word)
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
