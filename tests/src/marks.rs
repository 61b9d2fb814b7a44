//! What nftables sees of packets: named counters, and rules that count by mark or by DSCP.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::netns::NetNs;

/// The table of [`watch`].
const TABLE: &str = "seen";

/// Counts packets in a namespace by expressions of nftables, each under a name, where they are at `hook` (`prerouting
/// priority -300`). What matches several is counted under each.
///
/// # Errors
/// If `nft` refuses the rules.
pub fn watch(namespace: &NetNs, hook: &str, rules: &[(&str, &str)]) -> Result<()> {
    let mut table = format!("table inet {TABLE} {{\n");
    for (name, _) in rules {
        table += &format!("counter {name} {{ }}\n");
    }
    table += &format!("chain seen {{ type filter hook {hook}\n");
    for (name, expression) in rules {
        table += &format!("{expression} counter name {name}\n");
    }
    namespace.nft(&(table + "}\n}"))
}

/// What [`watch`] counted, in packets; names without any are left out.
///
/// # Errors
/// If nothing is watched.
pub fn seen(namespace: &NetNs) -> Result<BTreeMap<String, u64>> {
    counters(namespace, TABLE)
}

/// Packets of the named counters of a table of the family `inet`, but for those that are zero.
///
/// # Errors
/// If there is no such table.
pub fn counters(namespace: &NetNs, table: &str) -> Result<BTreeMap<String, u64>> {
    let said = namespace.run("nft", &["-j", "list", "counters", "table", "inet", table])?;
    let said: Value = serde_json::from_str(&said)?;
    let entries = said["nftables"].as_array().context("no counters")?;
    let counter = |entry: &Value| {
        let counter = &entry["counter"];
        let packets = counter["packets"].as_u64().filter(|packets| *packets > 0)?;
        Some((counter["name"].as_str()?.to_owned(), packets))
    };
    Ok(entries.iter().filter_map(counter).collect())
}

/// Counters as [`seen`] gives them.
#[must_use]
pub fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let counts = counts.into_iter().filter(|(_, packets)| *packets > 0);
    counts
        .map(|(name, packets)| (name.to_owned(), packets))
        .collect()
}
