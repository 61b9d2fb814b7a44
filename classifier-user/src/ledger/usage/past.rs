//! What rows counted that ended, by subscriber and plan layout: others have their lines, and `usage` is of all since
//! counters began.

use std::sync::Arc;

use classifier::layout::Meter;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::account::plus;
use super::{Cut, codec};
use crate::accounts::usage::Past;
use crate::ledger::{Reader, Result, set_number};

/// The table, and how rows that ended are found by their line.
pub(in crate::ledger) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS past (
    subscriber TEXT NOT NULL, layout INTEGER NOT NULL, counters BLOB NOT NULL, PRIMARY KEY (subscriber, layout)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ended_line ON ended (line);
";

/// Names of the numbers that hold the bytes of all of them: charged, and dropped.
const SUMS: [&str; 2] = ["past_charged", "past_dropped"];

/// Adds a row that ended.
pub(super) fn add(transaction: &Transaction<'_>, cut: &Cut, layout: u32) -> rusqlite::Result<()> {
    if cut.meters.iter().all(|meter| *meter == Meter::default()) {
        return Ok(());
    }
    let before: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT counters FROM past WHERE subscriber = ?1 AND layout = ?2")?
        .query_row(params![&*cut.subscriber, layout], |row| row.get(0))
        .optional()?;
    let mut counters = Vec::new();
    if let Some(before) = before {
        codec::counters(&before, &mut counters).ok_or(rusqlite::Error::InvalidQuery)?;
    }
    counters.resize(counters.len().max(cut.meters.len()), Meter::default());
    for (sum, meter) in counters.iter_mut().zip(&cut.meters) {
        *sum = plus(sum, meter);
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO past VALUES (?1, ?2, ?3)")?
        .execute(params![
            &*cut.subscriber,
            layout,
            codec::put_counters(&counters)
        ])?;
    for (name, bytes) in SUMS.iter().zip(cut.bytes()) {
        let before = "SELECT value FROM number WHERE name = ?1";
        let before = transaction
            .query_row(before, [name], |row| row.get::<_, i64>(0))
            .optional()?;
        set_number(transaction, name, before.unwrap_or(0) as u64 + bytes)?;
    }
    Ok(())
}

/// Forgets them: counters began anew.
pub(super) fn forget(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    SUMS.iter()
        .try_for_each(|name| set_number(transaction, name, 0))
}

impl Reader {
    /// What rows counted that ended and are recorded to the end: subscriber, plan layout, and its meters.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn past(&self) -> Result<Vec<Past>> {
        let rows = self.rows("SELECT * FROM past", |row| {
            let mut meters = Vec::new();
            let read = codec::counters(row.get_ref(2)?.as_blob()?, &mut meters);
            Ok((
                Arc::from(row.get_ref(0)?.as_str()?),
                row.get(1)?,
                meters,
                read,
            ))
        })?;
        rows.into_iter()
            .map(|(subscriber, layout, meters, read)| {
                let what = || {
                    self.damaged(format!(
                        "what ended rows of {subscriber} counted cannot be read"
                    ))
                };
                read.ok_or_else(what)?;
                Ok((Arc::clone(&subscriber), layout, meters))
            })
            .collect()
    }

    /// Bytes of all of them: what was charged, and what was dropped.
    pub(in crate::ledger) fn past_bytes(&self) -> Result<[u64; 2]> {
        let [charged, dropped] = SUMS;
        let number = |name| Ok::<_, crate::ledger::LedgerError>(self.number(name)?.unwrap_or(0));
        Ok([number(charged)?, number(dropped)?])
    }
}
