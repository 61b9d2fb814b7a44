//! What whoever brings records elsewhere has to know of a ledger: how far it goes, since when something waits, and that
//! what was read of it stays.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use jiff::Timestamp;
use rusqlite::Connection;

use super::usage::{AnyRecord, Which, next_seq};
use super::{LedgerError, Reader, Result, failed};

impl AnyRecord {
    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::Other(record) => &record.entry.kind,
        }
    }

    /// When what it is about was over.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Usage(record) => record.end,
            Self::Other(record) => record.time,
        }
    }
}

impl Reader {
    /// Asks several questions of one state of the file, whatever is written meanwhile.
    pub(super) fn at_once<T, E: From<LedgerError>>(
        &self,
        ask: impl FnOnce(&Connection) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        // Somebody may be asking several already.
        if !self.connection.is_autocommit() {
            return ask(&self.connection);
        }
        let state = self
            .connection
            .unchecked_transaction()
            .map_err(failed(&self.path))?;
        ask(&state)
    }

    fn last_in(&self, state: &Connection) -> Result<u64> {
        let next = next_seq(state).map_err(failed(&self.path))?;
        Ok(next as u64 - 1)
    }

    /// Number of the last record; 0 when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_seq(&self) -> Result<u64> {
        self.at_once(|state| self.last_in(state))
    }

    /// The records that come next behind a number, so many at the most. None between them is missing because it was written
    /// while they were read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn next_records(&self, after: u64, limit: usize) -> Result<Vec<AnyRecord>> {
        let which = Which {
            after,
            limit,
            ..Which::default()
        };
        self.at_once(|_| self.all_records(which))
    }

    /// How many records of each kind there are behind a number, and the number of the last of them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn counts(&self, after: u64) -> Result<(u64, BTreeMap<String, u64>)> {
        const PAGE: usize = 10_000;
        self.at_once(|state| {
            let last = self.last_in(state)?;
            let mut counts = BTreeMap::new();
            let mut others = 0;
            let mut from = after;
            loop {
                let page = self.records(from, None, None, PAGE)?;
                others += page.len() as u64;
                for record in &page {
                    from = record.seq;
                    *counts.entry(record.entry.kind.clone()).or_default() += 1;
                }
                if page.len() < PAGE {
                    break;
                }
            }
            // They are numbered without gaps, and many: nobody needs to read them to know how many.
            let usage = last.saturating_sub(after).saturating_sub(others);
            *counts.entry("usage".to_owned()).or_default() += usage;
            Ok((last, counts))
        })
    }

    /// Since when a record waits for somebody who has all until a number; `None` when none does.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn waiting_since(&self, after: u64) -> Result<Option<Timestamp>> {
        let next = self.next_records(after, 1)?;
        Ok(next.first().map(AnyRecord::time))
    }

    /// Sees that everything that was read so far outlives a power cut. The agent does not wait for the disk at each of its
    /// transactions; whoever hands a record on must, or another one could get its number.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn secure(&self) -> Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        // What is not in the log is in the file itself: SQLite syncs both before it begins the log anew.
        match File::open(&name).and_then(|log| log.sync_data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LedgerError::Io {
                path: name.into(),
                error,
            }),
            _ => Ok(()),
        }
    }

    /// Bytes of the ledger's files.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let of = |suffix: &str| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(name).map_or(0, |file| file.len())
        };
        of("") + of("-wal")
    }
}
