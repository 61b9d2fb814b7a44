//! Usage records: whatever happens to a session and to the agent, what they count, and what is not recorded yet, is what
//! was sent.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::records::{Statement, Usage, check_records, check_statements, usage};
use zerorate_tests::soak::kills;
use zerorate_tests::town::{self, POLICY, taken_in, under_load};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

const OFTEN: &str = "[records]\ninterval = \"300ms\"\ncheckpoint = \"100ms\"";
const TOWN: &[&str] = &["alice", "bob"];
/// Nothing is recorded because it is time.
const NEVER: &str = "[records]\ninterval = \"1h\"\ncheckpoint = \"100ms\"";

#[test]
fn whatever_happens_to_a_session_its_records_add_up() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(OFTEN)
        .start()?;
    let other = POLICY.replace("rating_group = 30", "rating_group = 31");
    let flow = taken_in(&lab, || {
        under_load(&town::pairs(&lab), || {
            for round in 0..3 {
                sleep(Duration::from_millis(350));
                agent.ask(&["subscriber", "plan", "alice", "small"])?;
                agent.ask(&["subscriber", "plan", "alice", "basic"])?;
                agent.ask(&["subscriber", "suspend", "bob"])?;
                agent.ask(&["subscriber", "resume", "bob"])?;
                let addresses = ["10.1.0.8/29", "2001:db8:b::/56"].map(|net| ["--address", net]);
                let mut set = vec!["subscriber", "set", "bob"];
                // Without its own IPv4, and with it again.
                set.extend(addresses.concat().iter().skip(2 * (1 - round % 2)));
                agent.ask(&set)?;
                agent.write_policy(if round % 2 == 0 { &other } else { POLICY })?;
                agent.reload()?;
                let id = format!("restart-{round}");
                agent.ask(&["bucket", "restart", "alice", "main", "--id", &id])?;
            }
            Ok(())
        })
    })?;
    assert_eq!(agent.bill()?.sum(|_| true), flow);
    check_statements(&agent, TOWN)?;
    agent.check_order()?;
    agent.sigterm()?;
    agent.start()?;
    check_statements(&agent, TOWN)?;
    agent.check_order()?;
    let records = check_records(&agent, TOWN)?;
    let causes = ["interval", "plan", "state", "reassign", "policy", "restart"];
    for cause in causes {
        let found = records.iter().any(|record| record.cause == cause);
        assert!(found, "no record because of {cause}");
    }
    // Each plan's bytes stand under that plan, and each state's under that state.
    for (subscriber, charged, plan) in [("alice", "messengers", "basic"), ("bob", "main", "small")]
    {
        let wrong = |record: &&Usage| {
            record.subscriber == subscriber && record.charged == charged && record.plan != plan
        };
        assert_eq!(records.iter().find(wrong), None);
    }
    let drawn = |record: &Usage| match &*record.charged {
        "main" | "messengers" => record.bytes_up + record.bytes_down,
        _ => 0,
    };
    let wrong = records
        .iter()
        .find(|record| record.bytes_drawn != drawn(record));
    assert_eq!(wrong, None);
    let ended: Vec<_> = records.iter().filter(|record| record.is_final).collect();
    assert!(
        ended.iter().all(|record| record.cause == "reassign"),
        "{ended:?}"
    );
    Ok(())
}

#[test]
fn killed_at_any_moment_it_records_nothing_twice_and_forgets_nothing() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    kills::run(20, |_| Ok(()))
}

#[test]
fn who_has_left_has_a_last_record_and_a_statement() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(NEVER)
        .start()?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    udp(&bob, &remote, 20, 72)?;
    udp(&bob, &lab.remote(town::GOVERNMENT), 10, 72)?;
    lab.settle()?;
    agent.ask(&["bucket", "debit", "bob", "main", "1kB", "--id", "fee"])?;
    agent.ask(&["subscriber", "suspend", "bob", "--reason", "unpaid"])?;
    udp(&bob, &remote, 5, 72)?;
    lab.settle()?;
    let suspended = Statement::of(&agent, "bob", &[])?;
    assert_eq!(suspended.head["state"], "suspended");
    assert_eq!(suspended.total("packets_up")?, 30.0);
    assert_eq!(suspended.head["total"]["dropped"]["packets_up"], 5);
    agent.ask(&["subscriber", "remove", "bob", "--reason", "moved away"])?;
    let left = Statement::of(&agent, "bob", &[])?;
    assert_eq!(left.head["state"], "removed");
    assert_eq!(left.volumes, suspended.volumes);
    assert_ne!(left.sessions[0]["end"], serde_json::Value::Null);
    let kinds = left.records.iter().map(|record| record["kind"].as_str());
    let kinds: Vec<_> = kinds.flatten().collect();
    assert_eq!(kinds, ["grant", "debit", "state", "state"]);
    until("its last records", || {
        let records = usage(&agent)?;
        let bob = records.iter().filter(|record| record.subscriber == "bob");
        Ok(bob.filter(|record| record.is_final).count() == 3)
    })?;
    // The same for the next agent, and by whom nothing else is known.
    agent.kill9()?;
    agent.start()?;
    let later = Statement::of(&agent, "bob", &[])?;
    assert_eq!(
        (later.volumes, later.sessions),
        (left.volumes, left.sessions)
    );
    let table = agent.ask(&["usage", "--subscriber", "bob"])?;
    for part in [
        "removed",
        "Dropped, not charged",
        "unpaid",
        "debit",
        "government",
        "Asia",
    ] {
        assert_eq!(table.contains(part), part != "Asia", "`{part}` in\n{table}");
    }
    let csv = agent.ask(&["usage", "--subscriber", "bob", "--format", "csv"])?;
    // One for all, one session, three of usage, four of records.
    assert_eq!(csv.lines().count(), 1 + 1 + 1 + 3 + 4, "{csv}");
    let csv = agent.ask(&["record", "list", "--format", "csv"])?;
    assert!(csv.lines().any(|line| line.contains(",leave,")), "{csv}");
    let table = agent.ask(&["record", "list", "--kind", "usage"])?;
    assert!(
        table.contains("government free: ") && !table.contains("debit"),
        "{table}"
    );
    let said = format!(
        "{:#}",
        agent.ask(&["usage", "--subscriber", "nobody"]).unwrap_err()
    );
    assert!(
        said.contains("nothing is known of a subscriber `nobody`"),
        "{said}"
    );
    agent.check_order()
}

#[test]
fn other_counters_are_no_end_of_records() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).section(NEVER).start()?;
    let (bob, remote) = (lab.subscriber("bob").v4(), lab.remote(town::INTERNET));
    let mut expected = Flow::default();
    for packets in [200, 10, 20] {
        expected += taken_in(&lab, || {
            assert_eq!(udp(&bob, &remote, packets, 72)?, packets);
            Ok(())
        })?;
        agent.sigterm()?;
        // As after a reboot: the pins are gone.
        let mut purge = lab.gateway.command(zerorate_tests::agent::binary()?);
        purge
            .args(["detach", "--purge", "--config"])
            .arg(agent.config());
        let purged = purge.output()?;
        assert!(purged.status.success(), "{purged:?}");
        agent.start()?;
    }
    let records = usage(&agent)?;
    let counted = |record: &Usage| record.flow();
    let sum = records
        .iter()
        .map(counted)
        .fold(Flow::default(), |sum, flow| sum + flow);
    assert_eq!(sum, expected);
    assert!(records.iter().all(|record| record.cause == "shutdown"));
    let statement = Statement::of(&agent, "bob", &[])?;
    let volumes: Vec<_> = statement.volumes.into_values().collect();
    assert_eq!(volumes, [expected]);
    // Each with counters of its own; the last one has not used anything.
    assert_eq!(statement.sessions.len(), 4);
    let running = statement
        .sessions
        .iter()
        .filter(|session| session["end"].is_null());
    assert_eq!(running.count(), 1);
    agent.check_order()
}
