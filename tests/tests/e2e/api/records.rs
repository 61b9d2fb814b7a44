//! Records as billing pulls them: in pages of any size and three forms, the same bytes each time, as they come.

use std::thread;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::api::{Reply, ask, send};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;

const LINES: [&str; 2] = ["-H", "Accept: application/x-ndjson"];
const CSV: [&str; 2] = ["-H", "Accept: text/csv"];
const BARE: [&str; 2] = ["-H", "Accept: text/csv; header=absent"];

/// All of it, page by page, as long as there are any.
fn pages(agent: &Agent, query: &str, limit: u64, accept: &[&str]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/v1/records?after={after}&limit={limit}{query}");
        let page = ask(agent, &path, accept)?;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert!(page.number("zerorate-count")? <= limit);
        let next = page.number("zerorate-next-after")?;
        let link = format!("</v1/records?after={next}&limit={limit}{query}>; rel=\"next\"");
        assert_eq!(page.header("link"), link);
        if page.number("zerorate-count")? == 0 {
            assert_eq!(page.text(), "");
            assert_eq!(next, page.number("zerorate-last")?);
            return Ok(all);
        }
        assert!(next > after);
        all.extend(page.body);
        after = next;
    }
}

fn lines(bytes: &[u8]) -> Result<Vec<Value>> {
    let text = std::str::from_utf8(bytes)?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// Some records of several kinds.
fn filled(agent: &Agent) -> Result<()> {
    for n in 0..40 {
        let (grant, debit) = (format!("grant-{n}"), format!("debit-{n}"));
        agent.ask(&[
            "bucket",
            "grant",
            "alice",
            "main",
            "1MB",
            "--id",
            &grant,
            "--reason",
            "a, \"b\"\nc",
        ])?;
        agent.ask(&["bucket", "debit", "bob", "main", "1B", "--id", &debit])?;
        if n % 10 == 0 {
            agent.ask(&["subscriber", "suspend", "bob"])?;
            agent.ask(&["subscriber", "resume", "bob"])?;
        }
    }
    Ok(())
}

#[test]
fn a_page_is_the_same_bytes_however_it_is_asked_for() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section("[records]\ninterval = \"200ms\"\ncheckpoint = \"100ms\"")
        .start()?;
    let (alice, bob) = (lab.subscriber("alice").v4(), lab.subscriber("bob").v4());
    for remote in [town::INTERNET, town::GOVERNMENT, town::MESSENGERS] {
        udp(&alice, &lab.remote(remote), 20, 72)?;
        udp(&bob, &lab.remote(remote), 10, 72)?;
    }
    filled(&agent)?;
    // What is to be recorded is recorded with the end of the agent.
    agent.sigterm()?;
    agent.start()?;

    let all = pages(&agent, "", 1_000_000, &LINES)?;
    let records = lines(&all)?;
    for (seq, record) in (1_u64..).zip(&records) {
        assert_eq!(record["seq"], seq, "{record}");
    }
    assert!(records.len() > 90, "{}", records.len());
    for limit in [1, 7, 50] {
        assert_eq!(pages(&agent, "", limit, &LINES)?, all, "pages of {limit}");
    }
    let array = ask::<&str>(&agent, "/v1/records", &[])?;
    assert_eq!(array.header("content-type"), "application/json");
    assert_eq!(array.json()?, Value::Array(records.clone()));
    let range = |agent: &Agent| -> Result<Vec<u8>> {
        Ok(ask(agent, "/v1/records?after=30&limit=20", &LINES)?.body)
    };
    let before = range(&agent)?;

    // By kind and subscriber: what is left of the whole, in its order.
    for (query, kind, of) in [
        ("&kind=usage", Some("usage"), None),
        ("&kind=debit", Some("debit"), None),
        ("&subscriber=alice", None, Some("alice")),
        ("&subscriber=bob&kind=state", Some("state"), Some("bob")),
        ("&subscriber=nobody", None, Some("nobody")),
        ("&kind=outage", Some("outage"), None),
    ] {
        let expected: Vec<_> = records
            .iter()
            .filter(|record| kind.is_none_or(|kind| record["kind"] == kind))
            .filter(|record| of.is_none_or(|of| record["subscriber"] == of))
            .cloned()
            .collect();
        for limit in [3, 1_000] {
            assert_eq!(
                lines(&pages(&agent, query, limit, &LINES)?)?,
                expected,
                "{query}"
            );
        }
    }

    // As a table: one head, and everything the others say.
    let table = ask(&agent, "/v1/records?limit=1000", &CSV)?;
    assert!(table.header("content-type").starts_with("text/csv"));
    let bare = pages(&agent, "", 13, &BARE)?;
    assert!(table.body.ends_with(&bare));
    let mut csv = csv::Reader::from_reader(&*table.body);
    let rows: Vec<std::collections::BTreeMap<String, String>> =
        csv.deserialize().collect::<Result<_, _>>()?;
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(&records) {
        assert_eq!(row["more"], "", "{record}");
        for (name, value) in record.as_object().context("no object")? {
            let cell = &row[name];
            match value {
                Value::Null => assert_eq!(cell, ""),
                Value::String(text) => assert_eq!(cell, text),
                Value::Array(all) => {
                    let all: Vec<_> = all.iter().filter_map(Value::as_str).collect();
                    assert_eq!(*cell, all.join(" "));
                }
                other => assert_eq!(*cell, other.to_string()),
            }
        }
    }

    // The command prints the agent's own bytes.
    let printed = agent.ask(&[
        "record", "list", "--format", "json", "--limit", "50", "--after", "3",
    ])?;
    assert_eq!(
        printed.as_bytes(),
        ask(&agent, "/v1/records?after=3&limit=50", &LINES)?.body
    );
    // Sessions: who has had one, and who never was there.
    let sessions = ask::<&str>(&agent, "/v1/sessions?subscriber=bob", &[])?.json()?;
    assert_eq!(sessions.as_array().map(Vec::len), Some(1));
    assert_eq!(sessions[0]["end"], Value::Null);
    let nobody = ask::<&str>(&agent, "/v1/sessions?subscriber=nobody", &[])?;
    assert_eq!(nobody.text(), "[]");

    // Other counters, another agent: the numbers go on, and the bytes are the same.
    agent.sigterm()?;
    agent.purge()?;
    agent.start()?;
    assert_eq!(range(&agent)?, before);
    agent.ask(&["bucket", "grant", "alice", "main", "1B", "--id", "later"])?;
    let later = ask(
        &agent,
        &format!("/v1/records?after={}", records.len()),
        &LINES,
    )?;
    assert_eq!(lines(&later.body)?[0]["seq"], records.len() as u64 + 1);
    Ok(())
}

fn grant(agent: &Agent, id: &str) -> Result<String> {
    agent.ask(&["bucket", "grant", "alice", "main", "1B", "--id", id])
}

#[test]
fn whoever_waits_has_records_as_they_come_and_says_what_it_has() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let last = || ask(&agent, "/v1/records", &LINES)?.number("zerorate-last");
    let begin = last()?;
    // It waits, for one of a kind, while others come.
    let waited: Reply = thread::scope(|scope| {
        let path = format!("/v1/records?after={begin}&kind=debit&wait=60");
        let agent = &agent;
        let waiting = scope.spawn(move || ask(agent, &path, &LINES));
        grant(agent, "one")?;
        grant(agent, "two")?;
        agent.ask(&["bucket", "debit", "bob", "main", "1B", "--id", "fee"])?;
        match waiting.join() {
            Ok(reply) => reply,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    let records = lines(&waited.body)?;
    assert_eq!((records.len(), &records[0]["id"]), (1, &Value::from("fee")));
    assert_eq!(
        waited.number("zerorate-next-after")?,
        records[0]["seq"].as_u64().unwrap_or(0)
    );

    // The command follows, over several pages, until the agent stops.
    let mut follow = agent.command(&["record", "list", "--follow", "--format", "json", "--after"]);
    follow
        .arg(begin.to_string())
        .arg("--socket")
        .arg(agent.socket());
    let follow = follow
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    for id in ["three", "four", "five"] {
        grant(&agent, id)?;
        thread::sleep(std::time::Duration::from_millis(300));
    }

    let put = |body: &str| send(&agent, "PUT", "/v1/consumers/cdr", body);
    let end = last()?;
    let noted = put(&format!("{{\"acknowledged\": {end}}}"))?;
    assert_eq!(
        (noted.status, &noted.json()?["behind"]),
        (200, &Value::from(0))
    );
    assert_eq!(
        put(&format!("{{\"acknowledged\": {end}}}"))?.body,
        noted.body
    );
    let back = put("{\"acknowledged\": 1}")?;
    assert_eq!(back.status, 409);
    assert!(
        back.problem()?
            .contains(&format!("has acknowledged {end}, and now says 1"))
    );
    assert_eq!(put("{\"acknowledged\": 1, \"rewind\": true}")?.status, 200);
    let beyond = put("{\"acknowledged\": 1000000}")?;
    assert_eq!(beyond.status, 422);
    assert!(
        beyond
            .problem()?
            .contains(&format!("the last one is {end}"))
    );
    agent.ask(&["record", "acknowledge", "audit", "2"])?;

    agent.sigterm()?;
    let followed = follow.wait_with_output()?;
    assert_eq!(followed.status.code(), Some(1), "{followed:?}");
    assert!(String::from_utf8_lossy(&followed.stderr).contains("the agent has stopped"));
    let records = lines(&followed.stdout)?;
    let seqs: Vec<_> = records
        .iter()
        .filter_map(|record| record["seq"].as_u64())
        .collect();
    assert!(seqs.iter().copied().eq(begin + 1..=begin + 6), "{seqs:?}");
    assert_eq!(records[5]["id"], "five");

    agent.start()?;
    let consumers = agent.ask_json(&["record", "consumers"])?;
    let known: Vec<_> = consumers
        .iter()
        .map(|known| (&known["name"], &known["acknowledged"]))
        .collect();
    let expected =
        [("audit", 2), ("cdr", 1)].map(|(name, seq)| (Value::from(name), Value::from(seq)));
    assert!(
        known
            .into_iter()
            .eq(expected.iter().map(|(name, seq)| (name, seq)))
    );
    agent.ask(&["record", "forget", "audit"])?;
    let table = agent.ask(&["record", "consumers"])?;
    assert!(table.contains("cdr") && !table.contains("audit"), "{table}");
    agent.check_order()
}
