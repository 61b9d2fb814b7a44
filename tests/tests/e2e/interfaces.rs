//! Interfaces that come and go, change their role, or are more than two.

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters;
use zerorate_tests::frames::{Frame, Ipv4};
use zerorate_tests::ping::ping;
use zerorate_tests::raw::send_frames;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, taken_in, under_load, up, volume};
use zerorate_tests::traffic::udp;
use zerorate_tests::veth::Veth;
use zerorate_tests::wait::until;

/// A TCP flag that nobody answers.
const RESET: u8 = 4;

/// What `status` says of an interface: its number, if it is counted on.
fn ifindex(agent: &Agent, name: &str) -> Result<Option<u64>> {
    let status = agent.status()?;
    let mut interfaces = status["interfaces"].as_array().into_iter().flatten();
    let found = interfaces.find(|interface| interface["name"] == name);
    Ok(found.and_then(|interface| interface["ifindex"].as_u64()))
}

/// Echoes from a subscriber to an office, all answered, and what is counted for them.
fn echoes(lab: &Lab, subscriber: &str, count: u16) -> Result<Flow> {
    let near = lab.subscriber(subscriber).v4();
    let answered = ping(&near, &lab.remote(town::GOVERNMENT), count, 72)?;
    assert_eq!(answered, usize::from(count), "echoes of {subscriber}");
    let all = volume(answered, 100);
    Ok(Flow { up: all, down: all })
}

#[test]
fn an_interface_that_comes_back_is_counted_on_again() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let mut lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let mut bob = echoes(&lab, "bob", 2)?;
    let mut alice = echoes(&lab, "alice", 2)?;
    for round in 0..3 {
        let before = ifindex(&agent, "access1")?;
        lab.unplug("bob")?;
        if round < 2 {
            until("it is missed", || Ok(ifindex(&agent, "access1")?.is_none()))?;
            let failed = agent.ask(&["status"]);
            assert!(
                failed.is_err(),
                "an interface is gone and all is well: {failed:?}"
            );
        }
        // The others go on, and in the last round the agent is given no time to notice.
        alice += echoes(&lab, "alice", 2)?;
        lab.replug("bob")?;
        until("it is counted on again", || {
            let now = ifindex(&agent, "access1")?;
            Ok(now.is_some() && now != before)
        })?;
        bob += echoes(&lab, "bob", 2)?;
    }
    let expected = lines([
        ("alice", "government", "free", alice),
        ("bob", "government", "free", bob),
    ]);
    assert_eq!(agent.bill()?.usage, expected);
    let log = agent.log();
    let back: Vec<&str> = log
        .lines()
        .filter(|line| {
            line.contains("the interface is back; what passed it in between was not counted")
        })
        .collect();
    assert_eq!(back.len(), 3, "{log}");
    for line in back {
        let named = line.contains("interface=\"access1\"")
            && line.contains("from=")
            && line.contains("to=");
        assert!(named, "{line}");
    }
    agent.check_order()
}

#[test]
fn a_link_of_another_name_is_not_counted_on_until_it_has_the_right_one() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let mut lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let first = echoes(&lab, "bob", 2)?;
    let rename = |from: &str, to: &str| {
        lab.gateway.ip(&format!(
            "link set {from} down\nlink set {from} name {to}\nlink set {to} up"
        ))
    };
    rename("access1", "spare0")?;
    until("it is missed", || Ok(ifindex(&agent, "access1")?.is_none()))?;
    // By its other name it is nobody's business: the frames arrive, and no account has them.
    let wire = &lab.subscriber("bob").wire;
    let sent =
        Frame::new(Ipv4::new([10, 1, 0, 9].into(), [203, 0, 113, 7].into()).tcp(1, 9, RESET, b""));
    let frame = sent.stations(wire.near.mac, wire.far.mac).build();
    let before = agent.bill()?.interface("access1");
    send_frames(&wire.near, &vec![frame; 20])?;
    counters::settle([&lab.core])?;
    assert_eq!(agent.bill()?.interface("access1"), before);
    rename("spare0", "access1")?;
    until("it is counted on again", || {
        Ok(ifindex(&agent, "access1")?.is_some())
    })?;
    // Its neighbours and routes went when it was down.
    lab.unplug("bob")?;
    until("it is missed again", || {
        Ok(ifindex(&agent, "access1")?.is_none())
    })?;
    lab.replug("bob")?;
    until("it is back for good", || {
        Ok(ifindex(&agent, "access1")?.is_some())
    })?;
    let second = echoes(&lab, "bob", 2)?;
    let expected = lines([("bob", "government", "free", first + second)]);
    assert_eq!(agent.bill()?.usage, expected);
    agent.check_order()
}

#[test]
fn others_are_counted_to_the_byte_while_one_comes_and_goes() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let mut lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT))];
    let (access, core) = (lab.access[0].clone(), lab.core.clone());
    let before = (access.read()?, core.read()?);
    under_load(&pairs, || {
        for _ in 0..4 {
            lab.unplug("bob")?;
            lab.replug("bob")?;
        }
        until("it is counted on", || Ok(agent.ask(&["status"]).is_ok()))
    })?;
    lab.settle()?;
    let flow = Flow {
        up: access.since(&before.0)?.far_received,
        down: core.since(&before.1)?.near_received,
    };
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", flow)])
    );
    agent.check_order()
}

#[test]
fn two_access_and_two_core_interfaces_count_together() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let second = Veth::new((&lab.gateway, "core1"), (&lab.remote, "eth1"), 1500)?;
    let agent = town::agent(&lab).interface("core1", "core", "").start()?;
    let mut flows = [echoes(&lab, "alice", 3)?, echoes(&lab, "bob", 5)?];
    // What comes in by the other core interface is for the same subscribers.
    let frame = |to: [u8; 4]| {
        let packet = Ipv4::new([203, 0, 113, 7].into(), to.into()).tcp(1, 9, RESET, &[0; 60]);
        Frame::new(packet)
            .stations(second.far.mac, second.near.mac)
            .build()
    };
    let frames = [
        frame([10, 1, 0, 1]),
        frame([10, 1, 0, 9]),
        frame([10, 1, 0, 9]),
    ];
    send_frames(&second.far, &frames)?;
    lab.settle()?;
    flows[0].down += volume(1, 100);
    flows[1].down += volume(2, 100);
    let bill = agent.bill()?;
    let expected = lines([
        ("alice", "government", "free", flows[0]),
        ("bob", "government", "free", flows[1]),
    ]);
    assert_eq!(bill.usage, expected);
    let counted =
        ["access0", "access1", "core0", "core1"].map(|name| bill.interface(name).ip_packets);
    assert_eq!(counted, [3, 5, 8, 3]);
    agent.check_order()
}

#[test]
fn an_interface_that_is_configured_no_longer_is_taken_off() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let first = echoes(&lab, "bob", 3)?;
    agent.sigterm()?;
    agent.configure("[[interface]]\nname = \"access1\"\nrole = \"access\"\n", "")?;
    agent.start()?;
    until("its program is gone", || {
        Ok(!lab
            .gateway
            .run("ip", &["link", "show", "access1"])?
            .contains("xdp"))
    })?;
    let second = echoes(&lab, "bob", 4)?;
    let flow = Flow {
        up: first.up,
        down: first.down + second.down,
    };
    let bill = agent.bill()?;
    assert_eq!(bill.usage, lines([("bob", "government", "free", flow)]));
    // The books keep what was counted there.
    assert_eq!(bill.interface("access1").ip_packets, 3);
    let log = agent.log();
    assert!(
        log.contains("no longer configured: taken off interface=\"access1\""),
        "{log}"
    );
    agent.check_order()
}

#[test]
fn a_role_that_changes_takes_effect_with_the_next_agent() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let alice = lab.subscriber("alice").v4();
    let office = lab.remote(town::GOVERNMENT);
    assert_eq!(udp(&alice, &office, 7, 72)?, 7);
    agent.sigterm()?;
    let section = |role: &str| format!("name = \"access0\"\nrole = \"{role}\"");
    agent.configure(&section("access"), &section("core"))?;
    agent.start()?;
    // Seen from a core interface she is the remote, and the office a subscriber nobody knows.
    assert_eq!(udp(&alice, &office, 5, 72)?, 5);
    lab.settle()?;
    let bill = agent.bill()?;
    assert_eq!(
        bill.usage,
        lines([("alice", "government", "free", up(volume(7, 100)))])
    );
    let unknown = Flow {
        down: volume(5, 100),
        ..Flow::default()
    };
    assert_eq!(bill.unattributed["internet"], unknown);
    agent.check_order()
}

#[test]
fn generic_and_native_mode_take_turns() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let mut flow = echoes(&lab, "alice", 2)?;
    for round in 0..4 {
        agent.sigterm()?;
        let (from, to, mode) = match round % 2 {
            0 => (
                "role = \"access\"\n",
                "role = \"access\"\nmode = \"generic\"\n",
                "generic",
            ),
            _ => ("mode = \"generic\"\n", "", "native"),
        };
        agent.configure(from, to)?;
        agent.start()?;
        assert_eq!(agent.status()?["interfaces"][0]["mode"], mode);
        let shown = lab.gateway.run("ip", &["link", "show", "access0"])?;
        assert_eq!(shown.contains("xdpgeneric"), mode == "generic", "{shown}");
        flow += echoes(&lab, "alice", 3)?;
        let taken = taken_in(&lab, || {
            let alice = lab.subscriber("alice");
            assert_eq!(
                udp(&alice.v6(), &lab.remote(town::GOVERNMENT6), 30, 4000)?,
                30
            );
            Ok(())
        })?;
        assert_eq!(taken.up.packets, 90);
        flow += taken;
    }
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", flow)])
    );
    agent.check_order()
}
