//! What is recorded adds up to what was counted, whatever is cut off in between.

use std::sync::Arc;
use std::time::Duration;

use classifier::layout::Meter;
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::Ledger;
use super::super::records::{Entry, What};
use super::*;
use crate::accounts::activity::Activity;
use crate::balance::{Action, Order};
use crate::ledger::balances::Batch;

pub(in crate::ledger) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

pub(in crate::ledger) fn terms(plan: &str, charges: &[&str]) -> Arc<Terms> {
    Arc::new(Terms {
        node: "gw".to_owned(),
        epoch: "0000000000000007".to_owned(),
        count_point: "xdp-native".to_owned(),
        plan: plan.to_owned(),
        policy_version: "0123456789abcdef".to_owned(),
        counts: Counts {
            up: false,
            down: true,
            limited: false,
        },
        meters: charges
            .iter()
            .map(|charged| Label {
                class: "net".to_owned(),
                rating_group: 1,
                charged: (*charged).to_owned(),
                price: None,
            })
            .collect(),
    })
}

pub(in crate::ledger) fn meter(bytes: u64) -> Meter {
    Meter {
        bytes_up: bytes,
        packets_up: bytes / 100,
        bytes_down: 10 * bytes,
        packets_down: bytes / 50,
    }
}

/// A reading of ann's row at line 5.
pub(in crate::ledger) fn cut(seconds: i64, cause: Cause, terms: &Arc<Terms>, bytes: &[u64]) -> Cut {
    Cut {
        line: 5,
        row_start: at(0),
        subscriber: "ann".into(),
        session: 1,
        session_start: at(0),
        addresses: vec!["10.0.0.1/32".parse().unwrap()].into(),
        suspended: false,
        terms: Arc::clone(terms),
        cause,
        at: at(seconds),
        activity: Some(Activity {
            since: at(seconds - 10),
            last: at(seconds - 1),
            active: Duration::from_secs(4),
            peak_up_bps: 1_000,
            peak_down_bps: 10_000,
        }),
        meters: bytes.iter().map(|bytes| meter(*bytes)).collect(),
        ends: None,
        clock_step: 0,
    }
}

pub(in crate::ledger) struct Desk {
    pub(in crate::ledger) directory: TempDir,
    pub(in crate::ledger) ledger: Ledger,
    pub(in crate::ledger) numbers: TermsNumbers,
}

impl Desk {
    pub(in crate::ledger) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(&directory.path().join("ledger.db")).unwrap();
        ledger.begin_epoch(7, at(0)).unwrap();
        Self {
            directory,
            ledger,
            numbers: TermsNumbers::default(),
        }
    }

    /// Another process.
    pub(in crate::ledger) fn reopen(self) -> Self {
        drop(self.ledger);
        let (ledger, _) = Ledger::open(&self.directory.path().join("ledger.db")).unwrap();
        Self {
            directory: self.directory,
            ledger,
            numbers: TermsNumbers::default(),
        }
    }

    pub(in crate::ledger) fn record(&mut self, cuts: &[Cut]) {
        let wrong = self.ledger.record(cuts, &mut self.numbers, None).unwrap();
        assert_eq!(wrong, []);
    }

    pub(in crate::ledger) fn order(&mut self, id: &str) {
        let order = Order {
            id: id.to_owned(),
            subscriber: "ann".to_owned(),
            bucket: Some("main".to_owned()),
            action: Action::Grant,
            bytes: 1,
            amount: None,
            reason: None,
        };
        let entry = Entry {
            kind: "grant".to_owned(),
            subscriber: "ann".to_owned(),
            id: None,
            reason: None,
            what: What::Bucket {
                bucket: "main".to_owned(),
                amount: None,
                bytes: 1,
                left: 1,
            },
        };
        let batch = Batch {
            entries: vec![entry],
            ..Batch::default()
        };
        let written = self.ledger.settle(Some((&order, &())), &batch, at(0));
        written.unwrap();
    }

    pub(in crate::ledger) fn all(&self, which: Which<'_>) -> Vec<AnyRecord> {
        let limit = if which.limit == 0 { 1_000 } else { which.limit };
        self.ledger.all_records(Which { limit, ..which }).unwrap()
    }

    pub(in crate::ledger) fn usage(&self) -> Vec<UsageRecord> {
        let usage = |record| match record {
            AnyRecord::Usage(usage) => Some(*usage),
            AnyRecord::Other(_) => None,
        };
        self.all(Which::default())
            .into_iter()
            .filter_map(usage)
            .collect()
    }
}

#[test]
fn a_meter_has_a_record_when_it_moved() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free", "main", "dropped"]);
    desk.record(&[cut(10, Cause::Interval, &terms, &[0, 300, 100])]);
    desk.record(&[cut(20, Cause::Interval, &terms, &[0, 300, 100])]);
    desk.record(&[cut(30, Cause::State, &terms, &[0, 500, 100])]);
    let records = desk.usage();
    let shown: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r.seq,
                r.session_seq,
                &*r.charged,
                r.bytes_up,
                r.total_bytes_up,
                r.bytes_drawn,
            )
        })
        .collect();
    // What is received draws the bucket, and what is sent does not.
    assert_eq!(
        shown,
        [
            (1, 1, "main", 300, 300, 3_000),
            (2, 2, "dropped", 100, 100, 0),
            (3, 3, "main", 200, 500, 2_000)
        ]
    );
    assert_eq!(records[2].active_seconds, 4.0);
    assert_eq!((records[2].start, records[2].end), (at(20), at(30)));
    assert_eq!(
        (records[2].cause, records[2].last_activity),
        (Cause::State, at(29))
    );
    assert!(!records[2].is_final);
    // Nothing was written of the second reading: the third begins where the row was seen moving again.
    let json = serde_json::to_value(&records[2]).unwrap();
    assert_eq!(
        (&json["kind"], &json["gap"]),
        (&"usage".into(), &serde_json::Value::Null)
    );
    assert_eq!(json["final"], false);
}

#[test]
fn records_of_all_kinds_are_one_sequence_without_gaps() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free", "main"]);
    for round in 1..6 {
        let bytes = 100 * round as u64;
        desk.record(&[cut(10 * round, Cause::Interval, &terms, &[bytes, bytes])]);
        desk.order(&format!("order-{round}"));
    }
    let all = desk.all(Which::default());
    let numbers: Vec<u64> = all.iter().map(AnyRecord::seq).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<_>>());
    // From anywhere, so many, and of a kind.
    for after in 0..16 {
        for limit in [1, 2, 3, 100] {
            let some = desk.all(Which {
                after,
                limit,
                ..Which::default()
            });
            let expected = all[after as usize..].iter().take(limit);
            assert!(some.iter().eq(expected), "after {after}, {limit}");
        }
    }
    let grants = desk.all(Which {
        kind: Some("grant"),
        after: 4,
        limit: 2,
        ..Which::default()
    });
    let numbers: Vec<u64> = grants.iter().map(AnyRecord::seq).collect();
    assert_eq!(numbers, [6, 9]);
    let of_nobody = desk.all(Which {
        subscriber: Some("bob"),
        ..Which::default()
    });
    assert!(of_nobody.is_empty());
    let of_ann = desk.all(Which {
        subscriber: Some("ann"),
        after: 1,
        ..Which::default()
    });
    assert!(of_ann.iter().eq(&all[1..]));
    // As others read them.
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Vec<AnyRecord>>(&text).unwrap(), all);
}

#[test]
fn a_session_goes_on_in_another_row_and_ends_with_all_its_meters() {
    let mut desk = Desk::new();
    let (first, second) = (
        terms("a", &["free", "main"]),
        terms("b", &["metered", "free"]),
    );
    let ends = |cut: Cut, next| Cut {
        ends: Some(End {
            layout: 0,
            next_line: next,
        }),
        ..cut
    };
    desk.record(&[cut(10, Cause::Interval, &first, &[100, 0])]);
    desk.record(&[
        ends(cut(20, Cause::Plan, &first, &[150, 70]), Some(9)),
        Cut {
            line: 9,
            ..cut(30, Cause::Interval, &second, &[5, 0])
        },
    ]);
    let mut desk = desk.reopen();
    assert_eq!(desk.ledger.taken(5).unwrap(), None);
    let last = Cut {
        line: 9,
        ..cut(40, Cause::Leave, &second, &[5, 7])
    };
    desk.record(&[ends(last, None)]);
    let shown: Vec<_> = desk
        .usage()
        .into_iter()
        .map(|r| {
            (
                r.session_seq,
                r.plan,
                r.charged,
                r.bytes_up,
                r.total_bytes_up,
                r.is_final,
            )
        })
        .collect();
    let row = |seq, plan: &str, charged: &str, bytes, total, last| {
        (seq, plan.to_owned(), charged.to_owned(), bytes, total, last)
    };
    assert_eq!(
        shown,
        [
            row(1, "a", "free", 100, 100, false),
            row(2, "a", "free", 50, 150, false),
            row(3, "a", "main", 70, 70, false),
            row(4, "b", "metered", 5, 5, false),
            // It did not move, and its last record says what it came to.
            row(5, "b", "metered", 0, 5, true),
            row(6, "b", "free", 7, 157, true),
        ]
    );
    let session = &desk.ledger.sessions_of("ann").unwrap()[0];
    assert_eq!(
        (session.session, session.start, session.end),
        (1, at(0), Some(at(40)))
    );
    let each = |line, _: &[Meter]| panic!("{line} has ended");
    desk.ledger.all_taken(each).unwrap();
}

#[test]
fn who_never_used_anything_was_there_all_the_same() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free"]);
    let last = cut(40, Cause::Reassign, &terms, &[0]);
    desk.record(&[Cut {
        ends: Some(End {
            layout: 0,
            next_line: None,
        }),
        activity: None,
        ..last
    }]);
    assert!(desk.usage().is_empty());
    let sessions = desk.ledger.sessions_of("ann").unwrap();
    assert_eq!(sessions[0].end, Some(at(40)));
}

#[test]
fn other_counters_begin_at_nothing_and_old_sessions_are_over() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free"]);
    desk.record(&[cut(10, Cause::Interval, &terms, &[5_000])]);
    let seen = Some(at(25));
    desk.ledger.record(&[], &mut desk.numbers, seen).unwrap();
    desk.ledger.begin_epoch(8, at(40)).unwrap();
    let mut desk = desk.reopen();
    // Less than before, and no less than nothing.
    desk.record(&[cut(50, Cause::Interval, &terms, &[20])]);
    let records = desk.usage();
    assert_eq!(
        (records[1].seq, records[1].session_seq, records[1].bytes_up),
        (2, 1, 20)
    );
    let sessions = desk.ledger.sessions_of("ann").unwrap();
    assert_eq!((sessions[0].epoch, sessions[0].end), (7, Some(at(25))));
    assert_eq!((sessions[1].epoch, sessions[1].end), (8, None));
}

#[test]
fn a_session_that_is_read_in_parts_has_the_same_records_in_them() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free"]);
    for round in 1..9 {
        desk.record(&[cut(
            10 * round,
            Cause::Interval,
            &terms,
            &[10 * round as u64],
        )]);
    }
    let between = |from, to| {
        let sessions = desk
            .ledger
            .sessions_with_usage("ann", from, to, SealedUsage::default())
            .unwrap();
        sessions[0].1.len()
    };
    // The end of a record counts, not its beginning; and the bound is in the earlier period.
    assert_eq!((between(at(0), at(30)), between(at(30), at(35))), (3, 0));
    assert_eq!(between(at(35), at(80)), 5);
    assert_eq!(between(Timestamp::MIN, Timestamp::MAX), 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Traffic, readings, rows that end, and processes that die before or after they wrote something down.
    #[test]
    fn records_are_what_was_counted(steps in prop::collection::vec((0..6_u8, 0..3_usize, 0..2_000_u64), 1..60)) {
        let mut desk = Desk::new();
        let terms = terms("a", &["free", "main", "dropped"]);
        let (mut line, mut counted, mut all) = (5, [0_u64; 3], [0_u64; 3]);
        let mut waiting = Vec::new();
        for (time, (what, which, bytes)) in (1..).zip(steps) {
            let reading = |cause| Cut { line, ..cut(10 * time, cause, &terms, &counted) };
            match what {
                0 | 1 => {
                    counted[which] += bytes;
                    all[which] += bytes;
                }
                2 => waiting.push(reading(Cause::State)),
                3 => desk.record(&std::mem::take(&mut waiting)),
                // What was read and not written is forgotten; the counters are not.
                4 => {
                    waiting.clear();
                    desk = desk.reopen();
                }
                _ => {
                    let next = line + 1;
                    let last = reading(Cause::Plan);
                    waiting.push(Cut { ends: Some(End { layout: 0, next_line: Some(next) }), ..last });
                    desk.record(&std::mem::take(&mut waiting));
                    (line, counted) = (next, [0; 3]);
                }
            }
        }
        waiting.push(Cut { line, ..cut(10_000, Cause::Shutdown, &terms, &counted) });
        desk.record(&waiting);
        let records = desk.usage();
        let names = ["free", "main", "dropped"];
        for (name, all) in names.iter().zip(all) {
            let of_it = || records.iter().filter(|record| record.charged == *name);
            prop_assert_eq!(of_it().map(|record| record.bytes_up).sum::<u64>(), all);
            prop_assert_eq!(of_it().map(|record| record.bytes_down).sum::<u64>(), 10 * all);
            prop_assert!(of_it().next_back().is_none_or(|record| record.total_bytes_up == all));
        }
        for (number, record) in (1..).zip(&records) {
            prop_assert_eq!((record.seq, record.session_seq), (number, number));
        }
        let verified = desk.ledger.verify(None).unwrap();
        prop_assert_eq!(verified.problems, [""; 0]);
        prop_assert_eq!(verified.records, records.len() as u64);
    }
}
