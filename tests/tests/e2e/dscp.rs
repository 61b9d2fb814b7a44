//! Tags in DSCP: whoever receives a packet sees the number of its class in the header, with a right checksum, and ECN as it
//! was.

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::with_hook;
use zerorate_tests::frames::{Frame, Ipv4, Ipv6, Pppoe};
use zerorate_tests::marks::{counts, seen, watch};
use zerorate_tests::raw::send_frames;
use zerorate_tests::town;
use zerorate_tests::traffic::{Transfer, tcp};
use zerorate_tests::veth::Veth;

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
