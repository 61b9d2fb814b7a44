//! From a remote address to its service class.
//!
//! IPv4: 2^16 entries of 16 bits for the upper half of the address, each the number of a node; in the node half a byte
//! for each /24, or a byte where there are classes of high numbers; and one byte for each address where those of a /24
//! differ. Those /16 that are one class throughout share a node. Nearly every address of a full routing table is found
//! with one load that can miss the cache.
//!
//! IPv6: 2^16 entries for the upper 16 bits; where these do not decide, as many more bits as make the parts small
//! (a second level of 2^k entries); then a search tree over elementary intervals, whose nodes are one cache line
//! each and compare the next 32 bits. What differs only behind those is *long*: it is searched for among the
//! whole addresses of the few intervals that share the 32 bits.

use super::{DEEPER, Words, at};
use crate::layout::MAX_CLASSES;

/// Words of a wide IPv4 node, bytes. Wide ones stand behind all narrow ones.
pub const WIDE4_WORDS: u32 = 64;
/// Words of a narrow one, half bytes, the even /24 in the lower half.
pub const NARROW4_WORDS: u32 = 32;
/// Like [`ESCAPE`], in a narrow node.
pub const NARROW_ESCAPE: u32 = 0xf;
/// Value byte of an IPv4 node that stands for "look at the last byte of the address", and of an IPv6 leaf for
/// "look at the whole address". What happens to have this value is put there too.
pub const ESCAPE: u32 = 0xff;

/// Of an IPv6 top entry: where the second level's shift stands.
pub const SHIFT_BIT: u32 = 27;
/// Most bits of the second level.
pub const MAX_SHIFT: u32 = 15;
/// Of an IPv6 second-level entry: where the depth of the tree stands.
pub const DEPTH_BIT: u32 = 28;
/// Most inner nodes above a leaf: 16^6 × 12 intervals behind one entry.
pub const MAX_DEPTH: u32 = 6;
/// Children of an inner node: 15 bounds between them, and in the last word the first child's line.
pub const INNER_CHILDREN: u32 = 16;
/// Intervals of a leaf: 11 bounds between them, 12 value bytes, and where its long intervals are described.
pub const LEAF_INTERVALS: u32 = 12;
/// Of a leaf: the word its value bytes begin in.
pub const LEAF_VALUES: u32 = 11;
/// Of a leaf: the word that says where long intervals are described, two words for each position: first and
/// count.
pub const LEAF_LONG: u32 = 14;
/// Steps of the search among long intervals, and so the binary logarithm of how many can share 32 bits.
pub const LONG_STEPS: u32 = 24;

/// What an address is: a class, and whether packets from or to it keep the link alive, so that they pass even
/// where packets of unknown subscribers are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote(u32);

impl Remote {
    /// Bit: a source that has no address of its own yet, or a link-local one.
    pub const LINK_SOURCE: u32 = MAX_CLASSES;
    /// Bit: multicast, broadcast, link-local, or the gateway itself.
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
const _: () = assert!(MAX_CLASSES << 2 == 256, "values are bytes");

/// The node of an IPv4 address, and what stands there for its /24.
#[inline(always)]
pub(super) fn in_node4<W: Words>(words: W, address: u32) -> (u32, u32) {
    let node = words.half(words.head(at::REMOTES4) * 2 + (address >> 16));
    let octet = (address >> 8) & 0xff;
    let (nodes, narrow) = (words.head(at::NODES4), words.head(at::NARROW4));
    let value = if node < narrow {
        let pair = words.byte((nodes + node * NARROW4_WORDS) * 4 + (octet >> 1));
        match (pair >> ((octet & 1) * 4)) & NARROW_ESCAPE {
            NARROW_ESCAPE => ESCAPE,
            value => value,
        }
    } else {
        let wide = nodes + narrow * NARROW4_WORDS + (node - narrow) * WIDE4_WORDS;
        words.byte(wide * 4 + octet)
    };
    (node, value)
}

#[inline(always)]
pub(super) fn find4<W: Words>(words: W, address: u32) -> Remote {
    let (node, value) = in_node4(words, address);
    if value != ESCAPE {
        return Remote(value);
    }
    // The node's groups: which one each /24 has, then the groups of 256 bytes.
    let groups = words.word(words.head(at::GROUPS4) + node) * 4;
    let group = words.byte(groups + ((address >> 8) & 0xff));
    Remote(words.byte(groups + 256 + group * 256 + (address & 0xff)))
}

#[inline(always)]
pub(super) fn find6<W: Words>(words: W, address: [u64; 2]) -> Remote {
    let top = words.word(words.head(at::REMOTES6) + (address[0] >> 48) as u32);
    if top & DEEPER == 0 {
        return Remote(top);
    }
    let shift = (top >> SHIFT_BIT) & MAX_SHIFT;
    let rest = address[0] << 16;
    let second = (top & ((1 << SHIFT_BIT) - 1)) + ((rest >> 1) >> (63 - shift)) as u32;
    let entry = words.word(words.head(at::REMOTES6_SECOND) + second);
    if entry & DEEPER == 0 {
        return Remote(entry);
    }
    let digit = (rest << shift) >> 32;
    let lines = words.head(at::REMOTES6_LINES);
    let mut line = entry & ((1 << DEPTH_BIT) - 1);
    let depth = (entry & !DEEPER) >> DEPTH_BIT;
    for level in 0..MAX_DEPTH {
        if level >= depth {
            break;
        }
        let node = words.line(lines + line);
        line = words.in_line(node, INNER_CHILDREN - 1)
            + position::<W, { INNER_CHILDREN - 1 }>(words, node, digit);
    }
    let leaf = words.line(lines + line);
    let position = position::<W, { LEAF_INTERVALS - 1 }>(words, leaf, digit);
    let value = words.byte(((lines + line) * super::LINE_WORDS + LEAF_VALUES) * 4 + position);
    if value != ESCAPE {
        return Remote(value);
    }
    let long = words.in_line(leaf, LEAF_LONG) + position * 2;
    Remote(find_long(
        words,
        words.word(long),
        words.word(long + 1),
        address,
    ))
}

/// How many of a node's first `N` words, the last digits of its intervals, lie below `digit`. Without branches:
/// none of them could be foreseen.
#[inline(always)]
fn position<W: Words, const N: u32>(words: W, line: W::Line, digit: u64) -> u32 {
    let mut below = 0;
    for bound in 0..N {
        below += words.is_below(line, bound, digit);
    }
    below as u32
}

/// The value of the last of `count` intervals that begins at or before an address.
#[inline(always)]
fn find_long<W: Words>(words: W, mut first: u32, mut count: u32, address: [u64; 2]) -> u32 {
    let keys = words.head(at::REMOTES6_KEYS);
    for _ in 0..LONG_STEPS {
        if count <= 1 {
            break;
        }
        let half = count >> 1;
        let key = keys + (first + half) * 2;
        let upper = words.long(key);
        if upper < address[0] || upper == address[0] && words.long(key + 1) <= address[1] {
            first += half;
            count -= half;
        } else {
            count = half;
        }
    }
    words.word(words.head(at::REMOTES6_VALUES) + first)
}
