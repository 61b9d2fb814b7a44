//! Reading a ledger. The agent's own [`Ledger`](super::Ledger) is one of these that may write, too; others are opened beside it,
//! so that whoever pulls records holds up nothing: neither what is written meanwhile nor who is suspended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde::de::DeserializeOwned;

use super::error::failed;
use super::{LedgerError, Result, SCHEMA};

/// An open ledger, for reading.
#[derive(Debug)]
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

impl Reader {
    /// How long a reader waits where the file is being recovered or made smaller.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Opens a ledger beside the agent that writes it. It reads what was committed when each question is asked.
    ///
    /// # Errors
    /// When there is none, or it has another schema.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed(path))?;
        connection
            .busy_timeout(Self::PATIENCE)
            .map_err(failed(path))?;
        let reader = Self {
            path: path.to_owned(),
            connection,
        };
        match reader.schema()? {
            SCHEMA => Ok(reader),
            found => Err(LedgerError::Schema {
                path: reader.path,
                found,
            }),
        }
    }

    /// Version of the tables.
    pub(super) fn schema(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed(&self.path))
    }

    /// Something in it cannot be understood.
    pub(crate) fn damaged(&self, what: String) -> LedgerError {
        LedgerError::Damaged {
            path: self.path.clone(),
            what,
        }
    }

    pub(super) fn understood<T, E: std::fmt::Display>(
        &self,
        read: std::result::Result<T, E>,
    ) -> Result<T> {
        read.map_err(|error| self.damaged(format!("what was recorded cannot be read: {error}")))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        self.connection
            .query_row("SELECT value FROM number WHERE name = ?1", [name], |row| {
                row.get::<_, i64>(0)
            })
            .optional()
            .map(|value| value.map(|value| value as u64))
            .map_err(failed(&self.path))
    }

    pub(super) fn rows<T>(
        &self,
        query: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare(query).map_err(failed(&self.path))?;
        let rows = statement.query_map([], read).map_err(failed(&self.path))?;
        rows.collect::<rusqlite::Result<_>>()
            .map_err(|error| LedgerError::Damaged {
                path: self.path.clone(),
                what: format!("`{query}` found what cannot be read: {error}"),
            })
    }

    pub(super) fn pairs<K: rusqlite::types::FromSql, T: DeserializeOwned>(
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
            let content = serde_json::from_str(&content).map_err(|error| {
                self.damaged(format!("a row of `{query}` cannot be read: {error}"))
            })?;
            found.push((key, content));
        }
        Ok(found)
    }
}
