//! What an auditor does with a ledger: verifies it beside the agent and without one, holds it against a head that was noted,
//! copies it out, and computes the chain without zerorate.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::prometheus::metric;
use zerorate_tests::records::usage;
use zerorate_tests::topology::Lab;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;
use zerorate_tests::{can_use_namespaces, skip};

/// A lab, and an agent that records often.
fn lab() -> Result<(Lab, Agent)> {
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .setting("watch = false")
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"")
        .start()?;
    Ok((lab, agent))
}

/// Traffic of alice, an order, and both in the ledger.
fn something_happens(lab: &Lab, agent: &Agent, id: &str) -> Result<()> {
    let before = usage(agent)?.len();
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT));
    assert_eq!(udp(&alice, &remote, 10, 72)?, 10);
    let grant = ["bucket", "grant", "alice", "main", "1MB", "--id", id];
    agent.ask(&[&grant[..], &["--reason", "a gift of spring"]].concat())?;
    until("it is recorded", || Ok(usage(agent)?.len() > before))
}

fn ledger(agent: &Agent, arguments: &[&str]) -> Result<Output> {
    let mut command = agent.command(&["ledger"]);
    Ok(command.args(arguments).output()?)
}

/// What `ledger verify` finds, and its exit code.
fn verified(agent: &Agent, arguments: &[&str]) -> Result<(Value, i32)> {
    let arguments = [&["verify", "--format", "json"], arguments].concat();
    let output = ledger(agent, &arguments)?;
    let found = serde_json::from_slice(&output.stdout);
    let found = found.with_context(|| format!("{output:?}"))?;
    Ok((found, output.status.code().context("it was killed")?))
}

fn sound(agent: &Agent, arguments: &[&str]) -> Result<Value> {
    let (found, code) = verified(agent, arguments)?;
    assert_eq!((&found["problems"], code), (&serde_json::json!([]), 0));
    Ok(found)
}

/// The chain's head, computed by the program that is in docs/ledger.md.
fn head_without_zerorate(path: &Path) -> Result<Option<String>> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ledger.md");
    let document = fs::read_to_string(document)?;
    let program = document.split("```python\n").nth(1);
    let program = program.and_then(|rest| rest.split("```").next());
    let program = program.context("docs/ledger.md has no program")?;
    let mut python = Command::new("python3");
    let output = match python.args(["-c", program]).arg(path).output() {
        Ok(output) => output,
        Err(error) => {
            skip(&format!(
                "the chain is not computed without zerorate: python3: {error}"
            ));
            return Ok(None);
        }
    };
    assert!(output.status.success(), "{output:?}");
    Ok(Some(String::from_utf8(output.stdout)?.trim().to_owned()))
}

#[test]
fn an_auditor_finds_what_was_written_and_what_was_changed() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (lab, mut agent) = lab()?;
    let config = agent.config().display().to_string();
    let path = agent.ledger();
    let file = path.display().to_string();
    something_happens(&lab, &agent, "gift-1")?;
    // Beside the agent, by its configuration.
    let found = sound(&agent, &["--config", &config])?;
    let noted = found["head"].as_str().context("no head")?.to_owned();
    something_happens(&lab, &agent, "gift-2")?;
    let found = sound(&agent, &["--config", &config, "--head", &noted])?;
    assert_ne!(found["head"], *noted);

    // What is copied out is what is handed out.
    let out = agent.home().join("export");
    let to = out.display().to_string();
    let output = ledger(&agent, &["export", "--config", &config, "--out", &to])?;
    assert!(output.status.success(), "{output:?}");
    let copied = fs::read_to_string(out.join("records.jsonl"))?;
    let handed_out = agent.ask(&["record", "list", "--format", "json"])?;
    let count = copied.lines().count();
    assert!(count >= 4, "{copied}");
    assert!(
        handed_out.starts_with(&copied),
        "{copied}\nis not the beginning of\n{handed_out}"
    );
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json"))?)?;
    assert_eq!(
        (
            &manifest["first_seq"],
            &manifest["last_seq"],
            &manifest["count"],
            &manifest["contiguous"]
        ),
        (&1.into(), &count.into(), &count.into(), &true.into())
    );
    let lines = copied.lines().map(serde_json::from_str::<Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let sent: u64 = lines
        .iter()
        .filter_map(|line| line["bytes_up"].as_u64())
        .sum();
    assert_eq!(manifest["sums"]["bytes_up"], sent);
    let mut sums = Command::new("sha256sum");
    let sums = sums.args(["-c", "SHA256SUMS"]).current_dir(&out).output()?;
    assert!(sums.status.success(), "{sums:?}");
    // Not over what is there.
    let output = ledger(&agent, &["export", "--config", &config, "--out", &to])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("is not empty"),
        "{said}"
    );
    let part = agent.home().join("part");
    let to = part.display().to_string();
    let some = [
        "--after", "1", "--limit", "2", "--format", "csv", "--out", &to,
    ];
    let output = ledger(
        &agent,
        &[&["export", "--ledger", &file], &some[..]].concat(),
    )?;
    assert!(output.status.success(), "{output:?}");
    let csv = csv::Reader::from_path(part.join("records.csv"))?.into_records();
    let numbers: Vec<String> = csv
        .map(|row| Ok(row?[0].to_owned()))
        .collect::<Result<_>>()?;
    assert_eq!(numbers, ["2", "3"]);

    // A machine that was lost: what may be missing is declared.
    agent.sigterm()?;
    agent.purge()?;
    agent.start()?;
    something_happens(&lab, &agent, "gift-3")?;
    let gaps = agent.ask_json(&["record", "list", "--kind", "gap"])?;
    assert_eq!(
        (gaps.len(), &gaps[0]["reason"]),
        (1, &"counters_lost".into())
    );
    let recorded = agent.ask_json(&["record", "list", "--kind", "usage"])?;
    let last = recorded.last().context("nothing is recorded")?;
    assert_eq!(last["gap"]["from"], gaps[0]["from"]);
    assert_eq!(last["gap"]["reason"], "counters_lost");

    // Without the agent, and without zerorate.
    agent.sigterm()?;
    let found = sound(&agent, &["--ledger", &file, "--head", &noted])?;
    if let Some(head) = head_without_zerorate(&path)? {
        assert_eq!(found["head"], *head);
    }
    // A word of a record is changed wherever it is stored.
    let mut bytes = fs::read(&path)?;
    let word = b"a gift of spring";
    let mut changed = 0;
    for at in 0..bytes.len() - word.len() {
        if bytes[at..].starts_with(word) {
            bytes[at + 2..at + 6].copy_from_slice(b"loan");
            changed += 1;
        }
    }
    assert!(changed >= 3, "{changed}");
    fs::write(&path, bytes)?;
    let (found, code) = verified(&agent, &["--ledger", &file])?;
    let problems = found["problems"].to_string();
    assert!(
        code == 1 && problems.contains("are not those that were written"),
        "{problems}"
    );
    let output = ledger(&agent, &["verify", "--ledger", &file])?;
    let said = String::from_utf8(output.stdout)?;
    assert!(said.contains("WRONG"), "{said}");
    Ok(())
}

/// All there is to be read of records until one, by whoever reads.
fn as_read(agent: &Agent, config: &str, until: u64) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut end = String::new();
    for more in [
        &[][..],
        &["--kind", "usage"],
        &["--kind", "grant"],
        &["--subscriber", "alice"],
        &["--subscriber", "alice", "--kind", "usage"],
        &["--after", "3"],
    ] {
        let asked = [&["record", "list", "--format", "json"], more].concat();
        for line in agent.ask(&asked)?.lines() {
            let record: Value = serde_json::from_str(line)?;
            if record["seq"].as_u64().context("no number")? <= until {
                found.push(line.to_owned());
                end = record["end"].as_str().map_or(end, str::to_owned);
            }
        }
    }
    let limit = until.to_string();
    let out = agent.home().join("copy");
    let to = out.display().to_string();
    let copy = [
        "export", "--config", config, "--limit", &limit, "--out", &to,
    ];
    let output = ledger(agent, &copy)?;
    assert!(output.status.success(), "{output:?}");
    found.push(fs::read_to_string(out.join("records.jsonl"))?);
    fs::remove_dir_all(out)?;
    for seq in 1..=until {
        let seq = seq.to_string();
        let explain = ["explain", "--config", config, "--record", &seq];
        let output = agent.command(&explain).output()?;
        found.push(String::from_utf8(output.stdout)?);
    }
    let statement = ["usage", "--subscriber", "alice", "--to", &end];
    // What was counted until then; other lines say how it is now, too.
    for line in agent.ask_json(&statement)? {
        if line["kind"] == "usage" {
            found.push(line.to_string());
        }
    }
    Ok(found)
}

#[test]
fn records_that_left_the_ledger_are_read_as_before_until_they_are_pruned() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(
            "[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"\noriginals = \"14 days\"\nretention = \"2 years\"",
        )
        .start()?;
    let config = agent.config().display().to_string();
    something_happens(&lab, &agent, "gift-1")?;
    something_happens(&lab, &agent, "gift-2")?;
    let found = sound(&agent, &["--config", &config])?;
    let noted = found["head"].as_str().context("no head")?.to_owned();
    let until_then = found["records"].as_u64().context("no count")?;
    let expected = as_read(&agent, &config, until_then)?;

    // Two weeks later, with something in the way.
    agent.sigterm()?;
    agent.configure("14 days", "1s")?;
    agent.configure("2 years", "2s")?;
    let mut directory = agent.ledger().into_os_string();
    directory.push(".sealed");
    let directory = std::path::PathBuf::from(directory);
    fs::write(&directory, "in the way")?;
    agent.start()?;
    until("it says that something is in the way", || {
        Ok(metric(&agent, "zerorate_unsealed")? == 1.0)
    })?;
    assert!(agent.log().contains("records cannot be sealed"));
    assert_eq!(as_read(&agent, &config, until_then)?, expected);
    assert_eq!(sound(&agent, &["--config", &config])?["sealed_records"], 0);
    fs::remove_file(&directory)?;
    let sealed = |agent: &Agent| -> Result<u64> {
        let found = sound(agent, &["--config", &config, "--head", &noted])?;
        found["sealed_records"].as_u64().context("no count")
    };
    until("they are sealed", || Ok(sealed(&agent)? >= until_then))?;
    until("it says so", || {
        Ok(metric(&agent, "zerorate_unsealed")? == 0.0)
    })?;
    assert!(metric(&agent, "zerorate_sealed_size_bytes")? > 0.0);
    assert_eq!(as_read(&agent, &config, until_then)?, expected);

    // It goes on, is killed while it does, and goes on.
    for gift in ["gift-3", "gift-4", "gift-5"] {
        something_happens(&lab, &agent, gift)?;
        agent.kill9()?;
        agent.start()?;
    }
    until("these are sealed, too", || {
        let found = sound(&agent, &["--config", &config, "--head", &noted])?;
        Ok(found["sealed_records"] == found["records"])
    })?;
    assert_eq!(as_read(&agent, &config, until_then)?, expected);
    let found = sound(&agent, &["--config", &config])?;
    if Command::new("zstd").arg("--version").output().is_err() {
        skip("the chain is not computed without zerorate: there is no zstd");
    } else if let Some(head) = head_without_zerorate(&agent.ledger())? {
        assert_eq!(found["head"], *head);
    }

    // A bit tips over.
    let mut files = fs::read_dir(&directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "zst"));
    files.sort();
    let whole = fs::read(&files[0])?;
    let mut changed = whole.clone();
    changed[whole.len() / 3] ^= 16;
    fs::write(&files[0], changed)?;
    let (found, code) = verified(&agent, &["--config", &config])?;
    let problems = found["problems"].to_string();
    assert!(code == 1 && problems.contains("its hash is"), "{problems}");
    fs::write(&files[0], whole)?;

    // Nobody prunes by accident; whoever does is on record.
    let socket = agent.socket().display().to_string();
    let prune = |more: &[&str]| {
        let arguments = ["prune", "--socket", &socket, "--reason", "it is time"];
        ledger(&agent, &[&arguments[..], more].concat())
    };
    let unasked = prune(&["--retention"])?;
    let said = String::from_utf8_lossy(&unasked.stderr).into_owned();
    assert!(
        !unasked.status.success() && said.contains("add --yes"),
        "{said}"
    );
    let young = prune(&["--before", "2999-01-01", "--yes"])?;
    let said = String::from_utf8_lossy(&young.stderr).into_owned();
    assert!(
        !young.status.success() && said.contains("have to be kept since"),
        "{said}"
    );
    assert_eq!(as_read(&agent, &config, until_then)?, expected);
    let mut last = None;
    until("all that was noted is old enough", || {
        let pruned = prune(&["--retention", "--yes"])?;
        let found = sound(&agent, &["--config", &config])?;
        last = found["pruned_until"].as_u64();
        assert!(pruned.status.success() || last.is_some(), "{pruned:?}");
        Ok(last >= Some(until_then))
    })?;
    let last = last.context("nothing is pruned")?;
    let left = agent.ask_json(&["record", "list"])?;
    assert_eq!(left[0]["seq"], last + 1);
    let pruned = agent.ask_json(&["record", "list", "--kind", "prune"])?;
    let pruned = pruned.last().context("no record says so")?;
    assert_eq!(
        (&pruned["reason"], &pruned["last_seq"]),
        (&"it is time".into(), &last.into())
    );
    assert!(!files[0].exists());
    // Nor does anybody say that nothing was used when nobody knows any more; of what came later everything is there.
    let before = [
        "statement",
        "alice",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-02",
    ];
    let said = agent.ask(&before)?;
    let (gone, nothing) = ("Records no longer kept, up to", "Nothing was used");
    assert!(said.contains(gone) && !said.contains(nothing), "{said}");
    let of_usage = ["usage", "--subscriber", "alice"];
    let said = agent.ask(&[&of_usage[..], &before[2..]].concat())?;
    assert!(said.contains("but for what was pruned"), "{said}");
    let now = jiff::Timestamp::now().to_string();
    let said = agent.ask(&["statement", "alice", "--from", &now])?;
    assert!(!said.contains(gone) && said.contains(nothing), "{said}");
    agent.sigterm()?;
    let file = agent.ledger().display().to_string();
    let found = sound(&agent, &["--ledger", &file])?;
    if Command::new("zstd").arg("--version").output().is_ok()
        && let Some(head) = head_without_zerorate(&agent.ledger())?
    {
        assert_eq!(found["head"], *head);
    }
    Ok(())
}
