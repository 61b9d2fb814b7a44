//! What is pruned is gone, and a record says so; what has to be kept is not pruned.

use std::fs;
use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::super::tests::{desk, problems, seal};
use super::*;
use crate::ledger::rollups::tests::roll_up;
use crate::ledger::usage::Which;
use crate::ledger::usage::tests::at;

fn prune(seconds: i64) -> Prune {
    Prune {
        before: at(seconds),
        kept: at(500),
        reason: "two years are over".to_owned(),
        by: "uid 0".to_owned(),
        force: false,
    }
}

#[test]
fn what_is_pruned_is_gone_and_a_record_says_so() {
    let mut desk = desk();
    let noted = desk.ledger.head().unwrap();
    seal(&mut desk, 1_000, 12);
    roll_up(&mut desk, &TimeZone::UTC, 100);
    while desk.ledger.drop_sealed().unwrap() {}
    let files = desk.ledger.all_sealed().unwrap();
    let (pruned, record) = desk.ledger.prune(&prune(40), at(900)).unwrap();
    let gone: Vec<_> = files
        .iter()
        .filter(|file| file.latest <= at(40).as_nanosecond() as i64)
        .collect();
    assert!(!gone.is_empty() && gone.len() < files.len());
    let last = gone[gone.len() - 1].last.unsigned_abs();
    assert_eq!(
        (pruned.first, pruned.last, pruned.files),
        (1, last, gone.len() as u64)
    );
    assert_eq!((record.seq, &*record.entry.kind), (41, "prune"));
    // To the moment, not only to the one that was asked for.
    assert_eq!(record.pruned_until(), Some(pruned.latest));
    assert!(pruned.latest < at(40));
    for file in gone {
        let path = desk.ledger.place_of(&file.file);
        assert!(!path.exists());
        assert!(!PathBuf::from(format!("{}.manifest.json", path.display())).exists());
    }
    // The rest is there, proved by the head that was noted before.
    for _ in 0..2 {
        let found = desk.ledger.verify(noted).unwrap();
        assert_eq!(found.problems, [""; 0]);
        assert_eq!((found.pruned_until, found.records), (last, 41 - last));
        let all = desk.all(Which::default());
        assert_eq!(all[0].seq(), last + 1);
        assert_eq!(all.len() as u64, 41 - last);
        desk = desk.reopen();
    }
    // Said twice, there is nothing left; and everything can go.
    let again = desk.ledger.prune(&prune(40), at(900)).unwrap_err();
    assert!(matches!(again, PruneError::Nothing(_)), "{again}");
    desk.ledger.prune(&prune(100), at(901)).unwrap();
    assert_eq!(desk.ledger.verify(noted).unwrap().pruned_until, 40);
    assert_eq!(problems(&desk, noted), [""; 0]);
    assert_eq!(desk.ledger.sealed_bytes().unwrap(), 0);
    desk.order("it-goes-on");
    assert_eq!(desk.ledger.last_seq().unwrap(), 43);
    assert_eq!(problems(&desk, None), [""; 0]);
    // The record that says so is part of the chain: without it, what is missing is missing.
    desk.ledger
        .connection
        .execute_batch("DELETE FROM record WHERE kind = 'prune'")
        .unwrap();
    let found = problems(&desk, None);
    assert!(
        found
            .iter()
            .any(|problem| problem.contains("no record says that they were pruned")),
        "{found:?}"
    );
}

#[test]
fn what_has_to_be_kept_is_pruned_only_by_force() {
    let mut desk = desk();
    let nothing = desk.ledger.prune(&prune(400), at(900)).unwrap_err();
    assert!(matches!(nothing, PruneError::Nothing(_)), "{nothing}");
    seal(&mut desk, 1_000, 12);
    roll_up(&mut desk, &TimeZone::UTC, 100);
    // What is to be kept for longer than clocks go back is kept.
    let never = Prune {
        before: Timestamp::MIN,
        kept: Timestamp::MIN,
        ..prune(40)
    };
    let nothing = desk.ledger.prune(&never, at(900)).unwrap_err();
    assert!(matches!(nothing, PruneError::Nothing(_)), "{nothing}");
    let young = desk.ledger.prune(&prune(501), at(900)).unwrap_err();
    assert!(matches!(young, PruneError::Young { .. }), "{young}");
    let mute = Prune {
        reason: " ".to_owned(),
        ..prune(40)
    };
    assert!(matches!(
        desk.ledger.prune(&mute, at(900)).unwrap_err(),
        PruneError::Reason
    ));
    desk.ledger.acknowledge("cdr", 3, false).unwrap();
    let behind = desk.ledger.prune(&prune(40), at(900)).unwrap_err();
    assert!(
        matches!(behind, PruneError::Behind { has: 3, .. }),
        "{behind}"
    );
    assert_eq!(desk.ledger.last_seq().unwrap(), 40);
    let forced = Prune {
        force: true,
        ..prune(600)
    };
    let (pruned, _) = desk.ledger.prune(&forced, at(900)).unwrap();
    assert_eq!(pruned.last, 40);
    assert_eq!(problems(&desk, None), [""; 0]);
}

#[test]
fn a_process_that_was_killed_while_files_were_removed_goes_on() {
    let mut desk = desk();
    seal(&mut desk, 1_000, 12);
    roll_up(&mut desk, &TimeZone::UTC, 100);
    let first = desk.ledger.sealed_behind(0).unwrap().unwrap();
    let path = desk.ledger.place_of(&first.file);
    let kept = fs::read(&path).unwrap();
    desk.ledger.prune(&prune(40), at(900)).unwrap();
    // As if it had not come to removing this one.
    fs::write(&path, kept).unwrap();
    desk.ledger
        .connection
        .execute("INSERT INTO leaving VALUES (?1)", [&first.file])
        .unwrap();
    let mut desk = desk.reopen();
    assert_eq!(problems(&desk, None), [""; 0]);
    desk.ledger.remove_pruned().unwrap();
    assert!(!path.exists());
    desk.ledger.remove_pruned().unwrap();
}
