//! Things of several kinds as comma-separated values: the fields they have in JSON, under one header.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

/// Prints things, a line each. Fields a thing does not have are empty; lists are separated by spaces.
///
/// # Errors
/// When they cannot be written.
pub fn write<T: Serialize>(
    out: &mut impl Write,
    columns: &[&str],
    things: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(columns)?;
    for thing in things {
        let fields = serde_json::to_value(thing)?;
        let cells = columns
            .iter()
            .map(|column| fields.get(column).map_or_else(String::new, cell));
        csv.write_record(cells)?;
    }
    csv.flush()
}

pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
