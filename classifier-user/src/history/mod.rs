//! What was in force when, and who put it there: a directory beside the ledger that only grows.
//!
//! | in it | |
//! |---|---|
//! | `versions/VERSION/` | a policy directory as it was, for every version that came into force or was staged ([`kept`]) |
//! | `objects/SHA256` | the files of those, each content once |
//! | `audit.jsonl` | a line for every activation, refused or not, chained by hashes ([`audit`]) |
//! | `state.json` | what was asked for by command and still holds ([`state`]) |
//!
//! The agent writes it. Everybody else reads it, also a copy on another machine: [`past`] answers what was in force at a
//! time, and `zerorate check`, `diff` and `replay` take a kept version like any policy directory.

pub mod audit;
pub mod kept;
pub mod past;
pub mod state;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use self::audit::{Action, By, Entry, Outcome};
pub use self::kept::Files;
pub use self::past::Past;
pub use self::state::{Chosen, Scheduled};

use self::audit::Log;
use self::state::State;
use crate::trust::Seal;

/// What the history could not do.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The system refused.
    #[error("the history {path}: {error}", path = .path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// A file of it is not what was written.
    #[error("the history is damaged: {path}: {what}", path = .path.display())]
    Damaged {
        /// File or directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Nothing is kept under this version.
    #[error("no version {0} is kept; `zerorate policy history` lists those that are")]
    Unknown(String),
    /// A beginning that several versions have.
    #[error("{given} is the beginning of several versions: {}", .found.join(", "))]
    Ambiguous {
        /// What was given.
        given: String,
        /// The versions.
        found: Vec<String>,
    },
    /// Nothing was in force then.
    #[error("no policy was in force at {at}; {known}")]
    Nothing {
        /// The time.
        at: Timestamp,
        /// What is known instead.
        known: String,
    },
    /// Nothing to go back to.
    #[error("nothing was in force before version {0}: name the version to go back to")]
    NoneBefore(String),
    /// Files change while they are read.
    #[error("the policy's files are being changed: try again when they are at rest")]
    Moving,
}

pub(crate) type Result<T> = std::result::Result<T, HistoryError>;

pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    let path = path.to_owned();
    move |error| HistoryError::Io { path, error }
}

/// The history as the agent has it, to be added to.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    log: Log,
    state: State,
    /// What could not be written yet, and why.
    waiting: Vec<Entry>,
    trouble: Option<String>,
}

impl History {
    /// Opens the history in `dir`, which is made where there is none.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(dir: &Path) -> Result<Self> {
        let versions = kept::versions_dir(dir);
        for dir in [&versions, &kept::objects_dir(dir)] {
            fs::create_dir_all(dir).map_err(io_at(dir))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            log: Log::open(&dir.join(audit::FILE))?,
            state: State::read(dir)?,
            waiting: Vec::new(),
            trouble: None,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps the files of a version.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&self, version: &str, files: &Files) -> Result<()> {
        kept::keep(&self.dir, version, files)
    }

    /// Adds a line to the audit log. What cannot be written waits until it can.
    pub fn note(&mut self, entry: Entry) {
        self.waiting.push(entry);
        self.write_down();
    }

    /// Writes what could not be written before.
    pub fn write_down(&mut self) {
        while let Some(entry) = self.waiting.first_mut() {
            match self.log.append(entry) {
                Ok(()) => drop(self.waiting.remove(0)),
                Err(error) => {
                    let text = error.to_string();
                    if self.trouble.as_ref() != Some(&text) {
                        tracing::error!(
                            "an activation cannot be written down, and is tried again: {text}"
                        );
                    }
                    self.trouble = Some(text);
                    return;
                }
            }
        }
        if self.trouble.take().is_some() {
            tracing::info!("what was activated meanwhile is in the audit log");
        }
    }

    /// What is wrong with the audit log, if anything is.
    #[must_use]
    pub fn amiss(&self) -> Option<String> {
        let behind = self.trouble.as_ref();
        let behind =
            behind.map(|error| format!("it cannot be written, and is tried again: {error}"));
        behind.or_else(|| Some(format!("somebody changed it: {}", self.flaw()?)))
    }

    /// What the log says so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn past(&self) -> Result<Past> {
        Past::read(&self.dir)
    }

    /// What is wrong with the log as it was found, if anything is.
    #[must_use]
    pub fn flaw(&self) -> Option<&str> {
        self.log.flaw()
    }

    /// The version that a command put in force in place of the configured files.
    #[must_use]
    pub fn chosen(&self) -> Option<&Chosen> {
        self.state.chosen.as_ref()
    }

    /// Sets it, or gives it up; the one before.
    ///
    /// # Errors
    /// When it cannot be written; nothing has changed then.
    pub fn choose(&mut self, chosen: Option<Chosen>) -> Result<Option<Chosen>> {
        let before = self.state.chosen.clone();
        if before != chosen {
            self.change(|state| state.chosen = chosen)?;
        }
        Ok(before)
    }

    /// What somebody signed of the policy in force, if it was looked at.
    #[must_use]
    pub fn sealed(&self) -> Option<&Seal> {
        self.state.sealed.as_ref()
    }

    /// Sets it; the one before.
    ///
    /// # Errors
    /// When it cannot be written; nothing has changed then.
    pub fn seal(&mut self, sealed: Option<Seal>) -> Result<Option<Seal>> {
        let before = self.state.sealed.clone();
        if before != sealed {
            self.change(|state| state.sealed = sealed)?;
        }
        Ok(before)
    }

    /// What is to be put in force later, the next first.
    #[must_use]
    pub fn scheduled(&self) -> &[Scheduled] {
        &self.state.scheduled
    }

    /// Notes what is to be put in force later, under a number of its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn schedule(&mut self, mut scheduled: Scheduled) -> Result<Scheduled> {
        scheduled.number = self.state.next_number.max(1);
        self.change(|state| {
            state.next_number = scheduled.number + 1;
            state.scheduled.push(scheduled.clone());
            state.scheduled.sort_by_key(|one| (one.at, one.number));
        })?;
        Ok(scheduled)
    }

    /// Forgets what was to be put in force later.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn unschedule(&mut self, number: u64) -> Result<Option<Scheduled>> {
        let found = self.state.scheduled.iter().find(|one| one.number == number);
        let found = found.cloned();
        if found.is_some() {
            self.change(|state| state.scheduled.retain(|one| one.number != number))?;
        }
        Ok(found)
    }

    fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.clone();
        change(&mut state);
        state.write(&self.dir)?;
        self.state = state;
        Ok(())
    }
}

/// Writes a file so that a reader, and whoever comes after a crash, finds the old one or the new one.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_dir(path.parent().unwrap_or(Path::new(".")))
    };
    write().map_err(io_at(path))
}

/// Sees that names in a directory outlive a crash.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
