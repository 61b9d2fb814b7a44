//! Two transfers in which something happens half-way: the policy changes, and the agent is killed.
//! Neither the connection nor the counting notices.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use zerorate_tests::netns::Endpoint;
use zerorate_tests::traffic::Load;

use crate::figures::{Change, Traffic};
use crate::screen::{Table, grouped};
use crate::stage::Stage;
use crate::world::Family;

/// How long a transfer runs before and after what happens in it.
const WHILE: Duration = Duration::from_millis(1200);
const LIST: &str = "learning-platforms.txt";

/// An address becomes free while Bob downloads from it.
pub(crate) fn policy_change(stage: &mut Stage) -> Result<()> {
    stage
        .screen
        .scene("The policy changes in mid-transfer: an address goes from metered to free")?;
    let (bob, remote) = ends(stage, Family::V4)?;
    let address = remote.address;
    stage.screen.gap()?;
    stage.screen.say(&format!(
        "Bob downloads from {address}, which no list names: class internet, metered."
    ))?;
    let load = Load::start(&bob, &remote, false, true)?;
    stage.wait(WHILE)?;

    stage.skip_log();
    let path = stage.agent.policy_dir().join(LIST);
    let mut list = File::options().append(true).open(&path)?;
    writeln!(list, "{address}").with_context(|| format!("cannot write {}", path.display()))?;
    drop(list);
    stage.screen.say(&format!(
        "The ministry names it as a learning platform. It is added to {LIST}, and saved:"
    ))?;
    let log = stage.wait_for_log("added to education")?;
    stage.show_log(&log, &["reloading", "policy:"])?;
    stage.skip_log();
    stage.wait(WHILE)?;
    let moved = load.stop()?;
    let change = stage.measure()?;
    stage.screen.say(&format!(
        "The download went on: {} bytes of payload arrived over one connection. Bob pays for the first part:",
        grouped(moved.down)
    ))?;

    let mut table = split();
    for (charged, class) in [("metered", "internet"), ("free", "education")] {
        let part = change.charged(charged);
        table.row(row(&format!("{charged} ({class})"), &part));
        if part.bytes_down == 0 {
            stage
                .wrong
                .push(format!("policy change: nothing is {charged}"));
        }
    }
    show(stage, table, &change)?;
    stage.screen.gap()?;
    stage
        .screen
        .say("What `zerorate explain` says of the address now:")?;
    explain(stage, &address.to_string())
}

/// What is known about an address now, in a few of the lines `explain` has.
fn explain(stage: &Stage, address: &str) -> Result<()> {
    let directory = stage.agent.policy_dir();
    let said = stage
        .agent
        .command(&["explain", "--plan", "monthly", "--remote", address])
        .arg(&directory)
        .output()
        .context("cannot run explain")?;
    let inside = format!("{}/", directory.display());
    let said = String::from_utf8_lossy(&said.stdout).replace(&inside, "");
    let lines = said.lines().filter(|line| {
        let first = line.split_whitespace().next();
        first.is_some_and(|word| ["class", "set", "listed", "chain"].contains(&word))
    });
    lines
        .into_iter()
        .try_for_each(|line| stage.screen.quote(line))
}

/// The agent is killed while Bob talks to the world, and started again.
pub(crate) fn take_over(stage: &mut Stage) -> Result<()> {
    stage
        .screen
        .scene("The agent is killed in mid-transfer (kill -9), and started again")?;
    let (bob, remote) = ends(stage, Family::V6)?;
    let load = Load::start(&bob, &remote, true, true)?;
    stage.wait(WHILE)?;
    stage.skip_log();
    stage.agent.kill9()?;
    let core = stage.world.lab.core.clone();
    let killed = core.read()?;
    stage.wait(WHILE)?;
    let alone = core.since(&killed)?.far_sent.bytes;
    stage.screen.gap()?;
    stage.screen.say(&format!(
        "Without an agent {} bytes went down the core interface: the program stayed attached, and counted.",
        grouped(alone)
    ))?;
    stage.agent.start()?;
    let log = stage.wait_for_log("ready")?;
    stage.screen.say("A new agent takes over:")?;
    stage.show_log(&log, &["taking over", "taken over", "ready"])?;
    let moved = load.stop()?;
    let change = stage.measure()?;
    stage.screen.say(&format!(
        "One connection all the while: {} bytes of payload arrived. What was sent, and what is on accounts:",
        grouped(moved.up + moved.down)
    ))?;
    let mut table = split();
    table.row(row("metered (internet)", &change.charged("metered")));
    show(stage, table, &change)?;
    if alone == 0 || change.charged("metered") != change.counted() {
        stage.wrong.push(format!("take-over: {change:?}"));
    }
    Ok(())
}

fn ends(stage: &Stage, family: Family) -> Result<(Endpoint, Endpoint)> {
    let bob = family.of(stage.world.subscriber("bob"));
    let remote = stage.world.remote("internet")?.end(family).clone();
    Ok((bob, remote))
}

fn split() -> Table<5> {
    let heads = [
        "charged to",
        "IP bytes up",
        "packets up",
        "IP bytes down",
        "packets down",
    ];
    Table::new(heads, 4)
}

fn row(name: &str, traffic: &Traffic) -> [String; 5] {
    let numbers = [
        traffic.bytes_up,
        traffic.packets_up,
        traffic.bytes_down,
        traffic.packets_down,
    ];
    let [a, b, c, d] = numbers.map(grouped);
    [name.to_owned(), a, b, c, d]
}

/// Shows the accounts with their sum and what was sent below.
fn show(stage: &Stage, mut table: Table<5>, change: &Change) -> Result<()> {
    let (counted, sent) = (change.counted(), change.sent);
    table.row(row("together", &counted));
    table.row(row("sent, by the senders' interfaces", &sent));
    let difference = |sent: u64, counted: u64| grouped(i128::from(sent) - i128::from(counted));
    table.row([
        "difference".to_owned(),
        difference(sent.bytes_up, counted.bytes_up),
        difference(sent.packets_up, counted.packets_up),
        difference(sent.bytes_down, counted.bytes_down),
        difference(sent.packets_down, counted.packets_down),
    ]);
    stage.screen.table(&table)
}
