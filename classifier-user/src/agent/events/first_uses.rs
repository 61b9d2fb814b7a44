//! Which meters have told of their first packet: a bit for each, in the order their counters stand in memory.
//!
//! Two CPUs that count their first packet in one meter at the same moment both tell of it, and several meters can be of
//! one class. Who remembers all of them can say which came first, whenever the events are read.

use crate::engine::lines::Lines;

/// Meters a line counts for.
const METERS: u32 = 4;
/// Lines a word has bits for.
const LINES: u32 = u64::BITS / METERS;

/// A set of meters, half a byte for each line of rows there is.
#[derive(Debug, Default)]
pub(super) struct FirstUses {
    words: Vec<u64>,
}

impl FirstUses {
    /// All meters below a line that have counted packets. Where the line holds buckets the bits say nothing, and
    /// nobody asks for them.
    pub(super) fn counted(lines: &Lines, next_line: u32) -> Self {
        let mut words = vec![0; next_line.div_ceil(LINES) as usize];
        for line in 1..next_line {
            let meters = lines.meters(line, METERS);
            let bits = (0..).zip(meters).fold(0, |bits, (number, meter)| {
                bits | u64::from(meter.packets_up | meter.packets_down != 0) << number
            });
            words[(line / LINES) as usize] |= bits << (line % LINES * METERS);
        }
        Self { words }
    }

    /// Where the bit of a row's meter stands.
    fn place(line: u32, meter: u32) -> (usize, u64) {
        let bit = u64::from(line) * u64::from(METERS) + u64::from(meter);
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    pub(super) fn contains(&self, line: u32, meter: u32) -> bool {
        let (word, bit) = Self::place(line, meter);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds a meter; `false` when it was there.
    pub(super) fn insert(&mut self, line: u32, meter: u32) -> bool {
        let (word, bit) = Self::place(line, meter);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    /// Removes all meters of some lines.
    pub(super) fn forget(&mut self, line: u32, lines: u32) {
        (0..lines * METERS).for_each(|meter| self.remove(line, meter));
    }

    pub(super) fn remove(&mut self, line: u32, meter: u32) {
        let (word, bit) = Self::place(line, meter);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::Ordering;

    use classifier::layout::meter_word;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_meters(
            steps in prop::collection::vec((0..3_u8, 1..40_u32, 0..20_u32), 0..200)
        ) {
            let mut uses = FirstUses::default();
            let mut expected = HashSet::new();
            for (step, line, meter) in steps {
                // A row's later meters are those of the lines behind its first one.
                let place = line * METERS + meter;
                match step {
                    0 => prop_assert_eq!(uses.insert(line, meter), expected.insert(place)),
                    1 => {
                        uses.remove(line, meter);
                        expected.remove(&place);
                    }
                    _ => prop_assert_eq!(uses.contains(line, meter), expected.contains(&place)),
                }
            }
        }
    }

    #[test]
    fn what_has_counted_is_found_in_the_lines() {
        let lines = Lines::on_heap(100);
        let counted = [(1, 0, false), (1, 7, true), (17, 3, false), (40, 9, true)];
        for (line, meter, down) in counted {
            lines
                .word(line, meter_word(meter, down) + 1)
                .store(1, Ordering::Relaxed);
        }
        let uses = FirstUses::counted(&lines, 60);
        for line in 1..60 {
            for meter in 0..METERS {
                let place = line * METERS + meter;
                let expected = counted
                    .iter()
                    .any(|(line, meter, _)| line * METERS + meter == place);
                assert_eq!(uses.contains(line, meter), expected, "{line} {meter}");
            }
        }
    }
}
