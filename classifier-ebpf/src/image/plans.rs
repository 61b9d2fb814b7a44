//! From a plan layout and a class to who pays: one entry of four words for each pair, so that a packet reads
//! sixteen bytes and no more.

use super::{Words, at};
use crate::layout::{MAX_BUCKETS, MAX_STEPS};

/// Words of an entry.
pub const ENTRY_WORDS: u32 = 4;
/// Of an entry: the word with the meters of its ends, and the flags.
const ENDS: u32 = 2;
/// Words from one plan layout's entries to the next's: room for every class.
pub const PLAN_WORDS: u32 = 64 * ENTRY_WORDS;

#[inline(always)]
pub(super) fn chain<W: Words>(words: W, plan: u32, class: u32) -> Chain {
    let entry = (words.head(at::PLANS) + plan * PLAN_WORDS + class * ENTRY_WORDS) / 2;
    let (steps, rest) = (words.long(entry), words.long(entry + 1));
    Chain {
        buckets: Steps(steps as u32),
        meters: Steps((steps >> 32) as u32),
        ends: rest as u32,
        gate: Steps((rest >> 32) as u32),
    }
}

/// Whether a plan layout's packets pass and draw from no bucket, whatever the remote is: what every entry of it says, that of
/// the first class too.
#[inline(always)]
pub(super) fn passes<W: Words>(words: W, plan: u32) -> bool {
    words.word(words.head(at::PLANS) + plan * PLAN_WORDS + ENDS) & Chain::PLAN_PASSES != 0
}

/// A plan layout's low marks stand beside each other, one 64-bit word for each of its buckets: a cache line.
#[inline(always)]
pub(super) fn low<W: Words>(words: W, plan: u32, bucket: u32) -> i64 {
    words.long(words.head(at::LOW) + plan * MAX_BUCKETS + (bucket & (MAX_BUCKETS - 1))) as i64
}

/// Up to four bytes in a word: bucket numbers, or meter numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps(u32);

impl Steps {
    const NONE: u32 = 0xff;

    /// The byte at a position below four, if there is one. A mark and not a length ends the steps, so that
    /// loops over them have a constant bound in the eyes of the compiler, and of the verifier.
    #[inline(always)]
    #[must_use]
    pub const fn get(self, step: u32) -> Option<u32> {
        match (self.0 >> (step * 8)) & 0xff {
            Self::NONE => None,
            value => Some(value),
        }
    }
    /// Whether there is no byte.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.get(0).is_none()
    }
    /// Packs at most four bytes.
    #[must_use]
    pub fn pack(values: impl IntoIterator<Item = u8>) -> u32 {
        let mut bytes = [Self::NONE as u8; MAX_STEPS as usize];
        for (byte, value) in bytes.iter_mut().zip(values) {
            *byte = value;
        }
        u32::from_le_bytes(bytes)
    }
}

/// Who pays for a class under a plan: bucket steps with the meter each counts into, then an end; the plan's gate;
/// and the plan's and the class's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Plan bucket number of each step.
    pub buckets: Steps,
    /// Meter number of each step.
    pub meters: Steps,
    /// Plan bucket numbers of the gate.
    pub gate: Steps,
    /// Three meters, then the flags.
    ends: u32,
}

impl Chain {
    /// Flag: the class is essential.
    pub const ESSENTIAL: u32 = 1 << 24;
    /// Flag: the chain's end lets the packet pass (`free`, `metered`).
    pub const END_PASSES: u32 = 2 << 24;
    /// Flag: a bucket is asked, of the gate or of the chain; never where the chain is `free` and nothing else.
    pub const ASKS_BUCKETS: u32 = 4 << 24;
    /// Flag: the plan says `suspension = "ignore"`.
    pub const SUSPENSION_IGNORED: u32 = 8 << 24;
    /// Flag: what the subscriber sends draws buckets down.
    pub const COUNT_UP: u32 = 16 << 24;
    /// Flag: what the subscriber receives draws buckets down.
    pub const COUNT_DOWN: u32 = 32 << 24;
    /// Flag: the chain's end is `free`.
    pub const END_FREE: u32 = 64 << 24;
    /// Flag of every class's entry: the plan asks no bucket and drops nothing, whatever the class, but for who is suspended.
    pub const PLAN_PASSES: u32 = 128 << 24;

    /// Whether the class is essential.
    #[inline(always)]
    #[must_use]
    pub const fn essential(self) -> bool {
        self.ends & Self::ESSENTIAL != 0
    }
    /// Whether a bucket is asked. One bit, because the answer differs from packet to packet where anything else about the
    /// chains does not.
    #[inline(always)]
    #[must_use]
    pub const fn asks_buckets(self) -> bool {
        self.ends & Self::ASKS_BUCKETS != 0
    }
    /// Whether a packet that reaches the end passes.
    #[inline(always)]
    #[must_use]
    pub const fn end_passes(self) -> bool {
        self.ends & Self::END_PASSES != 0
    }
    /// Whether a packet that reaches the end is free.
    #[inline(always)]
    #[must_use]
    pub const fn end_is_free(self) -> bool {
        self.ends & Self::END_FREE != 0
    }
    /// Whether suspension does not bind on this plan.
    #[inline(always)]
    #[must_use]
    pub const fn suspension_ignored(self) -> bool {
        self.ends & Self::SUSPENSION_IGNORED != 0
    }
    /// Whether a direction draws buckets down.
    #[inline(always)]
    #[must_use]
    pub const fn draws(self, down: bool) -> bool {
        self.ends
            & if down {
                Self::COUNT_DOWN
            } else {
                Self::COUNT_UP
            }
            != 0
    }
    /// Meter of the end `free` or `metered`; also where the last step bounds what is metered, and counts into it.
    #[inline(always)]
    #[must_use]
    pub const fn end_meter(self) -> u32 {
        self.ends & 0xff
    }
    /// Meter of what is dropped in this class.
    #[inline(always)]
    #[must_use]
    pub const fn dropped_meter(self) -> u32 {
        (self.ends >> 8) & 0xff
    }
    /// Meter of what is charged free because the class is essential.
    #[inline(always)]
    #[must_use]
    pub const fn free_meter(self) -> u32 {
        (self.ends >> 16) & 0xff
    }
}
