//! A ledger of an earlier version is brought forward with everything in it, and kept as it was.

use std::fs;

use jiff::Timestamp;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::*;
use crate::ledger::Ledger;
use crate::ledger::usage::tests::{cut, terms};
use crate::ledger::usage::{Cause, Cut, TermsNumbers, Which};

/// A ledger as version 4 left it, and the records as that version handed them out.
const V4: &str = include_str!("../fixtures/v4.sql");
const V4_RECORDS: &str = include_str!("../fixtures/v4.jsonl");

fn v4() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    Connection::open(&path).unwrap().execute_batch(V4).unwrap();
    (directory, path)
}

fn lines(ledger: &Ledger) -> String {
    let all = ledger.all_records(Which {
        limit: 1_000,
        ..Which::default()
    });
    let line = |record| serde_json::to_string(&record).unwrap() + "\n";
    all.unwrap().into_iter().map(line).collect()
}

/// Columns of all tables, and all indices.
fn tables(path: &Path) -> Vec<(String, Value, Value)> {
    let connection = Connection::open(path).unwrap();
    let query = "SELECT t.name || '.' || c.name, c.type || c.\"notnull\" || c.pk, c.dflt_value
        FROM sqlite_schema t, pragma_table_info(t.name) c
        UNION ALL SELECT name, sql, NULL FROM sqlite_schema WHERE type = 'index' ORDER BY 1";
    let mut read = connection.prepare(query).unwrap();
    let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(|row| row.unwrap()).collect()
}

#[test]
fn everything_that_was_in_it_is_in_it_and_the_old_file_is_kept() {
    let (directory, path) = v4();
    let (mut ledger, recalled) = Ledger::open(&path).unwrap();
    assert_eq!(lines(&ledger), V4_RECORDS);
    let verified = ledger.verify(None).unwrap();
    assert_eq!(verified.problems, [""; 0]);
    assert_eq!((verified.records, verified.batches), (13, 1));
    assert_eq!((recalled.epoch, recalled.serial), (Some(7), 2));
    assert_eq!(recalled.accounts.subscribers.len(), 2);
    assert_eq!(ledger.closings().unwrap().len(), 1);
    assert_eq!(ledger.untold().unwrap(), [(0, 0, 7_000)]);
    assert_eq!(ledger.drawn().unwrap(), [(0, 300)]);
    assert_eq!(ledger.own(0, 0).unwrap(), Some(55));
    assert_eq!(ledger.purses(Some("ann")).unwrap()[0].rest, -12);
    assert_eq!(ledger.scheduled().unwrap()[0].number, 1);
    // It goes on from there.
    let next = Cut {
        line: 9,
        ..cut(
            60,
            Cause::Interval,
            &terms("b", &["metered", "free"]),
            &[6, 0],
        )
    };
    let wrong = ledger.record(&[next], &mut TermsNumbers::default(), None);
    assert_eq!(wrong.unwrap(), []);
    let verified = ledger.verify(None).unwrap();
    assert_eq!(verified.problems, [""; 0]);
    assert_eq!((verified.records, verified.batches), (14, 2));
    drop(ledger);

    let kept = beside(&path, ".v4");
    let old = Connection::open(&kept).unwrap();
    let schema: i64 = old
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(schema, 4);
    let expected = Connection::open_in_memory().unwrap();
    expected.execute_batch(V4).unwrap();
    assert_eq!(contents(&old).unwrap(), contents(&expected).unwrap());
    drop(old);
    let length = fs::metadata(&kept).unwrap().len();
    // Once.
    drop(Ledger::open(&path).unwrap());
    assert_eq!(fs::metadata(&kept).unwrap().len(), length);
    let names = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ledger.db", "ledger.db.lock", "ledger.db.v4"]);

    let new = directory.path().join("new.db");
    drop(Ledger::open(&new).unwrap());
    assert_eq!(tables(&path), tables(&new));
}

#[test]
fn a_copy_that_is_there_is_used_if_it_is_one_and_left_alone_if_not() {
    for other in [false, true] {
        let (_directory, path) = v4();
        let kept = beside(&path, ".v4");
        fs::copy(&path, &kept).unwrap();
        if other {
            let change = "UPDATE number SET value = value + 1 WHERE name = 'seen'";
            Connection::open(&kept)
                .unwrap()
                .execute(change, [])
                .unwrap();
        }
        let before = fs::read(&kept).unwrap();
        drop(Ledger::open(&path).unwrap());
        assert_eq!(fs::read(&kept).unwrap(), before);
        assert_eq!(beside(&path, ".v4.1").exists(), other);
    }
}

#[test]
fn what_cannot_be_kept_or_is_damaged_stays_as_it_is() {
    let (_directory, path) = v4();
    // Something that is in the way of the copy.
    fs::create_dir(beside(&path, ".v4.new")).unwrap();
    let refused = Ledger::open(&path).unwrap_err();
    assert!(matches!(refused, LedgerError::Kept { .. }), "{refused}");
    fs::remove_dir(beside(&path, ".v4.new")).unwrap();
    let delete = "DELETE FROM usage WHERE seq = 7";
    Connection::open(&path)
        .unwrap()
        .execute(delete, [])
        .unwrap();
    for _ in 0..2 {
        let refused = Ledger::open(&path).unwrap_err().to_string();
        assert!(refused.contains("record 7 is expected, and 9"), "{refused}");
    }
    let old = Connection::open(&path).unwrap();
    let schema: i64 = old
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(schema, 4);
    drop(old);
    let refused = crate::ledger::Reader::open(&path).unwrap_err();
    assert!(
        matches!(refused, LedgerError::Older { found: 4, .. }),
        "{refused}"
    );
}

#[test]
fn a_ledger_that_was_not_finished_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    fs::write(beside(&path, ".new"), "half of it").unwrap();
    fs::write(beside(&path, ".new-journal"), "and its journal").unwrap();
    let (mut ledger, _) = Ledger::open(&path).unwrap();
    ledger.begin_epoch(1, Timestamp::UNIX_EPOCH).unwrap();
    assert!(!beside(&path, ".new").exists() && !beside(&path, ".new-journal").exists());
}
