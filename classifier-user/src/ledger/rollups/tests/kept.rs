//! Roll-ups stay when their records are pruned, and are held against them as long as these are there.

use super::*;
use crate::ledger::sealed::{Prune, PruneError};

#[test]
fn a_roll_up_that_is_not_what_its_records_add_up_to_is_found() {
    for (change, expected) in [
        (
            "UPDATE rollup SET active = active + 1 WHERE period = 2",
            "are not what its records",
        ),
        (
            "UPDATE rollup SET peak_up = peak_up + 1 WHERE period = 2",
            "are not what its records",
        ),
        (
            "DELETE FROM rollup WHERE period = 2 AND subscriber = 1",
            "are not what its records",
        ),
        (
            "UPDATE rollup SET cells = x'' WHERE period = 2 AND subscriber = 1",
            "are not what its records",
        ),
        (
            "UPDATE rollup SET cells = x'01' WHERE period = 2 AND subscriber = 1",
            "are not what its records",
        ),
        // Of one as of the other: sums over all subscribers are the same.
        (
            "UPDATE rollup SET subscriber = 3 - subscriber + 10 WHERE period = 2;
          UPDATE rollup SET subscriber = subscriber - 10 WHERE period = 2",
            "are not what its records",
        ),
        (
            "UPDATE rollup_subscriber SET id = 's7' WHERE number = 1",
            "are not what its records",
        ),
        (
            "UPDATE rollup_label SET content = replace(content, 'free', 'main')
          WHERE content LIKE '%free%'",
            "are not what its records",
        ),
        ("DELETE FROM rollup_period WHERE number = 2", "are missing"),
        (
            "UPDATE rollup_period SET span = 7 WHERE number = 2",
            "is none there is",
        ),
    ] {
        let mut desk = two_days();
        roll_up(&mut desk, &zone("Asia/Almaty"), 100);
        assert_eq!(desk.ledger.verify(None).unwrap().problems, [""; 0]);
        desk.ledger.connection.execute_batch(change).unwrap();
        let problems = desk.ledger.verify(None).unwrap().problems;
        let found = problems.iter().any(|problem| problem.contains(expected));
        assert!(found, "{change}: {problems:?}");
    }
}

#[test]
fn nothing_is_pruned_that_is_not_rolled_up_and_roll_ups_stay() {
    let mut desk = two_days();
    seal(&mut desk);
    let prune = Prune {
        before: at(900_000),
        kept: at(1_000_000),
        reason: "over".to_owned(),
        by: "test".to_owned(),
        force: false,
    };
    let refused = desk.ledger.prune(&prune, at(2_000_000)).unwrap_err();
    assert!(
        matches!(refused, PruneError::NotRolledUp { has: 0, .. }),
        "{refused}"
    );
    roll_up(&mut desk, &TimeZone::UTC, 100);
    let before = rows(&desk, all(Span::Day));
    desk.ledger.prune(&prune, at(2_000_000)).unwrap();
    assert!(desk.usage().is_empty());
    assert_eq!(rows(&desk, all(Span::Day)), before);
    // What is recorded from here on is added to the same rows, and nothing else is.
    let terms = terms("a", &["free", "main", "dropped"]);
    desk.record(&[reading(0, 900 * 193, &terms, &[5_000, 60_000, 0])]);
    roll_up(&mut desk, &TimeZone::UTC, 100);
    let after = rows(&desk, all(Span::Day));
    let sum = |rows: &[Rollup]| rows.iter().map(|row| row.records).sum::<u64>();
    assert_eq!(sum(&after), sum(&before) + 2);
    assert_eq!(desk.ledger.verify(None).unwrap().problems, [""; 0]);
}

#[test]
fn what_was_pruned_before_there_were_roll_ups_is_passed_over() {
    let mut desk = two_days();
    seal(&mut desk);
    let prune = Prune {
        before: at(900_000),
        kept: at(1_000_000),
        reason: "over".to_owned(),
        by: "test".to_owned(),
        force: true,
    };
    desk.ledger.prune(&prune, at(2_000_000)).unwrap();
    let terms = terms("a", &["free", "main", "dropped"]);
    desk.record(&[reading(0, 900 * 193, &terms, &[5_000, 60_000, 0])]);
    roll_up(&mut desk, &TimeZone::UTC, 100);
    check(&desk, &TimeZone::UTC);
    assert_eq!(desk.ledger.verify(None).unwrap().problems, [""; 0]);
}
