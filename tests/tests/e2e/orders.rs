//! What billing does to buckets while packets go on: grants, fees, restarts, with the real agent, which may be killed at
//! any moment. Whatever happens, drawn is what was granted and not taken back or left.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::balance::{Bucket, busy};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::ping::ping;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;

/// bob's bucket is 500 kB by his plan.
const BOB: Bucket = Bucket {
    subscriber: "bob",
    name: "main",
    granted: 500_000,
};

#[test]
fn each_order_counts_once() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let bob = lab.subscriber("bob").v4();
    let remote = lab.remote(town::INTERNET);
    // 600 × 1,000 bytes, of which 500 are paid.
    udp(&bob, &remote, 600, 972)?;
    lab.settle()?;
    assert_eq!(agent.left("bob", "main")?, 0);
    assert_eq!(ping(&bob, &remote, 1, 72)?, 0);

    let answer = BOB.order(
        &agent,
        "pay-1",
        &["grant", "1MB", "--reason", "paid at the desk"],
    )?;
    assert_eq!(
        (&answer["left"], &answer["repeated"]),
        (&1_000_000.into(), &false.into())
    );
    assert_eq!(
        ping(&bob, &remote, 1, 72)?,
        1,
        "granted, and still not served"
    );
    let again = BOB.order(
        &agent,
        "pay-1",
        &["grant", "1MB", "--reason", "paid at the desk"],
    )?;
    assert_eq!(
        (&again["left"], &again["repeated"]),
        (&1_000_000.into(), &true.into())
    );
    assert_eq!(agent.left("bob", "main")?, 1_000_000 - 200);
    // Also by another agent, and one that was killed.
    agent.kill9()?;
    agent.start()?;
    BOB.order(
        &agent,
        "pay-1",
        &["grant", "1MB", "--reason", "paid at the desk"],
    )?;
    assert_eq!(agent.left("bob", "main")?, 1_000_000 - 200);
    // The same id for something else tells both.
    let refused = format!(
        "{:#}",
        BOB.order(&agent, "pay-1", &["grant", "2MB"]).unwrap_err()
    );
    assert!(
        refused.contains(" 1000000 bytes") && refused.contains(" 2000000 bytes"),
        "{refused}"
    );

    BOB.order(&agent, "fee-1", &["debit", "300kB"])?;
    assert_eq!(agent.left("bob", "main")?, 700_000 - 200);
    BOB.order(&agent, "set-1", &["set", "50kB"])?;
    assert_eq!(agent.left("bob", "main")?, 50_000);
    let restarted = BOB.order(&agent, "cycle-1", &["restart"])?;
    assert_eq!(
        restarted["booked"].to_string(),
        r#"[{"bucket":"main","bytes":50000,"kind":"expire"},{"bucket":"main","bytes":500000,"kind":"grant"}]"#
    );
    let returned = BOB.order(&agent, "back-1", &["return"])?;
    assert_eq!(
        (&returned["left"], agent.left("bob", "main")?),
        (&0.into(), 0)
    );
    assert_eq!(ping(&bob, &remote, 1, 72)?, 0);
    lab.settle()?;
    BOB.check(&agent)?;

    for (words, says) in [
        (
            ["bucket", "grant", "bob", "mian", "1MB", "--id", "x"].as_slice(),
            "did you mean \"main\"?",
        ),
        (
            &["bucket", "grant", "bill", "main", "1MB", "--id", "x"],
            "no subscriber \"bill\" is known",
        ),
        (
            &["bucket", "grant", "bob", "main", "0", "--id", "x"],
            "at least 1",
        ),
        (
            &["bucket", "grant", "bob", "main", "1mb", "--id", "x"],
            "did you mean \"MB\"?",
        ),
        (
            &[
                "bucket",
                "grant",
                "bob",
                "main",
                "9300000000GB",
                "--id",
                "x",
            ],
            "it is more than",
        ),
        (
            &["bucket", "grant", "bob", "main", "1MB", "--id", "a b"],
            "printable ASCII",
        ),
    ] {
        let said = format!("{:#}", agent.ask(words).unwrap_err());
        assert!(said.contains(says), "{words:?}: {said}");
    }
    BOB.check(&agent)
}

#[test]
fn orders_race_with_traffic_and_with_the_agent_s_death() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let pairs = [
        (lab.subscriber("bob").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::INTERNET6)),
    ];
    let mut orders = 0;
    busy(&pairs, || {
        for round in 0..12 {
            for action in [
                ["grant", "400kB"].as_slice(),
                &["restart"],
                &["debit", "10kB"],
                &["set", "90kB"],
                &["grant", "1MB"],
            ] {
                orders += 1;
                BOB.order(&agent, &format!("{round}-{orders}"), action)?;
            }
            match round % 4 {
                1 => {
                    // In the middle of an order, as often as not.
                    let id = format!("killed-{round}");
                    let mut asked = agent
                        .command(&["bucket", "grant", "bob", "main", "70kB", "--id", &id])
                        .stdout(std::process::Stdio::null())
                        .stderr(std::process::Stdio::null())
                        .spawn()?;
                    thread::sleep(Duration::from_millis(3 * round));
                    agent.kill9()?;
                    asked.wait()?;
                    agent.start()?;
                    // Whether it was followed or not: now it was, once.
                    BOB.order(&agent, &id, &["grant", "70kB"])?;
                }
                2 => {
                    agent.ask(&["subscriber", "plan", "bob", "basic"])?;
                    agent.ask(&["subscriber", "plan", "bob", "small"])?;
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    lab.settle()?;
    assert!(BOB.drawn(&agent)? > 1_000_000, "nothing raced");
    let followed = agent.ask_json(&["record", "list", "--subscriber", "bob"])?;
    let all = agent.ask_json(&["record", "list"])?;
    let gap = (1..).zip(&all).find(|(seq, record)| record["seq"] != *seq);
    assert_eq!(gap, None, "a number is missing");
    let killed = followed.iter().filter(|record| {
        record["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("killed"))
    });
    assert_eq!(killed.count(), 3, "each once");
    BOB.check(&agent)
}

#[test]
fn a_bucket_the_plan_has_not_granted_takes_no_orders() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let without = town::POLICY.replace("messengers = \"64kB\"", "").replace(
        "messengers = [\"messengers\", \"metered\"]",
        "messengers = \"metered\"",
    );
    agent.write_policy(&without)?;
    agent.reload()?;
    let add = [
        "subscriber",
        "add",
        "carol",
        "--plan",
        "basic",
        "--address",
        "10.9.9.9",
    ];
    agent.ask(&add)?;
    let grant = [
        "bucket",
        "grant",
        "carol",
        "messengers",
        "1GB",
        "--id",
        "early",
    ];
    let said = format!("{:#}", agent.ask(&grant).unwrap_err());
    assert!(said.contains("no bucket \"messengers\""), "{said}");
    agent.write_policy(town::POLICY)?;
    agent.reload()?;
    assert_eq!(agent.left("carol", "messengers")?, 64_000);
    agent.ask(&grant)?;
    assert_eq!(agent.left("carol", "messengers")?, 1_000_064_000);
    agent.check_order()
}
