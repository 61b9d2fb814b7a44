//! What was asked for by command and holds until something else does: the version in force in place of the configured
//! files, and versions that are to come into force later.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::By;
use super::{HistoryError, Result, io_at, replace};
use crate::trust::Seal;

const FILE: &str = "state.json";

/// A version that a command put in force. It holds until the configured policy directory says something else than it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PolicyChosen)]
pub struct Chosen {
    /// The version.
    pub version: String,
    /// What the configured policy directory was then; `None` if it was not a policy.
    pub files: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// A version that is to come into force later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PolicyScheduled)]
pub struct Scheduled {
    /// Its number, by which it can be given up.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The version.
    pub version: String,
    /// Why.
    pub reason: Option<String>,
    /// Whether guards are overruled.
    pub force: bool,
    /// Who asked for it.
    pub by: By,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) chosen: Option<Chosen>,
    pub(super) scheduled: Vec<Scheduled>,
    pub(super) next_number: u64,
    /// What somebody signed of what is in force.
    #[serde(default)]
    pub(super) sealed: Option<Seal>,
}

impl State {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io_at(&path)(error)),
        };
        serde_json::from_str(&text).map_err(|error| HistoryError::Damaged {
            path,
            what: format!(
                "{error}; it can be removed: what was asked for by command is then forgotten"
            ),
        })
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|error| io_at(&path)(error.into()))?;
        replace(&path, &text)
    }
}

/// What is to come into force later, from a history or a copy of one.
///
/// # Errors
/// When it cannot be read.
pub fn scheduled(dir: &Path) -> Result<Vec<Scheduled>> {
    Ok(State::read(dir)?.scheduled)
}
