//! What must outlive the process, in SQLite: which names have which numbers, which subscribers, sessions and
//! rows there are, and whose counters they belong to. The counters themselves are in the kernel's pinned maps.
//!
//! A change is one transaction. What it gives out is laid out in memory before, where nobody looks yet, and comes
//! into force after: at whatever point a start finds it, it is either as if it had never been, or complete.

mod accounts;
pub mod balances;
pub mod chain;
pub mod consumers;
mod delivery;
pub(crate) mod endowments;
mod error;
mod migrate;
pub mod notes;
mod reader;
mod reconciled;
pub mod records;
pub mod rollups;
pub mod schedule;
pub mod sealed;
pub mod usage;
pub mod verify;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use classifier::layout::MAX_INTERFACES;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::LedgerError;
use self::error::failed;
pub use self::reader::Reader;
use crate::accounts::{Accounts, Bucket, Catalog, Change, KnownClass, Layout};
use crate::fault::{self, Point};
use crate::lock::Lock;
use crate::subscribers::Wish;

/// Version of the tables, in SQLite's `user_version`.
const SCHEMA: i64 = 5;

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    reader: Reader,
    /// One agent may write to a ledger: whoever holds this file's lock.
    _one: Lock,
    /// Numbers of the lists of buckets that are written down.
    bucket_lists: HashMap<Arc<[Bucket]>, i64>,
    /// Something may be written down of which the kernel has to be told.
    untold: bool,
}

/// What a ledger holds when it is opened.
#[derive(Debug)]
pub struct Recalled {
    /// Epoch of the counters its rows are in; `None` in a new ledger.
    pub epoch: Option<u64>,
    /// Serial number of the last image.
    pub serial: u32,
    /// Who is counted where.
    pub accounts: Accounts,
    /// What was asked for subscribers otherwise than by their file.
    pub wishes: BTreeMap<Arc<str>, Wish>,
}

type Result<T> = std::result::Result<T, LedgerError>;

impl Deref for Ledger {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Ledger {
    /// Opens a ledger, making it where there is none, and recalls what it holds. One of an earlier version is brought
    /// forward, and kept as it was beside it.
    ///
    /// # Errors
    /// When it cannot be opened, was written by a newer version, or is damaged.
    pub fn open(path: &Path) -> Result<(Self, Recalled)> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| LedgerError::Io {
                path: path.to_owned(),
                error,
            })?;
        }
        // A second agent is refused at once, not when it first writes. It is a file of its own: whoever closed the
        // ledger's would give up SQLite's locks with it.
        let one = Lock::take(path)
            .map_err(|error| LedgerError::Io {
                path: path.to_owned(),
                error,
            })?
            .ok_or_else(|| LedgerError::InUse {
                path: path.to_owned(),
            })?;
        migrate::make(path)?;
        // What is gone by now is not made again.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed(path))?;
        let mut ledger = Self {
            reader: Reader {
                path: path.to_owned(),
                connection,
            },
            _one: one,
            bucket_lists: HashMap::new(),
            untold: true,
        };
        ledger.prepare()?;
        consumers::prepare(&ledger.connection).map_err(failed(path))?;
        rollups::prepare(&ledger.connection).map_err(failed(path))?;
        let recalled = ledger.recall()?;
        Ok((ledger, recalled))
    }

    fn prepare(&mut self) -> Result<()> {
        let path = &self.path;
        self.connection
            .busy_timeout(std::time::Duration::ZERO)
            .map_err(failed(path))?;
        let found = self.schema()?;
        // What is refused is left alone.
        match found {
            0 => return Err(self.damaged("it is empty, or its beginning is gone".to_owned())),
            1..=SCHEMA => {}
            found => {
                return Err(LedgerError::Schema {
                    path: path.clone(),
                    found,
                });
            }
        }
        self.connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .map_err(failed(path))?;
        self.check()?;
        let Reader { path, connection } = &mut self.reader;
        migrate::forward(connection, path, found)
    }

    /// Looks through all tables, but for those that only grow: they may hold years, and a start does not need them.
    fn check(&self) -> Result<()> {
        let tables = self.rows(
            "SELECT name FROM sqlite_schema WHERE type = 'table'",
            |row| row.get::<_, String>(0),
        )?;
        let checked = tables
            .iter()
            .filter(|name| !usage::GROWING.contains(&&***name));
        for table in checked {
            let check: String = self
                .connection
                .query_row(&format!("PRAGMA quick_check('{table}')"), [], |row| {
                    row.get(0)
                })
                .map_err(failed(&self.path))?;
            if check != "ok" {
                return Err(self.damaged(check));
            }
        }
        Ok(())
    }

    fn recall(&mut self) -> Result<Recalled> {
        let lists = self.numbered::<Vec<Bucket>>("bucket_list")?;
        let lists: Vec<Arc<[Bucket]>> = lists.into_iter().map(Arc::from).collect();
        self.bucket_lists = lists.iter().cloned().zip(0..).collect();
        let mut accounts = Accounts {
            catalog: Catalog {
                classes: self.numbered::<KnownClass>("class")?,
                layouts: self.numbered::<Layout>("layout")?,
            },
            subscribers: self.subscribers(&lists)?,
            ended: self.ended()?,
            past: self.past_sums()?,
            next_line: self.number("next_line")?.unwrap_or(1) as u32,
            next_session: self.number("next_session")?.unwrap_or(1),
            ..Accounts::new()
        };
        accounts.find_free();
        Ok(Recalled {
            epoch: self.number("epoch")?,
            serial: self.number("serial")?.unwrap_or(0) as u32,
            accounts,
            wishes: self.wishes()?,
        })
    }

    /// Numbers of interfaces in the books, those of `names` included: an interface keeps its number.
    ///
    /// # Errors
    /// When it cannot be written, or more interfaces have been counted on than there is room for.
    pub fn interfaces(&mut self, names: &[String]) -> Result<BTreeMap<String, u32>> {
        let known = self.numbered::<String>("interface")?;
        let new: Vec<&String> = names.iter().filter(|name| !known.contains(name)).collect();
        if known.len() + new.len() > MAX_INTERFACES as usize {
            return Err(LedgerError::Interfaces {
                path: self.path.clone(),
                known: known.len(),
            });
        }
        self.write(|transaction| put_numbered(transaction, "interface", known.len(), &new))?;
        Ok(known.iter().chain(new).cloned().zip(0..).collect())
    }

    /// Begins a new epoch: nothing has been counted yet. Subscribers stay with what is in their buckets, without sessions.
    /// What the counters before had counted, and was not recorded, is declared a gap until `now`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_epoch(&mut self, epoch: u64, now: Timestamp) -> Result<()> {
        self.write(|transaction| {
            usage::end_epoch(transaction, now)?;
            for table in ["class", "layout", "interface", "ended", "untold"] {
                transaction.execute(&format!("DELETE FROM {table}"), [])?;
            }
            transaction.execute(
                "UPDATE subscriber SET bucket_line = 0, session = NULL, start = NULL, addresses = NULL, \
                 suspended = NULL, line = NULL, layout = NULL, row_start = NULL",
                [],
            )?;
            set_number(transaction, "next_line", 1)?;
            set_number(transaction, "next_session", 1)?;
            set_number(transaction, "epoch", epoch)
        })
    }

    /// Writes down what a change gives out, before any of it is used, if `ready`, asked last, finds that it can come
    /// into force.
    ///
    /// # Errors
    /// When it cannot be written, or is not ready; nothing is written and the change must not go on then.
    pub fn begin<T, E: From<LedgerError>>(
        &mut self,
        before: &Accounts,
        change: &Change,
        serial: u32,
        ready: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut lists = self.bucket_lists.clone();
        let path = &self.reader.path;
        let transaction = self.reader.connection.transaction().map_err(failed(path))?;
        let mut written = |transaction: &Transaction<'_>| {
            put_numbered(transaction, "class", 0, &change.catalog.classes)?;
            let known = before.catalog.layouts.len();
            put_numbered(
                transaction,
                "layout",
                known,
                &change.catalog.layouts[known..],
            )?;
            accounts::put_subscribers(transaction, &change.subscribers, &mut lists)?;
            accounts::put_ended(transaction, &change.ended)?;
            records::put_wishes(transaction, &change.wishes)?;
            records::append(transaction, &change.entries, change.at)?;
            endowments::put(transaction, &change.endowed, change.at)?;
            usage::put_closings(transaction, before, change)?;
            set_number(transaction, "next_line", u64::from(change.next_line))?;
            set_number(transaction, "next_session", change.next_session)?;
            set_number(transaction, "serial", u64::from(serial))
        };
        let written = written(&transaction).map_err(failed(path));
        // Asked in any case: somebody waits to be asked.
        let ready = ready();
        written?;
        let ready = ready?;
        fault::at(Point::BeforeChangeCommit);
        transaction.commit().map_err(failed(path))?;
        fault::at(Point::AfterChangeCommit);
        self.bucket_lists = lists;
        Ok(ready)
    }

    fn write(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<()> {
        let path = &self.reader.path;
        let transaction = self.reader.connection.transaction().map_err(failed(path))?;
        work(&transaction).map_err(failed(path))?;
        fault::at(Point::BeforeOrderCommit);
        transaction.commit().map_err(failed(path))?;
        fault::at(Point::AfterOrderCommit);
        Ok(())
    }

    /// A table of numbered things, which must be numbered without gaps.
    fn numbered<T: DeserializeOwned>(&self, table: &str) -> Result<Vec<T>> {
        let found = self.pairs::<i64, T>(&format!(
            "SELECT number, content FROM {table} ORDER BY number"
        ))?;
        let gap = (0..)
            .zip(&found)
            .find(|(expected, (number, _))| expected != number);
        match gap {
            None => Ok(found.into_iter().map(|(_, content)| content).collect()),
            Some((expected, _)) => Err(LedgerError::Damaged {
                path: self.path.clone(),
                what: format!("number {expected} is missing from table `{table}`"),
            }),
        }
    }
}

const TABLES: &str = "
CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE class (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE layout (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE interface (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE bucket_list (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE subscriber (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, bucket_line INTEGER NOT NULL, bucket_list INTEGER NOT NULL,
    session INTEGER, start INTEGER, addresses TEXT, suspended INTEGER, line INTEGER, layout INTEGER,
    row_start INTEGER, cycle_since INTEGER, cycle_due INTEGER
);
CREATE TABLE ended (
    number INTEGER PRIMARY KEY, line INTEGER NOT NULL, layout INTEGER NOT NULL, row_start INTEGER NOT NULL,
    session INTEGER NOT NULL, subscriber TEXT NOT NULL, row_end INTEGER NOT NULL
);
CREATE TABLE granted (
    account INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (account, position)
) WITHOUT ROWID;
CREATE TABLE untold (account INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (account, position)) WITHOUT ROWID;
CREATE TABLE drawn (
    account INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (account, position)
) WITHOUT ROWID;
CREATE TABLE own (
    account INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (account, position)
) WITHOUT ROWID;
CREATE TABLE purse (
    subscriber TEXT NOT NULL, position INTEGER NOT NULL, price TEXT NOT NULL, rest TEXT NOT NULL,
    PRIMARY KEY (subscriber, position)
) WITHOUT ROWID;
CREATE TABLE scheduled (number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, content TEXT NOT NULL);
CREATE TABLE wish (subscriber TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE request (
    id TEXT PRIMARY KEY, time INTEGER NOT NULL, content TEXT NOT NULL, answer TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE record (
    seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, subscriber TEXT NOT NULL, content TEXT NOT NULL,
    kind TEXT NOT NULL DEFAULT ''
);
CREATE INDEX record_of_subscriber ON record (subscriber, seq);
CREATE INDEX record_of_kind ON record (kind, seq);
";

fn to_json<T: Serialize>(content: &T) -> rusqlite::Result<String> {
    serde_json::to_string(content)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn put_numbered<T: Serialize>(
    transaction: &Transaction<'_>,
    table: &str,
    first: usize,
    contents: &[T],
) -> rusqlite::Result<()> {
    let mut put =
        transaction.prepare(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2)"))?;
    for (number, content) in (first..).zip(contents) {
        put.execute(params![number as i64, to_json(content)?])?;
    }
    Ok(())
}

fn set_number(transaction: &Transaction<'_>, name: &str, value: u64) -> rusqlite::Result<()> {
    transaction
        .execute(
            "INSERT OR REPLACE INTO number VALUES (?1, ?2)",
            params![name, value as i64],
        )
        .map(drop)
}

#[cfg(test)]
mod tests;
