//! Records that have left the database. Whole batches that are old enough are written to a compressed file, which is read
//! back and held against the chain before the ledger takes it for theirs; from that moment on they are read from there, as
//! if nothing had happened, and what the database still has of them is dropped bit by bit.
//!
//! `through` is all there is to it: records up to that number are in sealed files, or were pruned; records behind it are in
//! the database. It moves in one transaction, so whoever is killed at any moment leaves each record in one place.

pub(super) mod check;
pub(super) mod file;
mod manifest;
mod prune;
mod read;
pub(super) mod rows;
mod seal;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

pub(super) use self::prune::KIND as PRUNE;
pub use self::prune::{Prune, PruneError, Pruned};
pub use self::seal::{Due, SealError, Sealer};
use super::chain::Hash;
use super::{Ledger, Reader, Result, failed};

/// The tables. `file` is relative to the ledger's own directory, unless it is absolute; times are those of the earliest and of the
/// latest record. `leaving`: files that were pruned, until they are gone.
pub(super) const TABLES: &str = "
CREATE TABLE sealed (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
    earliest INTEGER NOT NULL, latest INTEGER NOT NULL, chain_before BLOB NOT NULL, chain_after BLOB NOT NULL
);
CREATE TABLE pruned (last INTEGER PRIMARY KEY, chain BLOB NOT NULL, record INTEGER NOT NULL);
CREATE TABLE leaving (file TEXT PRIMARY KEY) WITHOUT ROWID;
";

/// Rows that are dropped from the database at once: nobody waits long for the one that does it.
const DROPPED_AT_ONCE: usize = 2_000;

/// A sealed file, as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Number of its first record,
    pub(super) first: i64,
    /// and of its last.
    pub(super) last: i64,
    /// Where it is, seen from the ledger's directory.
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) sha256: Hash,
    /// When the earliest of its records ended, in nanoseconds since 1970,
    pub(super) earliest: i64,
    /// and the latest.
    pub(super) latest: i64,
    /// The chain in front of it,
    pub(super) before: Hash,
    /// and with it.
    pub(super) after: Hash,
}

impl Sealed {
    const COLUMNS: &str =
        "first, last, file, size, sha256, earliest, latest, chain_before, chain_after";

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            first: row.get(0)?,
            last: row.get(1)?,
            file: row.get(2)?,
            size: row.get::<_, i64>(3)?.unsigned_abs(),
            sha256: row.get(4)?,
            earliest: row.get(5)?,
            latest: row.get(6)?,
            before: row.get(7)?,
            after: row.get(8)?,
        })
    }

    /// How many records it holds.
    #[must_use]
    pub const fn records(&self) -> u64 {
        (self.last - self.first + 1).unsigned_abs()
    }

    /// Where it is, as the ledger says it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// Records up to this number are not in the database: they are in sealed files, or were pruned.
pub(super) fn through(connection: &Connection) -> rusqlite::Result<i64> {
    Ok(end(connection)?.map_or(0, |(last, _)| last))
}

/// Number of the last of these records, and the chain until there.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<Option<(i64, Hash)>> {
    let sealed = connection
        .prepare_cached("SELECT last, chain_after FROM sealed ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match sealed {
        Some(end) => Ok(Some(end)),
        None => Ok(pruned(connection)?.map(|(last, chain, _)| (last, chain))),
    }
}

/// Number of the last record that was pruned, the chain until there, and the number of the record that says so.
pub(super) fn pruned(connection: &Connection) -> rusqlite::Result<Option<(i64, Hash, i64)>> {
    connection
        .prepare_cached("SELECT last, chain, record FROM pruned ORDER BY last DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
}

impl Reader {
    /// The first sealed file that has something behind a number.
    fn sealed_behind(&self, after: i64) -> Result<Option<Sealed>> {
        let columns = Sealed::COLUMNS;
        let find = format!(
            "SELECT {columns} FROM sealed
             WHERE first >= coalesce((SELECT max(first) FROM sealed WHERE first <= ?1), 0) AND last > ?1
             ORDER BY first LIMIT 1"
        );
        self.connection
            .prepare_cached(&find)
            .and_then(|mut find| find.query_row([after], Sealed::of).optional())
            .map_err(failed(&self.path))
    }

    /// All sealed files.
    pub(super) fn all_sealed(&self) -> Result<Vec<Sealed>> {
        let query = format!("SELECT {} FROM sealed ORDER BY first", Sealed::COLUMNS);
        self.rows(&query, Sealed::of)
    }

    /// Number of the last record that was pruned; 0 when none ever was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pruned_until(&self) -> Result<u64> {
        let pruned = pruned(&self.connection).map_err(failed(&self.path))?;
        Ok(pruned.map_or(0, |(last, ..)| last.unsigned_abs()))
    }

    /// Bytes of all sealed files.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sealed_bytes(&self) -> Result<u64> {
        let sum = "SELECT coalesce(sum(size), 0) FROM sealed";
        self.connection
            .query_row(sum, [], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(failed(&self.path))
    }

    /// Where a file is.
    pub(super) fn place_of(&self, file: &str) -> PathBuf {
        directory_of(&self.path).join(file)
    }
}

/// The directory something is in.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}

impl Ledger {
    /// Takes a sealed file for what its records are read from.
    ///
    /// # Errors
    /// When it cannot be written, or the file is not the one that comes next.
    pub fn take_sealed(&mut self, sealed: &Sealed) -> Result<()> {
        let known = through(&self.connection).map_err(failed(&self.path))?;
        if known + 1 != sealed.first {
            return Err(self.damaged(format!(
                "{} begins with record {}, and record {} is to be sealed next",
                sealed.file,
                sealed.first,
                known + 1
            )));
        }
        self.write(|transaction| {
            let put = format!(
                "INSERT INTO sealed ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                Sealed::COLUMNS
            );
            transaction
                .execute(
                    &put,
                    params![
                        sealed.first,
                        sealed.last,
                        sealed.file,
                        sealed.size as i64,
                        sealed.sha256,
                        sealed.earliest,
                        sealed.latest,
                        sealed.before,
                        sealed.after,
                    ],
                )
                .map(drop)
        })
    }

    /// Drops some of what the database still has of records that are in sealed files, or were pruned; whether there is more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn drop_sealed(&mut self) -> Result<bool> {
        let through = through(&self.connection).map_err(failed(&self.path))?;
        let mut left = DROPPED_AT_ONCE;
        self.write(|transaction| {
            // Batches last: the last of them is the chain's head when all records are sealed.
            let tables = [
                ("usage", "seq"),
                ("record", "seq"),
                ("endowment", "seq"),
                ("batch", "first"),
            ];
            for (table, key) in tables {
                let delete = format!(
                    "DELETE FROM {table} WHERE {key} IN
                     (SELECT {key} FROM {table} WHERE {key} <= ?1 ORDER BY {key} LIMIT ?2)"
                );
                left -= transaction
                    .prepare_cached(&delete)?
                    .execute(params![through, left as i64])?;
            }
            Ok(())
        })?;
        Ok(left == 0)
    }
}
