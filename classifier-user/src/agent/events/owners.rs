//! From a row to its subscriber. Rows are given out upwards, so the list is in order by itself; rows that ended stay,
//! because news of them may still be on its way.

use std::sync::Arc;

use crate::accounts::{Account, Accounts};

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

    /// Adds the rows a change gives out, which begins to do so at a line.
    pub(in crate::agent) fn learn(&mut self, first_line: u32, subscribers: &[(Arc<str>, Account)]) {
        let rows = subscribers.iter().filter_map(|(id, account)| {
            let line = account.session.as_ref()?.row.line;
            (line >= first_line).then_some((line, id))
        });
        self.append(rows);
    }

    fn append<'a>(&mut self, rows: impl Iterator<Item = (u32, &'a Arc<str>)>) {
        let mut rows: Vec<_> = rows.collect();
        // They are, most often.
        rows.sort_unstable_by_key(|(line, _)| *line);
        self.lines.extend(rows.iter().map(|(line, _)| *line));
        self.subscribers
            .extend(rows.into_iter().map(|(_, id)| Arc::clone(id)));
    }

    /// Whose row begins at a line.
    pub(super) fn find(&self, line: u32) -> Option<&Arc<str>> {
        let found = self.lines.binary_search(&line).ok()?;
        self.subscribers.get(found)
    }
}
