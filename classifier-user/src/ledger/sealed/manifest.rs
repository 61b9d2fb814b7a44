//! What a sealed file holds, in a file beside it, for people and programs that do not read the ledger.

use std::io;

use jiff::Timestamp;
use serde::Serialize;

use super::super::accounts::timestamp;
use super::super::chain::Head;
use super::super::verify::Sums;
use super::check::Facts;

/// What names of manifests end with.
pub(super) const SUFFIX: &str = ".manifest.json";

/// How rows stand in the file.
const FORMAT: &str = "zerorate-sealed-1";

/// What a file holds.
#[derive(Debug, Serialize)]
struct Manifest<'a> {
    /// Its name.
    file: &'a str,
    format: &'a str,
    bytes: u64,
    sha256: String,
    first_seq: i64,
    last_seq: i64,
    records: i64,
    batches: u64,
    /// Frames that can be read by themselves.
    blocks: usize,
    /// When the earliest of its records ended, and the latest.
    earliest: Timestamp,
    latest: Timestamp,
    /// Over usage records.
    sums: Sums,
    /// The chain's head in front of the first record, and with the last.
    head_before: String,
    head_after: String,
}

/// As it is written.
pub(super) fn text(file: &str, facts: &Facts) -> io::Result<Vec<u8>> {
    let head = |seq: i64, hash| {
        let seq = seq.unsigned_abs();
        Head { seq, hash }.to_string()
    };
    let mut text = serde_json::to_vec_pretty(&Manifest {
        file,
        format: FORMAT,
        bytes: facts.size,
        sha256: hex::encode(facts.sha256),
        first_seq: facts.first,
        last_seq: facts.last,
        records: facts.last - facts.first + 1,
        batches: facts.batches,
        blocks: facts.blocks,
        earliest: timestamp(facts.earliest),
        latest: timestamp(facts.latest),
        sums: facts.sums,
        head_before: head(facts.first - 1, facts.before),
        head_after: head(facts.last, facts.after),
    })?;
    text.push(b'\n');
    Ok(text)
}
