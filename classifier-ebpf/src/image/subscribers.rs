//! From a subscriber's address to the row that counts for it.
//!
//! One index per family. Addresses of subscribers share their first bits, the pool's: these are compared, the
//! next ones (up to 20) index a table, and what is still open is found in nodes of one cache line for four bits
//! each. So the addresses of a pool are one load apart, whatever their number. Where a single prefix is alone
//! below an entry, it is kept as a record of its own instead of a chain of nodes.
//!
//! An index changes in place while packets read it: every change of an answer is the store of one word.

use super::{DEEPER, LINE_WORDS, Words, at};

/// Where an index's head has what, in words from its beginning.
pub mod head {
    /// First word of the table.
    pub const TABLE: u32 = 0;
    /// Bits all addresses share in the low byte, and 64 minus the bits that index the table in the next.
    pub const BITS: u32 = 1;
    /// The shared bits, as the upper half of an address: two words, 64-bit aligned.
    pub const COMMON: u32 = 2;
}

/// Entry bit: not a row but the line of a [`record`].
pub const LONE: u32 = 1 << 30;

/// Where the record of a single prefix has what, in 64-bit words from its beginning.
pub mod record {
    /// The prefix, upper and lower half.
    pub const PREFIX: u32 = 0;
    /// Its mask, upper and lower half.
    pub const MASK: u32 = 2;
    /// The row, in the low half.
    pub const ROW: u32 = 4;
}

/// Bits a node decides.
pub const NODE_BITS: u32 = 4;
/// Most bits that index a table.
pub const MAX_TABLE_BITS: u32 = 20;
/// Fewest bits that index a table.
pub const MIN_TABLE_BITS: u32 = 8;
/// Most bits taken as shared.
pub const MAX_COMMON_BITS: u32 = 48;
const LEVELS4: u32 = (32 - MIN_TABLE_BITS) / NODE_BITS;
const LEVELS6: u32 = (128 - MIN_TABLE_BITS) / NODE_BITS;

/// An IPv4 address as the upper half of an IPv6 one: its bits stand on the left.
#[inline(always)]
pub(super) fn find4<W: Words>(words: W, address: u32) -> u32 {
    let upper = u64::from(address) << 32;
    let Some((mut entry, mut rest, _)) = enter(words, at::SUBSCRIBERS4, [upper, 0]) else {
        return 0;
    };
    for _ in 0..LEVELS4 {
        if entry & DEEPER == 0 {
            break;
        }
        entry = words.word((entry & !DEEPER) * LINE_WORDS + (rest >> 60) as u32);
        rest <<= NODE_BITS;
    }
    leave(words, entry, [upper, 0])
}

#[inline(always)]
pub(super) fn find6<W: Words>(words: W, address: [u64; 2]) -> u32 {
    let Some((mut entry, mut upper, mut lower)) = enter(words, at::SUBSCRIBERS6, address) else {
        return 0;
    };
    for _ in 0..LEVELS6 {
        if entry & DEEPER == 0 {
            break;
        }
        entry = words.word((entry & !DEEPER) * LINE_WORDS + (upper >> 60) as u32);
        upper = upper << NODE_BITS | lower >> (64 - NODE_BITS);
        lower <<= NODE_BITS;
    }
    leave(words, entry, address)
}

/// The table's entry for an address, and the address's bits behind those that led there; `None` outside the
/// shared bits.
#[inline(always)]
fn enter<W: Words>(words: W, index: u32, address: [u64; 2]) -> Option<(u32, u64, u64)> {
    let bits = words.word(index + head::BITS);
    let (common, shift) = (bits & 63, (bits >> 8) & 63);
    let open = address[0] ^ words.long((index + head::COMMON) / 2);
    let upper = open << common;
    if upper >> common != open {
        return None;
    }
    let upper = upper | (address[1] >> 1) >> (63 - common);
    let lower = address[1] << common;
    let entry = words.word(words.word(index + head::TABLE) + (upper >> shift) as u32);
    let table = 64 - shift;
    Some((
        entry,
        upper << table | (lower >> 1) >> (63 - table),
        lower << table,
    ))
}

/// The row of the entry an address led to.
#[inline(always)]
fn leave<W: Words>(words: W, entry: u32, address: [u64; 2]) -> u32 {
    if entry & LONE == 0 {
        return entry;
    }
    let record = (entry & !LONE) * (LINE_WORDS / 2);
    let differs = |half: usize| {
        (address[half] ^ words.long(record + record::PREFIX + half as u32))
            & words.long(record + record::MASK + half as u32)
    };
    if differs(0) | differs(1) != 0 {
        return 0;
    }
    words.long(record + record::ROW) as u32
}
