//! Money turned into bytes: granted in amounts, drawn in bytes, given back to the last coin, priced anew without a loss; and
//! bills with a limit. With real traffic, and over the end of counters.

use std::fs;

use anyhow::Result;
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::balance::Bucket;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;

const BALANCE: Bucket = Bucket {
    subscriber: "bob",
    name: "balance",
    granted: 0,
};

/// bob pays 630 so'm a megabyte when his package is used up.
fn policy() -> String {
    town::POLICY
        .replace(
            "main = \"500kB\"",
            "main = \"100kB\"\nbalance = { price = \"630 UZS/MB\" }",
        )
        .replace(
            "government = \"free\"\n\"*\" = [\"main\", \"drop\"]\n",
            "government = \"free\"\n\"*\" = [\"main\", \"balance\", \"drop\"]\n",
        )
}

fn agent(lab: &Lab) -> Result<Agent> {
    town::agent(lab)
        .policy(&policy())
        .setting("watch = false")
        .start()
}

/// What is left, as money.
fn amount(agent: &Agent) -> Result<String> {
    let shown = agent.ask_json(&["subscriber", "show", "bob"])?;
    let mut buckets = shown[0]["buckets"].as_array().into_iter().flatten();
    let balance = buckets.find(|bucket| bucket["bucket"] == "balance");
    Ok(balance.map_or(String::new(), |bucket| bucket["amount"].to_string()))
}

#[test]
fn money_is_bytes_until_it_is_money_again() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = agent(&lab)?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    udp(&bob, &remote, 110, 972)?;
    lab.settle()?;
    assert_eq!(
        ping(&bob, &remote, 1, 72)?,
        0,
        "the package is gone, and no money there"
    );
    assert_eq!(amount(&agent)?, "\"0.00 UZS\"");
    let answer = BALANCE.order(&agent, "pay-1", &["grant", "126 UZS"])?;
    assert_eq!(
        (&answer["left"], &answer["left_amount"]),
        (&200_000.into(), &"126.00 UZS".into())
    );
    // Twice is once, and another amount another order.
    BALANCE.order(&agent, "pay-1", &["grant", "126.00 UZS"])?;
    let said = format!(
        "{:#}",
        BALANCE
            .order(&agent, "pay-1", &["grant", "126 EUR"])
            .unwrap_err()
    );
    assert!(
        said.contains("126.00 UZS") && said.contains("126.00 EUR"),
        "{said}"
    );
    let said = format!(
        "{:#}",
        BALANCE
            .order(&agent, "pay-2", &["grant", "126 EUR"])
            .unwrap_err()
    );
    assert!(said.contains("the bucket's price is in UZS"), "{said}");
    assert_eq!(BALANCE.left(&agent)?, 200_000);
    udp(&bob, &remote, 50, 972)?;
    lab.settle()?;
    assert_eq!(amount(&agent)?, "\"94.50 UZS\"");
    // A dearer byte, the same money; on a reload, and by the next agent.
    agent.write_policy(&policy().replace("630", "700"))?;
    agent.reload()?;
    assert_eq!(
        (amount(&agent)?, BALANCE.left(&agent)?),
        ("\"94.50 UZS\"".to_owned(), 135_000)
    );
    agent.kill9()?;
    agent.write_policy(&policy().replace("630", "945"))?;
    agent.start()?;
    assert_eq!(
        (amount(&agent)?, BALANCE.left(&agent)?),
        ("\"94.50 UZS\"".to_owned(), 100_000)
    );
    // A fee, and what is left goes back.
    BALANCE.order(
        &agent,
        "fee-1",
        &["debit", "0.01 UZS", "--reason", "a blocked line's day"],
    )?;
    let back = BALANCE.order(&agent, "end-1", &["return"])?;
    assert_eq!(back["booked"][0]["amount"], "94.49 UZS");
    assert_eq!(
        (BALANCE.left(&agent)?, amount(&agent)?),
        (0, "\"0.00 UZS\"".to_owned())
    );
    assert_eq!(ping(&bob, &remote, 1, 72)?, 0);
    let paid: Vec<String> = BALANCE
        .records(&agent)?
        .iter()
        .map(|record| format!("{} {}", record["kind"], record["amount"]))
        .collect();
    assert_eq!(
        paid,
        [
            r#""grant" "126.00 UZS""#,
            r#""debit" null"#,
            r#""debit" null"#,
            r#""debit" "0.01 UZS""#,
            r#""return" "94.49 UZS""#,
        ]
    );
    let said = format!(
        "{:#}",
        BALANCE.order(&agent, "x", &["restart"]).unwrap_err()
    );
    assert!(said.contains("only packages are restarted"), "{said}");
    BALANCE.check(&agent)
}

#[test]
fn buckets_outlive_the_counters() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = agent(&lab)?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    BALANCE.order(&agent, "pay-1", &["grant", "63 UZS"])?;
    agent.ask(&["subscriber", "suspend", "alice", "--reason", "unpaid"])?;
    udp(&bob, &remote, 120, 972)?;
    lab.settle()?;
    let drawn = BALANCE.drawn(&agent)?;
    assert_eq!((drawn, BALANCE.left(&agent)?), (20_000, 80_000));
    agent.sigterm()?;
    // As after a reboot: the kernel has nothing any more.
    agent.purge()?;
    agent.start()?;
    assert_eq!(BALANCE.left(&agent)?, 80_000);
    assert_eq!(agent.left("bob", "main")?, 0);
    assert_eq!(amount(&agent)?, "\"50.40 UZS\"");
    let alice = lab.subscriber("alice").v4();
    assert_eq!(
        ping(&alice, &remote, 1, 72)?,
        0,
        "who is suspended stays so"
    );
    assert_eq!(ping(&bob, &remote, 1, 72)?, 1);
    // The same order is still the same.
    let again = BALANCE.order(&agent, "pay-1", &["grant", "63 UZS"])?;
    assert_eq!(again["repeated"], true);
    BALANCE.check_with(&agent, drawn)
}

#[test]
fn a_start_that_failed_after_a_reboot_forgets_nothing() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = agent(&lab)?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    BALANCE.order(&agent, "pay-1", &["grant", "63 UZS"])?;
    udp(&bob, &remote, 120, 972)?;
    lab.settle()?;
    agent.sigterm()?;
    agent.purge()?;
    agent.write_policy("name = \"broken\"")?;
    // Nor is there a version that was in force before.
    fs::remove_dir_all(agent.home().join("policies"))?;
    agent.refusal()?;
    // The next one finds counters of the new epoch, and bob not in the file: he has left.
    agent.write_policy(&policy())?;
    let alice = "alice,basic,active,10.1.0.1/32 2001:db8:a::/64";
    agent.write_subscribers(alice)?;
    agent.start()?;
    // What is his is paid back where nobody has a session.
    let back = BALANCE.order(&agent, "refund-1", &["return"])?;
    assert_eq!(back["booked"][0]["amount"], "50.40 UZS");
    BALANCE.order(&agent, "pay-2", &["grant", "6.3 UZS"])?;
    agent.kill9()?;
    agent.start()?;
    agent.write_subscribers(town::SUBSCRIBERS)?;
    agent.reload()?;
    assert_eq!(BALANCE.left(&agent)?, 10_000);
    assert_eq!(agent.left("bob", "main")?, 0);
    assert_eq!(ping(&bob, &remote, 1, 72)?, 1);
    Ok(())
}

#[test]
fn who_was_away_when_the_price_changed_has_the_same_money() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = agent(&lab)?;
    BALANCE.order(&agent, "pay-1", &["grant", "63 UZS"])?;
    agent.write_subscribers("alice,basic,active,10.1.0.1/32 2001:db8:a::/64")?;
    agent.reload()?;
    agent.write_policy(&policy().replace("630", "315"))?;
    agent.reload()?;
    agent.write_subscribers(town::SUBSCRIBERS)?;
    agent.reload()?;
    assert_eq!(
        (amount(&agent)?, BALANCE.left(&agent)?),
        ("\"63.00 UZS\"".to_owned(), 200_000)
    );
    // Money of another currency is what it was; orders in the new one have no price.
    agent.write_policy(&policy().replace("630 UZS", "0.05 USD"))?;
    agent.reload()?;
    assert_eq!(amount(&agent)?, "\"63.00 UZS\"");
    let said = format!(
        "{:#}",
        BALANCE.order(&agent, "x", &["grant", "1 USD"]).unwrap_err()
    );
    assert!(said.contains("the bucket's price is in UZS"), "{said}");
    let back = BALANCE.order(&agent, "back", &["return"])?;
    assert_eq!(back["booked"][0]["amount"], "63.00 UZS");
    // Paid out, it begins anew in the new one.
    let paid = BALANCE.order(&agent, "pay-2", &["grant", "1 USD"])?;
    assert_eq!(
        (&paid["left"], &paid["left_amount"]),
        (&20_000_000.into(), &"1.00 USD".into())
    );
    Ok(())
}

#[test]
fn a_bill_has_the_limit_the_subscriber_set() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let credit = town::POLICY
        .replace(
            "[plans.small.buckets]",
            "[plans.small]\nsettlement = \"credit\"\ncycle = \"1mo\"\n[plans.small.buckets]",
        )
        .replace("main = \"500kB\"", "main = \"100kB\"\nlimit = \"1GB\"")
        .replace(
            "government = \"free\"\n\"*\" = [\"main\", \"drop\"]\n",
            "government = \"free\"\n\"*\" = [\"main\", \"metered\"]\n",
        );
    let mut agent = town::agent(&lab)
        .policy(&credit)
        .setting("watch = false")
        .start()?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    let limit = Bucket {
        subscriber: "bob",
        name: "limit",
        granted: 1_000_000_000,
    };
    limit.order(&agent, "limit-1", &["set", "50kB"])?;
    udp(&bob, &remote, 200, 972)?;
    lab.settle()?;
    let flow = |packets| town::up(town::volume(packets, 1000));
    let expected = town::lines([
        ("bob", "internet", "main", flow(100)),
        ("bob", "internet", "metered", flow(50)),
        ("bob", "internet", "dropped", flow(50)),
    ]);
    assert_eq!(agent.bill()?.usage, expected);
    assert_eq!(limit.left(&agent)?, 0);
    // What is on the bill is what the limit was drawn for.
    agent.sigterm()?;
    agent.start()?;
    let records = agent.ask_json(&["record", "list", "--subscriber", "bob", "--kind", "usage"])?;
    let drawn = |charged: &str| -> u64 {
        let of_it = records.iter().filter(|record| record["charged"] == charged);
        of_it
            .filter_map(|record| record["bytes_drawn"].as_u64())
            .sum()
    };
    assert_eq!(
        (drawn("main"), drawn("metered"), drawn("dropped")),
        (100_000, 50_000, 0)
    );
    // Each cycle has the limit that was set.
    let restarted: Vec<Value> = agent.ask_json(&["bucket", "restart", "bob", "--id", "new"])?;
    let of_limit = |booked: &&Value| booked["bucket"] == "limit";
    let booked = restarted[0]["booked"].as_array().into_iter().flatten();
    let booked: Vec<_> = booked
        .filter(of_limit)
        .map(|one| one["bytes"].clone())
        .collect();
    assert_eq!(booked, [50_000]);
    assert_eq!(ping(&bob, &remote, 1, 72)?, 1);
    let metered = agent.bill()?.sum(|(_, _, charged)| charged == "metered");
    assert_eq!(
        metered,
        Flow {
            up: town::volume(50, 1000),
            ..Flow::default()
        }
    );
    agent.check_order()
}
