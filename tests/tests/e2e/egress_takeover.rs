//! Hooks on tc egress over time: agents that end, downlink that moves, ways of attaching that change, interfaces
//! that come and go. Nothing is counted twice.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters::Volume;
use zerorate_tests::egress::{HOOKS, filters, hooks, lab, over_the_wires, pinned_links, with_hook};
use zerorate_tests::netns::Endpoint;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, under_load, volume};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

/// Pairs of places that load is put between.
fn pairs(lab: &Lab) -> [(Endpoint, Endpoint); 2] {
    [
        (lab.subscriber("alice").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::GOVERNMENT6)),
    ]
}

#[test]
fn killed_again_and_again_under_load_it_loses_and_doubles_nothing() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab(true, 1500)?;
        let mut agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let went = over_the_wires(&lab, || {
            under_load(&pairs(&lab), || {
                for round in 0..6 {
                    agent.kill9()?;
                    if round % 2 == 0 {
                        // Cut short at some moment of the start.
                        agent.spawn()?;
                        sleep(Duration::from_millis(150 * round));
                        agent.kill9()?;
                    }
                    agent.start()?;
                }
                Ok(())
            })
        })?;
        let bill = agent.bill()?;
        went.check(bill.sum(|_| true));
        assert!(bill.unattributed.is_empty(), "{:?}", bill.unattributed);
        let log = agent.log();
        assert!(!log.contains("the interface is back"), "{log}");
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn downlink_that_moves_is_counted_once_and_leaves_no_hook_behind() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (core, egress) = (
        "downlink = \"core\"\n",
        "downlink = \"egress\"\ntc = \"clsact\"\n",
    );
    let lab = lab(true, 1500)?;
    let alice = lab.subscriber("alice").v4();
    let office = lab.remote(town::GOVERNMENT);
    let mut agent = town::agent_with(&lab, "").prepare()?;
    let [access0, access1] =
        ["access0", "access1"].map(|name| format!("name = \"{name}\"\nrole = \"access\"\n"));
    for access in [&access0, &access1] {
        agent.configure(access, &format!("{access}{core}"))?;
    }
    agent.start()?;
    let mut rested = Flow::default();
    let went = over_the_wires(&lab, || {
        under_load(&[(alice.clone(), office.clone())], || {
            for (from, to) in [(core, egress), (egress, core), (core, egress)] {
                agent.kill9()?;
                agent.configure(from, to)?;
                agent.start()?;
                sleep(Duration::from_millis(300));
            }
            Ok(())
        })
    })?;
    let counted = agent.bill()?.of("alice");
    assert_eq!(counted.up, went.received.up);
    // Between two hooks it passes uncounted: never twice.
    let (some, all) = (counted.down.packets, went.received.down.packets + went.lost);
    assert!(some <= all && some > all / 4, "{some} of {all}");

    // At rest nothing is between hooks.
    for (from, to, links, filter) in [
        (
            egress,
            core,
            &[
                "link-access0-native",
                "link-access1-native",
                "link-core0-native",
            ][..],
            false,
        ),
        (
            core,
            egress,
            &["link-access0-native", "link-access1-native"][..],
            true,
        ),
    ] {
        agent.sigterm()?;
        agent.configure(from, to)?;
        agent.start()?;
        assert_eq!(pinned_links(&agent)?, links);
        assert_eq!(filters(&lab)?.contains("zerorate"), filter);
        assert_eq!(filters(&lab)?.contains("clsact"), filter);
        let went = over_the_wires(&lab, || {
            assert_eq!(udp(&office, &alice, 50, 72)?, 50);
            assert_eq!(ping(&alice, &office, 5, 72)?, 5);
            Ok(())
        })?;
        assert_eq!(went.lost, 0);
        rested += went.received;
    }
    let now = agent.bill()?.of("alice");
    assert_eq!(now.down.bytes - counted.down.bytes, rested.down.bytes);
    assert_eq!(now.down.packets - counted.down.packets, rested.down.packets);
    agent.check_order()
}

#[test]
fn the_way_of_attaching_may_change() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = lab(true, 1500)?;
    let alice = lab.subscriber("alice").v4();
    let mut agent = town::egress_agent(&lab, &with_hook("tcx")).start()?;
    let mut expected = Volume::default();
    for (from, to) in [("tcx", "clsact"), ("clsact", "auto"), ("auto", "tcx")] {
        assert_eq!(udp(&lab.remote(town::GOVERNMENT), &alice, 20, 72)?, 20);
        expected += volume(20, 100);
        agent.sigterm()?;
        agent.configure(&with_hook(from), &with_hook(to))?;
        agent.start()?;
        // What is there already stays there: clsact, under auto.
        let mode = if to == "auto" { "clsact" } else { to };
        let egress = format!("access0 tc-egress {mode} true");
        assert!(hooks(&agent)?.contains(&egress), "{:?}", hooks(&agent)?);
        assert_eq!(filters(&lab)?.contains("zerorate"), mode == "clsact");
        lab.settle()?;
        assert_eq!(agent.bill()?.of("alice").down, expected);
    }
    agent.check_order()
}

#[test]
fn an_interface_that_comes_back_is_counted_on_again() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let mut lab = town::lab().build()?;
        let agent = town::egress_agent(&lab, &with_hook(hook)).start()?;
        let office = lab.remote(town::GOVERNMENT);
        let mut expected = Flow::default();
        for round in 0..3 {
            if round > 0 {
                lab.unplug("bob")?;
                until("it is missed", || Ok(agent.ask(&["status"]).is_err()))?;
                lab.replug("bob")?;
                until("it is back", || Ok(agent.ask(&["status"]).is_ok()))?;
            }
            assert_eq!(ping(&lab.subscriber("bob").v4(), &office, 3, 72)?, 3);
            let all = volume(3, 100);
            expected += Flow { up: all, down: all };
        }
        let expected = lines([("bob", "government", "free", expected)]);
        assert_eq!(agent.bill()?.usage, expected, "{hook}");
        agent.check_order()?;
    }
    Ok(())
}
