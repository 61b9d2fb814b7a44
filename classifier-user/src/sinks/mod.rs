//! Sinks: where records are brought, each at its own pace, so that none is lost and none is there twice.
//!
//! A sink reads the ledger by a connection of its own and never holds the agent up. How far it is, it keeps where the records
//! go: beside the last finished file, or in a row of the database that changes in the records' own transaction. That also says
//! what the last record is, so that records of another ledger under the same name are an error, not a mixture.

pub mod board;
mod files;
mod postgres;
pub mod runner;

use sha2::{Digest as _, Sha256};

use self::runner::SinkError;
use crate::ledger::Reader;
use crate::ledger::usage::AnyRecord;

/// Fields a record is known by: those that all versions of a record have.
const KNOWN_BY: [&str; 12] = [
    "seq",
    "kind",
    "subscriber",
    "time",
    "end",
    "session",
    "session_seq",
    "class",
    "charged",
    "total_bytes_up",
    "total_bytes_down",
    "bytes",
];

/// What a record is known by: SHA-256 of what no later version of the program says otherwise, in hexadecimal.
fn fingerprint(record: &AnyRecord) -> String {
    let fields = serde_json::to_value(record).unwrap_or_default();
    let mut hash = Sha256::new();
    for name in KNOWN_BY {
        hash.update(format!("{name}={}\n", fields[name]));
    }
    hex::encode(hash.finalize())
}

/// A record that is not the one that was brought.
struct Strange(u64, Option<SinkError>);

impl Strange {
    fn at(self, place: String, node: &str) -> SinkError {
        self.1.unwrap_or(SinkError::Strange {
            place,
            node: node.to_owned(),
            seq: self.0,
        })
    }
}

/// Sees that a record of a ledger is the one that was brought.
fn same_record(ledger: &Reader, seq: u64, known: &str) -> Result<(), Strange> {
    // What was pruned was known to be there.
    let pruned = ledger.pruned_until();
    let pruned = pruned.map_err(|error| Strange(seq, Some(error.into())))?;
    if seq <= pruned {
        return Ok(());
    }
    let found = ledger.next_records(seq - 1, 1);
    let found = found.map_err(|error| Strange(seq, Some(error.into())))?;
    match found.first() {
        Some(record) if record.seq() == seq && fingerprint(record) == known => Ok(()),
        _ => Err(Strange(seq, None)),
    }
}
