//! A summary of flows, as exporters and collectors write it: lines of `subscriber,remote,bytes`, in any order, with other
//! columns if need be. Nothing of it is kept.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::usage::{Change, Sure, Usage, Weighed};
use crate::policy::{ClassMap, Policy};
use crate::subscribers::Subscriber;

const COLUMNS: [&str; 3] = ["subscriber", "remote", "bytes"];

/// Weighs a change with the flows of a file.
///
/// # Errors
/// When it cannot be read, with the line.
pub(super) fn weigh(
    path: &Path,
    (old, new): (&Policy, &Policy),
    subscribers: &[Subscriber],
    at: Timestamp,
    days: Option<u32>,
) -> Result<Weighed> {
    let file = path.display();
    let mut reader = csv::Reader::from_path(path).with_context(|| file.to_string())?;
    let header = reader.headers().with_context(|| file.to_string())?.clone();
    let column = |name: &str| header.iter().position(|one| one.trim() == name);
    let mut columns = [0; 3];
    for (place, name) in columns.iter_mut().zip(COLUMNS) {
        *place = column(name).with_context(|| {
            format!(
                "{file}:1: no column {name}: the first line has to name the columns {}, and may name others, such as day",
                COLUMNS.join(", ")
            )
        })?;
    }
    let day = column("day");
    let known: HashMap<&str, &Subscriber> = subscribers.iter().map(|one| (&*one.id, one)).collect();
    let maps = [ClassMap::new(old, at), ClassMap::new(new, at)];
    let mut usage = Usage::default();
    let mut seen_days = BTreeSet::new();
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .with_context(|| file.to_string())?
    {
        let line = record.position().map_or(0, csv::Position::line);
        let field = |place: usize| record.get(place).unwrap_or_default().trim();
        let [id, remote, bytes] = columns.map(field);
        let remote: IpAddr = remote.parse().ok().with_context(|| {
            format!("{file}:{line}: {remote:?} is no address: write one such as 203.0.113.7")
        })?;
        let bytes: u64 = bytes
            .parse()
            .ok()
            .with_context(|| format!("{file}:{line}: {bytes:?} is no number of bytes"))?;
        if let Some(day) = day {
            let day = field(day);
            let read = day.parse::<jiff::civil::Date>();
            seen_days.insert(read.ok().with_context(|| {
                format!("{file}:{line}: {day:?} is no day: write one such as 2026-11-01")
            })?);
        }
        let Some(subscriber) = known.get(id) else {
            usage.leave_out("of who is not in the file of subscribers", bytes);
            continue;
        };
        let plan = &new.plans[subscriber.plan];
        let Some((old_plan, _)) = old.plan(&plan.name) else {
            usage.leave_out("of plans the old policy does not have", bytes);
            continue;
        };
        usage.count(bytes);
        let [from, to] = maps.each_ref().map(|map| map.class_of(remote));
        let was = old.paid(old_plan, from, subscriber.state);
        let is = new.paid(subscriber.plan, to, subscriber.state);
        if was != is {
            let change = Change {
                plan: plan.name.clone(),
                from: old.classes[from].name.clone(),
                to: new.classes[to].name.clone(),
                was,
                is,
                sure: Sure::Exact,
            };
            usage.changes(vec![change], true, id, bytes);
        }
    }
    let days = match (day, days) {
        (Some(_), Some(_)) => bail!("{file}: has a column day: leave --days out"),
        (Some(_), None) => seen_days.len().max(1) as u32,
        (None, days) => days.unwrap_or(1),
    };
    Ok(Weighed {
        usage,
        days: days.into(),
        notes: vec![
            "exact: the class of each flow's remote address under both policies, and who pays for it under the plan",
            "not said: which bucket of a chain would have paid, which depends on what was left in it (zerorate replay \
             --against does, for a capture)",
        ],
    })
}
