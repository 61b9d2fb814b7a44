//! Subscribers come, go and move all the time, and each one's packets have a size of their own: whoever comes has the
//! memory of who left, nobody has anybody's bytes, and memory does not grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::agent::Agent;
use crate::frames::{Frame, Ipv4};
use crate::raw::send_frames;
use crate::town::{self, POLICY};
use crate::veth::Veth;
use crate::wait::until;

const ADDRESSES: usize = 1_200;
/// As many as there are sizes of packets.
const SUBSCRIBERS: usize = 1_390;
/// Subscribers that come, go or move in a round: half of the addresses get other owners.
pub const EACH_ROUND: usize = ADDRESSES / 2;
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Whose an address is: those of one parity belong to subscribers of that parity, and move in rounds of it.
fn owner(address: usize, round: usize) -> usize {
    let parity = address % 2;
    let moves = (round + 1 - parity) / 2;
    2 * ((address / 2 + moves * 37) % (SUBSCRIBERS / 2)) + parity
}

fn moves(address: usize, round: usize) -> bool {
    round > 0 && owner(address, round) != owner(address, round - 1)
}

/// Bytes of each of a subscriber's packets: they say whose they are.
const fn size(subscriber: usize) -> usize {
    100 + subscriber
}

fn ip(address: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 2, 0, 0).to_bits() + address as u32)
}

fn subscribers(round: usize) -> String {
    let mut lines = String::new();
    for address in 0..ADDRESSES {
        // Writing to a string does not fail.
        let _ = writeln!(
            lines,
            "s{},open,active,{}",
            owner(address, round),
            ip(address)
        );
    }
    lines
}

/// Packets sent, by subscriber.
type Sent = BTreeMap<usize, u64>;

/// Sends a packet from each of some addresses, as their owners.
fn send(wire: &Veth, round: usize, sent: &mut Sent, of: impl Fn(usize) -> bool) -> Result<()> {
    let of: Vec<usize> = (0..ADDRESSES).filter(|address| of(*address)).collect();
    let frames = of.iter().map(|address| {
        let packet = Ipv4::new(ip(*address), REMOTE);
        let payload = vec![0; size(owner(*address, round)) - 28];
        let frame = Frame::new(packet.udp(1000, 9, &payload));
        frame.stations(wire.near.mac, wire.far.mac).build()
    });
    send_frames(&wire.near, &frames.collect::<Vec<_>>())?;
    for address in of {
        *sent.entry(owner(address, round)).or_default() += 1;
    }
    Ok(())
}

fn check(agent: &Agent, sent: &Sent) -> Result<()> {
    let bill = agent.bill()?;
    for subscriber in 0..SUBSCRIBERS {
        let of_it = bill.of(&format!("s{subscriber}"));
        let packets = sent.get(&subscriber).copied().unwrap_or(0);
        let expected = (packets, packets * size(subscriber) as u64);
        let found = (of_it.up.packets, of_it.up.bytes);
        ensure!(
            found == expected,
            "s{subscriber}: packets and bytes {found:?}, and it sent {expected:?}"
        );
    }
    ensure!(bill.unattributed.is_empty(), "{:?}", bill.unattributed);
    agent.check_order()
}

/// The same by what billing reads.
fn check_records(agent: &Agent, sent: &Sent) -> Result<()> {
    let mut recorded = Sent::new();
    let mut after = 0;
    loop {
        let from = after.to_string();
        let page = agent.ask_json(&[
            "record", "list", "--kind", "usage", "--after", &from, "--limit", "10000",
        ])?;
        let Some(last) = page.last() else { break };
        after = last["seq"].as_u64().context("no number")?;
        for record in &page {
            let subscriber = record["subscriber"].as_str().context("no subscriber")?;
            let number: usize = subscriber.trim_start_matches('s').parse()?;
            let packets = record["packets_up"].as_u64().context("no packets")?;
            let bytes = record["bytes_up"].as_u64().context("no bytes")?;
            ensure!(bytes == packets * size(number) as u64, "{record}");
            *recorded.entry(number).or_default() += packets;
        }
    }
    recorded.retain(|_, packets| *packets > 0);
    ensure!(recorded == *sent, "records and packets sent differ");
    Ok(())
}

/// Has so many rounds of it happen under traffic, and calls `each` after every one.
///
/// # Errors
/// If somebody has another's bytes, a byte is missing, or memory grows; and with those of `each`.
pub fn run(rounds: usize, mut each: impl FnMut(usize) -> Result<()>) -> Result<()> {
    let lab = town::lab().build()?;
    lab.gateway.set("ipv4/ip_forward", "0")?;
    let wire = &lab.subscriber("alice").wire;
    let policy = format!("{POLICY}\n[plans.open.charge]\n\"*\" = \"metered\"\n");
    let mut agent = town::agent(&lab)
        .hears_sigterm()
        .policy(&policy)
        .subscribers(&subscribers(0))
        .setting("watch = false")
        // Lines are given away when what ended is recorded, which each checkpoint sees to.
        .section("[records]\ncheckpoint = \"100ms\"\ninterval = \"1s\"")
        .start()?;
    let memory = |agent: &Agent| agent.status()?["row_bytes"].as_u64().context("no memory");
    let at_first = memory(&agent)?;
    let mut sent = Sent::new();
    send(wire, 0, &mut sent, |_| true)?;
    for round in 1..=rounds {
        agent.write_subscribers(&subscribers(round))?;
        // Who stays goes on sending all the while; who comes begins when it is in force.
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = Sent::new();
                while !done.load(Ordering::Relaxed) {
                    send(wire, round, &mut sent, |address| !moves(address, round))?;
                }
                Ok::<_, anyhow::Error>(sent)
            });
            let reloaded = agent.reload();
            done.store(true, Ordering::Relaxed);
            let by_others = sender
                .join()
                .map_err(|_| anyhow!("the sender panicked"))??;
            for (subscriber, packets) in by_others {
                *sent.entry(subscriber).or_default() += packets;
            }
            reloaded
        })?;
        send(wire, round, &mut sent, |address| moves(address, round))?;
        if round == rounds / 2 {
            // Whoever comes after an agent that was killed finds the same lines free.
            agent.kill9()?;
            agent.start()?;
            lab.settle()?;
            check(&agent, &sent)?;
        }
        each(round)?;
    }
    lab.settle()?;
    check(&agent, &sent)?;
    // Half as much again in each round, were no line given to another.
    let later = memory(&agent)?;
    ensure!(later < at_first * 10, "{at_first} grew to {later}");
    agent.sigterm()?;
    agent.start()?;
    check(&agent, &sent)?;
    until("everything is recorded", || {
        Ok(check_records(&agent, &sent).is_ok())
    })?;
    check_records(&agent, &sent)
}
