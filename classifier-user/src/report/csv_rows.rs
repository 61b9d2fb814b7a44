//! Rows as comma-separated values: the fields of the JSON rows, under one header for all kinds.

use std::io::{self, Write};

use serde_json::Value;

use super::Report;

/// Every field any row has, in the order rows have them.
const COLUMNS: [&str; 25] = [
    "kind",
    "subscriber",
    "plan",
    "class",
    "rating_group",
    "charged",
    "bytes_up",
    "packets_up",
    "bytes_down",
    "packets_down",
    "interface",
    "direction",
    "packets",
    "ip_packets",
    "ip_bytes",
    "non_ip_packets",
    "malformed_packets",
    "attributed_bytes",
    "unattributed_bytes",
    "dropped_bytes",
    "difference_bytes",
    "marked_packets",
    "marked_bytes",
    "unknown_dropped_packets",
    "unknown_dropped_bytes",
];

pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS)?;
    for row in report.rows() {
        let fields = serde_json::to_value(&row)?;
        csv.write_record(COLUMNS.map(|column| match fields.get(column) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(number) => number.to_string(),
        }))?;
    }
    csv.flush()
}
