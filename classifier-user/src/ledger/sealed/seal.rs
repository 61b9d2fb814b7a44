//! Writing a sealed file, in steps of which each is on the disk before the next:
//!
//! 1. the file is there under a hidden name, and is read back: every batch in it is one of the chain's;
//! 2. it has its name;
//! 3. its manifest is beside it;
//! 4. the ledger takes it ([`Ledger::take_sealed`](super::super::Ledger::take_sealed)): from here on records are read from it;
//! 5. what the database still has of them is dropped.
//!
//! Whatever a crash leaves before 2 is written over, and what it leaves after 2 is read again and taken. No file that has a name
//! is ever written over or removed: it may hold what a restored ledger does not.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::params;

use super::super::accounts::bound;
use super::super::chain::{Batch, Hash, NOTHING, Seal, Written};
use super::super::records::Entry;
use super::super::walk::{Reference, walk};
use super::super::{LedgerError, Reader, Result, endowments, failed};
use super::check::{Facts, examine};
use super::file::{Key, Writer};
use super::{Sealed, directory_of, end, manifest};
use crate::disk::Disk;

/// Records of one file at most, if that is more than a batch.
const MOST: i64 = 1 << 20;

/// Name of a file that is not finished.
const HIDDEN: &str = ".sealing.partial";
/// And of its manifest.
const HIDDEN_MANIFEST: &str = ".manifest.partial";

/// Why records stay in the database.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be written, or is not what was written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// Something has the name the file is to have.
    #[error(
        "{}: it is to hold the records of this ledger from {seq} on, and does not: {what}. Move it away: it may be of \
         another ledger, or of this one before it was restored, and then it may be all there is of these records",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Number of the record that is to be sealed next.
        seq: i64,
        /// How that is known.
        what: String,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SealError {
    let path = path.to_owned();
    move |error| SealError::Io { path, error }
}

/// What is old enough.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Nothing is sealed until the oldest batch in the database is as old as this: it is to be worth a file.
    pub from: Timestamp,
    /// Then everything that is not younger than this.
    pub until: Timestamp,
    /// Who claims to be younger than this was written by a clock that was ahead.
    pub now: Timestamp,
}

impl Due {
    fn is_past(&self, time: i64, until: Timestamp) -> bool {
        time <= bound(until) || time > bound(self.now)
    }
}

/// Where sealed files are written.
#[derive(Debug)]
pub struct Sealer {
    directory: PathBuf,
    pub(super) disk: Disk,
    pub(super) most: i64,
}

impl Sealer {
    /// One that writes to a directory, which is made.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            disk: Disk::default(),
            most: MOST,
        }
    }

    /// Writes the next file, if one is due: it is on the disk, and is what the ledger has. The ledger has to
    /// [take](super::super::Ledger::take_sealed) it then.
    ///
    /// # Errors
    /// When it cannot be written, or not be read back as it was written. Everything stays as it was.
    pub fn seal(
        &mut self,
        reader: &Reader,
        due: Due,
    ) -> std::result::Result<Option<Sealed>, SealError> {
        reader.at_once(|_| {
            let end = end(&reader.connection).map_err(failed(&reader.path))?;
            let (through, before) = end.unwrap_or((0, NOTHING));
            if let Some(found) = self.left_over(through + 1)? {
                return self.adopt(reader, &found, through + 1, before).map(Some);
            }
            let last = reader.due(through, due, self.most)?;
            let Some(last) = last else {
                return Ok(None);
            };
            let hidden = self.directory.join(HIDDEN);
            let written = self.write(reader, &hidden, (through, last), before);
            if written.is_err() {
                // It is in the way of those who wait for room.
                let _ = fs::remove_file(&hidden);
            }
            written.map(Some)
        })
    }

    /// A file that was finished, and not taken.
    fn left_over(&self, first: i64) -> std::result::Result<Option<PathBuf>, SealError> {
        let failed = io_error(&self.directory);
        let begins = format!("{first:012}-");
        let look = || {
            let entries = match fs::read_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                entries => entries?,
            };
            for entry in entries {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(&begins) && name.ends_with(".zst") {
                    return Ok(Some(path));
                }
            }
            Ok(None)
        };
        look().map_err(failed)
    }

    fn adopt(
        &mut self,
        reader: &Reader,
        path: &Path,
        first: i64,
        before: Hash,
    ) -> std::result::Result<Sealed, SealError> {
        let foreign = |what: String| SealError::Foreign {
            path: path.to_owned(),
            seq: first,
            what,
        };
        let facts = examine(path, first, before).map_err(|error| foreign(error.to_string()))?;
        if !reader.ends_a_batch(facts.last, &facts.after)? {
            return Err(foreign(format!(
                "the ledger's chain is another one at record {}",
                facts.last
            )));
        }
        self.describe(path, &facts)?;
        self.known(reader, path, &facts)
    }

    fn write(
        &mut self,
        reader: &Reader,
        hidden: &Path,
        (after, last): (i64, i64),
        before: Hash,
    ) -> std::result::Result<Sealed, SealError> {
        let directory = self.directory.clone();
        self.disk
            .make_directory(&directory)
            .map_err(io_error(&directory))?;
        let mut writer =
            Writer::create(&mut self.disk, hidden, after + 1).map_err(io_error(hidden))?;
        reader.put(&mut writer, (after, last), hidden)?;
        writer.finish().map_err(io_error(hidden))?;
        let facts = examine(hidden, after + 1, before).map_err(io_error(hidden))?;
        if facts.last != last || !reader.ends_a_batch(last, &facts.after)? {
            let error = io::Error::other("it was read back, and is not what was written");
            return Err(io_error(hidden)(error));
        }
        let path = directory.join(format!("{:012}-{last:012}.zst", after + 1));
        self.disk
            .rename(hidden, &path)
            .and_then(|()| self.disk.sync_directory(&directory))
            .map_err(io_error(&path))?;
        self.describe(&path, &facts)?;
        self.known(reader, &path, &facts)
    }

    /// Writes the manifest.
    fn describe(&mut self, path: &Path, facts: &Facts) -> std::result::Result<(), SealError> {
        let name = name_of(path);
        let to = self.directory.join(format!("{name}{}", manifest::SUFFIX));
        let hidden = self.directory.join(HIDDEN_MANIFEST);
        let mut write = || {
            self.disk
                .write_whole(&hidden, &manifest::text(&name, facts)?)?;
            self.disk.rename(&hidden, &to)?;
            self.disk.sync_directory(&self.directory)
        };
        write().map_err(io_error(&to))
    }

    /// What the ledger is told of a file.
    fn known(
        &self,
        reader: &Reader,
        path: &Path,
        facts: &Facts,
    ) -> std::result::Result<Sealed, SealError> {
        // What moves with the ledger is found beside it.
        let seen = path
            .strip_prefix(directory_of(&reader.path))
            .map_or_else(|_| std::path::absolute(path), |path| Ok(path.to_owned()))
            .map_err(io_error(path))?;
        let file = seen.to_str().ok_or_else(|| {
            io_error(path)(io::Error::other("its name is not Unicode; give it another"))
        })?;
        Ok(Sealed {
            first: facts.first,
            last: facts.last,
            file: file.to_owned(),
            size: facts.size,
            sha256: facts.sha256,
            earliest: facts.earliest,
            latest: facts.latest,
            before: facts.before,
            after: facts.after,
        })
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl Reader {
    /// The last record of those behind a number that are due: whole batches, at most so many records if that is more than one.
    fn due(&self, after: i64, due: Due, most: i64) -> Result<Option<i64>> {
        const LATEST: &str = "SELECT max(
            coalesce((SELECT ended FROM usage WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq DESC LIMIT 1), ?3),
            coalesce((SELECT time FROM record WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq DESC LIMIT 1), ?3),
            coalesce((SELECT time FROM endowment WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq DESC LIMIT 1), ?3))";
        let find = || {
            let query = "SELECT first, last FROM batch WHERE first > ?1 ORDER BY first";
            let mut batches = self.connection.prepare_cached(query)?;
            let mut latest = self.connection.prepare_cached(LATEST)?;
            let mut rows = batches.query([after])?;
            let mut found = None;
            while let Some(row) = rows.next()? {
                let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
                let latest = latest.query_row([first, last, i64::MIN], |row| row.get(0))?;
                let until = match found {
                    None => due.from,
                    Some(_) => due.until,
                };
                let fits = found.is_none() || last - after <= most;
                if !fits || !due.is_past(latest, until) {
                    break;
                }
                found = Some(last);
            }
            Ok(found)
        };
        find().map_err(failed(&self.path))
    }

    /// Whether a batch ends with a record, and the chain is this one then.
    fn ends_a_batch(&self, last: i64, chain: &Hash) -> Result<bool> {
        let find =
            "SELECT EXISTS (SELECT 1 FROM batch WHERE last = ?2 AND chain = ?3 AND first > ?1)";
        let through = super::through(&self.connection);
        through
            .and_then(|through| {
                self.connection
                    .query_row(find, params![through, last, chain], |row| row.get(0))
            })
            .map_err(failed(&self.path))
    }

    /// Puts records in a file, batch by batch, each of which has to be what was written.
    fn put(
        &self,
        writer: &mut Writer<'_>,
        (after, last): (i64, i64),
        file: &Path,
    ) -> std::result::Result<(), SealError> {
        let sql = |error| SealError::from(failed(&self.path)(error));
        let query = "SELECT first, last, content, chain FROM batch WHERE first > ?1 AND last <= ?2 ORDER BY first";
        let mut batches = self.connection.prepare(query).map_err(sql)?;
        let mut batches = batches.query_map([after, last], Batch::of).map_err(sql)?;
        let mut terms: HashMap<i64, String> = HashMap::new();
        let mut batch = batches.next().transpose().map_err(sql)?;
        let mut seal = Seal::from(after + 1);
        walk(
            &self.connection,
            &self.path,
            (after, last),
            |written, reference| {
                if let (Written::Usage(usage), Reference::Whose(whose)) = (&written, reference)
                    && !writer.knows(&usage.terms)
                {
                    let content = match terms.get(&whose.terms) {
                        Some(content) => content,
                        None => {
                            let content = self.terms_content(whose.terms)?;
                            terms.entry(whose.terms).or_insert(content)
                        }
                    };
                    writer.terms(content);
                }
                self.put_one(writer, &written)?;
                seal.add(&written);
                let end = written.seq() + written.records() - 1;
                if let Some(ends) = batch.filter(|batch| batch.last <= end) {
                    let done = std::mem::replace(&mut seal, Seal::from(end + 1));
                    let first = end + 1 - done.records();
                    let (content, _) = done.finish(&NOTHING);
                    if (first, end, content) != (ends.first, ends.last, ends.content) {
                        return Err(self
                        .damaged(format!(
                            "records {} to {} are not those that were written, and are not sealed",
                            ends.first, ends.last
                        ))
                        .into());
                    }
                    writer.batch(&ends);
                    batch = batches.next().transpose().map_err(sql)?;
                }
                writer.close_if_full().map_err(io_error(file))
            },
        )
    }

    fn put_one(&self, writer: &mut Writer<'_>, written: &Written<'_>) -> Result<()> {
        match written {
            Written::Usage(usage) => writer.add(written, [Key::UsageOf(usage.subscriber)]),
            Written::Other { content, .. } => {
                let entry: Entry = self.understood(serde_json::from_str(content))?;
                let (subscriber, kind) = (&*entry.subscriber, &*entry.kind);
                let keys = [Key::Others, Key::OthersOf(subscriber), Key::Kind(kind)];
                writer.add(written, keys);
            }
            Written::Endowment { subscribers, .. } => {
                let of = subscribers.split('\n').map(Key::OthersOf);
                let keys = [Key::Others, Key::Kind(endowments::KIND)];
                writer.add(written, keys.into_iter().chain(of));
            }
        }
        Ok(())
    }
}
