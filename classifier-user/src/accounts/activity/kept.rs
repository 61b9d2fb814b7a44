//! How rows moved since their last records, in 48 bytes each: where a million move between two records it counts.

use std::time::Duration;

use jiff::Timestamp;

use super::Activity;
use crate::accounts::Stamp;

/// Where a row's activity is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    /// It has not moved.
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// The activity of all rows that moved.
#[derive(Debug, Default)]
pub(super) struct Kept {
    slots: Vec<Packed>,
    free: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Packed {
    /// [`FREE`] where nothing is kept.
    since: Stamp,
    last: Stamp,
    /// Nanoseconds.
    active: u64,
    peak_up_bps: u64,
    peak_down_bps: u64,
    line: u32,
}

/// No activity began then.
const FREE: Stamp = Stamp::NEVER;

impl Kept {
    pub(super) fn get(&self, slot: Slot) -> Option<Activity> {
        let packed = self.slots.get(slot.0 as usize)?;
        Some(Activity {
            since: packed.since.time(),
            last: packed.last.time(),
            active: Duration::from_nanos(packed.active),
            peak_up_bps: packed.peak_up_bps,
            peak_down_bps: packed.peak_down_bps,
        })
    }

    /// Keeps it in place of what was kept of the row.
    pub(super) fn put(&mut self, slot: &mut Slot, line: u32, activity: &Activity) {
        let packed = Packed {
            since: activity.since.into(),
            last: activity.last.into(),
            active: u64::try_from(activity.active.as_nanos()).unwrap_or(u64::MAX),
            peak_up_bps: activity.peak_up_bps,
            peak_down_bps: activity.peak_down_bps,
            line,
        };
        if *slot == Slot::NONE {
            *slot = Slot(self.free.pop().unwrap_or(self.slots.len() as u32));
        }
        match self.slots.get_mut(slot.0 as usize) {
            Some(place) => *place = packed,
            None => self.slots.push(packed),
        }
    }

    pub(super) fn take(&mut self, slot: &mut Slot) -> Option<Activity> {
        let activity = self.get(*slot)?;
        self.slots[slot.0 as usize].since = FREE;
        self.free.push(slot.0);
        *slot = Slot::NONE;
        if self.free.len() == self.slots.len() {
            // All are recorded: what so many took is given back.
            *self = Self::default();
        }
        Some(activity)
    }

    /// Whether most of what was taken is free: many ended that had moved.
    pub(super) const fn is_sparse(&self) -> bool {
        self.free.len() > self.slots.len() / 2
    }

    /// Moves what is kept together, and gives the rest back; `slots` are all there are.
    pub(super) fn compact<'a>(&mut self, slots: impl Iterator<Item = &'a mut Slot>) {
        let mut together = Vec::with_capacity(self.slots.len() - self.free.len());
        for slot in slots {
            if let Some(packed) = self.slots.get(slot.0 as usize) {
                *slot = Slot(together.len() as u32);
                together.push(*packed);
            }
        }
        *self = Self {
            slots: together,
            free: Vec::new(),
        };
    }

    /// Lines of the rows, lowest first.
    pub(super) fn lines(&self) -> Vec<u32> {
        let mut lines: Vec<u32> = self.all().map(|packed| packed.line).collect();
        lines.sort_unstable();
        lines
    }

    /// When the first of them began.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.all().map(|packed| packed.since).min().map(Stamp::time)
    }

    fn all(&self) -> impl Iterator<Item = &Packed> {
        self.slots.iter().filter(|packed| packed.since != FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(second: i64) -> Activity {
        Activity {
            since: Timestamp::new(second, 123_456_789).unwrap(),
            last: Timestamp::new(second + 1, 1).unwrap(),
            active: Duration::new(1, 1),
            peak_up_bps: u64::MAX,
            peak_down_bps: 7,
        }
    }

    #[test]
    fn what_is_kept_is_found_to_the_nanosecond_and_places_are_used_again() {
        let mut kept = Kept::default();
        let mut slots = [Slot::NONE; 3];
        for (line, slot) in slots.iter_mut().enumerate() {
            kept.put(slot, 30 - line as u32, &activity(line as i64));
        }
        assert_eq!(kept.get(slots[1]), Some(activity(1)));
        assert_eq!(kept.lines(), [28, 29, 30]);
        assert_eq!(kept.oldest(), Some(activity(0).since));
        // What moved on stays where it was.
        let place = slots[1];
        kept.put(&mut slots[1], 29, &activity(9));
        assert_eq!((slots[1], kept.get(place)), (place, Some(activity(9))));
        assert_eq!(kept.take(&mut slots[0]), Some(activity(0)));
        assert_eq!((slots[0], kept.take(&mut slots[0])), (Slot::NONE, None));
        assert_eq!(kept.lines(), [28, 29]);
        kept.put(&mut slots[0], 5, &activity(4));
        assert_eq!((kept.slots.len(), kept.lines()), (3, vec![5, 28, 29]));
        assert!(!kept.is_sparse());
        assert_eq!(kept.take(&mut slots[1]), Some(activity(9)));
        assert_eq!(kept.take(&mut slots[0]), Some(activity(4)));
        assert!(kept.is_sparse());
        kept.compact(slots.iter_mut());
        assert!(!kept.is_sparse());
        assert_eq!((kept.slots.len(), kept.lines()), (1, vec![28]));
        assert_eq!(kept.get(slots[2]), Some(activity(2)));
        assert_eq!(slots[..2], [Slot::NONE; 2]);
        assert!(kept.take(&mut slots[2]).is_some());
        assert_eq!((kept.slots.capacity(), kept.free.capacity()), (0, 0));
        assert_eq!(kept.oldest(), None);
    }
}
