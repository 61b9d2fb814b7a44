//! Tags: nftables, routing and receivers tell packets apart by what zerorate found out about them.

use std::collections::BTreeMap;

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::with_hook;
use zerorate_tests::frames::{Frame, Ipv4, Ipv6, Pppoe};
use zerorate_tests::marks::{counts, seen, watch};
use zerorate_tests::netns::NetNs;
use zerorate_tests::ping::ping;
use zerorate_tests::raw::send_frames;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, SUBSCRIBERS};
use zerorate_tests::traffic::{Transfer, tcp, udp};
use zerorate_tests::veth::Veth;

const CLASSES: &str = "[tags.classes]\ngovernment = 1\nmessengers = 2\ninternet = 34";

/// A rule for each class and each payer, by the part of the mark that says it.
const RULES: [(&str, &str); 10] = [
    ("government", "meta mark & 0x0ff00000 == 0x00100000"),
    ("messengers", "meta mark & 0x0ff00000 == 0x00200000"),
    ("internet", "meta mark & 0x0ff00000 == 0x02200000"),
    ("unattributed", "meta mark & 0x000f0000 == 0x00000000"),
    ("free", "meta mark & 0x000f0000 == 0x00010000"),
    ("metered", "meta mark & 0x000f0000 == 0x00020000"),
    ("bucket", "meta mark & 0x000f0000 == 0x00030000"),
    ("blocked", "meta mark & 0x000f0000 == 0x00040000"),
    ("dropped", "meta mark & 0x000f0000 == 0x00050000"),
    ("others", "meta mark & 0xf000ffff != 0"),
];

/// An agent whose packets carry marks.
fn marking(lab: &Lab, settings: &str) -> Result<Agent> {
    town::agent_with(lab, &format!("tag = \"mark\"\n{settings}"))
        .section(CLASSES)
        .start()
}

/// What was seen since `before`.
fn since(namespace: &NetNs, before: &BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>> {
    let mut now = seen(namespace)?;
    for (name, packets) in before {
        if let Some(now) = now.get_mut(name) {
            *now -= packets;
        }
    }
    now.retain(|_, packets| *packets > 0);
    Ok(now)
}

#[test]
fn nftables_tells_classes_and_payers_apart() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for (mode, hook) in [
        ("native", "tcx"),
        ("native", "clsact"),
        ("generic", "tcx"),
        ("generic", "clsact"),
    ] {
        let lab = town::lab().build()?;
        let settings = format!("mode = \"{mode}\"\n{}", with_hook(hook));
        let agent = marking(&lab, &settings)?;
        watch(&lab.gateway, "prerouting priority -300", &RULES)?;
        let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
        // Both ways: what is asked comes from the subscriber, what is answered from the core.
        for (address, count, expected) in [
            (town::GOVERNMENT, 3, [("government", 6), ("free", 6)]),
            (town::INTERNET, 2, [("internet", 4), ("bucket", 4)]),
        ] {
            let before = seen(&lab.gateway)?;
            let remote = lab.remote(address);
            assert_eq!(ping(&alice.v4(), &remote, count, 72)?, usize::from(count));
            let now = since(&lab.gateway, &before)?;
            assert_eq!(now, counts(expected), "{mode} {hook} {address}");
        }
        let before = seen(&lab.gateway)?;
        assert_eq!(ping(&alice.v6(), &lab.remote(town::GOVERNMENT6), 1, 72)?, 1);
        assert_eq!(
            since(&lab.gateway, &before)?,
            counts([("government", 2), ("free", 2)])
        );
        // 64 packets empty the bucket, the others are metered.
        let before = seen(&lab.gateway)?;
        assert_eq!(
            udp(&alice.v4(), &lab.remote(town::MESSENGERS), 70, 972)?,
            70
        );
        assert_eq!(
            since(&lab.gateway, &before)?,
            counts([("messengers", 70), ("bucket", 64), ("metered", 6)]),
            "{mode} {hook}"
        );
        // Who is nobody's has a class all the same.
        bob.namespace.ip("route add local 10.77.0.1 dev lo")?;
        let before = seen(&lab.gateway)?;
        assert_eq!(
            udp(&bob.at("10.77.0.1"), &lab.remote(town::INTERNET), 4, 72)?,
            4
        );
        assert_eq!(
            since(&lab.gateway, &before)?,
            counts([("internet", 4), ("unattributed", 4)])
        );
        assert_eq!(agent.status()?["untagged_packets"], 0);
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn what_is_dropped_by_mark_is_dropped_by_nftables() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = marking(&lab, "")?;
    lab.gateway.nft(
        "table inet house { chain forward { type filter hook forward priority filter; \
         meta mark & 0x0ff00000 == 0x02200000 drop\n}\n}",
    )?;
    let alice = lab.subscriber("alice");
    assert_eq!(ping(&alice.v4(), &lab.remote(town::GOVERNMENT), 2, 72)?, 2);
    assert_eq!(ping(&alice.v4(), &lab.remote(town::INTERNET), 2, 72)?, 0);
    assert_eq!(ping(&alice.v6(), &lab.remote(town::INTERNET6), 2, 72)?, 0);
    agent.check_order()
}

#[test]
fn an_ip_rule_routes_a_class_another_way() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    // A second way to the remotes, for messengers only.
    let exchange = Veth::new((&lab.gateway, "core1"), (&lab.remote, "eth1"), 1500)?;
    exchange.near.add_address("100.101.0.1/24".parse()?)?;
    exchange.far.add_address("100.101.0.2/24".parse()?)?;
    exchange
        .near
        .add_neighbour("100.101.0.2".parse()?, exchange.far.mac)?;
    lab.gateway
        .ip("route add default via 100.101.0.2 dev core1 table 200\n\
         rule add fwmark 0x00200000/0x0ff00000 table 200")?;
    let agent = marking(&lab, "")?;
    let alice = lab.subscriber("alice").v4();
    let before = (exchange.read()?, lab.core.read()?);
    assert_eq!(udp(&alice, &lab.remote(town::MESSENGERS), 20, 72)?, 20);
    assert_eq!(udp(&alice, &lab.remote(town::INTERNET), 7, 72)?, 7);
    lab.settle()?;
    let sent = |wire: &Veth, before| anyhow::Ok(wire.since(before)?.near_sent.packets);
    assert_eq!(sent(&exchange, &before.0)?, 20);
    assert_eq!(sent(&lab.core, &before.1)?, 7);
    agent.check_order()
}

#[test]
fn what_passes_though_it_should_not_says_so() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    watch(&lab.gateway, "prerouting priority -300", &RULES)?;
    let agent = town::agent_with(&lab, "tag = \"mark\"\nenforce = false\non_block = \"mark\"")
        .section(CLASSES)
        .subscribers(&SUBSCRIBERS.replace("alice,basic,active", "alice,basic,suspended"))
        .start()?;
    let alice = lab.subscriber("alice").v4();
    assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 2, 72)?, 2);
    assert_eq!(
        seen(&lab.gateway)?,
        counts([("internet", 4), ("dropped", 4)])
    );
    agent.check_order()
}

/// What leaves through tc has the mark that later tc programs, and the queue, see.
#[test]
fn on_egress_the_mark_is_set_and_other_bits_stay() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in ["tcx", "clsact"] {
        let lab = town::lab().build()?;
        let agent = town::egress_agent(&lab, &format!("tag = \"mark\"\n{}", with_hook(hook)))
            .section(CLASSES)
            .start()?;
        // Bits of somebody else, and bits of ours that are not right.
        lab.gateway.nft(
            "table inet other { chain forward { type filter hook forward priority filter; \
             oifname access0 meta mark set 0xf7770001\n}\n}",
        )?;
        let alice = lab.subscriber("alice").v4();
        let (office, internet) = (lab.remote(town::GOVERNMENT), lab.remote(town::INTERNET));
        let access = &lab.access[0].far;
        assert_eq!(ping(&alice, &office, 1, 72)?, 1);
        access.drop_marked_on_egress(77, 0xffff_ffff, 0xf011_0001)?;
        assert_eq!(ping(&alice, &office, 2, 72)?, 0, "{hook}");
        assert_eq!(ping(&alice, &internet, 2, 72)?, 2, "{hook}");
        // By payer alone.
        access.drop_marked_on_egress(78, 0x000f_0000, 0x0003_0000)?;
        assert_eq!(ping(&alice, &internet, 2, 72)?, 0, "{hook}");
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn a_mask_of_ones_own_is_kept_to() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    watch(
        &lab.gateway,
        "prerouting priority -300",
        &[
            ("office", "meta mark 0x00000221"),
            ("internet", "meta mark 0x00000003"),
        ],
    )?;
    // At the lower end of the mark: four bits for the payer, six for the class.
    let agent = town::agent_with(&lab, "tag = \"mark\"")
        .section("[tags]\nmask = 0x3ff\n[tags.classes]\ngovernment = 34")
        .start()?;
    let alice = lab.subscriber("alice").v4();
    assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 2, 72)?, 2);
    // Without a number: nothing but who pays.
    assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 3, 72)?, 3);
    assert_eq!(
        seen(&lab.gateway)?,
        counts([("office", 4), ("internet", 6)])
    );
    agent.check_order()
}

#[test]
fn a_class_without_a_policy_is_a_warning_and_one_that_comes_is_tagged() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    watch(
        &lab.gateway,
        "prerouting priority -300",
        &[("news", "meta mark & 0x0ff00000 == 0x00500000")],
    )?;
    let agent = town::agent_with(&lab, "tag = \"mark\"")
        .section("[tags.classes]\nnews = 5")
        .start()?;
    let said = agent.log();
    let warning = "[tags.classes] of the configuration has a number for `news`, and policy town has no such class";
    assert!(said.contains(warning), "{said}");
    let alice = lab.subscriber("alice").v4();
    let remote = lab.remote(town::INTERNET);
    assert_eq!(ping(&alice, &remote, 1, 72)?, 1);
    assert_eq!(seen(&lab.gateway)?, counts([]));
    agent.write_policy(&town::POLICY.replace("internet", "news"))?;
    let said = agent.reload()?;
    assert!(!said.contains("[tags.classes]"), "{said}");
    assert_eq!(ping(&alice, &remote, 2, 72)?, 2);
    assert_eq!(seen(&lab.gateway)?, counts([("news", 4)]));
    agent.check_order()
}

/// Rules that count what arrives with a DSCP and an ECN; a packet whose checksum is wrong does not come so far.
fn dscp_rules(rules: &[(String, String)]) -> Vec<(&str, &str)> {
    rules
        .iter()
        .map(|(name, expression)| (&**name, &**expression))
        .collect()
}

/// `NAME`: an IPv4, `NAME6`: an IPv6 datagram from an interface, with that DSCP, and ECN `ect1`.
fn rule(interface: &str, name: &str, dscp: u32) -> [(String, String); 2] {
    let from = format!("iifname {interface} udp dport 9");
    [
        (
            name.to_owned(),
            format!("{from} ip dscp {dscp} ip ecn ect1"),
        ),
        (
            format!("{name}6"),
            format!("{from} ip6 dscp {dscp} ip6 ecn ect1"),
        ),
    ]
}

#[test]
fn receivers_see_the_dscp_of_the_class() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    /// Expedited forwarding, which the sender asks for, and ECN 1.
    const ASKED: u8 = 46 << 2 | 1;
    for (egress, hook, mode) in [
        (false, "auto", "native"),
        (false, "auto", "generic"),
        (true, "tcx", "native"),
        (true, "clsact", "native"),
    ] {
        let case = format!("egress {egress}, {hook}, {mode}");
        let lab = town::lab().build()?;
        let mut settings = format!("tag = \"dscp\"\nmode = \"{mode}\"");
        if egress {
            settings += &format!("\n{}", with_hook(hook));
        }
        let agent = if egress {
            town::egress_agent(&lab, &settings)
        } else {
            town::agent_with(&lab, &settings)
        };
        let agent = agent
            .section("[tags.classes]\ngovernment = 10\nmessengers = 0")
            .start()?;
        let alice = lab.subscriber("alice");
        for (namespace, interface) in [(&lab.remote, "eth0"), (&alice.namespace, "eth0")] {
            let rules = [rule(interface, "changed", 10), rule(interface, "kept", 46)].concat();
            watch(
                namespace,
                "input priority 0",
                &dscp_rules(&[rules, rule(interface, "cleared", 0).to_vec()].concat()),
            )?;
        }
        let v4 = |from: &str, to: &str| -> Result<Ipv4> {
            let mut packet = Ipv4::new(from.parse()?, to.parse()?);
            packet.traffic_class = ASKED;
            packet.identification = 0xbeef;
            Ok(packet.udp(9, 9, b"hello"))
        };
        let v6 = |from: &str, to: &str| -> Result<Ipv6> {
            let mut packet = Ipv6::new(from.parse()?, to.parse()?);
            packet.traffic_class = ASKED;
            packet.flow_label = 0xabcde;
            Ok(packet.udp(9, 9, b"hello"))
        };
        let (a4, a6) = ("10.1.0.1", "2001:db8:a::1");
        let mut messenger = v4(a4, town::MESSENGERS)?;
        messenger.options = vec![1; 4];
        let up: Vec<Frame> = vec![
            Frame::new(v4(a4, town::GOVERNMENT)?),
            Frame::new(v6(a6, town::GOVERNMENT6)?),
            Frame::new(messenger),
            Frame::new(v4(a4, town::INTERNET)?),
            Frame::new(v6(a6, town::INTERNET6)?),
        ];
        let down: Vec<Frame> = vec![
            Frame::new(v4(town::GOVERNMENT, a4)?),
            Frame::new(v6(town::GOVERNMENT6, a6)?),
            Frame::new(v4(town::MESSENGERS, a4)?),
            Frame::new(v4(town::INTERNET, a4)?),
            Frame::new(v6(town::INTERNET6, a6)?),
        ];
        let expected = counts([
            ("changed", 1),
            ("changed6", 1),
            ("cleared", 1),
            ("kept", 1),
            ("kept6", 1),
        ]);
        let send = |wire: &Veth, up: bool, frames: Vec<Frame>| {
            let (from, to) = if up {
                (&wire.near, &wire.far)
            } else {
                (&wire.far, &wire.near)
            };
            let frames: Vec<Vec<u8>> = frames
                .into_iter()
                .map(|frame| frame.stations(from.mac, to.mac).build())
                .collect();
            send_frames(from, &frames)
        };
        send(&alice.wire, true, up)?;
        send(&lab.core, false, down)?;
        lab.settle()?;
        assert_eq!(seen(&lab.remote)?, expected, "up, {case}");
        assert_eq!(seen(&alice.namespace)?, expected, "down, {case}");
        assert_eq!(agent.status()?["untagged_packets"], 0);
        agent.check_order()?;
    }
    Ok(())
}

/// Trains of segments are one packet on egress: each segment has the DSCP.
#[test]
fn whole_connections_carry_the_dscp_and_arrive() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for egress in [false, true] {
        let lab = town::lab().build()?;
        let agent = if egress {
            town::egress_agent(&lab, "tag = \"dscp\"")
        } else {
            town::agent_with(&lab, "tag = \"dscp\"")
        };
        let agent = agent.section("[tags.classes]\ngovernment = 34").start()?;
        let alice = lab.subscriber("alice");
        let from = "iifname eth0 meta l4proto tcp";
        let [other4, other6] = ["ip", "ip6"].map(|family| format!("{from} {family} dscp != 34"));
        let [dscp4, dscp6] = ["ip", "ip6"].map(|family| format!("{from} {family} dscp 34"));
        for namespace in [&lab.remote, &alice.namespace] {
            watch(
                namespace,
                "prerouting priority -300",
                &[
                    ("other4", &other4),
                    ("other6", &other6),
                    ("dscp4", &dscp4),
                    ("dscp6", &dscp6),
                ],
            )?;
        }
        for (near, far) in [
            (alice.v4(), town::GOVERNMENT),
            (alice.v6(), town::GOVERNMENT6),
        ] {
            let moved = tcp(&near, &lab.remote(far), 300_000, 2_000_000)?;
            let all = Transfer {
                up: 300_000,
                down: 2_000_000,
            };
            assert_eq!(moved, all);
        }
        lab.settle()?;
        for namespace in [&lab.remote, &alice.namespace] {
            let names: Vec<String> = seen(namespace)?.into_keys().collect();
            assert_eq!(names, ["dscp4", "dscp6"], "egress {egress}");
        }
        agent.check_order()?;
    }
    Ok(())
}

/// Behind VLAN tags and in a PPPoE session the header is somewhere else. Nobody on the gateway opens these: what
/// arrives is looked at as it comes out of XDP.
#[test]
fn headers_behind_tags_and_in_sessions_are_rewritten() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    // Bytes of the IPv4 header, counted in bits from the Ethernet payload.
    lab.gateway.nft(
        "table netdev seen {
            counter tagged { }
            counter session { }
            chain seen { type filter hook ingress device access0 priority 0
                vlan id 7 ip dscp 10 ip ecn ect1 counter name tagged
                ether type 0x8864 @nh,72,8 41 @nh,144,16 0x1234 counter name session
            }
        }",
    )?;
    let agent = town::agent_with(&lab, "tag = \"dscp\"")
        .section("[tags.classes]\ngovernment = 10")
        .start()?;
    let alice = lab.subscriber("alice");
    let mut packet = Ipv4::new("10.1.0.1".parse()?, town::GOVERNMENT.parse()?).udp(9, 9, b"x");
    packet.traffic_class = 46 << 2 | 1;
    // Its checksum as it is to be when the DSCP is another.
    let mut after = packet.clone();
    after.traffic_class = 10 << 2 | 1;
    let sum = u16::from_be_bytes([after.build()[10], after.build()[11]]);
    let wire = &alice.wire;
    let frames = [
        Frame::new(packet.clone()).tag(0x8100, 7),
        Frame::new(packet).pppoe(Pppoe::session(1)),
    ];
    let frames = frames.map(|frame| frame.stations(wire.near.mac, wire.far.mac).build());
    let rules = lab
        .gateway
        .run("nft", &["list", "table", "netdev", "seen"])?
        .replace("0x1234", &format!("{sum:#06x}"))
        .replace("4660", &format!("{sum}"));
    lab.gateway.nft("delete table netdev seen")?;
    lab.gateway.nft(&rules)?;
    send_frames(&wire.near, &frames)?;
    lab.settle()?;
    let said = lab
        .gateway
        .run("nft", &["list", "counters", "table", "netdev", "seen"])?;
    assert_eq!(said.matches("packets 1 ").count(), 2, "{said}");
    agent.check_order()
}
