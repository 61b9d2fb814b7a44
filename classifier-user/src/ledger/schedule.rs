//! Changes of subscribers that are asked for a later time, as the ledger keeps them.

use jiff::Timestamp;
use rusqlite::params;

use super::accounts::{nanoseconds, timestamp};
use super::{Ledger, Result, failed, to_json};
use crate::subscribers::{Planned, Scheduled};

impl Ledger {
    /// What is asked for later, by number.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn scheduled(&self) -> Result<Vec<Scheduled>> {
        let query = "SELECT number, time, content FROM scheduled ORDER BY time, number";
        let rows = self.rows(query, |row| {
            Ok((
                row.get(0)?,
                timestamp(row.get(1)?),
                row.get::<_, String>(2)?,
            ))
        })?;
        rows.into_iter()
            .map(|(number, at, content)| {
                let planned: Planned = serde_json::from_str(&content)
                    .map_err(|error| self.damaged(format!("scheduled change {number}: {error}")))?;
                Ok(Scheduled {
                    number,
                    at,
                    planned,
                })
            })
            .collect()
    }

    /// Writes a change down for later, and gives it a number.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn schedule(&mut self, at: Timestamp, planned: &Planned) -> Result<u64> {
        self.write(|transaction| {
            transaction
                .execute(
                    "INSERT INTO scheduled (time, content) VALUES (?1, ?2)",
                    params![nanoseconds(at), to_json(planned)?],
                )
                .map(drop)
        })?;
        Ok(self.connection.last_insert_rowid() as u64)
    }

    /// Forgets a change that was made, cannot be, or is not wanted any more; whether there was one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn unschedule(&mut self, number: u64) -> Result<bool> {
        self.connection
            .execute("DELETE FROM scheduled WHERE number = ?1", [number as i64])
            .map(|deleted| deleted > 0)
            .map_err(failed(&self.path))
    }
}
