//! Writing an IPv6 table: elementary intervals with an index on the upper 16 bits of the address.

use super::intervals::Interval;

/// Where the parts of a written table begin.
pub(super) struct Table6 {
    /// First word of the index.
    pub(super) index: u32,
    /// First key, in 64-bit words.
    pub(super) keys: u32,
    /// First value.
    pub(super) values: u32,
}

/// Appends the table. `intervals` begins with `::`.
pub(super) fn write(words: &mut Vec<u32>, intervals: &[Interval]) -> Table6 {
    let index = words.len();
    let mut next = 0;
    for upper in 0..=1_u128 << 16 {
        while next < intervals.len() && (upper == 1 << 16 || intervals[next].first < upper << 112) {
            next += 1;
        }
        // The interval that covers ::, the first, has none before it: never point at it.
        words.push(next.max(1) as u32);
    }
    if words.len() % 2 == 1 {
        words.push(0);
    }
    let keys = words.len() / 2;
    for interval in intervals {
        for half in [(interval.first >> 64) as u64, interval.first as u64] {
            // As the machine reads a 64-bit word from memory. Only little-endian machines run the agent:
            // the object is bpfel.
            words.extend([half as u32, (half >> 32) as u32]);
        }
    }
    let values = words.len();
    words.extend(intervals.iter().map(|interval| interval.value));
    Table6 {
        index: index as u32,
        keys: keys as u32,
        values: values as u32,
    }
}
