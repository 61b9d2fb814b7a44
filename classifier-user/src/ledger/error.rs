//! Why the ledger cannot be used, and what to do about it.

use std::path::{Path, PathBuf};

use classifier::layout::MAX_INTERFACES;
use rusqlite::ErrorCode;

use super::SCHEMA;

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
    /// The file belongs to a newer version, or one that is too old.
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
    /// The file is to be read, and is of an earlier version.
    #[error(
        "ledger {}: it has schema {found}, and schema {SCHEMA} can be read; `zerorate run` brings it forward when it \
         starts, and keeps the old file",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// A copy of a file of an earlier version could not be made.
    #[error(
        "ledger {}: before it is brought to schema {SCHEMA} it is kept as {}, which failed: {error}; nothing was \
         changed. Make room there and start again",
        path.display(),
        copy.display()
    )]
    Kept {
        /// The file.
        path: PathBuf,
        /// The copy.
        copy: PathBuf,
        /// What failed.
        error: String,
    },
    /// The file is gone, and its log is not.
    #[error(
        "ledger {}: it is missing, and its log {} is there; put back the ledger the log belongs to, or move the log \
         away as well",
        path.display(),
        log.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Its write-ahead log.
        log: PathBuf,
    },
    /// Another process holds the file.
    #[error("ledger {}: another process has it open; one agent may run on a ledger", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something in it cannot be understood.
    #[error(
        "ledger {}: {what}. It is damaged and is left as it is: move it away and restore it from a backup (`zerorate \
         ledger verify` says what is wrong with either), or, without one, give the counters up with `zerorate detach \
         --purge` and begin anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file that records were sealed in is not as it was, or is gone.
    #[error(
        "records {first} to {last} are in {}, which cannot be read: {what}; put back the file that was there",
        file.display()
    )]
    Sealed {
        /// The file.
        file: PathBuf,
        /// Number of its first record.
        first: i64,
        /// Of the last.
        last: i64,
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

pub(super) fn failed(path: &Path) -> impl FnOnce(rusqlite::Error) -> LedgerError {
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
