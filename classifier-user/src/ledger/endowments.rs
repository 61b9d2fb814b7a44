//! What plans grant at first: a record for each subscriber and bucket, as for any grant. Where a thousand subscribers or
//! more come at once, these are rows of thousands that are spelled out on reading: a million newcomers must not hold up a
//! start.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::accounts::{nanoseconds, timestamp};
use super::chain::{Seal, Written};
use super::records::{Entry, Record, What};
use super::{Reader, Result, failed, sealed, to_json, usage};
use crate::accounts::Endowed;

/// The kind of these records.
pub(super) const KIND: &str = "grant";

/// Fewer are written one by one.
pub(crate) const TOGETHER: usize = 1_000;

/// Subscribers of one row: no page of records reads much more than it needs.
const IN_A_ROW: usize = 4_000;

/// The table. `subscribers`: their ids, a line each; each is granted the same.
pub(super) const TABLE: &str = "
CREATE TABLE endowment (
    seq INTEGER PRIMARY KEY, records INTEGER NOT NULL, time INTEGER NOT NULL, content TEXT NOT NULL,
    subscribers TEXT NOT NULL
);
";

/// What is the same for all of them.
#[derive(Serialize, Deserialize)]
pub(super) struct Content {
    plan: String,
    /// Names of buckets, and bytes.
    pub(super) grants: Vec<(String, u64)>,
}

/// The record of a first grant.
pub(crate) fn entry(subscriber: &str, plan: &str, bucket: &str, bytes: u64) -> Entry {
    Entry {
        kind: KIND.to_owned(),
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
    at: Timestamp,
) -> rusqlite::Result<()> {
    if endowed.is_empty() {
        return Ok(());
    }
    let mut seq = usage::next_seq(transaction)?;
    let mut seal = Seal::from(seq);
    let mut put = transaction.prepare("INSERT INTO endowment VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for Endowed {
        plan,
        grants,
        subscribers,
    } in endowed
    {
        let content = to_json(&Content {
            plan: plan.clone(),
            grants: grants.clone(),
        })?;
        for some in subscribers.chunks(IN_A_ROW) {
            let some: Vec<&str> = some.iter().map(Arc::as_ref).collect();
            let records = (grants.len() * some.len()) as i64;
            let (time, some) = (nanoseconds(at), &*some.join("\n"));
            put.execute(params![seq, records, time, content, some])?;
            seal.add(&Written::Endowment {
                seq,
                records,
                time,
                content: &content,
                subscribers: some,
            });
            seq += records;
        }
    }
    seal.close(transaction)
}

/// First grants of many, as they are stored.
pub(super) struct Row<'a> {
    /// Number of the first record.
    pub(super) first: u64,
    pub(super) time: Timestamp,
    pub(super) content: &'a str,
    /// A line each.
    pub(super) subscribers: &'a str,
}

impl Reader {
    /// Records of first grants that are kept together, behind a number, oldest first, of one subscriber or of all.
    pub(super) fn endowments(
        &self,
        after: u64,
        subscriber: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let query = "SELECT seq, time, content, subscribers FROM endowment
            WHERE seq + records - 1 > ?1 AND seq > ?2 ORDER BY seq";
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(failed(&self.path))?;
        // What is sealed may not be dropped yet.
        let through = sealed::through(&self.connection).map_err(failed(&self.path))?;
        let mut rows = statement
            .query([after as i64, through])
            .map_err(failed(&self.path))?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next().map_err(failed(&self.path))?
        {
            let read = (|| {
                let first = row.get::<_, i64>(0)? as u64;
                let content = row.get_ref(2)?.as_str()?;
                let ids = row.get_ref(3)?.as_str()?;
                Ok((first, timestamp(row.get(1)?), content, ids))
            })();
            let (first, time, content, subscribers) = read.map_err(failed(&self.path))?;
            let row = Row {
                first,
                time,
                content,
                subscribers,
            };
            let left = limit - found.len();
            found.extend(self.spelled_out_endowment(&row, after, subscriber, left)?);
        }
        Ok(found)
    }

    /// Records of a row behind a number, of one subscriber or of all.
    pub(super) fn spelled_out_endowment(
        &self,
        row: &Row<'_>,
        after: u64,
        subscriber: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let (first, time) = (row.first, row.time);
        let Content { plan, grants } = self.understood(serde_json::from_str(row.content))?;
        let each = grants.len().max(1) as u64;
        // Those whose last record is not behind the number are passed over.
        let passed = (after + 1).saturating_sub(first) / each;
        let of = (0..)
            .zip(row.subscribers.split('\n'))
            .skip(passed as usize)
            .filter(|(_, id)| subscriber.is_none_or(|wanted| wanted == *id));
        let records = of.flat_map(|(place, id): (u64, _)| {
            let seqs = first + place * each..;
            let plan = &plan;
            seqs.zip(&grants).map(move |(seq, (bucket, bytes))| Record {
                seq,
                time,
                entry: entry(id, plan, bucket, *bytes),
            })
        });
        let behind = records.filter(|record| record.seq > after);
        Ok(behind.take(limit).collect())
    }
}
