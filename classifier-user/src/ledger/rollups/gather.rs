//! Adding up some of the records that come next, beside whoever writes: nothing is changed by it.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::tz::TimeZone;
use rusqlite::Connection;

use super::super::accounts::{nanoseconds, timestamp};
use super::super::chain::Hash;
use super::super::sealed;
use super::super::usage::{Moved, Terms, codec};
use super::super::{Reader, Result, failed, to_json};
use super::cells::{Cell, Cells};
use super::period::{Period, Span};
use super::{Label, noted};

/// Rows of usage that are added up in one step: those who write wait for as many to be put where they belong.
const AT_ONCE: usize = 1_000;

/// What some records add up to.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Behind this record,
    pub(super) after: i64,
    /// up to this one.
    pub(super) through: i64,
    /// With them, all that moved until then is in roll-ups.
    pub(super) complete: Option<i64>,
    /// Name of the time zone.
    pub(super) zone: String,
    /// Labels, as they are written.
    pub(super) labels: Vec<String>,
    /// Ids of subscribers, as they come.
    pub(super) subscribers: Vec<String>,
    /// By period and number in `subscribers`; cells by number in `labels`.
    pub(super) sums: BTreeMap<(Span, Period), BTreeMap<usize, Sum>>,
}

/// What a subscriber used in a period.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::ledger) struct Sum {
    /// Milliseconds in which its sessions moved.
    pub(in crate::ledger) active: u64,
    /// Highest rate of any of them, in bits a second.
    pub(in crate::ledger) peak_up: u64,
    /// The same, received.
    pub(in crate::ledger) peak_down: u64,
    /// By label.
    pub(in crate::ledger) cells: Cells,
}

/// What the records of one row of counters at one moment say, as far as it is added up.
struct Counted<'a> {
    /// Number of the first,
    seq: i64,
    /// and how many they are.
    records: i64,
    subscriber: &'a str,
    ended: i64,
    active: i64,
    peak_up: i64,
    peak_down: i64,
    meters: &'a [u8],
}

/// How terms are known where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Under {
    Hash(Hash),
    Number(i64),
}

/// What is gathered, and what is known for it.
struct Gathering<'a> {
    reader: &'a Reader,
    zone: &'a TimeZone,
    found: Gathered,
    /// Rows that may be added up yet.
    left: usize,
    /// Numbers of subscribers by their ids, of labels by how they are written, and of the meters of terms.
    subscribers: HashMap<String, usize>,
    labels: HashMap<String, u64>,
    of_terms: HashMap<Under, Vec<u64>>,
    /// Of both spans, the period of the record before: most of the next are of the same.
    periods: [Option<Period>; 2],
}

impl Reader {
    /// What the records that come next add up to, by hours and days of a time zone; `None` where nothing has to be noted.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn gather(&self, zone: &TimeZone) -> Result<Option<Gathered>> {
        self.gather_some(zone, AT_ONCE)
    }

    /// The same, of so many rows.
    pub(super) fn gather_some(&self, zone: &TimeZone, most: usize) -> Result<Option<Gathered>> {
        self.at_once(|state| {
            let look = || {
                let pruned = sealed::pruned(state)?.map_or(0, |(last, ..)| last);
                Ok((noted(state)?, sealed::through(state)?, pruned))
            };
            let ((after, complete), sealed, pruned) = look().map_err(failed(&self.path))?;
            let mut gathering = Gathering {
                reader: self,
                zone,
                found: Gathered {
                    after,
                    // What is gone is in none, if it is not in them already.
                    through: after.max(pruned),
                    zone: zone.iana_name().unwrap_or("UTC").to_owned(),
                    ..Gathered::default()
                },
                left: most,
                subscribers: HashMap::new(),
                labels: HashMap::new(),
                of_terms: HashMap::new(),
                periods: [None; 2],
            };
            if gathering.found.through < sealed {
                gathering.add_sealed(sealed)?;
            }
            if gathering.has_room() {
                gathering.add_kept(state)?;
            }
            let has_all = gathering.has_room();
            let mut found = gathering.found;
            if has_all {
                found.through = self.last_seq()? as i64;
                found.complete = self.seen()?.map(nanoseconds);
            }
            let is_new = found.complete.is_some() && found.complete != complete;
            Ok((found.through != after || is_new).then_some(found))
        })
    }
}

impl Gathering<'_> {
    const fn has_room(&self) -> bool {
        self.left > 0
    }

    /// Adds up records that are sealed, up to a number.
    fn add_sealed(&mut self, last: i64) -> Result<()> {
        let reader = self.reader;
        reader.sealed_usage_behind(self.found.through, |row, terms| {
            let counted = Counted {
                seq: row.seq,
                records: row.records,
                subscriber: row.subscriber,
                ended: row.ended,
                active: row.active,
                peak_up: row.peak_up,
                peak_down: row.peak_down,
                meters: row.meters,
            };
            let terms = || Ok(Arc::clone(terms));
            self.add(&counted, Under::Hash(row.terms), terms)?;
            Ok(match self.has_room() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        if self.has_room() {
            self.found.through = last;
        }
        Ok(())
    }

    /// Adds up records that are in the database.
    fn add_kept(&mut self, connection: &Connection) -> Result<()> {
        const NEXT: &str =
            "SELECT usage.seq, usage.records, session.subscriber, usage.ended, usage.active,
            usage.peak_up, usage.peak_down, usage.meters, usage.terms
            FROM usage LEFT JOIN session ON session.number = usage.session
            WHERE usage.seq > ?1 ORDER BY usage.seq LIMIT ?2";
        let reader = self.reader;
        let path = &reader.path;
        let mut next = connection.prepare_cached(NEXT).map_err(failed(path))?;
        let most = self.left as i64;
        let rows = next.query([self.found.through, most]);
        let mut rows = rows.map_err(failed(path))?;
        while let Some(row) = rows.next().map_err(failed(path))? {
            let read = || {
                let counted = Counted {
                    seq: row.get(0)?,
                    records: row.get(1)?,
                    // Whoever has no session is told by `verify`; here nobody is made of it.
                    subscriber: row.get_ref(2)?.as_str()?,
                    ended: row.get(3)?,
                    active: row.get(4)?,
                    peak_up: row.get(5)?,
                    peak_down: row.get(6)?,
                    meters: row.get_ref(7)?.as_blob()?,
                };
                Ok((counted, row.get::<_, i64>(8)?))
            };
            let (counted, number) = read().map_err(failed(path))?;
            let terms = || Ok(Arc::new(reader.terms(number)?));
            self.add(&counted, Under::Number(number), terms)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        counted: &Counted<'_>,
        under: Under,
        terms: impl FnOnce() -> Result<Arc<Terms>>,
    ) -> Result<()> {
        let (reader, seq) = (self.reader, counted.seq);
        let wrong = |what: &str| reader.damaged(format!("usage record {seq} {what}"));
        if !self.of_terms.contains_key(&under) {
            let labels = self.learn(&*terms()?)?;
            self.of_terms.insert(under, labels);
        }
        let subscriber = self.subscriber(counted.subscriber);
        let labels = &self.of_terms[&under];
        let cells = codec::moved(counted.meters).and_then(|moved| {
            let cell = |moved: Moved| {
                let cell = Cell {
                    records: 1,
                    counted: moved.delta,
                };
                Some((*labels.get(moved.meter)?, cell))
            };
            moved.into_iter().map(cell).collect::<Option<Vec<_>>>()
        });
        let cells = cells.ok_or_else(|| wrong("cannot be read"))?;
        let end = timestamp(counted.ended);
        let mut fits = true;
        for (span, known) in Span::ALL.into_iter().zip(&mut self.periods) {
            let period = match known {
                Some(period) if period.holds(end) => *period,
                _ => *known.insert(Period::of(span, end, self.zone)),
            };
            let of_period = self.found.sums.entry((span, period)).or_default();
            let sum = of_period.entry(subscriber).or_default();
            sum.peak_up = sum.peak_up.max(counted.peak_up.unsigned_abs());
            sum.peak_down = sum.peak_down.max(counted.peak_down.unsigned_abs());
            sum.active = sum.active.saturating_add(counted.active.unsigned_abs());
            fits &= cells
                .iter()
                .all(|(label, cell)| sum.cells.add(*label, cell).is_some());
        }
        if !fits {
            return Err(wrong("and those before it are more than can be added up"));
        }
        self.left -= 1;
        self.found.through = counted.seq + counted.records - 1;
        Ok(())
    }

    /// The number of a subscriber.
    fn subscriber(&mut self, id: &str) -> usize {
        if let Some(known) = self.subscribers.get(id) {
            return *known;
        }
        let number = self.found.subscribers.len();
        self.found.subscribers.push(id.to_owned());
        self.subscribers.insert(id.to_owned(), number);
        number
    }

    /// Numbers of the labels of the meters of terms.
    fn learn(&mut self, terms: &Terms) -> Result<Vec<u64>> {
        let mut numbers = Vec::with_capacity(terms.meters.len());
        for label in Label::all_of(terms) {
            let content = to_json(&label).map_err(failed(&self.reader.path))?;
            let known = &mut self.found.labels;
            let number = self.labels.entry(content).or_insert_with_key(|content| {
                known.push(content.clone());
                known.len() as u64 - 1
            });
            numbers.push(*number);
        }
        Ok(numbers)
    }
}
