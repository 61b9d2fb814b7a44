//! Records in PostgreSQL: the rows of a node, held against the ledger.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::agent::Agent;
use crate::postgres::Postgres;
use crate::records::ledger;
use crate::wait::until;

/// Times to the microsecond, which is what PostgreSQL keeps.
pub fn in_microseconds(value: &mut Value) {
    if let Some(time) = value
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok())
    {
        *value = time.as_microsecond().into();
    }
}

/// Rows of a node's tables, by number.
///
/// # Errors
/// When the server does not answer, or a record is there twice.
pub fn rows(server: &Postgres, node: &str) -> Result<BTreeMap<u64, Value>> {
    let mut found = BTreeMap::new();
    for table in ["usage_record", "account_record"] {
        let query = format!("SELECT row_to_json(r) FROM {table} r WHERE node = '{node}'");
        for line in server.sql(&query)?.lines() {
            let mut row: Value = serde_json::from_str(line)?;
            for time in ["start", "end", "last_activity", "time"] {
                if let Some(value) = row.get_mut(time) {
                    in_microseconds(value);
                }
            }
            let seq = row["seq"].as_u64().context("no number")?;
            ensure!(
                found.insert(seq, row).is_none(),
                "record {seq} is there twice"
            );
        }
    }
    Ok(found)
}

/// That a row has everything a record says.
#[must_use]
pub fn same(row: &Value, record: &Value) -> bool {
    let Some(fields) = record.as_object() else {
        return false;
    };
    fields.iter().all(|(name, value)| {
        let mut value = value.clone();
        if ["start", "end", "last_activity", "time"].contains(&&**name) {
            in_microseconds(&mut value);
        }
        let column = match &**name {
            "left" => "left_bytes",
            name => name,
        };
        let is_usage = record["kind"] == "usage";
        let told = row.get(column).or_else(|| row["more"].get(name));
        match (told, name.as_str()) {
            (None, "kind") => is_usage,
            // A server writes whole numbers without a point, whatever their type.
            (Some(told), _) if value.is_f64() => told.as_f64() == value.as_f64(),
            (told, _) => told == Some(&value),
        }
    })
}

/// Waits until the tables are the ledger; how many records that are.
///
/// # Errors
/// When a row is another one, or they never are.
pub fn check(server: &Postgres, agent: &Agent, node: &str) -> Result<usize> {
    let mut lengths = (0, 0);
    until("the tables are the ledger", || {
        let (rows, ledger) = (rows(server, node)?, ledger(agent)?);
        lengths = (rows.len(), ledger.len());
        for (seq, row) in &rows {
            let record = ledger
                .get(seq)
                .context("a record that is not in the ledger")?;
            ensure!(same(row, record), "not the same:\n{row}\n{record}");
        }
        Ok(rows.len() == ledger.len())
    })
    .with_context(|| format!("{lengths:?}\n{}", agent.log()))?;
    Ok(lengths.0)
}
