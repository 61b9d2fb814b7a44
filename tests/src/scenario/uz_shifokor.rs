//! `uz-shifokor`: the doctors' tariff. Special packages that work only while there is a main package or money, a price
//! per megabyte after them, and packages that are given anew.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;

use super::deed::{Deed, Family, Place};
use super::stage::{Customer, Stage, append};
use super::{Narrator, Scenario};
use crate::balance::Bucket;
use crate::clock::Clock;
use crate::frames::{Frame, Ipv4, Ipv6, Payload};
use crate::netns::Endpoint;
use crate::raw::send_frames;
use crate::topology::Lab;

use Family::{V4, V6};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "uz-shifokor",
    about: "Uzbekistan, the doctors' tariff: packages, a gate, 630 so'm a megabyte, VPN, early restart",
    play,
};

const TIME_ZONE: &str = "Asia/Tashkent";
const DOCTOR: &str = "doctor-1";
const CUSTOMERS: [Customer; 1] = [(
    DOCTOR,
    "shifokor",
    "active",
    ["100.80.0.1/32", "2001:db8:8000:200::1/64"],
)];

const MESSENGER: Place = Place::new(
    "a messenger",
    "messengers",
    "203.0.113.65",
    "2001:db8:30::5",
);
const SOCIAL: Place = Place::new(
    "a social network",
    "social",
    "203.0.113.81",
    "2001:db8:40::5",
);
const TASIX: Place = Place::new(
    "a site on TAS-IX",
    "tasix",
    "203.0.113.97",
    "2001:db8:50::5",
);
const STATE: Place = Place::new(
    "a state portal",
    "government",
    "203.0.113.113",
    "2001:db8:10::5",
);
const IMPORTANT: Place = Place::new("section 3", "government", "198.51.100.5", "2001:db8:100::5");
const PAYMENT: Place = Place::new("payment page", "operator", "192.0.2.97", "2001:db8:96::5");
const ABROAD: Place = Place::new(
    "a site abroad",
    "internet",
    "198.51.100.200",
    "2001:db8:ff::5",
);
const VPN: Place = Place::new(
    "a VPN abroad",
    "internet",
    "198.51.100.201",
    "2001:db8:ff::6",
);
/// Where the messenger moves to, before and after the list knows.
const MOVED: Place = Place::new(
    "moved messenger",
    "internet",
    "203.0.113.129",
    "2001:db8:31::5",
);
const FOLLOWED: Place = MOVED.now("messengers");

/// Documentation addresses, beside the real ones of each list.
const LISTS: [(&str, &str); 4] = [
    ("messengers.txt", "203.0.113.64/28\n2001:db8:30::/48"),
    ("social.txt", "203.0.113.80/28\n2001:db8:40::/48"),
    ("tasix.txt", "203.0.113.96/28\n2001:db8:50::/48"),
    ("state.txt", "203.0.113.112/28\n2001:db8:10::/48"),
];

/// What the plan grants.
const MAIN: i64 = 3_000_000_000;
const MESSENGERS: i64 = 1_000_000_000;
const PACKAGES: [(&str, i64); 4] = [
    ("main", MAIN),
    ("messengers", MESSENGERS),
    ("social", 1_000_000_000),
    ("tasix", 2_000_000_000),
];

fn play(narrator: &mut dyn Narrator) -> Result<()> {
    let clock = Clock::new()?;
    narrator.title("uz-shifokor: the doctors' tariff, packet by packet")?;
    narrator.scene("The tariff")?;
    narrator.say(
        "Packages for 14 days: main, and special ones for messengers, social networks and TAS-IX;",
    )?;
    narrator
        .say("after them 630 so'm a megabyte. State and socially important sites cost nothing.")?;
    narrator.say("The policy is policies/uz-shifokor. Its lists of messengers, social networks, TAS-IX and state sites")?;
    narrator.say("hold real addresses, so here each gets documentation addresses beside them; only these are sent to.")?;
    let mut stage = Stage::set_up(
        SCENARIO.name,
        &CUSTOMERS,
        narrator,
        |agent| {
            agent
                .setting(&format!("watch = false\ntimezone = \"{TIME_ZONE}\""))
                .through(&clock.through())
        },
        |agent| {
            LISTS
                .iter()
                .try_for_each(|(list, lines)| append(agent, list, lines))
        },
    )?;
    in_turn(&mut stage)?;
    gate(&mut stage)?;
    vpn(&mut stage)?;
    moved(&mut stage)?;
    renewal(&mut stage, &clock)?;
    for (name, granted) in PACKAGES.into_iter().chain([("balance", 0)]) {
        bucket(name, granted).check(&stage.agent)?;
    }
    stage.close()
}

fn bucket(name: &'static str, granted: i64) -> Bucket {
    Bucket {
        subscriber: DOCTOR,
        name,
        granted: granted.into(),
    }
}

/// Sees what is left of something.
fn left(stage: &Stage<'_>, bucket: &str, expected: i64) -> Result<()> {
    let left = stage.agent.left(DOCTOR, bucket)?;
    ensure!(
        left == expected,
        "{left} bytes are left of {bucket}, not {expected}"
    );
    Ok(())
}

fn money(stage: &Stage<'_>, expected: &str) -> Result<()> {
    let money = stage.money(DOCTOR, "balance")?;
    ensure!(money == expected, "{money} are left, not {expected}");
    Ok(())
}

fn in_turn(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The special package, then main, then money")?;
    stage
        .narrator
        .say("To see their end the packages are made small, and the doctor pays 63 so'm in: 100,000 bytes.")?;
    for (package, volume) in [
        ("messengers", "50kB"),
        ("main", "30kB"),
        ("social", "40kB"),
        ("tasix", "40kB"),
    ] {
        let id = format!("small-{package}");
        stage
            .agent
            .ask(&["bucket", "set", DOCTOR, package, volume, "--id", &id])?;
    }
    stage.order("grant", DOCTOR, "balance", "63 UZS", "pay-1")?;
    let down = |family, packets| Deed::Down(family, packets, 1000);
    stage.attempt(DOCTOR, &MESSENGER, Deed::Up(V6, 10, 1000), "messengers")?;
    let both = [("messengers", 40), ("main", 20)];
    stage.split(DOCTOR, &MESSENGER, down(V4, 60), &both)?;
    stage.attempt(DOCTOR, &ABROAD, Deed::Up(V6, 5, 1000), "main")?;
    let both = [("main", 5), ("balance", 13)];
    stage.split(DOCTOR, &MESSENGER, down(V6, 18), &both)?;
    stage.attempt(DOCTOR, &ABROAD, down(V4, 20), "balance")?;
    left(stage, "balance", 67_000)?;
    money(stage, "42.21 UZS")?;
    stage
        .narrator
        .say("33,000 bytes at 630 so'm a megabyte are 20.79 so'm: 42.21 so'm are left, to the last tiyin.")?;
    stage
        .narrator
        .say("While there is money the other special packages work, also with main empty:")?;
    stage.attempt(DOCTOR, &SOCIAL, down(V4, 5), "social")?;
    stage.attempt(DOCTOR, &TASIX, down(V6, 5), "tasix")?;
    stage.attempt(DOCTOR, &STATE, down(V4, 5), "free")
}

fn gate(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("Main and money are gone: the special packages rest, though they hold bytes")?;
    let both = [("balance", 67), ("dropped", 3)];
    stage.split(DOCTOR, &ABROAD, Deed::Down(V4, 70, 1000), &both)?;
    money(stage, "0.00 UZS")?;
    stage.order("set", DOCTOR, "messengers", "35kB", "messengers-2")?;
    for place in [&MESSENGER, &SOCIAL, &TASIX, &ABROAD] {
        stage.attempt(DOCTOR, place, Deed::Up(V4, 5, 200), "dropped")?;
        stage.attempt(DOCTOR, place, Deed::Down(V6, 5, 200), "dropped")?;
    }
    for package in ["messengers", "social", "tasix"] {
        left(stage, package, 35_000)?;
    }
    stage
        .narrator
        .say("State sites, section 3 and the payment page go on:")?;
    for place in [&STATE, &IMPORTANT, &PAYMENT] {
        stage.attempt(DOCTOR, place, Deed::Echo(V4, 2), "free")?;
        stage.attempt(DOCTOR, place, Deed::Echo(V6, 2), "free")?;
    }
    stage.tell_buckets(DOCTOR)?;
    stage
        .narrator
        .say("With money the packages work again, from the next packet:")?;
    stage.order("grant", DOCTOR, "balance", "12.60 UZS", "pay-2")?;
    stage.attempt(DOCTOR, &SOCIAL, Deed::Echo(V4, 2), "social")?;
    stage.attempt(DOCTOR, &MESSENGER, Deed::Echo(V6, 2), "messengers")?;
    left(stage, "balance", 20_000)
}

/// What a VPN client sends: outside its gateway's address, inside the messenger's.
fn tunnelled(lab: &Lab, (near, vpn): &(Endpoint, Endpoint)) -> Result<Vec<u8>> {
    const GRE: u8 = 47;
    let wire = &lab.subscriber(DOCTOR).wire;
    let messenger: [IpAddr; 2] = [MESSENGER.v4.parse()?, MESSENGER.v6.parse()?];
    let packet: Payload = match (near.address, vpn.address, messenger) {
        (IpAddr::V4(from), IpAddr::V4(to), [IpAddr::V4(inner), _]) => {
            let inner = Ipv4::new(from, inner).udp(1000, 443, &[7; 400]).build();
            // RFC 2784: no flags, then the EtherType of what follows.
            let carried = [&[0, 0, 0x08, 0][..], &inner].concat();
            Ipv4::new(from, to).carrying(GRE, carried).into()
        }
        (IpAddr::V6(from), IpAddr::V6(to), [_, IpAddr::V6(inner)]) => {
            let inner = Ipv6::new(from, inner).udp(1000, 443, &[7; 400]).build();
            Ipv6::new(from, to).udp(51820, 51820, &inner).into()
        }
        _ => bail!("two families in one tunnel"),
    };
    let frame = Frame::new(packet).stations(wire.near.mac, wire.far.mac);
    Ok(frame.build())
}

fn vpn(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("A VPN to an address abroad is ordinary traffic, whatever is in it")?;
    const LEFT: i64 = 35_000 - 400 - 5 * 428;
    stage
        .narrator
        .say("The same message, first as it is, then inside GRE and inside UDP: the outer address decides.")?;
    stage.attempt(DOCTOR, &MESSENGER, Deed::Up(V4, 5, 428), "messengers")?;
    left(stage, "messengers", LEFT)?;
    for (what, family) in [("GRE up 5", V4), ("UDP tunnel up 5", V6)] {
        let ends = stage.ends(DOCTOR, &VPN, family);
        let to = ends.1.clone();
        // What the far end answers, that nobody there speaks it, is the doctor's, too.
        let flow = stage.other(DOCTOR, &VPN, (what, to), "balance", |lab| {
            let frames = vec![tunnelled(lab, &ends)?; 5];
            send_frames(&lab.subscriber(DOCTOR).wire.near, &frames)?;
            Ok("5 packets".to_owned())
        })?;
        ensure!(flow.up.packets == 5, "not 5 packets: {flow:?}");
    }
    left(stage, "messengers", LEFT)?;
    stage
        .narrator
        .say("The messengers' package has not been touched by either tunnel.")
}

fn moved(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The messenger moves to an address the list does not know")?;
    stage.attempt(DOCTOR, &MOVED, Deed::Up(V4, 4, 200), "balance")?;
    stage.attempt(DOCTOR, &MOVED, Deed::Up(V6, 4, 200), "balance")?;
    stage.narrator.say(
        "Ordinary traffic, until 203.0.113.128/28 and 2001:db8:31::/48 stand in messengers.txt:",
    )?;
    stage.append("messengers.txt", "203.0.113.128/28\n2001:db8:31::/48")?;
    stage.ask(&["policy", "reload"])?;
    stage.attempt(DOCTOR, &FOLLOWED, Deed::Up(V4, 4, 200), "messengers")?;
    stage.attempt(DOCTOR, &FOLLOWED, Deed::Up(V6, 4, 200), "messengers")
}

fn cycle_until(stage: &Stage<'_>) -> Result<String> {
    let shown = stage.agent.ask_json(&["subscriber", "show", DOCTOR])?;
    let until = shown[0]["cycle_until"].as_str();
    Ok(until.context("no end of the cycle")?.to_owned())
}

/// A moment as the doctor reads it.
fn day(moment: &str) -> Result<String> {
    let moment: Timestamp = moment.parse()?;
    let there = moment.in_tz(TIME_ZONE)?;
    Ok(there.strftime("%-d %B %Y, %H:%M").to_string())
}

fn renewal(stage: &mut Stage<'_>, clock: &Clock) -> Result<()> {
    stage
        .narrator
        .scene("Packages are given anew: early, by \"perezagruzka\", and every 14 days")?;
    let first = cycle_until(stage)?;
    let balance = stage.agent.left(DOCTOR, "balance")?;
    stage.narrator.say(&format!(
        "The packages last until {}. Five days later the doctor dials *5#:",
        day(&first)?
    ))?;
    clock.set("+5d")?;
    stage.ask(&["bucket", "restart", DOCTOR, "--id", "star-5"])?;
    for (package, granted) in PACKAGES {
        left(stage, package, granted)?;
    }
    left(stage, "balance", balance)?;
    let second = cycle_until(stage)?;
    ensure!(second > first, "until {first}, then until {second}");
    stage.narrator.say(&format!(
        "All are full, what was left of them is burnt, money is as it was; the date moves to {}.",
        day(&second)?
    ))?;
    stage.attempt(DOCTOR, &MESSENGER, Deed::Down(V4, 30, 1000), "messengers")?;
    stage.attempt(DOCTOR, &ABROAD, Deed::Down(V6, 30, 1000), "main")?;
    stage
        .narrator
        .say("The clock is set to the old date: nothing happens. Then past the new one:")?;
    clock.set("+15d")?;
    stage.attempt(DOCTOR, &MESSENGER, Deed::Echo(V6, 1), "messengers")?;
    left(stage, "messengers", MESSENGERS - 30_000 - 200)?;
    clock.set("+20d")?;
    stage.until("the packages are given anew", |agent| {
        Ok(agent.left(DOCTOR, "messengers")? == MESSENGERS)
    })?;
    for (package, granted) in PACKAGES {
        left(stage, package, granted)?;
    }
    left(stage, "balance", balance)?;
    stage.tell_buckets(DOCTOR)?;
    stage.attempt(DOCTOR, &MESSENGER, Deed::Echo(V4, 2), "messengers")?;
    stage.attempt(DOCTOR, &ABROAD, Deed::Echo(V6, 2), "main")
}
