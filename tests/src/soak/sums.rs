//! What the ledger, the files and PostgreSQL add up to, each read on from where it was read before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::bill::Flow;
use crate::counters::Volume;
use crate::postgres::Postgres;

/// What records add up to, wherever they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// How many there are, and the number of the last one.
    pub(super) records: u64,
    last: u64,
    /// Bytes up and down by who was charged.
    bytes: BTreeMap<String, [u64; 2]>,
}

impl Sums {
    /// Number of the last record.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }
}

/// The ledger, as the agent tells it.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) sums: Sums,
    /// Usage, packets too.
    pub(super) usage: Flow,
}

impl Ledger {
    /// Reads what is new.
    ///
    /// # Errors
    /// If a number is missing.
    pub(super) fn read_on(&mut self, agent: &Agent) -> Result<()> {
        loop {
            let after = self.sums.last.to_string();
            let page = agent.ask_json(&["record", "list", "--after", &after, "--limit", "5000"])?;
            if page.is_empty() {
                return Ok(());
            }
            for record in page {
                self.sums.last += 1;
                self.sums.records += 1;
                ensure!(
                    record["seq"] == self.sums.last,
                    "a number is missing: {record}"
                );
                if record["kind"] == "usage" {
                    self.add(&record)?;
                }
            }
        }
    }

    fn add(&mut self, record: &Value) -> Result<()> {
        let number = |name: &str| record[name].as_u64().context("no number");
        let volume = |way: &str| -> Result<Volume> {
            Ok(Volume {
                packets: number(&format!("packets_{way}"))?,
                bytes: number(&format!("bytes_{way}"))?,
            })
        };
        let flow = Flow {
            up: volume("up")?,
            down: volume("down")?,
        };
        self.usage += flow;
        let charged = record["charged"].as_str().context("no charge")?;
        let bytes = self.sums.bytes.entry(charged.to_owned()).or_default();
        bytes[0] += flow.up.bytes;
        bytes[1] += flow.down.bytes;
        Ok(())
    }
}

/// Files that are finished, by what their manifests say.
pub(super) struct Files {
    directory: PathBuf,
    seen: BTreeSet<PathBuf>,
    pub(super) sums: Sums,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            seen: BTreeSet::new(),
            sums: Sums::default(),
        }
    }

    /// Reads manifests that are new.
    ///
    /// # Errors
    /// If one does not go on where the one before ended.
    pub(super) fn read_on(&mut self) -> Result<()> {
        let mut new = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.to_string_lossy();
            if name.ends_with(".manifest.json") && self.seen.insert(path.clone()) {
                let manifest: Value = serde_json::from_slice(&fs::read(&path)?)?;
                new.push((number(&manifest["first_seq"])?, manifest));
            }
        }
        new.sort_by_key(|(first, _)| *first);
        for (first, manifest) in new {
            ensure!(
                first == self.sums.last + 1,
                "the file before ends with {}: {manifest}",
                self.sums.last
            );
            self.sums.last = number(&manifest["last_seq"])?;
            self.sums.records += number(&manifest["records"])?;
            for (charged, bytes) in manifest["bytes"].as_object().context("no bytes")? {
                let sums = self.sums.bytes.entry(charged.clone()).or_default();
                sums[0] += number(&bytes["up"])?;
                sums[1] += number(&bytes["down"])?;
            }
        }
        Ok(())
    }
}

/// What the tables of a node hold.
///
/// # Errors
/// If the server does not answer.
pub(super) fn of_tables(server: &Postgres, node: &str) -> Result<Sums> {
    let mut sums = Sums::default();
    let usage = server.sql(&format!(
        "SELECT charged, count(*), max(seq), sum(bytes_up), sum(bytes_down) FROM usage_record \
         WHERE node = '{node}' GROUP BY charged"
    ))?;
    let others = server.sql(&format!(
        "SELECT '', count(*), coalesce(max(seq), 0), 0, 0 FROM account_record WHERE node = '{node}'"
    ))?;
    for line in usage.lines().chain(others.lines()) {
        let columns: Vec<&str> = line.split('|').collect();
        let [charged, numbers @ ..] = &columns[..] else {
            continue;
        };
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|number| number.parse())
            .collect::<Result<_, _>>()
            .with_context(|| line.to_owned())?;
        let [records, last, up, down] = numbers[..] else {
            anyhow::bail!("not five columns: {line}");
        };
        sums.records += records;
        sums.last = sums.last.max(last);
        if !charged.is_empty() {
            sums.bytes.insert((*charged).to_owned(), [up, down]);
        }
    }
    Ok(sums)
}

fn number(value: &Value) -> Result<u64> {
    value.as_u64().context("no number")
}
