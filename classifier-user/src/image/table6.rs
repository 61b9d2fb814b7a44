//! Writing the remotes' IPv6 table: see [`classifier::image::remotes`].

use classifier::image::remotes::{
    DEPTH_BIT, ESCAPE, INNER_CHILDREN, LEAF_INTERVALS, LEAF_LONG, LEAF_VALUES, LONG_STEPS,
    MAX_DEPTH, MAX_SHIFT, SHIFT_BIT,
};
use classifier::image::{DEEPER, LINE_WORDS, at};

use super::intervals::Interval;

/// Intervals a second-level entry is to have behind it, on average: fewer than fill a leaf, because they are not
/// spread evenly.
const INTERVALS_EACH: usize = 6;
/// Most intervals that may share their first 32 bits behind the second level.
pub(super) const MAX_LONG: usize = (1 << LONG_STEPS) - 1;

/// Appends the table and writes down where its parts are. `intervals` begins with `::`.
pub(super) fn write(words: &mut Vec<u32>, intervals: &[Interval]) {
    let top = words.len();
    words.resize(top + (1 << 16), 0);
    let mut table = Table::default();
    let mut next = 0;
    for upper in 0..1_u128 << 16 {
        let part = Part::of(intervals, &mut next, upper << 112, 112);
        words[top + upper as usize] = match part.intervals {
            [all] => all.value,
            several => {
                let shift = (several.len() / INTERVALS_EACH)
                    .checked_ilog2()
                    .map_or(0, |log| (log + 1).min(MAX_SHIFT));
                DEEPER | shift << SHIFT_BIT | table.second_level(&part, shift)
            }
        };
    }
    words[at::REMOTES6 as usize] = top as u32;
    words[at::REMOTES6_SECOND as usize] = words.len() as u32;
    words.append(&mut table.second);
    // Lines, and keys, stand at multiples of their size.
    words.resize(words.len().next_multiple_of(LINE_WORDS as usize), 0);
    words[at::REMOTES6_LINES as usize] = (words.len() / LINE_WORDS as usize) as u32;
    let descriptions = words.len() + table.lines.len() * LINE_WORDS as usize;
    for mut line in table.lines {
        if let Line::Leaf { words: leaf, long } = &mut line
            && let Some(long) = long
        {
            leaf[LEAF_LONG as usize] += (descriptions + *long) as u32;
        }
        words.extend(line.words());
    }
    words.append(&mut table.descriptions);
    words.resize(words.len().next_multiple_of(2), 0);
    words[at::REMOTES6_KEYS as usize] = (words.len() / 2) as u32;
    for interval in &table.long {
        for half in [(interval.first >> 64) as u64, interval.first as u64] {
            // As the machine reads a 64-bit word from memory. Only little-endian machines run the agent:
            // the object is bpfel.
            words.extend([half as u32, (half >> 32) as u32]);
        }
    }
    words[at::REMOTES6_VALUES as usize] = words.len() as u32;
    words.extend(table.long.iter().map(|interval| interval.value));
}

/// Intervals that lie, wholly or in part, in the addresses of one entry.
struct Part<'a> {
    intervals: &'a [Interval],
    first: u128,
    bits: u32,
}

impl<'a> Part<'a> {
    /// Those of `intervals` in the `2^bits` addresses from `first`; `next` is the one that covers `first`, and
    /// becomes the one that covers the address behind the last.
    fn of(intervals: &'a [Interval], next: &mut usize, first: u128, bits: u32) -> Self {
        let end = first.checked_add(1 << bits);
        let begins_inside = |interval: &&Interval| end.is_none_or(|end| interval.first < end);
        let begin = *next;
        let after = begin
            + 1
            + intervals[begin + 1..]
                .iter()
                .take_while(begins_inside)
                .count();
        let ends_here = intervals
            .get(after)
            .is_some_and(|interval| Some(interval.first) == end);
        *next = if ends_here { after } else { after - 1 };
        Self {
            intervals: &intervals[begin..after],
            first,
            bits,
        }
    }

    /// Where the interval at an index ends, as far as it lies in the part: the first address behind it, counted
    /// from the part's first.
    fn end_of(&self, index: usize) -> u128 {
        self.intervals
            .get(index + 1)
            .map_or(1 << self.bits, |next| next.first - self.first)
    }
}

/// A leaf's answer.
#[derive(Clone, Copy)]
enum Answer {
    Value(u8),
    /// Index of the first long interval, and how many there are.
    Long(u32, u32),
}

/// What an inner node or a leaf tells apart: digits up to and including `last`.
#[derive(Clone, Copy)]
struct Segment {
    last: u32,
    answer: Answer,
}

/// A cache line in the making.
enum Line {
    Inner([u32; LINE_WORDS as usize]),
    Leaf {
        words: [u32; LINE_WORDS as usize],
        /// Where in the descriptions this leaf's begin.
        long: Option<usize>,
    },
}

impl Line {
    const fn words(&self) -> &[u32; LINE_WORDS as usize] {
        match self {
            Self::Inner(words) | Self::Leaf { words, .. } => words,
        }
    }
}

/// The table's parts in the making; positions count from each part's beginning.
#[derive(Default)]
struct Table {
    second: Vec<u32>,
    lines: Vec<Line>,
    descriptions: Vec<u32>,
    long: Vec<Interval>,
}

impl Table {
    /// Writes the second level of a top entry; where it begins.
    fn second_level(&mut self, part: &Part<'_>, shift: u32) -> u32 {
        let begin = self.second.len() as u32;
        let bits = 112 - shift;
        let mut next = 0;
        for number in 0..1_u128 << shift {
            let first = part.first | number << bits;
            let part = Part::of(part.intervals, &mut next, first, bits);
            let entry = match part.intervals {
                [all] => all.value,
                _ => self.tree(&part),
            };
            self.second.push(entry);
        }
        begin
    }

    /// Writes a search tree over the next 32 bits; its entry.
    fn tree(&mut self, part: &Part<'_>) -> u32 {
        let segments = self.segments(part);
        let leaves = self.lines.len();
        for segments in segments.chunks(LEAF_INTERVALS as usize) {
            let leaf = self.leaf(segments);
            self.lines.push(leaf);
        }
        let mut lasts: Vec<u32> = segments
            .chunks(LEAF_INTERVALS as usize)
            .filter_map(|segments| Some(segments.last()?.last))
            .collect();
        let mut first_child = leaves;
        let mut depth = 0;
        while lasts.len() > 1 {
            depth += 1;
            let parents = self.lines.len();
            let mut above = Vec::new();
            for children in lasts.chunks(INNER_CHILDREN as usize) {
                let mut words = [u32::MAX; LINE_WORDS as usize];
                words[..children.len() - 1].copy_from_slice(&children[..children.len() - 1]);
                words[INNER_CHILDREN as usize - 1] = first_child as u32;
                first_child += children.len();
                self.lines.push(Line::Inner(words));
                above.extend(children.last());
            }
            lasts = above;
            first_child = parents;
        }
        assert!(
            depth <= MAX_DEPTH,
            "16^6 nodes hold all the intervals there can be"
        );
        DEEPER | depth << DEPTH_BIT | (self.lines.len() - 1) as u32
    }

    /// A part by its upper 32 bits: segments of digits with one answer each.
    fn segments(&mut self, part: &Part<'_>) -> Vec<Segment> {
        let low = part.bits - 32;
        let digit_before = |end: u128| ((end - 1) >> low) as u32;
        let mut segments = Vec::new();
        let (mut at, mut index) = (0, 0);
        while at < 1 << part.bits {
            let whole = part.end_of(index) >> low << low;
            let (end, answer) = if whole > at && part.intervals[index].value != ESCAPE {
                (whole, Answer::Value(part.intervals[index].value as u8))
            } else {
                // One digit, shared with the intervals that follow up to its end.
                let end = at + (1 << low);
                let first = index;
                while part.end_of(index) < end {
                    index += 1;
                }
                (end, self.describe(&part.intervals[first..=index]))
            };
            segments.push(Segment {
                last: digit_before(end),
                answer,
            });
            at = end;
            if part.end_of(index) == end {
                index += 1;
            }
        }
        segments
    }

    fn describe(&mut self, intervals: &[Interval]) -> Answer {
        let first = self.long.len() as u32;
        self.long.extend_from_slice(intervals);
        Answer::Long(first, intervals.len() as u32)
    }

    fn leaf(&mut self, segments: &[Segment]) -> Line {
        let mut words = [u32::MAX; LINE_WORDS as usize];
        let mut values = [0_u8; LEAF_INTERVALS as usize];
        let mut long = None;
        for (position, segment) in segments.iter().enumerate() {
            if position + 1 < segments.len() {
                words[position] = segment.last;
            }
            values[position] = match segment.answer {
                Answer::Value(value) => value,
                Answer::Long(first, count) => {
                    let begin = *long.get_or_insert_with(|| {
                        let begin = self.descriptions.len();
                        self.descriptions
                            .resize(begin + 2 * LEAF_INTERVALS as usize, 0);
                        begin
                    });
                    self.descriptions[begin + 2 * position] = first;
                    self.descriptions[begin + 2 * position + 1] = count;
                    ESCAPE as u8
                }
            };
        }
        for (word, bytes) in words[LEAF_VALUES as usize..]
            .iter_mut()
            .zip(values.as_chunks::<4>().0)
        {
            *word = u32::from_le_bytes(*bytes);
        }
        words[LEAF_LONG as usize] = 0;
        Line::Leaf { words, long }
    }
}
