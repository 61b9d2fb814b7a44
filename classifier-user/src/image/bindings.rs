//! Writing the subscriber indices: see [`classifier::image::subscribers`]. The same code lays an index out in an
//! image that is being compiled, and changes it in one that is in force, where packets read it meanwhile.
//!
//! No two prefixes of an index overlap. Every step leaves the index whole: what is new is written out of sight and
//! then becomes an answer by the store of one word.

use classifier::image::subscribers::{
    LONE, MAX_COMMON_BITS, MAX_TABLE_BITS, MIN_TABLE_BITS, NODE_BITS, NODE_LINES, head, record,
};
use classifier::image::{Binding, DEEPER, LINE_WORDS, at};
use ipnet::IpNet;

/// An image that can be written to, in 64-bit words.
pub trait Room {
    /// The word at an index.
    fn get(&self, index: u32) -> u64;
    /// Stores a word, after everything that was stored before.
    fn set(&mut self, index: u32, word: u64);
    /// [`NODE_LINES`] lines that nothing points at, all zero: the first one's number; `None` when there is no room.
    fn take(&mut self) -> Option<u32>;
    /// Gives back lines that nothing points at any more, but that packets may still be reading.
    fn give_back(&mut self, lines: u32);
}

/// 64-bit words of a line.
const LINE_LONGS: u32 = LINE_WORDS / 2;
const NODE_ENTRIES: u32 = 1 << NODE_BITS;

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

impl Shape {
    /// The shape that suits a set of prefixes of one family.
    fn of(keys: &[(Key, Binding)]) -> Self {
        let Some((first, _)) = keys.first() else {
            return Self {
                common: 0,
                common_bits: 0,
                table_bits: MIN_TABLE_BITS,
            };
        };
        let (mut shared, mut longest) = (MAX_COMMON_BITS, 0);
        for (key, _) in keys {
            let same = (key.bits ^ first.bits).leading_zeros();
            shared = shared.min(same).min(key.len);
            longest = longest.max(key.len);
        }
        // A table that is as long as there are prefixes, unless fewer bits tell them all apart.
        let wanted = (keys.len().ilog2() + 1).min(longest - shared);
        let table_bits = wanted.clamp(MIN_TABLE_BITS, MAX_TABLE_BITS);
        Self {
            common: match shared {
                0 => 0,
                bits => first.bits >> (128 - bits) << (128 - bits),
            },
            common_bits: shared,
            table_bits,
        }
    }
}

/// Lays out the index of one family at the end of an image. `index` is where in the header it is described.
pub(super) fn write(words: &mut Vec<u32>, index: u32, prefixes: &[(&IpNet, Binding)]) {
    let keys: Vec<(Key, Binding)> = prefixes
        .iter()
        .map(|(net, binding)| (Key::of(net), *binding))
        .collect();
    let shape = Shape::of(&keys);
    words.resize(words.len().next_multiple_of(LINE_WORDS as usize), 0);
    let table = words.len() as u32 / 2;
    words.resize(words.len() + (2 << shape.table_bits), 0);
    let head = index as usize;
    words[head + head::TABLE as usize] = table;
    words[head + head::BITS as usize] = shape.common_bits | (64 - shape.table_bits) << 8;
    let common = (shape.common >> 64) as u64;
    words[head + head::COMMON as usize] = common as u32;
    words[head + head::COMMON as usize + 1] = (common >> 32) as u32;
    let mut growing = Growing {
        words,
        free: Vec::new(),
    };
    for (key, binding) in keys {
        let bound = Index::of(&mut growing, index).bind(key, binding);
        debug_assert_eq!(bound, Ok(()), "an image that is being compiled grows");
    }
}

/// An image that is being compiled: nobody reads it yet, and it grows.
struct Growing<'a> {
    words: &'a mut Vec<u32>,
    free: Vec<u32>,
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
    fn take(&mut self) -> Option<u32> {
        let words = (NODE_LINES * LINE_WORDS) as usize;
        if let Some(lines) = self.free.pop() {
            let begin = (lines * LINE_WORDS) as usize;
            self.words[begin..begin + words].fill(0);
            return Some(lines);
        }
        let lines = self.words.len() as u32 / LINE_WORDS;
        self.words.resize(self.words.len() + words, 0);
        Some(lines)
    }
    fn give_back(&mut self, lines: u32) {
        self.free.push(lines);
    }
}

/// Binds a prefix, in place of whoever had exactly this prefix.
///
/// # Errors
/// When the index cannot take it; it then answers as before.
pub fn bind(room: &mut impl Room, net: &IpNet, binding: Binding) -> Result<(), Unfit> {
    Index::of(room, index_of(net)).bind(Key::of(net), binding)
}

/// Takes a prefix from whoever has it.
pub fn unbind(room: &mut impl Room, net: &IpNet) {
    Index::of(room, index_of(net)).unbind(Key::of(net));
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
            bits = NODE_BITS;
            if key.len <= decided {
                // All entries that begin with the prefix.
                for slot in slot..slot + (1 << (decided - key.len)) {
                    self.answer(slot, binding.word());
                }
                return Ok(());
            }
            let entry = self.room.get(slot) as u32;
            let node = if entry & DEEPER != 0 {
                entry & !DEEPER
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
                let node = self.room.take().ok_or(Unfit::NoRoom)?;
                let first = node * LINE_LONGS + key.digits(decided, NODE_BITS);
                for slot in first..first + (1 << (decided + NODE_BITS - key.len)) {
                    self.room.set(slot, binding.word());
                }
                self.room.set(slot, u64::from(DEEPER | node));
                return Ok(());
            };
            base = node * LINE_LONGS;
        }
    }

    fn unbind(&mut self, key: Key) {
        let mut decided = self.shape.common_bits;
        let mut base = self.table;
        let mut bits = self.shape.table_bits;
        let foreign = decided > 0 && (key.bits ^ self.shape.common).leading_zeros() < decided;
        if key.len < decided || foreign {
            return;
        }
        loop {
            let slot = base + key.digits(decided, bits);
            decided += bits;
            bits = NODE_BITS;
            if key.len <= decided {
                for slot in slot..slot + (1 << (decided - key.len)) {
                    self.answer(slot, 0);
                }
                return;
            }
            let entry = self.room.get(slot) as u32;
            if entry & DEEPER != 0 {
                base = (entry & !DEEPER) * LINE_LONGS;
                continue;
            }
            if entry & LONE != 0 && self.key(entry & !LONE) == key {
                self.answer(slot, 0);
            }
            return;
        }
    }

    /// Makes an entry an answer. What stood below it is given back.
    fn answer(&mut self, slot: u32, word: u64) {
        let before = self.room.get(slot) as u32;
        self.room.set(slot, word);
        self.give_back(before);
    }

    fn give_back(&mut self, entry: u32) {
        if entry & DEEPER != 0 {
            let node = entry & !DEEPER;
            for position in 0..NODE_ENTRIES {
                let below = self.room.get(node * LINE_LONGS + position) as u32;
                self.give_back(below);
            }
            self.room.give_back(node);
        } else if entry & LONE != 0 {
            self.room.give_back(entry & !LONE);
        }
    }

    /// Puts a node between an entry and its single prefix, of which `decided` bits led to the entry.
    fn push_down(&mut self, slot: u32, lone: u32, decided: u32) -> Result<u32, Unfit> {
        let node = self.room.take().ok_or(Unfit::NoRoom)?;
        let key = self.key(lone);
        let first = node * LINE_LONGS + key.digits(decided, NODE_BITS);
        if key.len <= decided + NODE_BITS {
            let binding = self.room.get(lone * LINE_LONGS + record::BINDING);
            for slot in first..first + (1 << (decided + NODE_BITS - key.len)) {
                self.room.set(slot, binding);
            }
            self.room.set(slot, u64::from(DEEPER | node));
            self.room.give_back(lone);
        } else {
            self.room.set(first, u64::from(LONE | lone));
            self.room.set(slot, u64::from(DEEPER | node));
        }
        Ok(node)
    }

    fn record(&mut self, key: Key, binding: Binding) -> Result<u32, Unfit> {
        let line = self.room.take().ok_or(Unfit::NoRoom)?;
        for (at, value) in [(record::PREFIX, key.bits), (record::MASK, key.mask())] {
            self.room.set(line * LINE_LONGS + at, (value >> 64) as u64);
            self.room.set(line * LINE_LONGS + at + 1, value as u64);
        }
        self.room
            .set(line * LINE_LONGS + record::BINDING, binding.word());
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
