//! Downlink on tc egress: trains of segments are counted as the packets they become, on whatever hook the kernel
//! has, and each once.
//!
//! What is true is counted where it arrives: a subscriber's interface with a native XDP program receives every
//! packet by itself, because its peer has to cut trains apart behind the hook.

use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;

use anyhow::Result;
use nix::sys::socket::sockopt::UdpGsoSegment;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, setsockopt,
};
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::frames::{Frame, Ipv4, Ipv6, Payload, Pppoe};
use zerorate_tests::netns::{Endpoint, NetNs};
use zerorate_tests::ping::ping;
use zerorate_tests::raw::send_frames;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, volume};
use zerorate_tests::traffic::{tcp, tcp_within, udp};
use zerorate_tests::xdp::Mode;

/// A TCP flag that nobody answers.
const RESET: u8 = 4;
const HOOKS: [&str; 2] = ["tcx", "clsact"];

/// The town, with every packet a subscriber receives counted on its wire. No more of TCP is under way than the
/// wire's ring takes: what it loses was counted, and nobody could say of how many bytes it was.
fn lab(offloads: bool, mtu: u16) -> Result<Lab> {
    let lab = town::lab().offloads(offloads).mtu(mtu).build()?;
    for subscriber in &lab.subscribers {
        subscriber.wire.near.attach_pass_program(Mode::Native)?;
        subscriber
            .namespace
            .set("ipv4/tcp_rmem", "4096 131072 131072")?;
    }
    Ok(lab)
}

/// What went over a subscriber's wire while `work` was done, until all wires fell silent.
fn over_the_wire(lab: &Lab, name: &str, work: impl FnOnce() -> Result<()>) -> Result<Flow> {
    let wire = &lab.subscriber(name).wire;
    let before = wire.read()?;
    work()?;
    lab.settle()?;
    let went = wire.since(&before)?;
    assert_eq!(went.lost, 0, "lost on the wire");
    Ok(Flow {
        up: went.far_received,
        down: went.near_received,
    })
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
        let agent = town::egress_agent(&lab, &format!("tc = \"{hook}\"")).start()?;
        let alice = lab.subscriber("alice");
        let mut sum = Flow::default();
        for (near, far) in [
            (alice.v4(), town::GOVERNMENT),
            (alice.v6(), town::GOVERNMENT6),
        ] {
            let far = lab.remote(far);
            for (up, down) in [(0, 64 << 20), (700_000, 900_000)] {
                let went = over_the_wire(&lab, "alice", || tcp(&near, &far, up, down).map(drop))?;
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
        let agent = town::egress_agent(&lab, &format!("tc = \"{hook}\"")).start()?;
        let alice = lab.subscriber("alice");
        // Room for a train of 64 kB and more, and still fewer packets than the wire's ring takes.
        alice.namespace.set("ipv4/tcp_rmem", "4096 700000 700000")?;
        // A smaller MTU, because the gateway takes the length option of a long train, which no packet on the
        // wire has, for a part of each.
        let settings = "link set eth0 mtu 1400 gso_max_size 100000";
        lab.remote.ip(settings)?;
        lab.gateway.nft(LONG)?;
        let far = lab.remote(town::GOVERNMENT6);
        let went = over_the_wire(&lab, "alice", || {
            tcp(&alice.v6(), &far, 0, 64 << 20).map(drop)
        })?;
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
        let agent = town::egress_agent(&lab, &format!("tc = \"{hook}\"")).start()?;
        let alice = lab.subscriber("alice");
        let mut expected = Flow::default();
        for (near, far, header) in [
            (alice.v4(), town::GOVERNMENT, 28),
            (alice.v6(), town::GOVERNMENT6, 48),
        ] {
            let far = lab.remote(far);
            let went = over_the_wire(&lab, "alice", || {
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
        sum += over_the_wire(&lab, "alice", || {
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
fn between_two_subscribers_it_is_up_for_one_and_down_for_the_other() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        let agent = town::egress_agent(&lab, &format!("tc = \"{hook}\"")).start()?;
        let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
        assert_eq!(udp(&alice.v4(), &bob.at("10.1.0.15"), 20, 72)?, 20);
        assert_eq!(udp(&bob.at("2001:db8:b:ff::9"), &alice.v6(), 10, 52)?, 10);
        lab.settle()?;
        let (there, back) = (volume(20, 100), volume(10, 100));
        let expected = lines([
            (
                "alice",
                "internet",
                "main",
                Flow {
                    up: there,
                    down: back,
                },
            ),
            (
                "bob",
                "internet",
                "main",
                Flow {
                    up: back,
                    down: there,
                },
            ),
        ]);
        assert_eq!(agent.bill()?.usage, expected, "{hook}");
        agent.check_order()?;
    }
    Ok(())
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

/// Sends packets with whatever source they have.
fn send_from_here(from: &NetNs, packets: &[Ipv4]) -> Result<()> {
    from.enter(|| {
        let socket = socket::socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )?;
        for packet in packets {
            let bytes = Payload::from(packet.clone()).bytes;
            let to = SockaddrIn::from(SocketAddrV4::new(packet.destination, 0));
            socket::sendto(socket.as_raw_fd(), &bytes, &to, MsgFlags::empty())?;
        }
        Ok(())
    })
}

#[test]
fn who_is_suspended_receives_nothing_but_what_is_essential() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        let suspended = town::SUBSCRIBERS.replace("bob,small,active", "bob,small,suspended");
        let agent = town::egress_agent(&lab, &format!("tc = \"{hook}\""))
            .subscribers(&suspended)
            .start()?;
        let bob = lab.subscriber("bob").v4();
        let (internet, office) = (lab.remote(town::INTERNET), lab.remote(town::GOVERNMENT));
        assert_eq!(udp(&internet, &bob, 20, 72)?, 0);
        assert_eq!(udp(&office, &bob, 20, 72)?, 20);
        let all = volume(20, 100);
        let down = |down| Flow {
            down,
            ..Flow::default()
        };
        let mut expected = lines([
            ("bob", "government", "free", down(all)),
            ("bob", "internet", "dropped", down(all)),
        ]);
        lab.settle()?;
        assert_eq!(agent.bill()?.usage, expected, "{hook}");

        // What the gateway says itself gets through, whatever the plan says of it.
        let gateway = lab.gateway.at("100.64.1.1".parse()?);
        assert_eq!(udp(&gateway, &bob, 10, 72)?, 10);
        // In another's name it is another's.
        let forged = Ipv4::new(town::INTERNET.parse()?, [10, 1, 0, 9].into());
        send_from_here(&lab.gateway, &vec![forged.udp(1, 9, &[0; 72]); 10])?;
        lab.settle()?;
        expected.extend(lines([(
            "bob",
            "internet",
            "dropped",
            down(volume(40, 100)),
        )]));
        assert_eq!(agent.bill()?.usage, expected, "{hook}");
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn the_unknown_are_dropped_and_the_gateway_reaches_them() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = lab(true, 1500)?;
    let agent = town::egress_agent(&lab, "unknown = \"drop\"")
        .subscribers("bob,small,active,10.1.0.8/29")
        .start()?;
    let alice = lab.subscriber("alice").v4();
    assert_eq!(udp(&lab.remote(town::GOVERNMENT), &alice, 10, 72)?, 0);
    assert_eq!(
        udp(&lab.gateway.at("100.64.0.1".parse()?), &alice, 5, 72)?,
        5
    );
    lab.settle()?;
    let bill = agent.bill()?;
    let down = |class: &str| bill.unattributed.get(class).map(|flow| flow.down);
    assert_eq!(down("government"), Some(volume(10, 100)));
    assert_eq!(down("internet"), Some(volume(5, 100)));
    assert!(bill.usage.is_empty(), "{bill:#?}");
    agent.check_order()
}

#[test]
fn a_bucket_runs_over_by_one_train_at_most() -> Result<()> {
    /// 64 KiB in packets of 1,448 bytes with 52 of headers, and one packet for what was under way the other way.
    const TRAIN: i64 = 65_536 + 46 * 52 + 1500;
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        let agent = town::egress_agent(&lab, &format!("tc = \"{hook}\"")).start()?;
        let bob = lab.subscriber("bob");
        let patience = std::time::Duration::from_millis(1500);
        let remote = lab.remote(town::INTERNET);
        let broken = tcp_within(&bob.v4(), &remote, 0, 4 << 20, patience);
        assert!(broken.is_err(), "{broken:?}");
        lab.settle()?;
        let bill = agent.bill()?;
        let paid = bill.charged("bob", "internet", "main");
        let left = agent.left("bob", "main")?;
        assert_eq!(
            left,
            500_000 - i64::try_from(paid.up.bytes + paid.down.bytes)?
        );
        assert!((-TRAIN..=0).contains(&left), "{hook}: {left}");
        // Larger than a packet, or there was no train.
        let mean = paid.down.bytes / paid.down.packets;
        assert!(mean > 1000, "{mean}");
        assert!(bill.charged("bob", "internet", "dropped").down.bytes > 0);
        agent.check_order()?;
    }
    Ok(())
}
