//! Activity and rates, over memory of this process and with clocks that are set by hand.

use std::ops::Range;

use super::super::{KnownClass, Layout, MeterKey};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Three layouts: free, metered, dropped of one class.
fn catalog() -> Catalog {
    let meters = [Charged::Free, Charged::Metered, Charged::Dropped];
    Catalog {
        classes: vec![KnownClass {
            name: "net".to_owned(),
            rating_group: 1,
        }],
        layouts: ["a", "b", "c"]
            .map(|plan| Layout {
                plan: plan.to_owned(),
                meters: meters.map(|charged| MeterKey { class: 0, charged }).into(),
                buckets: Vec::new(),
            })
            .into(),
    }
}

struct Desk {
    catalog: Catalog,
    lines: Lines,
    watch: Watch,
    clock: Instant,
    time: Timestamp,
}

impl Desk {
    fn new(rows: Range<u32>) -> Self {
        let mut desk = Self {
            catalog: catalog(),
            lines: Lines::on_heap(rows.end),
            watch: Watch::new(SECOND),
            clock: Instant::now(),
            time: Timestamp::UNIX_EPOCH,
        };
        let now = desk.now();
        let row = |line| (line, 0, Sums::default());
        desk.watch.begin(rows.map(row), now);
        desk
    }

    fn now(&self) -> Moment {
        Moment {
            wall: self.time,
            clock: Some(self.clock),
        }
    }

    fn count(&self, line: u32, meter: u32, down: bool, bytes: u64) {
        let word = classifier::layout::meter_word(meter, down);
        let add = |word, n| {
            let word = self.lines.word(line, word);
            word.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        };
        add(word, bytes);
        add(word + 1, 1);
    }

    fn look_after(&mut self, time: Duration) {
        self.clock += time;
        self.time += time;
        let now = self.now();
        self.watch.look_at_all(&self.lines, &self.catalog, now);
    }
}

#[test]
fn a_row_is_active_in_the_intervals_in_which_it_moved() {
    let mut desk = Desk::new(1..4);
    desk.look_after(SECOND);
    assert!(desk.watch.active().is_empty());
    desk.count(2, 1, false, 1_000);
    desk.count(2, 0, true, 250);
    desk.look_after(SECOND);
    desk.look_after(SECOND);
    desk.look_after(SECOND);
    // Twice as much, in twice the time.
    desk.count(2, 1, false, 2_000);
    desk.look_after(2 * SECOND);
    assert_eq!(desk.watch.active(), [2]);
    let activity = desk.watch.activity(2).unwrap();
    assert_eq!(activity.active, 3 * SECOND);
    assert_eq!(
        (activity.peak_up_bps, activity.peak_down_bps),
        (8_000, 2_000)
    );
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    assert_eq!((activity.since, activity.last), (at(1), at(6)));
    desk.watch.recorded(2);
    desk.look_after(SECOND);
    assert!(desk.watch.active().is_empty());
}

#[test]
fn rates_are_those_of_the_last_two_looks() {
    let mut desk = Desk::new(1..4);
    desk.look_after(SECOND);
    desk.count(2, 1, false, 1_000);
    desk.count(3, 2, true, 500);
    desk.look_after(2 * SECOND);
    let rate = |up, down, dropped| Rate { up, down, dropped };
    let expected = [(2, rate(4_000, 0, 0)), (3, rate(0, 0, 2_000))];
    assert_eq!(desk.watch.rates(), expected);
    desk.count(1, 0, true, 100);
    desk.look_after(SECOND);
    assert_eq!(desk.watch.rates(), [(1, rate(0, 800, 0))]);
    desk.look_after(SECOND);
    assert_eq!(desk.watch.rates(), []);
}

#[test]
fn a_look_that_another_one_interrupts_is_no_whole_one() {
    let rows = u32::try_from(SLICE).unwrap() + 10;
    let mut desk = Desk::new(1..rows);
    desk.look_after(SECOND);
    let first = |desk: &mut Desk, slice| {
        desk.clock += SECOND;
        let now = desk.now();
        let (watch, lines) = (&mut desk.watch, &desk.lines);
        watch.look(slice, lines, &desk.catalog, now);
    };
    let lines = |desk: &Desk| {
        desk.watch
            .rates()
            .iter()
            .map(|(line, _)| *line)
            .collect::<Vec<_>>()
    };
    desk.count(2, 1, false, 1_000);
    first(&mut desk, 0);
    desk.count(2, 1, false, 1_000);
    desk.count(rows - 1, 1, false, 1_000);
    desk.look_after(SECOND);
    assert_eq!(lines(&desk), [2, rows - 1]);
    // The rest of the one before says nothing more, and takes nothing away.
    desk.count(rows - 1, 1, false, 1_000);
    first(&mut desk, 1);
    assert_eq!(lines(&desk), [2, rows - 1]);
    // Whoever has the line of one that ended does not have its speed.
    let now = desk.now();
    let (watch, counters) = (&mut desk.watch, &desk.lines);
    watch.end(2, counters, &desk.catalog, now);
    assert_eq!(desk.watch.rates()[0], (2, Rate::default()));
}

#[test]
fn what_is_dropped_is_activity_and_no_speed() {
    let mut desk = Desk::new(1..2);
    desk.count(1, 2, false, 5_000);
    desk.look_after(SECOND);
    let activity = desk.watch.activity(1).unwrap();
    assert_eq!((activity.active, activity.peak_up_bps), (SECOND, 0));
}

#[test]
fn two_looks_in_a_row_make_no_speed_of_a_packet() {
    let mut desk = Desk::new(1..2);
    desk.look_after(SECOND);
    desk.count(1, 0, false, 1_500);
    desk.look_after(Duration::from_millis(1));
    let activity = desk.watch.activity(1).unwrap();
    assert_eq!(
        activity.peak_up_bps, 13_333,
        "over 0.9 s, not over a thousandth"
    );
    assert_eq!(activity.active, Duration::from_millis(1));
}

#[test]
fn a_row_that_ends_is_looked_at_once_more_and_no_more() {
    let mut desk = Desk::new(1..100);
    desk.look_after(SECOND);
    for line in (1..100).filter(|line| line % 3 == 0) {
        desk.count(line, 0, true, 100);
    }
    desk.clock += SECOND;
    desk.time += SECOND;
    let now = desk.now();
    for line in 1..100 {
        let (watch, lines) = (&mut desk.watch, &desk.lines);
        if line % 2 == 0 {
            assert_eq!(watch.layout(line), Some(0));
            let ended = watch.end(line, lines, &desk.catalog, now);
            assert_eq!(
                ended.map(|activity| activity.active),
                (line % 3 == 0).then_some(SECOND)
            );
            assert_eq!(watch.layout(line), None);
            assert_eq!(watch.end(line, lines, &desk.catalog, now), None);
        }
    }
    desk.look_after(SECOND);
    let odd: Vec<u32> = (1..100).filter(|line| line % 6 == 3).collect();
    assert_eq!(desk.watch.active(), odd);
    desk.watch.begin([(200, 1, Sums::default())], now);
    assert_eq!(desk.watch.layout(200), Some(1));
}

#[test]
fn others_have_the_lines_of_rows_that_ended() {
    let rows = 1..3 * SLICE as u32;
    let mut desk = Desk::new(rows.clone());
    let now = desk.now();
    for line in rows.clone().filter(|line| line % 4 != 0) {
        desk.watch.end(line, &desk.lines, &desk.catalog, now);
    }
    let row = |line: u32| (line, 1, Sums::default());
    // In the places of those that ended; and where none began before.
    let again = rows.clone().filter(|line| line % 4 == 1);
    desk.watch.begin(again.map(row), now);
    assert_eq!(desk.watch.slices(), 3);
    let row = |line: u32| (line, 2, Sums::default());
    desk.watch.rows.retain(|row| row.line % 4 != 2);
    desk.watch
        .begin(rows.clone().filter(|line| line % 4 == 2).map(row), now);
    for line in rows {
        let layout = [0, 1, 2].get(line as usize % 4).copied();
        assert_eq!(desk.watch.layout(line), layout);
        desk.count(line, 0, false, 1);
    }
    desk.look_after(SECOND);
    assert_eq!(desk.watch.active().len(), (3 * SLICE - 1) / 4 * 3 + 2);
}

#[test]
fn a_clock_that_was_set_back_takes_no_time_away() {
    let mut desk = Desk::new(1..2);
    desk.time -= 1000 * SECOND;
    desk.count(1, 0, false, 1_500);
    desk.clock += SECOND;
    let now = desk.now();
    desk.watch.look_at_all(&desk.lines, &desk.catalog, now);
    let activity = desk.watch.activity(1).unwrap();
    assert_eq!((activity.active, activity.peak_up_bps), (SECOND, 12_000));
    assert!(activity.since <= activity.last);
}

#[test]
fn a_look_at_one_row_counts_no_time_twice() {
    let mut desk = Desk::new(1..3);
    for _ in 0..2 {
        desk.count(1, 0, false, 1_000);
        desk.clock += SECOND / 2;
        desk.time += SECOND / 2;
        let now = desk.now();
        desk.watch.look_at(1, &desk.lines, &desk.catalog, now);
    }
    desk.count(1, 0, false, 1_000);
    desk.count(2, 0, false, 1_000);
    desk.look_after(SECOND / 2);
    for line in [1, 2] {
        assert_eq!(desk.watch.activity(line).unwrap().active, 3 * SECOND / 2);
    }
}
