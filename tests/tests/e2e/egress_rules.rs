//! The rules on tc egress: who is cut off receives nothing, buckets end, the unknown are dropped, and the gateway
//! itself always gets through.

use std::net::SocketAddrV4;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::Result;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
};
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::{HOOKS, lab, with_hook};
use zerorate_tests::frames::{Ipv4, Payload};
use zerorate_tests::netns::NetNs;
use zerorate_tests::town::{self, lines, volume};
use zerorate_tests::traffic::{tcp_within, udp};

#[test]
fn between_two_subscribers_it_is_up_for_one_and_down_for_the_other() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        let agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
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
        let agent = town::egress_agent(&lab, &with_hook(hook))
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
        let agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let bob = lab.subscriber("bob");
        let patience = Duration::from_millis(1500);
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
