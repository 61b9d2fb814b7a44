//! Policy versions on a running agent: staged, put in force now and later, gone back to, over restarts; who did it is in an
//! audit log that shows when somebody changed it; and an explanation from the version that was in force then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::clock::Clock;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, POLICY};
use zerorate_tests::wait::until;

/// Of the government's prefixes in the town's policy, the one traffic goes to.
const OFFICES: &str = "prefixes = [\"203.0.113.0/25\", \"2001:db8:10::/48\"]";

/// What a command prints; if it fails, what it says.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// A policy directory in the agent's home.
fn policy_dir(agent: &Agent, name: &str, text: &str) -> Result<PathBuf> {
    let dir = agent.home().join(name);
    fs::create_dir(&dir)?;
    fs::write(dir.join("policy.toml"), text)?;
    Ok(dir)
}

fn version(agent: &Agent) -> Result<String> {
    let version = agent.status()?["policy_version"].clone();
    Ok(version.as_str().context("no version")?.to_owned())
}

/// Stages a directory; its version.
fn stage(agent: &Agent, dir: &Path) -> Result<String> {
    let dir = dir.display().to_string();
    let said = agent.ask(&["policy", "stage", &dir, "--reason", "letter 5"])?;
    let first = said.lines().next().unwrap_or_default();
    let version = first.rsplit(' ').next().context("nothing was said")?;
    assert!(first.starts_with("staged"), "{said}");
    Ok(version.to_owned())
}

fn history(agent: &Agent) -> PathBuf {
    agent.home().join("policies")
}

fn audit(agent: &Agent) -> Result<Vec<Value>> {
    let log = agent.ask(&["policy", "audit"])?;
    log.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// Who pays for an echo of alice to the offices now.
fn charged(agent: &Agent, lab: &Lab) -> Result<(String, String)> {
    let before = agent.bill()?.usage;
    let near = lab.subscriber("alice").v4();
    assert_eq!(ping(&near, &lab.remote(town::GOVERNMENT), 1, 72)?, 1);
    lab.settle()?;
    let after = agent.bill()?.usage;
    let changed = after
        .iter()
        .find(|(key, flow)| before.get(*key) != Some(*flow));
    let ((_, class, charged), _) = changed.context("nothing was counted")?;
    Ok((class.clone(), charged.clone()))
}

/// What `explain` says from the history, an object a line.
fn explained(agent: &Agent, arguments: &[&str]) -> Result<Vec<Value>> {
    let history = history(agent).display().to_string();
    let common = ["explain", "--history", &history, "--format", "json"];
    let said = run(&mut agent.command(&[&common, arguments].concat()))?;
    let lines = said.lines();
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn versions_are_staged_activated_and_gone_back_to_over_restarts() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let first = version(&agent)?;
    let free = ("government".to_owned(), "free".to_owned());
    assert_eq!(charged(&agent, &lab)?, free);

    // Without the offices' prefix traffic to them is ordinary traffic.
    let without = POLICY.replace(OFFICES, "prefixes = [\"2001:db8:10::/48\"]");
    assert_ne!(without, POLICY);
    let second = stage(&agent, &policy_dir(&agent, "second", &without)?)?;
    assert_eq!(version(&agent)?, first, "staging changes nothing");
    let beginning = &second[..6];
    agent.ask(&["policy", "activate", beginning, "--reason", "offices moved"])?;
    assert_eq!(version(&agent)?, second);
    let paid = charged(&agent, &lab)?;
    assert_ne!(paid, free);
    assert_eq!(agent.status()?["policy_chosen"]["reason"], "offices moved");
    agent.check_order()?;

    // The files say what they said before: what was chosen holds, whoever looks at them, and whoever starts.
    agent.reload()?;
    assert_eq!(version(&agent)?, second);
    let hint = format!("zerorate policy activate {first}");
    assert!(
        agent.log().contains(&hint),
        "how to have the files in force"
    );
    // What was counted before a change is written down a moment after it.
    until("the first version's records", || {
        let records = agent.ask_json(&["record", "list", "--kind", "usage"])?;
        Ok(records
            .iter()
            .any(|record| record["policy_version"] == *first))
    })?;
    agent.kill9()?;
    agent.start()?;
    assert_eq!(version(&agent)?, second);
    assert_eq!(charged(&agent, &lab)?, paid);

    // Back, and further back than there is.
    let nameless = agent.ask(&["policy", "rollback"]).unwrap_err().to_string();
    assert!(nameless.contains("--reason"), "{nameless}");
    agent.ask(&["policy", "rollback", "--reason", "complaints"])?;
    assert_eq!(version(&agent)?, first);
    assert!(
        agent.status()?["policy_chosen"].is_null(),
        "it is what the files say"
    );
    assert_eq!(charged(&agent, &lab)?, free);
    let none = agent
        .ask(&["policy", "rollback", "--reason", "more"])
        .unwrap_err();
    assert!(
        none.to_string().contains("nothing was in force before"),
        "{none}"
    );

    // Files that change overtake what was chosen, wrong ones do not, and the gateway starts with what was in force.
    agent.ask(&["policy", "activate", &second])?;
    agent.write_policy("name = 5")?;
    agent.reload().unwrap_err();
    assert_eq!(version(&agent)?, second);
    agent.kill9()?;
    agent.start()?;
    assert_eq!(version(&agent)?, second);
    assert!(
        agent.status()?["refused"]
            .to_string()
            .contains("policy.toml:1:8")
    );
    agent.write_policy(&format!("# third\n{POLICY}"))?;
    agent.reload()?;
    let third = version(&agent)?;
    assert!(third != first && third != second);
    assert!(agent.status()?["policy_chosen"].is_null());

    // What came into force, and by whom: uid 0 asked.
    let entries = audit(&agent)?;
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            [
                &entry["action"],
                &entry["result"],
                &entry["version"],
                &entry["before"],
            ]
        })
        .map(|fields| fields.map(|field| field.as_str().unwrap_or("-").to_owned()))
        .collect();
    let line = |action: &str, result: &str, version: &str, before: &str| {
        [action, result, version, before].map(str::to_owned)
    };
    assert_eq!(
        shown,
        [
            line("start", "in_force", &first, "-"),
            line("stage", "noted", &second, &first),
            line("activate", "in_force", &second, &first),
            line("rollback", "in_force", &first, &second),
            line("activate", "in_force", &second, &first),
            line("reload", "refused", "-", &second),
            line("start", "refused", "-", &second),
            line("reload", "in_force", &third, &second),
        ]
    );
    assert_eq!(entries[2]["by"]["uid"], 0);
    assert_eq!(entries[2]["reason"], "offices moved");
    let changes = entries[2]["changes"].to_string();
    assert!(changes.contains("203.0.113.0/25"), "{changes}");
    assert_eq!(entries[7]["by"]["how"], "api");

    // At each of these times the version of that time answers; a kept version is a policy directory.
    let remote = "203.0.113.7";
    for (entry, version, class) in [(0, &first, "government"), (2, &second, "internet")] {
        let time = entries[entry]["time"].as_str().context("no time")?;
        let said = &explained(&agent, &["--remote", remote, "--at", time])?[0];
        assert_eq!(
            (&said["policy_version"], &said["class"]),
            (&Value::from(version.as_str()), &Value::from(class))
        );
        let said = &explained(&agent, &["--remote", remote, "--version", version])?[0];
        assert_eq!(said["class"], class);
    }
    // And so for what was recorded then.
    let records = agent.ask_json(&["record", "list", "--kind", "usage"])?;
    for (version, class, charged) in [(&first, "government", "free"), (&second, &paid.0, &paid.1)] {
        let judged = |record: &&Value| {
            record["policy_version"] == **version
                && record["class"] == *class
                && record["charged"] == *charged
        };
        let record = records
            .iter()
            .find(judged)
            .with_context(|| format!("no {version} {class} {charged} in {records:#?}"))?;
        let (seq, ledger) = (
            record["seq"].to_string(),
            agent.ledger().display().to_string(),
        );
        let said = explained(&agent, &["--record", &seq, "--ledger", &ledger])?;
        let [record, charge, sets @ ..] = &said[..] else {
            panic!("too little: {said:?}");
        };
        assert_eq!(
            (&record["charged"], &charge["plan"]),
            (&charged.into(), &"basic".into())
        );
        assert!(record["why"].as_str().is_some_and(|why| !why.is_empty()));
        let sets: Vec<_> = sets
            .iter()
            .map(|set| set["set"].as_str().unwrap_or("-"))
            .collect();
        let expected: &[&str] = if class == "government" {
            &["offices"]
        } else {
            &[]
        };
        assert_eq!(sets, expected);
    }
    let kept = history(&agent).join("versions").join(&second);
    assert_eq!(fs::read_to_string(kept.join("policy.toml"))?, without);

    // What the guards refuse does not come into force by a restart either.
    agent.write_policy(&POLICY.replace(OFFICES, "prefixes = []"))?;
    agent.reload().unwrap_err();
    agent.kill9()?;
    agent.start()?;
    assert_eq!(version(&agent)?, third);
    let refused = agent.status()?["refused"].to_string();
    assert!(
        refused.contains("is empty, and had 2 prefixes"),
        "{refused}"
    );
    agent.ask(&[
        "policy",
        "reload",
        "--force",
        "--reason",
        "the offices closed",
    ])?;
    let last = audit(&agent)?.pop().context("no line")?;
    assert!(last["overruled"].to_string().contains("is empty"), "{last}");
    Ok(())
}

#[test]
fn what_is_asked_for_later_comes_to_the_second_over_a_restart() -> Result<()> {
    let clock = Clock::new()?;
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .through(&clock.through())
        .start()?;
    let first = version(&agent)?;
    let over = Timestamp::now() + SignedDuration::from_hours(3);
    let chats = "name = \"chats\"";
    let later = POLICY.replace(chats, &format!("{chats}\nvalid_until = {over}"));
    assert_ne!(later, POLICY);
    let second = stage(&agent, &policy_dir(&agent, "second", &later)?)?;
    let time = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
    let at = ["--at", &*time, "--reason", "the decree"];
    agent.ask(&[&["policy", "activate", &*second], &at[..]].concat())?;
    let other = agent.ask(&[&["policy", "activate", &*first], &at[..]].concat())?;
    let number = other
        .rsplit(' ')
        .next()
        .context("no number")?
        .trim()
        .to_owned();
    agent.ask(&["policy", "unschedule", &number])?;
    let past = [
        "policy",
        "activate",
        &second,
        "--at",
        "2020-01-01T00:00:00Z",
    ];
    let past = agent.ask(&past).unwrap_err().to_string();
    assert!(past.contains("has passed"), "{past}");

    agent.kill9()?;
    agent.start()?;
    assert_eq!(version(&agent)?, first);
    assert_eq!(agent.status()?["policy_scheduled"][0]["version"], *second);
    clock.set("+2h")?;
    until("the version of that time is in force", || {
        Ok(version(&agent)? == second)
    })?;
    assert_eq!(
        agent.status()?["policy_scheduled"],
        Value::Array(Vec::new())
    );
    let last = audit(&agent)?.pop().context("no line")?;
    assert_eq!(
        (&last["action"], &last["by"]["how"]),
        (&"activate".into(), &"clock".into())
    );
    assert_eq!(
        (&last["reason"], &last["by"]["uid"]),
        (&"the decree".into(), &0.into())
    );

    // Time makes the version another thing, which is written down, and is no other version.
    clock.set("+4h")?;
    until("the boundary is written down", || {
        let last = audit(&agent)?.pop().context("no line")?;
        Ok(last["action"] == "boundary" && last["version"] == *second)
    })?;
    let periods = agent.ask_json(&["policy", "history"])?;
    let versions: Vec<_> = periods.iter().map(|row| &row["version"]).collect();
    assert_eq!(versions, [&*first, &*second]);
    agent.check_order()
}

#[test]
fn a_changed_audit_log_shows() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    for number in 0..3 {
        agent.write_policy(&format!("# {number}\n{POLICY}"))?;
        agent.reload()?;
    }
    let verified = agent.ask(&["policy", "audit", "--verify"])?;
    assert!(verified.starts_with("4 lines, none changed"), "{verified}");
    let head = verified
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    assert!(
        agent.log().contains(&head),
        "the agent's log has the hash of each line"
    );
    agent.sigterm()?;

    let dir = history(&agent);
    let path = dir.join("audit.jsonl");
    let whole = fs::read_to_string(&path)?;
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let verify = |text: &str| {
        fs::write(&path, text)?;
        let dir = dir.display().to_string();
        run(&mut agent.command(&[
            "policy",
            "audit",
            "--verify",
            "--holds",
            &head,
            "--history",
            &dir,
        ]))
    };
    verify(&whole)?;
    let changed = whole.replacen("\"how\":\"api\"", "\"how\":\"clock\"", 1);
    let swapped = [lines[0], lines[2], lines[1], lines[3]].concat();
    for (text, expected) in [
        (changed, "line 3: does not follow"),
        (swapped, "line 2: does not follow"),
        (
            [lines[0], lines[2], lines[3]].concat(),
            "line 2: does not follow",
        ),
        (lines[..3].concat(), "lines were taken off its end"),
    ] {
        let said = verify(&text).unwrap_err().to_string();
        assert!(said.contains(expected), "{expected} in {said}");
    }
    // The agent says so, too, and counts on; a line that was cut by a power failure is none.
    fs::write(
        &path,
        whole.replacen("\"how\":\"api\"", "\"how\":\"clock\"", 1),
    )?;
    agent.start()?;
    assert!(agent.status()?["unaudited"].to_string().contains("line 3"));
    agent.sigterm()?;
    fs::write(&path, format!("{whole}{{\"seq\":5,\"ti"))?;
    agent.start()?;
    assert!(agent.status()?["unaudited"].is_null());
    assert_eq!(fs::read_to_string(&path)?, whole);
    Ok(())
}
