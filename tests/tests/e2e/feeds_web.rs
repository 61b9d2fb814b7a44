//! A list on the web under a running agent: what is new comes into force, what is the same is not sent again, and a host that
//! is down, slow, gone, somebody else, or sends too much or too little, changes nothing and is told.

use std::fs;

use anyhow::{Context as _, Result};
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::feeds::{feed, in_order, list, status};
use zerorate_tests::ping::ping;
use zerorate_tests::tls::Authority;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, POLICY};
use zerorate_tests::wait::until;
use zerorate_tests::web::{PORT, Publisher};

const LISTED: &str = r#"prefixes = ["203.0.113.128/25", "2001:db8:30::/48"]"#;
const LIST: &str = "203.0.113.128/25\n2001:db8:30::/48\n";
const METRICS: &str = "127.0.0.1:9477";

/// Waits until a metric of the one feed has a value: what is scraped may be a moment old.
fn metric(lab: &Lab, name: &str, value: &str) -> Result<()> {
    until(&format!("{name} is {value}"), || {
        Ok(scraped(lab, name)? == value)
    })
}

fn scraped(lab: &Lab, name: &str) -> Result<String> {
    let mut curl = lab.gateway.command("curl");
    let curl = curl.args(["--silent", &format!("http://{METRICS}/metrics")]);
    let said = String::from_utf8(curl.output()?.stdout)?;
    let begin = format!("{name}{{set=\"chats\"}} ");
    let found = said.lines().find_map(|line| line.strip_prefix(&begin));
    Ok(found.context(said.clone())?.to_owned())
}

/// To what class an echo of alice to the internet's address is counted.
fn class(agent: &Agent, lab: &Lab) -> Result<String> {
    let before = agent.bill()?.usage;
    let alice = lab.subscriber("alice").v4();
    assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 1, 72)?, 1);
    lab.settle()?;
    let after = agent.bill()?.usage;
    let mut changed = after
        .iter()
        .filter(|(key, flow)| before.get(*key) != Some(*flow));
    let ((_, class, _), _) = changed.next().context("nothing was counted")?;
    Ok(class.clone())
}

#[test]
fn a_list_follows_the_web_and_the_last_good_one_stays() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(directory.path(), "authority")?;
    let stranger = Authority::new(directory.path(), "stranger")?;
    let good = authority.sign("good", "IP:127.0.0.1")?;
    let other_host = authority.sign("other", "DNS:other.example")?;
    let forged = stranger.sign("forged", "IP:127.0.0.1")?;
    let longer = format!("{LIST}198.51.100.0/24\n");
    let mut web = Publisher::start(&lab.gateway, &good, LIST)?;
    let lines = format!(
        "file = \"chats.txt\"\nfeed = \"https://127.0.0.1:{PORT}/list.txt\"\nfeed_every = \"200ms\"\n\
         feed_stale_after = \"1h\"\nfeed_ca = \"{}\"\nfeed_max_bytes = \"2kB\"\nfeed_timeout = \"2s\"",
        authority.certificate().display()
    );
    let mut agent = town::agent(&lab)
        .policy(&POLICY.replace(LISTED, &lines))
        .section(&format!("[metrics]\nlisten = \"{METRICS}\""))
        .prepare()?;
    fs::write(agent.policy_dir().join("chats.txt"), LIST)?;
    agent.start()?;
    assert_eq!(class(&agent, &lab)?, "internet");

    // What is new comes into force; what is the same is known by its tag, and keeps the list fresh.
    web.publish(&longer)?;
    until("the feed's list is in force", || {
        let feed = feed(&agent)?;
        Ok(list(&agent)?.contains("198.51.100.0/24") && feed["fresh"].is_string())
    })?;
    assert_eq!(class(&agent, &lab)?, "messengers");
    let kept = list(&agent)?;
    let version = status(&agent)?["policy_version"].clone();
    let seen = web.answers().matches(" 304").count();
    let fresh = feed(&agent)?["fresh"].clone();
    until("what is the same is not sent again", || {
        let again = web.answers().matches(" 304").count() > seen + 2;
        Ok(again && feed(&agent)?["fresh"] != fresh)
    })?;
    until("all is in order", || in_order(&agent))?;
    metric(&lab, "zerorate_feed_refused", "0.0")?;
    metric(&lab, "zerorate_feed_stale", "0.0")?;

    // Whatever goes wrong, the last good list stays.
    let is_refused = |agent: &Agent, what: &str, expected: &str| -> Result<()> {
        let mut said = String::new();
        let refused = until(what, || {
            let error = feed(agent)?["error"].clone();
            error.as_str().unwrap_or_default().clone_into(&mut said);
            Ok(said.contains(expected))
        });
        refused.with_context(|| format!("it says: {said}"))?;
        assert_eq!(list(agent)?, kept, "{what}");
        assert_eq!(status(agent)?["policy_version"], version, "{what}");
        assert!(!in_order(agent)?, "{what}");
        metric(&lab, "zerorate_feed_refused", "1.0")?;
        Ok(())
    };
    for (way, expected) in [
        ("html", "this is HTML or XML"),
        ("slow", "it took too long"),
        ("large", "it is larger than 2000 bytes"),
        ("cut", "was cut off while it was fetched"),
        ("gone", "the host answers with status 404"),
        (
            "elsewhere",
            "it leads to \"https://other.example/list.txt\"",
        ),
    ] {
        web.way(way)?;
        is_refused(&agent, way, expected)?;
    }
    // A list that would break the policy is refused for as long as it is what the host has. It is asked for again as if it
    // were not known: what is in its way may go.
    web.way("good")?;
    web.publish("203.0.113.0/25\n")?;
    is_refused(
        &agent,
        "a prefix of another class",
        "in class \"government\"",
    )?;
    let seen = web.answers().matches(" 200").count();
    until("it is still the same", || {
        Ok(web.answers().matches(" 200").count() > seen + 2)
    })?;
    is_refused(
        &agent,
        "a prefix of another class",
        "in class \"government\"",
    )?;
    web.publish(&longer)?;
    until("the list is good again", || {
        Ok(feed(&agent)?["error"].is_null())
    })?;

    // Somebody else, or nobody.
    web.again(&forged)?;
    is_refused(&agent, "another authority", "certificate")?;
    web.again(&other_host)?;
    is_refused(&agent, "another host", "certificate")?;
    web.stop()?;
    is_refused(&agent, "nobody", "Connection refused")?;
    assert_eq!(class(&agent, &lab)?, "messengers");

    // Another path of the same host is followed; what is there is taken.
    web.again(&good)?;
    web.way("moved")?;
    web.publish(LIST)?;
    until("what moved is in force", || {
        Ok(!list(&agent)?.contains("198.51.100.0/24") && feed(&agent)?["error"].is_null())
    })?;
    assert_eq!(class(&agent, &lab)?, "internet");
    until("all is in order again", || in_order(&agent))?;

    // Without a good answer for long, it is stale, and it is not for long.
    let toml = agent.policy_dir().join("policy.toml");
    let text = fs::read_to_string(&toml)?.replace("\"1h\"", "\"3s\"");
    web.stop()?;
    fs::write(&toml, text)?;
    until("the feed is stale", || Ok(feed(&agent)?["stale"] == true))?;
    metric(&lab, "zerorate_feed_stale", "1.0")?;
    assert!(
        agent.log().contains("feed of set chats is stale"),
        "{}",
        agent.log()
    );
    web.again(&good)?;
    until("the feed is fresh again", || {
        Ok(feed(&agent)?["stale"] == false)
    })?;
    // Who stops does not wait for a host that does not answer.
    web.way("slow")?;
    agent.sigterm()?;
    Ok(())
}
