//! The agent ends, in whatever way, and another takes over: the kernel counts on, no byte is lost or
//! doubled, and no bucket is granted twice.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::dice::Dice;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, POLICY, SUBSCRIBERS, lines, taken_in, under_load, up, volume};
use zerorate_tests::traffic::udp;

/// Another policy: the internet's address is a messenger's, and they have one bucket more.
fn other_policy() -> String {
    POLICY
        .replace("203.0.113.128/25", "198.51.100.0/25")
        .replace(
            "messengers = \"64kB\"",
            "messengers = \"64kB\"\nextra = \"1MB\"",
        )
        .replace(
            "[\"messengers\", \"metered\"]",
            "[\"messengers\", \"extra\", \"metered\"]",
        )
}

/// Twenty datagrams from alice to an office, and what is counted for them.
fn twenty_datagrams(lab: &Lab) -> Result<Flow> {
    let alice = lab.subscriber("alice").v4();
    assert_eq!(udp(&alice, &lab.remote(town::GOVERNMENT), 20, 72)?, 20);
    lab.settle()?;
    Ok(up(volume(20, 100)))
}

/// That every bucket holds what was granted once, less what was charged to it.
fn check_buckets(agent: &Agent) -> Result<()> {
    let bill = agent.bill()?;
    for (subscriber, bucket, granted) in [
        ("alice", "main", town::MAIN),
        ("alice", "messengers", 64_000),
        ("alice", "extra", 1_000_000),
        ("bob", "main", 500_000),
    ] {
        let drawn = bill.sum(|(owner, _, charged)| owner == subscriber && charged == bucket);
        let drawn = i64::try_from(drawn.up.bytes + drawn.down.bytes)?;
        assert_eq!(
            agent.left(subscriber, bucket)?,
            granted - drawn,
            "{subscriber} {bucket}"
        );
    }
    Ok(())
}

#[test]
fn killed_again_and_again_under_load_it_loses_and_doubles_nothing() -> Result<()> {
    const ROUNDS: usize = 10;
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let pairs = [
        (lab.subscriber("alice").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::GOVERNMENT6)),
    ];
    let policies = [other_policy(), POLICY.to_owned()];
    let mut list = SUBSCRIBERS.to_owned();
    let mut dice = Dice::new();
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for round in 0..ROUNDS {
                // Each start, and each reload, has something to do, and somebody new to grant a bucket to.
                agent.write_policy(&policies[round % 2])?;
                write!(list, "\nc{round},small,active,10.3.0.{round}")?;
                agent.write_subscribers(&list)?;
                if round % 2 == 0 {
                    agent.kill9()?;
                    agent.spawn()?;
                    sleep(dice.time_below(Duration::from_millis(1200)));
                    agent.kill9()?;
                    agent.start()?;
                } else {
                    let mut reload = agent.command(&["policy", "reload", "--socket"]);
                    reload.arg(agent.socket());
                    let mut reload = reload.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
                    sleep(dice.time_below(Duration::from_millis(120)));
                    agent.kill9()?;
                    reload.wait()?;
                    agent.start()?;
                }
            }
            Ok(())
        })
    })?;
    let bill = agent.bill()?;
    assert_eq!(bill.sum(|_| true), flow);
    assert!(bill.unattributed.is_empty(), "{:?}", bill.unattributed);
    check_buckets(&agent)?;
    for round in 0..ROUNDS {
        assert_eq!(agent.left(&format!("c{round}"), "main")?, 500_000);
    }
    agent.check_order()
}

#[test]
fn counting_goes_on_while_there_is_no_agent() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let mut expected = twenty_datagrams(&lab)?;
    let epoch = agent.status()?["epoch"].clone();

    agent.kill9()?;
    expected += twenty_datagrams(&lab)?;
    // The other policy waits for the next agent; until then the old one judges.
    agent.write_policy(&other_policy())?;
    agent.start()?;
    expected += twenty_datagrams(&lab)?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", expected)])
    );

    let ended = agent.sigterm()?;
    assert!(ended.success(), "{ended}");
    assert!(!agent.socket().exists());
    let said = agent.ask(&["status"]).unwrap_err().to_string();
    assert!(said.contains("no agent answers on"), "{said}");
    expected += twenty_datagrams(&lab)?;
    agent.start()?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", expected)])
    );
    assert_eq!(agent.status()?["epoch"], epoch);
    let log = agent.log();
    assert!(
        log.contains("stopped; counting goes on in the kernel"),
        "{log}"
    );
    // Three interfaces, two later agents.
    assert_eq!(log.matches("taken over without a gap").count(), 6, "{log}");
    check_buckets(&agent)?;
    agent.check_order()
}

#[test]
fn told_to_detach_it_keeps_the_counters_and_counts_no_more() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("on_exit = \"detach\"").start()?;
    let mut expected = twenty_datagrams(&lab)?;
    assert_eq!(lab.xdp_programs()?, 3);
    let ended = agent.sigterm()?;
    assert!(ended.success(), "{ended}");
    assert_eq!(lab.xdp_programs()?, 0);
    twenty_datagrams(&lab)?;
    agent.start()?;
    expected += twenty_datagrams(&lab)?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", expected)])
    );
    let log = agent.log();
    assert!(
        log.contains("nothing is counted any more, the counters are kept"),
        "{log}"
    );
    agent.check_order()
}

#[test]
fn an_agent_that_cannot_start_leaves_the_counting_alone() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let mut expected = twenty_datagrams(&lab)?;
    agent.kill9()?;

    // With the versions it had it would start with the last.
    fs::remove_dir_all(agent.home().join("policies"))?;
    agent.write_policy(&POLICY.replace("[classes.internet]", "[classes.other]"))?;
    let said = agent.refusal()?;
    assert!(said.contains("policy.toml:3:17: error: "), "{said}");
    assert_eq!(
        said.matches("policy.toml:3:17").count(),
        1,
        "said once: {said}"
    );
    expected += twenty_datagrams(&lab)?;
    agent.write_policy(POLICY)?;
    agent.write_subscribers("alice,gold,active,10.1.0.1")?;
    let said = agent.refusal()?;
    assert!(said.contains("subscribers.csv:2:7: error: "), "{said}");
    expected += twenty_datagrams(&lab)?;

    agent.write_subscribers(SUBSCRIBERS)?;
    agent.start()?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", expected)])
    );
    agent.check_order()
}

#[test]
fn without_its_ledger_it_refuses_to_touch_the_counters() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let mut expected = twenty_datagrams(&lab)?;
    agent.sigterm()?;
    let kept = agent.home().join("kept");
    fs::create_dir(&kept)?;
    let files = ["ledger.db", "ledger.db-wal", "ledger.db-shm"];
    for file in files {
        let file = agent.home().join(file);
        if let (true, Some(name)) = (file.exists(), file.file_name()) {
            fs::rename(&file, kept.join(name))?;
        }
    }
    // Twice, because the first attempt has left an empty ledger.
    for _ in 0..2 {
        let said = agent.refusal()?;
        for part in [
            "are not those that ledger",
            "start with the ledger they belong to",
            "`zerorate detach --purge`",
        ] {
            assert!(said.contains(part), "no `{part}` in: {said}");
        }
    }
    expected += twenty_datagrams(&lab)?;

    for entry in fs::read_dir(&kept)? {
        let entry = entry?;
        fs::rename(entry.path(), agent.home().join(entry.file_name()))?;
    }
    agent.start()?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", expected)])
    );
    agent.check_order()
}

#[test]
fn with_an_older_ledger_it_refuses_to_go_back() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").start()?;
    let mut expected = twenty_datagrams(&lab)?;
    agent.sigterm()?;
    let ledger = fs::read(agent.ledger())?;
    agent.start()?;
    agent.write_subscribers(&format!("{SUBSCRIBERS}\ncarol,small,active,10.3.0.1"))?;
    agent.reload()?;
    agent.sigterm()?;
    let newer = fs::read(agent.ledger())?;
    fs::write(agent.ledger(), ledger)?;
    let said = agent.refusal()?;
    for part in [
        "this is an older copy of the ledger",
        "`zerorate detach --purge`",
    ] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
    expected += twenty_datagrams(&lab)?;
    fs::write(agent.ledger(), newer)?;
    agent.start()?;
    assert_eq!(agent.left("carol", "main")?, 500_000);
    let counted = lines([("alice", "government", "free", expected)]);
    assert_eq!(agent.bill()?.usage, counted);
    agent.check_order()
}

#[test]
fn purged_counters_begin_anew_and_it_says_so() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    twenty_datagrams(&lab)?;
    let epoch = agent.status()?["epoch"].clone();
    let detach = |arguments: &[&str]| {
        let mut command = lab.gateway.command(zerorate_tests::agent::binary()?);
        command
            .arg("detach")
            .args(arguments)
            .arg("--config")
            .arg(agent.config());
        anyhow::Ok(command.output()?)
    };
    // Not while somebody is counting.
    let refused = detach(&["--purge"])?;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr)?;
    assert!(said.contains("an agent is running on"), "{said}");

    agent.sigterm()?;
    let detach = |arguments: &[&str]| {
        let mut command = lab.gateway.command(zerorate_tests::agent::binary()?);
        command
            .arg("detach")
            .args(arguments)
            .arg("--config")
            .arg(agent.config());
        let output = command.output()?;
        assert!(output.status.success(), "{output:?}");
        anyhow::Ok(String::from_utf8(output.stdout)?)
    };
    let said = detach(&[])?;
    for interface in ["access0", "access1", "core0"] {
        assert!(said.contains(&format!("{interface}: detached")), "{said}");
    }
    assert!(said.contains("counters kept in"), "{said}");
    let said = detach(&["--purge"])?;
    assert!(said.contains("counters purged"), "{said}");
    assert!(!agent.pin_dir().exists());
    let said = detach(&["--purge"])?;
    assert!(said.contains("nothing is pinned in"), "{said}");

    agent.start()?;
    let log = agent.log();
    assert!(
        log.contains("the counters of the last epoch are gone"),
        "{log}"
    );
    assert_ne!(agent.status()?["epoch"], epoch);
    assert!(agent.bill()?.usage.is_empty());
    assert_eq!(agent.left("bob", "main")?, 500_000);
    let expected = twenty_datagrams(&lab)?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", expected)])
    );
    agent.check_order()
}
