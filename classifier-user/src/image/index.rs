//! Laying out the subscriber index of an image that is being compiled: how many bits each table and node decides, and
//! which prefixes are runs. What stands where, [`classifier::image::subscribers`] says; how it changes later,
//! [`super::bindings`].

use classifier::image::subscribers::{
    LONE, MAX_COMMON_BITS, MAX_NODE_BITS, MIN_TABLE_BITS, NODE_BITS, head,
};
use classifier::image::{Binding, LINE_WORDS};
use ipnet::IpNet;

use super::bindings::{Key, LINE_LONGS, Shape, node_entry, record_words};

/// From so many prefixes on the table is indexed by 16 bits at least: it then tells pools apart.
const MANY: usize = 1_000;
/// A node has at most so many entries for each that is in use.
const SPARSEST: u64 = 4;

impl Shape {
    /// The shape that suits a sorted set of prefixes of one family.
    fn of(keys: &[(Key, Binding)]) -> Self {
        let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else {
            return Self {
                common: 0,
                common_bits: 0,
                table_bits: MIN_TABLE_BITS,
            };
        };
        let shortest = keys.iter().map(|(key, _)| key.len).min().unwrap_or(0);
        let common_bits = (first.bits ^ last.bits)
            .leading_zeros()
            .min(shortest)
            .min(MAX_COMMON_BITS);
        let least = if keys.len() < MANY {
            MIN_TABLE_BITS
        } else {
            16
        };
        Self {
            common: match common_bits {
                0 => 0,
                bits => first.bits >> (128 - bits) << (128 - bits),
            },
            common_bits,
            table_bits: leave_room_for_runs(
                keys,
                common_bits,
                bits_of_node(keys, common_bits).max(least),
            ),
        }
    }
}

/// How many bits a node is to decide behind the first `decided`, for sorted prefixes that share those: as many as
/// leave it a quarter full.
fn bits_of_node(keys: &[(Key, Binding)], decided: u32) -> u32 {
    // After how many more bits a prefix differs from the one before it.
    let mut differ = [0_u64; MAX_NODE_BITS as usize + 1];
    let mut longest = 0;
    for pair in keys.windows(2) {
        let after = (pair[0].0.bits ^ pair[1].0.bits).leading_zeros() + 1 - decided;
        if let Some(count) = differ.get_mut(after as usize) {
            *count += 1;
        }
    }
    for (key, _) in keys {
        longest = longest.max(key.len);
    }
    let mut used = 1;
    let mut best = NODE_BITS;
    for bits in 1..=MAX_NODE_BITS.min(longest.saturating_sub(decided)) {
        used += differ[bits as usize];
        if bits > NODE_BITS && used * SPARSEST >= 1 << bits {
            best = bits;
        }
    }
    best
}

/// Bits a run answers for, where a node can choose.
const RUN_BITS: u32 = 8;

/// Takes from the bits of a node those that runs answer for, if most of its prefixes are in runs then.
fn leave_room_for_runs(keys: &[(Key, Binding)], decided: u32, bits: u32) -> u32 {
    let fewer = bits.saturating_sub(RUN_BITS);
    if fewer < NODE_BITS {
        return bits;
    }
    let same = |a: &(Key, Binding), b: &(Key, Binding)| {
        a.0.digits(decided, fewer) == b.0.digits(decided, fewer)
    };
    let (runs, all) = keys.chunk_by(same).fold((0, 0), |(runs, all), group| {
        let run = run_of(group, decided + fewer).is_some();
        (runs + usize::from(run), all + 1)
    });
    if 2 * runs >= all { fewer } else { bits }
}

/// The entry of a run, if the sorted prefixes behind an entry are one: all there can be of their length, and their rows
/// in the same order, equally far apart.
fn run_of(keys: &[(Key, Binding)], decided: u32) -> Option<u64> {
    let [(first_key, first), (_, second), ..] = keys else {
        return None;
    };
    let bits = first_key.len.checked_sub(decided)?;
    let stride = second.line().checked_sub(first.line())?;
    let whole = (NODE_BITS..=MAX_NODE_BITS).contains(&bits) && keys.len() == 1 << bits;
    if !whole || stride == 0 || stride > Binding::MAX_STRIDE {
        return None;
    }
    let run = first.run(bits, stride);
    (0..)
        .zip(keys)
        .all(|(number, (key, binding))| {
            key.len == first_key.len && *binding == Binding::of_word(run).of_run(number)
        })
        .then_some(run)
}

/// Lays out the index of one family at the end of an image. `index` is where in the header it is described.
pub(super) fn write(words: &mut Vec<u32>, index: u32, prefixes: &[(&IpNet, Binding)]) {
    let keys: Vec<(Key, Binding)> = prefixes
        .iter()
        .map(|(net, binding)| (Key::of(net), *binding))
        .collect();
    let shape = Shape::of(&keys);
    let mut growing = Growing { words };
    let table = growing.table(shape.table_bits) * LINE_LONGS;
    let head = index / 2;
    let bits = shape.common_bits | (shape.common_bits + shape.table_bits) << 8;
    growing.set(
        head + head::TABLE / 2,
        u64::from(bits) << 32 | u64::from(table),
    );
    growing.set(head + head::COMMON / 2, (shape.common >> 64) as u64);
    growing.set(head + head::LIMIT / 2, u64::MAX >> shape.common_bits);
    growing.fill(&keys, table, shape.common_bits, shape.table_bits);
}

/// An image that is being compiled: nobody reads it yet, and it grows.
struct Growing<'a> {
    words: &'a mut Vec<u32>,
}

impl Growing<'_> {
    /// Appends a table or node that decides so many bits; its first line.
    fn table(&mut self, bits: u32) -> u32 {
        let line = (self.words.len() as u32).div_ceil(LINE_WORDS);
        let end = (line * LINE_WORDS) as usize + (2 << bits);
        self.words.resize(end, 0);
        line
    }

    /// Stores a 64-bit word.
    fn set(&mut self, index: u32, word: u64) {
        let index = index as usize * 2;
        self.words[index] = word as u32;
        self.words[index + 1] = (word >> 32) as u32;
    }

    /// Writes sorted prefixes, of which the first `decided` bits led to a table or node of `bits` bits.
    fn fill(&mut self, keys: &[(Key, Binding)], base: u32, decided: u32, bits: u32) {
        let mut rest = keys;
        while let Some((key, binding)) = rest.first() {
            let slot = key.digits(decided, bits);
            let same = rest.partition_point(|(key, _)| key.digits(decided, bits) == slot);
            let (behind, others) = rest.split_at(same);
            let after = decided + bits;
            if key.len <= after {
                for slot in slot..slot + (1 << (after - key.len)) {
                    self.set(base + slot, binding.word());
                }
            } else if let Some(run) = run_of(behind, after) {
                self.set(base + slot, run);
            } else if behind.len() == 1 && key.len > after + NODE_BITS {
                let line = self.table(NODE_BITS);
                for (at, word) in record_words(*key, *binding) {
                    self.set(line * LINE_LONGS + at, word);
                }
                self.set(base + slot, u64::from(LONE | line));
            } else {
                let bits = leave_room_for_runs(behind, after, bits_of_node(behind, after));
                let node = self.table(bits);
                self.set(base + slot, node_entry(node, bits));
                self.fill(behind, node * LINE_LONGS, after, bits);
            }
            rest = others;
        }
    }
}
