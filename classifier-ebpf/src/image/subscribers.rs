//! From a subscriber's address to the row that counts for it.
//!
//! One index per family. Addresses of subscribers share their first bits: these are compared, the next ones index a
//! table, and what is still open is found in nodes, each for as many bits as its addresses fill: up to 2^20 entries
//! for a pool, sixteen where there are few. So the addresses of one pool are one load apart, whatever their number,
//! and those of several two. Where a single prefix is alone below an entry, it is kept as a record of its own instead
//! of a chain of nodes; where the rows of neighbours stand in memory as their addresses do, one entry is a *run* that
//! answers for all of them, and the table of a pool shrinks to what stays in the cache.
//!
//! An index changes in place while packets read it: every change of an answer is the store of one word.

use super::{DEEPER, LINE_WORDS, Words, at};

/// Where an index's head has what, in words from its beginning.
pub mod head {
    /// First entry of the table, in 64-bit words.
    pub const TABLE: u32 = 0;
    /// Bits all addresses share in the low byte, and these and those that index the table in the next: 63 at most.
    pub const BITS: u32 = 1;
    /// The shared bits, as the upper half of an address: two words, 64-bit aligned.
    pub const COMMON: u32 = 2;
    /// The greatest upper half of an address without its shared bits, likewise.
    pub const LIMIT: u32 = 4;
}

/// Who a subscriber's address belongs to: what a packet needs to know before its row has been read. An entry of a
/// table or node, 64 bits: in the low half the row's first line (or, marked by [`DEEPER`] or [`LONE`], where to look
/// on), in the high half the plan layout and the subscriber's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Binding(u64);

impl Binding {
    const SUSPENDED: u64 = 1 << 48;
    const BLOCK_BEFORE: u64 = 1 << 62;
    /// Of a run: where the bits it answers for, and the lines from one row to the next, stand.
    const RUN_BITS: u32 = 49;
    const RUN_STRIDE: u32 = 54;
    /// Most lines from one row of a run to the next.
    pub const MAX_STRIDE: u32 = 255;
    /// Plan layouts there can be.
    pub const MAX_PLANS: u32 = 1 << 16;

    /// The binding of an address to a row.
    #[must_use]
    pub const fn new(line: u32, plan: u32, suspended: bool) -> Self {
        let plan = (plan & (Self::MAX_PLANS - 1)) as u64;
        Self(line as u64 | plan << 32 | if suspended { Self::SUSPENDED } else { 0 })
    }
    /// Says that the subscriber's bucket block is the line before the row.
    #[must_use]
    pub const fn with_block_before(self) -> Self {
        Self(self.0 | Self::BLOCK_BEFORE)
    }
    /// A run: this binding is the first of those for the next `bits` bits of an address, whose rows are `stride` lines
    /// apart.
    #[must_use]
    pub const fn run(self, bits: u32, stride: u32) -> u64 {
        self.0 | RUN as u64 | (bits as u64) << Self::RUN_BITS | (stride as u64) << Self::RUN_STRIDE
    }
    /// The binding of a run's number-th address; the run is an entry that is marked [`RUN`].
    #[inline(always)]
    #[must_use]
    pub const fn of_run(self, number: u32) -> Self {
        let stride = (self.0 >> Self::RUN_STRIDE) & Self::MAX_STRIDE as u64;
        let line = (self.0 as u32 & !RUN).wrapping_add(number.wrapping_mul(stride as u32));
        let kept = ((1 << Self::RUN_BITS) - (1 << 32)) | Self::BLOCK_BEFORE;
        Self(self.0 & kept | line as u64)
    }
    /// How many bits of an address a run answers for.
    #[inline(always)]
    #[must_use]
    pub const fn run_bits(self) -> u32 {
        (self.0 >> Self::RUN_BITS) as u32 & 31
    }
    /// An entry of an index.
    #[must_use]
    pub const fn of_word(word: u64) -> Self {
        Self(word)
    }
    /// As it stands in an index.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }
    /// First line of the row that counts; 0 when the address is nobody's.
    #[inline(always)]
    #[must_use]
    pub const fn line(self) -> u32 {
        self.0 as u32
    }
    /// Number of the plan layout.
    #[inline(always)]
    #[must_use]
    pub const fn plan(self) -> u32 {
        (self.0 >> 32) as u32 & (Self::MAX_PLANS - 1)
    }
    /// Of an entry that is marked [`DEEPER`]: how many bits the node decides.
    #[inline(always)]
    #[must_use]
    pub const fn node_bits(self) -> u32 {
        (self.0 >> 32) as u32 & 31
    }
    /// Whether the subscriber's bucket block is the line before the row.
    #[inline(always)]
    #[must_use]
    pub const fn has_block_before(self) -> bool {
        self.0 & Self::BLOCK_BEFORE != 0
    }
    /// The same, of a subscriber that is suspended, or is not.
    #[must_use]
    pub const fn with_suspended(self, suspended: bool) -> Self {
        Self(self.0 & !Self::SUSPENDED | if suspended { Self::SUSPENDED } else { 0 })
    }
    /// Whether the subscriber is suspended.
    #[inline(always)]
    #[must_use]
    pub const fn is_suspended(self) -> bool {
        self.0 & Self::SUSPENDED != 0
    }
}

/// Entry bit: not a row but the record of a single prefix, at this line.
pub const LONE: u32 = 1 << 30;

/// Entry bit: not the binding of one prefix but the first of a run.
pub const RUN: u32 = 1 << 29;

/// Where the record of a single prefix has what, in 64-bit words from its beginning.
pub mod record {
    /// The prefix, upper and lower half.
    pub const PREFIX: u32 = 0;
    /// Its mask, upper and lower half.
    pub const MASK: u32 = 2;
    /// The binding.
    pub const BINDING: u32 = 4;
}

/// Bits the smallest node decides.
pub const NODE_BITS: u32 = 4;
/// Most bits a table or a node decides.
pub const MAX_NODE_BITS: u32 = 20;
/// Fewest bits a table decides.
pub const MIN_TABLE_BITS: u32 = 8;
/// Most bits taken as shared.
pub const MAX_COMMON_BITS: u32 = 63 - MAX_NODE_BITS;
const LEVELS4: u32 = (32 - MIN_TABLE_BITS) / NODE_BITS;
const LEVELS6: u32 = (128 - MIN_TABLE_BITS) / NODE_BITS;

/// Lines of the smallest node.
pub const NODE_LINES: u32 = 2;
const NODE_ENTRIES: u32 = 1 << NODE_BITS;
const _: () = assert!(NODE_ENTRIES * 8 == NODE_LINES * LINE_WORDS * 4);

/// An IPv4 address as the upper half of an IPv6 one: its bits stand on the left.
#[inline(always)]
pub(super) fn find4<W: Words>(words: W, address: u32) -> Binding {
    let upper = u64::from(address) << 32;
    let Some((mut entry, decided)) = enter(words, at::SUBSCRIBERS4, upper) else {
        return Binding::default();
    };
    let mut rest = upper << decided;
    for _ in 0..LEVELS4 {
        if entry.line() & DEEPER == 0 {
            break;
        }
        let bits = entry.node_bits();
        entry = below(words, entry, rest);
        rest <<= bits;
    }
    leave(words, entry, rest, [upper, 0])
}

#[inline(always)]
pub(super) fn find6<W: Words>(words: W, address: [u64; 2]) -> Binding {
    let Some((mut entry, decided)) = enter(words, at::SUBSCRIBERS6, address[0]) else {
        return Binding::default();
    };
    let mut upper = address[0] << decided | (address[1] >> 1) >> (63 - decided);
    let mut lower = address[1] << decided;
    for _ in 0..LEVELS6 {
        if entry.line() & DEEPER == 0 {
            break;
        }
        let bits = entry.node_bits();
        entry = below(words, entry, upper);
        upper = upper << bits | (lower >> 1) >> (63 - bits);
        lower <<= bits;
    }
    leave(words, entry, upper, address)
}

/// The table's entry for the upper half of an address, and how many bits led to it; `None` outside the shared bits.
#[inline(always)]
fn enter<W: Words>(words: W, index: u32, upper: u64) -> Option<(Binding, u32)> {
    let open = upper ^ words.long_head((index + head::COMMON) / 2);
    if open > words.long_head((index + head::LIMIT) / 2) {
        return None;
    }
    let decided = (words.head(index + head::BITS) >> 8) & 63;
    let number = (open >> ((64 - decided) & 63)) as u32;
    let entry = words.long(words.head(index + head::TABLE) + number);
    Some((Binding(entry), decided))
}

/// The entry of the node behind an entry for the next bits of an address.
#[inline(always)]
fn below<W: Words>(words: W, entry: Binding, rest: u64) -> Binding {
    let node = (entry.line() & !DEEPER) * (LINE_WORDS / 2);
    Binding(words.long(node + ((rest >> 1) >> (63 - entry.node_bits())) as u32))
}

/// The binding the entry for an address stands for; `rest` are the bits behind those that led to it.
#[inline(always)]
fn leave<W: Words>(words: W, entry: Binding, rest: u64, address: [u64; 2]) -> Binding {
    if entry.line() & (LONE | RUN) == 0 {
        return entry;
    }
    if entry.line() & RUN != 0 {
        return entry.of_run(((rest >> 1) >> (63 - entry.run_bits())) as u32);
    }
    let record = (entry.line() & !LONE) * (LINE_WORDS / 2);
    let differs = |half: usize| {
        (address[half] ^ words.long(record + record::PREFIX + half as u32))
            & words.long(record + record::MASK + half as u32)
    };
    if differs(0) | differs(1) != 0 {
        return Binding::default();
    }
    Binding(words.long(record + record::BINDING))
}
