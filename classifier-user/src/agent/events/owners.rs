//! From a row to its subscriber. Rows that ended stay until others have their lines, because news of them may still be on
//! its way.

use std::sync::Arc;

use crate::accounts::{Accounts, Change};

/// First lines of rows, ascending, and beside each the subscriber: twenty bytes a row.
#[derive(Debug, Default)]
pub(in crate::agent) struct Owners {
    lines: Vec<u32>,
    subscribers: Vec<Arc<str>>,
}

impl Owners {
    /// All rows that count or counted.
    pub(super) fn of(accounts: &Accounts) -> Self {
        let ended = accounts.ended.iter();
        let ended = ended.map(|ended| (ended.row.line, &ended.subscriber));
        let present = accounts.present();
        let present = present.map(|(id, _, session)| (session.row.line, id));
        let mut owners = Self::default();
        owners.append(ended.chain(present));
        owners
    }

    /// Adds the rows a change gives out.
    pub(in crate::agent) fn learn(&mut self, change: &Change) {
        let mut reused: Vec<u32> = change.reused.iter().map(|(line, _)| *line).collect();
        reused.sort_unstable();
        let rows = change.subscribers.iter().filter_map(|(id, account)| {
            let line = account.session.as_ref()?.row.line;
            let is_new = line >= change.first_line || reused.binary_search(&line).is_ok();
            is_new.then_some((line, id))
        });
        self.append(rows);
    }

    fn append<'a>(&mut self, rows: impl Iterator<Item = (u32, &'a Arc<str>)>) {
        let mut rows: Vec<_> = rows.collect();
        // They are, most often.
        rows.sort_unstable_by_key(|(line, _)| *line);
        // Those that have the lines of others take their places.
        rows.retain(|(line, id)| match self.lines.binary_search(line) {
            Ok(at) => {
                self.subscribers[at] = Arc::clone(id);
                false
            }
            Err(_) => true,
        });
        if rows.is_empty() {
            return;
        }
        let in_order = self.lines.last() < rows.first().map(|(line, _)| line);
        self.lines.extend(rows.iter().map(|(line, _)| *line));
        self.subscribers
            .extend(rows.into_iter().map(|(_, id)| Arc::clone(id)));
        if !in_order {
            // A piece of memory was divided otherwise than before.
            let lines = self.lines.drain(..);
            let mut all: Vec<_> = lines.zip(self.subscribers.drain(..)).collect();
            all.sort_by_key(|(line, _)| *line);
            (self.lines, self.subscribers) = all.into_iter().unzip();
        }
    }

    /// Whose row begins at a line.
    pub(super) fn find(&self, line: u32) -> Option<&Arc<str>> {
        let found = self.lines.binary_search(&line).ok()?;
        self.subscribers.get(found)
    }
}
