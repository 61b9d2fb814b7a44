//! What was done to buckets, as the ledger keeps it: what each was granted in all, what was drawn from it as far as it
//! was written down, money, and the orders with the answers they got. It outlives the counters: after a reboot what is
//! left in a bucket is what it was granted, less what was drawn.

use std::collections::HashMap;

use jiff::{Timestamp, ToSpan as _};
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::accounts::{nanoseconds, timestamp};
use super::records::{Entry, append};
use super::{Ledger, Result, failed, to_json};
use crate::accounts::{Carried, Cycles};
use crate::balance::Order;

/// A bucket from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// Number of the account.
    pub account: u32,
    /// Position in its block.
    pub position: u32,
    /// Bytes it was ever granted.
    pub granted: u64,
    /// Its money, where it has a price.
    pub purse: Option<Purse>,
}

/// The money of a bucket that is less than a byte costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purse {
    /// Id of the subscriber.
    pub subscriber: String,
    /// Position in its block.
    pub position: u32,
    /// The price its bytes were bought at, as the policy had it.
    pub price: String,
    /// Grains left over.
    pub rest: i128,
}

/// What is written down at once: buckets, cycles, records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Buckets from now on.
    pub buckets: Vec<Booked>,
    /// By number of account, where it is in its cycles from now on.
    pub cycles: Vec<(u32, Cycles)>,
    /// What an account is granted each cycle instead of what its plan says: account, position, bytes.
    pub own: Vec<(u32, u32, u64)>,
    /// What is recorded.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// The order that had this id, if there was one, and the answer it got.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn answered<A: DeserializeOwned>(&self, id: &str) -> Result<Option<(Order, A)>> {
        let query = "SELECT content, answer FROM request WHERE id = ?1";
        let found = self
            .connection
            .query_row(query, [id], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .optional()
            .map_err(failed(&self.path))?;
        let unreadable = |error| self.damaged(format!("order `{id}`: {error}"));
        found
            .map(|(order, answer)| {
                let order = serde_json::from_str(&order).map_err(unreadable)?;
                Ok((order, serde_json::from_str(&answer).map_err(unreadable)?))
            })
            .transpose()
    }

    /// Writes down what becomes of buckets, before the kernel is told, and the order with its answer, if one was the reason.
    ///
    /// # Errors
    /// When it cannot be written; the kernel must not be told then.
    pub fn settle(
        &mut self,
        order: Option<(&Order, &impl Serialize)>,
        batch: &Batch,
        at: Timestamp,
    ) -> Result<()> {
        self.untold = true;
        self.write(|transaction| {
            if let Some((order, answer)) = order {
                transaction.execute(
                    "INSERT INTO request VALUES (?1, ?2, ?3, ?4)",
                    params![order.id, nanoseconds(at), to_json(order)?, to_json(answer)?],
                )?;
            }
            put_buckets(transaction, &batch.buckets)?;
            let mut cycle = transaction.prepare_cached(
                "UPDATE subscriber SET cycle_since = ?2, cycle_due = ?3 WHERE number = ?1",
            )?;
            for (account, cycles) in &batch.cycles {
                let times = (cycles.since.nanoseconds(), cycles.due.nanoseconds());
                cycle.execute(params![account, times.0, times.1])?;
            }
            let mut own =
                transaction.prepare_cached("INSERT OR REPLACE INTO own VALUES (?1, ?2, ?3)")?;
            for (account, position, bytes) in &batch.own {
                own.execute(params![account, position, *bytes as i64])?;
            }
            append(transaction, &batch.entries, at)
        })
    }

    /// Notes that the kernel was told all that was written down.
    ///
    /// # Errors
    /// When it cannot be written: it will be told again at the next start, which changes nothing.
    pub fn told(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.untold) {
            return Ok(());
        }
        self.write(|transaction| transaction.execute("DELETE FROM untold", []).map(drop))
    }

    /// What the kernel may not have been told of the buckets' grants: number of account, position, bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn untold(&self) -> Result<Vec<(u32, u32, u64)>> {
        let query =
            "SELECT account, position, bytes FROM untold JOIN granted USING (account, position)";
        self.rows(query, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64))
        })
    }

    /// What an account is granted each cycle in a bucket, if it has a say in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn own(&self, account: u32, position: u32) -> Result<Option<u64>> {
        self.connection
            .query_row(
                "SELECT bytes FROM own WHERE account = ?1 AND position = ?2",
                params![account, position],
                |row| Ok(row.get::<_, i64>(0)? as u64),
            )
            .optional()
            .map_err(failed(&self.path))
    }

    /// The money of all buckets, or of one subscriber's.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn purses(&self, subscriber: Option<&str>) -> Result<Vec<Purse>> {
        let which = match subscriber {
            Some(_) => "subscriber = ?1",
            None => "?1 IS NULL",
        };
        let query = format!("SELECT subscriber, position, price, rest FROM purse WHERE {which}");
        let mut statement = self
            .connection
            .prepare_cached(&query)
            .map_err(failed(&self.path))?;
        let rows = statement
            .query_map([subscriber], |row| {
                Ok((
                    row.get::<_, String>(3)?,
                    Purse {
                        subscriber: row.get(0)?,
                        position: row.get(1)?,
                        price: row.get(2)?,
                        rest: 0,
                    },
                ))
            })
            .map_err(failed(&self.path))?;
        rows.map(|row| {
            let (rest, purse) = row.map_err(failed(&self.path))?;
            let rest = rest
                .parse()
                .map_err(|error| self.damaged(format!("the rest `{rest}` of money: {error}")))?;
            Ok(Purse { rest, ..purse })
        })
        .collect()
    }

    /// What was drawn in all from each account's buckets, as far as it was written down.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn drawn(&self) -> Result<Vec<(u32, u64)>> {
        let query = "SELECT account, SUM(bytes) FROM drawn GROUP BY account";
        self.rows(query, |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
    }

    /// Writes down what was drawn: account, position, bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_drawn(&mut self, drawn: &[(u32, u32, u64)]) -> Result<()> {
        self.write(|transaction| {
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO drawn VALUES (?1, ?2, ?3)")?;
            for (account, position, bytes) in drawn {
                put.execute(params![account, position, *bytes as i64])?;
            }
            Ok(())
        })
    }

    /// What is in the buckets when counters begin anew, by number of account, where it is not just what the plan granted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn carried(&self) -> Result<HashMap<u32, Vec<Carried>>> {
        let read = |table| {
            self.rows(
                &format!("SELECT account, position, bytes FROM {table}"),
                |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64)),
            )
        };
        let mut carried: HashMap<u32, Vec<Carried>> = HashMap::new();
        for (account, position, bytes) in read("granted")? {
            carried.entry(account).or_default().push(Carried {
                position,
                granted: Some(bytes),
                drawn: 0,
            });
        }
        for (account, position, bytes) in read("drawn")? {
            let buckets = carried.entry(account).or_default();
            match buckets
                .iter_mut()
                .find(|bucket| bucket.position == position)
            {
                Some(bucket) => bucket.drawn = bytes,
                None => buckets.push(Carried {
                    position,
                    granted: None,
                    drawn: bytes,
                }),
            }
        }
        Ok(carried)
    }

    /// Forgets orders that are two years older than now and than the latest one: a clock that is ahead forgets none. How
    /// many.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget_orders(&mut self, now: Timestamp) -> Result<usize> {
        let latest = "SELECT max(time) FROM request";
        let latest = self
            .connection
            .query_row(latest, [], |row| row.get::<_, Option<i64>>(0));
        let Some(latest) = latest.map_err(failed(&self.path))? else {
            return Ok(0);
        };
        let now = now.min(timestamp(latest));
        let Ok(before) = now.checked_sub((2 * 366 * 24).hours()) else {
            return Ok(0);
        };
        let mut forgotten = 0;
        self.write(|transaction| {
            let delete = "DELETE FROM request WHERE time < ?1";
            forgotten = transaction.execute(delete, [nanoseconds(before)])?;
            Ok(())
        })?;
        Ok(forgotten)
    }
}

fn put_buckets(transaction: &Transaction<'_>, buckets: &[Booked]) -> rusqlite::Result<()> {
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO granted VALUES (?1, ?2, ?3)")?;
    let mut note = transaction.prepare_cached("INSERT OR REPLACE INTO untold VALUES (?1, ?2)")?;
    let mut pay =
        transaction.prepare_cached("INSERT OR REPLACE INTO purse VALUES (?1, ?2, ?3, ?4)")?;
    for bucket in buckets {
        put.execute(params![
            bucket.account,
            bucket.position,
            bucket.granted as i64
        ])?;
        note.execute(params![bucket.account, bucket.position])?;
        if let Some(purse) = &bucket.purse {
            let rest = purse.rest.to_string();
            pay.execute(params![purse.subscriber, purse.position, purse.price, rest])?;
        }
    }
    Ok(())
}
