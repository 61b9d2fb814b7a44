//! Outages and corrections, as people record them: by command and over the API, again, wrongly, and with a restart in between;
//! and what statements, sums and the ledger's proof make of them.

use std::slice::from_ref;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use zerorate_tests::agent::Agent;
use zerorate_tests::api::send;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::records::{Statement, billed, ledger, usage};
use zerorate_tests::town;
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

/// Sends it, which has to be taken.
fn taken(agent: &Agent, path: &str, new: &Value) -> Result<Value> {
    let reply = send(agent, "POST", path, &new.to_string())?;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Sends it, which has to be refused with a status and words.
fn refused(agent: &Agent, path: &str, new: &Value, status: u16, words: &[&str]) -> Result<()> {
    let reply = send(agent, "POST", path, &new.to_string())?;
    assert_eq!(reply.status, status, "{new}: {reply:?}");
    let detail = reply.problem()?;
    for word in words {
        assert!(detail.contains(word), "`{word}` in `{detail}`");
    }
    Ok(())
}

/// What `new` says, and something else of it.
fn but(new: &Value, other: &Value) -> Value {
    let mut new = new.clone();
    for (name, value) in other.as_object().into_iter().flatten() {
        new[name] = value.clone();
    }
    new
}

/// The outages in a statement: number and creditable seconds of each, and of all together.
fn outages(agent: &Agent, subscriber: &str) -> Result<(Vec<(u64, f64)>, f64)> {
    let statement = Statement::of(agent, subscriber, &[])?;
    let rows = statement.records.iter();
    let rows = rows.filter(|row| row["kind"] == "outage").map(|row| {
        let seconds = row["creditable_seconds"].as_f64();
        Ok((
            row["seq"].as_u64().context("no number")?,
            seconds.context("no time")?,
        ))
    });
    let rows = rows.collect::<Result<_>>()?;
    Ok((rows, statement.total("creditable_seconds")?))
}

/// What people have recorded, as it is in the ledger.
fn noted(agent: &Agent) -> Result<Vec<Value>> {
    let by_people = |record: &Value| {
        ["outage", "correction"]
            .iter()
            .any(|kind| record["kind"] == *kind)
    };
    Ok(ledger(agent)?.into_values().filter(by_people).collect())
}

fn said(agent: &Agent, arguments: &[&str]) -> String {
    format!(
        "{:#}",
        agent.ask(arguments).expect_err("it was not refused")
    )
}

#[test]
fn what_people_record_is_recorded_once_and_changes_no_sum() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"")
        .start()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::INTERNET));
    assert_eq!(udp(&alice, &remote, 10, 72)?, 10);
    lab.settle()?;
    until("it is recorded", || Ok(!usage(&agent)?.is_empty()))?;
    let first = Timestamp::now();
    sleep(Duration::from_millis(300));
    let second = Timestamp::now();
    sleep(Duration::from_millis(300));
    let third = Timestamp::now();
    let (node_seconds, own_seconds) = (
        second.duration_since(first).as_secs_f64(),
        third.duration_since(second).as_secs_f64(),
    );
    let [from, between, to] = [first, second, third].map(|time| time.to_string());
    // Who comes later was not touched by what was out before.
    let carol = [
        "subscriber",
        "add",
        "carol",
        "--plan",
        "small",
        "--address",
        "10.3.0.1",
    ];
    agent.ask(&carol)?;

    // The gateway, over the API; one subscriber's line, by command. And again, the other way round.
    let node = json!({
        "id": "out-1", "scope": "node", "from": from, "to": between, "cause": "a fuse", "fault": "operator",
    });
    let of_node = taken(&agent, "/v1/outages", &node)?;
    let by_command = [
        "record", "outage", "--id", "out-1", "--node", "--from", &from, "--to", &between,
        "--cause", "a fuse", "--fault", "operator",
    ];
    assert_eq!(agent.ask_json(&by_command)?, from_ref(&of_node));
    let own = [
        "record",
        "outage",
        "--id",
        "out-2",
        "--subscriber",
        "alice",
        "--from",
        &between,
        "--to",
        &to,
        "--cause",
        "a digger",
        "--fault",
        "operator",
        "--reason",
        "ticket 7",
    ];
    let of_alice = agent.ask_json(&own)?.remove(0);
    let body = json!({
        "id": "out-2", "scope": "subscribers", "subscribers": ["alice"], "from": between, "to": to, "cause": "a digger",
        "fault": "operator", "reason": "ticket 7",
    });
    assert_eq!(taken(&agent, "/v1/outages", &body)?, of_alice);
    assert_eq!(noted(&agent)?, [of_node.clone(), of_alice.clone()]);
    let table = agent.ask(&own)?;
    assert!(
        table.contains("a digger, fault: operator") && table.contains("ticket 7"),
        "{table}"
    );
    let csv = agent.ask(&[&own[..], &["--format", "csv"]].concat())?;
    let listed = agent.ask(&["record", "list", "--kind", "outage", "--format", "csv"])?;
    let line = |text: &str| {
        text.lines()
            .find(|line| line.contains("out-2"))
            .map(str::to_owned)
    };
    assert_eq!(
        (line(&csv), csv.lines().next()),
        (line(&listed), listed.lines().next())
    );

    // What is wrong is refused, in words.
    refused(
        &agent,
        "/v1/outages",
        &but(&node, &json!({"cause": "a storm"})),
        409,
        &["a fuse", "a storm"],
    )?;
    let other = own.map(|word| if word == "a digger" { "rats" } else { word });
    let conflict = said(&agent, &other);
    assert!(
        conflict.contains("a digger") && conflict.contains("rats"),
        "{conflict}"
    );
    let tomorrow = (third + Duration::from_secs(86_400)).to_string();
    for (wrong, words) in [
        (json!({"from": between, "to": from}), "has to end later"),
        (json!({"to": from}), "has to end later"),
        (json!({"to": tomorrow}), "still to come"),
        (json!({"cause": " "}), "say what happened"),
        (json!({"id": ""}), "it has no id"),
        (json!({"id": "x".repeat(129)}), "longer than 128 bytes"),
        (json!({"scope": "subscribers"}), "it says no subscribers"),
        (
            json!({"scope": "subscribers", "subscribers": ["dora"]}),
            "there never was a subscriber `dora`",
        ),
        (
            json!({"subscriber": ["alice"]}),
            "unknown field `subscriber`",
        ),
        (
            json!({"scope": "class", "class": "chess"}),
            "there is no class `chess`",
        ),
        (
            json!({"scope": "interface", "interface": "moon0"}),
            "there is no interface `moon0`",
        ),
        (json!({"scope": "interface"}), "which interface"),
        (json!({"fault": "mine"}), "unknown variant `mine`"),
    ] {
        let new = but(&but(&node, &json!({"id": "out-3"})), &wrong);
        refused(&agent, "/v1/outages", &new, 422, &[words])?;
    }
    let words = said(
        &agent,
        &by_command.map(|word| match word {
            "out-1" => "out-3",
            "--from" => "--to",
            "--to" => "--from",
            word => word,
        }),
    );
    assert!(words.contains("has to end later"), "{words}");
    let words = said(
        &agent,
        &by_command.map(|word| if word == from { "yesterday" } else { word }),
    );
    assert!(words.contains("`yesterday` is no time"), "{words}");
    let without_scope: Vec<&str> = by_command
        .into_iter()
        .filter(|word| *word != "--node")
        .collect();
    let words = said(&agent, &without_scope);
    assert!(words.contains("--interface"), "{words}");

    // Corrections: of usage by command, and of nothing that cannot be corrected so.
    let before = Statement::of(&agent, "alice", &[])?;
    let counted = usage(&agent)?
        .into_iter()
        .find(|record| record.subscriber == "alice");
    let counted = counted.context("nothing was counted")?;
    let (seq, up) = (counted.seq.to_string(), (counted.bytes_up + 1).to_string());
    let correct = [
        "record",
        "correct",
        &seq,
        "--id",
        "fix-1",
        "--approver",
        "chief",
        "--reason",
        "one byte short",
        "--bytes-up",
        &up,
        "--bytes-down",
        "0",
        "--packets-up",
        "10",
        "--packets-down",
        "0",
    ];
    let correction = agent.ask_json(&correct)?.remove(0);
    assert_eq!(
        (
            &correction["corrects"],
            &correction["subscriber"],
            &correction["bytes_up"]
        ),
        (
            &counted.seq.into(),
            &"alice".into(),
            &(counted.bytes_up + 1).into()
        )
    );
    assert_eq!(agent.ask_json(&correct)?, from_ref(&correction));
    let body = json!({
        "id": "fix-1", "corrects": counted.seq, "approver": "chief", "reason": "one byte short",
        "bytes_up": counted.bytes_up + 1, "bytes_down": 0, "packets_up": 10, "packets_down": 0,
    });
    assert_eq!(taken(&agent, "/v1/corrections", &body)?, correction);
    // The id is one of an outage, and of another correction that differs in one number.
    refused(
        &agent,
        "/v1/corrections",
        &but(&body, &json!({"id": "out-1"})),
        409,
        &["a fuse", "one byte short"],
    )?;
    let packets = but(&body, &json!({"packets_up": 11}));
    refused(
        &agent,
        "/v1/corrections",
        &packets,
        409,
        &["\"packets_up\":10", "\"packets_up\":11"],
    )?;
    let second = but(&body, &json!({"id": "fix-2"}));
    for (wrong, status, words) in [
        (
            json!({"corrects": 999_999}),
            404,
            "there is no record 999999",
        ),
        (json!({"corrects": 0}), 404, "there is no record 0"),
        (json!({"corrects": 1}), 422, "is a grant"),
        (
            json!({"corrects": of_node["seq"]}),
            422,
            "say when it really was",
        ),
        (json!({"approver": ""}), 422, "say who and why"),
        (json!({"packets_up": null}), 422, "say what is right"),
        (json!({"bytes_up": -1}), 422, "the body"),
        (json!({"from": from, "to": to}), 422, "nothing of the other"),
    ] {
        refused(
            &agent,
            "/v1/corrections",
            &but(&second, &wrong),
            status,
            &[words],
        )?;
    }
    let half: Vec<&str> = correct[..correct.len() - 2].to_vec();
    assert!(said(&agent, &half).contains("--packets-down"));
    let expected = [of_node.clone(), of_alice.clone(), correction.clone()];
    assert_eq!(noted(&agent)?, expected);
    let statement = Statement::of(&agent, "alice", &[])?;
    assert_eq!(statement.volumes, before.volumes);
    assert_eq!(statement.volumes, billed(&agent, "alice")?);
    let shown = statement
        .records
        .iter()
        .filter(|record| record["kind"] == "correction");
    assert_eq!(shown.collect::<Vec<_>>(), [&correction]);
    let told = agent.ask(&["statement", "alice"])?;
    assert!(
        told.contains("Corrections:") && told.contains("one byte short"),
        "{told}"
    );

    // An agent later, all is as it was, and still recorded once.
    agent.sigterm()?;
    agent.start()?;
    assert_eq!(taken(&agent, "/v1/outages", &node)?, of_node);
    assert_eq!(agent.ask_json(&correct)?, from_ref(&correction));
    refused(
        &agent,
        "/v1/outages",
        &but(&node, &json!({"fault": "nobody"})),
        409,
        &["operator", "nobody"],
    )?;
    assert_eq!(noted(&agent)?, expected);
    let number = |record: &Value| record["seq"].as_u64().context("no number");
    let (node_seq, own_seq) = (number(&of_node)?, number(&of_alice)?);
    let is = |subscriber: &str, expected: &[(u64, f64)]| -> Result<()> {
        let (rows, all) = outages(&agent, subscriber)?;
        let numbers = |rows: &[(u64, f64)]| rows.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
        assert_eq!(numbers(&rows), numbers(expected), "{subscriber}");
        for ((seq, seconds), (_, expected)) in rows.iter().zip(expected) {
            assert!(
                (seconds - expected).abs() < 1e-6,
                "{seq}: {seconds} s, not {expected}"
            );
        }
        let sum: f64 = expected.iter().map(|(_, seconds)| seconds).sum();
        assert!((all - sum).abs() < 1e-6, "{subscriber}: {all} s, not {sum}");
        Ok(())
    };
    is("alice", &[(node_seq, node_seconds), (own_seq, own_seconds)])?;
    is("bob", &[(node_seq, node_seconds)])?;
    is("carol", &[])?;
    let table = agent.ask(&["usage", "--subscriber", "alice"])?;
    assert!(
        table.contains("a digger") && table.contains("approved by chief"),
        "{table}"
    );

    // There was no outage of the gateway after all.
    let none = json!({
        "id": "fix-3", "corrects": node_seq, "approver": "chief", "reason": "wrong gateway", "from": from, "to": from,
    });
    refused(
        &agent,
        "/v1/corrections",
        &but(&none, &json!({"to": tomorrow})),
        422,
        &["still to come"],
    )?;
    taken(&agent, "/v1/corrections", &none)?;
    is("alice", &[(own_seq, own_seconds)])?;
    is("bob", &[])?;
    assert_eq!(noted(&agent)?.len(), 4);
    let file = agent.ledger().display().to_string();
    let verified = agent
        .command(&["ledger", "verify", "--ledger", &file])
        .output()?;
    assert!(verified.status.success(), "{verified:?}");
    agent.check_order()
}
