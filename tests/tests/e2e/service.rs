//! One subscriber is added, put on another plan, suspended, resumed, removed by command while everybody else goes on;
//! and how that goes together with the subscribers' file.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result};
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::clock::Clock;
use zerorate_tests::ping::ping;
use zerorate_tests::town::{self, SUBSCRIBERS, lines, taken_in, volume};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

#[test]
fn who_is_suspended_by_command_stays_so_until_the_line_changes() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let alice = lab.subscriber("alice").v4();
    let (internet, offices) = (lab.remote(town::INTERNET), lab.remote(town::GOVERNMENT));
    let mut answers = Vec::new();
    let mut look = |agent: &Agent| -> Result<()> {
        answers.push((
            ping(&alice, &internet, 1, 72)?,
            ping(&alice, &offices, 1, 72)?,
        ));
        agent.check_order()
    };
    look(&agent)?;
    let said = agent.ask_json(&["subscriber", "suspend", "alice", "--reason", "unpaid"])?;
    assert_eq!(said[0]["state"], "suspended");
    look(&agent)?;
    // A reload, another agent, another line: it stays.
    agent.reload()?;
    look(&agent)?;
    agent.write_subscribers(&SUBSCRIBERS.replace("bob,small,active", "bob,small,suspended"))?;
    agent.reload()?;
    agent.kill9()?;
    agent.start()?;
    look(&agent)?;
    agent.ask_json(&["subscriber", "resume", "alice", "--reason", "paid"])?;
    look(&agent)?;
    agent.ask_json(&["subscriber", "suspend", "alice"])?;
    look(&agent)?;
    // Her line says something new, and wins; that bob changed with it is no matter.
    agent.write_subscribers(&SUBSCRIBERS.replace("alice,basic", "alice,small"))?;
    agent.reload()?;
    look(&agent)?;
    assert_eq!(
        answers,
        [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (1, 1)]
    );
    let states: Vec<String> = agent
        .ask_json(&["record", "list", "--subscriber", "alice", "--kind", "state"])?
        .iter()
        .map(|record| {
            format!(
                "{} {} {}",
                record["plan"], record["state"], record["reason"]
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            r#""basic" "suspended" "unpaid""#,
            r#""basic" "active" "paid""#,
            r#""basic" "suspended" null"#,
            r#""small" "active" "the subscribers' file""#,
        ]
    );
    Ok(())
}

#[test]
fn subscribers_come_and_go_by_command() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .subscribers("alice,basic,active,10.1.0.1/32 2001:db8:a::/64")
        .start()?;
    let bob = lab.subscriber("bob").v4();
    let remote = lab.remote(town::INTERNET);
    let add = [
        "subscriber",
        "add",
        "bob",
        "--plan",
        "small",
        "--address",
        "10.1.0.8/29",
    ];
    let flow = taken_in(&lab, || {
        udp(&bob, &remote, 10, 72)?;
        agent.ask(&add)?;
        udp(&bob, &remote, 20, 72)?;
        // Known to the next agent, too.
        agent.kill9()?;
        agent.start()?;
        udp(&bob, &remote, 30, 72)?;
        let removed = agent.ask_json(&["subscriber", "remove", "bob", "--reason", "moved away"])?;
        assert_eq!(
            removed[0]["buckets"].to_string(),
            r#"[{"bucket":"main","left":495000}]"#
        );
        udp(&bob, &remote, 40, 72)?;
        Ok(())
    })?;
    assert_eq!(flow.up.packets, 100);
    let bill = agent.bill()?;
    let expected = lines([("bob", "internet", "main", town::up(volume(50, 100)))]);
    assert_eq!(bill.usage, expected);
    let unattributed: Flow = town::up(volume(50, 100));
    assert_eq!(bill.total().unattributed_bytes, unattributed.up.bytes);
    for (words, says) in [
        (
            ["subscriber", "remove", "bob"].as_slice(),
            "no subscriber \"bob\" has a session",
        ),
        (
            &[
                "subscriber",
                "add",
                "alice",
                "--plan",
                "small",
                "--address",
                "10.9.9.9",
            ],
            "is there already",
        ),
        (
            &[
                "subscriber",
                "add",
                "carol",
                "--plan",
                "smal",
                "--address",
                "10.9.9.9",
            ],
            "did you mean \"small\"?",
        ),
        (
            &[
                "subscriber",
                "add",
                "carol",
                "--plan",
                "small",
                "--address",
                "10.1.0.0/24",
            ],
            "overlaps 10.1.0.1/32 of subscriber \"alice\"",
        ),
        (
            &[
                "subscriber",
                "add",
                "carol",
                "--plan",
                "small",
                "--address",
                "10.1.0.9/24",
            ],
            "10.1.0.0/24",
        ),
        (
            &[
                "subscriber",
                "add",
                "ca rol",
                "--plan",
                "small",
                "--address",
                "10.9.9.9",
            ],
            "character ' '",
        ),
    ] {
        let said = format!("{:#}", agent.ask(words).unwrap_err());
        assert!(said.contains(says), "{words:?}: {said}");
    }
    agent.check_order()
}

#[test]
fn a_service_comes_back_at_once_beside_a_crowd() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let crowd: String = (0..20_000)
        .map(|n| format!("\nc{n},basic,active,10.9.{}.{}", n >> 8, n & 255))
        .collect();
    let agent = town::agent(&lab)
        .setting("watch = false")
        .subscribers(&(SUBSCRIBERS.to_owned() + &crowd))
        .start()?;
    let image = agent.status()?["policy_since"].to_string();
    let alice = lab.subscriber("alice").v4();
    let remote = lab.remote(town::INTERNET);
    for _ in 0..5 {
        agent.ask(&["subscriber", "suspend", "alice"])?;
        assert_eq!(ping(&alice, &remote, 1, 72)?, 0);
        agent.ask(&["subscriber", "resume", "alice"])?;
        assert_eq!(ping(&alice, &remote, 1, 72)?, 1);
    }
    assert_eq!(
        agent.status()?["policy_since"].to_string(),
        image,
        "no other image was needed"
    );
    agent.check_order()
}

#[test]
fn what_was_asked_and_cannot_be_any_more_does_not_keep_the_agent_from_starting() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let plan = |agent: &Agent| -> Result<String> {
        Ok(agent.ask_json(&["subscriber", "show", "alice"])?[0]["plan"].to_string())
    };
    agent.ask(&["subscriber", "plan", "alice", "small"])?;
    assert_eq!(plan(&agent)?, "\"small\"");
    // The plan goes, and nobody's line names it.
    let (kept, _) = town::POLICY
        .split_once("[plans.small.buckets]")
        .context("no plan")?;
    agent.write_policy(kept)?;
    agent.write_subscribers("alice,basic,active,10.1.0.1/32 2001:db8:a::/64")?;
    let said = format!("{:#}", agent.reload().unwrap_err());
    assert!(
        said.contains("subscriber \"alice\", as asked by command"),
        "{said}"
    );
    assert_eq!(plan(&agent)?, "\"small\"");
    agent.kill9()?;
    agent.start()?;
    assert_eq!(plan(&agent)?, "\"basic\"");
    // Refusing the reload was in order, too.
    agent.status().map(drop)
}

/// What the API answers to a request with a body: the status line first.
fn post(agent: &Agent, path: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(agent.socket())?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: zerorate\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_request_with_a_field_nobody_knows_is_refused() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    for (path, body) in [
        (
            "/v1/subscribers",
            r#"{"subscriber": "carol", "plan": "small", "addresses": ["10.9.9.9"], "status": "suspended"}"#,
        ),
        (
            "/v1/subscribers/bob/buckets/main/grant",
            r#"{"id": "1", "bytes": 5, "volume": "1GB"}"#,
        ),
    ] {
        let answer = post(&agent, path, body)?;
        assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
        assert!(answer.contains("unknown field"), "{answer}");
    }
    assert_eq!(agent.left("bob", "main")?, 500_000);
    let known = agent.ask_json(&["subscriber", "list"])?;
    assert_eq!(known.len(), 2);
    agent.check_order()
}

#[test]
fn what_is_asked_for_a_later_time_is_done_then() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let clock = Clock::new()?;
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .through(&clock.through())
        .start()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::INTERNET));
    let at = |hours: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        time.to_string()
    };
    for (words, hours) in [
        (["suspend", "alice", "--reason", "unpaid"].as_slice(), 24),
        (&["resume", "alice", "--reason", "paid"], 48),
        (&["plan", "bob", "basic"], 24),
        (&["remove", "bob", "--reason", "moved"], 72),
        (&["suspend", "bob"], 24 * 365),
    ] {
        let time = at(hours);
        let asked = [["subscriber"].as_slice(), words, &["--at", &time]].concat();
        let said = agent.ask_json(&asked)?;
        assert_eq!(said[0]["subscriber"], words[1]);
    }
    let scheduled = agent.ask_json(&["subscriber", "scheduled"])?;
    assert_eq!(scheduled.len(), 5, "{scheduled:#?}");
    let last = scheduled[4]["number"].to_string();
    agent.ask(&["subscriber", "unschedule", &last])?;
    assert_eq!(ping(&alice, &remote, 1, 72)?, 1);
    let look = |agent: &Agent, left: usize| {
        until("what was asked for is done", || {
            Ok(agent.ask_json(&["subscriber", "scheduled"])?.len() == left)
        })
    };
    clock.set("+25h")?;
    look(&agent, 2)?;
    assert_eq!(ping(&alice, &remote, 1, 72)?, 0);
    let bob = agent.ask_json(&["subscriber", "show", "bob"])?;
    assert_eq!(bob[0]["plan"], "basic");
    // By another agent, which was not there at the time.
    agent.kill9()?;
    clock.set("+80h")?;
    agent.start()?;
    look(&agent, 0)?;
    assert_eq!(ping(&alice, &remote, 1, 72)?, 1);
    let said = format!(
        "{:#}",
        agent.ask(&["subscriber", "show", "bob"]).unwrap_err()
    );
    assert!(said.contains("no subscriber"), "{said}");
    let reasons: Vec<String> = agent
        .ask_json(&["record", "list"])?
        .iter()
        .filter(|record| record["kind"] == "state")
        .map(|record| format!("{} {}", record["subscriber"], record["reason"]))
        .collect();
    assert_eq!(
        reasons,
        [
            r#""alice" "unpaid""#,
            r#""bob" null"#,
            r#""alice" "paid""#,
            r#""bob" "moved""#
        ]
    );
    for (words, says) in [
        (
            ["suspend", "alice", "--at", "2020-01-01T00:00:00Z"],
            "has passed",
        ),
        (
            ["suspend", "nobody", "--at", "2099-01-01T00:00:00Z"],
            "no subscriber",
        ),
        (["suspend", "alice", "--at", "tomorrow"], "is no time"),
    ] {
        let asked = [["subscriber"].as_slice(), &words].concat();
        let said = format!("{:#}", agent.ask(&asked).unwrap_err());
        assert!(said.contains(says), "{said}");
    }
    agent.check_order()
}

#[test]
fn what_a_reload_would_do_is_said_before() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let same = agent.ask(&["policy", "diff"])?;
    assert!(same.starts_with("nothing changed"), "{same}");
    agent.write_policy(&town::POLICY.replace(
        "messengers = \"64kB\"\n",
        "messengers = \"64kB\"\ngift = \"1MB\"\n",
    ))?;
    agent.write_subscribers(&SUBSCRIBERS.replace("bob,small,active", "bob,small,suspended"))?;
    let said = agent.ask(&["policy", "diff"])?;
    for line in [
        "a reload would put in force: version ",
        "plan basic: bucket gift of 1 subscriber is created: who has none yet is granted 1MB",
        "1 suspended or resumed",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let shown = agent.ask_json(&["subscriber", "show", "bob"])?;
    assert_eq!(shown[0]["state"], "active", "nothing was done");
    agent.check_order()
}
