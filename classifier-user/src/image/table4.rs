//! Writing an IPv4 table: 2^16 entries for the upper half of the address, and 256 entries more for each of the
//! next two bytes where they make a difference.

use classifier::image::DEEPER;

use super::intervals::Interval;

const NODE: usize = 256;

/// Appends the table and returns its first word.
pub(super) fn write(words: &mut Vec<u32>, intervals: &[Interval]) -> u32 {
    let top = words.len();
    words.resize(top + (1 << 16), 0);
    for (i, interval) in intervals.iter().enumerate() {
        let end = intervals
            .get(i + 1)
            .map_or(1 << 32, |next| next.first as u64);
        let mut at = interval.first as u64;
        // In the largest aligned steps that fit, like a prefix set.
        while at < end {
            let entry = top + (at >> 16) as usize;
            let left = end - at;
            if at & 0xffff == 0 && left >= 1 << 16 {
                words[entry] = interval.value;
                at += 1 << 16;
                continue;
            }
            let entry = deeper(words, entry) + ((at >> 8) & 0xff) as usize;
            if at & 0xff == 0 && left >= 1 << 8 {
                words[entry] = interval.value;
                at += 1 << 8;
                continue;
            }
            let entry = deeper(words, entry) + (at & 0xff) as usize;
            words[entry] = interval.value;
            at += 1;
        }
    }
    top as u32
}

/// The 256 entries behind an entry, made when there are none yet.
fn deeper(words: &mut Vec<u32>, entry: usize) -> usize {
    if words[entry] & DEEPER == 0 {
        words[entry] = DEEPER | words.len() as u32;
        words.resize(words.len() + NODE, 0);
    }
    (words[entry] & !DEEPER) as usize
}
