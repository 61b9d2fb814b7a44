//! Reading roll-ups: period by period, oldest first, in pages.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::super::accounts::{bound, timestamp};
use super::super::{Reader, Result, failed};
use super::cells::Cell;
use super::gather::Sum;
use super::period::Span;
use super::put::sum_of;
use super::{Label, is_there};

/// What one subscriber, or all of them, used in a period: of one plan, class and charge, under one version of the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rollup {
    /// `hour` or `day`.
    pub span: Span,
    /// Which, as clocks and calendars there say it: `2026-03-01`, `2026-03-01T14:00+05:00`.
    pub period: String,
    /// It begins after this,
    pub start: Timestamp,
    /// and ends with this: it holds the records that end in between.
    pub end: Timestamp,
    /// The time zone whose hour or day it is.
    pub timezone: String,
    /// Id of the subscriber; null where it is of all of them.
    pub subscriber: Option<String>,
    /// The plan.
    pub plan: String,
    /// The service class.
    pub class: String,
    /// The number billing knew it by.
    pub rating_group: u32,
    /// `free`, `metered`, a bucket's name, or `dropped`.
    pub charged: String,
    /// Version of the policy.
    pub policy_version: String,
    /// How many records it is the sum of.
    pub records: u64,
    /// IP bytes sent.
    pub bytes_up: u64,
    /// IP bytes received.
    pub bytes_down: u64,
    /// Packets sent.
    pub packets_up: u64,
    /// Packets received.
    pub packets_down: u64,
    /// Bytes that left the bucket.
    pub bytes_drawn: u64,
    /// Seconds in which the subscriber's sessions moved, in whatever class: the same in all rows of a subscriber and period.
    pub active_seconds: f64,
    /// Highest rate of the subscriber's sessions between two checkpoints, sent, in bits a second. Also the same in all of
    /// them.
    pub peak_up_bps: u64,
    /// The same, received.
    pub peak_down_bps: u64,
}

impl Rollup {
    /// Names of the fields, in their order.
    pub const FIELDS: [&str; 20] = [
        "span",
        "period",
        "start",
        "end",
        "timezone",
        "subscriber",
        "plan",
        "class",
        "rating_group",
        "charged",
        "policy_version",
        "records",
        "bytes_up",
        "bytes_down",
        "packets_up",
        "packets_down",
        "bytes_drawn",
        "active_seconds",
        "peak_up_bps",
        "peak_down_bps",
    ];

    /// The fields in that order, as text; nothing where there is none.
    #[must_use]
    pub fn cells(&self) -> [String; 20] {
        [
            self.span.as_str().to_owned(),
            self.period.clone(),
            self.start.to_string(),
            self.end.to_string(),
            self.timezone.clone(),
            self.subscriber.clone().unwrap_or_default(),
            self.plan.clone(),
            self.class.clone(),
            self.rating_group.to_string(),
            self.charged.clone(),
            self.policy_version.clone(),
            self.records.to_string(),
            self.bytes_up.to_string(),
            self.bytes_down.to_string(),
            self.packets_up.to_string(),
            self.packets_down.to_string(),
            self.bytes_drawn.to_string(),
            self.active_seconds.to_string(),
            self.peak_up_bps.to_string(),
            self.peak_down_bps.to_string(),
        ]
    }
}

/// Where a page ends and the next begins: behind a subscriber in a period, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    period: i64,
    subscriber: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.period, self.subscriber)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidPlace> {
        let read = || {
            let (period, subscriber) = text.split_once('.')?;
            Some(Self {
                period: period.parse().ok()?,
                subscriber: subscriber.parse().ok()?,
            })
        };
        read().ok_or_else(|| InvalidPlace(text.to_owned()))
    }
}

/// What is not the end of a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not where a page of roll-ups ends: take it from the answer before")]
pub struct InvalidPlace(String);

/// Which roll-ups are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// Hours or days.
    pub span: Span,
    /// Periods that do not begin before this,
    pub from: Timestamp,
    /// and do not end after this.
    pub to: Timestamp,
    /// Only of this subscriber.
    pub subscriber: Option<&'a str>,
    /// Only of this class.
    pub class: Option<&'a str>,
    /// Only what is charged so.
    pub charged: Option<&'a str>,
    /// Over all subscribers.
    pub sum: bool,
    /// Only those behind the end of the page before.
    pub after: Option<Place>,
    /// At most so many, unless a subscriber, or the sum over all, has more in one period.
    pub limit: usize,
}

/// Some of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// By period, oldest first.
    pub rows: Vec<Rollup>,
    /// Where the next page begins; `None` where this is the last.
    pub next: Option<Place>,
}

/// A period, as it is written.
struct Known {
    number: i64,
    start: Timestamp,
    end: Timestamp,
    zone: String,
}

/// Labels that have been read.
type Labels = HashMap<u64, Label>;

impl Reader {
    /// A page of roll-ups.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn rollups(&self, sought: Sought<'_>) -> Result<Page> {
        self.at_once(|_| {
            let mut page = Page {
                rows: Vec::new(),
                next: None,
            };
            if !is_there(&self.connection).map_err(failed(&self.path))? {
                return Ok(page);
            }
            let subscriber = sought.subscriber.map(|id| self.number_of(id)).transpose()?;
            if subscriber == Some(None) {
                return Ok(page);
            }
            let subscriber = subscriber.flatten();
            let mut labels = Labels::new();
            let mut end = None;
            for period in self.periods(sought)? {
                let behind = sought.after.filter(|after| after.period == period.number);
                let behind = behind.map_or(0, |after| after.subscriber);
                let whole = self.each_row(
                    &period,
                    sought,
                    (behind, subscriber),
                    &mut labels,
                    |subscriber, rows| {
                        if !page.rows.is_empty() && page.rows.len() + rows.len() > sought.limit {
                            return false;
                        }
                        page.rows.extend(rows);
                        end = Some(Place {
                            period: period.number,
                            subscriber,
                        });
                        true
                    },
                )?;
                if !whole {
                    page.next = end;
                    break;
                }
            }
            Ok(page)
        })
    }

    /// Gives `each` the rows of a period, those of a subscriber, or of all, together, until it has enough; whether it never
    /// had.
    fn each_row(
        &self,
        period: &Known,
        sought: Sought<'_>,
        (behind, subscriber): (i64, Option<i64>),
        labels: &mut Labels,
        mut each: impl FnMut(i64, Vec<Rollup>) -> bool,
    ) -> Result<bool> {
        const ALL: &str = "SELECT active, peak_up, peak_down, cells, subscriber, id
            FROM rollup LEFT JOIN rollup_subscriber ON number = subscriber
            WHERE period = ?1 AND subscriber > ?2 AND subscriber <= ?3 ORDER BY subscriber";
        // In place of the last subscriber, where it is of all.
        const EVERYBODY: i64 = i64::MAX;
        let sql = |error| failed(&self.path)(error);
        let (after, last) = match subscriber {
            Some(one) => (behind.max(one - 1), one),
            None => (behind, EVERYBODY),
        };
        let mut find = self.connection.prepare_cached(ALL).map_err(sql)?;
        let mut rows = find.query([period.number, after, last]).map_err(sql)?;
        let mut all: BTreeMap<u64, Summed> = BTreeMap::new();
        while let Some(row) = rows.next().map_err(sql)? {
            let sum = sum_of(row).map_err(sql)?;
            let sum = sum.ok_or_else(|| self.unreadable_rollup(period.number))?;
            self.learn(&sum, labels)?;
            let wanted = |label: &u64| {
                labels.get(label).is_some_and(|label| {
                    sought.class.is_none_or(|class| class == label.class)
                        && sought
                            .charged
                            .is_none_or(|charged| charged == label.charged)
                })
            };
            let cells = sum.cells.0.iter().filter(|(label, _)| wanted(label));
            let cells = cells.map(|(label, cell)| (*label, Summed::of(&sum, *cell)));
            if sought.sum {
                for (label, cell) in cells {
                    let known = all.entry(label).or_default();
                    *known = known
                        .plus(&cell)
                        .ok_or_else(|| self.unreadable_rollup(period.number))?;
                }
                continue;
            }
            let (number, id): (i64, Option<String>) =
                (|| Ok((row.get(4)?, row.get(5)?)))().map_err(sql)?;
            let id = id.ok_or_else(|| self.unreadable_rollup(period.number))?;
            let rows: Vec<_> = cells
                .map(|(label, cell)| period.row(sought.span, Some(&id), &labels[&label], &cell))
                .collect();
            if !rows.is_empty() && !each(number, rows) {
                return Ok(false);
            }
        }
        if all.is_empty() {
            return Ok(true);
        }
        let rows = all
            .iter()
            .map(|(label, cell)| period.row(sought.span, None, &labels[label], cell));
        Ok(each(EVERYBODY, rows.collect()))
    }

    /// Periods that are asked for, oldest first.
    fn periods(&self, sought: Sought<'_>) -> Result<Vec<Known>> {
        const FIND: &str = "SELECT p.number, p.start, p.ended, z.name
            FROM rollup_period p JOIN rollup_zone z ON z.number = p.zone
            WHERE p.span = ?1 AND p.start >= ?2 AND p.ended <= ?3
            AND (p.start, p.ended, p.zone) >= (?4, ?5, ?6) ORDER BY p.start, p.ended, p.zone";
        let find = || {
            let first = match sought.after {
                None => None,
                Some(after) => {
                    let of_it = "SELECT start, ended, zone FROM rollup_period WHERE number = ?1";
                    self.connection
                        .query_row(of_it, [after.period], |row| {
                            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                        })
                        .optional()?
                }
            };
            let (start, ended, zone): (i64, i64, i64) = first.unwrap_or((i64::MIN, i64::MIN, 0));
            let (span, from, to) = (sought.span.number(), bound(sought.from), bound(sought.to));
            let mut find = self.connection.prepare_cached(FIND)?;
            let rows = find.query_map(params![span, from, to, start, ended, zone], |row| {
                Ok(Known {
                    number: row.get(0)?,
                    start: timestamp(row.get(1)?),
                    end: timestamp(row.get(2)?),
                    zone: row.get(3)?,
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        find().map_err(failed(&self.path))
    }

    fn number_of(&self, id: &str) -> Result<Option<i64>> {
        let find = "SELECT number FROM rollup_subscriber WHERE id = ?1";
        self.connection
            .query_row(find, [id], |row| row.get(0))
            .optional()
            .map_err(failed(&self.path))
    }

    fn learn(&self, sum: &Sum, labels: &mut Labels) -> Result<()> {
        for label in sum.cells.0.keys() {
            if !labels.contains_key(label) {
                labels.insert(*label, self.rollup_label(*label)?);
            }
        }
        Ok(())
    }

    pub(in crate::ledger) fn rollup_label(&self, number: u64) -> Result<Label> {
        let find = "SELECT content FROM rollup_label WHERE number = ?1";
        let content: Option<String> = self
            .connection
            .prepare_cached(find)
            .and_then(|mut find| find.query_row([number as i64], |row| row.get(0)).optional())
            .map_err(failed(&self.path))?;
        let content = content
            .ok_or_else(|| self.damaged(format!("label {number} of the roll-ups is missing")))?;
        self.understood(serde_json::from_str(&content))
    }

    fn unreadable_rollup(&self, period: i64) -> super::super::LedgerError {
        self.damaged(format!("period {period} of the roll-ups cannot be read"))
    }
}

/// A cell of one subscriber, or of all.
#[derive(Debug, Clone, Copy, Default)]
struct Summed {
    cell: Cell,
    active: u64,
    peak_up: u64,
    peak_down: u64,
}

impl Summed {
    const fn of(sum: &Sum, cell: Cell) -> Self {
        Self {
            cell,
            active: sum.active,
            peak_up: sum.peak_up,
            peak_down: sum.peak_down,
        }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            cell: self.cell.plus(&other.cell)?,
            active: self.active.saturating_add(other.active),
            peak_up: self.peak_up.max(other.peak_up),
            peak_down: self.peak_down.max(other.peak_down),
        })
    }
}

impl Known {
    /// What it is called where it is.
    fn name(&self, span: Span) -> String {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let local = self.start.to_zoned(zone);
        match span {
            Span::Day => local.date().to_string(),
            Span::Hour => local.strftime("%Y-%m-%dT%H:%M%:z").to_string(),
        }
    }

    fn row(&self, span: Span, subscriber: Option<&str>, label: &Label, summed: &Summed) -> Rollup {
        let Cell { records, counted } = summed.cell;
        let drawn = |draws: bool, bytes: u64| if draws { bytes } else { 0 };
        Rollup {
            span,
            period: self.name(span),
            start: self.start,
            end: self.end,
            timezone: self.zone.clone(),
            subscriber: subscriber.map(str::to_owned),
            plan: label.plan.clone(),
            class: label.class.clone(),
            rating_group: label.rating_group,
            charged: label.charged.clone(),
            policy_version: label.policy_version.clone(),
            records,
            bytes_up: counted.bytes_up,
            bytes_down: counted.bytes_down,
            packets_up: counted.packets_up,
            packets_down: counted.packets_down,
            bytes_drawn: drawn(label.draws_up, counted.bytes_up)
                .saturating_add(drawn(label.draws_down, counted.bytes_down)),
            active_seconds: summed.active as f64 / 1e3,
            peak_up_bps: summed.peak_up,
            peak_down_bps: summed.peak_down,
        }
    }
}
