//! What happens, in order: the network, a subscriber with packages, one with a bill, one who is
//! suspended, a stranger, a change of policy, and the loss of the agent.

use anyhow::Result;
use zerorate_tests::traffic::udp;

use crate::screen::{Screen, Table, grouped};
use crate::stage::{Deed, Stage};
use crate::world::{CUSTOMERS, Family, PLACES};
use crate::{suspended, transfers};

use Family::{V4, V6};

const MB: u64 = 1_000_000;

const DRAWING: &str = "
alice ─ access0 ┐                                 ┌ operator, government, education
bob ─── access1 ┼ gateway ─ core0 ────── backbone ┼ messengers, exchange
carol ─ access2 ┘                                 └ internet
";

/// Before there is anything.
pub(crate) fn opening(screen: &mut Screen) -> Result<()> {
    screen.title("zerorate demo: who pays for which packet, decided and counted in the kernel")?;
    screen.gap()?;
    for line in [
        "For each packet zerorate finds the subscriber on one side and the service class of the address on the other.",
        "The subscriber's plan then says who pays: nobody (free), the bill (metered), a package, or that it is dropped.",
    ] {
        screen.say(line)?;
    }
    screen.scene("A network on this machine, in namespaces of its own")?;
    screen.quote(DRAWING)
}

/// Everything up to the closing of the books.
pub(crate) fn play(stage: &mut Stage) -> Result<()> {
    network(stage)?;
    alice(stage)?;
    bob(stage)?;
    suspended::carol(stage)?;
    stranger(stage)?;
    transfers::policy_change(stage)?;
    transfers::take_over(stage)
}

fn network(stage: &mut Stage) -> Result<()> {
    let mut table = Table::new(["subscriber", "IPv4", "IPv6", "plan", "state", "terms"], 0);
    for customer in &CUSTOMERS {
        let [v4, v6] = customer.prefixes()?;
        table.row([
            customer.id.to_owned(),
            v4.to_string(),
            v6.to_string(),
            customer.plan.to_owned(),
            customer.state.to_owned(),
            customer.terms.to_owned(),
        ]);
    }
    stage.screen.table(&table)?;
    let mut table = Table::new(["class", "IPv4", "IPv6", "what it is"], 0);
    for place in &PLACES {
        let [v4, v6] = place.networks()?;
        table.row([
            place.class.to_owned(),
            v4.trunc().to_string(),
            v6.trunc().to_string(),
            place.what.to_owned(),
        ]);
    }
    stage.screen.table(&table)?;
    stage.screen.gap()?;
    stage.screen.say(&format!(
        "{} namespaces: each subscriber, the gateway, a backbone, each class of remote; IPv4 and IPv6 everywhere.",
        stage.world.namespaces()
    ))?;
    stage
        .screen
        .say("The policy is in tests/demo/policy. The agent on the gateway logs:")?;
    let log = stage.wait_for_log("ready")?;
    stage.show_log(&log, &["attached", "ready"])?;
    stage.skip_log();
    Ok(())
}

fn alice(stage: &mut Stage) -> Result<()> {
    let before = stage.figures.clone();
    stage
        .screen
        .scene("Alice has packages: messengers and exchange have their own, then main is drawn")?;
    stage.heads()?;
    stage.act("alice", echoes(5, 128), "government", V4, &["free"])?;
    stage.act("alice", echoes(5, 128), "government", V6, &["free"])?;
    stage.act("alice", datagrams(200, 1200), "education", V6, &["free"])?;

    let wire = stage.world.remote("messengers")?.wire.clone();
    let (sent, counted) = (wire.read()?, stage.figures.sent().packets_down);
    let in_turn = ["messengers", "main"];
    stage.act("alice", tcp(0, 5 * MB), "messengers", V4, &in_turn)?;
    let sent = wire.since(&sent)?.far_sent.packets;
    let counted = stage.figures.sent().packets_down - counted;

    stage.act("alice", tcp(3 * MB, 0), "exchange", V6, &["exchange"])?;
    stage.act("alice", tcp(MB, 10 * MB), "internet", V4, &["main"])?;
    stage.screen.gap()?;
    stage.screen.say(
        "The messengers' package ran out in mid-download. The packet that emptied it was its last; main paid on.",
    )?;
    stage.screen.say(&format!(
        "Segmentation offload is on: the server sent that download in {} pieces, the gateway counted {} packets.",
        grouped(sent),
        grouped(counted)
    ))?;
    stage.compare(&before)
}

fn bob(stage: &mut Stage) -> Result<()> {
    let before = stage.figures.clone();
    stage
        .screen
        .scene("Bob has a monthly bill: what is not free is metered")?;
    stage.heads()?;
    stage.act("bob", tcp(MB / 2, 3 * MB), "government", V6, &["free"])?;
    stage.act("bob", tcp(0, 8 * MB), "education", V4, &["free"])?;
    stage.act("bob", datagrams(100, 4000), "exchange", V4, &["metered"])?;
    stage.act("bob", tcp(2 * MB, 8 * MB), "internet", V6, &["metered"])?;
    stage.screen.gap()?;
    stage
        .screen
        .say("The datagrams went in fragments; each fragment counts its own IP header.")?;
    stage.compare(&before)
}

fn echoes(echoes: u16, bytes: usize) -> Deed {
    Deed::Icmp { echoes, bytes }
}

fn datagrams(datagrams: usize, bytes: usize) -> Deed {
    Deed::Udp { datagrams, bytes }
}

fn tcp(up: u64, down: u64) -> Deed {
    Deed::Tcp { up, down }
}

fn stranger(stage: &mut Stage) -> Result<()> {
    const ADDRESS: &str = "10.99.0.1";
    let before = stage.figures.clone();
    stage
        .screen
        .scene("An address that is no subscriber's sends through Alice's line")?;
    stage.heads()?;
    let alice = stage.world.subscriber("alice");
    alice
        .namespace
        .ip(&format!("route add local {ADDRESS} dev lo"))?;
    let from = alice.at(ADDRESS);
    let to = stage.world.remote("internet")?.end(V4).clone();
    let arrived = udp(&from, &to, 20, 472)?;
    let change = stage.measure()?;
    let remote = to.address.to_string();
    let deed = [
        "UDP 20 × 500 bytes",
        "internet",
        &remote,
        &format!("{arrived} datagrams"),
    ];
    stage.show(&deed, &change)?;
    stage.screen.gap()?;
    stage.screen.say(&format!(
        "Nobody is known for {ADDRESS}: it passes (`unknown = \"pass\"`), and is counted as unattributed.",
    ))?;
    let unattributed = change.charged(crate::figures::UNATTRIBUTED);
    if unattributed.bytes() != 20 * 500 {
        stage
            .wrong
            .push(format!("unknown subscriber: {unattributed:?}"));
    }
    stage.compare(&before)
}
