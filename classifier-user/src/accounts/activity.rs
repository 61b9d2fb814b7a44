//! When rows move, and how fast: one look over the counters every checkpoint, which compares two sums a row with those
//! of the look before.
//!
//! What a subscriber used is in the counters alone. What is found out here is only when, and is lost with the process,
//! but for what records have taken of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use classifier::layout::Meter;
use jiff::{SignedDuration, Timestamp};

use self::kept::{Kept, Slot};
use self::rates::Rates;
use super::{Catalog, Charged};
use crate::engine::lines::Lines;

mod kept;
mod rates;

pub use self::rates::Rate;

/// Rows that are looked at in one go, some milliseconds of it: others wait no longer for the node.
const SLICE: usize = 1 << 14;

/// A moment, by the clock on the wall and by one that is never set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// What time it was.
    pub wall: Timestamp,
    /// To measure by; `None` where another process noted the time.
    clock: Option<Instant>,
}

impl Moment {
    /// This one.
    #[must_use]
    pub fn now() -> Self {
        // Where the process is held up between the two clocks they would seem to be set against each other.
        const TOGETHER: Duration = Duration::from_millis(10);
        loop {
            let (before, wall, clock) = (Instant::now(), Timestamp::now(), Instant::now());
            if clock.duration_since(before) < TOGETHER {
                return Self {
                    wall,
                    clock: Some(clock),
                };
            }
        }
    }

    /// One that another process noted.
    #[must_use]
    pub const fn noted(wall: Timestamp) -> Self {
        Self { wall, clock: None }
    }

    /// Milliseconds the clock on the wall was set by since an earlier moment: what it went on by, less the time that passed.
    #[must_use]
    pub fn step_since(&self, earlier: &Self) -> i64 {
        let (Some(now), Some(then)) = (self.clock, earlier.clock) else {
            return 0;
        };
        let passed = now.duration_since(then).as_millis();
        let went = self.wall.duration_since(earlier.wall).as_millis();
        i64::try_from(went - passed as i128).unwrap_or(i64::MAX)
    }

    fn since(&self, earlier: &Self) -> Duration {
        match (self.clock, earlier.clock) {
            (Some(now), Some(then)) => now.duration_since(then),
            _ => between(earlier.wall, self.wall),
        }
    }
}

/// From one time to another; nothing where the clock was set back.
#[must_use]
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from)
        .max(SignedDuration::ZERO)
        .unsigned_abs()
}

/// IP bytes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Sent by the subscriber.
    pub up: u64,
    /// Received by it.
    pub down: u64,
    /// Either way, and not let through.
    pub dropped: u64,
}

impl Sums {
    /// Of a row's meters.
    pub fn of(catalog: &Catalog, layout: u32, meters: impl Iterator<Item = Meter>) -> Self {
        let mut sums = Self::default();
        let keys = &catalog.layouts[layout as usize].meters;
        for (key, meter) in keys.iter().zip(meters) {
            if key.charged == Charged::Dropped {
                sums.dropped = sums
                    .dropped
                    .wrapping_add(meter.bytes_up)
                    .wrapping_add(meter.bytes_down);
            } else {
                sums.up = sums.up.wrapping_add(meter.bytes_up);
                sums.down = sums.down.wrapping_add(meter.bytes_down);
            }
        }
        sums
    }

    fn read(lines: &Lines, catalog: &Catalog, line: u32, layout: u32) -> Self {
        let meters = catalog.layouts[layout as usize].meters.len();
        Self::of(catalog, layout, lines.meters(line, meters as u32))
    }
}

/// When a row moved since its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// The look before the first that found it moving: what moved did so after this.
    pub since: Timestamp,
    /// The latest look that found it moving.
    pub last: Timestamp,
    /// Time between looks of which the later found it moving.
    pub active: Duration,
    /// Highest rate between two looks, sent, in bits a second.
    pub peak_up_bps: u64,
    /// The same, received.
    pub peak_down_bps: u64,
}

/// A row that counts.
#[derive(Debug, Clone)]
struct Watched {
    line: u32,
    layout: u32,
    seen: Sums,
    /// How it moved since its last record.
    moved: Slot,
}

/// All rows that count.
#[derive(Debug, Default)]
pub struct Watch {
    /// In the order of their lines.
    rows: Vec<Watched>,
    /// When each slice of them was looked at last.
    looked: Vec<Moment>,
    /// By line, rows that were looked at alone since their slice was.
    alone: HashMap<u32, Moment>,
    /// How those moved that did since their last record.
    kept: Kept,
    /// How fast they are.
    rates: Rates,
    /// Shortest time a rate is measured over.
    shortest: Duration,
}

/// The layout of a row that ended.
const GONE: u32 = u32::MAX;

impl Watch {
    /// Nothing to watch yet. Rates are those of `checkpoint`, or of longer times.
    #[must_use]
    pub fn new(checkpoint: Duration) -> Self {
        Self {
            // Looks are not exactly as far apart as they are meant to be.
            shortest: checkpoint.mul_f64(0.9),
            ..Self::default()
        }
    }

    /// Watches rows, each with its layout, from `now` on, when so much of them is known: those behind all others, and those
    /// that have the lines of others that ended.
    pub fn begin(&mut self, rows: impl IntoIterator<Item = (u32, u32, Sums)>, now: Moment) {
        let mut sorted = true;
        for (line, layout, seen) in rows {
            let row = Watched {
                line,
                layout,
                seen,
                moved: Slot::NONE,
            };
            if self.rows.last().is_some_and(|last| last.line >= line) {
                if sorted && let Ok(at) = self.rows.binary_search_by_key(&line, |row| row.line) {
                    debug_assert_eq!(self.rows[at].layout, GONE);
                    self.alone.insert(line, now);
                    self.rows[at] = row;
                    continue;
                }
                sorted = false;
            }
            self.rows.push(row);
        }
        if !sorted {
            // What took over from others goes before them.
            self.rows.sort_by_key(|row| (row.line, row.layout == GONE));
            self.rows.dedup_by_key(|row| row.line);
        }
        while self.looked.len() < self.slices() {
            self.looked.push(now);
        }
    }

    /// Pieces in which [`Self::look`] looks.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.rows.len().div_ceil(SLICE)
    }

    /// Looks at a slice of the rows.
    pub fn look(&mut self, slice: usize, lines: &Lines, catalog: &Catalog, now: Moment) {
        let first = slice * SLICE;
        let end = self.rows.len().min(first + SLICE);
        let (Some(rows), Some(looked)) =
            (self.rows.get_mut(first..end), self.looked.get_mut(slice))
        else {
            return;
        };
        let slice_before = std::mem::replace(looked, now);
        self.rates.enter(slice);
        for row in rows.iter_mut().filter(|row| row.layout != GONE) {
            let sums = Sums::read(lines, catalog, row.line, row.layout);
            let mut before = slice_before;
            if !self.alone.is_empty() {
                before = self.alone.remove(&row.line).unwrap_or(before);
            }
            if sums != row.seen {
                let time = now.since(&before).max(self.shortest);
                let rate = Rate::between(row.seen, sums, time);
                self.rates.note(row.line, rate);
                let activity = moved(self.kept.get(row.moved), rate, before, now);
                self.kept.put(&mut row.moved, row.line, &activity);
                row.seen = sums;
            }
        }
        if slice + 1 == self.slices() {
            self.rates.finish();
        }
    }

    /// Looks at all rows.
    pub fn look_at_all(&mut self, lines: &Lines, catalog: &Catalog, now: Moment) {
        for slice in 0..self.slices() {
            self.look(slice, lines, catalog, now);
        }
    }

    /// Looks at one row.
    pub fn look_at(&mut self, line: u32, lines: &Lines, catalog: &Catalog, now: Moment) {
        let Some(index) = self.index(line) else {
            return;
        };
        let row = &mut self.rows[index];
        let sums = Sums::read(lines, catalog, line, row.layout);
        let slice = self.looked.get(index / SLICE).copied();
        let before = self.alone.insert(line, now).or(slice).unwrap_or(now);
        if sums != row.seen {
            let time = now.since(&before).max(self.shortest);
            let rate = Rate::between(row.seen, sums, time);
            let activity = moved(self.kept.get(row.moved), rate, before, now);
            self.kept.put(&mut row.moved, line, &activity);
            row.seen = sums;
        }
    }

    /// Ends watching a row, with a last look; how it moved since its last record.
    pub fn end(
        &mut self,
        line: u32,
        lines: &Lines,
        catalog: &Catalog,
        now: Moment,
    ) -> Option<Activity> {
        self.look_at(line, lines, catalog, now);
        self.alone.remove(&line);
        self.rates.forget(line);
        let index = self.index(line)?;
        let row = &mut self.rows[index];
        let activity = self.kept.take(&mut row.moved);
        // Its place stays: another one will have its lines.
        row.layout = GONE;
        activity
    }

    /// Gives back what was kept of rows that ended, where those were many.
    pub fn give_back(&mut self) {
        if self.kept.is_sparse() {
            self.kept
                .compact(self.rows.iter_mut().map(|row| &mut row.moved));
        }
    }

    /// The rows that moved between the last two looks at all of them, and how fast. What a row did between a look at it
    /// alone and the one before is not in it.
    #[must_use]
    pub fn rates(&self) -> &[(u32, Rate)] {
        self.rates.whole()
    }

    /// Lines of the rows that moved since their last record, lowest first.
    #[must_use]
    pub fn active(&self) -> Vec<u32> {
        self.kept.lines()
    }

    /// Since when a row has moved without a record.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.kept.oldest()
    }

    /// How a row moved since its last record.
    #[must_use]
    pub fn activity(&self, line: u32) -> Option<Activity> {
        self.kept.get(self.rows[self.index(line)?].moved)
    }

    /// Forgets that a row moved: it has been recorded.
    pub fn recorded(&mut self, line: u32) {
        if let Some(index) = self.index(line) {
            self.kept.take(&mut self.rows[index].moved);
        }
    }

    /// Takes back that a row was recorded.
    pub fn put_back(&mut self, line: u32, activity: Activity) {
        if let Some(index) = self.index(line) {
            self.kept.put(&mut self.rows[index].moved, line, &activity);
        }
    }

    /// The layout of a row that counts.
    #[must_use]
    pub fn layout(&self, line: u32) -> Option<u32> {
        Some(self.rows[self.index(line)?].layout)
    }

    fn index(&self, line: u32) -> Option<usize> {
        let found = self.rows.binary_search_by_key(&line, |row| row.line);
        found.ok().filter(|at| self.rows[*at].layout != GONE)
    }
}

/// What a row's activity is after a look that found it moving.
fn moved(activity: Option<Activity>, rate: Rate, looked: Moment, now: Moment) -> Activity {
    let activity = activity.unwrap_or(Activity {
        since: looked.wall,
        last: now.wall,
        active: Duration::ZERO,
        peak_up_bps: 0,
        peak_down_bps: 0,
    });
    Activity {
        since: activity.since.min(now.wall),
        last: now.wall,
        active: activity.active + now.since(&looked),
        peak_up_bps: activity.peak_up_bps.max(rate.up),
        peak_down_bps: activity.peak_down_bps.max(rate.down),
    }
}

/// A rate, rounded down.
#[must_use]
pub fn bits_a_second(bytes: u64, time: Duration) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000;
    let rate = bits.checked_div(time.as_micros()).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
