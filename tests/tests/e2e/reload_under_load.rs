//! Policies and subscribers change while packets pass: each packet is counted under what was in force
//! before or under what is after, once, and none is missed.

use std::fmt::Write as _;
use std::fs;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use jiff::{Timestamp, ToSpan as _};
use nix::sys::signal::Signal;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::town::{self, POLICY, SUBSCRIBERS, lines, taken_in, under_load};
use zerorate_tests::wait::until;

/// The policy with another set, in which the internet's address is of class `class`.
fn with_internet_in(class: &str, validity: &str) -> String {
    format!(
        "{POLICY}\n[[sets]]\nname = \"moved\"\nclass = \"{class}\"\nsource = \"made up\"\n\
         prefixes = [\"198.51.100.0/25\"]\nexpect = [\"documentation\"]\n{validity}\n"
    )
}

/// Files the agent has open: what a change leaves open would add up.
fn open_files(agent: &Agent) -> Result<usize> {
    let id = agent.id().context("the agent has ended")?;
    Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
}

#[test]
fn two_hundred_reloads_and_every_packet_is_counted_once() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .policy(&with_internet_in("government", ""))
        .setting("watch = false")
        .start()?;
    // The other policy has one bucket more, and a chain that leads through it.
    let other = with_internet_in("messengers", "")
        .replace(
            "messengers = \"64kB\"",
            "messengers = \"64kB\"\nextra = \"1MB\"",
        )
        .replace(
            "[\"messengers\", \"metered\"]",
            "[\"messengers\", \"extra\", \"metered\"]",
        );
    let policies = [other, with_internet_in("government", "")];
    let pairs = [
        (lab.subscriber("alice").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::GOVERNMENT6)),
    ];
    let mut files = 0;
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for round in 0..200 {
                agent.write_policy(&policies[round % 2])?;
                let said = agent.reload()?;
                assert!(said.starts_with("in force: version"), "{round}: {said}");
                if round == 1 {
                    files = open_files(&agent)?;
                }
            }
            Ok(())
        })
    })?;
    let bill = agent.bill()?;
    assert_eq!(bill.sum(|_| true), flow);
    assert_eq!(
        bill.sum(|(.., charged)| charged == "dropped"),
        town::NOTHING
    );
    for (class, charged) in [("government", "free"), ("messengers", "extra")] {
        let flow = bill.charged("alice", class, charged);
        assert!(
            flow.up.packets > 0 && flow.down.packets > 0,
            "{class}: {flow:?}"
        );
    }
    // Both policies fit one layout: no row is added after the first of each.
    let status = agent.status()?;
    assert!(status["rows"].as_u64() <= Some(6), "{status}");
    // One request may be under way.
    assert!(open_files(&agent)? <= files + 1, "{files} files were open");
    agent.check_order()
}

#[test]
fn a_subscriber_whose_addresses_change_under_traffic_keeps_every_byte() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let bob = lab.subscriber("bob");
    let remote = lab.remote(town::GOVERNMENT);
    let pairs = ["10.1.0.9", "10.1.0.14"].map(|address| (bob.at(address), remote.clone()));
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for round in 0..30 {
                let addresses = ["10.1.0.9", "10.1.0.14", "10.1.0.8/29"][round % 3];
                agent.write_subscribers(&format!("bob,small,active,{addresses}"))?;
                let said = agent.reload()?;
                assert!(said.contains("1 with other addresses"), "{round}: {said}");
            }
            Ok(())
        })
    })?;
    let bill = agent.bill()?;
    let known = bill.charged("bob", "government", "free");
    let unknown = bill.unattributed["government"];
    assert!(known.up.packets > 0 && unknown.up.packets > 0);
    assert_eq!(known + unknown, flow);
    assert_eq!(bill.of("bob"), known);
    agent.check_order()
}

#[test]
fn an_address_that_changes_hands_under_traffic_is_one_or_the_other_s() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT))];
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for round in 0..30 {
                let holder = ["carol", "alice"][round % 2];
                agent.write_subscribers(&format!("{holder},basic,active,10.1.0.1"))?;
                agent.reload()?;
            }
            Ok(())
        })
    })?;
    let bill = agent.bill()?;
    let (alice, carol) = (bill.of("alice"), bill.of("carol"));
    assert!(alice.up.packets > 0 && carol.up.packets > 0);
    assert_eq!(alice + carol, flow);
    agent.check_order()
}

#[test]
fn many_subscribers_come_and_go_under_traffic() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let mut crowd = String::from(SUBSCRIBERS);
    for n in 0..20_000 {
        let (high, low) = (n >> 8, n & 255);
        writeln!(crowd, "\nc{n},basic,active,10.9.{high}.{low}/32")?;
    }
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT))];
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for list in [&crowd, SUBSCRIBERS, &crowd, SUBSCRIBERS] {
                agent.write_subscribers(list)?;
                agent.reload()?;
            }
            Ok(())
        })
    })?;
    assert_eq!(agent.bill()?.sum(|_| true), flow);
    assert_eq!(agent.status()?["subscribers"], 2);
    agent.check_order()
}

/// The policy with a list of that many single addresses, each in a /24 of its own and none at its neighbour's place, so that
/// the image has 256 bytes for each.
fn with_addresses(agent: &Agent, count: usize) -> Result<()> {
    let mut list = String::new();
    for n in 0..count {
        writeln!(list, "10.{}.{}.{}", 64 + (n >> 8), n & 255, 70 + n % 8)?;
    }
    fs::write(agent.policy_dir().join("list.txt"), list)?;
    agent.write_policy(&format!(
        "{}\n[[sets]]\nname = \"many\"\nclass = \"messengers\"\nsource = \"made up\"\n\
         file = \"list.txt\"\nexpect = [\"empty\"]\n",
        town::with_open()
    ))
}

#[test]
fn an_image_that_outgrows_its_map_moves_to_a_larger_one() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    // Alice's packets wait for their class.
    let mut agent = town::agent(&lab)
        .policy(&town::with_open())
        .subscribers(&SUBSCRIBERS.replace("basic", "open"))
        .setting("watch = false")
        .start()?;
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT))];
    let size = |agent: &Agent| -> Result<u64> {
        agent.status()?["image_bytes"].as_u64().context("no size")
    };
    let small = size(&agent)?;
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for count in [0, 8000, 500, 32_000, 0] {
                with_addresses(&agent, count)?;
                agent.reload()?;
                let now = size(&agent)?;
                assert!(
                    now >= small + 256 * count as u64,
                    "{count}: {now} after {small}"
                );
                // Which of the two the next agent finds, it can go on with.
                if count == 8000 || count == 32_000 {
                    agent.kill9()?;
                    agent.start()?;
                    assert_eq!(size(&agent)?, now);
                }
            }
            Ok(())
        })
    })?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", flow)])
    );
    // The maps that were outgrown are gone.
    let pins = fs::read_dir(agent.maps_dir().context("no maps")?)?;
    let names = pins.map(|pin| Ok(pin?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<Result<Vec<String>>>()?;
    let images = names.iter().filter(|name| name.starts_with("image"));
    assert_eq!(images.count(), 1, "{names:?}");
    agent.check_order()
}

#[test]
fn asked_from_all_sides_at_once_it_reloads_in_turn() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::INTERNET))];
    let policies = ["government", "messengers"].map(|class| with_internet_in(class, ""));
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for round in 0..20 {
                // The change itself is the first to ask.
                agent.write_policy(&policies[round % 2])?;
                agent.signal(Signal::SIGHUP)?;
                thread::scope(|scope| {
                    let asked = [0, 1].map(|_| scope.spawn(|| agent.reload()));
                    asked.map(|thread| thread.join().map_err(|_| anyhow!("a panic")).flatten())
                })
                .into_iter()
                .try_for_each(|said| said.map(drop))?;
            }
            Ok(())
        })
    })?;
    let bill = agent.bill()?;
    assert_eq!(bill.of("alice"), flow);
    assert_eq!(bill.sum(|_| true), flow);
    agent.check_order()
}

#[test]
fn a_validity_boundary_passes_under_traffic() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let alice = lab.subscriber("alice").v4();
    let remote = lab.remote(town::INTERNET);
    let pairs = [(alice, remote)];
    let packets = |class: &str| -> Result<u64> {
        let bill = agent.bill()?;
        let flow = bill.sum(|(owner, of, _)| owner == "alice" && of == class);
        Ok(flow.up.packets)
    };
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            let now = Timestamp::now();
            let (from, until_then) = (now + 3.seconds(), now + 6.seconds());
            let validity = format!("valid_from = {from}\nvalid_until = {until_then}");
            agent.write_policy(&with_internet_in("government", &validity))?;
            agent.reload()?;
            assert_eq!(agent.status()?["policy_until"], from.to_string());
            assert_eq!(packets("government")?, 0);
            until("the set begins to count", || Ok(packets("government")? > 0))?;
            assert_eq!(agent.status()?["policy_until"], until_then.to_string());
            until("the set ends", || {
                Ok(agent.status()?["policy_until"].is_null())
            })?;
            let ended = (packets("government")?, packets("internet")?);
            until(
                "it is ordinary again",
                || Ok(packets("internet")? > ended.1),
            )?;
            assert_eq!(packets("government")?, ended.0);
            Ok(())
        })
    })?;
    let bill = agent.bill()?;
    assert_eq!(bill.of("alice"), flow);
    let passed = agent
        .log()
        .matches("a validity boundary has passed")
        .count();
    assert_eq!(passed, 2);
    agent.check_order()
}
