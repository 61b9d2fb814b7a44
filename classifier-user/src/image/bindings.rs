//! Writing the subscriber indices: see [`classifier::image::subscribers`]. The same code lays an index out in an
//! image that is being compiled, and changes it in one that is in force, where packets read it meanwhile.
//!
//! No two prefixes of an index overlap. Every step leaves the index whole: what is new is written out of sight and
//! then becomes an answer by the store of one word.

use classifier::image::subscribers::{
    LONE, MAX_COMMON_BITS, MAX_TABLE_BITS, MIN_TABLE_BITS, NODE_BITS, head, record,
};
use classifier::image::{DEEPER, LINE_WORDS, at};
use ipnet::IpNet;

/// An image that can be written to.
pub trait Room {
    /// The word at an index.
    fn get(&self, index: u32) -> u32;
    /// Stores a word, after everything that was stored before.
    fn set(&mut self, index: u32, word: u32);
    /// A line that nothing points at, all zero; `None` when there is no room.
    fn take_line(&mut self) -> Option<u32>;
    /// Gives back a line that nothing points at any more, but that packets may still be reading.
    fn give_back(&mut self, line: u32);
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

impl Shape {
    /// The shape that suits a set of prefixes of one family.
    fn of(keys: &[(Key, u32)]) -> Self {
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
pub(super) fn write(words: &mut Vec<u32>, index: u32, prefixes: &[(&IpNet, u32)]) {
    let keys: Vec<(Key, u32)> = prefixes
        .iter()
        .map(|(net, row)| (Key::of(net), *row))
        .collect();
    let shape = Shape::of(&keys);
    let table = words.len() as u32;
    words.resize(words.len() + (1 << shape.table_bits), 0);
    words.resize(words.len().next_multiple_of(LINE_WORDS as usize), 0);
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
    for (key, row) in keys {
        let bound = Index::of(&mut growing, index).bind(key, row);
        debug_assert_eq!(bound, Ok(()), "an image that is being compiled grows");
    }
}

/// An image that is being compiled: nobody reads it yet, and it grows.
struct Growing<'a> {
    words: &'a mut Vec<u32>,
    free: Vec<u32>,
}

impl Room for Growing<'_> {
    fn get(&self, index: u32) -> u32 {
        self.words[index as usize]
    }
    fn set(&mut self, index: u32, word: u32) {
        self.words[index as usize] = word;
    }
    fn take_line(&mut self) -> Option<u32> {
        if let Some(line) = self.free.pop() {
            let begin = (line * LINE_WORDS) as usize;
            self.words[begin..begin + LINE_WORDS as usize].fill(0);
            return Some(line);
        }
        let line = self.words.len() as u32 / LINE_WORDS;
        self.words.resize(self.words.len() + LINE_WORDS as usize, 0);
        Some(line)
    }
    fn give_back(&mut self, line: u32) {
        self.free.push(line);
    }
}

/// Lets a row count for a prefix, in place of any other row that counted for exactly this prefix.
///
/// # Errors
/// When the index cannot take it; it then answers as before.
pub fn bind(room: &mut impl Room, net: &IpNet, row: u32) -> Result<(), Unfit> {
    Index::of(room, index_of(net)).bind(Key::of(net), row)
}

/// Lets no row count for a prefix any more. Nothing happens when none did.
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
        let bits = room.get(index + head::BITS);
        let half = |room: &R, n: u32| u128::from(room.get(index + head::COMMON + n));
        Self {
            shape: Shape {
                common: (half(room, 1) << 32 | half(room, 0)) << 64,
                common_bits: bits & 63,
                table_bits: 64 - ((bits >> 8) & 63),
            },
            table: room.get(index + head::TABLE),
            room,
        }
    }

    fn bind(&mut self, key: Key, row: u32) -> Result<(), Unfit> {
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
                    self.answer(slot, row);
                }
                return Ok(());
            }
            let entry = self.room.get(slot);
            let node = if entry & DEEPER != 0 {
                entry & !DEEPER
            } else if entry & LONE != 0 {
                let lone = entry & !LONE;
                if self.key(lone) == key {
                    self.room.set(lone * LINE_WORDS + 2 * record::ROW, row);
                    return Ok(());
                }
                self.push_down(slot, lone, decided)?
            } else if key.len > decided + NODE_BITS {
                let line = self.record(key, row)?;
                self.room.set(slot, LONE | line);
                return Ok(());
            } else {
                // The last node: filled out of sight.
                let node = self.room.take_line().ok_or(Unfit::NoRoom)?;
                let first = node * LINE_WORDS + key.digits(decided, NODE_BITS);
                for slot in first..first + (1 << (decided + NODE_BITS - key.len)) {
                    self.room.set(slot, row);
                }
                self.room.set(slot, DEEPER | node);
                return Ok(());
            };
            base = node * LINE_WORDS;
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
            let entry = self.room.get(slot);
            if entry & DEEPER != 0 {
                base = (entry & !DEEPER) * LINE_WORDS;
                continue;
            }
            if entry & LONE != 0 && self.key(entry & !LONE) == key {
                self.answer(slot, 0);
            }
            return;
        }
    }

    /// Makes an entry an answer. What stood below it is given back.
    fn answer(&mut self, slot: u32, row: u32) {
        let before = self.room.get(slot);
        self.room.set(slot, row);
        self.give_back(before);
    }

    fn give_back(&mut self, entry: u32) {
        if entry & DEEPER != 0 {
            let node = entry & !DEEPER;
            for position in 0..LINE_WORDS {
                let below = self.room.get(node * LINE_WORDS + position);
                self.give_back(below);
            }
            self.room.give_back(node);
        } else if entry & LONE != 0 {
            self.room.give_back(entry & !LONE);
        }
    }

    /// Puts a node between an entry and its single prefix, of which `decided` bits led to the entry.
    fn push_down(&mut self, slot: u32, lone: u32, decided: u32) -> Result<u32, Unfit> {
        let node = self.room.take_line().ok_or(Unfit::NoRoom)?;
        let key = self.key(lone);
        let first = node * LINE_WORDS + key.digits(decided, NODE_BITS);
        if key.len <= decided + NODE_BITS {
            let row = self.room.get(lone * LINE_WORDS + 2 * record::ROW);
            for slot in first..first + (1 << (decided + NODE_BITS - key.len)) {
                self.room.set(slot, row);
            }
            self.room.set(slot, DEEPER | node);
            self.room.give_back(lone);
        } else {
            self.room.set(first, LONE | lone);
            self.room.set(slot, DEEPER | node);
        }
        Ok(node)
    }

    fn record(&mut self, key: Key, row: u32) -> Result<u32, Unfit> {
        let line = self.room.take_line().ok_or(Unfit::NoRoom)?;
        for (long, value) in [(record::PREFIX, key.bits), (record::MASK, key.mask())] {
            for (half, value) in [value >> 64, value].into_iter().enumerate() {
                let word = line * LINE_WORDS + 2 * (long + half as u32);
                self.room.set(word, value as u32);
                self.room.set(word + 1, (value >> 32) as u32);
            }
        }
        self.room.set(line * LINE_WORDS + 2 * record::ROW, row);
        Ok(line)
    }

    fn key(&self, record: u32) -> Key {
        let long = |at: u32| {
            let word = record * LINE_WORDS + 2 * at;
            u128::from(self.room.get(word + 1)) << 32 | u128::from(self.room.get(word))
        };
        let wide = |at: u32| long(at) << 64 | long(at + 1);
        Key {
            bits: wide(record::PREFIX),
            len: wide(record::MASK).leading_ones(),
        }
    }
}
