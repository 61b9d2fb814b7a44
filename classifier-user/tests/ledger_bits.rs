//! A bit of the ledger's file that is not what it was: whatever it was in, no record is another one unless that is found.

use std::fs;
use std::path::Path;

use zerorate::ledger::usage::Which;
use zerorate::ledger::verify::Verified;
use zerorate::ledger::{Ledger, Reader};

#[path = "ledger/agent.rs"]
mod agent;

use agent::{Agent, World};

/// What is read from a ledger in which nothing is found to be wrong.
#[derive(Debug, PartialEq)]
struct Read {
    verified: Verified,
    records: Vec<String>,
}

/// Opens a ledger as the agent does, and verifies it; or says what is wrong.
fn read(path: &Path) -> Result<Read, String> {
    let (ledger, _) = Ledger::open(path).map_err(|error| error.to_string())?;
    let reader = Reader::open(path).map_err(|error| error.to_string())?;
    let verified = reader.verify(None).map_err(|error| error.to_string())?;
    if let Some(problem) = verified.problems.first() {
        return Err(problem.clone());
    }
    let all = Which {
        limit: 10_000,
        ..Which::default()
    };
    let records = ledger.all_records(all).map_err(|error| error.to_string())?;
    let line = |record| serde_json::to_string(&record).expect("it is JSON");
    Ok(Read {
        verified,
        records: records.into_iter().map(line).collect(),
    })
}

#[test]
fn a_flipped_bit_changes_no_record_unseen() {
    const FLIPPED: usize = 3_000;
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let directory = directory.expect("a directory");
    let path = directory.path().join("ledger.db");
    let mut agent = Agent {
        path: path.clone(),
        open: None,
    };
    let world = World::new();
    let mut step = 0;
    while agent.step(&world, step).expect("nothing is in its way") {
        step += 1;
    }
    // With it goes the log: all is in one file.
    drop(agent);
    let good = fs::read(&path).expect("it is there");
    let expected = read(&path).expect("nothing is wrong with it");
    assert!(expected.records.len() > 10);

    let bits = good.len() * 8;
    let mut found = 0;
    // All of the head, and as many anywhere: the same ones each time.
    let head = 0..800;
    let mut dice = 1_u64;
    let anywhere = std::iter::repeat_with(|| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 16) as usize % bits
    });
    for bit in head.chain(anywhere.take(FLIPPED)) {
        let place = directory.path().join("flipped");
        fs::create_dir(&place).expect("a directory");
        let path = place.join("ledger.db");
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bad).expect("it is written");
        match read(&path) {
            Err(_) => found += 1,
            Ok(read) => assert_eq!(read, expected, "bit {bit}"),
        }
        fs::remove_dir_all(&place).expect("it is removed");
    }
    // Where something is stored at all, most of it is of records, and of how pages hang together.
    assert!(found > FLIPPED / 20, "{found} of {FLIPPED}");
    println!("{found} of {} were found, in {bits} bits", 800 + FLIPPED);
}
