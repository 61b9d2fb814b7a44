//! Putting what was added up where it belongs, in one transaction with how far it goes.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::accounts::nanoseconds;
use super::super::{Ledger, LedgerError, Result, failed};
use super::cells::Cells;
use super::gather::{Gathered, Sum};
use super::noted;
use super::period::{Period, Span};
use crate::fault::{self, Point};

/// Why it is not put.
enum Failed {
    Sqlite(rusqlite::Error),
    /// What is there cannot be added to.
    Damaged(String),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Ledger {
    /// Adds what records add up to. What was gathered before somebody else added to roll-ups changes nothing.
    ///
    /// # Errors
    /// When it cannot be written; nothing is then.
    pub fn roll_up(&mut self, gathered: &Gathered) -> Result<()> {
        // What a machine that goes down forgets of it is added up again.
        self.careful(false)?;
        let result = self.roll_up_now(gathered);
        self.careful(true)?;
        result
    }

    fn roll_up_now(&mut self, gathered: &Gathered) -> Result<()> {
        let path = &self.reader.path;
        let transaction = self.reader.connection.transaction().map_err(failed(path))?;
        match put(&transaction, gathered) {
            Ok(()) => {}
            Err(Failed::Sqlite(error)) => return Err(failed(path)(error)),
            Err(Failed::Damaged(what)) => {
                return Err(LedgerError::Damaged {
                    path: path.clone(),
                    what,
                });
            }
        }
        fault::at(Point::BeforeRollupCommit);
        transaction.commit().map_err(failed(path))?;
        fault::at(Point::AfterRollupCommit);
        Ok(())
    }
}

fn put(transaction: &Transaction<'_>, gathered: &Gathered) -> std::result::Result<(), Failed> {
    let (through, complete) = noted(transaction)?;
    if through != gathered.after {
        return Ok(());
    }
    let zone = zone(transaction, gathered)?;
    let numbers = |table, column, texts: &[String]| {
        let numbers = texts.iter();
        let numbers = numbers.map(|text| number(transaction, table, column, text));
        numbers.collect::<rusqlite::Result<Vec<u64>>>()
    };
    let labels = numbers("rollup_label", "content", &gathered.labels)?;
    let subscribers = numbers("rollup_subscriber", "id", &gathered.subscribers)?;
    for ((span, period), sums) in &gathered.sums {
        let period = period_number(transaction, *span, *period, zone)?;
        let rows = sums.iter().map(|(of, sum)| (subscribers[*of], sum));
        let mut rows: Vec<_> = rows.collect();
        // Side by side in the table, too.
        rows.sort_unstable_by_key(|(subscriber, _)| *subscriber);
        for (subscriber, sum) in rows {
            add(transaction, (period, subscriber as i64), sum, &labels)?;
        }
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO rollup_state VALUES (1, ?1, ?2)")?
        .execute(params![gathered.through, gathered.complete.or(complete)])?;
    Ok(())
}

/// Adds to the row of a subscriber in a period.
fn add(
    transaction: &Transaction<'_>,
    (period, subscriber): (i64, i64),
    sum: &Sum,
    labels: &[u64],
) -> std::result::Result<(), Failed> {
    let find = "SELECT active, peak_up, peak_down, cells FROM rollup WHERE period = ?1 AND subscriber = ?2";
    let before = transaction
        .prepare_cached(find)?
        .query_row([period, subscriber], sum_of)
        .optional()?;
    let wrong = || {
        Failed::Damaged(format!(
            "what subscriber {subscriber} used in period {period} of the roll-ups cannot be added to"
        ))
    };
    let mut after = before
        .unwrap_or_else(|| Some(Sum::default()))
        .ok_or_else(wrong)?;
    after.active = after.active.saturating_add(sum.active);
    after.peak_up = after.peak_up.max(sum.peak_up);
    after.peak_down = after.peak_down.max(sum.peak_down);
    for (label, cell) in &sum.cells.0 {
        let label = labels.get(*label as usize);
        label
            .and_then(|label| after.cells.add(*label, cell))
            .ok_or_else(wrong)?;
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            period,
            subscriber,
            signed(after.active),
            signed(after.peak_up),
            signed(after.peak_down),
            after.cells.put(),
        ])?;
    Ok(())
}

/// SQLite's numbers have a sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What a row says, from its first column on: `active`, `peak_up`, `peak_down`, `cells`; `None` when it cannot be.
pub(in crate::ledger) fn sum_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Sum>> {
    let cells = Cells::of(row.get_ref(3)?.as_blob()?);
    let (active, peak_up, peak_down): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(cells.map(|cells| Sum {
        active: active.unsigned_abs(),
        peak_up: peak_up.unsigned_abs(),
        peak_down: peak_down.unsigned_abs(),
        cells,
    }))
}

/// The number a text has in a table, which is noted if it has none.
fn number(connection: &Connection, table: &str, column: &str, text: &str) -> rusqlite::Result<u64> {
    let find = format!("SELECT number FROM {table} WHERE {column} = ?1");
    let known = connection
        .prepare_cached(&find)?
        .query_row([text], |row| row.get::<_, i64>(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known.unsigned_abs());
    }
    let put = format!("INSERT INTO {table} ({column}) VALUES (?1)");
    connection.prepare_cached(&put)?.execute([text])?;
    Ok(connection.last_insert_rowid().unsigned_abs())
}

/// The number of the time zone. Another one than before is noted as that of the records from here on.
fn zone(connection: &Connection, gathered: &Gathered) -> rusqlite::Result<i64> {
    let last = "SELECT name FROM rollup_zone ORDER BY number DESC LIMIT 1";
    let last = connection
        .prepare_cached(last)?
        .query_row([], |row| row.get(0))
        .optional()?;
    if last.is_none_or(|name: String| name != gathered.zone) {
        connection.execute(
            "INSERT INTO rollup_zone (name, after) VALUES (?1, ?2)",
            params![gathered.zone, gathered.after],
        )?;
    }
    // That of its first row: a zone that comes back has the periods it had.
    let find = "SELECT min(number) FROM rollup_zone WHERE name = ?1";
    connection
        .prepare_cached(find)?
        .query_row([&gathered.zone], |row| row.get(0))
}

fn period_number(
    connection: &Connection,
    span: Span,
    period: Period,
    zone: i64,
) -> rusqlite::Result<i64> {
    let (start, end) = (nanoseconds(period.start), nanoseconds(period.end));
    let key = params![span.number(), start, end, zone];
    let find = "SELECT number FROM rollup_period WHERE span = ?1 AND start = ?2 AND ended = ?3 AND zone = ?4";
    let known = connection
        .prepare_cached(find)?
        .query_row(key, |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let put = "INSERT INTO rollup_period (span, start, ended, zone) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(put)?.execute(key)?;
    Ok(connection.last_insert_rowid())
}
