//! The program that gives packets their marks, over time: taken over by the next agent, taken off when nobody wants it,
//! put back when somebody took it off, and nothing left behind.

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::{HOOKS, hooks, pinned_links, with_hook};
use zerorate_tests::marks::{counts, seen, watch};
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, volume};
use zerorate_tests::wait::until;

const TAG: &str = "tag = \"mark\"";
const CLASSES: &str = "[tags.classes]\ngovernment = 1";

/// Filters of zerorate and clsact qdiscs on all interfaces of the gateway.
fn left(lab: &Lab) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let access = lab.access.iter().map(|wire| &wire.far);
    for end in access.chain([&lab.core.near]) {
        for side in ["ingress", "egress"] {
            let said = end.tc(&["filter", "show", "dev", &end.name, side])?;
            if said.contains("zerorate") {
                found.push(format!("{} {side}", end.name));
            }
        }
        if end
            .tc(&["qdisc", "show", "dev", &end.name])?
            .contains("clsact")
        {
            found.push(format!("{} clsact", end.name));
        }
    }
    Ok(found)
}

/// Two packets of an echo, both with their mark.
fn echo(lab: &Lab, expected: &mut u64) -> Result<()> {
    let alice = lab.subscriber("alice").v4();
    assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 1, 72)?, 1);
    *expected += 2;
    assert_eq!(seen(&lab.gateway)?, counts([("office", *expected)]));
    Ok(())
}

fn watched(lab: &Lab) -> Result<()> {
    watch(
        &lab.gateway,
        "prerouting priority -300",
        &[
            ("office", "meta mark 0x00110000"),
            ("nothing", "meta mark 0"),
        ],
    )
}

fn detach(lab: &Lab, agent: &Agent, arguments: &[&str]) -> Result<String> {
    let mut command = lab.gateway.command(zerorate_tests::agent::binary()?);
    command.arg("detach").args(arguments);
    let output = command.arg("--config").arg(agent.config()).output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn marks_go_on_without_an_agent_and_the_next_one_takes_over() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = town::lab().build()?;
        watched(&lab)?;
        let mut agent = town::agent_with(&lab, &format!("{TAG}\n{}", with_hook(hook)))
            .section(CLASSES)
            .start()?;
        let mut expected = 0;
        echo(&lab, &mut expected)?;
        let held = left(&lab)?;
        agent.kill9()?;
        echo(&lab, &mut expected)?;
        agent.start()?;
        echo(&lab, &mut expected)?;
        assert_eq!(agent.log().matches("taken over without a gap").count(), 6);
        assert_eq!(left(&lab)?, held);
        let shown = hooks(&agent)?;
        for interface in ["access0", "access1", "core0"] {
            let line = format!("{interface} tc-ingress {hook} true");
            assert!(shown.contains(&line), "{shown:?}");
        }

        // SIGTERM leaves it, and detach takes all of it off.
        agent.sigterm()?;
        echo(&lab, &mut expected)?;
        let said = detach(&lab, &agent, &[])?;
        for interface in ["access0", "access1", "core0"] {
            let line = format!("{interface}: detached from tc ingress\n");
            assert!(said.contains(&line), "{said}");
        }
        assert_eq!(left(&lab)?, [""; 0]);
        assert_eq!(pinned_links(&agent)?, [""; 0]);
        assert_eq!(lab.xdp_programs()?, 0);
        let alice = lab.subscriber("alice").v4();
        assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 1, 72)?, 1);
        assert_eq!(
            seen(&lab.gateway)?,
            counts([("office", expected), ("nothing", 2)])
        );
        detach(&lab, &agent, &["--purge"])?;
        assert!(!agent.pin_dir().exists());
    }
    Ok(())
}

#[test]
fn with_egress_both_sides_of_tc_are_held_and_given_up() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = town::lab().build()?;
        let mut agent = town::egress_agent(&lab, &format!("{TAG}\n{}", with_hook(hook)))
            .section(CLASSES)
            .start()?;
        let alice = lab.subscriber("alice").v4();
        assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 3, 72)?, 3);
        let filters = [
            "access0 ingress",
            "access0 egress",
            "access0 clsact",
            "access1 ingress",
            "access1 egress",
            "access1 clsact",
        ];
        let links = [
            "link-access0-intake",
            "link-access0-native",
            "link-access0-tcx",
            "link-access1-intake",
            "link-access1-native",
            "link-access1-tcx",
        ];
        match hook {
            "clsact" => assert_eq!(left(&lab)?, filters),
            _ => assert_eq!(pinned_links(&agent)?, links),
        }
        // Without tags the ingress side is given up, the egress side goes on.
        agent.sigterm()?;
        agent.configure(TAG, "tag = \"none\"")?;
        agent.start()?;
        assert!(agent.log().contains("no longer configured: taken off"));
        match hook {
            "clsact" => {
                let kept = [
                    "access0 egress",
                    "access0 clsact",
                    "access1 egress",
                    "access1 clsact",
                ];
                assert_eq!(left(&lab)?, kept);
            }
            _ => {
                let kept = links.map(|link| (!link.ends_with("intake")).then_some(link));
                let kept: Vec<&str> = kept.into_iter().flatten().collect();
                assert_eq!(pinned_links(&agent)?, kept);
            }
        }
        assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 2, 72)?, 2);
        // And back again.
        agent.sigterm()?;
        agent.configure("tag = \"none\"", TAG)?;
        agent.start()?;
        lab.settle()?;
        let all = volume(5, 100);
        let flow = zerorate_tests::bill::Flow { up: all, down: all };
        assert_eq!(
            agent.bill()?.usage,
            lines([("alice", "government", "free", flow)])
        );
        agent.check_order()?;
        agent.sigterm()?;
        detach(&lab, &agent, &["--purge"])?;
        assert_eq!(left(&lab)?, [""; 0]);
        assert_eq!(lab.xdp_programs()?, 0);
    }
    Ok(())
}

/// Generic XDP needs other programs where there are marks: they replace the ones before.
#[test]
fn marks_may_begin_and_end_under_generic_xdp() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    watched(&lab)?;
    let none = "tag = \"none\"";
    let mut agent = town::agent_with(&lab, &format!("mode = \"generic\"\n{none}"))
        .section(CLASSES)
        .start()?;
    let alice = lab.subscriber("alice").v4();
    let (mut marked, mut nothing) = (0, 0);
    for (from, to) in [(none, none), (none, TAG), (TAG, none), (none, TAG)] {
        agent.sigterm()?;
        agent.configure(from, to)?;
        agent.start()?;
        assert_eq!(ping(&alice, &lab.remote(town::GOVERNMENT), 1, 72)?, 1);
        *(if to == TAG { &mut marked } else { &mut nothing }) += 2;
        let expected = counts([("office", marked), ("nothing", nothing)]);
        assert_eq!(seen(&lab.gateway)?, expected, "from {from} to {to}");
    }
    assert_eq!(agent.bill()?.of("alice").up, volume(4, 100));
    assert!(!agent.log().contains("was not counted"));
    agent.check_order()
}

#[test]
fn a_qdisc_of_somebody_else_stays() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let access = &lab.access[0].far;
    access.tc(&["qdisc", "add", "dev", &access.name, "clsact"])?;
    let mut agent = town::egress_agent(&lab, &format!("{TAG}\n{}", with_hook("clsact")))
        .section(CLASSES)
        .start()?;
    agent.sigterm()?;
    detach(&lab, &agent, &["--purge"])?;
    assert_eq!(left(&lab)?, ["access0 clsact"]);
    Ok(())
}

#[test]
fn a_tc_program_that_somebody_takes_off_is_put_back() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    watched(&lab)?;
    let agent = town::agent_with(&lab, &format!("{TAG}\n{}", with_hook("clsact")))
        .section(CLASSES)
        .start()?;
    let mut expected = 0;
    echo(&lab, &mut expected)?;
    let access = &lab.access[0].far;
    access.tc(&["qdisc", "del", "dev", &access.name, "clsact"])?;
    until("it is back", || {
        Ok(left(&lab)?.contains(&"access0 ingress".to_owned()))
    })?;
    echo(&lab, &mut expected)?;
    let log = agent.log();
    for part in [
        "the interface or its tc program is gone: packets have no marks until it is back",
        "the tc program is back; what passed in between had no marks",
    ] {
        assert!(log.contains(part), "no `{part}` in: {log}");
    }
    assert!(!log.contains("was not counted"), "{log}");
    agent.check_order()
}

#[test]
fn an_interface_that_comes_back_has_marks_again() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let mut lab = town::lab().build()?;
        watched(&lab)?;
        let agent = town::agent_with(&lab, &format!("{TAG}\n{}", with_hook(hook)))
            .section(CLASSES)
            .start()?;
        let mut expected = 0;
        echo(&lab, &mut expected)?;
        lab.unplug("alice")?;
        until("it is missed", || Ok(agent.ask(&["status"]).is_err()))?;
        lab.replug("alice")?;
        until("it is back", || Ok(agent.ask(&["status"]).is_ok()))?;
        echo(&lab, &mut expected)?;
        agent.check_order()?;
    }
    Ok(())
}
