//! What whoever brings records elsewhere has to know of a ledger: how far it goes, since when something waits, and that
//! what was read of it stays.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use jiff::Timestamp;
use rusqlite::params;

use super::usage::{AnyRecord, Which};
use super::{LedgerError, Reader, Result, failed};

/// The number of the last record, of whatever kind.
const LAST: &str = "SELECT max(coalesce((SELECT max(seq) FROM record), 0),
    coalesce((SELECT seq + records - 1 FROM usage ORDER BY seq DESC LIMIT 1), 0))";

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
    /// Number of the last record; 0 when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_seq(&self) -> Result<u64> {
        let last = self
            .connection
            .query_row(LAST, [], |row| row.get::<_, i64>(0));
        last.map(|last| last as u64).map_err(failed(&self.path))
    }

    /// How many records of each kind there are behind a number, and the number of the last of them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn counts(&self, after: u64) -> Result<(u64, BTreeMap<String, u64>)> {
        let read = || {
            // One view of the file for all three questions.
            let view = self.connection.unchecked_transaction()?;
            let last: i64 = view.query_row(LAST, [], |row| row.get(0))?;
            let usage = "SELECT coalesce(sum(records), 0) FROM usage WHERE seq > ?1";
            let usage: i64 = view.query_row(usage, [after as i64], |row| row.get(0))?;
            let mut others = view.prepare_cached(
                "SELECT json_extract(content, '$.kind'), count(*) FROM record WHERE seq > ?1 GROUP BY 1",
            )?;
            let others = others.query_map(params![after as i64], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as u64))
            })?;
            let mut counts = others.collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
            counts.insert("usage".to_owned(), usage as u64);
            Ok((last as u64, counts))
        };
        read().map_err(failed(&self.path))
    }

    /// Since when a record waits for somebody who has all until a number; `None` when none does.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn waiting_since(&self, after: u64) -> Result<Option<Timestamp>> {
        if self.last_seq()? <= after {
            return Ok(None);
        }
        let next = self.all_records(Which {
            after,
            limit: 1,
            ..Which::default()
        })?;
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
