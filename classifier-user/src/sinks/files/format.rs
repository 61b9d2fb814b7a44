//! Records as lines: JSON or CSV, as the API and `record list` give them.

use crate::config::FileFormat;
use crate::ledger::usage::AnyRecord;
use crate::report::record_rows::{self, COLUMNS};

pub(super) const fn name(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Json => "json",
        FileFormat::Csv => "csv",
    }
}

pub(super) const fn extension(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Json => "jsonl",
        FileFormat::Csv => "csv",
    }
}

/// What a file begins with.
pub(super) fn head(format: FileFormat) -> Vec<u8> {
    match format {
        FileFormat::Json => Vec::new(),
        FileFormat::Csv => format!("{}\n", COLUMNS.join(",")).into_bytes(),
    }
}

/// A record, with the end of its line.
pub(super) fn line(
    record: &AnyRecord,
    format: FileFormat,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    match format {
        FileFormat::Json => {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            Ok(line)
        }
        FileFormat::Csv => {
            let mut out = csv::Writer::from_writer(Vec::new());
            record_rows::one(&mut out, record)?;
            Ok(out.into_inner().map_err(csv::IntoInnerError::into_error)?)
        }
    }
}
