//! Usage by the hour and by the day: whatever happens to the agent, each record is in one hour and in one day, also when the
//! record itself is gone.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::api::ask;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::clock::Clock;
use zerorate_tests::dice::Dice;
use zerorate_tests::records::{Statement, Usage, usage};
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, POLICY, taken_in, under_load};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

/// Subscriber, plan, class, charge, version of the policy.
type Key = [String; 5];

/// Records; bytes and packets up, bytes and packets down, drawn.
type Volume = [u64; 6];

const KEYS: [&str; 5] = ["subscriber", "plan", "class", "charged", "policy_version"];
const COUNTS: [&str; 6] = [
    "records",
    "bytes_up",
    "packets_up",
    "bytes_down",
    "packets_down",
    "bytes_drawn",
];

/// What roll-ups add up to over all periods.
fn sums(rows: &[Value]) -> Result<BTreeMap<Key, Volume>> {
    let mut sums: BTreeMap<Key, Volume> = BTreeMap::new();
    for row in rows {
        let sum = sums
            .entry(KEYS.map(|key| row[key].as_str().unwrap_or_default().to_owned()))
            .or_default();
        for (sum, name) in sum.iter_mut().zip(COUNTS) {
            *sum += row[name]
                .as_u64()
                .with_context(|| format!("{name}: {row}"))?;
        }
    }
    Ok(sums)
}

/// What records add up to.
fn of_records(records: &[Usage]) -> BTreeMap<Key, Volume> {
    let mut sums: BTreeMap<Key, Volume> = BTreeMap::new();
    for record in records {
        let key = [
            record.subscriber.clone(),
            record.plan.clone(),
            record.class.clone(),
            record.charged.clone(),
            record.policy_version.clone(),
        ];
        let counts = [
            1,
            record.bytes_up,
            record.packets_up,
            record.bytes_down,
            record.packets_down,
            record.bytes_drawn,
        ];
        for (sum, count) in sums.entry(key).or_default().iter_mut().zip(counts) {
            *sum += count;
        }
    }
    sums
}

/// Waits until all records are in them.
fn settled(agent: &Agent) -> Result<()> {
    until("all records are rolled up", || {
        let metrics = ask::<&str>(agent, "/metrics", &[])?.text();
        Ok(metrics.contains("\nzerorate_rollup_lag_records 0"))
    })
}

fn sound(agent: &Agent) -> Result<Value> {
    let config = agent.config().display().to_string();
    let verify = ["ledger", "verify", "--format", "json", "--config", &config];
    let output = agent.command(&verify).output()?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    assert!(output.status.success(), "{found}");
    Ok(found)
}

/// All of them, in pages of a few rows.
fn paged(agent: &Agent, query: &str) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/usage/rollup?{query}&limit=5{after}");
        let page = ask::<&str>(agent, &path, &[])?;
        rows.extend(page.json()?.as_array().context("no array")?.clone());
        match page.header("zerorate-next-after") {
            "" => return Ok(rows),
            next => after = format!("&after={next}"),
        }
    }
}

#[test]
fn killed_at_any_moment_hours_and_days_are_what_records_add_up_to_and_outlive_them() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .setting("timezone = \"Asia/Almaty\"")
        .section(
            "[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"\noriginals = \"14 days\"\nretention = \"2 years\"",
        )
        .start()?;
    let mut dice = Dice::new();
    let flow = taken_in(&lab, || {
        under_load(&town::pairs(&lab), || {
            let points = [
                "before roll-ups are committed",
                "after roll-ups are committed",
                "before roll-ups are committed:3",
                "",
                "",
            ];
            for (round, point) in points.into_iter().enumerate() {
                agent.ask(&["subscriber", "plan", "alice", ["small", "basic"][round % 2]])?;
                let group = format!("rating_group = 3{round}");
                agent.write_policy(&POLICY.replace("rating_group = 30", &group))?;
                agent.reload()?;
                sleep(dice.time_below(Duration::from_millis(1_500)));
                agent.kill9()?;
                if !point.is_empty() {
                    // It ends itself.
                    agent.spawn_with(&[("ZERORATE_FAULT", point)])?;
                    agent.wait()?;
                }
                agent.start()?;
            }
            Ok(())
        })
    })?;
    assert_eq!(agent.bill()?.sum(|_| true), flow);
    // The last records are written when it is told to stop, and rolled up by the next.
    agent.sigterm()?;
    agent.start()?;
    settled(&agent)?;
    let records = usage(&agent)?;
    let expected = of_records(&records);
    assert!(expected.len() > 6, "{expected:#?}");
    for span in ["hour", "day"] {
        let told = agent.ask_json(&["usage", "--by", span])?;
        assert_eq!(sums(&told)?, expected, "{span}");
        let paged = paged(&agent, &format!("span={span}"))?;
        assert_eq!(paged, told, "{span}");
        let timezone = |row: &Value| row["timezone"] == "Asia/Almaty" && row["span"] == span;
        assert!(told.iter().all(timezone), "{told:#?}");
        // The highest rate of a subscriber is that of its records.
        for subscriber in ["alice", "bob"] {
            let statement = Statement::of(&agent, subscriber, &[])?;
            let mut of_it = told.iter().filter(|row| row["subscriber"] == subscriber);
            let peak = of_it
                .clone()
                .filter_map(|row| row["peak_down_bps"].as_u64())
                .max();
            assert_eq!(peak, statement.head["total"]["peak_down_bps"].as_u64());
            let of_one = agent.ask_json(&["usage", "--by", span, "--subscriber", subscriber])?;
            assert!(of_one.iter().all(|row| of_it.any(|one| one == row)));
            assert!(!of_one.is_empty());
        }
    }
    // Of a class, of a charge, over everybody.
    let whole = agent.ask_json(&["usage", "--by", "day", "--sum"])?;
    let free = agent.ask_json(&[
        "usage",
        "--by",
        "day",
        "--class",
        "government",
        "--charged",
        "free",
    ])?;
    let bytes = |rows: &[Value]| {
        rows.iter()
            .filter_map(|row| row["bytes_up"].as_u64())
            .sum::<u64>()
    };
    let recorded = |wanted: &dyn Fn(&&Usage) -> bool| {
        let found = records.iter().filter(wanted);
        found.map(|record| record.bytes_up).sum::<u64>()
    };
    assert_eq!(bytes(&whole), recorded(&|_| true));
    assert_eq!(
        bytes(&free),
        recorded(&|record| record.class == "government")
    );
    let csv = agent.ask(&["usage", "--by", "hour", "--format", "csv"])?;
    assert_eq!(
        csv.lines().count(),
        1 + agent.ask_json(&["usage", "--by", "hour"])?.len()
    );
    assert!(
        csv.starts_with("span,period,start,end,timezone,subscriber,"),
        "{csv}"
    );
    assert!(agent.ask(&["usage", "--by", "day"])?.contains("alice"));
    let nothing = agent.ask_json(&["usage", "--by", "day", "--to", "2020-01-01"])?;
    assert_eq!(nothing, [Value::Null; 0]);
    for (query, status) in [
        ("span=week", 400),
        ("span=day&after=x", 422),
        ("span=day&from=yesterday", 422),
        ("span=day&sum=true&subscriber=alice", 422),
        ("", 400),
    ] {
        let reply = ask::<&str>(&agent, &format!("/v1/usage/rollup?{query}"), &[])?;
        assert_eq!(reply.status, status, "{query}");
    }
    let through = records.last().context("nothing is recorded")?.seq;
    assert!(sound(&agent)?["rolled_through"].as_u64() >= Some(through));

    // Another time zone, and no originals any more.
    agent.sigterm()?;
    agent.configure("14 days", "1s")?;
    agent.configure("2 years", "2s")?;
    agent.configure("Asia/Almaty", "Asia/Kathmandu")?;
    agent.start()?;
    settled(&agent)?;
    let socket = agent.socket().display().to_string();
    let prune = [
        "ledger",
        "prune",
        "--retention",
        "--yes",
        "--reason",
        "over",
        "--socket",
        &socket,
    ];
    until("they are pruned", || {
        agent.command(&prune).output()?;
        Ok(sound(&agent)?["pruned_until"].as_u64() >= Some(through))
    })?;
    let left = usage(&agent).is_err()
        || agent
            .ask_json(&["record", "list", "--kind", "usage"])?
            .is_empty();
    assert!(left, "records are left");
    let days = agent.ask_json(&["usage", "--by", "day"])?;
    let (before, after): (Vec<_>, Vec<_>) = days
        .into_iter()
        .partition(|row| row["timezone"] == "Asia/Almaty");
    assert_eq!(sums(&before)?, expected);
    assert!(after.iter().all(|row| row["timezone"] == "Asia/Kathmandu"));
    Ok(())
}

/// A ledger of a version that had no roll-ups is caught up with.
#[test]
fn what_was_recorded_before_there_were_roll_ups_is_added() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"")
        .start()?;
    under_load(&town::pairs(&lab), || {
        sleep(Duration::from_millis(700));
        Ok(())
    })?;
    lab.settle()?;
    agent.sigterm()?;
    let tables = ["", "_state", "_zone", "_period", "_subscriber", "_label"];
    let drop = tables
        .map(|table| format!("DROP TABLE rollup{table};"))
        .concat();
    let dropped = Command::new("python3")
        .args([
            "-c",
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])",
        ])
        .arg(agent.ledger())
        .arg(drop)
        .output()?;
    assert!(dropped.status.success(), "{dropped:?}");
    agent.start()?;
    settled(&agent)?;
    let expected = of_records(&usage(&agent)?);
    assert!(!expected.is_empty());
    for span in ["hour", "day"] {
        let told = agent.ask_json(&["usage", "--by", span])?;
        assert_eq!(sums(&told)?, expected, "{span}");
    }
    sound(&agent)?;
    Ok(())
}

const DAY: i64 = 86_400;

/// Tomorrow, whatever time it is, by a clock of the test's own.
struct Eve {
    clock: Clock,
    /// When it ends, in seconds.
    midnight: i64,
}

impl Eve {
    /// Noon of it.
    fn new() -> Result<Self> {
        let eve = Self {
            clock: Clock::new()?,
            midnight: (Timestamp::now().as_second().div_euclid(DAY) + 2) * DAY,
        };
        eve.set_before_midnight(DAY / 2)?;
        Ok(eve)
    }

    /// Time enough for some packets, also on a machine that has much to do.
    fn is_nearly_over(&self) -> Result<()> {
        self.set_before_midnight(8)
    }

    fn set_before_midnight(&self, seconds: i64) -> Result<()> {
        let ahead = self.midnight - seconds - Timestamp::now().as_second();
        self.clock.set(&format!("+{ahead}"))
    }

    fn agent(&self, lab: &Lab, checkpoint: &str) -> Result<Agent> {
        town::agent(lab)
            .through(&self.clock.through())
            .setting("watch = false")
            .section(&format!(
                "[records]\ninterval = \"1h\"\ncheckpoint = \"{checkpoint}\""
            ))
            .start()
    }
}

/// They used to end when they were read, a moment later, and counted for the next day.
#[test]
fn what_passes_before_midnight_counts_for_the_day_that_ends() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let eve = Eve::new()?;
    let lab = town::lab().build()?;
    let agent = eve.agent(&lab, "100ms")?;
    eve.is_nearly_over()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT));
    udp(&alice, &remote, 20, 72)?;
    lab.settle()?;
    until("the day has ended", || {
        let records = agent.ask_json(&["record", "list", "--kind", "usage"])?;
        Ok(records.iter().any(|record| record["cause"] == "midnight"))
    })?;
    settled(&agent)?;
    let records = usage(&agent)?;
    let last = records.iter().rfind(|record| record.cause == "midnight");
    let end = last.context("there is none")?.end;
    assert_eq!(
        end.as_nanosecond() % (i128::from(DAY) * 1_000_000_000),
        0,
        "{end}"
    );
    let days = agent.ask_json(&["usage", "--by", "day"])?;
    assert_eq!(sums(&days)?, of_records(&records));
    for day in &days {
        assert_eq!(day["end"], end.to_string(), "{day}");
    }
    // The statement of that day, too.
    let (from, to) = (
        (end - SignedDuration::from_hours(24)).to_string(),
        end.to_string(),
    );
    let statement = Statement::of(&agent, "alice", &["--from", &from, "--to", &to])?;
    assert_eq!(statement.head["total"]["packets_up"], 20);
    Ok(())
}

/// What comes at midnight sharp comes after the last records of the day, whoever has the node first then.
#[test]
fn who_changes_at_midnight_has_used_until_then_what_was_used_until_then() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let eve = Eve::new()?;
    let lab = town::lab().build()?;
    // Looks are rare, so that midnight is when they are not.
    let agent = eve.agent(&lab, "3s")?;
    let at = Timestamp::from_second(eve.midnight)?.to_string();
    agent.ask(&["subscriber", "suspend", "alice", "--at", &at])?;
    agent.ask(&["subscriber", "plan", "bob", "basic", "--at", &at])?;
    eve.is_nearly_over()?;
    let remote = lab.remote(town::GOVERNMENT);
    for subscriber in ["alice", "bob"] {
        udp(&lab.subscriber(subscriber).v4(), &remote, 20, 72)?;
    }
    lab.settle()?;
    until("what was to come at midnight has come", || {
        Ok(agent.ask_json(&["subscriber", "scheduled"])?.is_empty())
    })?;
    until("all is recorded", || Ok(usage(&agent)?.len() >= 2))?;
    settled(&agent)?;
    for record in usage(&agent)? {
        let end = record.end.as_second();
        assert!(
            end <= eve.midnight && record.end.subsec_nanosecond() == 0,
            "{record:?}"
        );
    }
    Ok(())
}
