//! What rows counted that ended, by subscriber and plan layout: others have their lines, and `usage` is of all since
//! counters began.

use std::sync::Arc;

use classifier::layout::Meter;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::account::plus;
use super::{Cut, codec};
use crate::accounts::usage::{ByLayout, Past};
use crate::ledger::{Reader, Result};

/// The tables, and how rows that ended are found by their line. `past_sum` is `past` without the subscribers: a start need not
/// read of each of them.
pub(in crate::ledger) const TABLES: &str = "
CREATE TABLE past (
    subscriber TEXT NOT NULL, layout INTEGER NOT NULL, counters BLOB NOT NULL, PRIMARY KEY (subscriber, layout)
) WITHOUT ROWID;
CREATE TABLE past_sum (layout INTEGER PRIMARY KEY, counters BLOB NOT NULL);
CREATE INDEX ended_line ON ended (line);
";

/// Adds a row that ended to its subscriber's.
pub(super) fn add(transaction: &Transaction<'_>, cut: &Cut, layout: u32) -> rusqlite::Result<()> {
    if cut.meters.iter().all(|meter| *meter == Meter::default()) {
        return Ok(());
    }
    let before = transaction
        .prepare_cached("SELECT counters FROM past WHERE subscriber = ?1 AND layout = ?2")?
        .query_row(params![&*cut.subscriber, layout], |row| row.get(0))
        .optional()?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO past VALUES (?1, ?2, ?3)")?
        .execute(params![&*cut.subscriber, layout, sum(before, &cut.meters)?])
        .map(drop)
}

/// Adds the rows that ended in one transaction to those of all subscribers.
pub(super) fn add_sums(transaction: &Transaction<'_>, rows: &ByLayout) -> rusqlite::Result<()> {
    for (layout, meters) in rows {
        let before = transaction
            .prepare_cached("SELECT counters FROM past_sum WHERE layout = ?1")?
            .query_row([layout], |row| row.get(0))
            .optional()?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO past_sum VALUES (?1, ?2)")?
            .execute(params![layout, sum(before, meters)?])?;
    }
    Ok(())
}

fn sum(before: Option<Vec<u8>>, meters: &[Meter]) -> rusqlite::Result<Vec<u8>> {
    let mut counters = Vec::new();
    if let Some(before) = before {
        codec::counters(&before, &mut counters).ok_or(rusqlite::Error::InvalidQuery)?;
    }
    counters.resize(counters.len().max(meters.len()), Meter::default());
    for (sum, meter) in counters.iter_mut().zip(meters) {
        *sum = plus(sum, meter);
    }
    Ok(codec::put_counters(&counters))
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

    /// The same of all subscribers together.
    pub(in crate::ledger) fn past_sums(&self) -> Result<ByLayout> {
        let rows = self.rows("SELECT layout, counters FROM past_sum", |row| {
            let mut meters = Vec::new();
            let read = codec::counters(row.get_ref(1)?.as_blob()?, &mut meters);
            Ok((row.get(0)?, meters, read))
        })?;
        rows.into_iter()
            .map(|(layout, meters, read)| {
                let what = || self.damaged("what ended rows counted cannot be read".to_owned());
                read.ok_or_else(what).map(|()| (layout, meters))
            })
            .collect()
    }
}
