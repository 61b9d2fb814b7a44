//! Lines that were given out, and are free again: rows that ended and whose last records are written. What was freed first
//! is given out first, so that neighbours stay neighbours.

use classifier::layout::CHUNK_LINES;
use imbl::{OrdMap, Vector};

/// Free pieces of memory, by their length in lines: the first line of each. A copy costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Free {
    pieces: OrdMap<u32, Vector<u32>>,
}

impl Free {
    /// All lines from 1 up to `next_line` that are in none of the pieces in use, each its first line and its length.
    #[must_use]
    pub fn between(mut used: Vec<(u32, u32)>, next_line: u32) -> Self {
        used.sort_unstable();
        let mut free = Self::default();
        let mut next = 1;
        for (line, length) in used.into_iter().chain([(next_line, 0)]) {
            while next < line {
                // None reaches from one chunk into the next.
                let end = line.min((next / CHUNK_LINES + 1) * CHUNK_LINES);
                free.give_back(next, end - next);
                next = end;
            }
            next = next.max(line + length);
        }
        free
    }

    /// Gives out a piece of so many lines: its first one.
    pub fn take(&mut self, length: u32) -> Option<u32> {
        let found = *self.pieces.range(length..).next()?.0;
        let pieces = self.pieces.get_mut(&found)?;
        let line = pieces.pop_front()?;
        if pieces.is_empty() {
            self.pieces.remove(&found);
        }
        if found > length {
            // In front, so that the rest of a large piece is given out before another one is broken up.
            let rest = self.pieces.entry(found - length).or_default();
            rest.push_front(line + length);
        }
        Some(line)
    }

    /// Takes a piece back.
    pub fn give_back(&mut self, line: u32, length: u32) {
        self.pieces.entry(length).or_default().push_back(line);
    }

    /// How many lines there are.
    #[must_use]
    pub fn lines(&self) -> u64 {
        let pieces = self.pieces.iter();
        pieces
            .map(|(length, lines)| u64::from(*length) * lines.len() as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// No line is given out twice, none is lost, none reaches over a chunk's end; what a start finds free is what was.
        #[test]
        fn every_line_is_free_or_in_use(
            steps in prop::collection::vec((any::<bool>(), 1..6_u32, any::<prop::sample::Index>()), 1..200),
            chunks in 1..3_u32,
        ) {
            let next_line = (chunks * CHUNK_LINES).saturating_sub(7);
            let first = next_line.saturating_sub(120).max(1);
            let mut free = Free::between(vec![(1, first - 1)], next_line);
            let mut used: Vec<(u32, u32)> = Vec::new();
            for (take, length, which) in steps {
                if take {
                    if let Some(line) = free.take(length) {
                        prop_assert!(line >= first && line + length <= next_line);
                        prop_assert_eq!(line / CHUNK_LINES, (line + length - 1) / CHUNK_LINES);
                        let apart = |(other, size): &(u32, u32)| other + size <= line || line + length <= *other;
                        prop_assert!(used.iter().all(apart));
                        used.push((line, length));
                    }
                } else if !used.is_empty() {
                    let (line, length) = used.swap_remove(which.index(used.len()));
                    free.give_back(line, length);
                }
                let in_use: u64 = used.iter().map(|(_, length)| u64::from(*length)).sum();
                prop_assert_eq!(free.lines() + in_use, u64::from(next_line - first));
                let again = Free::between([vec![(1, first - 1)], used.clone()].concat(), next_line);
                prop_assert_eq!(again.lines(), free.lines());
            }
        }
    }
}
