//! What packets drew from buckets, written down while they draw: so that after a reboot, when the kernel's counters are
//! gone, subscribers have what they had, but for what the last moment drew.

use classifier::layout::MAX_BUCKETS;
use tracing::error;

use crate::accounts::{Accounts, Change};
use crate::agent::node::Node;
use crate::ledger::LedgerError;

/// Subscribers whose buckets are written down in one transaction, while requests wait: some milliseconds.
const AT_ONCE: usize = 4_000;
/// Subscribers that are looked at in one go: about as long.
const LOOKED_AT: usize = 100_000;

/// What is written down already, by number of account.
#[derive(Debug, Default)]
pub(in crate::agent) struct Levels {
    blocks: Vec<Block>,
    /// The sums are those of the ledger.
    recalled: bool,
    /// Where the next look begins.
    next: usize,
}

/// A bucket block, and the sum of what was drawn from its buckets when it was last written down.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    line: u32,
    buckets: u32,
    drawn: u64,
}

impl Levels {
    /// Those of all subscribers.
    pub(in crate::agent) fn of(accounts: &Accounts) -> Self {
        let mut levels = Self::default();
        for account in accounts.subscribers.values() {
            levels.place(account.number, account.bucket_line, account.buckets.len());
        }
        levels
    }

    /// Those a change gives out.
    pub(in crate::agent) fn learn(&mut self, change: &Change) {
        for (_, account) in &change.subscribers {
            self.place(account.number, account.bucket_line, account.buckets.len());
        }
    }

    fn place(&mut self, account: u32, line: u32, buckets: usize) {
        let account = account as usize;
        if self.blocks.len() <= account {
            self.blocks.resize(account + 1, Block::default());
        }
        let block = &mut self.blocks[account];
        (block.line, block.buckets) = (line, buckets as u32);
    }
}

impl Node {
    /// Writes down what was drawn since the last look, of a number of subscribers: whether there may be more.
    pub fn note_drawn(&mut self) -> bool {
        match self.write_drawn() {
            Ok(more) => more,
            Err(error) => {
                // The kernel goes on counting, and the next look catches up.
                error!(
                    "what was drawn from buckets cannot be written down: {error}; it is tried again"
                );
                false
            }
        }
    }

    fn write_drawn(&mut self) -> Result<bool, LedgerError> {
        // Orders tell the kernel while they hold the node: by now it knows.
        self.ledger.told()?;
        if !self.levels.recalled {
            for (account, drawn) in self.ledger.drawn()? {
                if let Some(block) = self.levels.blocks.get_mut(account as usize) {
                    block.drawn = drawn;
                }
            }
            self.levels.recalled = true;
        }
        let (mut drawn, mut sums) = (Vec::new(), Vec::new());
        let first = self.levels.next;
        let mut next = self.levels.blocks.len();
        for (number, block) in self.levels.blocks.iter().enumerate().skip(first) {
            if sums.len() == AT_ONCE || number == first + LOOKED_AT {
                next = number;
                break;
            }
            if block.line == 0 {
                continue;
            }
            let buckets = 0..block.buckets.min(MAX_BUCKETS);
            let of = |position| self.lines.drawn(block.line, position);
            let sum = buckets.clone().map(of).fold(0, u64::wrapping_add);
            if sum != block.drawn {
                sums.push((number, sum));
                let used = buckets.map(|position| (number as u32, position, of(position)));
                drawn.extend(used.filter(|(.., bytes)| *bytes > 0));
            }
        }
        if !drawn.is_empty() {
            self.ledger.put_drawn(&drawn)?;
        }
        for (number, sum) in sums {
            self.levels.blocks[number].drawn = sum;
        }
        let more = next < self.levels.blocks.len();
        self.levels.next = if more { next } else { 0 };
        Ok(more)
    }
}
