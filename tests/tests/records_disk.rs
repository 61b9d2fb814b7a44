//! A disk that is full: counting goes on, the agent says what it cannot do, and does it when it can.

use std::fs;

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::disk::SmallDisk;
use zerorate_tests::records::{Statement, billed, usage, volumes};
use zerorate_tests::town;
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

#[test]
fn what_cannot_be_written_is_counted_and_written_later() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"")
        .prepare()?;
    let disk = SmallDisk::new(&agent.home().join("disk"))?;
    let ledger = agent.ledger().display().to_string();
    let small = disk.path().join("ledger.db").display().to_string();
    agent.configure(&ledger, &small)?;
    agent.start()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT));
    let mut sent = 0;
    let mut send = || -> Result<()> {
        sent += 10;
        assert_eq!(udp(&alice, &remote, 10, 72)?, 10);
        Ok(())
    };
    send()?;
    let filler = disk.fill()?;
    until("the agent says that it cannot record", || {
        send()?;
        Ok(!agent.status()?["unrecorded"].is_null())
    })?;
    let mut status = agent.command(&["status", "--socket"]);
    let output = status.arg(agent.socket()).output()?;
    let said = String::from_utf8(output.stdout)?;
    assert!(said.contains("UNRECORDED"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    // It is in the statement all the same.
    send()?;
    lab.settle()?;
    let billed_now = billed(&agent, "alice")?;
    assert_eq!(Statement::of(&agent, "alice", &[])?.volumes, billed_now);
    // The one that finds the disk full, and the next, which finds it as it should be.
    agent.kill9()?;
    fs::remove_file(filler)?;
    agent.start()?;
    send()?;
    lab.settle()?;
    let billed_now = billed(&agent, "alice")?;
    until("everything is recorded", || {
        Ok(volumes(&usage(&agent)?, "alice") == billed_now)
    })?;
    let filler = disk.fill()?;
    until("it says so again", || {
        send()?;
        Ok(!agent.status()?["unrecorded"].is_null())
    })?;
    fs::remove_file(filler)?;
    until("it has recovered by itself", || {
        Ok(agent.status()?["unrecorded"].is_null())
    })?;
    lab.settle()?;
    let billed_now = billed(&agent, "alice")?;
    until("everything is recorded", || {
        Ok(volumes(&usage(&agent)?, "alice") == billed_now)
    })?;
    let all: Vec<_> = billed_now.into_values().collect();
    assert_eq!(all, [town::up(town::volume(sent, 100))]);
    let log = agent.log();
    assert!(log.contains("usage cannot be recorded"), "{log}");
    assert!(
        log.contains("usage is recorded again; nothing was lost"),
        "{log}"
    );
    Ok(())
}
