//! `on_block = "mark"`: web traffic that would be dropped passes with a mark of its own, rules of the gateway send it
//! to a portal, and it is counted as dropped all the same.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::egress::{pinned_links, with_hook};
use zerorate_tests::frames::{Frame, Ipv4, Ipv6, Payload};
use zerorate_tests::marks::{counters, counts, seen, watch};
use zerorate_tests::netns::Endpoint;
use zerorate_tests::ping::ping;
use zerorate_tests::raw::send_frames;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, SUBSCRIBERS};
use zerorate_tests::traffic::{Server, ask, udp};

const MARK: &str = "on_block = \"mark\"";
const PATIENCE: Duration = Duration::from_secs(10);
/// For what is not to come.
const IN_VAIN: Duration = Duration::from_secs(1);

/// The rules that operations.md shows, for a portal on the gateway, with counters of what they do.
fn documented() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = fs::read_to_string(path)?;
    let (_, rules) = text
        .split_once("table inet portal {")
        .context("operations.md shows no portal")?;
    let (rules, _) = rules.split_once("```").context("a fence is not closed")?;
    let counted = rules
        .replace("redirect to", "counter name redirected redirect to")
        .replace("reject with", "counter name refused reject with")
        .replace(" drop\n", " counter name refused drop\n");
    Ok(format!(
        "table inet portal {{\ncounter redirected {{ }}\ncounter refused {{ }}\n{counted}"
    ))
}

fn suspended() -> String {
    SUBSCRIBERS.replace("alice,basic,active", "alice,basic,suspended")
}

fn port(address: &str, port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, port))
}

/// The ways of counting downlink, and of attaching to tc.
fn agents(lab: &Lab, egress: bool, settings: &str) -> Result<Agent> {
    let agent = if egress {
        town::egress_agent(lab, settings)
    } else {
        town::agent_with(lab, settings)
    };
    agent.subscribers(&suspended()).start()
}

/// What the books say was marked, in packets and bytes: over all, or of what an interface received.
fn marked_on(agent: &Agent, interface: Option<&str>) -> Result<(u64, u64)> {
    let lines = agent.usage_json()?;
    let books = lines.iter().find(|line| {
        line["kind"] == "books"
            && line["interface"].as_str() == interface
            && line["direction"] != "down"
    });
    let Some(books) = books else {
        return Ok((0, 0));
    };
    let cell = |name: &str| books[name].as_u64().context("no such column");
    Ok((cell("marked_packets")?, cell("marked_bytes")?))
}

fn marked(agent: &Agent) -> Result<(u64, u64)> {
    marked_on(agent, None)
}

#[test]
fn a_suspended_subscriber_meets_the_portal_on_the_gateway() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for (egress, hook, mode) in [
        (false, "tcx", "native"),
        (true, "tcx", "native"),
        (true, "clsact", "native"),
        (false, "tcx", "generic"),
        (false, "clsact", "generic"),
    ] {
        let case = format!("egress {egress}, {hook}, {mode}");
        let lab = town::lab().build()?;
        lab.gateway.nft(&documented()?)?;
        let _portal = Server::start(&lab.gateway, 8080, "please pay")?;
        let _web = Server::start(&lab.remote, 80, "the web")?;
        let _tls = Server::start(&lab.remote, 443, "the web")?;
        let settings = format!("{MARK}\nmode = \"{mode}\"\n{}", with_hook(hook));
        let agent = agents(&lab, egress, &settings)?;
        let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
        for (near, address) in [(alice.v4(), town::INTERNET), (alice.v6(), town::INTERNET6)] {
            let answer = ask(&near, port(address, 80)?, "GET / HTTP/1.0", PATIENCE)?;
            assert_eq!(answer, "please pay", "{case}: {address}");
        }
        // Who has paid meets the web, and what is essential is reached by everybody.
        for (near, address) in [
            (bob.v4(), town::INTERNET),
            (alice.v4(), town::GOVERNMENT),
            (alice.v6(), town::GOVERNMENT6),
        ] {
            let answer = ask(&near, port(address, 80)?, "GET / HTTP/1.0", PATIENCE)?;
            assert_eq!(answer, "the web", "{case}: {address}");
        }
        lab.settle()?;
        let before = marked_on(&agent, Some("access0"))?;
        assert!(before.0 >= 6, "{case}: {before:?}");

        // Nothing else gets through: HTTPS is marked and refused by the rule, the rest never arrives there.
        let dropped = agent.bill()?.charged("alice", "internet", "dropped");
        let remote = lab.remote(town::INTERNET);
        assert!(ask(&alice.v4(), port(town::INTERNET, 443)?, "hello", IN_VAIN).is_err());
        assert_eq!(ping(&alice.v4(), &remote, 2, 72)?, 0);
        assert_eq!(udp(&alice.v4(), &remote, 5, 72)?, 0);
        lab.settle()?;
        let after = marked(&agent)?;
        let tried = marked_on(&agent, Some("access0"))?.0 - before.0;
        assert!(tried > 0, "{case}");
        let portal = counters(&lab.gateway, "portal")?;
        assert_eq!(
            portal.get("refused").copied(),
            Some(tried),
            "{case}: {portal:?}"
        );
        // One connection for each family.
        assert_eq!(portal.get("redirected").copied(), Some(2), "{case}");

        // All of it is counted as dropped, and as marked besides.
        let bill = agent.bill()?;
        let now = bill.charged("alice", "internet", "dropped");
        assert_eq!(now.up.packets - dropped.up.packets, 2 + 5 + tried, "{case}");
        let total = bill.total();
        assert_eq!(
            total.dropped_bytes,
            now.up.bytes + now.down.bytes,
            "{case}: {bill:#?}"
        );
        assert_eq!(now.up.bytes + now.down.bytes - after.1, 7 * 100, "{case}");
        assert!(agent.ask(&["usage"])?.contains("marked"));
        assert_eq!(agent.status()?["marked_packets"], after.0);
        assert_eq!(agent.status()?["untagged_packets"], 0);
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn a_portal_elsewhere_is_reached_by_translation_of_destinations() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    // At an address of an essential class; and at one of no class in particular, where it has to be web traffic itself
    // if it is counted as it arrives from the core.
    for (egress, portal, class) in [
        (false, "203.0.113.9:8080", "government"),
        (true, "203.0.113.9:8080", "government"),
        (false, "198.51.100.99:443", "internet"),
        (true, "198.51.100.99:8080", "internet"),
    ] {
        let case = format!("egress {egress}, {portal}");
        let lab = town::lab().build()?;
        lab.gateway.nft(&format!(
            "table ip portal {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    meta mark & 0x000f0000 == 0x00040000 tcp dport 80 dnat to {portal}
                }}
                chain forward {{
                    type filter hook forward priority filter;
                    ct status dnat accept
                    meta mark & 0x000f0000 == 0x00040000 drop
                }}
            }}"
        ))?;
        let (_, listens) = portal.rsplit_once(':').context("a port")?;
        let _portal = Server::start(&lab.remote, listens.parse()?, "please pay")?;
        let _web = Server::start(&lab.remote, 80, "the web")?;
        let agent = agents(&lab, egress, MARK)?;
        let alice = lab.subscriber("alice").v4();
        let answer = ask(&alice, port(town::INTERNET, 80)?, "GET /", PATIENCE)?;
        assert_eq!(answer, "please pay", "{case}");
        for other in [443, 8080] {
            let asked = ask(&alice, port(town::INTERNET, other)?, "GET /", IN_VAIN);
            assert!(asked.is_err(), "{case}: {other}");
        }
        lab.settle()?;
        let bill = agent.bill()?;
        assert!(bill.charged("alice", "internet", "dropped").up.packets > 0);
        // What the portal says comes from its own address on the core, and from the one that was asked on egress.
        let says = match (egress, class) {
            (false, "government") => bill.charged("alice", class, "free"),
            _ => bill.charged("alice", "internet", "dropped"),
        };
        assert!(says.down.packets > 0, "{case}: {bill:#?}");
        assert_eq!(bill.of("alice").down, says.down, "{case}: {bill:#?}");
        agent.check_order()?;
    }
    Ok(())
}

/// An empty bucket is as good as a suspension, and service returns with the next grant.
#[test]
fn an_empty_bucket_meets_the_portal_until_it_is_filled() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    lab.gateway.nft(&documented()?)?;
    let _portal = Server::start(&lab.gateway, 8080, "please pay")?;
    let _web = Server::start(&lab.remote, 80, "the web")?;
    let agent = town::agent_with(&lab, MARK).start()?;
    let bob = lab.subscriber("bob").v4();
    let web = port(town::INTERNET, 80)?;
    assert_eq!(ask(&bob, web, "GET /", PATIENCE)?, "the web");
    agent.ask(&["bucket", "set", "bob", "main", "0B", "--id", "1"])?;
    assert_eq!(ask(&bob, web, "GET /", PATIENCE)?, "please pay");
    agent.ask(&["bucket", "grant", "bob", "main", "1MB", "--id", "2"])?;
    assert_eq!(ask(&bob, web, "GET /", PATIENCE)?, "the web");
    agent.check_order()
}

/// Frames of every kind from a suspended subscriber, and whether they are web traffic.
fn frames() -> Result<Vec<(&'static str, bool, Payload)>> {
    let v4 = || anyhow::Ok(Ipv4::new([10, 1, 0, 1].into(), town::INTERNET.parse()?));
    let v6 = || {
        anyhow::Ok(Ipv6::new(
            "2001:db8:a::1".parse()?,
            town::INTERNET6.parse()?,
        ))
    };
    let large = v4()?.tcp(1024, 80, 2, &[0; 600]).fragments(304);
    let mut cut = v4()?.tcp(1024, 80, 2, b"");
    cut.payload.truncate(3);
    let (first, second) = (&large[0], &large[1]);
    Ok(vec![
        ("http", true, v4()?.tcp(1024, 80, 2, b"").into()),
        ("https", true, v4()?.tcp(1024, 443, 2, b"").into()),
        ("quic", true, v4()?.udp(1024, 443, b"x").into()),
        ("other", false, v4()?.tcp(1024, 8080, 2, b"").into()),
        ("udp80", false, v4()?.udp(1024, 80, b"x").into()),
        ("fromport", false, v4()?.tcp(80, 1024, 2, b"").into()),
        ("echo", false, v4()?.echo(b"x").into()),
        ("cut", false, cut.into()),
        (
            "options",
            true,
            v4()?.options(&[1; 8]).tcp(1024, 80, 2, b"").into(),
        ),
        ("first", true, first.clone().into()),
        ("second", false, second.clone().into()),
        ("http6", true, v6()?.tcp(1024, 80, 2, b"").into()),
        ("quic6", true, v6()?.udp(1024, 443, b"x").into()),
        ("other6", false, v6()?.tcp(1024, 25, 2, b"").into()),
        (
            "extended6",
            true,
            v6()?
                .extension(0, 0)
                .extension(60, 1)
                .tcp(1024, 443, 2, b"")
                .into(),
        ),
        (
            "toomany6",
            false,
            v6()?
                .extension(0, 0)
                .extension(60, 0)
                .extension(60, 0)
                .tcp(1024, 443, 2, b"")
                .into(),
        ),
        (
            "first6",
            true,
            v6()?.fragment(0, true, 7).tcp(1024, 80, 2, &[0; 28]).into(),
        ),
        (
            "later6",
            false,
            v6()?.fragment(6, false, 7).tcp(1024, 80, 2, b"").into(),
        ),
    ])
}

#[test]
fn what_is_web_traffic_is_marked_and_nothing_else() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for mode in ["native", "generic"] {
        let lab = town::lab().build()?;
        let agent = agents(&lab, false, &format!("{MARK}\nmode = \"{mode}\""))?;
        // Whatever passes is seen before fragments are put together; unmarked it would be a leak.
        watch(
            &lab.gateway,
            "prerouting priority -500",
            &[
                ("marked", "iifname access0 meta mark 0x00040000"),
                ("unmarked", "iifname access0 meta mark != 0x00040000"),
            ],
        )?;
        let wire = &lab.subscriber("alice").wire;
        let mut expected = 0;
        for (name, is_web, packet) in frames()? {
            let frame = Frame::new(packet).stations(wire.near.mac, wire.far.mac);
            send_frames(&wire.near, &[frame.build()])?;
            lab.settle()?;
            expected += u64::from(is_web);
            assert_eq!(
                seen(&lab.gateway)?,
                counts([("marked", expected)]),
                "{mode}: {name}"
            );
            let on_access = marked_on(&agent, Some("access0"))?;
            assert_eq!(on_access.0, expected, "{mode}: {name}");
        }
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn not_enforced_nothing_is_for_the_portal() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    for egress in [false, true] {
        let lab = town::lab().build()?;
        lab.gateway.nft(&documented()?)?;
        let _portal = Server::start(&lab.gateway, 8080, "please pay")?;
        let _web = Server::start(&lab.remote, 80, "the web")?;
        let agent = agents(&lab, egress, &format!("{MARK}\nenforce = false"))?;
        let alice = lab.subscriber("alice").v4();
        let answer = ask(&alice, port(town::INTERNET, 80)?, "GET /", PATIENCE)?;
        assert_eq!(answer, "the web");
        assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 2, 72)?, 2);
        lab.settle()?;
        assert_eq!(counters(&lab.gateway, "portal")?, counts([]));
        // Counted as if it were enforced.
        let bill = agent.bill()?;
        assert!(marked(&agent)?.0 > 0);
        assert_eq!(
            bill.total().dropped_bytes - marked(&agent)?.1,
            4 * 100,
            "{bill:#?}"
        );
        agent.check_order()?;
    }
    Ok(())
}

#[test]
fn the_unknown_stay_dropped() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    watch(
        &lab.gateway,
        "prerouting priority -500",
        &[("passed", "tcp dport 80")],
    )?;
    let agent = town::agent_with(&lab, &format!("{MARK}\nunknown = \"drop\""))
        .subscribers("alice,basic,active,10.1.0.1/32")
        .start()?;
    let bob: Endpoint = lab.subscriber("bob").v4();
    assert!(ask(&bob, port(town::INTERNET, 80)?, "GET /", IN_VAIN).is_err());
    lab.settle()?;
    assert_eq!(seen(&lab.gateway)?, counts([]));
    let total = agent.usage_json()?;
    let total = total
        .iter()
        .find(|line| line["kind"] == "books" && line["interface"].is_null());
    let total = total.context("no books")?;
    assert_eq!(total["marked_packets"], 0);
    assert!(
        total["unknown_dropped_packets"].as_u64() > Some(0),
        "{total}"
    );
    assert_eq!(total["unknown_dropped_bytes"], total["unattributed_bytes"]);
    assert!(agent.ask(&["usage"])?.contains("unknown dropped"));
    assert!(pinned_links(&agent)?.contains(&"link-access0-intake".to_owned()));
    agent.check_order()
}
