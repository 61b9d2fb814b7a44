//! What is sealed is read as it was before, whatever is in the way; what is changed is found.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::ledger::chain::Head;
use crate::ledger::usage::tests::{Desk, at, cut, terms};
use crate::ledger::usage::{Cause, Cut, End, Which};
use crate::ledger::{LedgerError, endowments};

/// A ledger of many batches: two sessions, orders, first grants of many; nothing of it younger than 100 seconds.
pub(super) fn desk() -> Desk {
    let mut desk = Desk::new();
    let (first, second) = (terms("a", &["free", "main"]), terms("b", &["free", "main"]));
    for round in 1..=10_u64 {
        let terms = if round < 6 { &first } else { &second };
        let seconds = 10 * round as i64;
        let bytes = [100 * round, 70 * round];
        let bob = Cut {
            line: 7,
            session: 2,
            subscriber: "bob".into(),
            ends: (round == 4).then_some(End {
                layout: 0,
                next_line: None,
            }),
            ..cut(
                seconds,
                if round == 4 {
                    Cause::Leave
                } else {
                    Cause::Interval
                },
                terms,
                &[30 * round, 0],
            )
        };
        let ann = cut(seconds, Cause::Interval, terms, &bytes);
        let cuts = if round <= 4 {
            vec![ann, bob]
        } else {
            vec![ann]
        };
        desk.record(&cuts);
        desk.order(&format!("order-{round}"));
        if round == 3 {
            endow(&mut desk);
        }
    }
    desk
}

/// First grants of three, two each, kept together.
fn endow(desk: &mut Desk) {
    let endowed = crate::accounts::Endowed {
        plan: "a".to_owned(),
        grants: vec![("main".to_owned(), 5), ("social".to_owned(), 6)],
        subscribers: ["ann", "bob", "cleo"].map(Into::into).to_vec(),
    };
    desk.ledger
        .write(|transaction| endowments::put(transaction, &[endowed], at(31)))
        .unwrap();
}

fn directory(desk: &Desk) -> PathBuf {
    desk.directory.path().join("ledger.db.sealed")
}

fn due(seconds: i64) -> Due {
    Due {
        from: at(seconds),
        until: at(seconds),
        now: at(1_000),
    }
}

/// Seals what is older than so many seconds, files of at most so many records; how many files there are.
pub(super) fn seal(desk: &mut Desk, seconds: i64, most: i64) -> usize {
    let mut sealer = Sealer::new(directory(desk));
    sealer.most = most;
    let mut files = 0;
    while let Some(file) = sealer.seal(&desk.ledger, due(seconds)).unwrap() {
        desk.ledger.take_sealed(&file).unwrap();
        files += 1;
    }
    files
}

/// Everything anybody reads, as it is handed out.
fn everything(desk: &Desk) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |name: String, text: String| found.push(format!("{name}: {text}"));
    let subscribers = [None, Some("ann"), Some("bob"), Some("cleo"), Some("eve")];
    let kinds = [None, Some("usage"), Some("grant"), Some("state")];
    for subscriber in subscribers {
        for kind in kinds {
            for after in 0..50 {
                for limit in [1, 3, 1_000] {
                    let which = Which {
                        after,
                        subscriber,
                        kind,
                        limit,
                    };
                    let records = desk.ledger.all_records(which).unwrap();
                    say(
                        format!("{which:?}"),
                        serde_json::to_string(&records).unwrap(),
                    );
                    if kind != Some("usage") {
                        let others = desk.ledger.records(after, subscriber, kind, limit);
                        let others = serde_json::to_string(&others.unwrap()).unwrap();
                        say(format!("others {which:?}"), others);
                    }
                }
            }
        }
    }
    for subscriber in ["ann", "bob", "cleo"] {
        for (from, to) in [
            (Timestamp::MIN, Timestamp::MAX),
            (at(15), at(40)),
            (at(40), at(90)),
        ] {
            let sealed = desk.ledger.sealed_usage(subscriber, from, to).unwrap();
            let sessions = desk
                .ledger
                .sessions_with_usage(subscriber, from, to, sealed);
            say(
                format!("{subscriber} {from}"),
                format!("{:?}", sessions.unwrap()),
            );
        }
    }
    say(
        "counts".to_owned(),
        format!("{:?}", desk.ledger.counts(3).unwrap()),
    );
    say(
        "head".to_owned(),
        format!("{:?}", desk.ledger.head().unwrap()),
    );
    say(
        "last".to_owned(),
        format!("{:?}", desk.ledger.last_seq().unwrap()),
    );
    found
}

pub(super) fn problems(desk: &Desk, noted: Option<Head>) -> Vec<String> {
    desk.ledger.verify(noted).unwrap().problems
}

fn rows(desk: &Desk, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    let ask = desk
        .ledger
        .connection
        .query_row(&count, [], |row| row.get(0));
    ask.unwrap()
}

#[test]
fn what_is_sealed_is_read_byte_for_byte_as_before() {
    let (expected, head) = {
        let desk = desk();
        (everything(&desk), desk.ledger.head().unwrap())
    };
    for (seconds, most, files) in [
        (50, 1_000, 1),
        (50, 6, 6),
        (1_000, 1_000, 1),
        (1_000, 1, 21),
    ] {
        let mut desk = desk();
        assert_eq!(problems(&desk, head), [""; 0]);
        assert_eq!(seal(&mut desk, seconds, most), files, "{seconds} {most}");
        // Before anything of it is dropped, and after.
        for dropped in [false, true] {
            if dropped {
                assert!(!desk.ledger.drop_sealed().unwrap());
            }
            let found = everything(&desk);
            let pairs = found.iter().zip(&expected);
            let differs = pairs
                .into_iter()
                .find(|(found, expected)| found != expected);
            assert_eq!(differs, None, "{seconds} {most} {dropped}");
            let verified = desk.ledger.verify(head).unwrap();
            assert_eq!(verified.problems, [""; 0]);
            assert_eq!(verified.sealed_files, files as u64);
            assert_eq!((verified.records, verified.batches), (40, 21));
        }
        let left = [
            rows(&desk, "usage"),
            rows(&desk, "record"),
            rows(&desk, "batch"),
        ];
        let expected_left = if seconds == 50 { [5, 5, 10] } else { [0, 0, 0] };
        assert_eq!(left, expected_left);
        // It goes on from there, as another process.
        let mut desk = desk.reopen();
        desk.order("one-more");
        assert_eq!(desk.ledger.last_seq().unwrap(), 41);
        assert_eq!(problems(&desk, head), [""; 0]);
    }
}

#[test]
fn nothing_is_sealed_that_is_not_due_and_a_clock_that_was_ahead_holds_nothing_up() {
    let mut desk = desk();
    let mut sealer = Sealer::new(directory(&desk));
    assert_eq!(sealer.seal(&desk.ledger, due(9)).unwrap(), None);
    // The oldest batch is to be older still.
    let later = Due {
        from: at(5),
        ..due(50)
    };
    assert_eq!(sealer.seal(&desk.ledger, later).unwrap(), None);
    // Of what is kept for longer than clocks go back, nothing ever is.
    let never = Due {
        from: Timestamp::MIN,
        until: Timestamp::MIN,
        now: at(1_000),
    };
    assert_eq!(sealer.seal(&desk.ledger, never).unwrap(), None);
    assert!(!directory(&desk).exists());
    let ahead = cut(
        5_000,
        Cause::Interval,
        &terms("b", &["free", "main"]),
        &[2_000, 2_000],
    );
    desk.record(&[ahead]);
    desk.order("behind-it");
    assert_eq!(seal(&mut desk, 200, 1_000), 1);
    assert_eq!(desk.ledger.sealed_behind(0).unwrap().unwrap().last, 43);
}

#[test]
fn at_whatever_operation_the_disk_fails_each_record_is_in_one_place() {
    let expected = {
        let desk = desk();
        everything(&desk)
    };
    let mut operation = 0;
    loop {
        let mut desk = desk();
        let mut sealer = Sealer::new(directory(&desk));
        sealer.disk.left = Some(operation);
        let result = sealer.seal(&desk.ledger, due(1_000));
        let ended = result.is_ok();
        // Whatever became of it, the process is gone before the ledger is told.
        assert!(everything(&desk) == expected, "{operation}");
        desk = desk.reopen();
        assert_eq!(seal(&mut desk, 1_000, 1_000), 1, "operation {operation}");
        desk = desk.reopen();
        while desk.ledger.drop_sealed().unwrap() {}
        assert!(everything(&desk) == expected, "{operation}");
        assert_eq!(problems(&desk, None), [""; 0]);
        let mut names: Vec<_> = fs::read_dir(directory(&desk))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        let name = "000000000001-000000000040.zst";
        assert_eq!(names, [name.to_owned(), format!("{name}.manifest.json")]);
        if ended {
            break;
        }
        operation += 1;
    }
    assert!(operation > 8, "{operation}");
}

#[test]
fn a_file_that_is_not_this_ledgers_is_left_alone_and_said() {
    let mut desk = desk();
    fs::create_dir(directory(&desk)).unwrap();
    let path = directory(&desk).join("000000000001-000000000040.zst");
    fs::write(&path, "something else").unwrap();
    let refused = Sealer::new(directory(&desk)).seal(&desk.ledger, due(1_000));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, SealError::Foreign { .. }), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "something else");
    // One of another ledger, which is whole.
    fs::remove_file(&path).unwrap();
    let mut other = self::desk();
    other.order("one-more");
    assert_eq!(seal(&mut other, 1_000, 1_000), 1);
    let theirs = directory(&other).join("000000000001-000000000041.zst");
    fs::copy(&theirs, directory(&desk).join(theirs.file_name().unwrap())).unwrap();
    let refused = Sealer::new(directory(&desk)).seal(&desk.ledger, due(1_000));
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("the ledger's chain is another one at record 41"),
        "{refused}"
    );
    assert_eq!(problems(&desk, None), [""; 0]);
    desk.order("it-goes-on");
}

#[test]
fn what_is_not_what_was_written_is_not_sealed() {
    let desk = desk();
    let change = "UPDATE usage SET ended = ended + 1 WHERE seq = 5";
    desk.ledger.connection.execute(change, []).unwrap();
    let refused = Sealer::new(directory(&desk)).seal(&desk.ledger, due(1_000));
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("are not those that were written, and are not sealed"),
        "{refused}"
    );
}

#[test]
fn a_bit_that_tips_over_anywhere_in_a_sealed_file_is_found() {
    let mut desk = desk();
    assert_eq!(seal(&mut desk, 1_000, 20), 3);
    while desk.ledger.drop_sealed().unwrap() {}
    let second = desk.ledger.sealed_behind(20).unwrap().unwrap();
    let path = desk.ledger.place_of(&second.file);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at / 5 % 8);
        fs::write(&path, &changed).unwrap();
        let found = problems(&desk, None);
        let said = format!("records {} to {} are in", second.first, second.last);
        let said = found.iter().any(|problem| problem.contains(&said));
        assert!(said, "byte {at}: {found:?}");
    }
    // And one that is gone, which readers say too, and nobody else's records with it.
    fs::remove_file(&path).unwrap();
    let found = problems(&desk, None);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("it cannot be read: No such file"),
        "{found:?}"
    );
    let read = |after| {
        desk.ledger.all_records(Which {
            after,
            limit: 1,
            ..Which::default()
        })
    };
    assert!(read(0).is_ok() && read(second.last as u64).is_ok());
    let refused = read(second.first as u64).unwrap_err();
    assert!(matches!(refused, LedgerError::Sealed { .. }), "{refused}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(problems(&desk, None), [""; 0]);
}
