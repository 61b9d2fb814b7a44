//! The agent is ended at each point at which something is half done: rows read and not recorded, records written and not
//! committed, an image published and not settled, a file written and not renamed, records sent and not acknowledged. Each
//! time the next agent goes on, and at the end the wires, the bill, the records, the files and the tables are the same.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::postgres::{Postgres, has_postgres};
use zerorate_tests::records::{usage, volumes};
use zerorate_tests::sinks::{files, postgres};
use zerorate_tests::town::{self, SUBSCRIBERS, taken_in, under_load};

/// What ends a process and cannot be caught.
const SIGKILL: i32 = 9;
const VARIABLE: &str = "ZERORATE_FAULT";
/// How long a point may take to be reached.
const PATIENCE: Duration = Duration::from_secs(30);

/// All points there are: who asks for one that is not is told.
fn points(agent: &mut Agent) -> Result<Vec<String>> {
    let before = agent.log().len();
    agent.spawn_with(&[(VARIABLE, "?")])?;
    agent.wait()?;
    let said = agent.log().split_off(before);
    let mut lines = said.lines().skip_while(|line| !line.ends_with("there are"));
    lines.next();
    let points: Vec<_> = lines.map(str::to_owned).collect();
    assert!(points.len() > 10, "is this a build for tests? {said}");
    Ok(points)
}

/// Has everything happen that an agent does, until it is gone.
fn keep_busy(agent: &mut Agent, round: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for turn in 0.. {
        if let Some(status) = agent.exited()? {
            assert_eq!(status.signal(), Some(SIGKILL), "{}", agent.log());
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the point was not reached:\n{}", agent.log());
        }
        let group = format!("rating_group = 3{}", (round + turn) % 2);
        agent.write_policy(&town::with_open().replace("rating_group = 30", &group))?;
        let id = format!("fee-{round}-{turn}");
        let (turn, plan) = (turn.max(1).to_string(), ["basic", "open"][turn % 2]);
        for asked in [
            &["policy", "reload"][..],
            &["bucket", "debit", "alice", "main", "1kB", "--id", &id],
            &["subscriber", "plan", "bob", plan],
            &["record", "acknowledge", "billing", &turn, "--rewind"],
        ] {
            let mut asked = agent.command(&[asked, &["--socket"]].concat());
            let asked = asked.arg(agent.socket());
            // It may be gone before it answers.
            asked.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn ended_wherever_something_is_half_done_nothing_is_lost_and_nothing_doubled() -> Result<()> {
    if !can_use_namespaces() || !has_postgres() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let server = Postgres::start(&lab.gateway)?;
    let place = tempfile::tempdir()?;
    let directory = place.path().join("records");
    let mut agent = town::agent(&lab)
        .policy(&town::with_open())
        .subscribers(&SUBSCRIBERS.replace("small", "open"))
        .node("town")
        .setting("watch = false")
        .section("[records]\ninterval = \"200ms\"\ncheckpoint = \"100ms\"")
        .section(&format!(
            "[[sink]]\nkind = \"files\"\ndirectory = \"{}\"\nevery = \"200ms\"",
            directory.display()
        ))
        .section(&format!(
            "[[sink]]\nkind = \"postgres\"\nurl = \"{}\"",
            server.url()
        ))
        .prepare()?;
    let points = points(&mut agent)?;
    agent.start()?;
    let flow = taken_in(&lab, || {
        // One of each family: paid from a bucket, and free, of a class that is found later while Bob's plan is `open`.
        let pairs = [
            (lab.subscriber("alice").v6(), lab.remote(town::INTERNET6)),
            (lab.subscriber("bob").v4(), lab.remote(town::GOVERNMENT)),
        ];
        under_load(&pairs, || {
            for (round, point) in points.iter().enumerate() {
                agent.kill9()?;
                // The second time: an agent comes past many of them when it starts.
                agent.spawn_with(&[(VARIABLE, &format!("{point}:2"))])?;
                keep_busy(&mut agent, round)?;
                agent.start()?;
            }
            Ok(())
        })
    })?;
    assert_eq!(agent.bill()?.sum(|_| true), flow);
    agent.sigterm()?;
    agent.start()?;
    let records = usage(&agent)?;
    for subscriber in ["alice", "bob"] {
        let billed = zerorate_tests::records::billed(&agent, subscriber)?;
        assert_eq!(volumes(&records, subscriber), billed, "{subscriber}");
    }
    files::check(&agent, &directory)?;
    postgres::check(&server, &agent, "town")?;
    let ledger = agent.ledger().display().to_string();
    agent.ask(&["record", "consumers"])?;
    let verified = agent
        .command(&["ledger", "verify", "--ledger", &ledger])
        .output()?;
    assert!(verified.status.success(), "{verified:?}");
    agent.check_order()
}
