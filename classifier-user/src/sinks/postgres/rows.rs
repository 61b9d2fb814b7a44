//! Records as rows of COPY: fields by tabs, `\N` for nothing.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::runner::SinkError;
use crate::ledger::usage::AnyRecord;

/// Columns of `usage_record`, but for node, epoch and the last, `more`. All are fields of the record, under the same name.
const USAGE: [&str; 31] = [
    "seq",
    "subscriber",
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
];

/// Those of them that are times.
const TIMES: [&str; 3] = ["start", "end", "last_activity"];

/// The same of `account_record`, but for `time`; `left` is a word of SQL, and the column has another name.
const ACCOUNT: [&str; 9] = [
    "seq",
    "kind",
    "subscriber",
    "id",
    "reason",
    "bucket",
    "bytes",
    "amount",
    "left",
];

/// Columns in the order their fields are written, for COPY and INSERT.
pub(super) fn columns(table: &str) -> String {
    let (names, more): (&[&str], _) = match table {
        "usage_record" => (&USAGE, "more"),
        _ => (&ACCOUNT, "time, more"),
    };
    let names = names.iter().map(|name| match *name {
        "end" => "\"end\"",
        "left" => "left_bytes",
        name => name,
    });
    let names: Vec<_> = ["node", "epoch"].into_iter().chain(names).collect();
    format!("{}, {more}", names.join(", "))
}

/// A record as a row of one of the tables.
#[derive(Debug)]
pub(super) struct Row {
    /// Which.
    pub(super) table: &'static str,
    /// What decides in which partition.
    pub(super) time: Timestamp,
    /// Its line.
    pub(super) line: String,
}

impl Row {
    /// Of a record that was read from a node's ledger.
    ///
    /// # Errors
    /// When it has no field a row needs.
    pub(super) fn of(record: &AnyRecord, node: &str) -> Result<Self, SinkError> {
        let unreadable = |what: String| SinkError::Unreadable {
            place: format!("record {}", record.seq()),
            what,
        };
        let fields = serde_json::to_value(record).map_err(|error| unreadable(error.to_string()))?;
        let Value::Object(mut fields) = fields else {
            return Err(unreadable("it has no fields".to_owned()));
        };
        // What all records are known by. Not every kind says of itself where and under which counters it was written.
        let said = |field: Option<Value>| match field {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let node = said(fields.remove("node")).unwrap_or_else(|| node.to_owned());
        let epoch = said(fields.remove("epoch")).unwrap_or_default();
        let is_usage = matches!(record, AnyRecord::Usage(_));
        let (table, names): (_, &[&str]) = match is_usage {
            true => ("usage_record", &USAGE),
            false => ("account_record", &ACCOUNT),
        };
        let mut line = String::new();
        text(&mut line, &node);
        line.push('\t');
        text(&mut line, &epoch);
        for name in names {
            line.push('\t');
            let mut value = fields.remove(*name);
            if TIMES.contains(name)
                && let Some(Value::String(time)) = &mut value
            {
                microseconds(time);
            }
            put(&mut line, value.as_ref());
        }
        if is_usage {
            fields.remove("kind");
        } else {
            fields.remove("time");
            line.push('\t');
            let mut time = record.time().to_string();
            microseconds(&mut time);
            text(&mut line, &time);
        }
        line.push('\t');
        put_more(&mut line, fields);
        line.push('\n');
        Ok(Self {
            table,
            time: record.time(),
            line,
        })
    }
}

/// Cuts a time off at microseconds. PostgreSQL would round it, perhaps into another month than its partition's.
fn microseconds(time: &mut String) {
    if let Some((begin, end)) = time.find('.').zip(time.find('Z'))
        && end > begin + 7
    {
        time.replace_range(begin + 7..end, "");
    }
}

fn put_more(line: &mut String, fields: Map<String, Value>) {
    match fields.is_empty() {
        true => *line += "\\N",
        false => text(line, &Value::Object(fields).to_string()),
    }
}

fn put(line: &mut String, value: Option<&Value>) {
    match value {
        None | Some(Value::Null) => *line += "\\N",
        Some(Value::String(value)) => text(line, value),
        // Prefixes: nothing in them needs quotes.
        Some(Value::Array(values)) => {
            let words: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            text(line, &format!("{{{}}}", words.join(",")));
        }
        Some(other) => text(line, &other.to_string()),
    }
}

/// A text, as COPY reads it.
fn text(line: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => *line += "\\\\",
            '\t' => *line += "\\t",
            '\n' => *line += "\\n",
            '\r' => *line += "\\r",
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copy_would_misread_is_escaped() {
        let mut line = String::new();
        text(&mut line, "a\tb\\N\nc\rd");
        assert_eq!(line, "a\\tb\\\\N\\nc\\rd");
        line.clear();
        put(
            &mut line,
            Some(&serde_json::json!(["10.0.0.1/32", "2001:db8::/64"])),
        );
        assert_eq!(line, "{10.0.0.1/32,2001:db8::/64}");
        line.clear();
        put(&mut line, None);
        assert_eq!(line, "\\N");
        for (time, cut) in [
            (
                "2026-12-31T23:59:59.999999999Z",
                "2026-12-31T23:59:59.999999Z",
            ),
            ("2026-12-31T23:59:59.99Z", "2026-12-31T23:59:59.99Z"),
            ("2026-12-31T23:59:59Z", "2026-12-31T23:59:59Z"),
        ] {
            let mut text = time.to_owned();
            microseconds(&mut text);
            assert_eq!(text, cut);
        }
    }

    #[test]
    fn a_record_that_is_no_usage_keeps_what_has_no_column() {
        let record = serde_json::json!({
            "seq": 7, "time": "2026-03-01T00:00:00.5Z", "kind": "state", "subscriber": "anna",
            "reason": "unpaid", "plan": "basic", "state": "suspended", "addresses": ["10.0.0.1/32"],
        });
        let record: AnyRecord = serde_json::from_value(record).unwrap();
        let row = Row::of(&record, "gw").unwrap();
        assert_eq!(row.table, "account_record");
        assert_eq!(
            row.line,
            "gw\t\t7\tstate\tanna\t\\N\tunpaid\t\\N\t\\N\t\\N\t\\N\t2026-03-01T00:00:00.5Z\t\
             {\"addresses\":[\"10.0.0.1/32\"],\"plan\":\"basic\",\"state\":\"suspended\"}\n"
        );
        assert_eq!(
            row.line.split('\t').count(),
            columns(row.table).split(',').count()
        );
    }
}
