//! What a packet has to say beside its charge: a bucket runs low or out, a meter counts for the first time.
//!
//! Events are news, not accounts: where there is no room for one it is counted as lost, and the packet goes its way.
//! What is counted and drawn never depends on them.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// What is left in a bucket fell to its low mark, from above. The number is the plan's for the bucket.
    Low = 1,
    /// What is left in a bucket fell to zero or below, from above. The number is the plan's for the bucket.
    Empty,
    /// A packet passed in a meter that had counted none. The number is the meter's.
    Used,
    /// A packet was dropped in a meter that had counted none. The number is the meter's.
    Blocked,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Low, Self::Empty, Self::Used, Self::Blocked];

    /// Its bit among the kinds that are wanted.
    #[inline(always)]
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u16
    }

    /// The kind that is written so.
    #[must_use]
    pub fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u16 == number)
    }
}

/// An event, as it stands in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When: nanoseconds of CLOCK_MONOTONIC_COARSE, the kernel's tick. Whoever keeps the event sets it.
    pub time: u64,
    /// What is left in the bucket, in bytes; 0 where it is about a meter.
    pub left: i64,
    /// First line of the row the packet was counted in.
    pub line: u32,
    /// Number of the bucket, or of the meter.
    pub number: u16,
    /// A [`Kind`].
    pub kind: u16,
}

/// Bytes of an event.
pub const EVENT_BYTES: usize = 24;
const _: () = assert!(size_of::<Event>() == EVENT_BYTES);

impl Event {
    /// An event that nobody has kept yet.
    #[inline(always)]
    #[must_use]
    pub const fn new(kind: Kind, line: u32, number: u32, left: i64) -> Self {
        Self {
            time: 0,
            left,
            line,
            number: number as u16,
            kind: kind as u16,
        }
    }

    /// Orders events of several CPUs: by time, and those of one tick as they follow from each other.
    #[must_use]
    pub fn order(&self) -> (u64, u8) {
        let follows = match Kind::of(self.kind) {
            Some(Kind::Used) => 0,
            Some(Kind::Low) => 1,
            Some(Kind::Empty) => 2,
            Some(Kind::Blocked) | None => 3,
        };
        (self.time, follows)
    }

    /// From its bytes in the ring.
    #[must_use]
    pub fn of_bytes(bytes: &[u8; EVENT_BYTES]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        debug_assert!(rest.is_empty());
        let last = u64::from_le_bytes(words[2]);
        Self {
            time: u64::from_le_bytes(words[0]),
            left: i64::from_le_bytes(words[1]),
            line: last as u32,
            number: (last >> 32) as u16,
            kind: (last >> 48) as u16,
        }
    }
}

/// What the fall of a bucket from `before` by `bytes` is to whoever is told of it: its low mark was passed, and it
/// ran out. `low` is zero where there is no such mark.
#[inline(always)]
#[must_use]
pub const fn fallen(before: i64, bytes: u32, low: i64) -> Fall {
    let after = before - bytes as i64;
    Fall {
        low: before > low && after <= low && low > 0,
        empty: before > 0 && after <= 0,
        left: after,
    }
}

/// See [`fallen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fall {
    /// Its low mark was passed.
    pub low: bool,
    /// It ran out.
    pub empty: bool,
    /// What is left.
    pub left: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let event = Event {
            time: 0x0102_0304_0506_0708,
            left: -1500,
            line: 0xfeed_beef,
            number: 254,
            kind: Kind::Blocked as u16,
        };
        let mut bytes = [0; EVENT_BYTES];
        bytes[..8].copy_from_slice(&event.time.to_le_bytes());
        bytes[8..16].copy_from_slice(&event.left.to_le_bytes());
        bytes[16..20].copy_from_slice(&event.line.to_le_bytes());
        bytes[20..22].copy_from_slice(&event.number.to_le_bytes());
        bytes[22..].copy_from_slice(&event.kind.to_le_bytes());
        assert_eq!(Event::of_bytes(&bytes), event);
        assert_eq!(Kind::of(event.kind), Some(Kind::Blocked));
        assert_eq!((Kind::of(0), Kind::of(5)), (None, None));
    }

    #[test]
    fn a_mark_is_passed_once_on_the_way_down() {
        let passed = |before, bytes| {
            let fall = fallen(before, bytes, 100);
            (fall.low, fall.empty)
        };
        assert_eq!(passed(102, 1), (false, false));
        assert_eq!(passed(101, 1), (true, false));
        assert_eq!(passed(100, 1), (false, false));
        assert_eq!(passed(1, 1), (false, true));
        assert_eq!(passed(101, 200), (true, true));
        assert_eq!(passed(0, 1500), (false, false));
        assert_eq!(passed(-20, 1500), (false, false));
        // Without a low mark.
        assert_eq!(
            fallen(10, 10, 0),
            Fall {
                low: false,
                empty: true,
                left: 0
            }
        );
    }
}
