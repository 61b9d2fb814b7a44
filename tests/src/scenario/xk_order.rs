//! `xk-order`: on non-payment only what the order names stays open, and grows while people watch; a payment opens the rest.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::deed::{Deed, Family, Place};
use super::stage::{Customer, Stage};
use super::{Narrator, Scenario};
use crate::bill::Flow;
use crate::numbers::grouped;
use crate::records::{Statement, billed};

use Family::{V4, V6};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "xk-order",
    about: "Kosovo, 2020: what a non-payer reaches, a platform added live, payment, the statement",
    play,
};

const BESNIK: &str = "besnik";
const DRITA: &str = "drita";
const CUSTOMERS: [Customer; 2] = [
    (
        BESNIK,
        "monthly",
        "active",
        ["100.80.0.3/32", "2001:db8:8000:300::1/56"],
    ),
    (
        DRITA,
        "package",
        "active",
        ["100.80.0.4/32", "2001:db8:8000:400::1/56"],
    ),
];

const EMERGENCY: Place = Place::new(
    "emergency services",
    "emergency",
    "198.51.100.5",
    "2001:db8:100::5",
);
const LEARNING: Place = Place::new(
    "a learning platform",
    "learning",
    "198.51.100.65",
    "2001:db8:200::5",
);
const RESOLVER: Place = Place::new("resolver", "operator", "192.0.2.53", "2001:db8:53::53");
const PAYMENT: Place = Place::new("payment page", "operator", "192.0.2.97", "2001:db8:96::5");
const ABROAD: Place = Place::new(
    "a site abroad",
    "internet",
    "203.0.113.200",
    "2001:db8:ff::5",
);
const NEWS: Place = Place::new(
    "another site",
    "internet",
    "198.51.100.201",
    "2001:db8:fe::5",
);
/// A platform the ministry names on the way, and a service of an institution: before and after.
const PLATFORM: Place = Place::new(
    "a new platform",
    "internet",
    "203.0.113.65",
    "2001:db8:210::5",
);
const SERVICE: Place = Place::new(
    "a new public service",
    "internet",
    "203.0.113.97",
    "2001:db8:410::5",
);

fn play(narrator: &mut dyn Narrator) -> Result<()> {
    narrator.title("xk-order: what stays open for those who cannot pay")?;
    narrator.scene("The order")?;
    narrator.say("On non-payment service is cut, but for emergency services, teaching over the internet, and services that")?;
    narrator.say("institutions offer. Who pays again has everything again, and what was used is not forgiven.")?;
    narrator.say(
        "The policy is policies/xk-order, as it is; its lists hold documentation addresses.",
    )?;
    let mut stage = Stage::set_up(
        SCENARIO.name,
        &CUSTOMERS,
        narrator,
        // Files are watched, which is the default.
        |agent| {
            agent
                .setting("timezone = \"Europe/Belgrade\"")
                .section("[records]\ninterval = \"1s\"\ncheckpoint = \"100ms\"")
        },
        |_| Ok(()),
    )?;
    suspended(&mut stage)?;
    added(&mut stage)?;
    package(&mut stage)?;
    paid(&mut stage)?;
    statement(&mut stage)?;
    stage.close()
}

/// That nothing but what the order names is open to besnik.
fn closed(stage: &mut Stage<'_>) -> Result<()> {
    stage.attempt(BESNIK, &ABROAD, Deed::Up(V4, 5, 500), "dropped")?;
    stage.attempt(BESNIK, &ABROAD, Deed::Down(V6, 5, 500), "dropped")?;
    stage.attempt(BESNIK, &NEWS, Deed::Down(V4, 5, 500), "dropped")?;
    stage.attempt(BESNIK, &NEWS, Deed::Up(V6, 5, 500), "dropped")
}

fn suspended(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("Besnik does not pay: what the order names answers, nothing else does")?;
    stage.attempt(BESNIK, &ABROAD, Deed::Tcp(V4, 5_000, 100_000), "metered")?;
    let cut = [
        "subscriber",
        "suspend",
        BESNIK,
        "--reason",
        "unpaid since January",
    ];
    stage.ask(&cut)?;
    for (place, charged) in [
        (&EMERGENCY, "metered"),
        (&LEARNING, "free"),
        (&RESOLVER, "free"),
        (&PAYMENT, "free"),
    ] {
        stage.attempt(BESNIK, place, Deed::Echo(V4, 2), charged)?;
        stage.attempt(BESNIK, place, Deed::Echo(V6, 2), charged)?;
    }
    stage.attempt(BESNIK, &LEARNING, Deed::Tcp(V6, 10_000, 500_000), "free")?;
    stage.attempt(BESNIK, &PAYMENT, Deed::Tcp(V4, 10_000, 50_000), "free")?;
    closed(stage)?;
    stage.narrator.say(
        "The text opens learning platforms free; emergency services stay open, and on the bill.",
    )
}

/// Two lists grow by a line while the agent watches them.
fn added(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The ministry names a platform, an institution opens a service: one line each")?;
    let news = [
        (
            PLATFORM,
            "learning",
            "free",
            ["203.0.113.64/28", "2001:db8:210::/48"],
        ),
        (
            SERVICE,
            "institutions",
            "metered",
            ["203.0.113.96/28", "2001:db8:410::/48"],
        ),
    ];
    for (place, class, charged, prefixes) in news {
        stage.attempt(BESNIK, &place, Deed::Up(V4, 3, 200), "dropped")?;
        stage.attempt(BESNIK, &place, Deed::Down(V6, 3, 200), "dropped")?;
        let before = stage.version()?;
        let list = format!("{class}.txt");
        let saved = Instant::now();
        stage.append(&list, &prefixes.join("\n"))?;
        stage.until("the list is in force", |agent| {
            Ok(super::stage::version(agent)? != before)
        })?;
        let took = saved.elapsed().as_secs_f64();
        stage.narrator.say(&format!(
            "{} are saved in {list}; {took:.1} s later they are in force, without a command:",
            prefixes.join(" and ")
        ))?;
        let open = place.now(class);
        stage.attempt(BESNIK, &open, Deed::Echo(V4, 2), charged)?;
        stage.attempt(BESNIK, &open, Deed::Tcp(V6, 5_000, 50_000), charged)?;
    }
    closed(stage)
}

/// Of another plan, and not suspended: a package that is used up.
fn package(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("Drita's package is used up: what is essential outlives it")?;
    stage.order("set", DRITA, "main", "20kB", "small-1")?;
    let both = [("main", 20), ("dropped", 5)];
    stage.split(DRITA, &ABROAD, Deed::Down(V6, 25, 1000), &both)?;
    stage.attempt(DRITA, &EMERGENCY, Deed::Echo(V4, 2), "free")?;
    stage.attempt(DRITA, &LEARNING, Deed::Echo(V6, 2), "free")?;
    stage.attempt(DRITA, &PAYMENT, Deed::Echo(V4, 2), "free")
}

fn paid(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("Besnik pays: everything is back with the next packet")?;
    stage.ask(&[
        "subscriber",
        "resume",
        BESNIK,
        "--reason",
        "paid on the page",
    ])?;
    stage.attempt(BESNIK, &ABROAD, Deed::Up(V4, 10, 500), "metered")?;
    stage.attempt(BESNIK, &ABROAD, Deed::Down(V6, 10, 500), "metered")?;
    stage.attempt(BESNIK, &NEWS, Deed::Tcp(V6, 5_000, 200_000), "metered")?;
    stage.attempt(BESNIK, &LEARNING, Deed::Echo(V4, 2), "free")
}

fn statement(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The statement has what was used while he was suspended, too")?;
    stage.ask(&["usage", "--subscriber", BESNIK])?;
    let statement = Statement::of(&stage.agent, BESNIK, &[])?;
    let billed = billed(&stage.agent, BESNIK)?;
    ensure!(
        statement.volumes == billed,
        "the statement has {:#?}, the bill {billed:#?}",
        statement.volumes
    );
    let states: Vec<_> = statement
        .records
        .iter()
        .filter(|record| record["kind"] == "state")
        .map(|record| record["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    ensure!(
        states == ["unpaid since January", "paid on the page"],
        "changes of state: {states:?}"
    );
    // Records are cut where the state changes, so each has one.
    let records = crate::records::usage(&stage.agent)?;
    let mut suspended = Flow::default();
    for record in &records {
        let used = record.charged != "dropped" && record.state == "suspended";
        if record.subscriber == BESNIK && used {
            suspended += record.flow();
        }
    }
    let bytes = suspended.up.bytes + suspended.down.bytes;
    ensure!(
        bytes > 0,
        "no record of the time he was suspended: {records:#?}"
    );
    stage.narrator.say(&format!(
        "By the records' own state he used {} bytes while suspended; the rest before and after.",
        grouped(bytes)
    ))
}
