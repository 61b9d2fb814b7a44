//! A few subscribers among many change: the image in force takes the change in place, and each packet is still
//! counted under what was before or what is after, once.

use std::fmt::Write as _;

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::ping::ping;
use zerorate_tests::town::{self, SUBSCRIBERS, lines, taken_in, under_load, volume};

/// These subscribers, and a crowd that stays as it is. Its addresses share their first bits with the town's.
fn among_many(subscribers: &str) -> String {
    let mut list = String::from(subscribers);
    for n in 0..300 {
        let (high, low) = (n >> 8, n & 255);
        // Writing to a string does not fail.
        let _ = write!(
            list,
            "\nc{n},basic,active,10.9.{high}.{low} 2001:db8:c:{n:x}::/64"
        );
    }
    list
}

/// When the latest image was published: a change in place leaves it in force.
fn published(agent: &Agent) -> Result<String> {
    Ok(agent.status()?["policy_since"].to_string())
}

#[test]
fn an_address_changes_hands_in_place_under_traffic() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    agent.write_subscribers(&among_many(SUBSCRIBERS))?;
    agent.reload()?;
    let image = published(&agent)?;
    let pairs = [
        (lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT)),
        (lab.subscriber("alice").v6(), lab.remote(town::GOVERNMENT6)),
    ];
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for round in 0..60 {
                // With the same prefixes, and each plan in turn: other rows, other sessions.
                let holder = ["carol,basic", "alice,basic", "carol,small"][round % 3];
                let line = format!("{holder},active,10.1.0.1 2001:db8:a::/64");
                agent.write_subscribers(&among_many(&line))?;
                let said = agent.reload()?;
                assert!(said.starts_with("in force: version"), "{round}: {said}");
            }
            Ok(())
        })
    })?;
    let bill = agent.bill()?;
    let (alice, carol) = (bill.of("alice"), bill.of("carol"));
    assert!(alice.up.packets > 0 && carol.up.packets > 0);
    assert_eq!(alice + carol, flow);
    assert_eq!(bill.sum(|_| true), flow);
    assert_eq!(published(&agent)?, image, "no other image was needed");
    agent.check_order()
}

#[test]
fn an_owner_that_is_suspended_in_place_has_what_is_essential_only() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    agent.write_subscribers(&among_many(SUBSCRIBERS))?;
    agent.reload()?;
    let image = published(&agent)?;
    let alice = lab.subscriber("alice").v4();
    let (internet, offices) = (lab.remote(town::INTERNET), lab.remote(town::GOVERNMENT));
    let suspended = SUBSCRIBERS.replace("alice,basic,active", "alice,basic,suspended");
    for (list, answers) in [
        (SUBSCRIBERS, 2),
        (&suspended, 0),
        (SUBSCRIBERS, 2),
        (&suspended, 0),
    ] {
        agent.write_subscribers(&among_many(list))?;
        agent.reload()?;
        assert_eq!(ping(&alice, &internet, 2, 72)?, answers);
        assert_eq!(ping(&alice, &offices, 1, 72)?, 1);
    }
    assert_eq!(published(&agent)?, image);
    // What was changed in place is what the next agent finds.
    agent.kill9()?;
    agent.start()?;
    assert_eq!(ping(&alice, &internet, 1, 72)?, 0);
    lab.settle()?;
    let both = |packets: usize| {
        let all = volume(packets, 100);
        Flow { up: all, down: all }
    };
    let bill = agent.bill()?;
    let expected = lines([
        ("alice", "government", "free", both(4)),
        ("alice", "internet", "dropped", town::up(volume(5, 100))),
        ("alice", "internet", "main", both(4)),
    ]);
    assert_eq!(bill.usage, expected);
    agent.check_order()
}

#[test]
fn own_prefixes_that_nest_are_one_s_own_in_place() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    agent.write_subscribers(&among_many(SUBSCRIBERS))?;
    agent.reload()?;
    let image = published(&agent)?;
    let bob = lab.subscriber("bob");
    let offices = lab.remote(town::GOVERNMENT);
    let mut echoes = 0;
    // The inner one comes, goes, is left alone, and is covered again.
    for addresses in [
        "10.1.0.8/29 10.1.0.9",
        "10.1.0.8/29",
        "10.1.0.9 10.1.0.14 10.1.0.8/29",
        "10.1.0.9 10.1.0.14",
        "10.1.0.8/29 10.1.0.8/30 10.1.0.14",
    ] {
        agent.write_subscribers(&among_many(&format!("bob,small,active,{addresses}")))?;
        agent.reload()?;
        for address in ["10.1.0.9", "10.1.0.14"] {
            assert_eq!(ping(&bob.at(address), &offices, 1, 72)?, 1, "{addresses}");
            echoes += 1;
        }
    }
    assert_eq!(published(&agent)?, image);
    lab.settle()?;
    let bill = agent.bill()?;
    let all = volume(echoes, 100);
    let flow = Flow { up: all, down: all };
    assert_eq!(bill.usage, lines([("bob", "government", "free", flow)]));
    agent.check_order()
}

#[test]
fn what_has_no_place_in_the_index_is_compiled_anew() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    agent.write_subscribers(&among_many(SUBSCRIBERS))?;
    agent.reload()?;
    let image = published(&agent)?;
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT))];
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            // In the pool; outside what all addresses share; and gone.
            for (line, in_place) in [
                ("dave,basic,active,10.1.0.77", true),
                ("dave,basic,active,10.1.0.64/26", true),
                ("dave,basic,active,100.64.0.1", false),
            ] {
                agent.write_subscribers(&among_many(&format!("{SUBSCRIBERS}\n{line}")))?;
                agent.reload()?;
                assert_eq!(published(&agent)? == image, in_place, "{line}");
            }
            agent.write_subscribers(&among_many(SUBSCRIBERS))?;
            agent.reload().map(drop)
        })
    })?;
    let bill = agent.bill()?;
    assert_eq!(bill.usage, lines([("alice", "government", "free", flow)]));
    assert_eq!(agent.status()?["subscribers"], 302);
    agent.check_order()
}
