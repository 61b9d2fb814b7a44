//! What was done for and to subscribers, other than traffic: orders on buckets, changes of plan, state and addresses.
//! Records are appended, numbered without gaps, and never changed; they stay when counters and epochs go.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::accounts::{nanoseconds, timestamp};
use super::chain::{Seal, Written};
use super::notes::{Correction, Outage};
use super::usage::Which;
use super::{Reader, Result, endowments, failed, sealed, to_json};
use crate::balance::money::Amount;
use crate::subscribers::Wish;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OtherRecord)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RecordEntry)]
pub struct Entry {
    /// `grant`, `debit`, `return`, `expire`, `write_off`, `state`, `outage`, `correction`, `gap` or `prune`.
    pub kind: String,
    /// Id of the subscriber; empty, and left out, where it is of none or of many.
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RecordContent)]
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
        #[schema(value_type = Vec<String>)]
        addresses: Vec<IpNet>,
    },
    /// The service, or some of it, was not there.
    Outage(Box<Outage>),
    /// A record should have said something else.
    Correction(Correction),
    /// What counters counted was lost before it was recorded.
    Gap {
        /// It was counted after this,
        from: Timestamp,
        /// and not after this.
        to: Timestamp,
        /// Epoch of the counters, 16 hex digits.
        epoch: String,
    },
    /// Records were removed for good.
    Prune {
        /// Number of the first that is gone,
        first_seq: u64,
        /// and of the last.
        last_seq: u64,
        /// None of them ended after this.
        before: Timestamp,
        /// When the latest of them ended; earlier versions did not note it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latest: Option<Timestamp>,
        /// Who said so.
        #[schema(value_type = String)]
        by: Box<str>,
        /// The chain's hash with the last of them, 64 hex digits.
        #[schema(value_type = String)]
        chain: Box<str>,
    },
}

impl Record {
    /// Until when records may be gone, where this says that some were pruned.
    #[must_use]
    pub fn pruned_until(&self) -> Option<Timestamp> {
        match self.entry.what {
            What::Prune { before, latest, .. } => Some(latest.unwrap_or(before.min(self.time))),
            _ => None,
        }
    }
}

/// What a table of an earlier version lacks: records are found by their kind.
pub(super) const KINDS: &str = "
ALTER TABLE record ADD COLUMN kind TEXT NOT NULL DEFAULT '';
UPDATE record SET kind = coalesce(content ->> '$.kind', '');
CREATE INDEX record_of_kind ON record (kind, seq);
";

impl Reader {
    /// Records behind a number, oldest first, of one subscriber or of all, of one kind or of all.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records(
        &self,
        after: u64,
        subscriber: Option<&str>,
        kind: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let which = Which {
            after,
            subscriber,
            kind,
            limit,
        };
        self.at_once(|state| {
            let through = sealed::through(state).map_err(failed(&self.path))?;
            let sealed = match (after as i64) < through {
                true => self.sealed_others(which)?,
                false => Vec::new(),
            };
            let mut found = sealed;
            if found.len() < limit {
                found.extend(self.kept_records(Which {
                    after: after.max(through as u64),
                    limit: limit - found.len(),
                    ..which
                })?);
            }
            Ok(found)
        })
    }

    /// Those of them that are in the database.
    pub(super) fn kept_records(&self, which: Which<'_>) -> Result<Vec<Record>> {
        let Which {
            after,
            subscriber,
            kind,
            limit,
        } = which;
        // Each with an index of its own.
        let which = match (subscriber, kind) {
            (Some(_), None) => "subscriber = ?2 AND ?3 IS NULL AND",
            (Some(_), Some(_)) => "subscriber = ?2 AND kind = ?3 AND",
            (None, Some(_)) => "?2 IS NULL AND kind = ?3 AND",
            (None, None) => "?2 IS NULL AND ?3 IS NULL AND",
        };
        let query = &format!(
            "SELECT seq, time, content FROM record WHERE {which} seq > ?1 ORDER BY seq LIMIT ?4"
        );
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(failed(&self.path))?;
        let asked = params![after as i64, subscriber, kind, limit as i64];
        let rows = statement
            .query_map(asked, |row| {
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
        if kind.is_none_or(|kind| kind == endowments::KIND) {
            found.extend(self.endowments(after, subscriber, limit)?);
            found.sort_by_key(|record| record.seq);
            found.truncate(limit);
        }
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
    let mut seal = Seal::from(first);
    let mut put = transaction.prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (seq, entry) in (first..).zip(entries) {
        let (time, content) = (nanoseconds(at), &*to_json(entry)?);
        put.execute(params![seq, time, entry.subscriber, content, entry.kind])?;
        seal.add(&Written::Other { seq, time, content });
    }
    seal.close(transaction)
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
