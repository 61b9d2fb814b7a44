//! How often is not too often: for callers, and for lines in the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Callers that are remembered before those who have been quiet are forgotten.
const MANY: usize = 10_000;

/// Requests of each caller.
#[derive(Debug)]
pub(super) struct Pace {
    staff: f64,
    other: f64,
    callers: Mutex<HashMap<String, Bucket>>,
}

/// What a caller has left: it fills with time, and holds what comes in two seconds.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    rate: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate).min(2.0 * self.rate);
        self.at = now;
    }
}

impl Pace {
    /// So many a second of each caller with a role, and of each other one.
    pub(super) fn new(staff: u32, other: u32) -> Self {
        Self {
            staff: staff.into(),
            other: other.into(),
            callers: Mutex::default(),
        }
    }

    /// Whether somebody with a role may ask now.
    pub(super) fn staff(&self, caller: &str) -> bool {
        self.take(caller, self.staff, Instant::now())
    }

    /// The same of anybody else.
    pub(super) fn other(&self, caller: &str) -> bool {
        self.take(caller, self.other, Instant::now())
    }

    fn take(&self, caller: &str, rate: f64, now: Instant) -> bool {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MANY && !callers.contains_key(caller) {
            callers.retain(|_, bucket| {
                bucket.fill(now);
                bucket.left < 2.0 * bucket.rate
            });
            if callers.len() >= MANY {
                // So many at once that no more can be told apart.
                return false;
            }
        }
        let bucket = callers.entry(caller.to_owned()).or_insert(Bucket {
            left: 2.0 * rate,
            rate,
            at: now,
        });
        bucket.fill(now);
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

/// Something that is said ten times a second at most.
#[derive(Debug, Default)]
pub(in crate::api) struct Seldom(Mutex<Option<Said>>);

#[derive(Debug)]
struct Said {
    since: Instant,
    times: u32,
    untold: u64,
}

impl Seldom {
    const MOST: u32 = 10;

    /// Whether it may be said now, and how often it was not said since it was said last.
    pub(in crate::api) fn now(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.get_or_insert(Said {
            since: now,
            times: 0,
            untold: 0,
        });
        if now.saturating_duration_since(said.since).as_secs() >= 1 {
            (said.since, said.times) = (now, 0);
        }
        if said.times == Self::MOST {
            said.untold += 1;
            return None;
        }
        said.times += 1;
        Some(std::mem::take(&mut said.untold))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_asks_too_often_waits_and_nobody_else() {
        let pace = Pace::new(10, 1);
        let begin = Instant::now();
        let times =
            |caller: &str, rate, now| (0..50).filter(|_| pace.take(caller, rate, now)).count();
        assert_eq!(times("cdr", pace.staff, begin), 20);
        assert_eq!(times("web", pace.staff, begin), 20);
        assert_eq!(times("192.0.2.1", pace.other, begin), 2);
        let later = begin + Duration::from_millis(500);
        assert_eq!(times("cdr", pace.staff, later), 5);
        assert_eq!(times("cdr", pace.staff, later + Duration::from_secs(9)), 20);
    }

    #[test]
    fn callers_who_are_quiet_are_forgotten() {
        let pace = Pace::new(1, 1);
        let begin = Instant::now();
        for caller in 0..MANY {
            assert!(pace.take(&caller.to_string(), 1.0, begin));
        }
        assert!(!pace.take("one more", 1.0, begin));
        assert!(pace.take("one more", 1.0, begin + Duration::from_secs(2)));
    }

    #[test]
    fn a_flood_is_a_few_lines() {
        let seldom = Seldom::default();
        let begin = Instant::now();
        let said: Vec<_> = (0..100).filter_map(|_| seldom.at(begin)).collect();
        assert_eq!(said, [0; 10]);
        assert_eq!(seldom.at(begin + Duration::from_secs(1)), Some(90));
    }
}
