//! The file of a ledger: made whole or not at all, and brought forward from the tables of earlier versions, with the old
//! file kept beside it.
//!
//! A new ledger is made under another name and renamed when it is complete. So a file of a ledger's name that holds no
//! tables was damaged, and is not taken for a new one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction};
use tracing::info;

use super::chain::{self, Seal};
use super::walk::walk;
use super::{
    LedgerError, Result, SCHEMA, TABLES, endowments, failed, notes, reconciled, records, sealed,
    usage,
};

/// Records that an old ledger's are sealed by, at most so many at once.
const SEALED_AT_ONCE: i64 = 10_000;

/// From a schema to the next.
type Step = fn(&Transaction<'_>) -> std::result::Result<(), LedgerError>;

/// What leads from an earlier schema to the one after it.
const STEPS: [(i64, Step); 1] = [(4, seal_records)];

/// The name of a file beside the ledger.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |error| LedgerError::Io { path, error }
}

/// Makes a ledger where there is none.
pub(super) fn make(path: &Path) -> Result<()> {
    let there = path.try_exists().map_err(io_error(path))?;
    if there {
        return Ok(());
    }
    let log = beside(path, "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(LedgerError::Missing {
            path: path.to_owned(),
            log,
        });
    }
    let new = beside(path, ".new");
    remove(&new).map_err(io_error(path))?;
    let connection = Connection::open(&new).map_err(failed(path))?;
    connection
        .execute_batch(&format!(
            "BEGIN; {TABLES} {} {} {} {} {} {} {} {} PRAGMA user_version = {SCHEMA}; COMMIT;",
            usage::TABLES,
            usage::GAPS,
            chain::TABLES,
            notes::TABLES,
            endowments::TABLE,
            usage::PAST,
            reconciled::TABLES,
            sealed::TABLES,
        ))
        .map_err(failed(path))?;
    connection
        .close()
        .map_err(|(_, error)| failed(path)(error))?;
    into_place(&new, path).map_err(io_error(path))
}

/// Removes a database that is not finished, and its journal.
fn remove(path: &Path) -> io::Result<()> {
    for path in [path.to_owned(), beside(path, "-journal")] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives a finished file its name, for good.
fn into_place(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, to)?;
    let directory = match to.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// Brings the tables of an earlier version forward, a step in a transaction each.
pub(super) fn forward(connection: &mut Connection, path: &Path, found: i64) -> Result<()> {
    let mut schema = found;
    while schema != SCHEMA {
        let step = STEPS.iter().find(|(from, _)| *from == schema);
        let (_, step) = step.ok_or_else(|| LedgerError::Schema {
            path: path.to_owned(),
            found: schema,
        })?;
        let kept = keep(connection, path, schema)?;
        let next = schema + 1;
        let transaction = connection.transaction().map_err(failed(path))?;
        step(&transaction)?;
        transaction
            .pragma_update(None, "user_version", next)
            .map_err(failed(path))?;
        transaction.commit().map_err(failed(path))?;
        info!(
            "ledger {}: brought from schema {schema} to {next}; what it was is kept as {}",
            path.display(),
            kept.display()
        );
        schema = next;
    }
    Ok(())
}

/// Keeps the ledger as it is, in a file of its own.
fn keep(connection: &Connection, path: &Path, schema: i64) -> Result<PathBuf> {
    let kept = |copy: &Path, error: &dyn std::fmt::Display| LedgerError::Kept {
        path: path.to_owned(),
        copy: copy.to_owned(),
        error: error.to_string(),
    };
    let mut copy = beside(path, &format!(".v{schema}"));
    for number in 1.. {
        if !copy.exists() {
            break;
        }
        // A start that came no further left it.
        if contents(connection).is_ok_and(|now| contents_of(&copy).is_ok_and(|then| now == then)) {
            return Ok(copy);
        }
        // Another ledger's is not touched.
        copy = beside(path, &format!(".v{schema}.{number}"));
    }
    let new = beside(&copy, ".new");
    remove(&new).map_err(|error| kept(&copy, &error))?;
    let name = new.to_string_lossy();
    connection
        .execute("VACUUM INTO ?1", [&*name])
        .map_err(|error| kept(&copy, &error))?;
    into_place(&new, &copy).map_err(|error| kept(&copy, &error))?;
    Ok(copy)
}

/// What tells ledgers apart, and one from itself at another time: its numbers, and how much is in it.
fn contents(connection: &Connection) -> rusqlite::Result<Vec<(String, Value)>> {
    let mut read = connection.prepare(
        "SELECT name, value FROM number UNION ALL
         SELECT 'usage ', coalesce(max(seq), 0) FROM usage UNION ALL
         SELECT 'record ', coalesce(max(seq), 0) FROM record UNION ALL
         SELECT 'request ', count(*) FROM request UNION ALL
         SELECT 'granted ', total(bytes) FROM granted UNION ALL
         SELECT 'drawn ', total(bytes) FROM drawn ORDER BY 1",
    )?;
    let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn contents_of(path: &Path) -> rusqlite::Result<Vec<(String, Value)>> {
    contents(&Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY,
    )?)
}

/// From 4 to 5: records are in a chain of batches and found by their kind, gaps are declared, outages and corrections are noted under ids, what
/// plans grant at first is recorded, rows that ended give their lines away, and what is old leaves
/// for sealed files.
fn seal_records(transaction: &Transaction<'_>) -> std::result::Result<(), LedgerError> {
    let path = PathBuf::from(transaction.path().unwrap_or_default());
    transaction
        .execute_batch(&format!(
            "ALTER TABLE usage ADD COLUMN gap INTEGER;
             ALTER TABLE usage ADD COLUMN clock INTEGER NOT NULL DEFAULT 0;
             ALTER TABLE session ADD COLUMN lost INTEGER;
             {} {} {} {} {} {} {} {}",
            records::KINDS,
            usage::GAPS,
            chain::TABLES,
            notes::TABLES,
            endowments::TABLE,
            usage::PAST,
            reconciled::TABLES,
            sealed::TABLES
        ))
        .map_err(failed(&path))?;
    let mut next = 1;
    let mut seal = Seal::from(1);
    walk(transaction, &path, (0, i64::MAX), |written, _| {
        if written.seq() != next {
            return Err(LedgerError::Damaged {
                path: path.clone(),
                what: format!(
                    "record {next} is expected, and {} is the next there is",
                    written.seq()
                ),
            });
        }
        next += written.records();
        seal.add(&written);
        if seal.records() >= SEALED_AT_ONCE {
            let full = std::mem::replace(&mut seal, Seal::from(next));
            full.close(transaction).map_err(failed(&path))?;
        }
        Ok(())
    })?;
    seal.close(transaction).map_err(failed(&path))
}

#[cfg(test)]
mod tests;
