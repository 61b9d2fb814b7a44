//! What billing and operators do while packets go on: grants, fees, restarts, suspensions, plans, with the real agent,
//! which may be killed at any moment. Whatever happens, drawn is what was granted and not taken back or left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::netns::Endpoint;
use zerorate_tests::ping::ping;
use zerorate_tests::town::{self, SUBSCRIBERS, lines, taken_in, volume};
use zerorate_tests::traffic::udp;

/// What a command prints, a JSON object a line.
fn json(agent: &Agent, arguments: &[&str]) -> Result<Vec<Value>> {
    let mut all = arguments.to_vec();
    all.extend(["--format", "json"]);
    let said = agent.ask(&all)?;
    said.lines()
        .map(|line| serde_json::from_str(line).context(line.to_owned()))
        .collect()
}

/// An order on bob's `main`.
fn order(agent: &Agent, id: &str, words: &[&str]) -> Result<Value> {
    let [action, amount @ ..] = words else {
        anyhow::bail!("no action");
    };
    let mut arguments = vec!["bucket", action, "bob", "main"];
    arguments.extend(amount);
    arguments.extend(["--id", id]);
    json(agent, &arguments)?.pop().context("no answer")
}

/// What was booked of a subscriber's bucket in all: granted and written off, less everything taken back.
fn booked(agent: &Agent, subscriber: &str, bucket: &str) -> Result<i128> {
    let mut sum = 0;
    for record in json(agent, &["record", "list", "--subscriber", subscriber])? {
        if record["bucket"] != bucket {
            continue;
        }
        let bytes = i128::from(record["bytes"].as_u64().context("no bytes")?);
        sum += match record["kind"].as_str() {
            Some("grant" | "write_off") => bytes,
            Some("debit" | "return" | "expire") => -bytes,
            kind => anyhow::bail!("a record of kind {kind:?}"),
        };
    }
    Ok(sum)
}

fn drawn(agent: &Agent, subscriber: &str, bucket: &str) -> Result<u64> {
    let bill = agent.bill()?;
    let flow = bill.sum(|(of, _, charged)| of == subscriber && charged == bucket);
    Ok(flow.up.bytes + flow.down.bytes)
}

/// Does something while datagrams leave for each pair's second end all the time, whatever becomes of them.
fn busy(pairs: &[(Endpoint, Endpoint)], work: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let senders: Vec<_> = pairs
            .iter()
            .map(|(from, to)| {
                scope.spawn(move || -> Result<()> {
                    while !done.load(Ordering::Relaxed) {
                        udp(from, to, 500, 972)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let worked = work();
        done.store(true, Ordering::Relaxed);
        for sender in senders {
            sender
                .join()
                .map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        worked
    })
}

/// bob's bucket is 500 kB by his plan.
const BY_PLAN: i128 = 500_000;

fn check_equation(agent: &Agent) -> Result<()> {
    let left = i128::from(agent.left("bob", "main")?);
    let drawn = i128::from(drawn(agent, "bob", "main")?);
    let booked = booked(agent, "bob", "main")?;
    ensure!(
        drawn == BY_PLAN + booked - left,
        "{drawn} were drawn, {booked} booked beside the plan's grant, {left} are left"
    );
    agent.check_order()
}

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

    let answer = order(
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
    let again = order(
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
    order(
        &agent,
        "pay-1",
        &["grant", "1MB", "--reason", "paid at the desk"],
    )?;
    assert_eq!(agent.left("bob", "main")?, 1_000_000 - 200);
    // The same id for something else tells both.
    let refused = format!(
        "{:#}",
        order(&agent, "pay-1", &["grant", "2MB"]).unwrap_err()
    );
    assert!(
        refused.contains("\"bytes\":1000000") && refused.contains("\"bytes\":2000000"),
        "{refused}"
    );

    order(&agent, "fee-1", &["debit", "300kB"])?;
    assert_eq!(agent.left("bob", "main")?, 700_000 - 200);
    order(&agent, "set-1", &["set", "50kB"])?;
    assert_eq!(agent.left("bob", "main")?, 50_000);
    let restarted = order(&agent, "cycle-1", &["restart"])?;
    assert_eq!(
        restarted["booked"].to_string(),
        r#"[{"bytes":50000,"kind":"expire"},{"bytes":500000,"kind":"grant"}]"#
    );
    let returned = order(&agent, "back-1", &["return"])?;
    assert_eq!(
        (&returned["left"], agent.left("bob", "main")?),
        (&0.into(), 0)
    );
    assert_eq!(ping(&bob, &remote, 1, 72)?, 0);
    lab.settle()?;
    check_equation(&agent)?;

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
    check_equation(&agent)
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
                order(&agent, &format!("{round}-{orders}"), action)?;
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
                    order(&agent, &id, &["grant", "70kB"])?;
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
    assert!(drawn(&agent, "bob", "main")? > 1_000_000, "nothing raced");
    let followed = json(&agent, &["record", "list", "--subscriber", "bob"])?;
    let seqs: Vec<_> = followed
        .iter()
        .map(|record| record["seq"].as_u64())
        .collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    let killed = followed.iter().filter(|record| {
        record["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("killed"))
    });
    assert_eq!(killed.count(), 3, "each once");
    check_equation(&agent)
}

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
    let said = json(
        &agent,
        &["subscriber", "suspend", "alice", "--reason", "unpaid"],
    )?;
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
    json(
        &agent,
        &["subscriber", "resume", "alice", "--reason", "paid"],
    )?;
    look(&agent)?;
    json(&agent, &["subscriber", "suspend", "alice"])?;
    look(&agent)?;
    // Her line says something new, and wins; that bob changed with it is no matter.
    agent.write_subscribers(&SUBSCRIBERS.replace("alice,basic", "alice,small"))?;
    agent.reload()?;
    look(&agent)?;
    assert_eq!(
        answers,
        [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (1, 1)]
    );
    let states: Vec<String> = json(&agent, &["record", "list", "--subscriber", "alice"])?
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
        let removed = json(
            &agent,
            &["subscriber", "remove", "bob", "--reason", "moved away"],
        )?;
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
    let begun = Instant::now();
    agent.ask(&["subscriber", "suspend", "alice"])?;
    println!(
        "suspended in {:?}, the command's start included",
        begun.elapsed()
    );
    assert_eq!(
        agent.status()?["policy_since"].to_string(),
        image,
        "no other image was needed"
    );
    agent.check_order()
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

#[test]
fn what_was_asked_and_cannot_be_any_more_does_not_keep_the_agent_from_starting() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let plan = |agent: &Agent| -> Result<String> {
        Ok(json(agent, &["subscriber", "show", "alice"])?[0]["plan"].to_string())
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
