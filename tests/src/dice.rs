//! Random numbers, good enough to hit another moment each time.

use std::time::{Duration, SystemTime};

/// A generator that begins somewhere else in each run, and says where.
#[derive(Debug)]
pub struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

impl Dice {
    /// Begins somewhere.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = now.map_or(1, |since| since.as_nanos() as u64 | 1);
        // Shown where a test fails.
        eprintln!("seed {seed}");
        Self(seed)
    }

    /// Some time below `most`.
    pub fn time_below(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.next() % most.as_micros() as u64)
    }

    /// Some number below `most`.
    pub fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
