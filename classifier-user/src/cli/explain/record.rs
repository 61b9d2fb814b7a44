//! Why a usage record says what it says: the version that judged it, the lists its class came from, and who pays in its
//! plan. No record names remote addresses, so that this is as close as one comes.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;

use super::lifetime::Life;
use super::source::{Found, Source};
use super::{Charge, Format, find_plan, print_charge, reverse, row};
use crate::ledger::Reader;
use crate::ledger::usage::{AnyRecord, UsageRecord, Which};
use crate::policy::{Class, Policy};

/// What is said of the record itself.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "record")]
struct Explained<'a> {
    seq: u64,
    subscriber: &'a str,
    plan: &'a str,
    class: &'a str,
    charged: &'a str,
    bytes_up: u64,
    bytes_down: u64,
    start: String,
    end: String,
    policy: &'a str,
    policy_version: &'a str,
    why: String,
}

/// Explains the record of this number in a ledger.
pub(super) fn explain(source: &Source, ledger: &Path, seq: u64, format: Format) -> Result<()> {
    let record = read(ledger, seq)?;
    // `VERSION`, or `VERSION@BOUNDARY` behind a validity boundary: in between the policy does not change.
    let (version, boundary) = match record.policy_version.split_once('@') {
        Some((version, boundary)) => (version, Some(boundary)),
        None => (record.policy_version.as_str(), None),
    };
    let at: Timestamp = match boundary {
        Some(boundary) => boundary.parse().context("the record's policy version")?,
        None => record.start,
    };
    let Found { policy, .. } = source.version(version)?;
    let Some((index, class)) = policy.class(&record.class) else {
        bail!(
            "version {version} has no class {:?}: the record is not of this history",
            record.class
        )
    };
    let plan = find_plan(&policy, &record.plan)?;
    let life = Life::of(&policy, plan, at);
    let charge = Charge::of(&class.name, class.essential, index, plan, life);
    let explained = Explained {
        seq: record.seq,
        subscriber: &record.subscriber,
        plan: &record.plan,
        class: &record.class,
        charged: &record.charged,
        bytes_up: record.bytes_up,
        bytes_down: record.bytes_down,
        start: record.start.to_string(),
        end: record.end.to_string(),
        policy: &policy.name,
        policy_version: &record.policy_version,
        why: why(&record, class, &charge),
    };
    if format == Format::Json {
        println!("{}", serde_json::to_string(&explained)?);
        println!("{}", serde_json::to_string(&charge)?);
        return reverse::sets_of(&policy, index, at, false, format);
    }
    print(&explained, class, &policy);
    print_charge(class.essential, &charge);
    if index == policy.default_class {
        println!("\nThe default class: every remote address that no set names.");
    }
    reverse::sets_of(&policy, index, at, false, format)
}

fn read(ledger: &Path, seq: u64) -> Result<UsageRecord> {
    let reader = Reader::open(ledger)?;
    let which = Which {
        after: seq.saturating_sub(1),
        subscriber: None,
        kind: None,
        limit: 1,
    };
    let found = reader
        .all_records(which)?
        .into_iter()
        .find(|record| record.seq() == seq);
    match found {
        Some(AnyRecord::Usage(record)) => Ok(*record),
        Some(AnyRecord::Other(record)) => bail!(
            "record {seq} is of kind `{}`: no policy judged it; `zerorate record list` shows it",
            record.entry.kind
        ),
        None if seq > 0 && seq <= reader.pruned_until()? => bail!(
            "record {seq} was pruned: `zerorate record list --kind prune` says when, by whom and why"
        ),
        None => bail!("there is no record {seq} in {}", ledger.display()),
    }
}

/// Why the record was charged as it was.
fn why(record: &UsageRecord, class: &Class, charge: &Charge<'_>) -> String {
    let chain = charge.chain.join(" > ");
    let (first, charged) = (charge.chain.first(), record.charged.as_str());
    match charged {
        "free" if first == Some(&"free") => format!("{} is free in this plan", class.name),
        "free" => format!(
            "{} is essential: free where {chain}, or the gate, would have dropped it",
            class.name
        ),
        "dropped" if record.state == "suspended" && charge.when_suspended == "drop" => {
            "the subscriber was suspended, and the class is not essential".to_owned()
        }
        "dropped" => format!("nothing was left of what {chain}, or the gate, asks for"),
        "metered" => format!("it is the end of {chain}, and nothing before it held anything"),
        bucket => format!("{bucket} is the first of {chain} that held something"),
    }
}

fn print(explained: &Explained<'_>, class: &Class, policy: &Policy) {
    row("record", &explained.seq.to_string());
    row("subscriber", explained.subscriber);
    row(
        "counted",
        &format!("{} to {}", explained.start, explained.end),
    );
    row(
        "bytes",
        &format!("{} up, {} down", explained.bytes_up, explained.bytes_down),
    );
    row(
        "class",
        &format!("{} (rating group {})", class.name, class.rating_group),
    );
    row("charged", explained.charged);
    row("why", &explained.why);
    row(
        "policy",
        &format!("{} (version {})", policy.name, explained.policy_version),
    );
}
