//! Events as they come: on the command line, over the API, and to a reader that does not read.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::news::{FOUR_EVENTS, Follower, crowd, everybody_says_something, flood, told};
use zerorate_tests::ping::ping;
use zerorate_tests::prometheus::metric;
use zerorate_tests::town;
use zerorate_tests::wait::until;

#[test]
fn followers_hear_of_it_at_once_and_of_the_end() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let everything = Follower::start(&agent, &["--format", "json"])?;
    let bobs = Follower::start(&agent, &["--format", "csv", "--subscriber", "bob"])?;
    assert_eq!(
        bobs.line()?,
        "seq,time,event,subscriber,plan,bucket,class,left"
    );
    let alice = lab.subscriber("alice").v4();
    assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 1, 72)?, 1);
    let first = everything.event()?;
    assert_eq!(told(&first), "class_first_used government");
    assert_eq!(first["subscriber"], "alice");
    flood(&lab, "bob", 300)?;
    for expected in FOUR_EVENTS {
        assert_eq!(told(&everything.event()?), expected);
        let (event, of) = expected.split_once(' ').context("two words")?;
        let line = bobs.line()?;
        assert!(
            line.contains(&format!(",{event},bob,small,")) && line.contains(of),
            "{line}"
        );
    }
    // Whoever comes later gets what is kept, and goes on from there.
    let after = first["seq"].to_string();
    let late = Follower::start(&agent, &["--format", "json", "--after", &after])?;
    for expected in FOUR_EVENTS {
        assert_eq!(told(&late.event()?), expected);
    }
    assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 1, 72)?, 1);
    for follower in [&everything, &late] {
        let event = follower.event()?;
        assert_eq!(
            (&event["subscriber"], &event["event"]),
            (&"alice".into(), &"class_first_used".into())
        );
    }
    let table = agent.ask(&["events"])?;
    let (head, rows) = table.split_once('\n').context("no lines")?;
    assert!(head.starts_with("seq ") && head.ends_with("left"), "{head}");
    assert_eq!(rows.lines().count(), 6);

    agent.check_order()?;
    agent.sigterm()?;
    for follower in [everything, bobs, late] {
        let (code, said) = follower.ended()?;
        assert_eq!(
            (code, said.contains("the agent has stopped")),
            (Some(1), true),
            "{said}"
        );
    }
    assert!(!agent.log().contains("cut off"));
    Ok(())
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up_and_is_told_what_it_missed() -> Result<()> {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixStream;

    const SUBSCRIBERS: usize = 4000;
    if !can_use_namespaces() {
        return Ok(());
    }
    let (lab, list) = crowd(SUBSCRIBERS)?;
    let agent = town::agent(&lab)
        .subscribers(&list)
        .section("[events]\nkeep = 10")
        .start()?;
    let mut slow = UnixStream::connect(agent.socket())?;
    // HTTP 1.0: the answer is not chunked.
    slow.write_all(b"GET /v1/events?follow=true HTTP/1.0\r\nHost: zerorate\r\n\r\n")?;
    let follower = Follower::start(&agent, &["--format", "json"])?;
    everybody_says_something(&lab, SUBSCRIBERS)?;
    // Everything else goes on: whoever reads hears of all, and the agent answers.
    until("all of it is told", || {
        Ok(metric(&agent, "zerorate_events_total")? == SUBSCRIBERS as f64)
    })?;
    let kept = agent.ask_json(&["events"])?;
    assert_eq!(kept.len(), 10);
    drop(follower);
    agent.check_order()?;

    let mut seen = BTreeSet::new();
    let (mut missed, mut last) = (0, Value::Null);
    for line in BufReader::new(slow).lines() {
        let line = line?;
        if !line.starts_with('{') {
            continue;
        }
        let line: Value = serde_json::from_str(&line)?;
        if line["event"] == "gap" {
            missed += line["missed"].as_u64().context("no count")?;
            ensure!(line["restarted"] == false, "{line}");
        } else {
            seen.insert(line["seq"].as_u64().context("no number")?);
            last = line;
        }
        if seen.len() as u64 + missed >= SUBSCRIBERS as u64 {
            break;
        }
    }
    assert_eq!(seen.len() as u64 + missed, SUBSCRIBERS as u64);
    assert!(missed > 0 && seen.len() > 10, "{missed} were missed");
    // CPUs tell of theirs one after another: the last that is told need not be the last that was sent.
    assert_eq!(Some(&last), kept.last());
    Ok(())
}
