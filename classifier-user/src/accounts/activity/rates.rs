//! How fast rows moved between the last two looks at them: what people see who watch.

use std::time::Duration;

use super::{Sums, bits_a_second};

/// Bits a second between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Sent by the subscriber.
    pub up: u64,
    /// Received by it.
    pub down: u64,
    /// Either way, and not let through.
    pub dropped: u64,
}

impl Rate {
    pub(super) fn between(before: Sums, after: Sums, time: Duration) -> Self {
        let rate = |from: u64, to: u64| bits_a_second(to.wrapping_sub(from), time);
        Self {
            up: rate(before.up, after.up),
            down: rate(before.down, after.down),
            dropped: rate(before.dropped, after.dropped),
        }
    }

    /// Two of them together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            up: self.up.saturating_add(other.up),
            down: self.down.saturating_add(other.down),
            dropped: self.dropped.saturating_add(other.dropped),
        }
    }
}

/// Rates of the rows that moved, by line.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Those the last whole look over all rows found,
    whole: Vec<(u32, Rate)>,
    /// and those the one under way has found,
    found: Vec<(u32, Rate)>,
    /// which goes on with this slice; `None` where another look came between.
    next: Option<usize>,
}

impl Rates {
    /// A slice is looked at.
    pub(super) fn enter(&mut self, slice: usize) {
        if slice == 0 {
            self.found.clear();
            self.next = Some(0);
        }
        self.next = self.next.filter(|next| *next == slice).map(|next| next + 1);
    }

    pub(super) fn note(&mut self, line: u32, rate: Rate) {
        self.found.push((line, rate));
    }

    /// The last slice was looked at.
    pub(super) fn finish(&mut self) {
        if self.next.take().is_some() {
            std::mem::swap(&mut self.whole, &mut self.found);
        }
        self.found.clear();
    }

    /// A row ended: its line is another's from now on.
    pub(super) fn forget(&mut self, line: u32) {
        if let Ok(at) = self.whole.binary_search_by_key(&line, |(line, _)| *line) {
            self.whole[at].1 = Rate::default();
        }
    }

    pub(super) fn whole(&self) -> &[(u32, Rate)] {
        &self.whole
    }
}
