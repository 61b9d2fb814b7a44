//! Downlink on tc egress: trains of segments are counted as the packets they become, on whatever hook the kernel
//! has, and each once.
//!
//! What is true is counted where it arrives: a subscriber's interface with a native XDP program receives every
//! packet by itself, because its peer has to cut trains apart behind the hook.

use anyhow::Result;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters::Volume;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, lines, volume};
use zerorate_tests::traffic::{tcp, udp};
use zerorate_tests::xdp::Mode;

const HOOKS: [&str; 2] = ["tcx", "clsact"];

/// The town, with every packet a subscriber receives counted on its wire. No more of TCP is under way than the
/// wire's ring takes: what it loses was counted, and nobody could say of how many bytes it was.
fn lab(offloads: bool, mtu: u16) -> Result<Lab> {
    let lab = town::lab().offloads(offloads).mtu(mtu).build()?;
    for subscriber in &lab.subscribers {
        subscriber.wire.near.attach_pass_program(Mode::Native)?;
        subscriber.namespace.set("ipv4/tcp_rmem", "4096 131072 131072")?;
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
        ("tcx", true, 9000),
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
        assert_eq!(agent.bill()?.usage, expected, "{hook}, offloads {offloads}, MTU {mtu}");
        let books = agent.bill()?.books;
        let core = books.iter().find(|books| books.interface.as_deref() == Some("core0"));
        assert_eq!(core, None);
        agent.check_order()?;
    }
    Ok(())
}
