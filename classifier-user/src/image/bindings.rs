//! Changing the subscriber indices of an image that is in force, where packets read them meanwhile. What stands where,
//! [`classifier::image::subscribers`] says; `index.rs` lays them out.
//!
//! No two prefixes of an index overlap. Every step leaves the index whole: what is new is written out of sight and
//! then becomes an answer by the store of one word.

use classifier::image::subscribers::{LONE, NODE_BITS, NODE_LINES, RUN, head, record};
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
pub(super) const LINE_LONGS: u32 = LINE_WORDS / 2;

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
pub(super) struct Key {
    pub(super) bits: u128,
    pub(super) len: u32,
}

impl Key {
    pub(super) fn of(net: &IpNet) -> Self {
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
    pub(super) const fn digits(self, skipped: u32, count: u32) -> u32 {
        ((self.bits << skipped) >> (128 - count)) as u32
    }
}

/// Shape of an index, chosen when it is compiled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) common: u128,
    pub(super) common_bits: u32,
    pub(super) table_bits: u32,
}

/// The entry that leads to a node.
pub(super) fn node_entry(line: u32, bits: u32) -> u64 {
    u64::from(bits) << 32 | u64::from(DEEPER | line)
}

/// The record of a single prefix: where each 64-bit word stands in it, and the word.
pub(super) fn record_words(key: Key, binding: Binding) -> [(u32, u64); 5] {
    let mask = key.mask();
    [
        (record::PREFIX, (key.bits >> 64) as u64),
        (record::PREFIX + 1, key.bits as u64),
        (record::MASK, (mask >> 64) as u64),
        (record::MASK + 1, mask as u64),
        (record::BINDING, binding.word()),
    ]
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

/// Says of a prefix whether its subscriber is suspended, if it is bound to the row at a line.
///
/// # Errors
/// When the index cannot take it; it then answers as before.
pub fn suspend(room: &mut impl Room, net: &IpNet, line: u32, suspended: bool) -> Result<(), Unfit> {
    let mut index = Index::of(room, index_of(net));
    let key = Key::of(net);
    match index.bound(key) {
        Some(binding) if binding.line() == line => {
            index.bind(key, binding.with_suspended(suspended))
        }
        _ => Ok(()),
    }
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
                table_bits: (bits >> 8) - (bits & 63),
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

    /// What a prefix is bound to; `None` where exactly this one is bound to nothing.
    fn bound(&self, key: Key) -> Option<Binding> {
        let mut decided = self.shape.common_bits;
        let mut base = self.table;
        let mut bits = self.shape.table_bits;
        let foreign = decided > 0 && (key.bits ^ self.shape.common).leading_zeros() < decided;
        if key.len < decided || foreign {
            return None;
        }
        loop {
            let slot = base + key.digits(decided, bits);
            decided += bits;
            let word = self.room.get(slot);
            let entry = word as u32;
            if key.len <= decided {
                let is_answer = entry & (DEEPER | RUN | LONE) == 0;
                return is_answer.then(|| Binding::of_word(word));
            }
            if entry & DEEPER != 0 {
                bits = node_bits(word);
                base = (entry & !DEEPER) * LINE_LONGS;
                continue;
            }
            if entry & RUN != 0 {
                let run = Binding::of_word(word);
                let bits = run.run_bits();
                let is_of_run = key.len == decided + bits;
                return is_of_run.then(|| run.of_run(key.digits(decided, bits)));
            }
            let record = entry & !LONE;
            let is_record = entry & LONE != 0 && self.key(record) == key;
            let binding = || self.room.get(record * LINE_LONGS + record::BINDING);
            return is_record.then(|| Binding::of_word(binding()));
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
        for (at, word) in record_words(key, binding) {
            self.room.set(line * LINE_LONGS + at, word);
        }
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
