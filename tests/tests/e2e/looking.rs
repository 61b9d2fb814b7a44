//! What people look at who run a gateway: `top`, while something moves, and `doctor`, with an agent and without, on a gateway
//! that is as it should be and on one that is not.

use std::fs;
use std::process::Output;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::topology::Lab;
use zerorate_tests::town;
use zerorate_tests::traffic::Load;
use zerorate_tests::wait::until;

#[test]
fn who_moves_is_on_top_while_it_moves() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let alice = lab.subscriber("alice").v4();
    let load = Load::start(&alice, &lab.remote(town::INTERNET), true, false)?;
    let top = || agent.ask_json(&["top"]).ok()?.into_iter().next();
    let mut seen = None;
    until("alice moves a megabit a second", || {
        seen = top().filter(|top| top["subscribers"][0]["up_bps"].as_u64() > Some(1_000_000));
        Ok(seen.is_some())
    })?;
    let seen = seen.context("nobody moves")?;
    let subscribers = seen["subscribers"].as_array().context("no list")?;
    assert_eq!(subscribers[0]["subscriber"], "alice");
    for speed in ["up_bps", "down_bps", "dropped_bps"] {
        let sum: Option<u64> = subscribers.iter().map(|one| one[speed].as_u64()).sum();
        assert_eq!(sum, seen[speed].as_u64(), "{speed} in {seen}");
    }
    assert_eq!(seen["moving"], subscribers.len());
    // Twice, so that interfaces have rates; and nothing for a terminal in what is none.
    let table = agent.ask(&["top", "--count", "2", "--by", "up"])?;
    let (_, last) = table.rsplit_once("books").context("no second frame")?;
    let access = last.lines().find(|line| line.contains("access"));
    let access = access.with_context(|| format!("no access interface in {last}"))?;
    assert!(!access.contains('-') || access.contains("xdp-"), "{access}");
    assert!(last.contains("alice"), "{last}");
    assert!(!table.contains('\x1b'), "{table:?}");
    let csv = agent.ask(&["top", "--format", "csv", "--limit", "1"])?;
    assert!(csv.starts_with("time,subscriber,plan,up_bps,"), "{csv}");
    assert_eq!(csv.lines().count(), 2, "{csv}");
    // What is not let through of nobody is no reason to be there.
    let none = agent.ask_json(&["top", "--by", "dropped"])?;
    assert_eq!(none[0]["subscribers"], Value::Array(Vec::new()));
    load.stop()?;
    until("nobody moves any more", || {
        Ok(top().is_some_and(|top| top["moving"] == 0 && top["up_bps"] == 0))
    })?;
    agent.check_order()
}

/// What the doctor finds on the gateway, and whether it is content.
fn examined(lab: &Lab, agent: &Agent) -> Result<(Vec<Value>, bool)> {
    let doctor = agent.command(&["doctor", "--format", "json", "--config"]);
    let mut command = lab.gateway.command(doctor.get_program());
    command.args(doctor.get_args()).arg(agent.config());
    let Output { status, stdout, .. } = command.output()?;
    let lines = std::str::from_utf8(&stdout)?.lines();
    let found = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((found, status.success()))
}

/// The worst that is found about a thing, with all that is.
fn worst(found: &[Value], about: &str) -> (String, String) {
    let found = found.iter().filter(|one| one["about"] == about);
    let levels = ["ok", "note", "warning", "error"];
    let rank = |one: &&Value| levels.iter().position(|level| one["level"] == *level);
    let all: Vec<&Value> = found.collect();
    let text = all.iter().map(ToString::to_string);
    let text: Vec<String> = text.collect();
    let level = all.iter().max_by_key(|one| rank(one));
    let level = level.and_then(|one| one["level"].as_str());
    (level.unwrap_or("nothing").to_owned(), text.join("\n"))
}

#[test]
fn the_doctor_knows_a_fit_gateway_from_one_that_is_not() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let (found, _) = examined(&lab, &agent)?;
    for about in [
        "kernel",
        "pins",
        "configuration",
        "ledger",
        "address translation",
        "agent",
    ] {
        let (level, text) = worst(&found, about);
        assert_eq!(level, "ok", "{about}: {text}");
    }
    let (_, agents) = worst(&found, "agent");
    assert!(agents.contains("in order"), "{agents}");
    let config = fs::read_to_string(agent.config())?;
    let name = config
        .lines()
        .find_map(|line| line.strip_prefix("name = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .context("no interface is configured")?;
    let (level, text) = worst(&found, name);
    // A pair of virtual interfaces can do all of it, with one queue.
    assert!(text.contains("native XDP"), "{text}");
    assert_ne!(level, "error", "{text}");

    agent.sigterm()?;
    // A wrong policy, a wrong name, and rules that would take downlink away.
    agent.write_policy("name = \"town\"\n")?;
    fs::write(
        agent.config(),
        config.replace(&format!("\"{name}\""), "\"nowhere0\""),
    )?;
    for rule in [
        "add table ip nat",
        "add chain ip nat post { type nat hook postrouting priority 100; }",
        "add rule ip nat post masquerade",
    ] {
        let mut nft = lab.gateway.command("nft");
        assert!(nft.args(rule.split(' ')).status()?.success(), "{rule}");
    }
    let (found, is_fit) = examined(&lab, &agent)?;
    assert!(!is_fit);
    for (about, part) in [
        ("policy", "default_class"),
        ("nowhere0", "no such interface"),
        ("address translation", "downlink = \\\"egress\\\""),
    ] {
        let (level, text) = worst(&found, about);
        assert_eq!(level, "error", "{about}: {text}");
        assert!(text.contains(part), "{about}: {text}");
    }
    assert_eq!(worst(&found, "agent").0, "note");
    // What it depends on cannot be read.
    fs::write(agent.config(), "node = ")?;
    let (found, is_fit) = examined(&lab, &agent)?;
    assert!(!is_fit);
    assert_eq!(worst(&found, "configuration").0, "error");
    assert_eq!(worst(&found, "kernel").0, "ok");
    Ok(())
}
