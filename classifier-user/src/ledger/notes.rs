//! What people record: outages, and corrections of records. Each under an id of theirs, once; nothing is edited.

use std::fmt;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::records::{Entry, Record, append};
use super::usage::{AnyRecord, Which, next_seq};
use super::{Ledger, Reader, Result, failed};

/// The tables.
pub(super) const TABLES: &str = "
CREATE TABLE noted (id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
";

/// Records that are of no subscriber are found under this.
pub const OF_NOBODY: &str = "";

/// A time in which the service, or some of it, was not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Outage {
    /// What was out.
    #[serde(flatten)]
    pub scope: Scope,
    /// Whose service it was, where that is known; everybody's where it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribers: Vec<String>,
    /// It began,
    pub from: Timestamp,
    /// and ended.
    pub to: Timestamp,
    /// What happened.
    pub cause: String,
    /// Whose fault it was.
    pub fault: Fault,
}

/// What was out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum Scope {
    /// The gateway.
    Node,
    /// One of its interfaces, or what is behind it.
    Interface {
        /// Its name.
        interface: String,
    },
    /// A service class; the rest of the service was there.
    Class {
        /// Its name.
        class: String,
    },
    /// The service of some subscribers.
    Subscribers,
}

impl Scope {
    /// Whether all of the service was out, of those who had none.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !matches!(self, Self::Class { .. })
    }
}

/// Whose fault an outage was.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The operator's: the time is credited.
    Operator,
    /// The subscriber's own.
    Subscriber,
    /// Another's.
    #[value(alias = "third_party")]
    ThirdParty,
    /// Nobody's.
    Nobody,
}

impl Fault {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Subscriber => "subscriber",
            Self::ThirdParty => "third_party",
            Self::Nobody => "nobody",
        }
    }
}

/// What a record should have said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Correction {
    /// Number of the record.
    pub corrects: u64,
    /// Who approved it.
    pub approver: String,
    /// What is right.
    #[serde(flatten)]
    pub right: Corrected,
}

/// What is right instead of what a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Corrected {
    /// Of usage: what was counted since the meter's record before.
    Usage {
        /// IP bytes sent.
        bytes_up: u64,
        /// IP bytes received.
        bytes_down: u64,
        /// Packets sent.
        packets_up: u64,
        /// Packets received.
        packets_down: u64,
    },
    /// Of an outage: when it was; from and to the same where there was none.
    Outage {
        /// It began,
        from: Timestamp,
        /// and ended.
        to: Timestamp,
    },
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Interface { interface } => write!(f, "interface {interface}"),
            Self::Class { class } => write!(f, "class {class}"),
            Self::Subscribers => f.write_str("subscribers"),
        }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scope)?;
        if !self.subscribers.is_empty() {
            write!(f, " ({})", self.subscribers.join(" "))?;
        }
        let (from, to, cause) = (self.from, self.to, &self.cause);
        write!(
            f,
            ", {from} to {to}: {cause}, fault: {}",
            self.fault.as_str()
        )
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {}: ", self.corrects)?;
        match &self.right {
            Corrected::Usage {
                bytes_up,
                bytes_down,
                ..
            } => write!(f, "{bytes_up} bytes up, {bytes_down} down")?,
            Corrected::Outage { from, to } if from == to => f.write_str("there was no outage")?,
            Corrected::Outage { from, to } => write!(f, "{from} to {to}")?,
        }
        write!(f, "; approved by {}", self.approver)
    }
}

/// What became of something to be recorded under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It is recorded, now or before.
    As(Record),
    /// The id is another record's.
    Conflict(Record),
}

impl Reader {
    /// The record with a number.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn record_at(&self, seq: u64) -> Result<Option<AnyRecord>> {
        let Some(after) = seq.checked_sub(1) else {
            return Ok(None);
        };
        let found = self.all_records(Which {
            after,
            limit: 1,
            ..Which::default()
        })?;
        Ok(found.into_iter().find(|record| record.seq() == seq))
    }

    /// The record that was made under a caller's id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn noted(&self, id: &str) -> Result<Option<Record>> {
        let query = "SELECT seq FROM noted WHERE id = ?1";
        let known = self.connection.query_row(query, [id], |row| row.get(0));
        let known: Option<i64> = known.optional().map_err(failed(&self.path))?;
        let Some(seq) = known else {
            return Ok(None);
        };
        match self.record_at(seq as u64)? {
            Some(AnyRecord::Other(record)) => Ok(Some(record)),
            _ => Err(self.damaged(format!("record {seq}, noted as `{id}`, is not there"))),
        }
    }
}

impl Ledger {
    /// Records something under the caller's id, unless it is recorded already.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn note(&mut self, id: &str, entry: &Entry, at: Timestamp) -> Result<Noted> {
        match self.noted(id)? {
            Some(record) if record.entry == *entry => return Ok(Noted::As(record)),
            Some(record) => return Ok(Noted::Conflict(record)),
            None => {}
        }
        let mut seq = 0;
        self.write(|transaction| {
            seq = next_seq(transaction)?;
            transaction.execute("INSERT INTO noted VALUES (?1, ?2)", params![id, seq])?;
            append(transaction, std::slice::from_ref(entry), at)
        })?;
        let record = Record {
            seq: seq as u64,
            time: at,
            entry: entry.clone(),
        };
        Ok(Noted::As(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::records::What;

    #[test]
    fn what_is_noted_again_is_recorded_once() {
        let directory = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(&directory.path().join("ledger.db")).unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let outage = |cause: &str| Entry {
            kind: "outage".to_owned(),
            subscriber: OF_NOBODY.to_owned(),
            id: Some("out-1".to_owned()),
            reason: None,
            what: What::Outage(Box::new(Outage {
                scope: Scope::Interface {
                    interface: "core0".to_owned(),
                },
                subscribers: vec!["ann".to_owned()],
                from: at,
                to: at,
                cause: cause.to_owned(),
                fault: Fault::ThirdParty,
            })),
        };
        let first = ledger.note("out-1", &outage("digger"), at).unwrap();
        let Noted::As(record) = &first else {
            panic!("{first:?}");
        };
        assert_eq!(record.seq, 1);
        let later = Timestamp::MAX;
        assert_eq!(
            ledger.note("out-1", &outage("digger"), later).unwrap(),
            first
        );
        let other = ledger.note("out-1", &outage("storm"), later).unwrap();
        assert_eq!(other, Noted::Conflict(record.clone()));
        assert_eq!(ledger.record_at(2).unwrap(), None);
        let json = serde_json::to_value(ledger.record_at(1).unwrap()).unwrap();
        let expected = serde_json::json!({
            "seq": 1, "time": "1970-01-01T00:00:00Z", "kind": "outage", "id": "out-1", "scope": "interface",
            "interface": "core0", "subscribers": ["ann"], "from": "1970-01-01T00:00:00Z",
            "to": "1970-01-01T00:00:00Z", "cause": "digger", "fault": "third_party"
        });
        assert_eq!(json, expected);
    }
}
