//! What a finished file holds, in a file beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::runner::SinkError;
use super::{format, io_error};
use crate::config::FileFormat;
use crate::ledger::usage::AnyRecord;

/// What names of manifests end with.
pub(super) const SUFFIX: &str = ".manifest.json";

/// What a finished file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Its name.
    pub(super) file: String,
    /// `json` or `csv`.
    pub(super) format: String,
    /// Name of the gateway.
    pub(super) node: String,
    /// Number of its first record.
    pub(super) first_seq: u64,
    /// Number of its last one; there are no gaps.
    pub(super) last_seq: u64,
    /// How many.
    pub(super) records: u64,
    /// How many of each kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// When the first of them ended,
    pub(super) first_time: Option<Timestamp>,
    /// and the last.
    pub(super) last_time: Option<Timestamp>,
    /// IP bytes, by who was charged.
    pub(super) bytes: BTreeMap<String, Bytes>,
    /// Bytes that left buckets.
    pub(super) bytes_drawn: u64,
    /// Bytes of the file.
    pub(super) size: u64,
    /// SHA-256 of the file.
    pub(super) sha256: String,
    /// SHA-256 of its last record, to be known again.
    pub(super) fingerprint: String,
    /// The file before it.
    pub(super) previous: Option<Previous>,
}

/// IP bytes, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Bytes {
    pub(super) up: u64,
    pub(super) down: u64,
}

/// The file before: none between was taken away unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Previous {
    pub(super) file: String,
    pub(super) sha256: String,
}

impl Manifest {
    /// Of a file without records.
    pub(super) fn new(
        node: &str,
        format: FileFormat,
        first_seq: u64,
        previous: Option<Previous>,
    ) -> Self {
        Self {
            file: String::new(),
            format: format::name(format).to_owned(),
            node: node.to_owned(),
            first_seq,
            last_seq: first_seq - 1,
            records: 0,
            kinds: BTreeMap::new(),
            first_time: None,
            last_time: None,
            bytes: BTreeMap::new(),
            bytes_drawn: 0,
            size: 0,
            sha256: String::new(),
            fingerprint: String::new(),
            previous,
        }
    }

    /// Adds a record that takes so many bytes.
    pub(super) fn add(&mut self, record: &AnyRecord, size: u64) {
        self.last_seq = record.seq();
        self.records += 1;
        self.size += size;
        *self.kinds.entry(record.kind().to_owned()).or_default() += 1;
        self.first_time = self.first_time.or(Some(record.time()));
        self.last_time = Some(record.time());
        if let AnyRecord::Usage(usage) = record {
            let bytes = self.bytes.entry(usage.charged.clone()).or_default();
            bytes.up += usage.bytes_up;
            bytes.down += usage.bytes_down;
            self.bytes_drawn += usage.bytes_drawn;
        }
    }

    /// Name of the manifest's own file.
    pub(super) fn name(&self) -> String {
        format!("{}{SUFFIX}", self.file)
    }

    /// As it is written.
    pub(super) fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads one.
    pub(super) fn read(path: &Path) -> Result<Self, SinkError> {
        let text = std::fs::read(path).map_err(io_error(path))?;
        serde_json::from_slice(&text).map_err(|error| SinkError::Unreadable {
            place: path.display().to_string(),
            what: format!("it is no manifest ({error}); put the one back that was written there"),
        })
    }
}
