//! Writing the remotes' IPv4 table: see [`classifier::image::remotes`].

use classifier::image::DEEPER;
use classifier::image::remotes::{ESCAPE, NARROW, NARROW_ESCAPE};

use super::intervals::Interval;

const GROUP: usize = 256;

/// Appends the table and returns its first word.
pub(super) fn write(words: &mut Vec<u32>, intervals: &[Interval]) -> u32 {
    let top = words.len();
    words.resize(top + (1 << 16), 0);
    let mut parts = Parts { intervals, next: 0 };
    for upper in 0..1_u64 << 16 {
        let part = parts.until((upper + 1) << 16);
        words[top + upper as usize] = match part {
            [all] => all.value,
            _ => DEEPER | node(words, part, upper << 16),
        };
    }
    top as u32
}

/// Intervals, handed out in the parts of ascending ranges.
struct Parts<'a> {
    intervals: &'a [Interval],
    /// Index of the interval that covers the next range's beginning.
    next: usize,
}

impl<'a> Parts<'a> {
    /// Those that cover what lies between the end of the last part and `end`, which is not included.
    fn until(&mut self, end: u64) -> &'a [Interval] {
        let first = self.next;
        let mut after = first + 1;
        while self
            .intervals
            .get(after)
            .is_some_and(|interval| interval.first < u128::from(end))
        {
            after += 1;
        }
        let ends_here = self
            .intervals
            .get(after)
            .is_some_and(|interval| interval.first == u128::from(end));
        self.next = if ends_here { after } else { after - 1 };
        &self.intervals[first..after]
    }
}

/// The node of a /16 whose addresses differ: its first word, and whether it is narrow.
fn node(words: &mut Vec<u32>, intervals: &[Interval], base: u64) -> u32 {
    let mut values = [0_u8; 256];
    let mut groups = Groups::default();
    let mut parts = Parts { intervals, next: 0 };
    for (octet, value) in (0..).zip(&mut values) {
        let base = base + (octet << 8);
        *value = match parts.until(base + 256) {
            [all] if all.value != ESCAPE => all.value as u8,
            part => {
                groups.add(octet as usize, part, base);
                ESCAPE as u8
            }
        };
    }
    let node = words.len() as u32;
    let narrow = values.map(|value| match u32::from(value) {
        ESCAPE => Some(NARROW_ESCAPE as u8),
        NARROW_ESCAPE.. => None,
        _ => Some(value),
    });
    let narrow = if let Some(halves) = all(narrow) {
        let pairs = halves.as_chunks::<2>().0;
        let bytes: Vec<u8> = pairs.iter().map(|[even, odd]| odd << 4 | even).collect();
        pack(words, &bytes);
        NARROW
    } else {
        pack(words, &values);
        0
    };
    let where_groups_are = words.len();
    words.push(0);
    if !groups.values.is_empty() {
        words[where_groups_are] = words.len() as u32;
        pack(words, &groups.of_octet);
        pack(words, &groups.values);
    }
    narrow | node
}

/// All of them, if none is missing.
fn all(values: [Option<u8>; 256]) -> Option<[u8; 256]> {
    let mut found = [0; 256];
    for (found, value) in found.iter_mut().zip(values) {
        *found = value?;
    }
    Some(found)
}

/// The addresses of those /24 of a node that differ.
struct Groups {
    /// Which group a /24 has.
    of_octet: [u8; 256],
    values: Vec<u8>,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            of_octet: [0; 256],
            values: Vec::new(),
        }
    }
}

impl Groups {
    fn add(&mut self, octet: usize, intervals: &[Interval], base: u64) {
        let begins = self.values.len();
        self.of_octet[octet] = (begins / GROUP) as u8;
        for (i, interval) in intervals.iter().enumerate() {
            let end = intervals
                .get(i + 1)
                .map_or(GROUP, |next| (next.first as u64 - base) as usize);
            self.values.resize(begins + end, interval.value as u8);
        }
    }
}

fn pack(words: &mut Vec<u32>, bytes: &[u8]) {
    words.extend(
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes)),
    );
}
