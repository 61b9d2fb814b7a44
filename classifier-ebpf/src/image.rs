//! Reading a policy image: one flat table of 32-bit words that answers, for any address, which service class
//! it is and whose it is, and, for any plan, who pays for a class.
//!
//! The image is compiled whole in user space and never changed after it was published; a change of policy is
//! another image and one pointer swap. Positions inside are word numbers, so an image is the same bytes in a
//! kernel map, in a file and in memory. The compiler's half of this module is `classifier-user`'s `image`.
//!
//! | section | shape |
//! |---|---|
//! | header | [`HEADER_WORDS`] words, see [`at`] |
//! | address tables, IPv4 | 2^16 entries for the upper 16 bits, then nodes of 256 entries for the next 8, then groups of 256 for the last 8 |
//! | address tables, IPv6 | elementary intervals sorted by first address, with an index on the upper 16 bits |
//! | plans | one entry per plan layout: flags and gate, then four words per class |
//!
//! To change how addresses are looked up is to change this module and its compiler, nothing else.

use crate::layout::{LAYOUT_VERSION, MAX_CLASSES, MAX_STEPS};

/// A policy image, however it is held.
pub trait Words: Copy {
    /// The word at `index`. Out of range is the holder's to make harmless (a masked read, or zero): a
    /// compiled image never asks for it.
    fn word(self, index: u32) -> u32;
    /// The 64-bit word at `index`, counted in 64-bit words.
    fn long(self, index: u32) -> u64;
}

/// `ZRIM`: what the first word of an image is.
pub const MAGIC: u32 = 0x5a52_494d;
/// Words of the header.
pub const HEADER_WORDS: u32 = 64;
/// Words of a plan entry before its classes.
pub const PLAN_HEAD_WORDS: u32 = 4;
/// Words of a plan entry per class.
pub const PLAN_CLASS_WORDS: u32 = 4;

/// Where things stand in the header, in words.
pub mod at {
    /// [`super::MAGIC`].
    pub const MAGIC: u32 = 0;
    /// [`crate::layout::LAYOUT_VERSION`].
    pub const LAYOUT: u32 = 1;
    /// Counts up with every image a node publishes.
    pub const SERIAL: u32 = 2;
    /// Words in use.
    pub const LENGTH: u32 = 3;
    /// First word of the plans.
    pub const PLANS: u32 = 4;
    /// Words from one plan entry to the next.
    pub const PLAN_STRIDE: u32 = 5;
    /// Plan entries.
    pub const PLAN_COUNT: u32 = 6;
    /// The table from remote address to class: its four words are below.
    pub const REMOTES: u32 = 8;
    /// The table from subscriber address to row.
    pub const SUBSCRIBERS: u32 = 16;
    /// Of a table: first word of the IPv4 top level.
    pub const V4_TOP: u32 = 0;
    /// Of a table: first word of the IPv6 index.
    pub const V6_INDEX: u32 = 1;
    /// Of a table: first interval key of IPv6, in 64-bit words.
    pub const V6_KEYS: u32 = 2;
    /// Of a table: first interval value of IPv6.
    pub const V6_VALUES: u32 = 3;
}

/// Entry bit: not a value, but the first word of the 256 entries one level down.
pub const DEEPER: u32 = 1 << 31;
/// Steps of the search among IPv6 intervals.
const SEARCH_STEPS: u32 = 24;
/// Most intervals of an IPv6 table: what the search can tell apart, were they all behind one index entry.
pub const MAX_INTERVALS6: usize = (1 << SEARCH_STEPS) - 1;

/// What an address is: a class, and whether packets from or to it keep the link alive, so that they pass even
/// where packets of unknown subscribers are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote(u32);

impl Remote {
    /// Leaf bit: a source that has no address of its own yet, or a link-local one.
    pub const LINK_SOURCE: u32 = MAX_CLASSES;
    /// Leaf bit: multicast, broadcast, link-local, or the gateway itself.
    pub const LINK_DESTINATION: u32 = MAX_CLASSES << 1;

    /// Number of the service class.
    #[inline(always)]
    #[must_use]
    pub const fn class(self) -> u32 {
        self.0 & (MAX_CLASSES - 1)
    }
    /// Whether packets from this address keep the link alive.
    #[inline(always)]
    #[must_use]
    pub const fn is_link_source(self) -> bool {
        self.0 & Self::LINK_SOURCE != 0
    }
    /// Whether packets to this address keep the link and the gateway alive.
    #[inline(always)]
    #[must_use]
    pub const fn is_link_destination(self) -> bool {
        self.0 & Self::LINK_DESTINATION != 0
    }
}

/// An image that was found to be one.
#[derive(Debug, Clone, Copy)]
pub struct Image<W>(W);

impl<W: Words> Image<W> {
    /// Takes the words for an image if they say they are one of this layout.
    #[inline(always)]
    pub fn new(words: W) -> Option<Self> {
        let known = words.word(at::MAGIC) == MAGIC && words.word(at::LAYOUT) == LAYOUT_VERSION;
        known.then_some(Self(words))
    }

    /// Serial number of the image.
    #[inline(always)]
    pub fn serial(self) -> u32 {
        self.0.word(at::SERIAL)
    }

    /// What an IPv4 address is as a remote.
    #[inline(always)]
    pub fn remote4(self, address: u32) -> Remote {
        Remote(self.find4(at::REMOTES, address))
    }
    /// What an IPv6 address is as a remote.
    #[inline(always)]
    pub fn remote6(self, address: [u64; 2]) -> Remote {
        Remote(self.find6(at::REMOTES, address))
    }
    /// The row line of the subscriber who holds an IPv4 address; 0 when nobody does.
    #[inline(always)]
    pub fn row4(self, address: u32) -> u32 {
        self.find4(at::SUBSCRIBERS, address)
    }
    /// The row line of the subscriber who holds an IPv6 address; 0 when nobody does.
    #[inline(always)]
    pub fn row6(self, address: [u64; 2]) -> u32 {
        self.find6(at::SUBSCRIBERS, address)
    }

    #[inline(always)]
    fn find4(self, table: u32, address: u32) -> u32 {
        let top = self.0.word(table + at::V4_TOP);
        let mut entry = self.0.word(top + (address >> 16));
        if entry & DEEPER != 0 {
            entry = self.0.word((entry & !DEEPER) + ((address >> 8) & 0xff));
            if entry & DEEPER != 0 {
                entry = self.0.word((entry & !DEEPER) + (address & 0xff));
            }
        }
        entry
    }

    #[inline(always)]
    fn find6(self, table: u32, address: [u64; 2]) -> u32 {
        let index = self.0.word(table + at::V6_INDEX) + (address[0] >> 48) as u32;
        let keys = self.0.word(table + at::V6_KEYS);
        // The interval that covers the first address behind an index entry may begin before it, so the search
        // starts one earlier. The compiler begins the list with ::, so there always is one.
        let mut first = self.0.word(index);
        let mut count = self.0.word(index + 1).wrapping_sub(first) + 1;
        first = first.wrapping_sub(1);
        for _ in 0..SEARCH_STEPS {
            if count <= 1 {
                break;
            }
            let half = count >> 1;
            let key = keys + (first + half) * 2;
            let upper = self.0.long(key);
            if upper < address[0] || upper == address[0] && self.0.long(key + 1) <= address[1] {
                first += half;
                count -= half;
            } else {
                count = half;
            }
        }
        self.0.word(self.0.word(table + at::V6_VALUES) + first)
    }

    /// The entry of a plan layout.
    #[inline(always)]
    pub fn plan(self, plan: u32) -> Plan<W> {
        let base = self.0.word(at::PLANS) + plan * self.0.word(at::PLAN_STRIDE);
        Plan {
            words: self.0,
            base,
            flags: self.0.word(base),
        }
    }
}

/// A plan's entry in the image.
#[derive(Debug, Clone, Copy)]
pub struct Plan<W> {
    words: W,
    base: u32,
    flags: u32,
}

impl<W: Words> Plan<W> {
    /// Flag: the plan says `suspension = "ignore"`.
    pub const SUSPENSION_IGNORED: u32 = 1;
    /// Flag: what the subscriber sends draws buckets down.
    pub const COUNT_UP: u32 = 2;
    /// Flag: what the subscriber receives draws buckets down.
    pub const COUNT_DOWN: u32 = 4;

    /// Whether suspension does not bind on this plan.
    #[inline(always)]
    pub fn suspension_ignored(&self) -> bool {
        self.flags & Self::SUSPENSION_IGNORED != 0
    }
    /// Whether a direction draws buckets down.
    #[inline(always)]
    pub fn draws(&self, down: bool) -> bool {
        self.flags
            & if down {
                Self::COUNT_DOWN
            } else {
                Self::COUNT_UP
            }
            != 0
    }
    /// The gate's buckets, plan bucket numbers, one a byte.
    #[inline(always)]
    pub fn gate(&self) -> Steps {
        Steps(self.words.word(self.base + 1))
    }
    /// Who pays for a class.
    #[inline(always)]
    pub fn chain(&self, class: u32) -> Chain {
        let base = self.base + PLAN_HEAD_WORDS + class * PLAN_CLASS_WORDS;
        Chain {
            buckets: Steps(self.words.word(base)),
            meters: Steps(self.words.word(base + 1)),
            ends: self.words.word(base + 2),
            flags: self.words.word(base + 3),
        }
    }
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

/// A charge chain as the image holds it: bucket steps with the meter each counts into, then an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Plan bucket number of each step.
    pub buckets: Steps,
    /// Meter number of each step.
    pub meters: Steps,
    ends: u32,
    flags: u32,
}

impl Chain {
    /// Flag: the class is essential.
    pub const ESSENTIAL: u32 = 1;
    /// Flag: the chain's end lets the packet pass (`free`, `metered`).
    pub const END_PASSES: u32 = 2;
    /// Flag: the chain is `free` and nothing else.
    pub const FREE: u32 = 4;
    /// Whether the class is essential.
    #[inline(always)]
    #[must_use]
    pub const fn essential(self) -> bool {
        self.flags & Self::ESSENTIAL != 0
    }
    /// Whether the chain is `free` and nothing else.
    #[inline(always)]
    #[must_use]
    pub const fn free(self) -> bool {
        self.flags & Self::FREE != 0
    }
    /// Whether a packet that reaches the end passes.
    #[inline(always)]
    #[must_use]
    pub const fn end_passes(self) -> bool {
        self.flags & Self::END_PASSES != 0
    }
    /// Meter of the end `free` or `metered`.
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
