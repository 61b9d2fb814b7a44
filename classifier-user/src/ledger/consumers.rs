//! Who pulls records, and how far each has come. It is what they say of themselves: nothing is kept or dropped by it.
//!
//! The table is no part of the schema: it is made where it is missing, whenever a ledger is opened for writing.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::accounts::{nanoseconds, timestamp};
use super::{Ledger, LedgerError, Reader, Result, failed};
use crate::fault::{self, Point};

/// Most consumers a ledger knows.
pub const MOST: usize = 1_000;

/// Longest name of one, in characters.
pub const LONGEST_NAME: usize = 64;

/// Somebody who pulls records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// It has all records up to this number; 0: none.
    pub acknowledged: u64,
    /// When it said so.
    pub time: Timestamp,
    /// How many records there are behind that number.
    pub behind: u64,
}

/// An acknowledgement that is not noted.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// It is no name.
    #[error(
        "`{0}` is no name of a consumer: 1 to {LONGEST_NAME} letters, digits, `.`, `_` and `-`"
    )]
    Name(String),
    /// It had acknowledged more.
    #[error(
        "consumer `{name}` has acknowledged {known}, and now says {asked}: to have it pull again what lies between, say \
         `\"rewind\": true`"
    )]
    Back {
        /// Its name.
        name: String,
        /// What it had acknowledged.
        known: u64,
        /// What it says now.
        asked: u64,
    },
    /// There is no such record yet.
    #[error(
        "there is no record {asked}: the last one is {last}; is this the ledger the consumer has read?"
    )]
    Beyond {
        /// What it says.
        asked: u64,
        /// The last record.
        last: u64,
    },
    /// There are too many.
    #[error("{MOST} consumers are known already: `zerorate record forget NAME` makes room")]
    Full,
    /// It cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Makes the table where it is missing.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS consumer (
            name TEXT PRIMARY KEY, acknowledged INTEGER NOT NULL, time INTEGER NOT NULL
        ) WITHOUT ROWID;",
    )
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(known)
}

impl Reader {
    /// Who pulls records, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn consumers(&self) -> Result<Vec<Consumer>> {
        let last = self.last_seq()?;
        self.rows(
            "SELECT name, acknowledged, time FROM consumer ORDER BY name",
            |row| consumer(row, last),
        )
    }

    /// One of them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn consumer(&self, name: &str) -> Result<Option<Consumer>> {
        let last = self.last_seq()?;
        let find = "SELECT name, acknowledged, time FROM consumer WHERE name = ?1";
        self.connection
            .query_row(find, [name], |row| consumer(row, last))
            .optional()
            .map_err(failed(&self.path))
    }
}

fn consumer(row: &Row<'_>, last: u64) -> rusqlite::Result<Consumer> {
    let acknowledged = row.get::<_, i64>(1)?.unsigned_abs();
    Ok(Consumer {
        name: row.get(0)?,
        acknowledged,
        time: timestamp(row.get(2)?),
        behind: last.saturating_sub(acknowledged),
    })
}

impl Ledger {
    /// Notes how far a consumer has come; said again, it is noted again.
    ///
    /// # Errors
    /// When it is no name, goes back without `rewind`, or names a record that is not there.
    pub fn acknowledge(
        &mut self,
        name: &str,
        seq: u64,
        rewind: bool,
    ) -> std::result::Result<Consumer, ConsumerError> {
        if !is_name(name) {
            return Err(ConsumerError::Name(name.to_owned()));
        }
        let last = self.last_seq()?;
        if seq > last {
            return Err(ConsumerError::Beyond { asked: seq, last });
        }
        match self.consumer(name)? {
            Some(known) if seq < known.acknowledged && !rewind => {
                return Err(ConsumerError::Back {
                    name: name.to_owned(),
                    known: known.acknowledged,
                    asked: seq,
                });
            }
            Some(known) if seq == known.acknowledged => return Ok(known),
            Some(_) => {}
            None if self.consumers()?.len() >= MOST => return Err(ConsumerError::Full),
            None => {}
        }
        let time = Timestamp::now();
        fault::at(Point::BeforeAcknowledge);
        self.write(|transaction| {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO consumer VALUES (?1, ?2, ?3)",
                    params![name, seq as i64, nanoseconds(time)],
                )
                .map(drop)
        })?;
        fault::at(Point::AfterAcknowledge);
        Ok(Consumer {
            name: name.to_owned(),
            acknowledged: seq,
            time,
            behind: last - seq,
        })
    }

    /// Forgets a consumer; whether there was one.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn forget_consumer(&mut self, name: &str) -> std::result::Result<bool, ConsumerError> {
        let known = self.consumer(name)?.is_some();
        if known {
            self.write(|transaction| {
                transaction
                    .execute("DELETE FROM consumer WHERE name = ?1", [name])
                    .map(drop)
            })?;
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::records::{Entry, What};

    #[test]
    fn who_has_come_how_far() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.db");
        let (mut ledger, _) = Ledger::open(&path).unwrap();
        let entry = Entry {
            kind: "state".to_owned(),
            subscriber: "anna".to_owned(),
            id: None,
            reason: None,
            what: What::State {
                plan: "small".to_owned(),
                state: "active".to_owned(),
                addresses: Vec::new(),
            },
        };
        let entries = vec![entry; 5];
        ledger
            .write(|transaction| {
                crate::ledger::records::append(transaction, &entries, Timestamp::now())
            })
            .unwrap();
        let reader = Reader::open(&path).unwrap();
        assert_eq!(reader.last_seq().unwrap(), 5);
        let three = ledger.acknowledge("cdr", 3, false).unwrap();
        assert_eq!((three.acknowledged, three.behind), (3, 2));
        // Said again, nothing is different.
        assert_eq!(ledger.acknowledge("cdr", 3, false).unwrap(), three);
        assert_eq!(reader.consumers().unwrap(), [three]);
        let back = ledger.acknowledge("cdr", 2, false).unwrap_err();
        assert!(matches!(
            back,
            ConsumerError::Back {
                known: 3,
                asked: 2,
                ..
            }
        ));
        assert_eq!(ledger.acknowledge("cdr", 2, true).unwrap().behind, 3);
        let beyond = ledger.acknowledge("cdr", 6, true).unwrap_err();
        assert!(matches!(
            beyond,
            ConsumerError::Beyond { asked: 6, last: 5 }
        ));
        for name in ["", "a b", "\u{e4}", &"x".repeat(65)] {
            let wrong = ledger.acknowledge(name, 1, false).unwrap_err();
            assert!(matches!(wrong, ConsumerError::Name(_)), "{name}");
        }
        // It outlives the process, and other counters.
        ledger.begin_epoch(7, Timestamp::UNIX_EPOCH).unwrap();
        drop(ledger);
        let (mut ledger, _) = Ledger::open(&path).unwrap();
        assert_eq!(
            reader
                .consumer("cdr")
                .unwrap()
                .map(|known| known.acknowledged),
            Some(2)
        );
        assert!(ledger.forget_consumer("cdr").unwrap());
        assert!(!ledger.forget_consumer("cdr").unwrap());
        assert_eq!(reader.consumers().unwrap(), []);
    }
}
