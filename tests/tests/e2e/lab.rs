//! The lab itself, without zerorate in it: it is silent, it is exact, and it is gone afterwards.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters::{Volume, Wire};
use zerorate_tests::netns::NetNs;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::{Builder, Lab};
use zerorate_tests::traffic::{Load, Transfer, on_every_cpu, tcp, tcp_within, udp};
use zerorate_tests::veth::Veth;
use zerorate_tests::xdp::Mode;

fn two_subscribers() -> Builder {
    Lab::builder()
        .subscriber("alice", &["10.1.0.1/32", "2001:db8:a::1/64"])
        .subscriber("bob", &["10.1.0.9/29", "2001:db8:b::1/56"])
        .remotes(&["203.0.113.0/24", "2001:db8:10::/48"])
}

/// What a wire carried while `work` was done and until it fell silent.
fn carried(wire: &Veth, work: impl FnOnce() -> Result<()>) -> Result<Wire> {
    let before = wire.read()?;
    work()?;
    zerorate_tests::counters::settle([wire])?;
    wire.since(&before)
}

/// A wire on which both ends count the same, as much one way as the other.
fn both_ways(packets: u64, bytes: u64) -> Wire {
    let volume = Volume { packets, bytes };
    Wire {
        near_sent: volume,
        near_received: volume,
        far_sent: volume,
        far_received: volume,
        lost: 0,
        lost_by_far: 0,
    }
}

fn up_only(packets: u64, bytes: u64) -> Wire {
    let volume = Volume { packets, bytes };
    Wire {
        near_sent: volume,
        far_received: volume,
        ..Wire::default()
    }
}

fn assert_ends_agree(wire: &Wire) {
    assert_eq!(wire.near_sent, wire.far_received, "up");
    assert_eq!(wire.far_sent, wire.near_received, "down");
}

fn exists(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).exists()
}

#[test]
fn a_namespace_goes_with_its_last_handle_and_with_a_panic() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let namespace = NetNs::new("short")?;
    let name = namespace.name().to_owned();
    let handle = namespace.clone();
    drop(namespace);
    assert!(exists(&name));
    drop(handle);
    assert!(!exists(&name));

    let mut name = String::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let namespace = NetNs::new("panic").unwrap();
        namespace.name().clone_into(&mut name);
        assert!(!exists(&name), "this panics");
    }));
    assert!(panicked.is_err() && !exists(&name));
    Ok(())
}

#[test]
fn a_lab_is_silent() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for builder in [two_subscribers(), two_subscribers().shared_access()] {
        let lab = builder.build()?;
        // Group memberships are reported within a second, and again.
        sleep(Duration::from_secs(2));
        for wire in lab.wires() {
            let counts = lab.gateway.run("ip", &["-s", "link"])?;
            let state = wire.read()?;
            assert_eq!(wire.since(&state)?, Wire::default());
            assert!(
                state.is_zero(),
                "{} has spoken: {state:?}\n{counts}",
                wire.near.name
            );
        }
    }
    Ok(())
}

#[test]
fn echoes_are_counted_to_the_byte_on_every_wire() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().build()?;
    let alice = lab.subscriber("alice");
    let bob = lab.subscriber("bob").wire.read()?;
    let core = lab.core.read()?;
    let access = carried(&alice.wire, || {
        assert_eq!(ping(&alice.v4(), &lab.remote("203.0.113.7"), 5, 100)?, 5);
        assert_eq!(
            ping(&alice.v6(), &lab.remote("2001:db8:10:ffff::9"), 3, 100)?,
            3
        );
        Ok(())
    })?;
    let expected = both_ways(8, 5 * 128 + 3 * 148);
    assert_eq!(access, expected);
    assert_eq!(lab.core.since(&core)?, expected);
    assert_eq!(lab.subscriber("bob").wire.since(&bob)?, Wire::default());
    Ok(())
}

#[test]
fn every_address_of_a_prefix_sends_and_answers() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().build()?;
    let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
    for address in ["10.1.0.8", "10.1.0.15"] {
        assert_eq!(
            ping(&bob.at(address), &lab.remote("203.0.113.255"), 1, 0)?,
            1
        );
        assert_eq!(udp(&alice.v4(), &bob.at(address), 1, 1)?, 1);
    }
    for address in ["2001:db8:b::", "2001:db8:b:ff:ffff::1"] {
        assert_eq!(
            ping(&bob.at(address), &lab.remote("2001:db8:10::"), 1, 0)?,
            1
        );
        assert_eq!(
            udp(&lab.remote("2001:db8:10::1"), &bob.at(address), 1, 1)?,
            1
        );
    }
    Ok(())
}

#[test]
fn datagrams_and_fragments_are_counted_to_the_byte() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().build()?;
    let alice = lab.subscriber("alice");
    // (size, packets and IP bytes of one datagram as IPv4, and as IPv6)
    let cases = [
        (0, (1, 28), (1, 48)),
        (1000, (1, 1028), (1, 1048)),
        // 1480 bytes in a full fragment; 1448 behind IPv6's fragment header.
        (4000, (3, 8 + 4000 + 3 * 20), (3, 8 + 4000 + 3 * 48)),
    ];
    for (size, v4, v6) in cases {
        for (from, to, (packets, bytes)) in [
            (alice.v4(), lab.remote("203.0.113.7"), v4),
            (alice.v6(), lab.remote("2001:db8:10::7"), v6),
        ] {
            let wire = carried(&alice.wire, || {
                assert_eq!(udp(&from, &to, 300, size)?, 300);
                Ok(())
            })?;
            assert_eq!(
                wire,
                up_only(300 * packets, 300 * bytes),
                "{size} to {}",
                to.address
            );
        }
    }
    Ok(())
}

#[test]
fn both_ends_count_the_same_tcp() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    const MEGABYTES: u64 = 4_000_000;
    for offloads in [true, false] {
        let lab = two_subscribers().offloads(offloads).build()?;
        let alice = lab.subscriber("alice");
        for (from, to) in [
            (alice.v4(), lab.remote("203.0.113.7")),
            (alice.v6(), lab.remote("2001:db8:10::7")),
        ] {
            for (up, down) in [(MEGABYTES, 0), (0, MEGABYTES), (MEGABYTES, MEGABYTES)] {
                let core = lab.core.read()?;
                let access = carried(&alice.wire, || {
                    assert_eq!(tcp(&from, &to, up, down)?, Transfer { up, down });
                    Ok(())
                })?;
                let core = lab.core.since(&core)?;
                assert_ends_agree(&access);
                assert_ends_agree(&core);
                assert!(access.near_sent.bytes > up && access.near_received.bytes > down);
                if !offloads {
                    // No packet is larger than the wire takes: nothing was left out.
                    let most = access.near_sent + access.near_received;
                    assert!(most.bytes <= 1500 * most.packets);
                    assert_eq!(access.far_received, core.near_sent, "through the gateway");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn native_xdp_changes_how_the_kernel_counts_and_not_what_we_read() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().build()?;
    let alice = lab.subscriber("alice");
    let gateway = &alice.wire.far;
    let echoes = || {
        assert_eq!(ping(&alice.v4(), &lab.remote("203.0.113.7"), 10, 72)?, 10);
        Ok(())
    };
    lab.gateway.nft(
        "table inet count {
            counter received { }
            chain received {
                type filter hook prerouting priority -400
                iifname access0 counter name received
            }
        }",
    )?;
    let received = || {
        lab.gateway
            .run("nft", &["list", "counters", "table", "inet", "count"])
    };

    let before = alice.wire.read()?;
    assert_eq!(carried(&alice.wire, echoes)?, both_ways(10, 1000));
    gateway.attach_pass_program(Mode::Native)?;
    let refused = alice.wire.since(&before).unwrap_err().to_string();
    assert!(refused.contains("access0"), "{refused}");
    assert_eq!(carried(&alice.wire, echoes)?, both_ways(10, 1000));
    // The program also makes the sender cut TCP into packets of the wire's size.
    let wire = carried(&alice.wire, || {
        tcp(&alice.v4(), &lab.remote("203.0.113.7"), 3_000_000, 0).map(drop)
    })?;
    assert_eq!(wire.near_sent, wire.far_received);
    assert!(
        wire.near_sent.bytes <= 1500 * wire.near_sent.packets,
        "{wire:?}"
    );
    let expected = wire.near_sent
        + Volume {
            packets: 20,
            bytes: 2000,
        };
    let expected = format!("packets {} bytes {}", expected.packets, expected.bytes);
    assert!(
        received()?.contains(&expected),
        "{} is not {expected}",
        received()?
    );

    gateway.detach_program(Mode::Native)?;
    gateway.attach_pass_program(Mode::Generic)?;
    assert_eq!(carried(&alice.wire, echoes)?, both_ways(10, 1000));
    Ok(())
}

#[test]
fn a_shared_segment_shows_a_subscriber_only_its_own() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().shared_access().build()?;
    assert_eq!(lab.access.len(), 1);
    let uplink = lab.access[0].read()?;
    let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
    let bob_before = bob.wire.read()?;
    let alices = carried(&alice.wire, || {
        assert_eq!(ping(&alice.v4(), &lab.remote("203.0.113.7"), 2, 72)?, 2);
        Ok(())
    })?;
    assert_eq!(alices, both_ways(2, 200));
    assert_eq!(bob.wire.since(&bob_before)?, Wire::default());
    let bobs = carried(&bob.wire, || {
        assert_eq!(ping(&bob.v6(), &lab.remote("2001:db8:10::7"), 3, 52)?, 3);
        Ok(())
    })?;
    assert_eq!(bobs, both_ways(3, 300));
    assert_eq!(lab.access[0].since(&uplink)?, both_ways(5, 500));
    Ok(())
}

#[test]
fn all_cpus_send_at_once() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().build()?;
    let alice = lab.subscriber("alice");
    let mut arrived = Vec::new();
    let wire = carried(&alice.wire, || {
        arrived = on_every_cpu(|_cpu| udp(&alice.v4(), &lab.remote("203.0.113.7"), 500, 72))?;
        Ok(())
    })?;
    assert!(!arrived.is_empty());
    assert!(
        arrived.iter().all(|&datagrams| datagrams == 500),
        "{arrived:?}"
    );
    let packets = 500 * arrived.len() as u64;
    assert_eq!(wire, up_only(packets, 100 * packets));
    Ok(())
}

#[test]
fn a_load_delivers_all_it_has_sent() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().offloads(false).build()?;
    let alice = lab.subscriber("alice");
    let mut moved = Transfer::default();
    let wire = carried(&alice.wire, || {
        let load = Load::start(&alice.v4(), &lab.remote("203.0.113.7"), true, true)?;
        sleep(Duration::from_millis(200));
        moved = load.stop()?;
        Ok(())
    })?;
    assert_ends_agree(&wire);
    assert!(moved.up > 0 && moved.down > 0);
    assert!(wire.near_sent.bytes > moved.up && wire.near_received.bytes > moved.down);
    Ok(())
}

#[test]
fn what_nobody_answers_ends_all_the_same() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = two_subscribers().build()?;
    let alice = lab.subscriber("alice").v4();
    // Listens in the remote's namespace, to which the gateway has been told not to let it through.
    lab.gateway.ip("route add blackhole 203.0.113.66")?;
    let silent = lab.remote("203.0.113.66");
    let patience = Duration::from_millis(200);
    assert!(tcp_within(&alice, &silent, 1, 1, patience).is_err());
    assert_eq!(udp(&alice, &silent, 200, 10)?, 0);
    assert_eq!(ping(&alice, &silent, 1, 0)?, 0);
    Ok(())
}

#[test]
fn a_wire_can_be_pulled_out_and_put_back() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let mut lab = two_subscribers().build()?;
    lab.unplug("bob")?;
    assert!(lab.access[1].read().is_err());
    assert_eq!(
        ping(
            &lab.subscriber("alice").v4(),
            &lab.remote("203.0.113.7"),
            1,
            0
        )?,
        1
    );
    lab.replug("bob")?;
    let bob = lab.subscriber("bob");
    let wire = carried(&bob.wire, || {
        assert_eq!(ping(&bob.v4(), &lab.remote("203.0.113.7"), 1, 72)?, 1);
        assert_eq!(ping(&bob.v6(), &lab.remote("2001:db8:10::7"), 1, 52)?, 1);
        Ok(())
    })?;
    assert_eq!(wire, both_ways(2, 200));
    Ok(())
}
