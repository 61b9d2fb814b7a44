//! The kernel's own counters of interfaces beside the books: what a wire carried is in both, and what is not is explained,
//! whatever happens to the agent.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::town::{self, SUBSCRIBERS, under_load};
use zerorate_tests::traffic::udp;

const OFTEN: &str = "[records]\ninterval = \"300ms\"\ncheckpoint = \"100ms\"";

fn rows(agent: &Agent, more: &[&str]) -> Result<Vec<Value>> {
    agent.ask_json(&[&["reconcile"], more].concat())
}

/// The sum of a number over the rows of an interface.
fn sum(rows: &[Value], interface: &str, pointer: &str) -> Result<u64> {
    let of_it = rows.iter().filter(|row| row["interface"] == interface);
    let numbers = of_it.map(|row| row.pointer(pointer).and_then(Value::as_u64));
    numbers.sum::<Option<u64>>().context("no number")
}

#[test]
fn what_the_wires_carried_is_in_the_books_over_kills_and_restarts() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).section(OFTEN).start()?;
    let core = lab.core.read()?;
    under_load(&town::pairs(&lab), || {
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(700));
            agent.kill9()?;
            agent.start()?;
        }
        Ok(())
    })?;
    lab.settle()?;
    let carried = lab.core.since(&core)?.near_received;
    agent.sigterm()?;
    agent.start()?;
    let found = rows(&agent, &[])?;
    let interface = &lab.core.near.name;
    assert_eq!(sum(&found, interface, "/kernel/packets")?, carried.packets);
    assert_eq!(sum(&found, interface, "/books/packets")?, carried.packets);
    assert!(found.len() > lab.access.len() + 1, "by interval: {found:?}");
    for row in &found {
        assert_eq!(row["unexplained"], 0, "{row}");
        assert_eq!(row["hook"], "xdp-native");
    }
    // A date is taken, and a name that nobody knows is not an interface on which nothing passed.
    assert_eq!(rows(&agent, &["--from", "2026-01-01"])?.len(), found.len());
    let mut ask = agent.command(&["reconcile", "--interface", "nosuch", "--socket"]);
    let unknown = ask.arg(agent.socket()).output()?;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{said}");
    assert!(
        said.contains("there is no interface \"nosuch\"") && said.contains(&**interface),
        "{said}"
    );
    // Each interval begins where the one before it ended.
    let of_core = found.iter().filter(|row| row["interface"] == **interface);
    let times: Vec<_> = of_core.collect();
    for pair in times.windows(2) {
        assert!(
            pair[0]["to"].as_str() <= pair[1]["from"].as_str(),
            "{pair:?}"
        );
    }
    let summed = rows(&agent, &["--sum", "--interface", interface])?;
    assert_eq!(summed.len(), 1, "{summed:?}");
    assert_eq!(summed[0]["kernel"]["packets"], carried.packets);
    Ok(())
}

#[test]
fn what_was_stopped_or_missed_is_a_reason() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent_with(&lab, "mode = \"generic\"")
        .subscribers(&SUBSCRIBERS.replace("active,10.1.0.1", "suspended,10.1.0.1"))
        .section(OFTEN)
        .start()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::INTERNET));
    udp(&alice, &remote, 30, 72)?;
    lab.settle()?;
    let found = rows(&agent, &["--sum"])?;
    for row in &found {
        assert_eq!(row["unexplained"], 0, "{row}");
    }
    let table = agent.ask(&["reconcile", "--sum"])?;
    assert!(table.contains("xdp-generic"), "{table}");
    let csv = agent.ask(&["reconcile", "--format", "csv"])?;
    assert!(
        csv.starts_with("interface,direction,hook,from,to,kernel_packets,"),
        "{csv}"
    );
    // A time that makes no sense, and one in which nothing was.
    let wrong = agent
        .command(&["reconcile", "--from", "yesterday"])
        .output()?;
    assert!(!wrong.status.success());
    let before = rows(&agent, &["--to", "2026-01-01T00:00:00Z"])?;
    assert!(before.is_empty(), "{before:?}");
    Ok(())
}
