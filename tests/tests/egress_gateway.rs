//! The gateway around tc egress: address translation, hooks that move, agents that end, interfaces that come and
//! go, and others' programs on the same hook.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters::Volume;
use zerorate_tests::netns::Endpoint;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, under_load, volume};
use zerorate_tests::traffic::{Transfer, tcp, udp};
use zerorate_tests::wait::until;
use zerorate_tests::xdp::Mode;

const HOOKS: [&str; 2] = ["tcx", "clsact"];

/// A gateway that hides its subscribers behind its own address.
const MASQUERADE: &str = "table ip translation {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        oifname \"core0\" masquerade
    }
}";

/// The town, with every packet a subscriber receives counted on its wire, whose ring takes all that is under way.
fn lab() -> Result<Lab> {
    let lab = town::lab().build()?;
    for subscriber in &lab.subscribers {
        subscriber.wire.near.attach_pass_program(Mode::Native)?;
        subscriber
            .namespace
            .set("ipv4/tcp_rmem", "4096 131072 131072")?;
    }
    Ok(lab)
}

/// What the gateway sent to, and received from, all subscribers.
#[derive(Default)]
struct Sent {
    received: Flow,
    /// Sent to subscribers, counted, and lost in the wire's ring.
    lost: u64,
}

impl Sent {
    /// That this is what was counted: to the byte, but for the size of what was lost.
    fn check(&self, counted: Flow) {
        let (down, received) = (counted.down, self.received.down);
        assert_eq!(counted.up, self.received.up);
        assert_eq!(down.packets, received.packets + self.lost);
        let lost = down.bytes - received.bytes;
        assert!(
            (20 * self.lost..=1500 * self.lost).contains(&lost),
            "{lost} in {}",
            self.lost
        );
    }
}

/// What went over all subscribers' wires while `work` was done, until they fell silent.
fn over_the_wires(lab: &Lab, work: impl FnOnce() -> Result<()>) -> Result<Sent> {
    let wires = lab.subscribers.iter().map(|subscriber| &subscriber.wire);
    let before = wires.clone().map(|wire| wire.read());
    let before = before.collect::<Result<Vec<_>>>()?;
    work()?;
    lab.settle()?;
    let mut sent = Sent::default();
    for (wire, before) in wires.zip(&before) {
        let went = wire.since(before)?;
        sent.lost += went.lost_by_far;
        sent.received += Flow {
            up: went.far_received,
            down: went.near_received,
        };
    }
    Ok(sent)
}

/// Pairs of places that load is put between.
fn pairs(lab: &Lab) -> [(Endpoint, Endpoint); 2] {
    [
        (lab.subscriber("alice").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::GOVERNMENT6)),
    ]
}

fn with_hook(hook: &str) -> String {
    format!("tc = \"{hook}\"")
}

/// The hooks `status` shows: interface, hook, mode, whether attached.
fn hooks(agent: &Agent) -> Result<Vec<String>> {
    let status = agent.status()?;
    let interfaces = status["interfaces"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |interface: &Value| {
        let [name, hook, mode] = ["name", "hook", "mode"].map(|key| text(&interface[key]));
        format!("{name} {hook} {mode} {}", interface["attached"])
    };
    Ok(interfaces.map(line).collect())
}

/// Filters and clsact qdiscs on the gateway's access interfaces.
fn filters(lab: &Lab) -> Result<String> {
    let mut said = String::new();
    for wire in &lab.access {
        let name = &wire.far.name;
        said += &wire.far.tc(&["filter", "show", "dev", name, "egress"])?;
        let qdiscs = wire.far.tc(&["qdisc", "show", "dev", name])?;
        said.extend(qdiscs.lines().filter(|line| line.contains("clsact")));
    }
    Ok(said)
}

/// Names of pinned links.
fn pinned_links(agent: &Agent) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for directory in fs::read_dir(agent.pin_dir())? {
        for entry in fs::read_dir(directory?.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.starts_with("link-").then_some(name));
        }
    }
    names.sort();
    Ok(names)
}

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
        let lab = lab()?;
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
fn killed_again_and_again_under_load_it_loses_and_doubles_nothing() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for hook in HOOKS {
        let lab = lab()?;
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
    let lab = lab()?;
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
    let lab = lab()?;
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
