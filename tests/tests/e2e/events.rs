//! What packets have to tell beside what they are charged to: buckets that run low and out, first drops, classes used for
//! the first time; each once, whatever becomes of the agent, and never at the price of a byte.

use std::num::NonZero;
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::news::{DATA, FOUR_EVENTS, crowd, everybody_says_something, expect, flood, of};
use zerorate_tests::ping::ping;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

/// Longer than the kernel's tick, to which events are timed.
const TICK: Duration = Duration::from_millis(20);

fn grant(agent: &Agent, id: &str, amount: &str) -> Result<()> {
    let order = ["bucket", "grant", "bob", "main", amount, "--id", id];
    agent.ask(&order).map(drop)
}

#[test]
fn a_bucket_all_cpus_draw_from_runs_low_once_and_out_once_and_again_after_a_grant() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let cpus = available_parallelism().map(NonZero::get)?;
    for wire in lab.wires() {
        wire.set_queues(cpus)?;
    }
    let agent = town::agent(&lab).start()?;
    // 500 packets of 1,000 bytes are paid for.
    flood(&lab, "bob", 900 / cpus)?;
    let mut expected = FOUR_EVENTS.to_vec();
    expect(&agent, "bob", &expected)?;
    for (round, amount) in [(0, "700kB"), (1, "500kB"), (2, "300kB")] {
        grant(&agent, &format!("pay-{round}"), amount)?;
        flood(&lab, "bob", 1500 / cpus)?;
        expected.extend(["low main", "empty main"]);
        expect(&agent, "bob", &expected)?;
    }
    // A grant that does not lift it above the mark makes it run out again, and not low.
    grant(&agent, "pay-less", "50kB")?;
    flood(&lab, "bob", 600 / cpus)?;
    expected.push("empty main");
    expect(&agent, "bob", &expected)?;

    // Packets are whole thousands of bytes, and so are the marks: 80 % of 500 kB leave 100 kB. What ran over is paid by
    // the next grant, so only the first round is to the byte.
    let events = agent.ask_json(&["events", "--subscriber", "bob"])?;
    let left: Vec<_> = events.iter().map(|event| event["left"].as_i64()).collect();
    assert_eq!(left[..4], [None, Some(100_000), Some(0), None]);
    for event in &events {
        let left = event["left"].as_i64().unwrap_or(0);
        match event["event"].as_str() {
            Some("low") => assert!((99_001..=100_000).contains(&left), "{event}"),
            Some("empty") => assert!((-999..=0).contains(&left), "{event}"),
            _ => {}
        }
        assert_eq!(
            (&event["subscriber"], &event["plan"]),
            (&"bob".into(), &"small".into())
        );
    }
    let numbers = events.iter().map(|event| event["seq"].as_u64());
    assert!(numbers.clone().is_sorted() && numbers.clone().all(|seq| seq.is_some()));
    // In the log, too, and nothing of a remote there.
    let log = agent.log();
    let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("a bucket ran out"), 5);
    assert_eq!(lines("a bucket is low"), 4);
    assert_eq!(lines("first packet dropped"), 1);
    assert_eq!(lines("class first used"), 0, "not unless it is asked for");
    assert!(!log.contains(town::INTERNET));
    assert_eq!(agent.status()?["events_lost"], 0);
    agent.check_order()
}

#[test]
fn a_class_is_first_used_once_and_a_subscriber_first_blocked_once() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let alice = lab.subscriber("alice").v4();
    let use_all = || -> Result<()> {
        for remote in [town::GOVERNMENT, town::INTERNET] {
            // Both ways.
            assert_eq!(ping(&alice, &lab.remote(remote), 2, 72)?, 2);
            // Of first packets within one tick of the kernel's, on several CPUs, no order is known.
            sleep(TICK);
        }
        // Out of the bucket, and past it: two meters of one class, in both directions.
        let chat = lab.remote(town::MESSENGERS);
        assert_eq!(udp(&alice, &chat, 40, DATA)?, 40);
        assert_eq!(udp(&chat, &alice, 40, DATA)?, 40);
        lab.settle()
    };
    use_all()?;
    let mut expected = vec![
        "class_first_used government",
        "class_first_used internet",
        "class_first_used messengers",
        "low messengers",
        "empty messengers",
    ];
    expect(&agent, "alice", &expected)?;

    let suspend = ["subscriber", "suspend", "alice"];
    agent.ask(&suspend)?;
    for remote in [town::INTERNET, town::MESSENGERS] {
        assert_eq!(ping(&alice, &lab.remote(remote), 2, 72)?, 0);
    }
    // Essential.
    assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 1, 72)?, 1);
    lab.settle()?;
    expected.push("blocked internet");
    expect(&agent, "alice", &expected)?;
    agent.ask(&["subscriber", "resume", "alice"])?;

    // The next agent knows what was told before, and keeps nothing of it.
    let last = agent.ask_json(&["events"])?.pop().context("no event")?;
    agent.kill9()?;
    agent.start()?;
    use_all()?;
    agent.ask(&suspend)?;
    assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 2, 72)?, 0);
    // Another plan is another row, in which everything is new; other addresses are another session.
    agent.ask(&["subscriber", "resume", "alice"])?;
    agent.ask(&["subscriber", "plan", "alice", "small"])?;
    assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 2, 72)?, 2);
    lab.settle()?;
    expect(&agent, "alice", &["class_first_used government"])?;
    let event = agent.ask_json(&["events"])?.pop().context("no event")?;
    assert_eq!(event["plan"], "small");
    assert!(event["seq"].as_u64() > last["seq"].as_u64());
    agent.check_order()
}

#[test]
fn a_full_ring_loses_events_and_no_byte() -> Result<()> {
    const SUBSCRIBERS: usize = 400;
    if !can_use_namespaces() {
        return Ok(());
    }
    let (lab, list) = crowd(SUBSCRIBERS)?;
    let mut agent = town::agent(&lab)
        .subscribers(&list)
        // For 128 events at most.
        .section("[events]\nring_bytes = 4096\n[records]\ninterval = \"200ms\"")
        .start()?;
    agent.kill9()?;
    everybody_says_something(&lab, SUBSCRIBERS)?;
    agent.start()?;
    let mut told = 0;
    let lost = agent.status()?["events_lost"]
        .as_u64()
        .context("no count")?;
    until("what was kept is told", || {
        told = agent.ask_json(&["events"])?.len() as u64;
        Ok(told + lost >= SUBSCRIBERS as u64)
    })?;
    assert_eq!(told + lost, SUBSCRIBERS as u64);
    // What found room, and what CPUs had noted last: that was told when the next agent asked for it.
    let noted = 32 * available_parallelism().map(NonZero::get)? as u64;
    assert!(
        (100..=128 + noted).contains(&told),
        "{told} were told, {lost} lost"
    );
    // Each of them was counted.
    let bill = agent.bill()?;
    assert_eq!(bill.usage.len(), SUBSCRIBERS);
    let all = bill.sum(|(_, class, charged)| class == "government" && charged == "free");
    assert_eq!(all.up.packets, SUBSCRIBERS as u64);
    let warning = format!("{lost} events were lost");
    until("it is in the log", || Ok(agent.log().contains(&warning)))?;
    let status = agent.ask(&["status"])?;
    assert!(status.contains(&format!("{lost} were lost")), "{status}");
    agent.check_order()
}

#[test]
fn what_happens_while_no_agent_runs_is_told_by_the_next_one() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .section("[events]\nring_bytes = 65536")
        .start()?;
    let alice = lab.subscriber("alice").v4();
    let government = lab.remote(town::GOVERNMENT);
    assert_eq!(ping(&alice, &government, 1, 72)?, 1);
    expect(&agent, "alice", &["class_first_used government"])?;
    // Once into a ring of the same size, once into one that is exchanged.
    agent.kill9()?;
    flood(&lab, "bob", 300)?;
    assert_eq!(ping(&alice, &government, 1, 72)?, 1);
    sleep(Duration::from_millis(100));
    let before = Timestamp::now();
    agent.start()?;
    expect(&agent, "bob", &FOUR_EVENTS)?;
    for event in agent.ask_json(&["events"])? {
        let time: Timestamp = event["time"].as_str().context("no time")?.parse()?;
        assert!(time < before, "{event} was before {before}");
    }
    assert_eq!(of(&agent, "alice")?, [""; 0]);

    agent.sigterm()?;
    assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 1, 72)?, 1);
    agent.configure("ring_bytes = 65536", "ring_bytes = 8192")?;
    agent.start()?;
    expect(&agent, "alice", &["class_first_used internet"])?;
    // And the new ring is the one that is written to.
    let chat = lab.remote(town::MESSENGERS);
    assert_eq!(ping(&alice, &chat, 1, 72)?, 1);
    expect(
        &agent,
        "alice",
        &["class_first_used internet", "class_first_used messengers"],
    )?;
    agent.check_order()
}

#[test]
fn only_what_is_wanted_is_told_and_when_it_is_wanted() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let wanted = "[events]\nlow = 50\nkinds = [\"low\", \"blocked\"]\nlog = [\"blocked\"]";
    let mut agent = town::agent(&lab).section(wanted).start()?;
    flood(&lab, "bob", 300)?;
    expect(&agent, "bob", &["low main", "blocked internet"])?;
    let events = agent.ask_json(&["events"])?;
    assert_eq!(events[0]["left"], 250_000);
    assert!(!agent.log().contains("a bucket is low"));
    // Another mark holds from the next start on; the log has what it is to have.
    agent.sigterm()?;
    agent.configure("low = 50", "low = 90")?;
    agent.configure("log = [\"blocked\"]", "log = [\"low\"]")?;
    agent.start()?;
    grant(&agent, "pay-1", "100kB")?;
    flood(&lab, "bob", 120)?;
    expect(&agent, "bob", &["low main"])?;
    let event = agent.ask_json(&["events"])?.pop().context("no event")?;
    assert!(
        (49_001..=50_000).contains(&event["left"].as_i64().unwrap_or(0)),
        "{event}"
    );
    assert!(agent.log().contains("a bucket is low"));
    agent.check_order()
}
