//! What people have recorded: outages, and corrections of what was recorded.

use jiff::Timestamp;
use tracing::info;

use crate::agent::node::Node;
use crate::balance::{MAX_ORDER_ID, MAX_REASON};
use crate::ledger::LedgerError;
use crate::ledger::notes::{Corrected, Correction, Noted, OF_NOBODY, Outage, Scope};
use crate::ledger::records::{Entry, Record, What};
use crate::ledger::usage::AnyRecord;

/// An outage to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutage {
    /// The caller's id: what comes again under it is recorded once.
    pub id: String,
    /// What is noted beside it.
    pub reason: Option<String>,
    /// What was out, when, why, and whose fault it was.
    pub outage: Outage,
}

/// A correction to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCorrection {
    /// The caller's id: what comes again under it is recorded once.
    pub id: String,
    /// Why.
    pub reason: String,
    /// Of which record, what is right, and who approved it.
    pub correction: Correction,
}

/// Why something is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// Something about it is wrong.
    #[error("{0}")]
    Invalid(String),
    /// There is no such record.
    #[error("there is no record {0}")]
    Unknown(u64),
    /// The id is another record's.
    #[error(
        "id `{}` is that of record {}, which says {}; now it says {}: give what is new an id of its own",
        .0.1.id.as_deref().unwrap_or_default(), .0.0.seq, said(&.0.0.entry), said(&.0.1)
    )]
    Conflict(Box<(Record, Entry)>),
    /// The disk would not.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a record says, all of it: two may differ in one number.
fn said(entry: &Entry) -> String {
    // Text and numbers: there is nothing in it that cannot be written.
    serde_json::to_string(entry).unwrap_or_default()
}

impl Node {
    /// Records an outage. Who records it again, under its id, is told the same.
    ///
    /// # Errors
    /// When it cannot have been, its id is another's, or it cannot be written.
    pub fn outage(&mut self, new: NewOutage) -> Result<Record, NoteError> {
        let now = Timestamp::now();
        // What was recorded may be of a class or an interface that is gone.
        if self.ledger.noted(&new.id)?.is_none() {
            self.check_outage(&new.outage, now)
                .map_err(NoteError::Invalid)?;
        }
        let entry = Entry {
            kind: "outage".to_owned(),
            subscriber: OF_NOBODY.to_owned(),
            id: Some(new.id),
            reason: new.reason,
            what: What::Outage(Box::new(new.outage)),
        };
        self.note(entry, now)
    }

    /// Records what a record should have said. The record stays as it is.
    ///
    /// # Errors
    /// When there is no such record, it is not one that can be corrected so, the id is another's, or it cannot be written.
    pub fn correct(&mut self, new: NewCorrection) -> Result<Record, NoteError> {
        let correction = &new.correction;
        let seq = correction.corrects;
        let corrected = self.ledger.record_at(seq)?;
        let corrected = corrected.ok_or(NoteError::Unknown(seq))?;
        let now = Timestamp::now();
        let subscriber = corrects(&corrected, correction, &new.reason, now);
        let entry = Entry {
            kind: "correction".to_owned(),
            subscriber: subscriber.map_err(NoteError::Invalid)?,
            id: Some(new.id),
            reason: Some(new.reason),
            what: What::Correction(new.correction),
        };
        self.note(entry, now)
    }

    fn note(&mut self, entry: Entry, now: Timestamp) -> Result<Record, NoteError> {
        let id = entry.id.clone().unwrap_or_default();
        if id.trim().is_empty() {
            let none = "it has no id: give it one of your own, so that it is recorded once";
            return Err(NoteError::Invalid(none.to_owned()));
        }
        let reason = entry.reason.as_deref().unwrap_or_default();
        let (words, by) = match &entry.what {
            What::Outage(outage) => (&*outage.cause, ""),
            What::Correction(correction) => ("", &*correction.approver),
            _ => ("", ""),
        };
        for (name, text, most) in [
            ("id", &*id, MAX_ORDER_ID),
            ("reason", reason, MAX_REASON),
            ("cause", words, MAX_REASON),
            ("approver", by, MAX_ORDER_ID),
        ] {
            if text.len() > most {
                let long = format!("its {name} is longer than {most} bytes: make it shorter");
                return Err(NoteError::Invalid(long));
            }
        }
        match self.ledger.note(&id, &entry, now)? {
            Noted::As(record) => {
                info!(id, seq = record.seq, "{}", record.entry.kind);
                Ok(record)
            }
            Noted::Conflict(record) => Err(NoteError::Conflict(Box::new((record, entry)))),
        }
    }

    fn check_outage(&self, outage: &Outage, now: Timestamp) -> Result<(), String> {
        let Outage { from, to, .. } = outage;
        if from >= to {
            return Err(format!(
                "it ends at {to}, and begins at {from}: it has to end later"
            ));
        }
        if *to > now {
            return Err(format!(
                "it ends at {to}, which is still to come: record it when it is over"
            ));
        }
        if outage.cause.trim().is_empty() {
            return Err("it has no cause: say what happened".to_owned());
        }
        let known = |id: &&String| self.accounts.subscribers.contains_key(id.as_str());
        if let Some(unknown) = outage.subscribers.iter().find(|id| !known(id)) {
            return Err(format!("there never was a subscriber `{unknown}`"));
        }
        match &outage.scope {
            Scope::Node => Ok(()),
            Scope::Subscribers if outage.subscribers.is_empty() => {
                Err("it says no subscribers: name those who were without service".to_owned())
            }
            Scope::Subscribers => Ok(()),
            Scope::Class { class } => {
                let classes = &self.accounts.catalog.classes;
                if classes.iter().any(|known| known.name == *class) {
                    return Ok(());
                }
                let known: Vec<_> = classes.iter().map(|known| &*known.name).collect();
                Err(format!("there is no class `{class}`: {}", known.join(", ")))
            }
            Scope::Interface { interface } => {
                let all = &self.config.interfaces;
                let Some(found) = all.iter().find(|known| known.name == *interface) else {
                    let known: Vec<_> = all.iter().map(|known| &*known.name).collect();
                    return Err(format!(
                        "there is no interface `{interface}`: {}",
                        known.join(", ")
                    ));
                };
                let beside = all.iter().filter(|other| other.role == found.role).count();
                if beside > 1 && outage.subscribers.is_empty() {
                    return Err(format!(
                        "who was behind `{interface}`, and not behind another interface, is not known here: name the \
                         subscribers"
                    ));
                }
                Ok(())
            }
        }
    }
}

/// Whether a record can be corrected so, and whose the correction is.
fn corrects(
    record: &AnyRecord,
    correction: &Correction,
    reason: &str,
    now: Timestamp,
) -> Result<String, String> {
    if correction.approver.trim().is_empty() || reason.trim().is_empty() {
        return Err("a correction has an approver and a reason: say who and why".to_owned());
    }
    let seq = record.seq();
    match (record, correction.right) {
        (AnyRecord::Usage(usage), Corrected::Usage { .. }) => Ok(usage.subscriber.clone()),
        (AnyRecord::Usage(_), Corrected::Outage { .. }) => Err(format!(
            "record {seq} is one of usage: say its right bytes and packets, up and down"
        )),
        (AnyRecord::Other(other), right) => match (&other.entry.what, right) {
            (What::Outage(_), Corrected::Outage { to, .. }) if to > now => Err(format!(
                "it ends at {to}, which is still to come: record it when it is over"
            )),
            (What::Outage(_), Corrected::Outage { from, to }) if from <= to => {
                Ok(OF_NOBODY.to_owned())
            }
            (What::Outage(_), Corrected::Outage { from, to }) => Err(format!(
                "it ends at {to}, and begins at {from}: say the same where there was no outage"
            )),
            (What::Outage(_), Corrected::Usage { .. }) => Err(format!(
                "record {seq} is an outage: say when it really was, from and to"
            )),
            _ => Err(format!(
                "record {seq} is a {}: what it did is undone by another order, not by a correction",
                other.entry.kind
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::notes::Fault;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn other(what: What) -> AnyRecord {
        AnyRecord::Other(Record {
            seq: 7,
            time: at(0),
            entry: Entry {
                kind: "grant".to_owned(),
                subscriber: "ann".to_owned(),
                id: None,
                reason: None,
                what,
            },
        })
    }

    #[test]
    fn a_correction_says_of_a_record_what_that_could_have_said() {
        let outage = other(What::Outage(Box::new(Outage {
            scope: Scope::Node,
            subscribers: Vec::new(),
            from: at(1),
            to: at(2),
            cause: "power".to_owned(),
            fault: Fault::Operator,
        })));
        let grant = other(What::Bucket {
            bucket: "main".to_owned(),
            bytes: 1,
            amount: None,
            left: 1,
        });
        let when = |from, to| Corrected::Outage {
            from: at(from),
            to: at(to),
        };
        let volume = Corrected::Usage {
            bytes_up: 1,
            bytes_down: 2,
            packets_up: 1,
            packets_down: 1,
        };
        let correct = |record: &AnyRecord, right, approver: &str| {
            let correction = Correction {
                corrects: 7,
                approver: approver.to_owned(),
                right,
            };
            corrects(record, &correction, "it was shorter", at(3))
        };
        assert_eq!(correct(&outage, when(1, 2), "boss"), Ok(String::new()));
        assert_eq!(correct(&outage, when(1, 1), "boss"), Ok(String::new()));
        for (record, right, approver, expected) in [
            (
                &outage,
                when(2, 1),
                "boss",
                "say the same where there was no outage",
            ),
            (&outage, when(1, 4), "boss", "still to come"),
            (&outage, volume, "boss", "say when it really was"),
            (&outage, when(1, 2), " ", "an approver and a reason"),
            (&grant, volume, "boss", "undone by another order"),
        ] {
            let refused = correct(record, right, approver).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
