//! Roll-ups add up to the records they stand for, whatever is cut off in between.

mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;

use classifier::layout::Meter;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::period::Period;
use super::*;
use crate::ledger::sealed::{Due, Sealer};
use crate::ledger::usage::tests::{Desk, at, cut, terms};
use crate::ledger::usage::{Cause, Cut, Terms, UsageRecord};

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

pub(in crate::ledger) fn roll_up(desk: &mut Desk, zone: &TimeZone, at_once: usize) {
    while let Some(gathered) = desk.ledger.gather_some(zone, at_once).unwrap() {
        desk.ledger.roll_up(&gathered).unwrap();
    }
}

fn all(span: Span) -> Sought<'static> {
    Sought {
        span,
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        subscriber: None,
        class: None,
        charged: None,
        sum: false,
        after: None,
        limit: usize::MAX,
    }
}

fn rows(desk: &Desk, sought: Sought<'_>) -> Vec<Rollup> {
    let page = desk.ledger.rollups(sought).unwrap();
    assert_eq!(page.next, None);
    page.rows
}

/// Begin and end of the period, subscriber, plan, class, charged, version of the policy.
type Key = (Timestamp, Timestamp, String, String, String, String, String);

/// Records; bytes up and down, packets up and down, drawn.
type Volume = (u64, [u64; 5]);

/// Time in which a subscriber moved in a period, in milliseconds, and its highest rates.
type Speed = BTreeMap<(Timestamp, String), (u64, u64, u64)>;

/// What records add up to, computed the slow way.
fn expected(
    records: &[UsageRecord],
    span: Span,
    zone: &TimeZone,
) -> (BTreeMap<Key, Volume>, Speed) {
    let mut sums: BTreeMap<Key, Volume> = BTreeMap::new();
    let mut speeds = Speed::new();
    let mut moment = None;
    for record in records {
        let Period { start, end } = Period::of(span, record.end, zone);
        let subscriber = record.subscriber.clone();
        let key = (
            start,
            end,
            subscriber.clone(),
            record.plan.clone(),
            record.class.clone(),
            record.charged.clone(),
            record.policy_version.clone(),
        );
        let (count, sum) = sums.entry(key).or_default();
        *count += 1;
        let counted = [
            record.bytes_up,
            record.bytes_down,
            record.packets_up,
            record.packets_down,
            record.bytes_drawn,
        ];
        for (sum, counted) in sum.iter_mut().zip(counted) {
            *sum += counted;
        }
        let (active, up, down) = speeds.entry((start, subscriber.clone())).or_default();
        // Of the session: the same in all records of one moment.
        if moment.replace((record.end, subscriber.clone())) != Some((record.end, subscriber)) {
            *active += (record.active_seconds * 1e3).round() as u64;
        }
        *up = record.peak_up_bps.max(*up);
        *down = record.peak_down_bps.max(*down);
    }
    (sums, speeds)
}

/// The same of roll-ups.
fn told(rows: &[Rollup]) -> (BTreeMap<Key, Volume>, Speed) {
    let mut sums = BTreeMap::new();
    let mut speeds = Speed::new();
    for row in rows.iter().cloned() {
        let subscriber = row.subscriber.unwrap();
        let active = (row.active_seconds * 1e3).round() as u64;
        let speed = (active, row.peak_up_bps, row.peak_down_bps);
        let known = speeds.insert((row.start, subscriber.clone()), speed);
        assert!(known.is_none_or(|known| known == speed));
        let key = (
            row.start,
            row.end,
            subscriber,
            row.plan,
            row.class,
            row.charged,
            row.policy_version,
        );
        let counted = [
            row.bytes_up,
            row.bytes_down,
            row.packets_up,
            row.packets_down,
            row.bytes_drawn,
        ];
        assert_eq!(sums.insert(key, (row.records, counted)), None);
    }
    (sums, speeds)
}

fn check(desk: &Desk, zone: &TimeZone) {
    let records = desk.usage();
    for span in Span::ALL {
        let rows = rows(desk, all(span));
        assert_eq!(told(&rows), expected(&records, span, zone), "{span:?}");
        assert!(rows.is_sorted_by_key(|row| row.start));
    }
    let rolled = desk.ledger.rolled().unwrap();
    assert_eq!(rolled.through, desk.ledger.last_seq().unwrap());
}

/// A reading of somebody's row.
fn reading(who: u32, seconds: i64, terms: &Arc<Terms>, counted: &[u64]) -> Cut {
    Cut {
        line: 5 + who,
        session: 1 + u64::from(who),
        subscriber: format!("s{who}").into(),
        ..cut(seconds, Cause::Interval, terms, counted)
    }
}

fn seal(desk: &mut Desk) {
    let due = Due {
        from: Timestamp::MAX,
        until: Timestamp::MAX,
        now: Timestamp::MAX,
    };
    let mut sealer = Sealer::new(desk.directory.path().join("ledger.db.sealed"));
    while let Some(file) = sealer.seal(&desk.ledger, due).unwrap() {
        desk.ledger.take_sealed(&file).unwrap();
    }
    while desk.ledger.drop_sealed().unwrap() {}
}

/// Two subscribers, read every quarter of an hour over two days.
fn two_days() -> Desk {
    let mut desk = Desk::new();
    let terms = terms("a", &["free", "main", "dropped"]);
    for round in 1..=192_u64 {
        let seconds = 900 * round as i64;
        let cuts = [
            reading(0, seconds, &terms, &[10 * round, 300 * round, 0]),
            reading(1, seconds, &terms, &[0, 7 * round, round]),
        ];
        desk.record(&cuts);
    }
    desk
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Traffic of several, readings in any order of time, other terms, sealed files, and processes that die before or
    /// after they wrote something down.
    #[test]
    fn roll_ups_are_what_records_add_up_to(
        steps in prop::collection::vec((0..9_u8, 0..3_u32, 0..3_usize, 0..5_000_u64, -300..9_000_i64), 1..70),
        name in prop::sample::select(vec!["UTC", "Asia/Almaty", "Asia/Kathmandu", "America/New_York"]),
    ) {
        let zone = zone(name);
        let mut desk = Desk::new();
        let known = [terms("a", &["free", "main", "dropped"]), terms("b", &["free", "main", "dropped"])];
        let mut counted = [[0_u64; 3]; 3];
        let (mut now, mut which) = (100_000, 0);
        for (what, who, meter, bytes, passes) in steps {
            match what {
                0..=4 => {
                    now += passes;
                    let counted = &mut counted[who as usize];
                    counted[meter] += bytes;
                    desk.record(&[reading(who, now, &known[which], counted)]);
                }
                5 => which = 1 - which,
                6 => {
                    // A step that is gathered and lost.
                    let lost = desk.ledger.gather_some(&zone, 2).unwrap();
                    drop(lost);
                    desk = desk.reopen();
                }
                7 => {
                    if let Some(gathered) = desk.ledger.gather_some(&zone, 3).unwrap() {
                        desk.ledger.roll_up(&gathered).unwrap();
                        // What has been added is not added again.
                        desk.ledger.roll_up(&gathered).unwrap();
                    }
                }
                _ => seal(&mut desk),
            }
        }
        roll_up(&mut desk, &zone, 2);
        check(&desk, &zone);
        // The same in one go, of a ledger that never had any.
        let before = Span::ALL.map(|span| told(&rows(&desk, all(span))));
        forget(&desk);
        let mut desk = desk.reopen();
        prop_assert!(rows(&desk, all(Span::Day)).is_empty());
        roll_up(&mut desk, &zone, 1_000);
        prop_assert_eq!(Span::ALL.map(|span| told(&rows(&desk, all(span)))), before);
        prop_assert_eq!(desk.ledger.verify(None).unwrap().problems, [""; 0]);
    }
}

/// Makes of it the ledger of a version that knew nothing of roll-ups.
fn forget(desk: &Desk) {
    let drop = "DROP TABLE rollup; DROP TABLE rollup_state; DROP TABLE rollup_zone; DROP TABLE rollup_period;
        DROP TABLE rollup_subscriber; DROP TABLE rollup_label;";
    desk.ledger.connection.execute_batch(drop).unwrap();
}

#[test]
fn hours_add_up_to_days_and_days_to_all_there_is() {
    let mut desk = two_days();
    let zone = zone("Asia/Almaty");
    roll_up(&mut desk, &zone, 50);
    check(&desk, &zone);
    let sum = |rows: &[Rollup]| rows.iter().map(|row| row.bytes_down).sum::<u64>();
    let (hours, days) = (rows(&desk, all(Span::Hour)), rows(&desk, all(Span::Day)));
    let of_records = desk
        .usage()
        .iter()
        .map(|record| record.bytes_down)
        .sum::<u64>();
    assert_eq!((sum(&hours), sum(&days)), (of_records, of_records));
    for day in &days {
        let within = Sought {
            from: day.start,
            to: day.end,
            subscriber: day.subscriber.as_deref(),
            charged: Some(&day.charged),
            ..all(Span::Hour)
        };
        assert_eq!(sum(&rows(&desk, within)), day.bytes_down, "{day:?}");
    }
    // 1970-01-12 13:46:40 UTC is the twelfth in Almaty, six hours ahead then.
    assert_eq!(
        (&*days[0].period, &*days[0].timezone),
        ("1970-01-12", "Asia/Almaty")
    );
    assert_eq!(hours[0].period, "1970-01-12T20:00+06:00");
}

#[test]
fn pages_of_any_size_are_all_there_is_once() {
    let mut desk = two_days();
    roll_up(&mut desk, &TimeZone::UTC, 1_000);
    for sum in [false, true] {
        for class in [None, Some("net"), Some("other")] {
            let whole = Sought {
                sum,
                class,
                ..all(Span::Hour)
            };
            let expected = rows(&desk, whole);
            assert_eq!(expected.is_empty(), class == Some("other"));
            for limit in [1, 2, 3, 7, 1_000] {
                let mut found = Vec::new();
                let mut after = None;
                loop {
                    let page = desk.ledger.rollups(Sought {
                        after,
                        limit,
                        ..whole
                    });
                    let page = page.unwrap();
                    assert!(page.rows.len() <= limit.max(3));
                    found.extend(page.rows);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                    assert_eq!(after.unwrap().to_string().parse(), Ok(after.unwrap()));
                }
                assert_eq!(found, expected, "{limit}");
            }
        }
    }
    for wrong in ["", "7", "a.b", "1.2.3"] {
        assert!(wrong.parse::<Place>().is_err(), "{wrong}");
    }
}

#[test]
fn over_all_subscribers_volumes_and_times_add_up_and_rates_are_the_highest() {
    let mut desk = two_days();
    roll_up(&mut desk, &TimeZone::UTC, 1_000);
    let of_one = rows(&desk, all(Span::Day));
    let of_all = rows(
        &desk,
        Sought {
            sum: true,
            ..all(Span::Day)
        },
    );
    for row in &of_all {
        assert_eq!(row.subscriber, None);
        let parts = of_one
            .iter()
            .filter(|one| (one.start, &one.charged) == (row.start, &row.charged));
        let bytes: u64 = parts.clone().map(|one| one.bytes_up).sum();
        let active: f64 = parts.clone().map(|one| one.active_seconds).sum();
        let peak = parts.map(|one| one.peak_down_bps).max();
        assert_eq!((row.bytes_up, Some(row.peak_down_bps)), (bytes, peak));
        assert!((row.active_seconds - active).abs() < 1e-6);
    }
    assert_eq!(
        of_all.iter().map(|row| row.records).sum::<u64>(),
        desk.usage().len() as u64
    );
}

#[test]
fn another_time_zone_has_its_own_rows_and_every_record_is_in_one() {
    let mut desk = two_days();
    let (first, second) = (zone("Asia/Almaty"), TimeZone::UTC);
    let gathered = desk.ledger.gather_some(&first, 100).unwrap().unwrap();
    desk.ledger.roll_up(&gathered).unwrap();
    let through = desk.ledger.rolled().unwrap().through;
    roll_up(&mut desk, &second, 100);
    // And back again: its periods are those it had.
    let same = terms("a", &["free", "main", "dropped"]);
    desk.record(&[reading(0, 200_000, &same, &[100_000, 300 * 192, 0])]);
    roll_up(&mut desk, &first, 100);
    let records = desk.usage();
    let last = desk.ledger.last_seq().unwrap();
    let (in_second, in_first): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|record| record.seq > through && record.seq < last);
    let rows = rows(&desk, all(Span::Day));
    let (of_first, of_second): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|row| row.timezone == "Asia/Almaty");
    assert_eq!(told(&of_first), expected(&in_first, Span::Day, &first));
    assert_eq!(told(&of_second), expected(&in_second, Span::Day, &second));
    assert_eq!(desk.ledger.verify(None).unwrap().problems, [""; 0]);
}

#[test]
fn all_that_moved_until_a_time_is_in_them_when_all_records_are() {
    let mut desk = two_days();
    let seen = at(900 * 192);
    desk.ledger
        .record(&[], &mut desk.numbers, Some(seen))
        .unwrap();
    let gathered = desk
        .ledger
        .gather_some(&TimeZone::UTC, 100)
        .unwrap()
        .unwrap();
    desk.ledger.roll_up(&gathered).unwrap();
    assert_eq!(desk.ledger.rolled().unwrap().complete, None);
    roll_up(&mut desk, &TimeZone::UTC, 100);
    assert_eq!(desk.ledger.rolled().unwrap().complete, Some(seen));
    // Nothing has to be noted where nothing happened, and a later time has.
    assert!(desk.ledger.gather(&TimeZone::UTC).unwrap().is_none());
    let later = at(900 * 193);
    desk.ledger
        .record(&[], &mut desk.numbers, Some(later))
        .unwrap();
    roll_up(&mut desk, &TimeZone::UTC, 100);
    assert_eq!(desk.ledger.rolled().unwrap().complete, Some(later));
}

#[test]
fn a_day_of_a_subscriber_takes_few_bytes() {
    let cells = cells::Cells(
        (0..3)
            .map(|label| {
                let counted = Meter {
                    bytes_up: 30_000_000,
                    packets_up: 100_000,
                    bytes_down: 900_000_000,
                    packets_down: 700_000,
                };
                (
                    label,
                    cells::Cell {
                        records: 48,
                        counted,
                    },
                )
            })
            .collect(),
    );
    let bytes = cells.put();
    assert_eq!(cells::Cells::of(&bytes), Some(cells));
    assert!(bytes.len() <= 3 * 17, "{}", bytes.len());
    // What is something else is not read as more.
    for length in 1..bytes.len() {
        let read = cells::Cells::of(&bytes[..length]);
        assert!(read.is_none_or(|read| read.0.len() < 3), "{length}");
    }
}
