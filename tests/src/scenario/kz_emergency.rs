//! `kz-emergency`: an emergency in which public services stay reachable for those without money, and end at a known second.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{Timestamp, Unit};

use super::deed::{Deed, Family, Place};
use super::stage::{Customer, Stage, append};
use super::stream::Stream;
use super::{Narrator, Scenario};
use crate::numbers::grouped;
use crate::wait::until;

use Family::{V4, V6};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "kz-emergency",
    about: "Kazakhstan, 2020: free public services, debtors, medics, roamers, the health pass, the end at its second",
    play,
};

const CUSTOMERS: [Customer; 6] = [
    (
        "aigerim",
        "ordinary",
        "active",
        ["100.80.0.2/32", "2001:db8:8000:200::1/56"],
    ),
    (
        "bolat",
        "ordinary",
        "suspended",
        ["100.80.0.3/32", "2001:db8:8000:300::1/56"],
    ),
    (
        "household-17",
        "debtor-safe",
        "suspended",
        ["100.80.0.9/29", "2001:db8:8000:800::1/56"],
    ),
    (
        "doctor-4",
        "medic",
        "active",
        ["100.80.1.4/32", "2001:db8:8001:400::1/56"],
    ),
    (
        "traveller-2",
        "roamer",
        "active",
        ["100.80.2.2/32", "2001:db8:8002:200::1/64"],
    ),
    (
        "shop-31",
        "business",
        "active",
        ["10.31.0.1/24", "2001:db8:8031::1/48"],
    ),
];

const PORTAL: Place = Place::new(
    "state portal",
    "state-portal",
    "203.0.113.33",
    "2001:db8:11::5",
);
const ZONE: Place = Place::new(
    "a site of the zone",
    "kz-zone",
    "203.0.113.97",
    "2001:db8:12::5",
);
const HEALTH: Place = Place::new(
    "health information",
    "health-info",
    "198.51.100.5",
    "2001:db8:100::5",
);
const DIARY: Place = Place::new(
    "online diary",
    "education",
    "198.51.100.17",
    "2001:db8:201::5",
);
const UNIVERSITY: Place = Place::new(
    "a university",
    "education",
    "198.51.100.65",
    "2001:db8:204::5",
);
const ASHYQ: Place = Place::new(
    "pass on Ashyq",
    "health-pass",
    "198.51.100.129",
    "2001:db8:301::5",
);
const AITU: Place = Place::new(
    "pass on Aitu",
    "health-pass",
    "198.51.100.145",
    "2001:db8:302::5",
);
const MESSENGER: Place = Place::new(
    "a messenger",
    "messengers",
    "203.0.113.65",
    "2001:db8:30::5",
);
const SOCIAL: Place = Place::new(
    "a social network",
    "social-networks",
    "203.0.113.81",
    "2001:db8:40::5",
);
const CAMERAS: Place = Place::new(
    "shop cameras",
    "video-surveillance",
    "203.0.113.5",
    "2001:db8:600::5",
);
const PAYMENT: Place = Place::new("payment page", "operator", "192.0.2.97", "2001:db8:96::5");
const ABROAD: Place = Place::new(
    "a site abroad",
    "internet",
    "203.0.113.200",
    "2001:db8:ff::5",
);
const PUBLIC: [&Place; 5] = [&PORTAL, &ZONE, &HEALTH, &DIARY, &UNIVERSITY];

/// Documentation addresses, beside the real ones of each list.
const LISTS: [(&str, &str); 4] = [
    ("state-portal.txt", "203.0.113.32/28\n2001:db8:11::/48"),
    ("kz-zone.txt", "203.0.113.96/28\n2001:db8:12::/48"),
    ("messengers.txt", "203.0.113.64/28\n2001:db8:30::/48"),
    ("social.txt", "203.0.113.80/28\n2001:db8:40::/48"),
];

/// What every set of the emergency says of its time.
const BEGIN: &str = "valid_from = 2020-03-16T00:00:00+06:00";
/// How far ahead the end is set: enough to be in force before it comes.
const AHEAD: Duration = Duration::from_secs(4);
/// Bytes of payload of a datagram that is 1,000 bytes of IPv4.
const PAYLOAD: usize = 972;

fn play(narrator: &mut dyn Narrator) -> Result<()> {
    narrator.title("kz-emergency: what stays reachable without money, and until when")?;
    narrator.scene("The emergency")?;
    narrator.say("National resources, the state portal, health information and education cost nothing, and are there for")?;
    narrator.say("those without money. The policy is policies/kz-emergency. Its lists of the state's, the zone's, the")?;
    narrator.say("messengers' and the social networks' real addresses get documentation addresses beside them; only")?;
    narrator.say("these are sent to.")?;
    let mut stage = Stage::set_up(
        SCENARIO.name,
        &CUSTOMERS,
        narrator,
        |agent| agent.setting("watch = false\ntimezone = \"Asia/Almaty\""),
        |agent| {
            LISTS
                .iter()
                .try_for_each(|(list, lines)| append(agent, list, lines))
        },
    )?;
    no_money(&mut stage)?;
    debtor(&mut stage)?;
    packages(&mut stage)?;
    health_pass(&mut stage)?;
    end(&mut stage)?;
    stage.close()
}

fn no_money(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("No money: public services answer and cost nothing, all else is dropped")?;
    let left = stage.money("aigerim", "balance")?;
    ensure!(left == "0.00 KZT", "aigerim has {left}");
    stage
        .narrator
        .say("aigerim's balance is 0.00 KZT; bolat is suspended on top of that.")?;
    for place in PUBLIC {
        stage.attempt("aigerim", place, Deed::Echo(V4, 1), "free")?;
        stage.attempt("aigerim", place, Deed::Echo(V6, 1), "free")?;
    }
    for (place, family) in PUBLIC.into_iter().zip([V4, V6, V4, V6, V4]) {
        stage.attempt("bolat", place, Deed::Echo(family, 1), "free")?;
    }
    for who in ["aigerim", "bolat"] {
        stage.attempt(who, &PAYMENT, Deed::Echo(V6, 1), "free")?;
        stage.attempt(who, &ABROAD, Deed::Up(V4, 5, 500), "dropped")?;
        stage.attempt(who, &MESSENGER, Deed::Down(V6, 5, 500), "dropped")?;
    }
    let lesson = Deed::Tcp(V6, 20_000, 500_000);
    stage.attempt("aigerim", &DIARY, lesson, "free")?;
    let left = stage.money("aigerim", "balance")?;
    ensure!(left == "0.00 KZT", "a lesson cost aigerim: {left}");
    Ok(())
}

fn debtor(stage: &mut Stage<'_>) -> Result<()> {
    stage.narrator.scene("A household in debt is not cut off")?;
    stage
        .narrator
        .say("household-17 is suspended, and its plan, debtor-safe, ignores that: what it uses goes on the bill.")?;
    let page = Deed::Tcp(V4, 5_000, 200_000);
    stage.attempt("household-17", &ABROAD, page, "metered")?;
    stage.attempt("household-17", &MESSENGER, Deed::Echo(V6, 2), "metered")?;
    stage.attempt("household-17", &PORTAL, Deed::Echo(V6, 2), "free")
}

fn packages(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("A medic's package, a roamer's messengers, a shop's cameras")?;
    stage.order("set", "doctor-4", "medic", "30kB", "small-1")?;
    stage.attempt("doctor-4", &ABROAD, Deed::Up(V6, 10, 1000), "medic")?;
    let both = [("medic", 20), ("dropped", 10)];
    stage.split("doctor-4", &ABROAD, Deed::Down(V4, 30, 1000), &both)?;
    stage.attempt("doctor-4", &HEALTH, Deed::Echo(V4, 2), "free")?;
    stage
        .narrator
        .say("The medic's package is free up to its volume, here 30,000 bytes; there is no money after it.")?;
    let call = Deed::Tcp(V4, 50_000, 50_000);
    stage.attempt("traveller-2", &MESSENGER, call, "free")?;
    stage.attempt("traveller-2", &SOCIAL, Deed::Down(V6, 20, 1000), "free")?;
    stage.attempt("traveller-2", &ABROAD, Deed::Up(V4, 5, 500), "dropped")?;
    stage
        .narrator
        .say("The roamer writes home for nothing. A bonus of 2 KZT, at 20 KZT a megabyte, is 100,000 bytes of the rest:")?;
    stage.order("grant", "traveller-2", "bonus", "2 KZT", "bonus-1")?;
    stage.attempt("traveller-2", &ABROAD, Deed::Down(V6, 25, 1000), "bonus")?;
    let left = stage.money("traveller-2", "bonus")?;
    ensure!(left == "1.50 KZT", "{left} are left of the bonus");
    stage.attempt("shop-31", &CAMERAS, Deed::Up(V4, 20, 1000), "metered")?;
    stage
        .narrator
        .say("The shop's cameras are on its bill, in a rating group of their own.")
}

fn health_pass(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The health pass lives on two platforms, and one of them is withdrawn")?;
    for place in [&ASHYQ, &AITU] {
        stage.attempt("bolat", place, Deed::Echo(V4, 2), "free")?;
        stage.attempt("bolat", place, Deed::Echo(V6, 2), "free")?;
    }
    stage.narrator.say(
        "Datagrams go to Ashyq all the time while the set `aitu` is taken out of policy.toml:",
    )?;
    let (near, far) = stage.ends("bolat", &ASHYQ, V4);
    let (sent, grown) = stage.measured(|stage| {
        let stream = Stream::start(&near, &far, PAYLOAD);
        withdraw_aitu(stage)?;
        let reloaded = stage.agent.reload()?;
        std::thread::sleep(Duration::from_millis(200));
        Ok((stream.stop()?, reloaded))
    })?;
    let (sent, reloaded) = sent;
    stage
        .narrator
        .command("zerorate policy reload", &reloaded)?;
    let mut accounts = grown.iter();
    let (account, flow) = accounts.next().context("nothing was charged")?;
    ensure!(
        accounts.next().is_none() && account.1 == "health-pass" && account.2 == "free",
        "not all is free: {grown:?}"
    );
    ensure!(
        flow.up.packets == sent.datagrams() as u64,
        "sent {}, {flow:?}",
        sent.datagrams()
    );
    stage.narrator.say(&format!(
        "{} datagrams were sent to Ashyq meanwhile, {} were counted, all free; none was lost.",
        grouped(sent.datagrams() as u64),
        grouped(flow.up.packets)
    ))?;
    let withdrawn = AITU.now("internet");
    stage.attempt("bolat", &withdrawn, Deed::Up(V4, 3, 200), "dropped")?;
    stage.attempt("bolat", &withdrawn, Deed::Up(V6, 3, 200), "dropped")?;
    stage.attempt("bolat", &ASHYQ, Deed::Echo(V4, 2), "free")?;
    stage.attempt("bolat", &ASHYQ, Deed::Echo(V6, 2), "free")
}

/// Takes the set `aitu` out of the policy, from its heading to its last line.
fn withdraw_aitu(stage: &Stage<'_>) -> Result<()> {
    let path = stage.agent.policy_dir().join("policy.toml");
    let text = std::fs::read_to_string(path).context("cannot read the policy")?;
    let begin = text
        .find("[[sets]]\nname = \"aitu\"")
        .context("there is no set `aitu`")?;
    let length = text[begin..].find("\n\n").context("it has no end")?;
    let rest = &text[begin + length..];
    stage
        .agent
        .write_policy(&format!("{}{}", &text[..begin], rest.trim_start()))
}

/// Puts the end of the emergency into force, some seconds before it comes.
fn set_end(stage: &Stage<'_>) -> Result<Timestamp> {
    let path = stage.agent.policy_dir().join("policy.toml");
    let text = std::fs::read_to_string(path).context("cannot read the policy")?;
    ensure!(text.contains(BEGIN), "there is no `{BEGIN}` in the policy");
    let mut ahead = AHEAD;
    loop {
        let end = (Timestamp::now() + ahead).round(Unit::Second)?;
        let line = format!("{BEGIN}\nvalid_until = {end}");
        stage.agent.write_policy(&text.replace(BEGIN, &line))?;
        stage.agent.reload()?;
        if Timestamp::now() + AHEAD / 2 < end {
            return Ok(end);
        }
        // A busy machine took too long over it.
        ahead *= 2;
    }
}

fn end(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .narrator
        .scene("The emergency ends, in mid-transfer")?;
    let (near, far) = stage.ends("household-17", &DIARY, V4);
    let end = set_end(stage)?;
    stage.narrator.say(&format!(
        "Each set of the emergency gets `valid_until = {end}`, and the policy is reloaded."
    ))?;
    stage.narrator.say(
        "The household goes on with its online diary, at the same address, before and after:",
    )?;
    let paid = |stage: &Stage<'_>| -> Result<u64> {
        let bill = stage.agent.bill()?;
        let paid = bill.charged("household-17", "internet", "metered");
        Ok(paid.up.packets)
    };
    let before = paid(stage)?;
    let (sent, grown) = stage.measured(|stage| {
        let stream = Stream::start(&near, &far, PAYLOAD);
        until("the emergency ended", || Ok(paid(stage)? > before + 100))?;
        stream.stop()
    })?;
    let of = |class: &str, charged: &str| {
        let key = ["household-17", class, charged].map(str::to_owned);
        grown.get(&key.into()).copied().unwrap_or_default()
    };
    let (free, paid) = (of("education", "free"), of("internet", "metered"));
    let total = sent.datagrams() as u64;
    ensure!(
        grown.len() == 2 && free.up.packets + paid.up.packets == total,
        "{total} were sent: {grown:?}"
    );
    let in_time = sent.before(end);
    ensure!(
        free.up.packets >= in_time as u64,
        "{in_time} had arrived before the end, and only {} were free",
        free.up.packets
    );
    stage.narrator.say(&format!(
        "{} datagrams of 1,000 bytes were sent and arrived: {} free before the end, {} on the bill after it, none lost.",
        grouped(total),
        grouped(free.up.packets),
        grouped(paid.up.packets)
    ))?;
    let first = sent
        .time_of(usize::try_from(free.up.packets)?)
        .context("nothing after the end")?;
    let late = first.duration_since(end).as_millis();
    stage.narrator.say(&format!(
        "The first that was charged left {} ms after that second.",
        late.max(0)
    ))?;
    stage
        .narrator
        .say("Who has no money keeps the operator's own pages, and the health pass, which does not end with the emergency.")?;
    let closed = DIARY.now("internet");
    stage.attempt("aigerim", &closed, Deed::Up(V6, 3, 200), "dropped")?;
    stage.attempt("aigerim", &PAYMENT, Deed::Echo(V4, 2), "free")?;
    stage.attempt("aigerim", &ASHYQ, Deed::Echo(V6, 2), "free")
}
