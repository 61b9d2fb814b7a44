//! Random policies, subscribers and packets: the engines must say what the oracle says, byte for byte.
//!
//! Each run takes a seed of its own. A failure prints it, shrinks the case, and leaves the smallest
//! one behind as files that `zerorate replay` can be run on; `ZERORATE_SEED` repeats a run, and
//! `ZERORATE_CASES` says how many cases it has.

mod packets;
mod policy;
mod subscribers;
mod world;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use world::World;
use zerorate_tests::oracle::engine::{self, Engine};
use zerorate_tests::oracle::{read_capture, replay};

/// The number an environment variable holds.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// Runs a check over random worlds, each written into a folder of its own.
fn for_worlds(cases: u64, check: impl Fn(&World, &Path) -> Result<(), String>) {
    let seed = number("ZERORATE_SEED").unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock past 1970");
        now.as_secs() << 30 ^ u64::from(now.subsec_nanos())
    });
    let cases = number("ZERORATE_CASES").unwrap_or(cases);
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).expect("a number of cases"),
        failure_persistence: None,
        max_shrink_time: 60_000,
        max_shrink_iters: 4000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&world::worlds(), |world| {
        let folder = tempfile::tempdir().expect("a temporary directory");
        world.write(folder.path());
        check(&world, folder.path()).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => println!("{cases} worlds from seed {seed}"),
        Err(TestError::Fail(reason, world)) => {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .expect("a folder for the case")
                .keep();
            world.write(&folder);
            panic!(
                "ZERORATE_SEED={seed} repeats this\n{reason}\nthe case is kept in {}\n{world:#?}",
                folder.display()
            );
        }
        Err(TestError::Abort(reason)) => panic!("ZERORATE_SEED={seed}: {reason}"),
    }
}

/// The oracle alone: seen packets and bytes are all in some row.
#[test]
fn the_oracle_closes_its_books() {
    for_worlds(500, |world, folder| {
        let packets = read_capture(&folder.join("capture")).map_err(|error| error.to_string())?;
        if packets != world.captured() {
            return Err(format!(
                "written: {:?}\nread: {packets:?}",
                world.captured()
            ));
        }
        let output = replay(
            &folder.join("policy"),
            &folder.join("subscribers.csv"),
            &folder.join("capture"),
            world.role,
        )
        .map_err(|error| format!("{error:#}"))?;
        let lines: Vec<serde_json::Value> = output
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect();
        let (books, rows) = lines.split_last().ok_or("no books")?;
        let sum = |keys: [&str; 2]| -> u64 {
            rows.iter()
                .flat_map(|row| keys.map(|key| row[key].as_u64().unwrap_or(0)))
                .sum()
        };
        let seen = |key: &str| books[key].as_u64().unwrap_or(u64::MAX);
        let closed = sum(["bytes_up", "bytes_down"]) == seen("ip_bytes")
            && sum(["packets_up", "packets_down"]) == seen("ip_packets")
            && seen("ip_packets") + seen("non_ip_packets") + seen("malformed_packets")
                == seen("packets")
            && seen("packets") == packets.len() as u64;
        if closed { Ok(()) } else { Err(output) }
    });
}

#[test]
fn the_engines_agree_with_the_oracle() {
    engine::binary().expect("the binary under test");
    let engines = Engine::available();
    for_worlds(80, |world, folder| {
        let report = engine::disagreement(
            &engines,
            &folder.join("policy"),
            &folder.join("subscribers.csv"),
            &folder.join("capture"),
            world.role,
        );
        report.map_or(Ok(()), Err)
    });
}
