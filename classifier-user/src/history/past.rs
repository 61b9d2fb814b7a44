//! What was in force when, read from the audit log: on the gateway, or from a copy of the history on any machine.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::{Action, By, Entry, FILE, Outcome};
use super::{HistoryError, Result, io_at};

/// The lines of an audit log, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The lines.
    pub entries: Vec<Entry>,
}

/// A time for which one version was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// The version.
    pub version: String,
    /// Since when.
    pub from: Timestamp,
    /// Until when; `None` if it still is.
    pub until: Option<Timestamp>,
    /// How it came into force.
    pub action: Action,
    /// By whom.
    pub by: By,
    /// Why.
    pub reason: Option<String>,
    /// Number of its line in the audit log.
    pub seq: u64,
    /// What changed with it, a line each.
    pub changes: Vec<String>,
}

impl Past {
    /// Reads the log of a history; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|what| HistoryError::Damaged { path, what }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => {
                Ok(Self::default())
            }
            Err(error) => Err(io_at(&path)(error)),
        }
    }

    /// Reads lines.
    ///
    /// # Errors
    /// When one cannot be read; says which.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let lines = text.lines().zip(1..);
        let entries = lines.map(|(line, number)| {
            serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))
        });
        Ok(Self {
            entries: entries.collect::<std::result::Result<_, String>>()?,
        })
    }

    /// Periods of being in force, oldest first. A boundary inside a version does not end one.
    #[must_use]
    pub fn periods(&self) -> Vec<Period> {
        let mut periods: Vec<Period> = Vec::new();
        for entry in &self.entries {
            let (Outcome::InForce, Some(version)) = (entry.result, &entry.version) else {
                continue;
            };
            if let Some(last) = periods.last_mut() {
                if last.version == *version {
                    continue;
                }
                last.until = Some(entry.time);
            }
            periods.push(Period {
                version: version.clone(),
                from: entry.time,
                until: None,
                action: entry.action,
                by: entry.by.clone(),
                reason: entry.reason.clone(),
                seq: entry.seq,
                changes: entry.changes.clone(),
            });
        }
        periods
    }

    /// The version that came into force last.
    #[must_use]
    pub fn last(&self) -> Option<String> {
        self.periods().pop().map(|period| period.version)
    }

    /// The version in force at a time.
    ///
    /// # Errors
    /// When there was none.
    pub fn in_force_at(&self, at: Timestamp) -> Result<Period> {
        let mut periods = self.periods();
        let known = match periods.first() {
            Some(first) => format!(
                "the history begins at {} with version {}",
                first.from, first.version
            ),
            None => "the history is empty".to_owned(),
        };
        periods.retain(|period| period.from <= at);
        periods.pop().ok_or(HistoryError::Nothing { at, known })
    }

    /// The version to go back to from the one in force: what was in force before it came, other than by going back. So
    /// going back twice goes back two versions.
    ///
    /// # Errors
    /// When there is none.
    pub fn before(&self, version: &str) -> Result<String> {
        let came = |entry: &&Entry| {
            entry.result == Outcome::InForce
                && !matches!(entry.action, Action::Rollback | Action::Boundary)
                && entry.version.as_deref() == Some(version)
                && entry
                    .before
                    .as_deref()
                    .is_some_and(|before| before != version)
        };
        let came = self.entries.iter().rev().find(came);
        came.and_then(|entry| entry.before.clone())
            .ok_or_else(|| HistoryError::NoneBefore(version.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of what is written as `action before>version`, a second each; `!` in front: refused.
    fn past(lines: &[&str]) -> Past {
        let entry = |(number, line): (usize, &&str)| {
            let refused = line.starts_with('!');
            let (action, versions) = line.trim_start_matches('!').split_once(' ').unwrap();
            let (before, version) = versions.split_once('>').unwrap();
            let name = |version: &str| (!version.is_empty()).then(|| version.to_owned());
            let action: Action = serde_json::from_str(&format!("\"{action}\"")).unwrap();
            Entry {
                seq: number as u64 + 1,
                time: Timestamp::from_second(100 + number as i64).unwrap(),
                node: "gw".to_owned(),
                action,
                result: if refused {
                    Outcome::Refused
                } else if action == Action::Stage {
                    Outcome::Noted
                } else {
                    Outcome::InForce
                },
                by: By::itself("api"),
                reason: None,
                before: name(before),
                version: name(version),
                at: None,
                changes: Vec::new(),
                overruled: Vec::new(),
                error: None,
                previous: String::new(),
            }
        };
        Past {
            entries: lines.iter().enumerate().map(entry).collect(),
        }
    }

    #[test]
    fn what_was_in_force_is_known_for_each_second() {
        let past = past(&[
            "start >a",
            "boundary a>a",
            "stage a>b",
            "!reload a>c",
            "activate a>b",
        ]);
        let at = |second| past.in_force_at(Timestamp::from_second(second).unwrap());
        let found: Vec<_> = (100..106)
            .map(|second| at(second).unwrap().version)
            .collect();
        assert_eq!(found, ["a", "a", "a", "a", "b", "b"]);
        let before = at(99).unwrap_err().to_string();
        assert!(
            before.contains("the history begins at 1970-01-01T00:01:40Z with version a"),
            "{before}"
        );
    }

    #[test]
    fn going_back_goes_further_back_each_time() {
        let mut lines = vec!["start >a", "reload a>b", "activate b>c", "boundary c>c"];
        assert_eq!(past(&lines).before("c").unwrap(), "b");
        lines.push("rollback c>b");
        assert_eq!(past(&lines).before("b").unwrap(), "a");
        lines.push("rollback b>a");
        assert!(matches!(
            past(&lines).before("a"),
            Err(HistoryError::NoneBefore(_))
        ));
        // Whoever goes forth again can go back again.
        lines.push("activate a>c");
        assert_eq!(past(&lines).before("c").unwrap(), "a");
    }
}
