//! What was done for and to subscribers, other than traffic: orders on buckets, changes of plan, state and addresses.
//! Records are appended, numbered without gaps, and never changed; they stay when counters and epochs go.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::accounts::{nanoseconds, timestamp};
use super::{Reader, Result, failed, to_json};
use crate::balance::money::Amount;
use crate::subscribers::Wish;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number on this node, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What was done.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `grant`, `debit`, `return`, `expire`, `write_off` or `state`.
    pub kind: String,
    /// Id of the subscriber.
    pub subscriber: String,
    /// The caller's id of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why, as the caller said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What happened to it.
    #[serde(flatten)]
    pub what: What,
}

/// What happened to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum What {
    /// Something with a bucket.
    Bucket {
        /// Its name.
        bucket: String,
        /// How many bytes.
        bytes: u64,
        /// How much money, where it was about money.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<Amount>,
        /// What was left after it.
        left: i64,
    },
    /// It has another plan, state or addresses, or is gone.
    State {
        /// Its plan now; of one that is gone, its last.
        plan: String,
        /// `active`, `suspended` or `removed`.
        state: String,
        /// Its prefixes now.
        addresses: Vec<IpNet>,
    },
}

impl Reader {
    /// Records behind a number, oldest first, of one subscriber or of all.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records(
        &self,
        after: u64,
        subscriber: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        // Each with an index of its own.
        let which = match subscriber {
            Some(_) => "subscriber = ?2 AND",
            None => "?2 IS NULL AND",
        };
        let query = &format!(
            "SELECT seq, time, content FROM record WHERE {which} seq > ?1 ORDER BY seq LIMIT ?3"
        );
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(failed(&self.path))?;
        let rows = statement
            .query_map(params![after as i64, subscriber, limit as i64], |row| {
                Ok((
                    row.get::<_, i64>(0)? as u64,
                    timestamp(row.get(1)?),
                    row.get::<_, String>(2)?,
                ))
            })
            .map_err(failed(&self.path))?;
        let written = rows.map(|row| {
            let (seq, time, content) = row.map_err(failed(&self.path))?;
            let entry = serde_json::from_str(&content)
                .map_err(|error| self.damaged(format!("record {seq}: {error}")))?;
            Ok(Record { seq, time, entry })
        });
        let mut found: Vec<Record> = written.collect::<Result<_>>()?;
        found.extend(self.endowments(after, subscriber, limit)?);
        found.sort_by_key(|record| record.seq);
        found.truncate(limit);
        Ok(found)
    }

    /// What was asked for subscribers otherwise than by their file, by id.
    pub(super) fn wishes(&self) -> Result<BTreeMap<Arc<str>, Wish>> {
        Ok(self
            .pairs::<String, Wish>("SELECT subscriber, content FROM wish")?
            .into_iter()
            .map(|(id, wish)| (id.into(), wish))
            .collect())
    }
}

/// Appends records.
pub(super) fn append(
    transaction: &Transaction<'_>,
    entries: &[Entry],
    at: Timestamp,
) -> rusqlite::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let first = super::usage::next_seq(transaction)?;
    let mut put = transaction.prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4)")?;
    for (seq, entry) in (first..).zip(entries) {
        put.execute(params![
            seq,
            nanoseconds(at),
            entry.subscriber,
            to_json(entry)?
        ])?;
    }
    Ok(())
}

/// Writes down, or drops, what was asked for subscribers.
pub(super) fn put_wishes(
    transaction: &Transaction<'_>,
    wishes: &[(Arc<str>, Option<Wish>)],
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare("INSERT OR REPLACE INTO wish VALUES (?1, ?2)")?;
    let mut drop = transaction.prepare("DELETE FROM wish WHERE subscriber = ?1")?;
    for (id, wish) in wishes {
        match wish {
            Some(wish) => put.execute(params![&**id, to_json(wish)?])?,
            None => drop.execute([&**id])?,
        };
    }
    Ok(())
}
