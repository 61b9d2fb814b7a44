//! The gateway around tc egress: address translation, what `status` shows, others' programs on the same hook, and
//! nothing left behind.

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::{HOOKS, filters, hooks, lab, over_the_wires, pinned_links, with_hook};
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, volume};
use zerorate_tests::traffic::{Transfer, tcp, udp};
use zerorate_tests::wait::until;

/// A gateway that hides its subscribers behind its own address.
const MASQUERADE: &str = "table ip translation {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        oifname \"core0\" masquerade
    }
}";

/// Runs `zerorate detach` and returns what it says.
fn detach(lab: &Lab, agent: &Agent, arguments: &[&str]) -> Result<String> {
    let mut command = lab.gateway.command(zerorate_tests::agent::binary()?);
    command.arg("detach").args(arguments);
    let output = command.arg("--config").arg(agent.config()).output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn behind_masquerade_everything_is_on_the_right_account() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        lab.gateway.nft(MASQUERADE)?;
        let agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let alice = lab.subscriber("alice").v4();
        let (office, internet) = (lab.remote(town::GOVERNMENT), lab.remote(town::INTERNET));
        let mut expected = lines([]);
        for (remote, class, charged) in [
            (&office, "government", "free"),
            (&internet, "internet", "main"),
        ] {
            let went = over_the_wires(&lab, || {
                let moved = tcp(&alice, remote, 2_000_000, 8_000_000)?;
                assert_eq!(
                    moved,
                    Transfer {
                        up: 2_000_000,
                        down: 8_000_000
                    }
                );
                assert_eq!(ping(&alice, remote, 5, 72)?, 5);
                Ok(())
            })?;
            assert!(went.received.down.bytes > 8_000_000);
            assert_eq!(went.lost, 0);
            expected.extend(lines([("alice", class, charged, went.received)]));
        }
        let bill = agent.bill()?;
        assert_eq!(bill.usage, expected, "{hook}");
        assert!(bill.unattributed.is_empty(), "{:?}", bill.unattributed);
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn counting_on_the_core_of_a_gateway_that_translates_is_refused() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .section("[checks]\nnat = \"refuse\"")
        .prepare()?;
    let snat = "table inet t { chain c { type nat hook postrouting priority srcnat; \
        ip saddr 10.1.0.0/24 snat ip to 100.100.0.1\n}\n}";
    for (rules, found) in [
        (
            MASQUERADE,
            "masquerade in chain postrouting of nftables table translation",
        ),
        (snat, "snat in chain c of nftables table t"),
    ] {
        lab.gateway.nft(rules)?;
        let said = agent.refusal()?;
        for part in [
            found,
            "set downlink = \"egress\"",
            "nat = \"ignore\" under [checks]",
        ] {
            assert!(said.contains(part), "no `{part}` in: {said}");
        }
        assert!(!agent.pin_dir().exists());
        lab.gateway.nft("flush ruleset")?;
    }
    // Other rules are no matter, nor is translation of destinations.
    lab.gateway.nft(
        "table ip t { chain c { type nat hook prerouting priority dstnat; \
         ip daddr 100.100.0.1 tcp dport 80 dnat to 10.1.0.1\n}
         chain f { type filter hook forward priority 0; counter\n}\n}",
    )?;
    agent.start()?;
    agent.check_order()?;
    agent.sigterm()?;
    lab.gateway.nft(MASQUERADE)?;
    agent.configure("nat = \"refuse\"", "nat = \"ignore\"")?;
    agent.start()?;
    agent.check_order()
}

#[test]
fn status_shows_the_hooks() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for (settings, mode) in [("", "tcx"), ("tc = \"clsact\"", "clsact")] {
        let lab = town::lab().build()?;
        let agent = town::egress_agent(&lab, settings).start()?;
        let expected = [
            "access0 xdp-native native true".to_owned(),
            format!("access0 tc-egress {mode} true"),
            "access1 xdp-native native true".to_owned(),
            format!("access1 tc-egress {mode} true"),
            "core0 none none false".to_owned(),
        ];
        assert_eq!(hooks(&agent)?, expected);
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn a_filter_somebody_removed_is_put_back() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::egress_agent(&lab, &with_hook("clsact")).start()?;
    let access = &lab.access[0].far;
    access.tc(&["qdisc", "del", "dev", "access0", "clsact"])?;
    until("it is put back", || {
        Ok(filters(&lab)?.matches("zerorate").count() == 2)
    })?;
    let alice = lab.subscriber("alice").v4();
    assert_eq!(udp(&lab.remote(town::GOVERNMENT), &alice, 20, 72)?, 20);
    lab.settle()?;
    assert_eq!(agent.bill()?.of("alice").down, volume(20, 100));
    assert!(
        agent
            .log()
            .contains("what passed it in between was not counted")
    );
    agent.check_order()
}

#[test]
fn detached_nothing_is_left() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = town::lab().build()?;
        let mut agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        assert_eq!(filters(&lab)?.contains("zerorate"), hook == "clsact");
        agent.sigterm()?;
        assert_eq!(filters(&lab)?.contains("zerorate"), hook == "clsact");
        let said = detach(&lab, &agent, &[])?;
        for line in ["access0: detached\n", "access1: detached from egress\n"] {
            assert!(said.contains(line), "{said}");
        }
        assert_eq!(filters(&lab)?, "");
        assert!(pinned_links(&agent)?.is_empty());
        let alice = lab.subscriber("alice").v4();
        assert_eq!(udp(&lab.remote(town::GOVERNMENT), &alice, 20, 72)?, 20);
        lab.settle()?;
        agent.start()?;
        assert!(agent.bill()?.usage.is_empty());

        // And by the agent itself.
        agent.sigterm()?;
        agent.configure("node =", "on_exit = \"detach\"\nnode =")?;
        agent.start()?;
        agent.sigterm()?;
        assert_eq!(filters(&lab)?, "");
        assert!(pinned_links(&agent)?.is_empty());
    }
    Ok(())
}

#[test]
fn others_programs_have_their_turn_and_stay() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = town::lab().build()?;
        let mut agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let alice = lab.subscriber("alice").v4();
        let office = lab.remote(town::GOVERNMENT);
        let access = &lab.access[0].far;
        assert_eq!(udp(&office, &alice, 20, 72)?, 20);
        access.drop_on_egress(5)?;
        assert_eq!(udp(&office, &alice, 20, 72)?, 0);
        lab.settle()?;
        assert_eq!(agent.bill()?.of("alice").down, volume(40, 100));
        agent.check_order()?;
        agent.sigterm()?;
        detach(&lab, &agent, &["--purge"])?;
        let left = filters(&lab)?;
        assert!(
            left.contains("pref 5") && !left.contains("zerorate"),
            "{left}"
        );
        assert_eq!(udp(&office, &alice, 20, 72)?, 0);
    }
    Ok(())
}

#[test]
fn a_second_agent_does_not_take_the_first_one_s_filter() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let first = town::egress_agent(&lab, &with_hook("clsact")).start()?;
    let before = filters(&lab)?;
    let mut second = town::egress_agent(&lab, &with_hook("clsact")).prepare()?;
    let said = second.refusal()?;
    assert!(said.contains("another XDP program is attached"), "{said}");
    // Its XDP out of the way, the filter is.
    second.configure(
        "name = \"access0\"",
        "name = \"access0\"\nmode = \"generic\"",
    )?;
    let said = second.refusal()?;
    assert!(said.contains("interface `access0`"), "{said}");
    assert_eq!(filters(&lab)?, before);
    first.check_order()
}
