//! Records in files: whatever becomes of the agent and of the disk, the finished files are the ledger, each record once.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::disk::SmallDisk;
use zerorate_tests::records::ledger;
use zerorate_tests::sinks::files::{check, read};
use zerorate_tests::town::{self, under_load};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

const OFTEN: &str = "[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"";

fn sink(directory: &Path, more: &str) -> String {
    format!(
        "[[sink]]\nkind = \"files\"\ndirectory = \"{}\"\n{more}",
        directory.display()
    )
}

fn hidden(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let all = entries.collect::<Result<Vec<_>>>()?;
    Ok(all
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".partial"))
        .collect())
}

#[test]
fn killed_at_any_moment_the_files_are_the_ledger() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let place = tempfile::tempdir()?;
    let directory = place.path().join("records");
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(OFTEN)
        .section(&sink(&directory, "every = \"100ms\"\nsize = \"2kB\""))
        .start()?;
    under_load(&town::pairs(&lab), || {
        for round in 0..20_u64 {
            agent.ask(&[
                "bucket",
                "debit",
                "alice",
                "main",
                "1kB",
                "--id",
                &format!("fee-{round}"),
            ])?;
            // Another moment each time.
            sleep(Duration::from_millis(50 + round * 37 % 210));
            agent.kill9()?;
            agent.start()?;
        }
        Ok(())
    })?;
    lab.settle()?;
    assert!(check(&agent, &directory)? > 50);
    // What is recorded at the end is brought before it.
    udp(
        &lab.subscriber("alice").v4(),
        &lab.remote(town::GOVERNMENT),
        10,
        72,
    )?;
    lab.settle()?;
    agent.configure("every = \"100ms\"", "every = \"1h\"")?;
    agent.sigterm()?;
    let brought = read(&directory)?;
    assert_eq!(hidden(&directory)?, [""; 0].map(PathBuf::from));
    agent.start()?;
    assert_eq!(ledger(&agent)?.len(), brought.len());
    let status = agent.status()?;
    assert_eq!(status["sinks"][0]["position"], brought.len());
    assert_eq!(status["sinks"][0]["lag_records"], 0);
    let said = agent.ask(&["status"])?;
    assert!(said.contains("files (files): until record"), "{said}");
    agent.check_order()
}

#[test]
fn a_full_disk_is_said_and_made_up_for() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(OFTEN)
        .prepare()?;
    let disk = SmallDisk::new(&agent.home().join("disk"))?;
    let directory = disk.path().join("records");
    let sink = sink(&directory, "name = \"mediation\"\nevery = \"100ms\"");
    agent.configure("[records]", &format!("{sink}\n[records]"))?;
    agent.start()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT));
    let send = || udp(&alice, &remote, 10, 72).map(drop);
    send()?;
    until("the first file is there", || {
        Ok(directory.exists() && !read(&directory)?.is_empty())
    })?;
    let filler = disk.fill()?;
    until("the agent says that it cannot bring records", || {
        send()?;
        Ok(!agent.status()?["sinks"][0]["error"].is_null())
    })?;
    let output = agent
        .command(&["status", "--socket"])
        .arg(agent.socket())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    assert!(
        said.contains("FAILING") && said.contains("No space left on device"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    send()?;
    fs::remove_file(filler)?;
    until("it goes on by itself", || {
        Ok(agent.status()?["sinks"][0]["error"].is_null())
    })?;
    check(&agent, &directory)?;
    let log = agent.log();
    assert!(
        log.contains("records cannot be brought; they stay in the ledger"),
        "{log}"
    );
    assert!(log.contains("goes on, after having failed since"), "{log}");
    Ok(())
}
