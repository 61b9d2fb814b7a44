//! What an interface does with what is to be dropped: drops it, or only counts it; and what it lets
//! through all the same, because without it there is no link.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::frames::{Frame, Ipv4, Ipv6, Payload};
use zerorate_tests::netns::NetNs;
use zerorate_tests::ping::ping;
use zerorate_tests::raw::send_frames;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, SUBSCRIBERS, lines, volume};
use zerorate_tests::traffic::{tcp_within, udp};
use zerorate_tests::wait::until;

const UNKNOWN_DROP: &str = "unknown = \"drop\"";

/// An agent that knows alice only, and drops the unknown on every interface.
fn strict_agent(lab: &Lab) -> Result<zerorate_tests::agent::Agent> {
    town::agent_with(lab, UNKNOWN_DROP)
        .subscribers("alice,basic,active,10.1.0.1/32 2001:db8:a::/64")
        .start()
}

#[test]
fn not_enforced_it_is_counted_as_dropped_and_passes() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let suspended = SUBSCRIBERS.replace("alice,basic,active", "alice,basic,suspended");
    let agent = town::agent_with(&lab, "enforce = false")
        .subscribers(&suspended)
        .start()?;
    let (alice, bob) = (lab.subscriber("alice").v4(), lab.subscriber("bob").v4());
    let remote = lab.remote(town::INTERNET);
    // Suspended, and with a bucket that ends.
    assert_eq!(ping(&alice, &remote, 5, 72)?, 5);
    assert_eq!(udp(&bob, &remote, 600, 972)?, 600);
    lab.settle()?;
    let echoes = volume(5, 100);
    let expected = lines([
        (
            "alice",
            "internet",
            "dropped",
            Flow {
                up: echoes,
                down: echoes,
            },
        ),
        ("bob", "internet", "dropped", town::up(volume(100, 1000))),
        ("bob", "internet", "main", town::up(volume(500, 1000))),
    ]);
    let bill = agent.bill()?;
    assert_eq!(bill.usage, expected);
    assert_eq!(bill.total().dropped_bytes, 2 * 500 + 100_000);
    assert_eq!(agent.left("alice", "main")?, town::MAIN);
    assert_eq!(agent.left("bob", "main")?, 0);
    agent.check_order()
}

#[test]
fn enforced_an_empty_bucket_ends_the_traffic_but_for_what_is_free() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let bob = lab.subscriber("bob").v4();
    let remote = lab.remote(town::INTERNET);
    // More than the bucket holds: the connection stands still, and ends with an error.
    let patience = std::time::Duration::from_secs(1);
    assert!(tcp_within(&bob, &remote, 2_000_000, 0, patience).is_err());
    assert_eq!(ping(&bob, &remote, 2, 0)?, 0);
    assert_eq!(ping(&bob, &lab.remote(town::GOVERNMENT), 2, 0)?, 2);
    lab.settle()?;
    let bill = agent.bill()?;
    let main = bill.charged("bob", "internet", "main");
    let paid = main.up.bytes + main.down.bytes;
    let cpus = std::thread::available_parallelism()?.get() as u64;
    assert!((500_000..500_000 + cpus * 1500).contains(&paid), "{main:?}");
    let dropped = bill.charged("bob", "internet", "dropped");
    assert!(dropped.up.packets >= 3, "{dropped:?}");
    assert_eq!(agent.left("bob", "main")?, 500_000 - i64::try_from(paid)?);
    agent.check_order()
}

#[test]
fn the_unknown_are_dropped_and_counted() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = strict_agent(&lab)?;
    let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
    let remote = lab.remote(town::GOVERNMENT);
    assert_eq!(ping(&alice.v4(), &remote, 3, 72)?, 3);
    assert_eq!(ping(&bob.v4(), &remote, 3, 72)?, 0);
    assert_eq!(udp(&remote, &bob.v4(), 4, 72)?, 0);
    // Who is known and says to be somebody else is unknown.
    alice.namespace.ip("route add local 10.1.0.2 dev lo")?;
    assert_eq!(udp(&alice.at("10.1.0.2"), &remote, 5, 72)?, 0);
    lab.settle()?;
    let bill = agent.bill()?;
    let echoes = volume(3, 100);
    let flow = Flow {
        up: echoes,
        down: echoes,
    };
    assert_eq!(bill.usage, lines([("alice", "government", "free", flow)]));
    let unknown = Flow {
        up: volume(8, 100),
        down: volume(4, 100),
    };
    let expected = BTreeMap::from([("government".to_owned(), unknown)]);
    assert_eq!(bill.unattributed, expected);
    agent.check_order()
}

#[test]
fn an_unknown_neighbour_is_found_and_the_gateway_answers_it() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = strict_agent(&lab)?;
    let bob = lab.subscriber("bob");
    // From now on the two ask for each other's addresses, as on any other link.
    for (namespace, interface) in [(&bob.namespace, "eth0"), (&lab.gateway, "access1")] {
        namespace.ip(&format!(
            "link set {interface} arp on multicast on\nneighbour flush dev {interface} nud all"
        ))?;
        for address in [
            "100.64.1.1",
            "100.64.1.2",
            "2001:db8:ffff:1::1",
            "2001:db8:ffff:1::2",
        ] {
            // Whichever it had.
            let _ = namespace.ip(&format!("neighbour del {address} dev {interface}"));
        }
    }
    for (from, gateway) in [
        ("100.64.1.2", "100.64.1.1"),
        ("2001:db8:ffff:1::2", "2001:db8:ffff:1::1"),
        // An address the gateway has elsewhere.
        ("10.1.0.9", "100.100.0.1"),
    ] {
        let (near, far) = (bob.at(from), lab.gateway.at(gateway.parse()?));
        until(gateway, || Ok(ping(&near, &far, 1, 56)? == 1))?;
    }
    assert!(neighbours(&bob.namespace)?.contains("lladdr"));
    assert!(
        agent.bill()?.interface("access1").non_ip_packets >= 1,
        "no ARP was seen"
    );

    // An address it gets while it runs is its own as well.
    let new = lab.gateway.at("192.0.2.1".parse()?);
    assert_eq!(ping(&bob.v4(), &new, 1, 0)?, 0);
    lab.gateway.ip("address add 192.0.2.1/32 dev lo")?;
    until("the new address answers", || {
        Ok(ping(&bob.v4(), &new, 1, 0)? == 1)
    })?;
    // And from the core.
    assert_eq!(ping(&lab.remote(town::INTERNET), &new, 1, 0)?, 1);
    // Not any more when it is gone.
    lab.gateway.ip("address delete 192.0.2.1/32 dev lo")?;
    lab.gateway.ip("route add 192.0.2.1/32 dev core0")?;
    assert_eq!(ping(&bob.v4(), &new, 1, 0)?, 0);
    agent.check_order()
}

fn neighbours(namespace: &NetNs) -> Result<String> {
    namespace.run("ip", &["neighbour", "show"])
}

#[test]
fn what_keeps_a_link_alive_passes() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = strict_agent(&lab)?;
    // Whatever passes is seen by the gateway's netfilter, before it asks where it is to go.
    let cases4 = [
        ("dhcp", Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
        ("multicast", [10, 77, 0, 1].into(), [224, 0, 0, 251].into()),
        ("linklocal", [10, 77, 0, 1].into(), [169, 254, 3, 4].into()),
        (
            "fromlinklocal",
            [169, 254, 3, 4].into(),
            [203, 0, 113, 7].into(),
        ),
        (
            "linkbroadcast",
            [10, 77, 0, 1].into(),
            [100, 64, 1, 255].into(),
        ),
        ("dropped", [10, 77, 0, 1].into(), [203, 0, 113, 9].into()),
    ];
    let cases6: [(&str, Ipv6Addr, Ipv6Addr); 4] = [
        (
            "duplicates",
            Ipv6Addr::UNSPECIFIED,
            "ff02::1:ff00:1".parse()?,
        ),
        (
            "solicitation",
            "2001:db8:77::1".parse()?,
            "ff02::1:ff00:1".parse()?,
        ),
        (
            "fromlinklocal6",
            "fe80::9".parse()?,
            "2001:db8:10::7".parse()?,
        ),
        (
            "dropped6",
            "2001:db8:77::1".parse()?,
            "2001:db8:10::9".parse()?,
        ),
    ];
    let mut rules = String::from("table inet seen {\n");
    let mut frames = Vec::new();
    let mut chain = String::new();
    let wire = &lab.subscriber("bob").wire;
    let mut case = |name: &str, family: &str, ends: (String, String), packet: Payload| {
        rules += &format!("counter {name} {{ }}\n");
        chain += &format!(
            "{family} saddr {} {family} daddr {} counter name {name}\n",
            ends.0, ends.1
        );
        frames.push(
            Frame::new(packet)
                .stations(wire.near.mac, wire.far.mac)
                .build(),
        );
    };
    for (name, from, to) in cases4 {
        let packet = Ipv4::new(from, to).udp(68, 67, b"x");
        case(
            name,
            "ip",
            (from.to_string(), to.to_string()),
            packet.into(),
        );
    }
    for (name, from, to) in cases6 {
        let packet = Ipv6::new(from, to).udp(546, 547, b"x");
        case(
            name,
            "ip6",
            (from.to_string(), to.to_string()),
            packet.into(),
        );
    }
    lab.gateway.nft(&format!(
        "{rules}chain seen {{ type filter hook prerouting priority -400\n{chain}drop\n}}\n}}"
    ))?;
    send_frames(&wire.near, &frames)?;
    lab.settle()?;
    let counted = lab
        .gateway
        .run("nft", &["-j", "list", "counters", "table", "inet", "seen"])?;
    let counted: serde_json::Value = serde_json::from_str(&counted)?;
    let counters = counted["nftables"].as_array().context("no counters")?;
    let seen: BTreeMap<&str, u64> = counters
        .iter()
        .filter_map(|entry| {
            let counter = &entry["counter"];
            Some((counter["name"].as_str()?, counter["packets"].as_u64()?))
        })
        .collect();
    let names = cases4
        .map(|(name, ..)| name)
        .into_iter()
        .chain(cases6.map(|(name, ..)| name));
    let expected: BTreeMap<&str, u64> = names
        .map(|name| (name, u64::from(!name.starts_with("dropped"))))
        .collect();
    assert_eq!(seen, expected);
    let unknown: u64 = agent
        .bill()?
        .unattributed
        .values()
        .map(|flow| flow.up.packets)
        .sum();
    assert_eq!(unknown, frames.len() as u64);
    agent.check_order()
}
