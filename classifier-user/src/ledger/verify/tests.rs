//! Whatever is done to what was recorded is found, and told with the numbers of the records.

use rusqlite::Connection;

use super::*;
use crate::ledger::usage::tests::{Desk, cut, terms};
use crate::ledger::usage::{Cut, End};

/// A ledger of four batches and seven records: one session goes on, one has ended, and there are orders.
fn desk() -> Desk {
    let mut desk = Desk::new();
    let terms = terms("a", &["free", "main"]);
    desk.record(&[cut(10, Cause::Interval, &terms, &[100, 300])]);
    desk.order("order-1");
    let bob = Cut {
        line: 7,
        session: 2,
        subscriber: "bob".into(),
        ends: Some(End {
            layout: 0,
            next_line: None,
        }),
        ..cut(20, Cause::Leave, &terms, &[40, 0])
    };
    desk.record(&[cut(20, Cause::Interval, &terms, &[150, 300]), bob]);
    desk.order("order-2");
    desk
}

fn problems(desk: &Desk, noted: Option<Head>) -> Vec<String> {
    let found = desk.ledger.verify(noted).unwrap();
    assert_eq!(found.found, found.problems.len());
    found.problems
}

#[test]
fn what_is_as_it_was_written_is_found_to_be() {
    let mut desk = desk();
    let found = desk.ledger.verify(None).unwrap();
    assert_eq!((found.records, found.batches, found.found), (6, 4, 0));
    let sums = (found.sums.bytes_up, found.sums.bytes_down);
    assert_eq!(sums, (490, 4_900));
    let head: Head = found.head.unwrap().parse().unwrap();
    assert_eq!((head.seq, desk.ledger.head().unwrap()), (6, Some(head)));
    // It is one of this chain later, too, and beside the agent that writes.
    desk.order("order-3");
    let reader = Reader::open(&desk.directory.path().join("ledger.db")).unwrap();
    let found = reader.verify(Some(head)).unwrap();
    assert_eq!((found.records, found.problems), (7, Vec::new()));
}

#[test]
fn whatever_is_changed_is_found() {
    let changes: [(&str, &[&str]); 19] = [
        (
            "DELETE FROM usage WHERE seq = 1",
            &["records 1 to 2 are missing", "records 1 to 2 are not those"],
        ),
        (
            "DELETE FROM record WHERE seq = 3",
            &["records 3 to 3 are missing", "records 3 to 3 are not those"],
        ),
        (
            "UPDATE record SET content = replace(content, '\"bytes\":1', '\"bytes\":9') WHERE seq = 3",
            &["records 3 to 3 are not those"],
        ),
        (
            "UPDATE record SET time = time + 1 WHERE seq = 6",
            &["records 6 to 6 are not those"],
        ),
        (
            "UPDATE record SET subscriber = 'eve' WHERE seq = 6",
            &["record 6 is of `ann`, and is found under `eve`"],
        ),
        (
            "UPDATE record SET kind = 'debit' WHERE seq = 6",
            &["record 6 is of `grant`, and is found under `debit`"],
        ),
        (
            "UPDATE usage SET ended = ended + 1 WHERE seq = 4",
            &["records 4 to 5 are not those"],
        ),
        (
            "UPDATE usage SET gap = 1 WHERE seq = 4; INSERT INTO gap VALUES (1, 0, 1, 'counters_lost')",
            &["records 4 to 5 are not those"],
        ),
        (
            "UPDATE usage SET clock = 1 WHERE seq = 4",
            &["records 4 to 5 are not those"],
        ),
        (
            "UPDATE usage SET meters = (SELECT meters FROM usage WHERE seq = 5) WHERE seq = 4",
            &["record 4", "do not add up"],
        ),
        (
            "UPDATE usage SET session_seq = 9 WHERE seq = 4",
            &["record 4 is number 9", "records 4 to 5 are not those"],
        ),
        (
            "UPDATE session SET subscriber = 'eve' WHERE subscriber = 'bob'",
            &["records 4 to 5 are not those"],
        ),
        (
            "UPDATE session SET addresses = '10.0.0.9/32' WHERE subscriber = 'bob'",
            &["records 4 to 5 are not those"],
        ),
        (
            "UPDATE terms SET content = replace(content, 'xdp-native', 'tc-egress')",
            &["records 1 to 2 are not those"],
        ),
        (
            "DELETE FROM batch WHERE first = 6",
            &["records 6 to 6 are in no batch"],
        ),
        (
            "DELETE FROM batch WHERE first = 3",
            &[
                "records 3 to 3 are not in the batch that is next, 4 to 5",
                "the chain is broken at the batch of records 4 to 5",
            ],
        ),
        (
            "UPDATE batch SET chain = zeroblob(32) WHERE first = 1",
            &[
                "the chain is broken at the batch of records 1 to 2",
                "the chain is broken at the batch of records 3 to 3",
            ],
        ),
        (
            "DELETE FROM taken",
            &["what was taken of session 1 is missing"],
        ),
        (
            "UPDATE taken SET session_seq = 9",
            &["what was taken of the row at line 5"],
        ),
    ];
    for (change, expected) in changes {
        let desk = desk();
        desk.ledger.connection.execute_batch(change).unwrap();
        let found = problems(&desk, None);
        for expected in expected {
            let said = found.iter().any(|problem| problem.contains(expected));
            assert!(said, "{change}: no `{expected}` in {found:#?}");
        }
    }
}

/// Who can write the file can work the chain out anew. A head that was noted elsewhere finds that, and that the end is gone.
#[test]
fn a_noted_head_finds_what_the_chain_alone_cannot() {
    let desk = desk();
    let noted = desk.ledger.head().unwrap();
    let connection = &desk.ledger.connection;
    let cut_off = "DELETE FROM record WHERE seq = 6; DELETE FROM batch WHERE first = 6";
    connection.execute_batch(cut_off).unwrap();
    assert_eq!(problems(&desk, None), [""; 0]);
    let found = problems(&desk, noted);
    assert!(
        found[0].contains("there is no batch that ends with record 6"),
        "{found:?}"
    );

    let desk = self::desk();
    let connection = &desk.ledger.connection;
    let forge =
        "UPDATE record SET content = replace(content, '\"bytes\":1', '\"bytes\":9') WHERE seq = 6";
    connection.execute(forge, []).unwrap();
    forge_last_batch(connection);
    assert_eq!(problems(&desk, None), [""; 0]);
    let found = problems(&desk, noted);
    assert!(
        found[0].contains("what was recorded until 6 is not what it was"),
        "{found:?}"
    );
}

fn forge_last_batch(connection: &Connection) {
    let (time, content): (i64, String) = connection
        .query_row(
            "SELECT time, content FROM record WHERE seq = 6",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    connection
        .execute("DELETE FROM batch WHERE first = 6", [])
        .unwrap();
    let mut seal = Seal::from(6);
    seal.add(&Written::Other {
        seq: 6,
        time,
        content: &content,
    });
    seal.close(connection).unwrap();
}
