//! Writing the subscriber indices: see [`classifier::image::subscribers`]. The same code lays an index out in an
//! image that is being compiled, and changes it in one that is in force, where packets read it meanwhile.
//!
//! No two prefixes of an index overlap. Every step leaves the index whole: what is new is written out of sight and
//! then becomes an answer by the store of one word.

use classifier::image::subscribers::{
    LONE, MAX_COMMON_BITS, MAX_NODE_BITS, MIN_TABLE_BITS, NODE_BITS, NODE_LINES, RUN, head, record,
};
use classifier::image::{Binding, DEEPER, LINE_WORDS, at};
use ipnet::IpNet;

/// An image that can be written to, in 64-bit words.
pub trait Room {
    /// The word at an index.
    fn get(&self, index: u32) -> u64;
    /// Stores a word, after everything that was stored before.
    fn set(&mut self, index: u32, word: u64);
    /// The lines of a node of so many bits, all zero, that nothing points at: the first one's number; `None` when
    /// there is no room.
    fn take(&mut self, bits: u32) -> Option<u32>;
    /// Gives back the lines of a node of [`NODE_BITS`] bits that nothing points at any more, but that packets may
    /// still be reading.
    fn give_back(&mut self, lines: u32);
}

/// 64-bit words of a line.
const LINE_LONGS: u32 = LINE_WORDS / 2;

/// Lines of a node of so many bits.
#[must_use]
pub const fn node_lines(bits: u32) -> u32 {
    NODE_LINES << (bits - NODE_BITS)
}

/// How many bits the node behind an entry decides.
const fn node_bits(word: u64) -> u32 {
    (word >> 32) as u32 & 31
}

/// The index cannot take a prefix in place; the image has to be compiled anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It lies outside what the index's addresses have in common.
    Outside,
    /// There is no room for another line.
    NoRoom,
}

/// A prefix with its bits on the left: IPv4 in the uppermost 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    bits: u128,
    len: u32,
}

impl Key {
    fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self {
                bits: u128::from(net.network().to_bits()) << 96,
                len: u32::from(net.prefix_len()),
            },
            IpNet::V6(net) => Self {
                bits: net.network().to_bits(),
                len: u32::from(net.prefix_len()),
            },
        }
    }

    const fn mask(self) -> u128 {
        match self.len {
            0 => 0,
            len => u128::MAX << (128 - len),
        }
    }

    /// The number the `count` bits behind the first `skipped` make.
    const fn digits(self, skipped: u32, count: u32) -> u32 {
        ((self.bits << skipped) >> (128 - count)) as u32
    }
}

/// Shape of an index, chosen when it is compiled.
#[derive(Debug, Clone, Copy)]
struct Shape {
    common: u128,
    common_bits: u32,
    table_bits: u32,
}

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
    let bits = shape.common_bits | (64 - shape.table_bits) << 8;
    growing.set(
        head + head::TABLE / 2,
        u64::from(bits) << 32 | u64::from(table),
    );
    growing.set(head + head::COMMON / 2, (shape.common >> 64) as u64);
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
                write_record(self, line, *key, *binding);
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

impl Room for Growing<'_> {
    fn get(&self, index: u32) -> u64 {
        let index = index as usize * 2;
        u64::from(self.words[index + 1]) << 32 | u64::from(self.words[index])
    }
    fn set(&mut self, index: u32, word: u64) {
        let index = index as usize * 2;
        self.words[index] = word as u32;
        self.words[index + 1] = (word >> 32) as u32;
    }
    fn take(&mut self, bits: u32) -> Option<u32> {
        Some(self.table(bits))
    }
    fn give_back(&mut self, _: u32) {}
}

/// The entry that leads to a node.
fn node_entry(line: u32, bits: u32) -> u64 {
    u64::from(bits) << 32 | u64::from(DEEPER | line)
}

/// Writes the record of a single prefix.
fn write_record(room: &mut impl Room, line: u32, key: Key, binding: Binding) {
    let first = line * LINE_LONGS;
    for (at, value) in [(record::PREFIX, key.bits), (record::MASK, key.mask())] {
        room.set(first + at, (value >> 64) as u64);
        room.set(first + at + 1, value as u64);
    }
    room.set(first + record::BINDING, binding.word());
}

/// Binds a prefix, in place of whoever had exactly this prefix.
///
/// # Errors
/// When the index cannot take it; it then answers as before.
pub fn bind(room: &mut impl Room, net: &IpNet, binding: Binding) -> Result<(), Unfit> {
    Index::of(room, index_of(net)).bind(Key::of(net), binding)
}

/// Takes a prefix from whoever has it.
///
/// # Errors
/// When the index cannot let go of it; it then answers as before.
pub fn unbind(room: &mut impl Room, net: &IpNet) -> Result<(), Unfit> {
    Index::of(room, index_of(net)).unbind(Key::of(net))
}

const fn index_of(net: &IpNet) -> u32 {
    match net {
        IpNet::V4(_) => at::SUBSCRIBERS4,
        IpNet::V6(_) => at::SUBSCRIBERS6,
    }
}

/// An index in its image.
struct Index<'a, R> {
    room: &'a mut R,
    shape: Shape,
    table: u32,
}

impl<'a, R: Room> Index<'a, R> {
    fn of(room: &'a mut R, index: u32) -> Self {
        let first = room.get((index + head::TABLE) / 2);
        let (table, bits) = (first as u32, (first >> 32) as u32);
        Self {
            shape: Shape {
                common: u128::from(room.get((index + head::COMMON) / 2)) << 64,
                common_bits: bits & 63,
                table_bits: 64 - ((bits >> 8) & 63),
            },
            table,
            room,
        }
    }

    fn bind(&mut self, key: Key, binding: Binding) -> Result<(), Unfit> {
        let Shape {
            common,
            common_bits,
            table_bits,
        } = self.shape;
        let foreign = common_bits > 0 && (key.bits ^ common).leading_zeros() < common_bits;
        if key.len < common_bits || foreign {
            return Err(Unfit::Outside);
        }
        let mut decided = common_bits;
        let mut base = self.table;
        let mut bits = table_bits;
        loop {
            let slot = base + key.digits(decided, bits);
            decided += bits;
            if key.len <= decided {
                // All entries that begin with the prefix.
                for slot in slot..slot + (1 << (decided - key.len)) {
                    self.answer(slot, binding.word());
                }
                return Ok(());
            }
            let word = self.room.get(slot);
            let entry = word as u32;
            bits = NODE_BITS;
            let node = if entry & DEEPER != 0 {
                bits = node_bits(word);
                entry & !DEEPER
            } else if entry & RUN != 0 {
                bits = Binding::of_word(word).run_bits();
                self.spell_out(slot, word)?
            } else if entry & LONE != 0 {
                let lone = entry & !LONE;
                if self.key(lone) == key {
                    self.room
                        .set(lone * LINE_LONGS + record::BINDING, binding.word());
                    return Ok(());
                }
                self.push_down(slot, lone, decided)?
            } else if key.len > decided + NODE_BITS {
                let line = self.record(key, binding)?;
                self.room.set(slot, u64::from(LONE | line));
                return Ok(());
            } else {
                // The last node: filled out of sight.
                let node = self.room.take(NODE_BITS).ok_or(Unfit::NoRoom)?;
                let first = node * LINE_LONGS + key.digits(decided, NODE_BITS);
                for slot in first..first + (1 << (decided + NODE_BITS - key.len)) {
                    self.room.set(slot, binding.word());
                }
                self.room.set(slot, node_entry(node, NODE_BITS));
                return Ok(());
            };
            base = node * LINE_LONGS;
        }
    }

    fn unbind(&mut self, key: Key) -> Result<(), Unfit> {
        let mut decided = self.shape.common_bits;
        let mut base = self.table;
        let mut bits = self.shape.table_bits;
        let foreign = decided > 0 && (key.bits ^ self.shape.common).leading_zeros() < decided;
        if key.len < decided || foreign {
            return Ok(());
        }
        loop {
            let slot = base + key.digits(decided, bits);
            decided += bits;
            if key.len <= decided {
                for slot in slot..slot + (1 << (decided - key.len)) {
                    self.answer(slot, 0);
                }
                return Ok(());
            }
            let word = self.room.get(slot);
            let entry = word as u32;
            if entry & DEEPER != 0 {
                bits = node_bits(word);
                base = (entry & !DEEPER) * LINE_LONGS;
                continue;
            }
            if entry & RUN != 0 {
                bits = Binding::of_word(word).run_bits();
                base = self.spell_out(slot, word)? * LINE_LONGS;
                continue;
            }
            if entry & LONE != 0 && self.key(entry & !LONE) == key {
                self.answer(slot, 0);
            }
            return Ok(());
        }
    }

    /// Puts a node in place of a run: an entry for each of its addresses.
    fn spell_out(&mut self, slot: u32, word: u64) -> Result<u32, Unfit> {
        let run = Binding::of_word(word);
        let bits = run.run_bits();
        let node = self.room.take(bits).ok_or(Unfit::NoRoom)?;
        for number in 0..1 << bits {
            let binding = run.of_run(number);
            self.room.set(node * LINE_LONGS + number, binding.word());
        }
        self.room.set(slot, node_entry(node, bits));
        Ok(node)
    }

    /// Makes an entry an answer. What stood below it is given back.
    fn answer(&mut self, slot: u32, word: u64) {
        let before = self.room.get(slot);
        self.room.set(slot, word);
        self.give_back(before);
    }

    fn give_back(&mut self, word: u64) {
        let entry = word as u32;
        if entry & DEEPER != 0 {
            let (node, bits) = (entry & !DEEPER, node_bits(word));
            for position in 0..1 << bits {
                self.give_back(self.room.get(node * LINE_LONGS + position));
            }
            // A larger one stays unused until the image is compiled anew.
            if bits == NODE_BITS {
                self.room.give_back(node);
            }
        } else if entry & LONE != 0 {
            self.room.give_back(entry & !LONE);
        }
    }

    /// Puts a node between an entry and its single prefix, of which `decided` bits led to the entry.
    fn push_down(&mut self, slot: u32, lone: u32, decided: u32) -> Result<u32, Unfit> {
        let node = self.room.take(NODE_BITS).ok_or(Unfit::NoRoom)?;
        let key = self.key(lone);
        let first = node * LINE_LONGS + key.digits(decided, NODE_BITS);
        if key.len <= decided + NODE_BITS {
            let binding = self.room.get(lone * LINE_LONGS + record::BINDING);
            for slot in first..first + (1 << (decided + NODE_BITS - key.len)) {
                self.room.set(slot, binding);
            }
            self.room.set(slot, node_entry(node, NODE_BITS));
            self.room.give_back(lone);
        } else {
            self.room.set(first, u64::from(LONE | lone));
            self.room.set(slot, node_entry(node, NODE_BITS));
        }
        Ok(node)
    }

    fn record(&mut self, key: Key, binding: Binding) -> Result<u32, Unfit> {
        let line = self.room.take(NODE_BITS).ok_or(Unfit::NoRoom)?;
        write_record(self.room, line, key, binding);
        Ok(line)
    }

    fn key(&self, record: u32) -> Key {
        let long = |at: u32| u128::from(self.room.get(record * LINE_LONGS + at));
        let wide = |at: u32| long(at) << 64 | long(at + 1);
        Key {
            bits: wide(record::PREFIX),
            len: wide(record::MASK).leading_ones(),
        }
    }
}
