//! Every write to the ledger's files fails once, and the disk is full from every write on: what is recorded in the end is
//! what it would have been, to the hash over all of it.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::ffi;
use zerorate::ledger::chain::Head;
use zerorate::ledger::rollups::{Rollup, Sought, Span};
use zerorate::ledger::usage::Which;
use zerorate::ledger::{Ledger, Reader};

#[path = "ledger/agent.rs"]
mod agent;
#[path = "ledger/faulty.rs"]
mod faulty;

use agent::{Agent, World};
use faulty::Fault;

const V4: &str = include_str!("../src/ledger/fixtures/v4.sql");

/// What is left of a run: every record as it is handed out, the chain's head, and what is known of buckets and plans.
#[derive(Debug, PartialEq)]
struct Outcome {
    records: Vec<String>,
    head: Option<Head>,
    drawn: Vec<(u32, u64)>,
    untold: Vec<(u32, u32, u64)>,
    scheduled: usize,
    epoch: Option<u64>,
    subscribers: String,
    rollups: Vec<Rollup>,
}

impl Outcome {
    fn of(path: &Path) -> Self {
        let (ledger, recalled) = Ledger::open(path).expect("it opens");
        let reader = Reader::open(path).expect("it is read");
        let verified = reader.verify(None).expect("it is verified");
        assert_eq!(verified.problems, Vec::<String>::new());
        let all = Which {
            limit: 10_000,
            ..Which::default()
        };
        let records = reader.all_records(all).expect("it is read");
        let line = |record| serde_json::to_string(&record).expect("it is JSON");
        Self {
            records: records.into_iter().map(line).collect(),
            head: ledger.head().expect("it is read"),
            drawn: ledger.drawn().expect("it is read"),
            untold: ledger.untold().expect("it is read"),
            scheduled: ledger.scheduled().expect("it is read").len(),
            epoch: recalled.epoch,
            subscribers: format!("{:?}", recalled.accounts.subscribers),
            rollups: rollups(&reader),
        }
    }
}

/// What hours and days hold.
fn rollups(reader: &Reader) -> Vec<Rollup> {
    let of = |span| {
        let all = Sought {
            span,
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            subscriber: None,
            class: None,
            charged: None,
            sum: false,
            after: None,
            limit: 10_000,
        };
        reader.rollups(all).expect("they are read").rows
    };
    [of(Span::Hour), of(Span::Day)].concat()
}

/// As if it had been killed: what is in its files is all there is.
fn killed(agent: &mut Agent, at: &Path) {
    fs::create_dir(at).expect("a directory");
    let directory = agent.path.parent().expect("it is in one").to_owned();
    for entry in fs::read_dir(&directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().expect("it has a name");
        // What several processes share of a log is made anew by the first.
        if path.is_file() && !name.to_string_lossy().ends_with("-shm") {
            fs::copy(&path, at.join(name)).expect("it can be copied");
        }
    }
    agent.path = at.join("ledger.db");
    agent.open = None;
}

/// Whether an agent that meets a fault goes on, or is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    IsKilled,
}

/// Runs all steps, with a fault or without: what is left, and how many operations it took. `None` when there are not so
/// many.
fn run(world: &World, old: bool, fault: Option<(Fault, Then)>) -> Option<(Outcome, i64)> {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let directory = directory.expect("a directory");
    let mut agent = Agent {
        path: directory.path().join("ledger.db"),
        open: None,
    };
    if old {
        let connection = rusqlite::Connection::open(&agent.path).expect("it is made");
        connection.execute_batch(V4).expect("it is filled");
    }
    let before = faulty::counted();
    if let Some((fault, _)) = fault {
        faulty::fail(fault);
    }
    let (mut step, mut met) = (0, false);
    loop {
        match agent.step(world, step) {
            Ok(true) => step += 1,
            Ok(false) => break,
            Err(error) => {
                let (_, then) = fault.unwrap_or_else(|| panic!("step {step}: {error}"));
                assert!(faulty::failed() && !met, "step {step}: {error}");
                met = true;
                faulty::mend();
                if then == Then::IsKilled {
                    killed(&mut agent, &directory.path().join("again"));
                }
            }
        }
    }
    drop(agent.open.take());
    // An operation that failed and did no harm, such as one that only tidies up.
    let met = met | faulty::failed();
    faulty::mend();
    let operations = faulty::counted() - before;
    (fault.is_none() || met).then(|| (Outcome::of(&agent.path), operations))
}

fn every_write_fails_once(old: bool) {
    faulty::register();
    let world = World::new();
    let (expected, operations) = run(&world, old, None).expect("nothing fails");
    assert!(operations > 60, "{operations}");
    assert!(expected.rollups.len() > 4, "{:?}", expected.rollups);
    let mut after = 0;
    loop {
        let mut met = false;
        for (code, stays, then) in [
            (ffi::SQLITE_IOERR_WRITE, false, Then::GoesOn),
            (ffi::SQLITE_IOERR_WRITE, false, Then::IsKilled),
            (ffi::SQLITE_FULL, true, Then::GoesOn),
            (ffi::SQLITE_FULL, true, Then::IsKilled),
        ] {
            let fault = Fault { after, code, stays };
            if let Some((found, _)) = run(&world, old, Some((fault, then))) {
                let pairs = found.records.iter().zip(&expected.records);
                let first = pairs
                    .into_iter()
                    .find(|(found, expected)| found != expected);
                assert_eq!(first, None, "{fault:?}, {then:?}");
                assert!(found == expected, "{fault:?}, {then:?}: {found:#?}");
                met = true;
            }
        }
        if !met {
            break;
        }
        after += 1;
    }
    // Every one there is was among them.
    assert!(after >= operations, "{after} of {operations}");
    println!("{after} operations failed");
}

#[test]
fn every_write_to_a_ledger_fails_once_and_nothing_is_lost_or_doubled() {
    // One after the other: what fails is the file system of the process.
    every_write_fails_once(false);
    every_write_fails_once(true);
}
