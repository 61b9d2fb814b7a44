//! `kz-access-rules`: what the rules ask of accounting on an ordinary day. Statements, the end of prepaid money, service
//! after payment, an outage that is credited, and a limit on the bill.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use super::deed::{Deed, Family, Place};
use super::stage::{Customer, Stage};
use super::{Narrator, Scenario};
use crate::balance::Bucket;
use crate::bill::Flow;
use crate::numbers::grouped;
use crate::records::Statement;
use crate::traffic::{on_every_cpu, udp};

use Family::{V4, V6};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "kz-access-rules",
    about: "Kazakhstan, access rules: the statement, prepaid to its end, payment, an outage credited, a limit",
    play,
};

const PREPAID: &str = "account-1001";
const MONTHLY: &str = "account-1002";
const BLOCKED: &str = "account-1003";
const LIMITED: &str = "account-1004";
const CUSTOMERS: [Customer; 4] = [
    (
        PREPAID,
        "prepaid",
        "active",
        ["100.80.0.2/32", "2001:db8:8000:200::1/56"],
    ),
    (
        MONTHLY,
        "monthly",
        "active",
        ["100.80.0.9/29", "2001:db8:8000:800::1/56"],
    ),
    (
        BLOCKED,
        "monthly",
        "suspended",
        ["100.80.0.3/32", "2001:db8:8000:300::1/56"],
    ),
    (
        LIMITED,
        "monthly-limited",
        "active",
        ["100.80.0.4/32", "2001:db8:8000:400::1/56"],
    ),
];

const FREE: Place = Place::new(
    "a free service",
    "free-services",
    "198.51.100.5",
    "2001:db8:100::5",
);
const PORTAL: Place = Place::new(
    "self-care portal",
    "operator",
    "192.0.2.80",
    "2001:db8:80::5",
);
const SITE: Place = Place::new("a site", "internet", "203.0.113.200", "2001:db8:ff::5");

const BALANCE: Bucket = Bucket {
    subscriber: PREPAID,
    name: "balance",
    granted: 0,
};
/// What 0.20 KZT buy, at 2 KZT a megabyte.
const BOUGHT: i64 = 100_000;
/// A packet that does not go into it evenly.
const PACKET: u64 = 1_400;

fn play(narrator: &mut dyn Narrator) -> Result<()> {
    narrator.title("kz-access-rules: what an operator must account for on an ordinary day")?;
    narrator.scene("The rules")?;
    narrator.say("Time, speed and volume are counted by themselves, and told at any hour (12, 13); prepaid service ends with")?;
    narrator.say("the money, and what runs over need not be paid (48); service returns after payment (19.21); an outage is")?;
    narrator.say("credited (19.11, 50); a subscriber may set a limit on the bill (48).")?;
    narrator.say(
        "The policy is policies/kz-access-rules, as it is; its lists hold documentation addresses.",
    )?;
    let mut stage = Stage::set_up(
        SCENARIO.name,
        &CUSTOMERS,
        narrator,
        |agent| {
            agent
                .setting("watch = false\ntimezone = \"Asia/Almaty\"")
                .section("[records]\ninterval = \"500ms\"\ncheckpoint = \"100ms\"")
        },
        |_| Ok(()),
    )?;
    statement(&mut stage)?;
    prepaid(&mut stage)?;
    payment(&mut stage)?;
    outage(&mut stage)?;
    limit(&mut stage)?;
    BALANCE.check(&stage.agent)?;
    stage.close()
}

/// Waits until everything a subscriber used so far is in records, so that a moment from now on parts it from what follows.
fn recorded(stage: &mut Stage<'_>, who: &str) -> Result<String> {
    stage.until("everything is recorded", |agent| {
        let statement = Statement::of(agent, who, &[])?;
        let time = |value: &serde_json::Value| value.as_str().and_then(|time| time.parse().ok());
        let last: Option<Timestamp> = time(&statement.sessions[0]["last_activity"]);
        let recorded: Option<Timestamp> = time(&statement.head["recorded_until"]);
        Ok(last.is_none() || recorded >= last)
    })?;
    stage.wait(Duration::from_millis(20))?;
    let now = Timestamp::now().to_string();
    stage.wait(Duration::from_millis(20))?;
    Ok(now)
}

/// What a statement has for a class and charge.
fn volume(statement: &Statement, class: &str, charged: &str) -> Flow {
    let key = (class.to_owned(), charged.to_owned());
    statement.volumes.get(&key).copied().unwrap_or_default()
}

fn statement(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The statement: time, speed, volume sent and received")?;
    let from = recorded(stage, MONTHLY)?;
    stage.attempt(MONTHLY, &SITE, Deed::Up(V4, 50, 1000), "metered")?;
    stage.attempt(MONTHLY, &SITE, Deed::Down(V6, 200, 1000), "metered")?;
    stage.attempt(MONTHLY, &FREE, Deed::Down(V4, 100, 1000), "free")?;
    let to = recorded(stage, MONTHLY)?;
    stage.attempt(MONTHLY, &SITE, Deed::Echo(V6, 1), "metered")?;
    stage
        .narrator
        .say("Of the period in which that was sent, without the echo after it:")?;
    stage.ask(&[
        "usage",
        "--subscriber",
        MONTHLY,
        "--from",
        &from,
        "--to",
        &to,
    ])?;
    let statement = Statement::of(&stage.agent, MONTHLY, &["--from", &from, "--to", &to])?;
    let (metered, free) = (
        volume(&statement, "internet", "metered"),
        volume(&statement, "free-services", "free"),
    );
    ensure!(
        metered.up.bytes == 50_000 && metered.down.bytes == 200_000 && free.down.bytes == 100_000,
        "the statement has {:#?}",
        statement.volumes
    );
    ensure!(
        statement.volumes.len() == 2,
        "more than was sent: {:#?}",
        statement.volumes
    );
    let (connected, active) = (
        statement.total("connected_seconds")?,
        statement.total("active_seconds")?,
    );
    ensure!(
        active > 0.0 && active <= connected,
        "active {active} of {connected} s"
    );
    for (average, peak) in [
        ("average_up_bps", "peak_up_bps"),
        ("average_down_bps", "peak_down_bps"),
    ] {
        let (average, peak) = (statement.total(average)?, statement.total(peak)?);
        ensure!(
            average > 0.0 && average <= peak,
            "{average} and at most {peak} bit/s"
        );
    }
    Ok(())
}

fn prepaid(stage: &mut Stage<'_>) -> Result<()> {
    stage.narrator.scene("Prepaid ends with the money")?;
    stage
        .narrator
        .say("0.20 KZT at 2 KZT a megabyte are 100,000 bytes: 71 packets of 1,400 bytes, and one the last of it pays in part.")?;
    stage.order("grant", PREPAID, "balance", "0.20 KZT", "pay-1")?;
    let both = [("balance", 72), ("dropped", 8)];
    stage.split(PREPAID, &SITE, Deed::Down(V4, 80, PACKET), &both)?;
    let left = BALANCE.left(&stage.agent)?;
    ensure!(left == BOUGHT - 72 * 1_400, "{left} bytes are left");
    stage.tell_buckets(PREPAID)?;
    stage.narrator.say(&format!(
        "It ran over by {} bytes, less than a packet. Free services and the portal are still there:",
        grouped(-left)
    ))?;
    stage.attempt(PREPAID, &FREE, Deed::Echo(V6, 2), "free")?;
    stage.attempt(PREPAID, &PORTAL, Deed::Echo(V4, 2), "free")?;
    stage
        .narrator
        .say("The next payment writes it off, and buys all it buys:")?;
    stage.order("grant", PREPAID, "balance", "0.20 KZT", "pay-2")?;
    let written_off = written_off(stage)?;
    ensure!(
        written_off == [-left],
        "written off: {written_off:?}, not {}",
        -left
    );
    let left = BALANCE.left(&stage.agent)?;
    ensure!(left == BOUGHT, "{left} bytes were bought");
    every_cpu(stage)
}

/// Bytes written off so far, in order.
fn written_off(stage: &Stage<'_>) -> Result<Vec<i64>> {
    let records = BALANCE.records(&stage.agent)?;
    let of_it = records
        .iter()
        .filter(|record| record["kind"] == "write_off");
    let bytes = of_it.map(|record| record["bytes"].as_i64().context("no bytes"));
    bytes.collect()
}

/// All processors spend the last of it at once.
fn every_cpu(stage: &mut Stage<'_>) -> Result<()> {
    let (near, far) = stage.ends(PREPAID, &SITE, V6);
    let payload = usize::try_from(PACKET - 48)?;
    let (cpus, grown) = stage.measured(|_| {
        let sent = on_every_cpu(|cpu| match cpu % 2 {
            0 => udp(&near, &far, 100, payload),
            _ => udp(&far, &near, 100, payload),
        })?;
        Ok(sent.len())
    })?;
    let of = |charged: &str| {
        let key = [PREPAID, "internet", charged].map(str::to_owned);
        let flow = grown.get(&key.into()).copied().unwrap_or_default();
        flow.up.bytes + flow.down.bytes
    };
    let (spent, dropped) = (of("balance"), of("dropped"));
    let left = BALANCE.left(&stage.agent)?;
    let overrun = i64::try_from(spent)? - BOUGHT;
    ensure!(
        left == -overrun,
        "{spent} were spent of {BOUGHT}, {left} are left"
    );
    let most = cpus as i64 * PACKET as i64;
    ensure!(
        (0..most).contains(&overrun),
        "it ran over by {overrun} bytes on {cpus} processors"
    );
    ensure!(dropped > 0, "nothing was dropped: {grown:?}");
    stage.narrator.say(&format!(
        "Sent from {cpus} processors at once, {} bytes were charged and {} dropped: it ran over by {} bytes, at most a packet \
         for each.",
        grouped(spent),
        grouped(dropped),
        grouped(overrun)
    ))
}

fn payment(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("Service returns with the payment, from the next packet")?;
    stage.attempt(PREPAID, &SITE, Deed::Up(V4, 3, 500), "dropped")?;
    stage.order("grant", PREPAID, "balance", "10 KZT", "pay-3")?;
    stage.attempt(PREPAID, &SITE, Deed::Up(V4, 3, 500), "balance")?;
    stage.attempt(PREPAID, &SITE, Deed::Tcp(V6, 10_000, 500_000), "balance")?;
    stage
        .narrator
        .say("And for who was suspended until the bill was paid:")?;
    stage.attempt(BLOCKED, &SITE, Deed::Down(V6, 3, 500), "dropped")?;
    stage.attempt(BLOCKED, &PORTAL, Deed::Echo(V4, 2), "free")?;
    stage.ask(&["subscriber", "resume", BLOCKED, "--reason", "bill paid"])?;
    stage.attempt(BLOCKED, &SITE, Deed::Down(V6, 3, 500), "metered")?;
    stage.attempt(BLOCKED, &SITE, Deed::Tcp(V4, 10_000, 100_000), "metered")
}

/// The gateway forwards nothing for a while; what was charged, and how long it was, is in the statement of that time.
fn outage(stage: &mut Stage<'_>) -> Result<()> {
    const PRICE: f64 = 2.0;
    const FEE: f64 = 3_000.0;
    const MONTH: f64 = 30.0 * 24.0 * 3600.0;
    stage
        .narrator
        .scene("An outage by the operator's fault is credited from the records")?;
    stage.attempt(MONTHLY, &SITE, Deed::Echo(V4, 2), "metered")?;
    stage
        .narrator
        .say("Behind zerorate the gateway stops forwarding. The subscriber sends on, and nothing comes of it:")?;
    let from = recorded(stage, MONTHLY)?;
    stage.lab.gateway.set("ipv4/ip_forward", "0")?;
    let (near, far) = stage.ends(MONTHLY, &SITE, V4);
    let lost = stage.other(
        MONTHLY,
        &SITE,
        ("UDP up 40 × 1,000", far.clone()),
        "metered",
        |_| {
            let arrived = udp(&near, &far, 40, 972)?;
            ensure!(arrived == 0, "{arrived} datagrams arrived in the outage");
            Ok("nothing".to_owned())
        },
    );
    stage.wait(Duration::from_secs(1))?;
    let to = recorded(stage, MONTHLY)?;
    stage.lab.gateway.set("ipv4/ip_forward", "1")?;
    let lost = lost?;
    stage.narrator.say("Forwarding is back:")?;
    stage.attempt(MONTHLY, &SITE, Deed::Echo(V4, 2), "metered")?;
    stage.narrator.say("The statement of the time between:")?;
    stage.ask(&[
        "usage",
        "--subscriber",
        MONTHLY,
        "--from",
        &from,
        "--to",
        &to,
    ])?;
    let statement = Statement::of(&stage.agent, MONTHLY, &["--from", &from, "--to", &to])?;
    let charged = volume(&statement, "internet", "metered");
    ensure!(
        charged == lost && charged.up.bytes == 40_000 && charged.down == Flow::default().down,
        "lost {lost:?}, on the statement {:#?}",
        statement.volumes
    );
    let connected = statement.total("connected_seconds")?;
    let span = to.parse::<Timestamp>()?.duration_since(from.parse()?);
    ensure!(
        (connected - span.as_secs_f64()).abs() < 0.01,
        "{connected} s connected in {} s",
        span.as_secs_f64()
    );
    let megabytes = charged.up.bytes as f64 / 1e6;
    stage.narrator.say(&format!(
        "The credit, at {PRICE} KZT a megabyte and {FEE} KZT a month (both assumed): {} bytes sent for nothing, {:.2} KZT, and",
        grouped(charged.up.bytes),
        megabytes * PRICE
    ))?;
    stage.narrator.say(&format!(
        "{connected:.1} of {MONTH} seconds of the month, {:.4} KZT.",
        FEE * connected / MONTH
    ))
}

fn limit(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The limit a subscriber set on the bill")?;
    stage.order("set", LIMITED, "limit", "50kB", "limit-1")?;
    let both = [("metered", 50), ("dropped", 10)];
    stage.split(LIMITED, &SITE, Deed::Down(V4, 60, 1000), &both)?;
    stage.attempt(LIMITED, &FREE, Deed::Echo(V6, 2), "free")?;
    stage.attempt(LIMITED, &PORTAL, Deed::Echo(V4, 2), "free")?;
    let left = stage.agent.left(LIMITED, "limit")?;
    ensure!(left == 0, "{left} bytes are left of the limit");
    stage
        .narrator
        .say("What is on the bill ends at the limit, to the byte. The next month, here begun early, has the same one:")?;
    stage.ask(&["bucket", "restart", LIMITED, "--id", "month-2"])?;
    let left = stage.agent.left(LIMITED, "limit")?;
    ensure!(left == 50_000, "the next month's limit is {left}");
    stage.attempt(LIMITED, &SITE, Deed::Up(V6, 5, 1000), "metered")
}
