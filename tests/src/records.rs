//! Usage records and statements, as numbers to hold against each other.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::agent::Agent;
use crate::bill::Flow;
use crate::counters::Volume;

/// Traffic by class and charge.
pub type Volumes = BTreeMap<(String, String), Flow>;

/// A usage record, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the public contract")]
pub struct Usage {
    pub epoch: String,
    pub seq: u64,
    pub subscriber: String,
    pub session: u64,
    pub session_seq: u64,
    #[serde(rename = "final")]
    pub is_final: bool,
    pub plan: String,
    pub state: String,
    pub class: String,
    pub charged: String,
    pub policy_version: String,
    pub bytes_up: u64,
    pub bytes_down: u64,
    pub packets_up: u64,
    pub packets_down: u64,
    pub total_bytes_up: u64,
    pub total_bytes_down: u64,
    pub total_packets_up: u64,
    pub total_packets_down: u64,
    pub bytes_drawn: u64,
    pub active_seconds: f64,
    pub start: Timestamp,
    pub end: Timestamp,
    pub last_activity: Timestamp,
    pub cause: String,
}

impl Usage {
    /// What it counts.
    #[must_use]
    pub fn flow(&self) -> Flow {
        flow(
            (self.packets_up, self.bytes_up),
            (self.packets_down, self.bytes_down),
        )
    }

    /// What its meter counted since its session began.
    #[must_use]
    pub fn total(&self) -> Flow {
        flow(
            (self.total_packets_up, self.total_bytes_up),
            (self.total_packets_down, self.total_bytes_down),
        )
    }
}

fn flow(up: (u64, u64), down: (u64, u64)) -> Flow {
    let volume = |(packets, bytes)| Volume { packets, bytes };
    Flow {
        up: volume(up),
        down: volume(down),
    }
}

/// All usage records there are, after a look at what must hold for any: numbers without a gap, over records of all kinds
/// and within each session; totals that are the sums of what came before; times in order.
///
/// # Errors
/// If something does not hold.
pub fn usage(agent: &Agent) -> Result<Vec<Usage>> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        // In pages, as billing reads them.
        let text = after.to_string();
        let page = agent.ask_json(&["record", "list", "--limit", "701", "--after", &text])?;
        if page.is_empty() {
            break;
        }
        for record in page {
            after += 1;
            ensure!(record["seq"] == after, "a number is missing: {record}");
            if record["kind"] == "usage" {
                found.push(serde_json::from_value::<Usage>(record)?);
            }
        }
    }
    let mut sums: BTreeMap<_, Flow> = BTreeMap::new();
    let mut numbers: BTreeMap<_, (u64, bool)> = BTreeMap::new();
    for record in &found {
        let session = (record.epoch.clone(), record.session);
        let (number, ended) = numbers.entry(session.clone()).or_default();
        *number += 1;
        ensure!(
            record.session_seq == *number,
            "not number {number}: {record:?}"
        );
        ensure!(record.is_final || !*ended, "after the end: {record:?}");
        *ended = record.is_final;
        let meter = (session, record.class.clone(), record.charged.clone());
        let sum = sums.entry(meter).or_default();
        *sum += record.flow();
        ensure!(*sum == record.total(), "not {sum:?}: {record:?}");
        ensure!(record.start <= record.end, "{record:?}");
        ensure!(record.last_activity <= record.end, "{record:?}");
        let time = record.end.duration_since(record.start).as_secs_f64();
        ensure!(record.active_seconds <= time + 1e-3, "{record:?}");
        ensure!(record.policy_version.len() >= 16, "{record:?}");
    }
    Ok(found)
}

/// All records there are, by number, as they are told.
///
/// # Errors
/// If the agent does not answer.
pub fn ledger(agent: &Agent) -> Result<BTreeMap<u64, Value>> {
    let mut found = BTreeMap::new();
    loop {
        let after = found.last_key_value().map_or(0, |(seq, _)| *seq);
        let page = agent.ask_json(&["record", "list", "--after", &after.to_string()])?;
        if page.is_empty() {
            return Ok(found);
        }
        for record in page {
            found.insert(record["seq"].as_u64().context("no number")?, record);
        }
    }
}

/// What a subscriber's records count, by class and charge.
#[must_use]
pub fn volumes(records: &[Usage], subscriber: &str) -> Volumes {
    let mut volumes = Volumes::new();
    for record in records
        .iter()
        .filter(|record| record.subscriber == subscriber)
    {
        let key = (record.class.clone(), record.charged.clone());
        *volumes.entry(key).or_default() += record.flow();
    }
    volumes
}

/// What the bill says of a subscriber, by class and charge.
///
/// # Errors
/// If the agent does not answer.
pub fn billed(agent: &Agent, subscriber: &str) -> Result<Volumes> {
    let usage = agent.bill()?.usage;
    let of_it = usage.into_iter().filter(|((of, ..), _)| of == subscriber);
    Ok(of_it
        .map(|((_, class, charged), flow)| ((class, charged), flow))
        .collect())
}

/// A subscriber's statement, as JSON: its lines by kind.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    /// Over all.
    pub head: Value,
    /// Sessions.
    pub sessions: Vec<Value>,
    /// By class and charge, also what was dropped.
    pub volumes: Volumes,
    /// All other records.
    pub records: Vec<Value>,
}

impl Statement {
    /// Asks for it.
    ///
    /// # Errors
    /// If the agent refuses.
    pub fn of(agent: &Agent, subscriber: &str, period: &[&str]) -> Result<Self> {
        let asked = [&["usage", "--subscriber", subscriber], period].concat();
        let mut statement = Self::default();
        for line in agent.ask_json(&asked)? {
            match line["kind"].as_str().context("no kind")? {
                "statement" => statement.head = line,
                "session" => statement.sessions.push(line),
                "usage" => {
                    let number = |name: &str| line[name].as_u64().context("no number");
                    let flow = flow(
                        (number("packets_up")?, number("bytes_up")?),
                        (number("packets_down")?, number("bytes_down")?),
                    );
                    let name = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                    let key = (name("class"), name("charged"));
                    *statement.volumes.entry(key).or_default() += flow;
                }
                _ => statement.records.push(line),
            }
        }
        Ok(statement)
    }

    /// A number over all.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn total(&self, name: &str) -> Result<f64> {
        let number = self.head["total"][name].as_f64();
        number.with_context(|| format!("no {name} in {}", self.head))
    }
}

/// That statements, which are records and what is not recorded yet, are what the counters say.
///
/// # Errors
/// If it is not so; the error says of whom.
pub fn check_statements(agent: &Agent, subscribers: &[&str]) -> Result<()> {
    for subscriber in subscribers {
        let statement = Statement::of(agent, subscriber, &[])?;
        let billed = billed(agent, subscriber)?;
        ensure!(
            statement.volumes == billed,
            "{subscriber}: its statement says {:?}, and its counters {billed:?}",
            statement.volumes
        );
    }
    Ok(())
}

/// That everything has been recorded, and that `ledger verify` finds nothing wrong; all usage records.
///
/// # Errors
/// If it is not so.
pub fn check_records(agent: &Agent, subscribers: &[&str]) -> Result<Vec<Usage>> {
    let records = usage(agent)?;
    for subscriber in subscribers {
        let (recorded, billed) = (volumes(&records, subscriber), billed(agent, subscriber)?);
        ensure!(
            recorded == billed,
            "{subscriber}: recorded are {recorded:?}, and its counters say {billed:?}"
        );
    }
    let file = agent.ledger().display().to_string();
    let verified = agent
        .command(&["ledger", "verify", "--ledger", &file])
        .output()?;
    ensure!(verified.status.success(), "{verified:?}");
    Ok(records)
}
