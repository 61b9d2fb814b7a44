//! A policy takes another's place under traffic: each packet stands in a record of the policy that judged it, whatever happens
//! to the agent meanwhile.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::dice::Dice;
use zerorate_tests::netns::Endpoint;
use zerorate_tests::records::{usage, volumes};
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, SUBSCRIBERS, taken_in, under_load};

/// The same classes, sets and plans, but the offices' addresses are the messengers' and theirs the offices': the class says
/// which of the two judged a packet.
fn exchanged() -> String {
    town::with_open()
        .replace("\"203.0.113.0/25\"", "\"other half\"")
        .replace("\"203.0.113.128/25\"", "\"203.0.113.0/25\"")
        .replace("\"other half\"", "\"203.0.113.128/25\"")
}

/// Both subscribers talk to the offices only.
fn pairs(lab: &Lab) -> [(Endpoint, Endpoint); 2] {
    ["alice", "bob"].map(|id| (lab.subscriber(id).v4(), lab.remote(town::GOVERNMENT)))
}

fn agent(lab: &Lab, interval: &str) -> Result<Agent> {
    town::agent(lab)
        .policy(&town::with_open())
        // Nobody's traffic ends because a bucket does, and Bob's packets wait for their class.
        .subscribers(&SUBSCRIBERS.replace("small", "open"))
        .setting("watch = false")
        .section(&format!(
            "[records]\ninterval = \"{interval}\"\ncheckpoint = \"100ms\""
        ))
        .start()
}

fn version(agent: &Agent) -> Result<String> {
    let status = agent.status()?;
    Ok(status["policy_version"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// That what was counted is what passed, records add up to it once the agent has ended, and each has the class that its policy judges the offices to be.
fn check(agent: &mut Agent, flow: Flow, first: &str, second: &str) -> Result<()> {
    assert_eq!(agent.bill()?.sum(|_| true), flow);
    agent.sigterm()?;
    agent.start()?;
    let records = usage(agent)?;
    for subscriber in ["alice", "bob"] {
        let billed = zerorate_tests::records::billed(agent, subscriber)?;
        assert_eq!(volumes(&records, subscriber), billed, "{subscriber}");
    }
    let found: BTreeSet<_> = records
        .iter()
        .map(|record| (&*record.policy_version, &*record.class))
        .collect();
    let expected = BTreeSet::from([(first, "government"), (second, "messengers")]);
    assert_eq!(found, expected);
    assert_eq!(agent.status()?["unsplit_packets"], 0);
    agent.check_order()
}

#[test]
fn under_load_each_packet_is_recorded_under_the_policy_that_judged_it() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    // Nothing is recorded but for the change.
    let mut agent = agent(&lab, "1h")?;
    let first = version(&agent)?;
    let mut second = String::new();
    let flow = taken_in(&lab, || {
        under_load(&pairs(&lab), || {
            for _ in 0..20 {
                agent.write_policy(&exchanged())?;
                agent.reload()?;
                second = version(&agent)?;
                agent.write_policy(&town::with_open())?;
                agent.reload()?;
            }
            Ok(())
        })
    })?;
    assert_ne!(first, second);
    check(&mut agent, flow, &first, &second)
}

#[test]
fn ended_in_the_middle_of_a_change_the_next_agent_goes_on_with_it() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = agent(&lab, "200ms")?;
    let first = version(&agent)?;
    agent.write_policy(&exchanged())?;
    agent.reload()?;
    let second = version(&agent)?;
    let mut dice = Dice::new();
    let flow = taken_in(&lab, || {
        under_load(&pairs(&lab), || {
            for round in 0..16 {
                let even = round % 2 == 0;
                let policy = if even { town::with_open() } else { exchanged() };
                agent.write_policy(&policy)?;
                let mut asked = agent.command(&["policy", "reload", "--socket"]);
                asked.arg(agent.socket());
                let asked = asked.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
                sleep(dice.time_below(Duration::from_millis(150)));
                agent.kill9()?;
                asked?.wait()?;
                if round % 3 == 0 {
                    agent.spawn()?;
                    sleep(dice.time_below(Duration::from_millis(700)));
                    agent.kill9()?;
                }
                agent.start()?;
            }
            Ok(())
        })
    })?;
    check(&mut agent, flow, &first, &second)
}

#[test]
fn an_image_that_needs_a_larger_map_splits_as_exactly_also_at_a_start() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = agent(&lab, "1h")?;
    let first = version(&agent)?;
    // Each is alone in its /24, for which the image has a table of its own: more than the first map has room for.
    let prefixes: Vec<_> = (0..24_000_u32)
        .map(|n| format!("\"{}.{}.{}.1\"", 60 + (n >> 16), (n >> 8) & 255, n & 255))
        .collect();
    let large = format!(
        "[[sets]]\nname = \"many\"\nclass = \"messengers\"\nsource = \"made up\"\nprefixes = [{}]\n\n[[sets]]",
        prefixes.join(",")
    );
    let large = exchanged().replacen("[[sets]]", &large, 1);
    let mut second = String::new();
    let flow = taken_in(&lab, || {
        under_load(&pairs(&lab), || {
            sleep(Duration::from_millis(300));
            agent.kill9()?;
            agent.write_policy(&large)?;
            // While it starts the programs of the one before count on.
            agent.start()?;
            second = version(&agent)?;
            sleep(Duration::from_millis(300));
            Ok(())
        })
    })?;
    check(&mut agent, flow, &first, &second)
}
