//! What the test binaries said, added up.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;

/// Tests over all binaries; a skipped test is not a passed one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Tests, and steps, that failed.
    pub(crate) failed: usize,
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Tests, and steps, that could not be run here.
    pub(crate) skipped: usize,
}

impl Tally {
    /// A step without tests in it that failed.
    pub(crate) const FAILURE: Self = Self {
        failed: 1,
        passed: 0,
        skipped: 0,
    };

    /// Adds what a `test result:` line of a test binary says; other lines say nothing.
    pub(crate) fn read_line(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        // "ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s"
        let counts = counts.split_once(". ").map_or(counts, |(_, counts)| counts);
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Moves tests from passed to skipped that returned early and left a line in the skip file.
    pub(crate) fn take_skips(&mut self, skips: &Skips) {
        self.passed = self.passed.saturating_sub(skips.0.len());
        self.skipped += skips.0.len();
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.failed += other.failed;
        self.passed += other.passed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The skip file: a line for every test that could not be run, `TEST: REASON`.
///
/// The harness knows no skipping and calls such a test passed, so it says so on the side.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Skips(BTreeSet<String>);

impl Skips {
    /// Reads the file; a test that skips twice for the same reason has skipped once.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.trim().is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    /// The lines, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn results_of_all_binaries_are_added() {
        let text = "running 4 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.10s\n";
        assert_eq!(tally(text).to_string(), "5 passed, 5 failed, 1 skipped");
    }

    #[test]
    fn a_test_that_prints_something_similar_is_not_counted() {
        assert_eq!(
            tally("my test result: ok. 3 passed; 0 failed\n3 passed; 1 failed"),
            Tally::default()
        );
    }

    #[test]
    fn a_skipped_test_has_not_passed() {
        let mut tally = Tally {
            passed: 4,
            failed: 1,
            skipped: 1,
        };
        let skips = Skips::parse("attach: not root\n\nreplay: no captures\nattach: not root\n");
        tally.take_skips(&skips);
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 3 skipped");
        assert_eq!(
            skips.iter().collect::<Vec<_>>(),
            ["attach: not root", "replay: no captures"]
        );
    }
}
