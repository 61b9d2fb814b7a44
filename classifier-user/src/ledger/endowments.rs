//! What plans grant at first: a record for each subscriber and bucket, as for any grant. Where a thousand subscribers or
//! more come at once, these are one row that is spelled out on reading: a million newcomers must not hold up a start.

use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::accounts::{nanoseconds, timestamp};
use super::records::{Entry, Record, What};
use super::{Reader, Result, failed, to_json, usage};
use crate::accounts::Endowed;

/// Fewer are written one by one.
pub(crate) const TOGETHER: usize = 1_000;

/// The table. `accounts`: their numbers, ascending, 32 bits each, the low byte first; each has the same grants.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS endowment (
    seq INTEGER PRIMARY KEY, records INTEGER NOT NULL, time INTEGER NOT NULL, content TEXT NOT NULL, accounts BLOB NOT NULL
);
";

/// What is the same for all of them.
#[derive(Serialize, Deserialize)]
struct Content {
    plan: String,
    /// Names of buckets, and bytes.
    grants: Vec<(String, u64)>,
}

/// The record of a first grant.
pub(crate) fn entry(subscriber: &str, plan: &str, bucket: &str, bytes: u64) -> Entry {
    Entry {
        kind: "grant".to_owned(),
        subscriber: subscriber.to_owned(),
        id: None,
        reason: Some(format!("granted at first by plan {plan}")),
        what: What::Bucket {
            bucket: bucket.to_owned(),
            bytes,
            amount: None,
            left: i64::try_from(bytes).unwrap_or(i64::MAX),
        },
    }
}

/// Writes down what many are granted at first.
pub(super) fn put(
    transaction: &Transaction<'_>,
    endowed: &[Endowed],
    at: jiff::Timestamp,
) -> rusqlite::Result<()> {
    for Endowed {
        plan,
        grants,
        accounts,
    } in endowed
    {
        let content = Content {
            plan: plan.clone(),
            grants: grants.clone(),
        };
        let numbers: Vec<u8> = accounts.iter().flat_map(|n| n.to_le_bytes()).collect();
        transaction.execute(
            "INSERT INTO endowment VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                usage::next_seq(transaction)?,
                (grants.len() * accounts.len()) as i64,
                nanoseconds(at),
                to_json(&content)?,
                numbers,
            ],
        )?;
    }
    Ok(())
}

impl Reader {
    /// Records of first grants that are kept together, behind a number, oldest first, of one subscriber or of all.
    pub(super) fn endowments(
        &self,
        after: u64,
        subscriber: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let rows = self
            .connection
            .prepare_cached(
                "SELECT seq, time, content, length(accounts) FROM endowment WHERE seq + records - 1 > ?1 ORDER BY seq",
            )
            .and_then(|mut find| {
                let read = |row: &rusqlite::Row<'_>| {
                    let (seq, time, bytes): (i64, _, i64) = (row.get(0)?, row.get(1)?, row.get(3)?);
                    Ok((seq as u64, timestamp(time), row.get(2)?, bytes as usize / 4))
                };
                find.query_map([after as i64], read)?.collect()
            });
        let rows: Vec<(u64, _, String, usize)> = rows.map_err(failed(&self.path))?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let only = match subscriber {
            None => None,
            Some(id) => match self.numbered_account(id)? {
                Some(number) => Some((id, number)),
                None => return Ok(Vec::new()),
            },
        };
        let mut found = Vec::new();
        for (first, time, content, count) in rows {
            let left = limit - found.len();
            if left == 0 {
                break;
            }
            let Content { plan, grants } = self.understood(serde_json::from_str(&content))?;
            let each = grants.len().max(1);
            let skipped = (after + 1).saturating_sub(first) as usize;
            // The subscribers that records are asked of, by their place among these.
            let places = match only {
                Some((_, number)) => match self.place(first, number, count)? {
                    Some(place) => place..place + 1,
                    None => continue,
                },
                None => (skipped / each)..count.min((skipped + left).div_ceil(each)),
            };
            let ids = match only {
                Some((id, _)) => vec![id.to_owned()],
                None => self.endowed(first, places.clone())?,
            };
            let records = places.zip(&ids).flat_map(|(place, id)| {
                let (plan, seqs) = (&plan, first + (place * each) as u64..);
                seqs.zip(&grants).map(move |(seq, (bucket, bytes))| Record {
                    seq,
                    time,
                    entry: entry(id, plan, bucket, *bytes),
                })
            });
            found.extend(records.filter(|record| record.seq > after).take(left));
        }
        Ok(found)
    }

    fn numbered_account(&self, id: &str) -> Result<Option<u32>> {
        self.connection
            .query_row("SELECT number FROM subscriber WHERE id = ?1", [id], |row| {
                row.get(0)
            })
            .optional()
            .map_err(failed(&self.path))
    }

    /// Where an account stands among those that records from `first` are about.
    fn place(&self, first: u64, number: u32, count: usize) -> Result<Option<usize>> {
        let numbers = self.numbers(first, 0..count)?;
        Ok(numbers.binary_search(&number).ok())
    }

    /// Ids of the subscribers at these places among them.
    fn endowed(&self, first: u64, places: std::ops::Range<usize>) -> Result<Vec<String>> {
        let numbers = self.numbers(first, places)?;
        let mut find = self
            .connection
            .prepare_cached("SELECT id FROM subscriber WHERE number = ?1")
            .map_err(failed(&self.path))?;
        let ids = numbers.iter().map(|number| {
            find.query_row([number], |row| row.get(0))
                .map_err(failed(&self.path))
        });
        ids.collect()
    }

    fn numbers(&self, first: u64, places: std::ops::Range<usize>) -> Result<Vec<u32>> {
        let bytes: Vec<u8> = self
            .connection
            .prepare_cached("SELECT substr(accounts, ?2, ?3) FROM endowment WHERE seq = ?1")
            .and_then(|mut find| {
                let (start, length) = (places.start * 4 + 1, places.len() * 4);
                find.query_row(params![first as i64, start as i64, length as i64], |row| {
                    row.get(0)
                })
            })
            .map_err(failed(&self.path))?;
        let numbers = bytes.chunks_exact(4).map(|bytes| {
            let bytes = <[u8; 4]>::try_from(bytes).unwrap_or_default();
            u32::from_le_bytes(bytes)
        });
        Ok(numbers.collect())
    }
}
