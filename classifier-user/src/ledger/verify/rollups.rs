//! Roll-ups, held against the records they stand for, as long as these are there.
//!
//! What each subscriber used by label in each hour of two years is more than memory holds. So each count is weighed by a
//! number that hangs on whose it is and what it counts, and a period is known by the sum of that. Whatever differs in one
//! place, or is in another's, makes another sum.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher as _};

use jiff::tz::TimeZone;
use rusqlite::Row;

use super::super::accounts::{nanoseconds, timestamp};
use super::super::chain::{Hash, WrittenUsage};
use super::super::rollups::{Cell, Label, Period, Span, is_there, sum_of};
use super::super::usage::{Moved, Terms};
use super::super::{Reader, Result, failed};

/// What is known of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Weighed {
    /// All counts and times of it.
    sum: u64,
    /// Highest rates of anybody.
    peak_up: u64,
    peak_down: u64,
}

/// Length of the periods, number of the time zone, begin and end.
type Key = (Span, i64, Period);

/// What records say of the periods roll-ups have.
pub(super) struct Rolled {
    /// Records up to this number are in roll-ups; `None` where there are none.
    through: Option<i64>,
    /// Time zones, by the number of the record behind which each counts, the first of its name, and itself.
    zones: Vec<(i64, i64, TimeZone)>,
    found: BTreeMap<Key, Weighed>,
    /// By terms: what the labels of their meters weigh.
    labels: HashMap<Hash, Vec<u64>>,
    /// Of both spans, the period of the record before.
    periods: [Option<(i64, Period)>; 2],
    /// Some records are not there, whatever the reason.
    torn: bool,
    /// Until when records may have been pruned, in nanoseconds since 1970.
    pruned: Option<i64>,
}

impl Rolled {
    pub(super) fn of(reader: &Reader) -> Result<Self> {
        let mut rolled = Self {
            through: None,
            zones: Vec::new(),
            found: BTreeMap::new(),
            labels: HashMap::new(),
            periods: [None; 2],
            torn: false,
            pruned: None,
        };
        if is_there(&reader.connection).map_err(failed(&reader.path))? {
            rolled.through = Some(reader.rolled()?.through as i64);
            let query =
                "SELECT after, (SELECT min(number) FROM rollup_zone b WHERE b.name = a.name), name
                FROM rollup_zone a ORDER BY number";
            let zones = reader.rows(query, |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
            })?;
            for (after, number, name) in zones {
                let zone = reader.understood(TimeZone::get(&name))?;
                rolled.zones.push((after, number, zone));
            }
        }
        Ok(rolled)
    }

    /// Some records cannot be looked at.
    pub(super) const fn tear(&mut self) {
        self.torn = true;
    }

    /// Records until a time were pruned.
    pub(super) fn prune(&mut self, until: jiff::Timestamp) {
        self.pruned = self.pruned.max(Some(nanoseconds(until)));
    }

    /// Notes what the meters of terms count.
    pub(super) fn learn(&mut self, hash: Hash, terms: &Terms) {
        if self.through.is_some() {
            let labels = Label::all_of(terms);
            self.labels
                .insert(hash, labels.iter().map(weight).collect());
        }
    }

    /// Adds what is recorded.
    pub(super) fn add(&mut self, usage: &WrittenUsage<'_>, moved: &[Moved]) {
        let last = usage.seq + usage.records - 1;
        if self.through.is_none_or(|through| last > through) {
            return;
        }
        let zone = self.zones.iter().rfind(|(after, ..)| *after < usage.seq);
        let (Some((_, number, zone)), Some(labels)) = (zone, self.labels.get(&usage.terms)) else {
            return;
        };
        let subscriber = weight(&usage.subscriber);
        let mut sum = weigh_time(subscriber, usage.active.unsigned_abs());
        for moved in moved {
            let cell = Cell {
                records: 1,
                counted: moved.delta,
            };
            // Told elsewhere of what has no label.
            if let Some(label) = labels.get(moved.meter) {
                sum = sum.wrapping_add(weigh(subscriber, *label, &cell));
            }
        }
        let end = timestamp(usage.ended);
        for (span, known) in Span::ALL.into_iter().zip(&mut self.periods) {
            let period = match known {
                Some((of, period)) if of == number && period.holds(end) => *period,
                _ => known.insert((*number, Period::of(span, end, zone))).1,
            };
            let weighed = self.found.entry((span, *number, period)).or_default();
            weighed.sum = weighed.sum.wrapping_add(sum);
            weighed.peak_up = weighed.peak_up.max(usage.peak_up.unsigned_abs());
            weighed.peak_down = weighed.peak_down.max(usage.peak_down.unsigned_abs());
        }
    }

    /// What is wrong with the roll-ups, when all records have been added.
    pub(super) fn end(&mut self, reader: &Reader) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let last = reader.last_seq()?;
        if let Some(through) = self.through.filter(|through| *through > last as i64) {
            problems.push(format!(
                "roll-ups are said to hold records up to {through}, and the last one is {last}"
            ));
        }
        if self.through.is_none() || self.torn {
            return Ok(problems);
        }
        let query = "SELECT p.number, p.span, p.start, p.ended, p.zone, z.name
            FROM rollup_period p LEFT JOIN rollup_zone z ON z.number = p.zone ORDER BY p.number";
        let periods = reader.rows(query, |row| {
            let period = Period {
                start: timestamp(row.get(2)?),
                end: timestamp(row.get(3)?),
            };
            let span: i64 = row.get(1)?;
            let zone: Option<String> = row.get(5)?;
            Ok((row.get::<_, i64>(0)?, span, row.get(4)?, period, zone))
        })?;
        let mut labels = HashMap::new();
        for (number, span, zone, period, name) in periods {
            let span = Span::ALL.into_iter().find(|known| known.number() == span);
            let (Some(span), Some(name)) = (span, name) else {
                problems.push(format!("period {number} of the roll-ups is none there is"));
                continue;
            };
            let told = told(reader, number, &mut labels)?;
            let found = self.found.remove(&(span, zone, period)).unwrap_or_default();
            if told != Some(found) && !self.is_pruned(&period) {
                problems.push(format!(
                    "the roll-ups of the {} from {} to {} ({name}) are not what its records add up to",
                    span.as_str(),
                    period.start,
                    period.end
                ));
            }
        }
        for (span, _, period) in self.found.keys() {
            if !self.is_pruned(period) {
                problems.push(format!(
                    "the roll-ups of the {} from {} to {} are missing",
                    span.as_str(),
                    period.start,
                    period.end
                ));
            }
        }
        Ok(problems)
    }

    /// Whether some records of a period may be gone.
    fn is_pruned(&self, period: &Period) -> bool {
        self.pruned
            .is_some_and(|until| nanoseconds(period.start) < until)
    }
}

/// What roll-ups say of a period; `None` where they cannot be read.
fn told(reader: &Reader, period: i64, labels: &mut HashMap<u64, u64>) -> Result<Option<Weighed>> {
    const ALL: &str = "SELECT active, peak_up, peak_down, cells, id
        FROM rollup LEFT JOIN rollup_subscriber ON number = subscriber WHERE period = ?1";
    let sql = |error| failed(&reader.path)(error);
    let mut find = reader.connection.prepare_cached(ALL).map_err(sql)?;
    let mut rows = find.query([period]).map_err(sql)?;
    let mut weighed = Weighed::default();
    let id = |row: &Row<'_>| row.get::<_, Option<String>>(4);
    while let Some(row) = rows.next().map_err(sql)? {
        let (Some(sum), Some(id)) = (sum_of(row).map_err(sql)?, id(row).map_err(sql)?) else {
            return Ok(None);
        };
        let subscriber = weight(&id);
        let mut all = weigh_time(subscriber, sum.active);
        for (label, cell) in &sum.cells.0 {
            let weight = match labels.get(label) {
                Some(weight) => *weight,
                None => {
                    let weight = weight(&reader.rollup_label(*label)?);
                    labels.insert(*label, weight);
                    weight
                }
            };
            all = all.wrapping_add(weigh(subscriber, weight, cell));
        }
        weighed.sum = weighed.sum.wrapping_add(all);
        weighed.peak_up = weighed.peak_up.max(sum.peak_up);
        weighed.peak_down = weighed.peak_down.max(sum.peak_down);
    }
    Ok(Some(weighed))
}

fn weight<T: std::hash::Hash + ?Sized>(what: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// An odd number: no difference that is multiplied by it comes to nothing.
fn odd(subscriber: u64, label: u64, field: u64) -> u64 {
    weight(&(subscriber, label, field)) | 1
}

fn weigh(subscriber: u64, label: u64, cell: &Cell) -> u64 {
    let Cell { records, counted } = cell;
    let counts = [
        *records,
        counted.bytes_up,
        counted.bytes_down,
        counted.packets_up,
        counted.packets_down,
    ];
    // One hash for all of a cell: the weights of its counts are its multiples by odd numbers.
    let base = odd(subscriber, label, 0);
    (1..)
        .zip(counts)
        .fold(0_u64, |sum: u64, (field, count): (u64, u64)| {
            let weight = base
                .wrapping_mul(2 * field + 1)
                .rotate_left(7 * field as u32)
                | 1;
            sum.wrapping_add(count.wrapping_mul(weight))
        })
}

fn weigh_time(subscriber: u64, milliseconds: u64) -> u64 {
    milliseconds.wrapping_mul(odd(subscriber, 0, 1))
}
