//! Tags in marks: nftables, routing and tc tell packets apart by what zerorate found out about them.

use std::collections::BTreeMap;

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::with_hook;
use zerorate_tests::marks::{counts, seen, watch};
use zerorate_tests::netns::NetNs;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, SUBSCRIBERS};
use zerorate_tests::traffic::udp;
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

/// Native XDP gets frames larger than a page in pieces.
#[test]
fn large_frames_are_tagged_like_any_others() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for (mode, tag, rule) in [
        ("native", "mark", "meta mark 0x00110000"),
        ("generic", "mark", "meta mark 0x00110000"),
        ("native", "dscp", "ip dscp 1"),
        ("generic", "dscp", "ip dscp 1"),
    ] {
        let lab = town::lab().mtu(9000).build()?;
        let settings = format!("mode = \"{mode}\"\ntag = \"{tag}\"");
        let agent = town::agent_with(&lab, &settings).section(CLASSES).start()?;
        let tagged = format!("meta length > 8000 {rule}");
        watch(
            &lab.gateway,
            "prerouting priority -300",
            &[("large", "meta length > 8000"), ("tagged", &tagged)],
        )?;
        let alice = lab.subscriber("alice").v4();
        let remote = lab.remote(town::GOVERNMENT);
        assert_eq!(ping(&alice, &remote, 3, 8500)?, 3, "{mode} {tag}");
        let expected = counts([("large", 6), ("tagged", 6)]);
        assert_eq!(seen(&lab.gateway)?, expected, "{mode} {tag}");
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
