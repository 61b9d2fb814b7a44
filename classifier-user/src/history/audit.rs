//! The audit log: a line of JSON for everything that was put in force, was to be, or was refused, with who and why.
//!
//! Each line holds the SHA-256 of the line before, so that no line can be changed, taken out or put in without
//! every later one saying so. Taking lines off the end does not show in the file alone: the agent logs the hash of each line
//! it writes (`audit` in its log), and whoever noted one can ask whether it is still there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Result, io_at};

/// Name of the log in the history.
pub const FILE: &str = "audit.jsonl";

/// What stands in for the hash before the first line.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The agent started, with another version than was in force last.
    Start,
    /// The configured files were read again.
    Reload,
    /// A version was asked for.
    Activate,
    /// An earlier version was asked for.
    Rollback,
    /// A validity boundary passed.
    Boundary,
    /// A version was handed in.
    Stage,
    /// A version was asked for at a later time.
    Schedule,
    /// What was asked for at a later time was given up.
    Unschedule,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::Boundary => "boundary",
            Self::Stage => "stage",
            Self::Schedule => "schedule",
            Self::Unschedule => "unschedule",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in force, and was read back from the kernel.
    InForce,
    /// It was refused; what was in force stays in force.
    Refused,
    /// It is kept, or noted.
    Noted,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::Refused => "refused",
            Self::Noted => "noted",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PolicyBy)]
pub struct By {
    /// How it came: `api`, `file`, `feed`, `SIGHUP`, `clock`, `start`.
    pub how: String,
    /// User id of the process on this machine that asked, as the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Who asked, as the API knows its callers: a user, a certificate, a token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl By {
    /// The agent itself, for a cause.
    #[must_use]
    pub fn itself(how: &str) -> Self {
        Self {
            how: how.to_owned(),
            uid: None,
            user: None,
        }
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.user, self.uid) {
            (Some(user), _) => write!(f, "{user} ({})", self.how),
            (None, Some(uid)) => write!(f, "uid {uid} ({})", self.how),
            (None, None) => f.write_str(&self.how),
        }
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was done.
    pub time: Timestamp,
    /// Name of the gateway.
    pub node: String,
    /// What was done.
    pub action: Action,
    /// What came of it.
    pub result: Outcome,
    /// By whom.
    pub by: By,
    /// Why.
    pub reason: Option<String>,
    /// The version in force before.
    pub before: Option<String>,
    /// The version it is about; `None` if the files could not be read as a policy.
    pub version: Option<String>,
    /// The time it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What changes with it, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// What goes beyond the policy's guards and was overruled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overruled: Vec<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// SHA-256 of the line before, without its end.
    pub previous: String,
}

/// SHA-256 of a line, as the next one holds it.
#[must_use]
pub fn hash(line: &str) -> String {
    hex::encode(Sha256::digest(line))
}

/// What is wrong with a chain of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Follows the chain; the hash of the last line, and the first thing that is wrong.
pub fn verify<'a>(lines: impl IntoIterator<Item = &'a str>) -> (String, Option<Flaw>) {
    let (mut head, mut flaw) = (BEGINNING.to_owned(), None);
    for (line, number) in lines.into_iter().zip(1..) {
        let mut wrong = |what: String| {
            flaw.get_or_insert(Flaw { line: number, what });
        };
        match serde_json::from_str::<Entry>(line) {
            Err(error) => wrong(format!("cannot be read: {error}")),
            Ok(entry) if entry.previous != head => wrong(
                "does not follow the line before it: one of the two was changed, or a line is missing between them"
                    .to_owned(),
            ),
            Ok(entry) if entry.seq != number as u64 => {
                wrong(format!("has the number {} in place of {number}", entry.seq));
            }
            Ok(_) => {}
        }
        head = hash(line);
    }
    (head, flaw)
}

/// The log, to be added to.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Hash of the last line.
    head: String,
    /// Number of the last line.
    last: u64,
    /// Bytes of whole lines.
    bytes: u64,
    flaw: Option<String>,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let io = || io_at(path);
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).read(true).open(path);
        let file = file.map_err(io())?;
        let text = fs::read_to_string(path).map_err(io())?;
        // A line without its end was being written when the machine stopped: nobody was told that it is there.
        let bytes = text.rfind('\n').map_or(0, |end| end + 1);
        let whole = &text[..bytes];
        if bytes < text.len() {
            tracing::warn!(
                "{}: a line that was never finished is removed",
                path.display()
            );
            file.set_len(bytes as u64).map_err(io())?;
        }
        let (head, flaw) = verify(whole.lines());
        Ok(Self {
            path: path.to_owned(),
            file,
            head,
            last: whole.lines().count() as u64,
            bytes: bytes as u64,
            flaw: flaw.map(|flaw| format!("{}: {flaw}", path.display())),
        })
    }

    pub(super) fn flaw(&self) -> Option<&str> {
        self.flaw.as_deref()
    }

    /// Adds a line, which is on the disk when this returns.
    pub(super) fn append(&mut self, entry: &mut Entry) -> Result<()> {
        entry.seq = self.last + 1;
        entry.previous.clone_from(&self.head);
        let mut line =
            serde_json::to_string(entry).map_err(|error| io_at(&self.path)(error.into()))?;
        let head = hash(&line);
        line.push('\n');
        let written = self.write(line.as_bytes());
        if let Err(error) = written {
            // A part of a line must not stand before the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(io_at(&self.path)(error));
        }
        self.bytes += line.len() as u64;
        self.last += 1;
        self.head = head;
        tracing::info!(
            audit = self.head,
            seq = self.last,
            "{} {}: {}",
            entry.action.as_str(),
            entry.version.as_deref().unwrap_or("-"),
            entry.result.as_str()
        );
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.seek(io::SeekFrom::End(0))?;
        self.file.write_all(line)?;
        self.file.sync_all()
    }
}
