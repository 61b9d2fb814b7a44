//! Real captures: through the oracle and both engines, and held against tshark's own reading of them.
//!
//! They are not part of the repository. `ZERORATE_DATA` names a folder with `pcap/` (captures, and
//! beside each one `<file>.tshark.tsv.gz`) and `prefixes/` (lists of real prefixes).

mod town;
mod tshark;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tshark::Comparison;
use zerorate_tests::oracle::engine::{self, Engine};
use zerorate_tests::oracle::{Role, UnsupportedLink, read_capture, read_frame};

/// The folder of real inputs, unless there is none and the test is skipped.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("ZERORATE_DATA").map(PathBuf::from);
    if folder.is_none() {
        zerorate_tests::skip("ZERORATE_DATA names no folder of captures");
    }
    folder
}

/// Every file below `pcap/` that has a reading by tshark beside it.
fn captures(data: &Path) -> Vec<PathBuf> {
    let mut captures = Vec::new();
    let mut folders = vec![data.join("pcap")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be listed") {
            let path = entry.expect("the folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if tshark::reading_of(&path).is_file() {
                captures.push(path);
            }
        }
    }
    assert!(!captures.is_empty(), "no captures below {}", data.display());
    captures.sort();
    captures
}

#[test]
fn the_oracle_reads_what_tshark_reads() {
    let Some(data) = data() else { return };
    let mut differences: BTreeMap<Comparison, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for capture in captures(&data) {
        let packets = read_capture(&capture).expect("a capture");
        let rows = tshark::read(&capture);
        assert_eq!(
            packets.len(),
            rows.len(),
            "packets in {}",
            capture.display()
        );
        for (number, (packet, row)) in packets.iter().zip(&rows).enumerate() {
            let reading = read_frame(packet.link, &packet.bytes, packet.original);
            let comparison = tshark::compare(packet, &reading, row);
            *differences.entry(comparison).or_default() += 1;
            if comparison == Comparison::Unexplained {
                let place = format!("{}, packet {}", capture.display(), number + 1);
                unexplained.push(format!("{place}: {reading:?}, but tshark: {row:?}"));
            }
        }
    }
    for (comparison, packets) in &differences {
        println!("{packets:8} {comparison:?}");
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    let (total, agreed) = (
        differences.values().sum::<usize>(),
        differences
            .get(&Comparison::SameAddresses)
            .copied()
            .unwrap_or(0),
    );
    assert!(
        agreed * 10 > total * 9,
        "only {agreed} of {total} packets are compared by address"
    );
}

#[test]
fn the_engines_agree_on_every_capture() {
    let Some(data) = data() else { return };
    engine::binary().expect("the binary under test");
    let engines = Engine::available();
    let lists = town::Lists::read(&data.join("prefixes"));
    let captures = captures(&data);
    let next = AtomicUsize::new(0);
    let (failures, refused) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = || {
        while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let packets = read_capture(capture).expect("a capture");
            let town = town::Town::around(&lists, &packets, directory.path());
            let unsupported = |link| read_frame(link, &[], 0) == Err(UnsupportedLink(link));
            if packets.iter().any(|packet| unsupported(packet.link)) {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            let (policy, subscribers) = (&town.policy, &town.subscribers);
            let report = engine::disagreement(&engines, policy, subscribers, capture, Role::Auto);
            failures
                .lock()
                .expect("no reader has panicked")
                .extend(report);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures = failures.into_inner().expect("no reader has panicked");
    assert!(
        failures.is_empty(),
        "{} of {} captures fail, the first of them:\n{}",
        failures.len(),
        captures.len(),
        failures[..failures.len().min(3)].concat(),
    );
    let refused = refused.into_inner();
    println!(
        "{} captures, {refused} of them of links nobody reads",
        captures.len()
    );
}
