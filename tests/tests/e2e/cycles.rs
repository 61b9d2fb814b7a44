//! Packages begin anew: by themselves after their cycle, early, or when billing says so; under traffic, over the death of
//! the agent, and whatever the clock does. Nothing is drawn twice or lost.

use anyhow::{Result, ensure};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::balance::{Bucket, busy};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::clock::Clock;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

/// bob's package: 500 kB for fourteen days.
const BOB: Bucket = Bucket {
    subscriber: "bob",
    name: "main",
    granted: 500_000,
};

/// The town's policy, with more to say of bob's plan.
fn policy(terms: &str) -> String {
    let plan = "[plans.small.buckets]";
    town::POLICY.replace(plan, &format!("[plans.small]\n{terms}\n{plan}"))
}

fn agent(lab: &Lab, clock: &Clock, terms: &str) -> Result<Agent> {
    town::agent(lab)
        .policy(&policy(terms))
        .setting("watch = false\ntimezone = \"Asia/Tashkent\"")
        .through(&clock.through())
        .start()
}

/// Waits for so many records of bob's bucket; their kinds and bytes.
fn records(agent: &Agent, count: usize) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    until("records", || {
        found = BOB.records(agent)?;
        Ok(found.len() >= count)
    })?;
    ensure!(found.len() == count, "{found:#?}");
    let show = |record: &Value| {
        let kind = record["kind"].as_str().unwrap_or_default().to_owned();
        (kind, record["bytes"].as_u64().unwrap_or_default())
    };
    Ok(found.iter().map(show).collect())
}

fn of(kind: &str, bytes: u64) -> (String, u64) {
    (kind.to_owned(), bytes)
}

fn until_of(agent: &Agent) -> Result<String> {
    let shown = agent.ask_json(&["subscriber", "show", "bob"])?;
    Ok(shown[0]["cycle_until"].to_string())
}

#[test]
fn a_package_begins_anew_after_its_days() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let clock = Clock::new()?;
    let lab = town::lab().build()?;
    let mut agent = agent(&lab, &clock, "cycle = \"14d\"")?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    let first = until_of(&agent)?;
    udp(&bob, &remote, 600, 972)?;
    lab.settle()?;
    assert_eq!(BOB.left(&agent)?, 0);
    // A minute before, nothing yet; after it all of it, once.
    clock.set("+1209540")?;
    assert_eq!(ping(&bob, &remote, 2, 72)?, 0);
    assert_eq!(BOB.records(&agent)?, Vec::<Value>::new());
    clock.set("+1209660")?;
    assert_eq!(records(&agent, 1)?, [of("grant", 500_000)]);
    assert_eq!(ping(&bob, &remote, 1, 72)?, 1);
    assert_eq!(BOB.left(&agent)?, 499_800);
    let second = until_of(&agent)?;
    assert!(second > first, "{first}, then {second}");
    // What is left is gone with the next one, also where nobody was there to see it end, and two have ended.
    agent.kill9()?;
    clock.set("+43d")?;
    agent.start()?;
    let expired = [
        of("grant", 500_000),
        of("expire", 499_800),
        of("grant", 500_000),
    ];
    assert_eq!(records(&agent, 3)?, expired);
    let third = until_of(&agent)?;
    assert!(third > second, "{second}, then {third}");
    // The clock is set back: nothing begins twice, and no cycle lasts longer than it may.
    clock.set("+2d")?;
    until("the cycle ends when it ought to", || {
        Ok(until_of(&agent)? == first)
    })?;
    assert_eq!(records(&agent, 3)?, expired);
    BOB.check(&agent)
}

#[test]
fn cycles_end_under_traffic_and_nothing_is_lost() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let clock = Clock::new()?;
    let lab = town::lab().build()?;
    let mut agent = agent(&lab, &clock, "cycle = \"1mo\"\noverrun = \"write-off\"")?;
    let pairs = [
        (lab.subscriber("bob").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::INTERNET6)),
    ];
    busy(&pairs, || {
        for month in 1..=6 {
            let before = until_of(&agent)?;
            clock.set(&format!("+{}d", month * 31))?;
            if month % 3 == 0 {
                agent.kill9()?;
                agent.start()?;
            }
            until("the cycle ended", || Ok(until_of(&agent)? > before))?;
            // Early, too.
            let id = format!("early-{month}");
            agent.ask(&["bucket", "restart", "bob", "--id", &id])?;
        }
        Ok(())
    })?;
    lab.settle()?;
    assert!(BOB.drawn(&agent)? > 1_000_000, "nothing raced");
    let forgiven = |record: &Value| record["kind"] == "write_off";
    let overruns = BOB.records(&agent)?;
    assert!(overruns.iter().any(forgiven), "nothing ran over");
    BOB.check(&agent)
}

#[test]
fn an_early_restart_moves_the_date() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let clock = Clock::new()?;
    let lab = town::lab().build()?;
    let agent = agent(&lab, &clock, "cycle = \"14d\"")?;
    let first = until_of(&agent)?;
    clock.set("+5d")?;
    let answer = agent.ask_json(&["bucket", "restart", "bob", "--id", "star-5"])?;
    assert_eq!(
        answer[0]["booked"].to_string(),
        r#"[{"bucket":"main","bytes":500000,"kind":"expire"},{"bucket":"main","bytes":500000,"kind":"grant"}]"#
    );
    let second = until_of(&agent)?;
    assert!(second > first, "{first}, then {second}");
    // The old date is none any more.
    clock.set("+14d")?;
    assert_eq!(
        ping(
            &lab.subscriber("bob").v4(),
            &lab.remote(town::INTERNET),
            3,
            72
        )?,
        3
    );
    assert_eq!(BOB.records(&agent)?.len(), 2);
    clock.set("+20d")?;
    assert_eq!(
        records(&agent, 4)?[2..],
        [of("expire", 499_400), of("grant", 500_000)]
    );
    BOB.check(&agent)
}

#[test]
fn where_billing_renews_packages_lapse_until_it_does() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let clock = Clock::new()?;
    let lab = town::lab().build()?;
    let mut agent = agent(&lab, &clock, "cycle = \"14d\"\nrenew = \"billing\"")?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    assert_eq!(ping(&bob, &remote, 1, 72)?, 1);
    clock.set("+15d")?;
    assert_eq!(records(&agent, 1)?, [of("expire", 499_800)]);
    assert_eq!(ping(&bob, &remote, 1, 72)?, 0);
    assert_eq!(until_of(&agent)?, "null");
    agent.kill9()?;
    clock.set("+40d")?;
    agent.start()?;
    assert_eq!(ping(&bob, &remote, 1, 72)?, 0);
    BOB.order(&agent, "fee-paid", &["restart"])?;
    assert_eq!(ping(&bob, &remote, 1, 72)?, 1);
    assert_ne!(until_of(&agent)?, "null");
    BOB.check(&agent)
}
