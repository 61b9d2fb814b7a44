//! Named packets, and exactly which counters each of them changes.
//!
//! Every fixture is a capture and the whole output `zerorate replay --format json` must give for it,
//! written by hand: a counter that should not have changed would show as a line too many. The policy
//! and the subscribers are those of `fixtures/town`.

mod charging;
mod expect;
mod formats;
mod links;
mod matching;
mod parsing;
mod town;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use town::Fixture;
use zerorate_tests::oracle::engine::{self, Engine};
use zerorate_tests::oracle::{Role, read_capture, replay};

fn all() -> Vec<Fixture> {
    let groups = [
        parsing::all(),
        links::all(),
        formats::all(),
        matching::all(),
        charging::all(),
    ];
    groups.into_iter().flatten().collect()
}

fn policy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/town")
}

fn subscribers() -> PathBuf {
    policy().join("subscribers.csv")
}

/// Who reads a fixture's capture.
#[derive(Clone, Copy)]
enum Reader {
    Oracle,
    Product(Engine),
}

impl Reader {
    fn name(self) -> &'static str {
        match self {
            Self::Oracle => "oracle",
            Self::Product(engine) => engine.name(),
        }
    }

    /// What it says; a failure is text too, and equals nothing that is expected.
    fn read(self, capture: &Path, role: Role) -> String {
        let output = match self {
            Self::Oracle => replay(&policy(), &subscribers(), capture, role),
            Self::Product(engine) => engine.replay(&policy(), &subscribers(), capture, role),
        };
        output.unwrap_or_else(|error| format!("error: {error:#}\n"))
    }
}

/// Fixtures that are read at the same time: most of it is waiting for the kernel to make and unmake maps.
const AT_ONCE: usize = 6;

/// Runs each fixture through the readers, and fails with what all of them said where one said something else than expected.
fn check(readers: &[Reader]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let fixtures = all();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(fixture) = fixtures.get(next.fetch_add(1, Ordering::Relaxed)) {
            let capture = directory.path().join(&fixture.name);
            std::fs::write(&capture, &fixture.file).expect("the capture is written");
            let outputs: Vec<String> = readers
                .iter()
                .map(|reader| reader.read(&capture, fixture.role))
                .collect();
            if outputs.iter().all(|output| *output == fixture.expected) {
                continue;
            }
            let mut readings = vec![("expected", fixture.expected.as_str())];
            let given = readers.iter().zip(&outputs);
            readings.extend(given.map(|(reader, output)| (reader.name(), output.as_str())));
            let packets = read_capture(&capture).unwrap_or_default();
            let name = format!("{} (--role {})", fixture.name, fixture.role.name());
            let report = engine::side_by_side(&name, &readings, &packets);
            failures
                .lock()
                .expect("no reader has panicked")
                .push(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no reader has panicked");
    assert!(
        failures.is_empty(),
        "{} of {} fixtures fail, the first of them:\n{}",
        failures.len(),
        fixtures.len(),
        failures[..failures.len().min(5)].concat(),
    );
    println!("{} fixtures", fixtures.len());
}

#[test]
fn every_fixture_has_its_own_name() {
    let fixtures = all();
    let names: BTreeSet<&str> = fixtures
        .iter()
        .map(|fixture| fixture.name.as_str())
        .collect();
    assert_eq!(names.len(), fixtures.len());
}

#[test]
fn the_oracle_counts_what_was_written_by_hand() {
    check(&[Reader::Oracle]);
}

#[test]
fn the_engines_count_what_was_written_by_hand() {
    engine::binary().expect("the binary under test");
    let engines = Engine::available().into_iter().map(Reader::Product);
    let readers: Vec<Reader> = [Reader::Oracle].into_iter().chain(engines).collect();
    check(&readers);
}
