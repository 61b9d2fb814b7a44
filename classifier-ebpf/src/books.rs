//! What is counted once per packet, whoever pays: the books of one interface in one direction.
//!
//! They close, to the byte:
//!
//! - packets = IP + non-IP + malformed
//! - IP bytes = attributed + unattributed + dropped + unpriced
//!
//! `attributed` and `dropped` are also the sums over all subscribers' meters; `unpriced` is zero on a node in
//! order (there always is an image). The kernel keeps one set per CPU, so counting needs no atomics, but for events that are
//! lost.

use crate::charge::Direction;
use crate::layout::MAX_CLASSES;

/// A counter of the books: its position in 64-bit words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Cell {
    /// Packets seen.
    Packets = 0,
    /// IP packets among them.
    IpPackets,
    /// Their IP bytes.
    IpBytes,
    /// Packets that are no IP, or none we follow.
    NonIp,
    /// Packets that announce IP and are not.
    Malformed,
    /// Packets charged to a subscriber's meter and passed.
    AttributedPackets,
    /// Their IP bytes.
    AttributedBytes,
    /// Packets of subscribers whose charge is `dropped`.
    DroppedPackets,
    /// Their IP bytes.
    DroppedBytes,
    /// Packets of unknown subscribers that were dropped; also counted as unattributed.
    UnknownDroppedPackets,
    /// Their IP bytes.
    UnknownDroppedBytes,
    /// IP packets that passed without a verdict because no image, or no row, could be read.
    UnpricedPackets,
    /// Their IP bytes.
    UnpricedBytes,
    /// Packets among the dropped ones that were to pass with a mark.
    MarkedPackets,
    /// Their IP bytes.
    MarkedBytes,
    /// Packets that could not be given their tag. Those that were to be marked instead of dropped were dropped.
    UntaggedPackets,
    /// Events that found no room: news that nobody will hear. What was counted is not touched by it.
    EventsLost,
    /// Packets that were to be counted aside and found no room there: they stand in the rows they came too early for, and
    /// so in records of the policy before the one that judged them.
    UnsplitPackets,
    /// First of the unattributed counters: packets and bytes of class 0, of class 1, ...
    Unattributed = 24,
}

const _: () = assert!((Cell::UnsplitPackets as u32) < Cell::Unattributed as u32);

/// 64-bit words of one set of books.
pub const BOOKS_WORDS: usize = Cell::Unattributed as usize + 2 * MAX_CLASSES as usize;

/// One set of books, as a per-CPU map holds it.
pub type Books = [u64; BOOKS_WORDS];

/// Position of the books of an interface, by its number, in one direction.
#[inline(always)]
#[must_use]
pub const fn index(interface: u32, direction: Direction) -> u32 {
    interface * 2 + direction.is_down() as u32
}

impl Cell {
    /// Position of the counter.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }
    /// Position of a class's unattributed packets; its bytes stand behind them.
    #[inline(always)]
    #[must_use]
    pub const fn unattributed(class: u32) -> u32 {
        Self::Unattributed as u32 + 2 * (class & (MAX_CLASSES - 1))
    }
}
