//! Every byte and packet is on the right account: by subscriber, class, charge and direction, held
//! against what was sent and against what the kernel counted on the wires.

use std::collections::BTreeMap;

use anyhow::Result;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters::Volume;
use zerorate_tests::ping::ping;
use zerorate_tests::town::{self, lines, taken_in, up, volume};
use zerorate_tests::traffic::{Transfer, tcp, udp};

#[test]
fn tcp_is_counted_as_the_wires_count_it() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for (offloads, mtu) in [(true, 1500), (false, 1500), (true, 9000)] {
        let lab = town::lab().offloads(offloads).mtu(mtu).build()?;
        let agent = town::agent(&lab).start()?;
        let alice = lab.subscriber("alice");
        let mut expected = BTreeMap::new();
        for (v4, v6, class, charged) in [
            (town::GOVERNMENT, town::GOVERNMENT6, "government", "free"),
            (town::INTERNET, town::INTERNET6, "internet", "main"),
        ] {
            let mut sum = Flow::default();
            for (from, to) in [(alice.v4(), v4), (alice.v6(), v6)] {
                for (up, down) in [(2_000_000, 0), (0, 2_000_000), (700_000, 900_000)] {
                    let flow = taken_in(&lab, || {
                        let moved = tcp(&from, &lab.remote(to), up, down)?;
                        assert_eq!(moved, Transfer { up, down });
                        Ok(())
                    })?;
                    assert!(flow.up.bytes > up && flow.down.bytes > down);
                    sum += flow;
                }
            }
            expected.extend(lines([("alice", class, charged, sum)]));
        }
        let bill = agent.bill()?;
        assert_eq!(bill.usage, expected, "offloads {offloads}, MTU {mtu}");
        let main = bill.charged("alice", "internet", "main");
        let drawn = i64::try_from(main.up.bytes + main.down.bytes)?;
        assert_eq!(agent.left("alice", "main")?, town::MAIN - drawn);
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn datagrams_fragments_and_echoes_are_counted_to_the_byte() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let alice = lab.subscriber("alice");
    let (v4, v6) = (lab.remote(town::GOVERNMENT), lab.remote(town::GOVERNMENT6));
    let mut expected = Flow::default();
    // Datagrams, their size, and the fragments each goes in.
    for (datagrams, size, fragments) in [(50, 0, 1), (50, 1000, 1), (30, 4000, 3)] {
        // IPv6 has a fragment header beside its own, where there are fragments.
        let header6 = if fragments > 1 { 48 } else { 40 };
        for (near, far, header) in [(alice.v4(), &v4, 20), (alice.v6(), &v6, header6)] {
            let each = 8 + size as u64 + header * fragments;
            let all = Volume {
                packets: datagrams as u64 * fragments,
                bytes: datagrams as u64 * each,
            };
            let flow = Flow { up: all, down: all };
            let taken = taken_in(&lab, || {
                assert_eq!(udp(&near, far, datagrams, size)?, datagrams);
                assert_eq!(udp(far, &near, datagrams, size)?, datagrams);
                Ok(())
            })?;
            assert_eq!(taken, flow, "{size} bytes to {}", far.address);
            expected += flow;
        }
    }
    for (near, far, size, packets, bytes) in [
        (alice.v4(), &v4, 100, 7, 7 * 128),
        (alice.v6(), &v6, 4000, 3 * 7, 7 * (8 + 4000 + 3 * 48)),
    ] {
        assert_eq!(ping(&near, far, 7, size)?, 7);
        let all = Volume { packets, bytes };
        expected += Flow { up: all, down: all };
    }
    lab.settle()?;
    let government = lines([("alice", "government", "free", expected)]);
    assert_eq!(agent.bill()?.usage, government);
    agent.check_order()
}

#[test]
fn a_packet_goes_whole_to_the_bucket_that_held_something() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let alice = lab.subscriber("alice");
    let chat = lab.remote(town::MESSENGERS);
    assert_eq!(udp(&alice.v4(), &chat, 100, 1000)?, 100);
    lab.settle()?;
    // Of 64,000 bytes 62 packets of 1,028 leave 264, on which the 63rd still goes.
    let expected = lines([
        ("alice", "messengers", "messengers", up(volume(63, 1028))),
        ("alice", "messengers", "metered", up(volume(37, 1028))),
    ]);
    assert_eq!(agent.bill()?.usage, expected);
    assert_eq!(agent.left("alice", "messengers")?, 64_000 - 63 * 1028);
    agent.check_order()
}

#[test]
fn between_two_subscribers_it_is_up_for_who_sends_and_nothing_for_the_other() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
    assert_eq!(udp(&alice.v4(), &bob.at("10.1.0.15"), 20, 72)?, 20);
    assert_eq!(udp(&bob.at("2001:db8:b:ff::9"), &alice.v6(), 10, 52)?, 10);
    lab.settle()?;
    let expected = lines([
        ("alice", "internet", "main", up(volume(20, 100))),
        ("bob", "internet", "main", up(volume(10, 100))),
    ]);
    assert_eq!(agent.bill()?.usage, expected);
    agent.check_order()
}

#[test]
fn who_is_unknown_is_counted_by_class_and_passes() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .subscribers("bob,small,active,10.1.0.8/29")
        .start()?;
    let alice = lab.subscriber("alice");
    let remotes = [town::GOVERNMENT, town::INTERNET].map(|address| lab.remote(address));
    assert_eq!(ping(&alice.v4(), &remotes[0], 3, 72)?, 3);
    assert_eq!(udp(&remotes[1], &alice.v4(), 5, 172)?, 5);
    lab.settle()?;
    let bill = agent.bill()?;
    assert!(bill.usage.is_empty(), "{bill:#?}");
    let echoes = volume(3, 100);
    let expected = [
        ("government", echoes, echoes),
        ("internet", Volume::default(), volume(5, 200)),
    ];
    let expected = expected.map(|(class, up, down)| (class.to_owned(), Flow { up, down }));
    assert_eq!(bill.unattributed, BTreeMap::from(expected));
    assert_eq!(bill.total().unattributed_bytes, 2 * 300 + 1000);
    agent.check_order()
}
