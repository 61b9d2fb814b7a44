//! What must outlive the process, in SQLite: which names have which numbers, which subscribers, sessions and
//! rows there are, and whose counters they belong to. The counters themselves are in the kernel's pinned maps.
//!
//! A change is written in two transactions around the moment its memory is made: [`Ledger::begin`] gives out
//! rows and buckets, [`Ledger::granted`] says that the buckets' first levels are stored. Only then may the image
//! be published. A start that finds the first without the second stores the levels again: no packet has seen
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use classifier::layout::MAX_INTERFACES;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::accounts::{Account, Accounts, Change, KnownClass, Layout, Row};

/// Version of the tables, in SQLite's `user_version`.
const SCHEMA: i64 = 1;

/// The ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite failed.
    #[error("ledger {}: {error}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
    /// The file belongs to a newer version.
    #[error(
        "ledger {}: it has schema {found}, this version knows schema {SCHEMA}; run the version that wrote it",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// Another process holds the file.
    #[error("ledger {}: another process has it open; one agent may run on a ledger", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something in it cannot be understood.
    #[error("ledger {}: {what}; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Too many interfaces.
    #[error(
        "ledger {}: {known} interfaces have been counted on since the counters began, and there is room for \
         {MAX_INTERFACES}; begin new counters with `zerorate detach --purge`",
        path.display()
    )]
    Interfaces {
        /// The file.
        path: PathBuf,
        /// How many it knows.
        known: usize,
    },
    /// Its directory cannot be made.
    #[error("ledger {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Connection,
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
    /// Levels given out whose storing was not confirmed: line, position, bytes.
    pub levels: Vec<(u32, u32, i64)>,
}

type Result<T> = std::result::Result<T, LedgerError>;

impl Ledger {
    /// Opens a ledger, making it where there is none, and recalls what it holds.
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
        let connection = Connection::open(path).map_err(failed(path))?;
        let mut ledger = Self {
            path: path.to_owned(),
            connection,
        };
        ledger.prepare()?;
        let recalled = ledger.recall()?;
        Ok((ledger, recalled))
    }

    fn prepare(&mut self) -> Result<()> {
        let path = &self.path;
        self.connection
            .busy_timeout(std::time::Duration::ZERO)
            .map_err(failed(path))?;
        // One writer: a second agent on the same file is refused at once, not when it first writes.
        self.connection
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
            )
            .map_err(failed(path))?;
        let check: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(failed(path))?;
        if check != "ok" {
            return Err(LedgerError::Damaged {
                path: path.clone(),
                what: check,
            });
        }
        let found: i64 = self
            .connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed(path))?;
        match found {
            0 => self
                .connection
                .execute_batch(&format!(
                    "BEGIN; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;"
                ))
                .map_err(failed(path)),
            SCHEMA => Ok(()),
            found => Err(LedgerError::Schema {
                path: path.clone(),
                found,
            }),
        }
    }

    fn recall(&self) -> Result<Recalled> {
        let accounts = Accounts {
            catalog: crate::accounts::Catalog {
                classes: self.numbered::<KnownClass>("class")?,
                layouts: self.numbered::<Layout>("layout")?,
            },
            subscribers: self
                .pairs::<String, Account>("SELECT id, content FROM subscriber")?
                .into_iter()
                .collect(),
            rows: self.numbered::<Row>("row")?,
            next_line: self.number("next_line")?.unwrap_or(1) as u32,
            next_session: self.number("next_session")?.unwrap_or(1),
        };
        let mut levels = self
            .connection
            .prepare("SELECT line, position, bytes FROM level")
            .map_err(failed(&self.path))?;
        let levels = levels
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .and_then(Iterator::collect)
            .map_err(failed(&self.path))?;
        Ok(Recalled {
            epoch: self.number("epoch")?,
            serial: self.number("serial")?.unwrap_or(0) as u32,
            accounts,
            levels,
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

    /// Begins a new epoch: nothing has been counted yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<()> {
        self.write(|transaction| {
            for table in ["class", "layout", "interface", "subscriber", "row", "level"] {
                transaction.execute(&format!("DELETE FROM {table}"), [])?;
            }
            set_number(transaction, "next_line", 1)?;
            set_number(transaction, "next_session", 1)?;
            set_number(transaction, "epoch", epoch)
        })
    }

    /// Writes down what a change gives out, before any of it is used.
    ///
    /// # Errors
    /// When it cannot be written; the change must not go on then.
    pub fn begin(&mut self, before: &Accounts, change: &Change, serial: u32) -> Result<()> {
        self.write(|transaction| {
            put_numbered(transaction, "class", 0, &change.catalog.classes)?;
            let known = before.catalog.layouts.len();
            put_numbered(
                transaction,
                "layout",
                known,
                &change.catalog.layouts[known..],
            )?;
            put_numbered(transaction, "row", before.rows.len(), &change.rows)?;
            for index in &change.ended {
                let ended = Row {
                    end: Some(change.at),
                    ..before.rows[*index].clone()
                };
                put_numbered(transaction, "row", *index, std::slice::from_ref(&ended))?;
            }
            let mut put =
                transaction.prepare("INSERT OR REPLACE INTO subscriber VALUES (?1, ?2)")?;
            for (id, account) in &change.subscribers {
                put.execute(params![id, to_json(account)?])?;
            }
            let mut put = transaction.prepare("INSERT INTO level VALUES (?1, ?2, ?3)")?;
            for (line, position, bytes) in &change.levels {
                put.execute(params![line, position, bytes])?;
            }
            set_number(transaction, "next_line", u64::from(change.next_line))?;
            set_number(transaction, "next_session", change.next_session)?;
            set_number(transaction, "serial", u64::from(serial))
        })
    }

    /// Notes that every level given out is stored where it is drawn from.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn granted(&mut self) -> Result<()> {
        self.write(|transaction| transaction.execute("DELETE FROM level", []).map(drop))
    }

    fn write(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<()> {
        let path = &self.path;
        let transaction = self.connection.transaction().map_err(failed(path))?;
        work(&transaction).map_err(failed(path))?;
        transaction.commit().map_err(failed(path))
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        self.connection
            .query_row("SELECT value FROM number WHERE name = ?1", [name], |row| {
                row.get::<_, i64>(0)
            })
            .optional()
            .map(|value| value.map(|value| value as u64))
            .map_err(failed(&self.path))
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

    fn pairs<K: rusqlite::types::FromSql, T: DeserializeOwned>(
        &self,
        query: &str,
    ) -> Result<Vec<(K, T)>> {
        let mut statement = self.connection.prepare(query).map_err(failed(&self.path))?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, K>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(failed(&self.path))?;
        let mut found = Vec::new();
        for row in rows {
            let (key, content) = row.map_err(failed(&self.path))?;
            let content = serde_json::from_str(&content).map_err(|error| LedgerError::Damaged {
                path: self.path.clone(),
                what: format!("a row of `{query}` cannot be read: {error}"),
            })?;
            found.push((key, content));
        }
        Ok(found)
    }
}

const TABLES: &str = "
CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE class (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE layout (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE interface (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE row (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE subscriber (id TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE level (line INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL);
";

fn failed(path: &Path) -> impl FnOnce(rusqlite::Error) -> LedgerError {
    let path = path.to_owned();
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::InUse { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => LedgerError::Damaged {
            path,
            what: error.to_string(),
        },
        _ => LedgerError::Sqlite { path, error },
    }
}

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
