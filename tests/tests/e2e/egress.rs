//! Downlink on tc egress is counted to the byte: trains of segments as the packets they become, whatever they are
//! made of.

use std::net::UdpSocket;

use anyhow::Result;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGsoSegment;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::{HOOKS, lab, over_the_wires, with_hook};
use zerorate_tests::frames::{Frame, Ipv4, Ipv6, Payload, Pppoe};
use zerorate_tests::netns::Endpoint;
use zerorate_tests::ping::ping;
use zerorate_tests::raw::send_frames;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, volume};
use zerorate_tests::traffic::{tcp, udp};

/// A TCP flag that nobody answers.
const RESET: u8 = 4;

/// What went over the wires while `work` was done, of which nothing was lost.
fn over_the_wire(lab: &Lab, work: impl FnOnce() -> Result<()>) -> Result<Flow> {
    let went = over_the_wires(lab, work)?;
    assert_eq!(went.lost, 0, "lost on the wire");
    Ok(went.received)
}

#[test]
fn tcp_is_counted_as_the_subscriber_receives_it() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for (hook, offloads, mtu) in [
        ("tcx", true, 1500),
        ("clsact", true, 1500),
        ("tcx", false, 1500),
        ("tcx", true, 3000),
    ] {
        let lab = lab(offloads, mtu)?;
        let agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let alice = lab.subscriber("alice");
        let mut sum = Flow::default();
        for (near, far) in [
            (alice.v4(), town::GOVERNMENT),
            (alice.v6(), town::GOVERNMENT6),
        ] {
            let far = lab.remote(far);
            for (up, down) in [(0, 64 << 20), (700_000, 900_000)] {
                let went = over_the_wire(&lab, || tcp(&near, &far, up, down).map(drop))?;
                assert!(went.down.bytes > down && went.up.bytes > up, "{went:?}");
                sum += went;
            }
        }
        let expected = lines([("alice", "government", "free", sum)]);
        assert_eq!(
            agent.bill()?.usage,
            expected,
            "{hook}, offloads {offloads}, MTU {mtu}"
        );
        let books = agent.bill()?.books;
        let core = books
            .iter()
            .find(|books| books.interface.as_deref() == Some("core0"));
        assert_eq!(core, None);
        agent.check_order()?;
    }
    Ok(())
}

/// How many packets longer than IPv4 can say the gateway has passed on.
const LONG: &str = "table inet long {
    counter long_ones { }
    chain forward {
        type filter hook forward priority 0; policy accept;
        meta length > 65600 counter name long_ones
    }
}";

#[test]
fn trains_longer_than_ip_can_say_are_counted() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        let agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let alice = lab.subscriber("alice");
        // Room for a train of 64 kB and more, and still fewer packets than the wire's ring takes.
        alice.namespace.set("ipv4/tcp_rmem", "4096 700000 700000")?;
        // A smaller MTU, because the gateway takes the length option of a long train, which no packet on the
        // wire has, for a part of each.
        let settings = "link set eth0 mtu 1400 gso_max_size 100000";
        lab.remote.ip(settings)?;
        lab.gateway.nft(LONG)?;
        let far = lab.remote(town::GOVERNMENT6);
        let went = over_the_wire(&lab, || tcp(&alice.v6(), &far, 0, 64 << 20).map(drop))?;
        let expected = lines([("alice", "government", "free", went)]);
        assert_eq!(agent.bill()?.usage, expected, "{hook}");
        let long = lab.gateway.run("nft", &["list", "counters"])?;
        assert!(!long.contains("packets 0 bytes"), "no long train: {long}");
        agent.check_order()?;
    }
    Ok(())
}

/// Sends datagrams as trains: each `count` of `size` bytes, and one that is shorter.
fn udp_train(from: &Endpoint, to: &Endpoint, count: usize, size: usize) -> Result<()> {
    let bind = |end: &Endpoint| end.namespace.enter(|| UdpSocket::bind((end.address, 0)));
    let (sender, receiver) = (bind(from)?, bind(to)?);
    sender.connect(receiver.local_addr()?)?;
    setsockopt(&sender, UdpGsoSegment, &i32::try_from(size)?)?;
    assert_eq!(sender.send(&vec![7; count * size + 1])?, count * size + 1);
    let mut buffer = [0; 2000];
    for _ in 0..count {
        assert_eq!(receiver.recv(&mut buffer)?, size);
    }
    assert_eq!(receiver.recv(&mut buffer)?, 1);
    Ok(())
}

#[test]
fn trains_of_datagrams_are_counted() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        let agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let alice = lab.subscriber("alice");
        let mut expected = Flow::default();
        for (near, far, header) in [
            (alice.v4(), town::GOVERNMENT, 28),
            (alice.v6(), town::GOVERNMENT6, 48),
        ] {
            let far = lab.remote(far);
            let went = over_the_wire(&lab, || {
                for _ in 0..5 {
                    udp_train(&far, &near, 40, 1000)?;
                }
                Ok(())
            })?;
            let trains = volume(5 * 40, 1000 + header) + volume(5, 1 + header);
            assert_eq!(
                went,
                Flow {
                    down: trains,
                    ..Flow::default()
                }
            );
            expected += went;
        }
        let expected = lines([("alice", "government", "free", expected)]);
        assert_eq!(agent.bill()?.usage, expected, "{hook}");
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn datagrams_fragments_and_echoes_are_counted_to_the_byte() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = lab(true, 1500)?;
    let agent = town::egress_agent(&lab, "").start()?;
    let alice = lab.subscriber("alice");
    let mut sum = Flow::default();
    for (near, far) in [
        (alice.v4(), town::GOVERNMENT),
        (alice.v6(), town::GOVERNMENT6),
    ] {
        let far = lab.remote(far);
        sum += over_the_wire(&lab, || {
            for size in [0, 1000, 4000] {
                assert_eq!(udp(&far, &near, 30, size)?, 30);
                assert_eq!(udp(&near, &far, 20, size)?, 20);
                assert_eq!(ping(&near, &far, 5, size)?, 5);
            }
            Ok(())
        })?;
    }
    let expected = lines([("alice", "government", "free", sum)]);
    assert_eq!(agent.bill()?.usage, expected);
    agent.check_order()
}

#[test]
fn what_the_gateway_puts_on_the_wire_is_told_apart() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = lab(true, 1500)?;
    let agent = town::egress_agent(&lab, "").start()?;
    let wire = &lab.subscriber("alice").wire;
    let v4 = || Ipv4::new([203, 0, 113, 7].into(), [10, 1, 0, 1].into()).tcp(1, 9, RESET, &[0; 60]);
    let remote: std::net::Ipv6Addr = town::GOVERNMENT6.parse()?;
    let v6 = Ipv6::new(remote, "2001:db8:a::1".parse()?).tcp(1, 9, RESET, &[0; 40]);
    let frames = [
        Frame::new(v4()),
        Frame::new(v4()).tag(0x8100, 7),
        Frame::new(v4()).tag(0x88a8, 7).tag(0x8100, 8),
        Frame::new(v6).tag(0x8100, 7).pppoe(Pppoe::session(1)),
        // Three tags, another protocol, and two that cannot be IP.
        Frame::new(v4())
            .tag(0x88a8, 1)
            .tag(0x8100, 2)
            .tag(0x8100, 3),
        Frame::new(Payload::other(0x0806, &[0; 28])),
        Frame::new(Payload::other(0x0800, &[0x45, 0, 0, 0, 0, 0])),
        Frame::new(Payload::other(0x86dd, &[0x60; 39])),
    ];
    let frames = frames.map(|frame| frame.stations(wire.far.mac, wire.near.mac).build());
    send_frames(&wire.far, &frames)?;
    lab.settle()?;
    let expected = Flow {
        down: volume(4, 100),
        ..Flow::default()
    };
    let bill = agent.bill()?;
    assert_eq!(
        bill.usage,
        lines([("alice", "government", "free", expected)])
    );
    let books = bill.interface("access0");
    let packets = (
        books.packets,
        books.ip_packets,
        books.non_ip_packets,
        books.malformed_packets,
    );
    assert_eq!(packets, (8, 4, 2, 2));
    agent.check_order()
}
