//! Records in files: what is finished, held against its manifests and against the ledger.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::records::ledger;
use crate::wait::until;

/// Everything in a directory that has a manifest, by its number, after a look at what the manifests say.
///
/// # Errors
/// When a file is not what its manifest says.
pub fn read(directory: &Path) -> Result<BTreeMap<u64, Value>> {
    let mut manifests = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".manifest.json") {
            let manifest: Value = serde_json::from_slice(&fs::read(&path)?)?;
            manifests.push((
                manifest["first_seq"].as_u64().context("no number")?,
                manifest,
            ));
        }
    }
    manifests.sort_by_key(|(first, _)| *first);
    let mut records = BTreeMap::new();
    let mut previous = Value::Null;
    for (_, manifest) in manifests {
        let path = directory.join(manifest["file"].as_str().context("no name")?);
        let text = fs::read_to_string(&path)?;
        let sum = Command::new("sha256sum").arg(&path).output()?;
        let sum = String::from_utf8(sum.stdout)?;
        ensure!(
            sum.starts_with(manifest["sha256"].as_str().context("no hash")?),
            "{path:?}: {sum}"
        );
        ensure!(manifest["size"] == text.len(), "{manifest}");
        ensure!(manifest["previous"]["sha256"] == previous, "{manifest}");
        previous = manifest["sha256"].clone();
        let mut bytes: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        let mut count = 0;
        for line in text.lines() {
            let record: Value = serde_json::from_str(line)?;
            let seq = record["seq"].as_u64().context("no number")?;
            count += 1;
            if record["kind"] == "usage" {
                let charged = record["charged"].as_str().context("no charge")?;
                let sums = bytes.entry(charged.to_owned()).or_default();
                sums[0] += record["bytes_up"].as_u64().context("no bytes")?;
                sums[1] += record["bytes_down"].as_u64().context("no bytes")?;
            }
            ensure!(
                records.insert(seq, record).is_none(),
                "record {seq} is there twice"
            );
        }
        ensure!(manifest["records"] == count, "{manifest}");
        let last = records.last_key_value().map(|(seq, _)| *seq);
        ensure!(manifest["last_seq"].as_u64() == last, "{manifest}");
        for (charged, [up, down]) in bytes {
            let said = &manifest["bytes"][&charged];
            ensure!(
                said["up"] == up && said["down"] == down,
                "{manifest}: {up} {down}"
            );
        }
    }
    Ok(records)
}

/// Waits until the files are the ledger; how many records that are.
///
/// # Errors
/// When a record is another one, or they never are.
pub fn check(agent: &Agent, directory: &Path) -> Result<usize> {
    let mut lengths = (0, 0);
    until("the files are the ledger", || {
        // The files first: the ledger goes on.
        let (files, ledger) = (read(directory)?, ledger(agent)?);
        lengths = (files.len(), ledger.len());
        ensure!(
            files
                .iter()
                .all(|(seq, record)| ledger.get(seq) == Some(record)),
            "another record"
        );
        Ok(files == ledger)
    })
    .with_context(|| format!("{lengths:?}"))?;
    Ok(lengths.0)
}
