//! How long it takes to look at all rows, as the agent does every checkpoint, also when a fifth of them moved, and to
//! record that fifth, as it does every interval.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use classifier::layout::{Meter, meter_word};
use jiff::Timestamp;
use zerorate::accounts::activity::{Moment, Sums, Watch};
use zerorate::accounts::{Catalog, Charged, KnownClass, Layout, MeterKey};
use zerorate::ledger::Ledger;
use zerorate::ledger::usage::{Cause, Counts, Cut, Label, Terms, TermsNumbers};

use crate::course::Course;
use crate::lab::Lab;
use crate::results::Results;
use crate::rounds::Timing;
use crate::world::{CLASSES, World};

/// Rows of one transaction, as the agent writes them.
const AT_ONCE: usize = 1_000;
/// Subscribers of which one transaction says what they drew.
const DRAWN_AT_ONCE: usize = 4_000;
/// Meters that move between two records.
const MOVED: u32 = 3;

/// Looks at rows nobody counts in, the usual case, and records as many as are in use at a time.
pub(crate) fn run(world: &World, lab: &Lab, course: &Course, results: &mut Results) -> Result<()> {
    let catalog = catalog();
    let mut rows: Vec<u32> = world.subscribers.iter().map(|(_, row)| *row).collect();
    rows.sort_unstable();
    let mut watch = Watch::new(Duration::from_secs(1));
    let watched = rows.iter().map(|row| (*row, 0, Sums::default()));
    watch.begin(watched, Moment::now());
    let mut look = || {
        let begun = Instant::now();
        watch.look_at_all(&lab.lines, &catalog, Moment::now());
        begun.elapsed().as_secs_f64()
    };
    // What was counted before is found by the first look.
    look();
    let samples = (0..course.effort.rounds).map(|_| look()).collect();
    results.figure("checkpoint_seconds", Timing::of(samples).ns);

    rows.truncate(rows.len().div_ceil(5));
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("ledger.db");
    let (mut ledger, _) = Ledger::open(&path)?;
    ledger.begin_epoch(1, Timestamp::UNIX_EPOCH)?;
    let mut other = Ledger::open(&directory.path().join("drawn.db"))?.0;
    let mut checkpoint = |round: u64| -> Result<f64> {
        for row in &rows {
            let bytes = lab.lines.word(*row, meter_word(0, false));
            bytes.fetch_add(1_500, Ordering::Relaxed);
        }
        let begun = Instant::now();
        look();
        // And what each drew from a bucket is on the disk.
        for rows in rows.chunks(DRAWN_AT_ONCE) {
            let drawn: Vec<_> = rows.iter().map(|row| (*row, 0, round * 1_500)).collect();
            other.put_drawn(&drawn)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    // The first time they are all new.
    checkpoint(1)?;
    let samples = (2..2 + course.effort.rounds as u64).map(&mut checkpoint);
    let samples: Vec<f64> = samples.collect::<Result<_>>().context("a checkpoint")?;
    results.figure("checkpoint_active_seconds", Timing::of(samples).ns);
    let mut numbers = TermsNumbers::default();
    let terms = Arc::new(terms());
    let mut record = |round: u64| -> Result<f64> {
        let begun = Instant::now();
        for rows in rows.chunks(AT_ONCE) {
            let cuts: Vec<Cut> = rows.iter().map(|row| cut(*row, round, &terms)).collect();
            ledger.record(&cuts, &mut numbers, None)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    // Each session is noted with its first record.
    record(1)?;
    let samples = (2..2 + course.effort.rounds as u64).map(&mut record);
    let samples: Vec<f64> = samples.collect::<Result<_>>().context("recording")?;
    let written = (samples.len() + 1) * rows.len();
    results.figure("record_seconds", Timing::of(samples).ns);
    drop(ledger);
    let bytes = std::fs::metadata(&path)?.len();
    results.figure("record_bytes", bytes as f64 / written as f64);
    Ok(())
}

/// One layout with a free meter for each class.
fn catalog() -> Catalog {
    let classes = (0..CLASSES).map(|class| KnownClass {
        name: format!("c{class}"),
        rating_group: class,
    });
    let meters = (0..CLASSES).map(|class| MeterKey {
        class,
        charged: Charged::Free,
    });
    Catalog {
        classes: classes.collect(),
        layouts: vec![Layout {
            plan: "bench".to_owned(),
            meters: meters.collect(),
            buckets: Vec::new(),
        }],
    }
}

fn terms() -> Terms {
    let label = |class| Label {
        class: format!("c{class}"),
        rating_group: class,
        charged: "free".to_owned(),
        price: None,
    };
    Terms {
        node: "bench".to_owned(),
        epoch: "0000000000000001".to_owned(),
        count_point: "xdp-native".to_owned(),
        plan: "bench".to_owned(),
        policy_version: "0123456789abcdef".to_owned(),
        counts: Counts {
            up: true,
            down: true,
            limited: false,
        },
        meters: (0..CLASSES).map(label).collect(),
    }
}

/// A row in its `round`-th minute, in each of which it moved some megabytes.
fn cut(line: u32, round: u64, terms: &Arc<Terms>) -> Cut {
    let minute = |round: u64| Timestamp::UNIX_EPOCH + Duration::from_secs(60 * round);
    let meters = (0..CLASSES).map(|meter| {
        let moved = if meter < MOVED { round } else { 0 };
        Meter {
            bytes_up: moved * 150_000,
            packets_up: moved * 1_500,
            bytes_down: moved * 2_500_000,
            packets_down: moved * 2_000,
        }
    });
    Cut {
        line,
        row_start: minute(0),
        subscriber: format!("s{line}").into(),
        session: u64::from(line),
        session_start: minute(0),
        addresses: Vec::new().into(),
        suspended: false,
        terms: Arc::clone(terms),
        cause: Cause::Interval,
        at: minute(round),
        activity: None,
        meters: meters.collect(),
        ends: None,
        clock_step: 0,
    }
}
