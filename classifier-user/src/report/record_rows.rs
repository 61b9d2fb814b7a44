//! Records as comma-separated values: the fields they have in JSON, under one header for all kinds.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::rows::cell;
use crate::ledger::usage::AnyRecord;

/// Column of what has no column of its own, as a JSON object: no field of a record is left out.
pub const MORE: &str = "more";

/// Every field any record has: those of all kinds first, then those of usage.
pub const COLUMNS: [&str; 51] = [
    "seq",
    "time",
    "kind",
    "subscriber",
    "bucket",
    "bytes",
    "amount",
    "left",
    "plan",
    "state",
    "addresses",
    "id",
    "reason",
    "scope",
    "interface",
    "subscribers",
    "from",
    "to",
    "fault",
    "corrects",
    "approver",
    "node",
    "epoch",
    "session",
    "session_seq",
    "final",
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
    "clock_step",
    "count_point",
    "byte_basis",
    MORE,
];

/// Prints records, a line each, under the header if it is wanted.
///
/// # Errors
/// When they cannot be written.
pub fn write(out: &mut impl Write, header: bool, records: &[AnyRecord]) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    if header {
        csv.write_record(COLUMNS)?;
    }
    for record in records {
        one(&mut csv, record)?;
    }
    csv.flush()
}

/// Writes one of them, behind a header that somebody wrote.
///
/// # Errors
/// When it cannot be written.
pub fn one<W: Write>(csv: &mut csv::Writer<W>, record: &AnyRecord) -> io::Result<()> {
    let Value::Object(mut fields) = serde_json::to_value(record)? else {
        return Err(io::Error::other("a record is no object"));
    };
    let mut cells: Vec<String> = COLUMNS
        .iter()
        .filter(|column| **column != MORE)
        .map(|column| {
            fields
                .remove(*column)
                .as_ref()
                .map_or_else(String::new, cell)
        })
        .collect();
    cells.push(more(&fields));
    Ok(csv.write_record(cells)?)
}

fn more(fields: &Map<String, Value>) -> String {
    if fields.is_empty() {
        String::new()
    } else {
        Value::Object(fields.clone()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_left_out() {
        let text = r#"{"seq":3,"time":"2026-03-14T09:26:53Z","kind":"state","subscriber":"anna","reason":"a, \"b\"",
            "plan":"small","state":"active","addresses":["10.1.0.1/32","2001:db8::/64"]}"#;
        let record: AnyRecord = serde_json::from_str(text).unwrap();
        let mut out = Vec::new();
        write(&mut out, true, std::slice::from_ref(&record)).unwrap();
        let mut csv = csv::Reader::from_reader(&*out);
        let rows: Vec<Map<String, Value>> = csv.deserialize().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows[0]["reason"], "a, \"b\"");
        assert_eq!(rows[0]["addresses"], "10.1.0.1/32 2001:db8::/64");
        assert_eq!(rows[0][MORE], "");
        // One that this table does not know.
        let fields = Map::from_iter([("colour".to_owned(), Value::from("red"))]);
        assert_eq!(more(&fields), r#"{"colour":"red"}"#);
        let mut bare = Vec::new();
        write(&mut bare, false, &[record]).unwrap();
        assert!(out.ends_with(&bare) && out.len() > bare.len());
    }
}
