//! Subscribers with their sessions, and rows that ended, as the ledger keeps them: a line of plain columns each, so
//! that a million are written and read in seconds. Times are nanoseconds since 1970, UTC.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{Ledger, Result, put_numbered};
use crate::accounts::{Account, Bucket, Cycles, Directory, EndedRow, Row, Session, Stamp};

/// Writes subscribers down as they are after a change. Lists of buckets are written once each.
pub(super) fn put_subscribers(
    transaction: &Transaction<'_>,
    subscribers: &[(Arc<str>, Arc<Account>)],
    lists: &mut HashMap<Arc<[Bucket]>, i64>,
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare(
        "INSERT OR REPLACE INTO subscriber VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
         ?12, ?13)",
    )?;
    let mut text = String::new();
    for (id, account) in subscribers {
        let list = match lists.get(&account.buckets) {
            Some(list) => *list,
            None => {
                let number = lists.len();
                put_numbered(transaction, "bucket_list", number, &[&*account.buckets])?;
                lists.insert(Arc::clone(&account.buckets), number as i64);
                number as i64
            }
        };
        let session = account.session.as_ref();
        text.clear();
        for address in session.iter().flat_map(|session| &session.addresses) {
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(text, "{space}{address}");
        }
        put.execute(params![
            account.number,
            &**id,
            account.bucket_line,
            list,
            session.map(|session| session.number),
            session.map(|session| session.start.nanoseconds()),
            session.map(|_| &text),
            session.map(|session| session.suspended),
            session.map(|session| session.row.line),
            session.map(|session| session.row.layout),
            session.map(|session| session.row.start.nanoseconds()),
            account.cycles.map(|cycles| cycles.since.nanoseconds()),
            account.cycles.map(|cycles| cycles.due.nanoseconds()),
        ])?;
    }
    Ok(())
}

/// Appends rows that ended.
pub(super) fn put_ended(transaction: &Transaction<'_>, ended: &[EndedRow]) -> rusqlite::Result<()> {
    let mut put = transaction.prepare("INSERT INTO ended VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6)")?;
    for ended in ended {
        put.execute(params![
            ended.row.line,
            ended.row.layout,
            ended.row.start.nanoseconds(),
            ended.session,
            &*ended.subscriber,
            nanoseconds(ended.end),
        ])?;
    }
    Ok(())
}

impl Ledger {
    pub(super) fn subscribers(&self, lists: &[Arc<[Bucket]>]) -> Result<Directory> {
        let found = self.rows("SELECT * FROM subscriber", |row| {
            let id: Arc<str> = row.get_ref(1)?.as_str()?.into();
            let number = row.get(0)?;
            let list: usize = row.get(3)?;
            let session = match row.get(4)? {
                None => None,
                Some(session) => Some(Session {
                    number: session,
                    start: Stamp::of(row.get(5)?),
                    addresses: row
                        .get_ref(6)?
                        .as_str()?
                        .split(' ')
                        .map(str::parse)
                        .collect::<std::result::Result<_, _>>()
                        .map_err(|error| {
                            rusqlite::Error::FromSqlConversionFailure(
                                6,
                                rusqlite::types::Type::Text,
                                Box::new(error),
                            )
                        })?,
                    suspended: row.get(7)?,
                    row: Row {
                        line: row.get(8)?,
                        layout: row.get(9)?,
                        start: Stamp::of(row.get(10)?),
                    },
                }),
            };
            let cycles = match (row.get(11)?, row.get(12)?) {
                (Some(since), Some(due)) => Some(Cycles {
                    since: Stamp::of(since),
                    due: Stamp::of(due),
                }),
                _ => None,
            };
            let buckets = lists
                .get(list)
                .cloned()
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(3, list as i64))?;
            let account = Account {
                number,
                bucket_line: row.get(2)?,
                buckets,
                cycles,
                session,
            };
            Ok((id, Arc::new(account)))
        })?;
        Ok(found.into_iter().collect())
    }

    pub(super) fn ended(&self) -> Result<Vec<EndedRow>> {
        self.rows("SELECT * FROM ended ORDER BY number", |row| {
            Ok(EndedRow {
                row: Row {
                    line: row.get(1)?,
                    layout: row.get(2)?,
                    start: Stamp::of(row.get(3)?),
                },
                session: row.get(4)?,
                subscriber: row.get_ref(5)?.as_str()?.into(),
                end: timestamp(row.get(6)?),
            })
        })
    }
}

/// From 1678 to 2261, which a clock is in.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// What a time that is asked for comes to among those that are written down: one before them all is less than any.
pub(super) fn bound(time: Timestamp) -> i64 {
    Stamp::from(time).nanoseconds()
}

pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    Stamp::of(nanoseconds).time()
}
