//! Several CPUs count at the same time, in the same counters: no update is lost, and what a bucket runs
//! over by has a bound.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::thread::available_parallelism;

use anyhow::{Result, bail};
use zerorate_tests::bill::Flow;
use zerorate_tests::netns::Endpoint;
use zerorate_tests::topology::{Builder, Lab};
use zerorate_tests::town::{self, lines, up, volume};
use zerorate_tests::traffic::{on_every_cpu, udp};
use zerorate_tests::{can_use_namespaces, skip};

/// Bytes of data that make an IP packet of 1,000 bytes.
const DATA: usize = 972;
const BYTES: u64 = 1000;

/// How many CPUs can receive at once; `None`, with the reason told, where there is nothing to be shown.
fn cpus() -> Result<Option<usize>> {
    if !can_use_namespaces() {
        return Ok(None);
    }
    let cpus = available_parallelism().map(NonZero::get)?;
    if cpus < 2 {
        skip("it takes two CPUs to count at the same time");
        return Ok(None);
    }
    Ok(Some(cpus))
}

/// A lab whose wires are taken in by `cpus` CPUs at once.
fn wide(builder: Builder, cpus: usize) -> Result<Lab> {
    let lab = builder.build()?;
    for wire in lab.wires() {
        wire.set_queues(cpus)?;
    }
    Ok(lab)
}

/// On how many queues an interface of the gateway has taken packets in.
fn queues_in_use(lab: &Lab, interface: &str) -> Result<usize> {
    let counters = lab.gateway.run("ethtool", &["-S", interface])?;
    let counted = counters.lines().filter_map(|line| {
        let (_, packets) = line
            .trim()
            .strip_prefix("rx_queue_")?
            .split_once("_xdp_packets: ")?;
        Some(packets)
    });
    Ok(counted.filter(|packets| *packets != "0").count())
}

/// Sends datagrams from every CPU at once, over several flows each, until all queues of the interface
/// they come in by have been used. Returns how many were sent; all have arrived.
fn flood(
    lab: &Lab,
    (interface, queues): (&str, usize),
    from: &Endpoint,
    to: &Endpoint,
) -> Result<usize> {
    const FLOWS: usize = 4;
    const DATAGRAMS: usize = 250;
    let mut sent = 0;
    for _ in 0..20 {
        let arrived = on_every_cpu(|_| {
            (0..FLOWS)
                .map(|_| udp(from, to, DATAGRAMS, DATA))
                .collect::<Result<Vec<_>>>()
        })?;
        let flows: Vec<usize> = arrived.into_iter().flatten().collect();
        assert!(
            flows.iter().all(|&arrived| arrived == DATAGRAMS),
            "{flows:?}"
        );
        sent += flows.len() * DATAGRAMS;
        if queues_in_use(lab, interface)? == queues {
            return Ok(sent);
        }
    }
    bail!("all packets came in by the same queue of {interface}")
}

#[test]
fn no_update_of_one_counter_is_lost_between_cpus() -> Result<()> {
    let Some(cpus) = cpus()? else { return Ok(()) };
    let lab = wide(town::lab(), cpus)?;
    let agent = town::agent(&lab).start()?;
    let alice = lab.subscriber("alice").v4();
    let remote = lab.remote(town::INTERNET);
    let sent = flood(&lab, ("access0", cpus), &alice, &remote)?;
    let received = flood(&lab, ("core0", cpus), &remote, &alice)?;
    lab.settle()?;
    let flow = Flow {
        up: volume(sent, BYTES),
        down: volume(received, BYTES),
    };
    let bill = agent.bill()?;
    assert_eq!(bill.usage, lines([("alice", "internet", "main", flow)]));
    let drawn = i64::try_from((sent + received) as u64 * BYTES)?;
    assert_eq!(agent.left("alice", "main")?, town::MAIN - drawn);
    assert_eq!(bill.interface("access0").ip_packets, sent as u64);
    assert_eq!(bill.interface("core0").ip_packets, received as u64);
    agent.check_order()
}

#[test]
fn a_bucket_all_cpus_draw_from_runs_over_by_less_than_a_packet_each() -> Result<()> {
    const BUCKET: u64 = 500_000;
    let Some(cpus) = cpus()? else { return Ok(()) };
    let lab = wide(town::lab(), cpus)?;
    let agent = town::agent(&lab).start()?;
    let bob = lab.subscriber("bob").v4();
    let remote = lab.remote(town::INTERNET);
    let (flows, datagrams) = (3, 150);
    let arrived = on_every_cpu(|_| {
        (0..flows)
            .map(|_| udp(&bob, &remote, datagrams, DATA))
            .sum::<Result<usize>>()
    })?;
    lab.settle()?;
    let (sent, arrived) = (cpus * flows * datagrams, arrived.iter().sum::<usize>());
    let bill = agent.bill()?;
    let paid = bill.charged("bob", "internet", "main");
    let dropped = bill.charged("bob", "internet", "dropped");
    assert_eq!(paid, up(volume(arrived, BYTES)));
    assert_eq!(paid + dropped, up(volume(sent, BYTES)));
    assert_eq!(bill.of("bob"), paid + dropped);
    let most = BUCKET + cpus as u64 * (BYTES - 1);
    assert!((BUCKET..=most).contains(&paid.up.bytes), "{paid:?}");
    let left = i64::try_from(BUCKET)? - i64::try_from(paid.up.bytes)?;
    assert_eq!(agent.left("bob", "main")?, left);
    agent.check_order()
}

#[test]
fn many_subscribers_at_once_each_get_their_own() -> Result<()> {
    const SUBSCRIBERS: usize = 8;
    let Some(cpus) = cpus()? else { return Ok(()) };
    let names: Vec<String> = (0..SUBSCRIBERS).map(|n| format!("s{n}")).collect();
    let mut builder = town::lab().shared_access();
    let mut list = String::new();
    for (n, name) in names.iter().enumerate() {
        builder = builder.subscriber(name, &[&format!("10.2.0.{n}/32")]);
        list += &format!("{name},basic,active,10.2.0.{n}\n");
    }
    let lab = wide(builder, cpus)?;
    let agent = town::agent(&lab).subscribers(&list).start()?;
    let places = [
        (town::GOVERNMENT, "government", "free"),
        (town::INTERNET, "internet", "main"),
    ];
    // Each CPU goes through all of them from another end, so that they meet.
    on_every_cpu(|cpu| {
        for step in 0..SUBSCRIBERS {
            let n = (step * (cpu * 2 + 1) + cpu) % SUBSCRIBERS;
            let near = lab.subscriber(&names[n]).v4();
            for (address, ..) in places {
                let far = lab.remote(address);
                assert_eq!(udp(&near, &far, 20 + n, DATA)?, 20 + n);
                assert_eq!(udp(&far, &near, 10 + n, DATA)?, 10 + n);
            }
        }
        Ok(())
    })?;
    lab.settle()?;
    let expected: BTreeMap<_, _> = (0..SUBSCRIBERS)
        .flat_map(|n| {
            let flow = Flow {
                up: volume(cpus * (20 + n), BYTES),
                down: volume(cpus * (10 + n), BYTES),
            };
            places.map(|(_, class, charged)| {
                let key = [&names[n], class, charged].map(str::to_owned);
                (key.into(), flow)
            })
        })
        .collect();
    assert_eq!(agent.bill()?.usage, expected);
    agent.check_order()
}
