//! What disk a subscriber costs: a ledger of many subscribers over a day, as they are on average, in the database, sealed, and
//! rolled up by hours and days.
//! The figures are in docs/ledger.md; `cargo test --release --test library ledger_disk -- --ignored --nocapture` finds them again.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use classifier::layout::Meter;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use zerorate::accounts::activity::Activity;
use zerorate::ledger::sealed::{Due, Sealer};
use zerorate::ledger::usage::{Cause, Counts, Cut, Label, Terms, TermsNumbers, Which};
use zerorate::ledger::{Ledger, Reader};

const SUBSCRIBERS: u32 = 5_000;
/// A day, in intervals of five minutes.
const INTERVALS: u32 = 288;
/// A subscriber is active in one of so many of them: four hours a day.
const REST: u64 = 6;
/// Meters that move then, on average, of those a plan has.
const METERS: usize = 6;

/// Numbers that are as good as random, and the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Of any order of magnitude up to 2^26 bytes, as volumes are.
    fn volume(&mut self) -> u64 {
        let bits = 8 + self.next() % 19;
        self.next() % (1 << bits)
    }
}

fn terms() -> Arc<Terms> {
    let label = |class: &str, charged: &str| Label {
        class: class.to_owned(),
        rating_group: 10,
        charged: charged.to_owned(),
        price: None,
    };
    Arc::new(Terms {
        node: "gw-1".to_owned(),
        epoch: "00000000000004d2".to_owned(),
        count_point: "xdp-native".to_owned(),
        plan: "shifokor".to_owned(),
        policy_version: "0123456789abcdef".to_owned(),
        counts: Counts {
            up: true,
            down: true,
            limited: false,
        },
        meters: vec![
            label("government", "free"),
            label("messengers", "messengers"),
            label("social", "social"),
            label("tas-ix", "tas-ix"),
            label("internet", "main"),
            label("internet", "balance"),
        ],
    })
}

#[test]
#[ignore = "measures, and asserts nothing about it"]
fn what_a_subscriber_costs_a_day() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    let (mut ledger, _) = Ledger::open(&path).expect("it opens");
    let begin: Timestamp = "2026-03-01T00:00:00Z".parse().expect("a time");
    ledger.begin_epoch(1234, begin).expect("it begins");
    let mut dice = Dice(88_172_645_463_325_252);
    let terms = terms();
    let mut numbers = TermsNumbers::default();
    let mut counters = vec![[Meter::default(); METERS]; SUBSCRIBERS as usize];
    let interval = SignedDuration::from_secs(300);
    let (mut rows, mut at) = (0_u64, begin);
    let mut recording = Duration::ZERO;
    for _ in 0..INTERVALS {
        let before = at;
        at += interval;
        let mut cuts = Vec::new();
        for line in 0..SUBSCRIBERS {
            if !dice.next().is_multiple_of(REST) {
                continue;
            }
            let meters = &mut counters[line as usize];
            for meter in meters.iter_mut() {
                // Half of them.
                if dice.next().is_multiple_of(2) {
                    let (up, down) = (dice.volume() / 8, dice.volume());
                    meter.bytes_up += up + 60;
                    meter.packets_up += up / 200 + 1;
                    meter.bytes_down += down + 60;
                    meter.packets_down += down / 1_100 + 1;
                }
            }
            // Activity is seen by checkpoints, one a second.
            let seconds = |dice: &mut Dice| i64::try_from(dice.next() % 300).unwrap_or(0);
            cuts.push(Cut {
                line,
                row_start: begin,
                subscriber: format!("998{:09}", u64::from(line) * 7919).into(),
                session: u64::from(line) + 1,
                session_start: begin,
                addresses: vec![IpNet::from(IpAddr::from(Ipv4Addr::from(
                    0x0a00_0000 + line,
                )))]
                .into(),
                suspended: false,
                terms: Arc::clone(&terms),
                cause: Cause::Interval,
                at,
                activity: Some(Activity {
                    since: before + SignedDuration::from_secs(seconds(&mut dice)),
                    last: at - SignedDuration::from_secs(seconds(&mut dice)),
                    active: Duration::from_secs(dice.next() % 300),
                    peak_up_bps: dice.volume(),
                    peak_down_bps: dice.volume() * 8,
                }),
                meters: meters.to_vec().into(),
                ends: None,
                clock_step: 0,
            });
        }
        rows += cuts.len() as u64;
        // As the agent does: some thousand rows a transaction.
        let begun = Instant::now();
        for some in cuts.chunks(1_000) {
            ledger
                .record(some, &mut numbers, None)
                .expect("it is recorded");
        }
        recording += begun.elapsed();
    }
    let records = ledger.last_seq().expect("it is read");
    drop(ledger);
    let kept = fs::metadata(&path).expect("it is there").len();
    let (mut ledger, _) = Ledger::open(&path).expect("it opens");
    // As the agent does, too: the ledger is held only to put what was added up beside it.
    let (mut gathering, mut putting) = (Duration::ZERO, Duration::ZERO);
    let (mut longest, mut steps) = (Duration::ZERO, 0);
    loop {
        let begun = Instant::now();
        let gathered = ledger.gather(&TimeZone::UTC).expect("it is read");
        gathering += begun.elapsed();
        let Some(gathered) = gathered else { break };
        let begun = Instant::now();
        ledger.roll_up(&gathered).expect("it is rolled up");
        longest = longest.max(begun.elapsed());
        putting += begun.elapsed();
        steps += 1;
    }
    drop(ledger);
    let rolled = fs::metadata(&path).expect("it is there").len() - kept;
    println!(
        "recorded in {recording:?}; added up in {gathering:?}, put in {putting:?}: {steps} steps, {longest:?} at most"
    );
    count_rollups(&path, rolled);
    let (mut ledger, _) = Ledger::open(&path).expect("it opens");
    let begun = Instant::now();
    let mut sealer = Sealer::new(directory.path().join("sealed"));
    let due = Due {
        from: at,
        until: at,
        now: at,
    };
    while let Some(file) = sealer.seal(&ledger, due).expect("it is sealed") {
        ledger.take_sealed(&file).expect("it is taken");
    }
    let took = begun.elapsed();
    let dropping = Instant::now();
    while ledger.drop_sealed().expect("it is dropped") {}
    let dropped = dropping.elapsed();
    let sealed = ledger.sealed_bytes().expect("it is read");
    let reader = Reader::open(&path).expect("it is read");
    let page = Instant::now();
    let which = Which {
        after: records / 2,
        limit: 10_000,
        ..Which::default()
    };
    let read = reader.all_records(which).expect("it is read").len();
    let page = page.elapsed();
    let one = Instant::now();
    let (id, always) = ("998000007919", (Timestamp::MIN, Timestamp::MAX));
    let old = reader.sealed_usage(id, always.0, always.1);
    let sessions = reader
        .sessions_with_usage(id, always.0, always.1, old.expect("it is read"))
        .expect("it is read");
    let one = one.elapsed();
    println!("{rows} rows, {records} records of {SUBSCRIBERS} subscribers in a day");
    println!(
        "in the database {} bytes a row, sealed {}",
        kept / rows,
        sealed / rows
    );
    println!("sealed in {took:?}, dropped in {dropped:?}");
    println!("{read} records behind a number in {page:?}");
    println!(
        "a day of one subscriber, {} rows, in {one:?}",
        sessions[0].1.len()
    );
}

/// What roll-ups of so many bytes hold.
fn count_rollups(path: &std::path::Path, bytes: u64) {
    let connection = rusqlite::Connection::open(path).expect("it opens");
    let of = |span: u64| {
        let count =
            "SELECT count(*), sum(length(cells)) FROM rollup JOIN rollup_period ON number = period
            WHERE span = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let found = connection.query_row(count, [span as i64], read);
        found.expect("it is counted")
    };
    let ((hours, in_hours), (days, in_days)) = (of(3_600), of(86_400));
    let rows = (hours + days).unsigned_abs();
    println!(
        "{hours} rows of hours ({} bytes of counts each), {days} of days ({}): {} bytes a row in all",
        in_hours / hours,
        in_days / days,
        bytes / rows
    );
}
