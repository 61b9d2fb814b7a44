//! Records as lines: JSON as the API gives it, or CSV with a column for every field.

use serde_json::{Map, Value};

use crate::config::FileFormat;
use crate::ledger::usage::AnyRecord;

/// Fields that have a column. What else a kind of record says is in the last one, as JSON.
const COLUMNS: [&str; 41] = [
    "seq",
    "kind",
    "subscriber",
    "time",
    "node",
    "epoch",
    "session",
    "session_seq",
    "final",
    "addresses",
    "plan",
    "state",
    "class",
    "rating_group",
    "charged",
    "policy_version",
    "bytes_up",
    "bytes_down",
    "packets_up",
    "packets_down",
    "total_bytes_up",
    "total_bytes_down",
    "total_packets_up",
    "total_packets_down",
    "bytes_drawn",
    "active_seconds",
    "peak_up_bps",
    "peak_down_bps",
    "start",
    "end",
    "last_activity",
    "cause",
    "gap",
    "count_point",
    "byte_basis",
    "id",
    "reason",
    "bucket",
    "bytes",
    "amount",
    "left",
];

/// The name of the last column.
const MORE: &str = "more";

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
        FileFormat::Csv => format!("{},{MORE}\n", COLUMNS.join(",")).into_bytes(),
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
            let Value::Object(mut fields) = serde_json::to_value(record)? else {
                return Err("it has no fields".into());
            };
            let cells = COLUMNS.map(|column| fields.remove(column).map_or_else(String::new, cell));
            let more = match fields.is_empty() {
                true => String::new(),
                false => serde_json::to_string(&fields)?,
            };
            let mut out = csv::Writer::from_writer(Vec::new());
            out.write_record(cells.iter().chain([&more]))?;
            Ok(out.into_inner().map_err(csv::IntoInnerError::into_error)?)
        }
    }
}

/// A field as a cell: lists with spaces, as in the subscriber file.
fn cell(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        Value::Array(values) if values.iter().all(Value::is_string) => {
            let words: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            words.join(" ")
        }
        Value::Object(fields) if fields == Map::new() => String::new(),
        other => other.to_string(),
    }
}
