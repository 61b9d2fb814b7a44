//! Pruning: sealed files whose records nobody has to keep any longer are removed, oldest first, when somebody says so and
//! why. That it was done is a record, in the same chain: what is missing in front is missing on purpose.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::params;
use tracing::warn;

use super::super::accounts::{bound, timestamp};
use super::super::notes::OF_NOBODY;
use super::super::records::{Entry, Record, What, append};
use super::super::usage::next_seq;
use super::super::{Ledger, LedgerError, Reader, Result};
use super::{Sealed, directory_of, manifest};

/// The kind of the record that says so.
pub(in crate::ledger) const KIND: &str = "prune";

/// What is to be pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Files all of whose records ended before this, or at it.
    pub before: Timestamp,
    /// What is younger than this has to be kept, unless it is forced.
    pub kept: Timestamp,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub by: String,
    /// Also what has to be kept, and what some consumer has not acknowledged.
    pub force: bool,
}

/// What is pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Number of the first record that is gone.
    pub first: u64,
    /// Of the last.
    pub last: u64,
    /// How many files they were in.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// When the latest of these records ended.
    pub latest: Timestamp,
}

/// Why nothing is pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// There is no reason.
    #[error("why? Say it with --reason: it is recorded for good")]
    Reason,
    /// It has to be kept.
    #[error(
        "records have to be kept since {kept} (`retention` under [records]), and {before} is after that; --force overrules it"
    )]
    Young {
        /// Since when.
        kept: Timestamp,
        /// What was asked for.
        before: Timestamp,
    },
    /// Nothing is that old, or what is is not in sealed files.
    #[error("no sealed file holds only records until {0}: nothing is pruned")]
    Nothing(Timestamp),
    /// Somebody has not come so far.
    #[error(
        "{who} has all records up to {has}, and records up to {last} were to be pruned: wait for it, or forget it; --force \
         overrules it"
    )]
    Behind {
        /// A consumer, or a sink.
        who: String,
        /// What it has.
        has: u64,
        /// What was to be pruned.
        last: u64,
    },
    /// They are not added up yet.
    #[error(
        "records up to {has} are in the roll-ups of hours and days, and records up to {last} were to be pruned: wait until \
         the agent has added them up; with --force they are in none, for good"
    )]
    NotRolledUp {
        /// What is in them.
        has: u64,
        /// What was to be pruned.
        last: u64,
    },
    /// It cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Reader {
    /// The files that would be pruned.
    fn prunable(&self, before: Timestamp) -> Result<Vec<Sealed>> {
        let all = self.all_sealed()?;
        let bound = bound(before);
        Ok(all
            .into_iter()
            .take_while(|file| file.latest <= bound)
            .collect())
    }

    /// What [`Ledger::prune`] would do.
    ///
    /// # Errors
    /// Where it would refuse.
    pub fn to_be_pruned(&self, prune: &Prune) -> std::result::Result<Pruned, PruneError> {
        if prune.reason.trim().is_empty() {
            return Err(PruneError::Reason);
        }
        if prune.before > prune.kept && !prune.force {
            return Err(PruneError::Young {
                kept: prune.kept,
                before: prune.before,
            });
        }
        let files = self.prunable(prune.before)?;
        let (Some(first), Some(last)) = (files.first(), files.last()) else {
            return Err(PruneError::Nothing(prune.before));
        };
        let until = last.last.unsigned_abs();
        let rolled = self.rolled()?.through;
        if rolled < until && !prune.force {
            return Err(PruneError::NotRolledUp {
                has: rolled,
                last: until,
            });
        }
        let consumers = self.consumers()?;
        let mut behind = consumers.iter().filter(|one| one.acknowledged < until);
        if let Some(behind) = behind.next()
            && !prune.force
        {
            return Err(PruneError::Behind {
                who: format!("consumer {}", behind.name),
                has: behind.acknowledged,
                last: until,
            });
        }
        let latest = files.iter().map(|file| file.latest).max();
        Ok(Pruned {
            first: first.first.unsigned_abs(),
            last: until,
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
            latest: timestamp(latest.unwrap_or(last.latest)),
        })
    }
}

impl Ledger {
    /// Prunes: from the moment it is recorded, records up to a number are gone; their files follow.
    ///
    /// # Errors
    /// When there is a reason to keep them, or it cannot be written.
    pub fn prune(
        &mut self,
        prune: &Prune,
        now: Timestamp,
    ) -> std::result::Result<(Pruned, Record), PruneError> {
        let pruned = self.to_be_pruned(prune)?;
        let files = self.prunable(prune.before)?;
        let chain = files.last().map_or([0; 32], |last| last.after);
        let entry = Entry {
            kind: KIND.to_owned(),
            subscriber: OF_NOBODY.to_owned(),
            id: None,
            reason: Some(prune.reason.clone()),
            what: What::Prune {
                first_seq: pruned.first,
                last_seq: pruned.last,
                before: prune.before,
                latest: Some(pruned.latest),
                by: prune.by.as_str().into(),
                chain: hex::encode(chain).into(),
            },
        };
        let last = pruned.last as i64;
        let mut seq = 0;
        self.write(|transaction| {
            seq = next_seq(transaction)?;
            append(transaction, std::slice::from_ref(&entry), now)?;
            transaction.execute("INSERT INTO pruned VALUES (?1, ?2, ?3)", params![last, chain, seq])?;
            transaction.execute(
                "INSERT OR REPLACE INTO leaving SELECT file FROM sealed WHERE last <= ?1",
                [last],
            )?;
            transaction.execute("DELETE FROM sealed WHERE last <= ?1", [last])?;
            transaction.execute("DELETE FROM noted WHERE seq <= ?1", [last])?;
            // Sessions that were over before the first record that is left say of nobody but where somebody was.
            transaction.execute(
                "DELETE FROM session WHERE ended < min(?1, coalesce((SELECT min(earliest) FROM sealed), ?1))
                 AND NOT EXISTS (SELECT 1 FROM usage WHERE usage.session = session.number)",
                [bound(prune.before)],
            ).map(drop)
        })?;
        let record = Record {
            seq: seq as u64,
            time: now,
            entry,
        };
        if let Err(error) = self.remove_pruned() {
            warn!("what was pruned is not read any more, and its files are removed later: {error}");
        }
        Ok((pruned, record))
    }

    /// Removes the files of what was pruned, those that an earlier process left among them.
    ///
    /// # Errors
    /// When one cannot be removed; it is tried again.
    pub fn remove_pruned(&mut self) -> Result<()> {
        let files = self.rows("SELECT file FROM leaving", |row| row.get::<_, String>(0))?;
        for file in files {
            let path = self.place_of(&file);
            remove(&path).map_err(|error| LedgerError::Io {
                path: path.clone(),
                error,
            })?;
            self.write(|transaction| {
                transaction
                    .execute("DELETE FROM leaving WHERE file = ?1", [&file])
                    .map(drop)
            })?;
        }
        Ok(())
    }
}

/// Removes a file and its manifest, for good.
fn remove(path: &Path) -> io::Result<()> {
    let mut of_it = path.as_os_str().to_owned();
    of_it.push(manifest::SUFFIX);
    for path in [path, Path::new(&of_it)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match File::open(directory_of(path)) {
        Ok(directory) => directory.sync_all(),
        // Taken away with the file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
