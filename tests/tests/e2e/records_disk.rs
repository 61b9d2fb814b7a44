//! A disk that is full: counting goes on, the agent says what it cannot do, and does it when it can.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use nix::mount::{MntFlags, umount2};
use zerorate_tests::agent::Agent;
use zerorate_tests::disk::SmallDisk;
use zerorate_tests::records::{Statement, Volumes, billed, usage, volumes};
use zerorate_tests::topology::Lab;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;
use zerorate_tests::{can_use_namespaces, skip};

/// A file system in a file, which can be made read-only under whoever writes to it, as the kernel does where a disk fails.
struct FailingDisk {
    image: PathBuf,
    at: PathBuf,
}

impl FailingDisk {
    /// `None`, with the reason printed, where this machine has no loop devices or ext4.
    fn new(at: &Path) -> Result<Option<Self>> {
        let image = at.with_extension("img");
        File::create(&image)?.set_len(16 << 20)?;
        fs::create_dir(at)?;
        let disk = Self {
            image,
            at: at.to_owned(),
        };
        let made = Command::new("mkfs.ext4")
            .arg("-q")
            .arg(&disk.image)
            .output();
        if !made.is_ok_and(|made| made.status.success()) || disk.mount().is_err() {
            skip("no ext4 on a loop device here");
            return Ok(None);
        }
        Ok(Some(disk))
    }

    fn mount(&self) -> Result<()> {
        let mut mount = Command::new("mount");
        let mount = mount
            .args(["-o", "loop,errors=remount-ro"])
            .arg(&self.image);
        run(mount.arg(&self.at))
    }

    /// As after an error of the disk: read-only at once, whoever has a file open.
    fn fail(&self) -> Result<()> {
        run(Command::new("mount")
            .args(["-o", "remount,abort"])
            .arg(&self.at))
    }

    /// Looked after, and mounted again.
    fn repair(&self) -> Result<()> {
        run(Command::new("umount").arg(&self.at))?;
        let checked = Command::new("e2fsck").arg("-p").arg(&self.image).output()?;
        // 1: there were errors, and there are none any more.
        ensure!(
            checked.status.code().is_some_and(|code| code <= 1),
            "{checked:?}"
        );
        self.mount()
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // Whoever has a file open there is ended later.
        _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(())
}

/// An agent that records ten times a second, yet to be started.
fn prepared(lab: &Lab) -> Result<Agent> {
    town::agent(lab)
        .setting("watch = false")
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"")
        .prepare()
}

/// Puts its ledger into a directory: the file.
fn ledger_in(agent: &Agent, directory: &Path) -> Result<String> {
    let before = agent.ledger().display().to_string();
    let file = directory.join("ledger.db").display().to_string();
    agent.configure(&before, &file)?;
    Ok(file)
}

/// Waits until records have all that is billed to Alice: what that is.
fn all_recorded(lab: &Lab, agent: &Agent) -> Result<Volumes> {
    lab.settle()?;
    let billed_now = billed(agent, "alice")?;
    until("everything is recorded", || {
        Ok(volumes(&usage(agent)?, "alice") == billed_now)
    })?;
    Ok(billed_now)
}

#[test]
fn a_disk_that_fails_leaves_nothing_out_when_it_is_repaired() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = prepared(&lab)?;
    let Some(disk) = FailingDisk::new(&agent.home().join("disk"))? else {
        return Ok(());
    };
    let on_disk = ledger_in(&agent, &disk.at)?;
    agent.start()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT));
    let mut sent = 0;
    let mut send = || -> Result<()> {
        sent += 10;
        assert_eq!(udp(&alice, &remote, 10, 72)?, 10);
        Ok(())
    };
    send()?;
    until("it is recorded", || Ok(!usage(&agent)?.is_empty()))?;
    disk.fail()?;
    until("the agent says that it cannot record", || {
        send()?;
        Ok(!agent.status()?["unrecorded"].is_null())
    })?;
    // An order that cannot be written down is refused, and the kernel is not told.
    let left = agent.left("alice", "main")?;
    let order = ["bucket", "grant", "alice", "main", "1MB", "--id", "pay-1"];
    assert!(agent.ask(&order).is_err());
    assert_eq!(agent.left("alice", "main")?, left);
    agent.kill9()?;
    disk.repair()?;
    agent.start()?;
    agent.ask(&order)?;
    assert_eq!(agent.left("alice", "main")?, left + 1_000_000);
    send()?;
    let recorded = all_recorded(&lab, &agent)?;
    let all: Vec<_> = recorded.into_values().collect();
    assert_eq!(all, [town::up(town::volume(sent, 100))]);
    let verify = ["ledger", "verify", "--ledger", &on_disk];
    let verified = agent.command(&verify).output()?;
    assert!(verified.status.success(), "{verified:?}");
    agent.sigterm()?;
    Ok(())
}

#[test]
fn what_cannot_be_written_is_counted_and_written_later() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = prepared(&lab)?;
    let disk = SmallDisk::new(&agent.home().join("disk"))?;
    ledger_in(&agent, disk.path())?;
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
    all_recorded(&lab, &agent)?;
    let filler = disk.fill()?;
    until("it says so again", || {
        send()?;
        Ok(!agent.status()?["unrecorded"].is_null())
    })?;
    fs::remove_file(filler)?;
    until("it has recovered by itself", || {
        Ok(agent.status()?["unrecorded"].is_null())
    })?;
    let recorded = all_recorded(&lab, &agent)?;
    let all: Vec<_> = recorded.into_values().collect();
    assert_eq!(all, [town::up(town::volume(sent, 100))]);
    let log = agent.log();
    assert!(log.contains("usage cannot be recorded"), "{log}");
    assert!(
        log.contains("usage is recorded again; nothing was lost"),
        "{log}"
    );
    Ok(())
}
