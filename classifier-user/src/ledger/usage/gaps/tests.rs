//! What cannot be recorded is declared, and what is recorded stays in order.

use super::super::tests::{Desk, at, cut, terms};
use super::super::{Cause, Cut, End, Gap, GapReason, Which};

#[test]
fn a_counter_that_stands_below_what_was_recorded_is_a_gap_and_counted_on() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free", "main"]);
    desk.record(&[cut(10, Cause::Interval, &terms, &[500, 70])]);
    let other = Cut {
        line: 7,
        session: 2,
        subscriber: "bob".into(),
        ..cut(20, Cause::Interval, &terms, &[300])
    };
    let cuts = [cut(20, Cause::Interval, &terms, &[400, 90]), other];
    let wrong = desk.ledger.record(&cuts, &mut desk.numbers, None).unwrap();
    assert_eq!(
        wrong.iter().map(|wrong| wrong.line).collect::<Vec<_>>(),
        [5]
    );
    let mut desk = desk.reopen();
    desk.record(&[cut(30, Cause::Interval, &terms, &[450, 90])]);
    let gap = Gap {
        from: at(10),
        to: at(20),
        reason: GapReason::CountersBackwards,
    };
    let records = desk.usage();
    let shown: Vec<_> = records
        .iter()
        .map(|r| (&*r.subscriber, r.bytes_up, r.total_bytes_up, r.gap))
        .collect();
    let expected = [
        ("ann", 500, 500, None),
        ("ann", 70, 70, None),
        // It stands where it stood, and says so; the other meter of the row counted as ever.
        ("ann", 0, 500, Some(gap)),
        ("ann", 20, 90, Some(gap)),
        ("bob", 300, 300, None),
        ("ann", 50, 550, None),
    ];
    assert_eq!(shown, expected);
    let json = serde_json::to_value(&records[2]).unwrap();
    assert_eq!(json["gap"]["reason"], "counters_backwards");
    assert_eq!(desk.ledger.verify(None).unwrap().problems, [""; 0]);
}

#[test]
fn what_was_lost_with_the_counters_is_declared_and_named_by_whom_it_concerns() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free"]);
    let of = |line, id: &str, seconds| Cut {
        line,
        session: u64::from(line),
        subscriber: id.into(),
        ..cut(seconds, Cause::Interval, &terms, &[500])
    };
    let gone = Cut {
        cause: Cause::Leave,
        ends: Some(End {
            layout: 0,
            next_line: None,
        }),
        ..of(6, "bob", 12)
    };
    // Somebody has a session, as the agent writes it down before it is counted in.
    let put = "INSERT INTO bucket_list VALUES (0, '[]');
        INSERT INTO subscriber VALUES (0, 'ann', 1, 0, 5, 0, '10.0.0.1/32', 0, 5, 0, 0, NULL, NULL);";
    desk.ledger.connection.execute_batch(put).unwrap();
    desk.record(&[of(5, "ann", 10), gone]);
    desk.ledger
        .record(&[], &mut desk.numbers, Some(at(13)))
        .unwrap();
    desk.ledger.begin_epoch(8, at(40)).unwrap();
    let mut desk = desk.reopen();
    desk.record(&[of(5, "ann", 50), of(6, "bob", 50)]);
    desk.record(&[of(7, "ann", 60)]);
    let gap = Gap {
        from: at(13),
        to: at(40),
        reason: GapReason::CountersLost,
    };
    let records = desk.usage();
    let gaps: Vec<_> = records[2..].iter().map(|record| record.gap).collect();
    assert_eq!(gaps, [Some(gap), None, None]);
    let declared = desk.all(Which {
        kind: Some("gap"),
        ..Which::default()
    });
    let json = serde_json::to_value(&declared).unwrap();
    assert_eq!(json[0]["reason"], "counters_lost");
    assert_eq!(json[0]["epoch"], "0000000000000007");
    assert_eq!(json[0].get("subscriber"), None);
    assert_eq!(desk.ledger.verify(None).unwrap().problems, [""; 0]);
}

#[test]
fn a_clock_that_is_set_back_leaves_intervals_in_order_and_marked() {
    let mut desk = Desk::new();
    let terms = terms("a", &["free"]);
    desk.record(&[cut(100, Cause::Interval, &terms, &[100])]);
    let step = |seconds, bytes, clock_step| Cut {
        clock_step,
        ..cut(seconds, Cause::Interval, &terms, &[bytes])
    };
    desk.record(&[step(40, 200, -70_000)]);
    desk.record(&[step(110, 300, 0)]);
    // It was hours ahead: from here on it is right.
    desk.record(&[step(20_000, 400, 0)]);
    desk.record(&[step(120, 500, -19_900_000)]);
    let records = desk.usage();
    let shown: Vec<_> = records
        .iter()
        .map(|r| (r.start, r.end, r.clock_step))
        .collect();
    let expected = [
        (at(90), at(100), None),
        (at(100), at(100), Some(-70.0)),
        (at(100), at(110), None),
        (at(19_990), at(20_000), None),
        (at(120), at(120), Some(-19_900.0)),
    ];
    assert_eq!(shown, expected);
    let json = serde_json::to_string(&records[0]).unwrap();
    assert!(!json.contains("clock_step"), "{json}");
}
