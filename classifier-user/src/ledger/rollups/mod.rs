//! Roll-ups: what usage records add up to, by the hour and by the day. They are made of records, a step at a time, and stay
//! when the records are pruned; nothing that is charged depends on them.
//!
//! `through` is how far they have come: each record up to that number is in one hour and in one day. It moves in the
//! transaction that adds the records, so whoever is killed at any moment leaves nothing out and nothing in twice.
//!
//! The tables are no part of the schema: they are made where they are missing, whenever a ledger is opened for writing, and
//! what records there are is added then, from sealed files, too.

mod cells;
mod gather;
pub(super) mod period;
mod put;
mod read;
#[cfg(test)]
pub(super) mod tests;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

pub(super) use self::cells::Cell;
pub use self::gather::Gathered;
pub(super) use self::period::Period;
pub use self::period::Span;
pub(super) use self::put::sum_of;
pub use self::read::{InvalidPlace, Page, Place, Rollup, Sought};
use super::accounts::timestamp;
use super::usage::Terms;
use super::{Reader, Result, failed};

/// The one with a row for each subscriber and period, which only grows.
pub(super) const GROWING: &str = "rollup";

/// The tables. A zone is that of records behind a number; periods end with `ended`, nanoseconds since 1970; `span` is seconds of
/// an hour, or of most days. Of a row, `active` is milliseconds, rates are bits a second, and `cells` what each label counts.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS rollup_state (
    one INTEGER PRIMARY KEY CHECK (one = 1), through INTEGER NOT NULL, complete INTEGER
);
CREATE TABLE IF NOT EXISTS rollup_zone (number INTEGER PRIMARY KEY, name TEXT NOT NULL, after INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rollup_period (
    number INTEGER PRIMARY KEY, span INTEGER NOT NULL, start INTEGER NOT NULL, ended INTEGER NOT NULL,
    zone INTEGER NOT NULL, UNIQUE (span, start, ended, zone)
);
CREATE TABLE IF NOT EXISTS rollup_subscriber (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS rollup_label (number INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS rollup (
    period INTEGER NOT NULL, subscriber INTEGER NOT NULL, active INTEGER NOT NULL, peak_up INTEGER NOT NULL,
    peak_down INTEGER NOT NULL, cells BLOB NOT NULL, PRIMARY KEY (period, subscriber)
) WITHOUT ROWID;
";

/// Makes the tables where they are missing.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    if !is_there(connection)? {
        connection.execute_batch(&format!("BEGIN; {TABLES} COMMIT;"))?;
    }
    Ok(())
}

/// Whether the ledger has roll-ups: one that was written by an earlier version, and only read since, has none.
pub(super) fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
    let find = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN
        ('rollup', 'rollup_state', 'rollup_zone', 'rollup_period', 'rollup_subscriber', 'rollup_label')";
    let there: i64 = connection.query_row(find, [], |row| row.get(0))?;
    Ok(there == 6)
}

/// What a cell counts: that of one plan, class and charge under one version of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Label {
    plan: String,
    class: String,
    rating_group: u32,
    charged: String,
    policy_version: String,
    /// Whether the bucket is drawn by what is sent,
    draws_up: bool,
    /// and by what is received.
    draws_down: bool,
}

impl Label {
    /// Labels of the meters of terms.
    pub(super) fn all_of(terms: &Terms) -> Vec<Self> {
        let label = |(meter, label): (usize, &super::usage::Label)| {
            let drawn = |bytes_up, bytes_down| {
                let counted = classifier::layout::Meter {
                    bytes_up,
                    bytes_down,
                    ..Default::default()
                };
                terms.drawn(meter, &counted) > 0
            };
            Self {
                plan: terms.plan.clone(),
                class: label.class.clone(),
                rating_group: label.rating_group,
                charged: label.charged.clone(),
                policy_version: terms.policy_version.clone(),
                draws_up: drawn(1, 0),
                draws_down: drawn(0, 1),
            }
        };
        terms.meters.iter().enumerate().map(label).collect()
    }
}

/// How far roll-ups have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rolled {
    /// Records up to this number are in them.
    pub through: u64,
    /// All that moved until then is in them; `None` as long as that is not known.
    pub complete: Option<Timestamp>,
}

/// What is noted of that.
fn noted(connection: &Connection) -> rusqlite::Result<(i64, Option<i64>)> {
    let find = "SELECT through, complete FROM rollup_state";
    let found = connection
        .prepare_cached(find)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.unwrap_or((0, None)))
}

impl Reader {
    /// How many records are in no roll-up yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn unrolled(&self) -> Result<u64> {
        Ok(self.last_seq()?.saturating_sub(self.rolled()?.through))
    }

    /// How far roll-ups have come.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rolled(&self) -> Result<Rolled> {
        let read = || match is_there(&self.connection)? {
            true => noted(&self.connection),
            false => Ok((0, None)),
        };
        let (through, complete) = read().map_err(failed(&self.path))?;
        Ok(Rolled {
            through: through.unsigned_abs(),
            complete: complete.map(timestamp),
        })
    }
}
