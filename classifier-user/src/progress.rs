//! How far long work has come: numbers that the work counts up while somebody may look at them from another thread.
//!
//! A [`Progress`] goes with what is read. Nobody looks at [`Progress::default`], and to count for it costs nothing; one that
//! is looked at costs an addition for every few thousand lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What work counts for. Copies count together, also from several threads.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<Arc<Counts>>);

/// The unit is a byte that is read; what is no reading is planned as what takes as long.
#[derive(Debug, Default)]
struct Counts {
    planned: AtomicU64,
    done: AtomicU64,
}

/// What a name costs that is to be resolved, in bytes.
pub const A_NAME: u64 = 100_000;

/// How many bytes of lines are counted at once.
const PIECE: u64 = 1 << 16;

impl Progress {
    /// One that somebody looks at.
    #[must_use]
    pub fn watched() -> Self {
        Progress(Some(Arc::default()))
    }

    /// There is so much more to do.
    pub fn plan(&self, units: u64) {
        if let Some(counts) = &self.0 {
            counts.planned.fetch_add(units, Relaxed);
        }
    }

    /// So much of it is done.
    pub fn advance(&self, units: u64) {
        if let Some(counts) = &self.0 {
            counts.done.fetch_add(units, Relaxed);
        }
    }

    /// How much is done, and how much is planned by now.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        let Some(counts) = &self.0 else { return (0, 0) };
        let planned = counts.planned.load(Relaxed);
        (counts.done.load(Relaxed).min(planned), planned)
    }

    /// The same items, each counted as it goes by with the bytes that `size` says it has.
    pub(crate) fn over<T>(
        &self,
        items: impl Iterator<Item = T>,
        size: impl Fn(&T) -> usize,
    ) -> impl Iterator<Item = T> {
        let mut uncounted = Uncounted {
            progress: self.clone(),
            units: 0,
        };
        items.inspect(move |item| uncounted.add(size(item) as u64))
    }
}

/// What went by and is not counted yet, so that threads that count meet rarely; all of it is when the items end.
struct Uncounted {
    progress: Progress,
    units: u64,
}

impl Uncounted {
    fn add(&mut self, units: u64) {
        self.units += units;
        if self.units >= PIECE {
            self.progress.advance(std::mem::take(&mut self.units));
        }
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        self.progress.advance(self.units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_by_is_counted_to_the_last_byte() {
        let progress = Progress::watched();
        progress.plan(300_000);
        let copy = progress.clone();
        let mut items = copy.over(0..100, |_| 2_000);
        items.by_ref().take(40).for_each(drop);
        let (done, planned) = progress.so_far();
        assert_eq!(planned, 300_000);
        assert!((1..=80_000).contains(&done), "{done}");
        items.for_each(drop);
        assert_eq!(progress.so_far(), (200_000, 300_000));
        progress.advance(1_000_000);
        assert_eq!(progress.so_far(), (300_000, 300_000), "never more than all");
    }

    #[test]
    fn nothing_is_counted_where_nobody_looks() {
        let progress = Progress::default();
        progress.plan(5);
        progress.advance(3);
        assert_eq!(progress.so_far(), (0, 0));
    }
}
