//! What the kernel and the books counted on each interface, interval by interval, and how far it has been read.

use jiff::Timestamp;
use rusqlite::params;

use super::accounts::nanoseconds;
use super::{Ledger, Reader, Result, failed, to_json};
use crate::reconcile::{Reading, Reconciliation};

/// The tables.
pub(super) const TABLES: &str = "
CREATE TABLE reading (
    interface TEXT NOT NULL, direction TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (interface, direction)
) WITHOUT ROWID;
CREATE TABLE reconciliation (
    number INTEGER PRIMARY KEY, start INTEGER NOT NULL, ended INTEGER NOT NULL, interface TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE INDEX reconciliation_at ON reconciliation (ended);
";

/// Those of them that are about the counters of one epoch.
pub(super) const OF_AN_EPOCH: &str = "reading";

impl Ledger {
    /// Writes down what was counted, and up to where it has been read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn reconcile(&mut self, readings: &[Reading], rows: &[Reconciliation]) -> Result<()> {
        let transaction = self.reader.connection.transaction();
        let transaction = transaction.map_err(failed(&self.reader.path))?;
        let write = || -> rusqlite::Result<()> {
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO reading VALUES (?1, ?2, ?3)")?;
            for reading in readings {
                let direction = to_json(&reading.direction)?;
                put.execute(params![reading.interface, direction, to_json(reading)?])?;
            }
            let mut put = transaction.prepare_cached(
                "INSERT INTO reconciliation (start, ended, interface, content) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for row in rows {
                let (from, to) = (nanoseconds(row.from), nanoseconds(row.to));
                put.execute(params![from, to, row.interface, to_json(row)?])?;
            }
            Ok(())
        };
        write()
            .and_then(|()| transaction.commit())
            .map_err(failed(&self.reader.path))
    }
}

impl Reader {
    /// The last reading of each interface and direction.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn readings(&self) -> Result<Vec<Reading>> {
        self.contents(
            "SELECT content FROM reading ORDER BY interface, direction",
            [],
        )
    }

    /// What was counted in intervals that ended after a time and not after another, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reconciliations(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Reconciliation>> {
        self.contents(
            "SELECT content FROM reconciliation WHERE ended > ?1 AND ended <= ?2 ORDER BY ended, number",
            [nanoseconds(from), nanoseconds(to)],
        )
    }

    fn contents<T: serde::de::DeserializeOwned>(
        &self,
        query: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<T>> {
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(failed(&self.path))?;
        let rows = statement
            .query_map(values, |row| row.get::<_, String>(0))
            .map_err(failed(&self.path))?;
        rows.map(|row| {
            let content = row.map_err(failed(&self.path))?;
            serde_json::from_str(&content).map_err(|error| self.damaged(error.to_string()))
        })
        .collect()
    }
}
