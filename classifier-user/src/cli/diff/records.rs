//! A ledger's usage records, which name classes and no addresses: what other terms of a class do to its traffic is exact.
//! Of a class whose addresses go elsewhere any part of the traffic may have been theirs, or none.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};

use super::usage::{Change, Sure, Usage, Weighed};
use crate::ledger::Reader;
use crate::ledger::usage::{AnyRecord, UsageRecord, Which};
use crate::policy::{ClassMap, Policy};
use crate::subscribers::State;

/// How many days are looked at where nothing else is said.
const DAYS: u32 = 7;

/// How a ledger's file begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Whether a file is a ledger.
pub(super) fn is_ledger(path: &Path) -> Result<bool> {
    use std::io::Read as _;
    let mut begin = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(SQLITE.len() as u64).read_to_end(&mut begin));
    read.with_context(|| path.display().to_string())?;
    Ok(begin == SQLITE)
}

/// Weighs a change with the usage records of the last days before `at`.
///
/// # Errors
/// When they cannot be read, or there are none.
pub(super) fn weigh(
    path: &Path,
    (old, new): (&Policy, &Policy),
    at: Timestamp,
    days: Option<u32>,
) -> Result<Weighed> {
    const PAGE: usize = 10_000;
    let reader = Reader::open(path)?;
    let begin = at.checked_sub(SignedDuration::from_hours(
        24 * i64::from(days.unwrap_or(DAYS)),
    ))?;
    // Classes that share an address with a class of the new policy.
    let pairs = ClassMap::new(old, at).pairs(&ClassMap::new(new, at));
    let mut usage = Usage::default();
    let mut first: Option<Timestamp> = None;
    let mut after = 0;
    loop {
        let records = reader.all_records(Which {
            after,
            kind: Some("usage"),
            limit: PAGE,
            ..Which::default()
        })?;
        let Some(last) = records.last() else { break };
        after = last.seq();
        for record in &records {
            let AnyRecord::Usage(record) = record else {
                continue;
            };
            if record.end <= begin || record.end > at {
                continue;
            }
            first = Some(first.map_or(record.start, |first| first.min(record.start)));
            add(record, (old, new), &pairs, &mut usage);
        }
    }
    let Some(first) = first else {
        bail!(
            "{}: no usage was recorded from {begin} to {at}; --days N looks back further, --at TIME from another time",
            path.display()
        );
    };
    let span = at.duration_since(first.max(begin));
    Ok(Weighed {
        usage,
        days: (span.as_secs_f64() / 86_400.0).max(1.0 / 1440.0),
        notes: vec![
            "exact: traffic of classes whose terms change. Records do not say which addresses were used: of a class \
             whose addresses go to another, anything from none to all may have been theirs (at most)",
            "a summary of flows (subscriber,remote,bytes) in place of the ledger is exact about addresses",
        ],
    })
}

fn add(
    record: &UsageRecord,
    (old, new): (&Policy, &Policy),
    pairs: &[(usize, usize)],
    usage: &mut Usage,
) {
    let bytes = record.bytes_up + record.bytes_down;
    if record.charged == "dropped" {
        return usage.leave_out("that were dropped", bytes);
    }
    let found = (
        old.plan(&record.plan),
        new.plan(&record.plan),
        old.class(&record.class),
    );
    let (Some((old_plan, _)), Some((new_plan, _)), Some((from, _))) = found else {
        return usage.leave_out("of plans or classes that not both policies have", bytes);
    };
    let state = match record.state.as_str() {
        "suspended" => State::Suspended,
        _ => State::Active,
    };
    usage.count(bytes);
    let was = old.paid(old_plan, from, state);
    let mut becomes: Vec<usize> = pairs
        .iter()
        .filter(|(own, _)| *own == from)
        .map(|(_, to)| *to)
        .collect();
    if becomes.is_empty() {
        // It has no addresses any more; what it is called says most about it.
        becomes.extend(new.class(&record.class).map(|(to, _)| to));
    }
    // Wherever its addresses go, the price is another one.
    let price = |to: usize| new.paid(new_plan, to, state);
    let all = becomes.iter().all(|&to| price(to) != was);
    let sure = match becomes.len() {
        1 => Sure::Exact,
        _ => Sure::UpTo,
    };
    let changes = becomes.iter().map(|&to| Change {
        plan: record.plan.clone(),
        from: record.class.clone(),
        to: new.classes[to].name.clone(),
        was: was.clone(),
        is: price(to),
        sure,
    });
    let changes = changes.filter(|change| change.was != change.is).collect();
    usage.changes(changes, all, &record.subscriber, bytes);
}
