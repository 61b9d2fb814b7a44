//! Reading what was recorded.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use classifier::layout::Meter;
use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};

use super::super::accounts::timestamp;
use super::super::chain::WrittenUsage;
use super::super::{LedgerError, Reader, Result, failed, sealed};
use super::{AnyRecord, Cause, Closing, Gap, Judged, Moved, Taken, Terms, codec};

/// More records than one row of counters ever yields at once.
const MOST_AT_ONCE: i64 = 256;

/// The records of one row of counters at one moment; of one not recorded yet, what they would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Number of the first; `None` where they are not written.
    pub seq: Option<u64>,
    /// Number of the first in its session.
    pub session_seq: u64,
    /// Plan, policy, and what meters count.
    pub terms: Arc<Terms>,
    /// Why they end where they do.
    pub cause: Cause,
    /// Whether the subscriber was suspended.
    pub suspended: bool,
    /// What they count moved after this,
    pub start: Timestamp,
    /// and not after this.
    pub end: Timestamp,
    /// When the session moved last.
    pub last: Timestamp,
    /// Milliseconds in which it moved.
    pub active: u64,
    /// Highest rates, in bits a second.
    pub peak_up_bps: u64,
    /// The same, received.
    pub peak_down_bps: u64,
    /// What moved.
    pub moved: Vec<Moved>,
    /// Time before its end that is known to be in no record.
    pub gap: Option<Gap>,
    /// Milliseconds the clock was set by.
    pub clock_step: i64,
}

/// Which records are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which<'a> {
    /// Only those behind this number.
    pub after: u64,
    /// Only of this subscriber.
    pub subscriber: Option<&'a str>,
    /// Only of this kind.
    pub kind: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
}

/// Prefixes as they are written.
pub(super) fn addresses(prefixes: &[IpNet]) -> String {
    let mut text = String::new();
    for prefix in prefixes {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(text, "{space}{prefix}");
    }
    text
}

/// The reverse of [`addresses`].
pub(in crate::ledger) fn prefixes(
    text: &str,
) -> std::result::Result<Vec<IpNet>, ipnet::AddrParseError> {
    text.split_whitespace().map(str::parse).collect()
}

impl Stored {
    /// What a row says that stands elsewhere than in the table; `None` when it says what no row can.
    pub(in crate::ledger) fn of(row: &WrittenUsage<'_>, terms: Arc<Terms>) -> Option<Self> {
        let moved = codec::moved(row.meters)?;
        if moved.iter().any(|moved| moved.meter >= terms.meters.len()) {
            return None;
        }
        let gap = match row.gap {
            None => None,
            Some((start, ended, reason)) => Some(super::gaps::gap_of(start, ended, reason)?),
        };
        Some(Self {
            seq: Some(row.seq as u64),
            session_seq: row.session_seq as u64,
            terms,
            cause: Cause::of_number(u8::try_from(row.cause).ok()?)?,
            suspended: row.suspended != 0,
            start: timestamp(row.start),
            end: timestamp(row.ended),
            last: timestamp(row.last),
            active: row.active as u64,
            peak_up_bps: row.peak_up as u64,
            peak_down_bps: row.peak_down as u64,
            moved,
            gap,
            clock_step: row.clock,
        })
    }
}

impl Reader {
    /// Records of all kinds, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn all_records(&self, which: Which<'_>) -> Result<Vec<AnyRecord>> {
        self.at_once(|state| {
            let through = sealed::through(state).map_err(failed(&self.path))?;
            let mut found = match (which.after as i64) < through {
                true => self.sealed_records(which)?,
                false => Vec::new(),
            };
            if found.len() < which.limit {
                found.extend(self.kept(Which {
                    after: which.after.max(through as u64),
                    limit: which.limit - found.len(),
                    ..which
                })?);
            }
            Ok(found)
        })
    }

    /// Those of them that are in the database.
    fn kept(&self, which: Which<'_>) -> Result<Vec<AnyRecord>> {
        let mut found: Vec<AnyRecord> = match which.kind {
            None | Some("usage") => self.usage_records(which)?,
            Some(_) => Vec::new(),
        };
        if which.kind != Some("usage") {
            let others = self.kept_records(which)?;
            found.extend(others.into_iter().map(AnyRecord::Other));
        }
        found.sort_by_key(AnyRecord::seq);
        found.truncate(which.limit);
        Ok(found)
    }

    fn usage_records(&self, which: Which<'_>) -> Result<Vec<AnyRecord>> {
        // The row that holds the first one may begin before it.
        let (from, query) = match which.subscriber {
            None => ("usage", "?2 IS NULL"),
            Some(_) => (
                "usage INDEXED BY usage_of_session",
                "usage.session IN (SELECT number FROM session WHERE subscriber = ?2)",
            ),
        };
        let query = format!(
            "SELECT usage.*, session.subscriber, session.session, session.addresses
             FROM {from} JOIN session ON session.number = usage.session
             WHERE {query} AND seq > ?1 ORDER BY seq"
        );
        let mut statement = self
            .connection
            .prepare_cached(&query)
            .map_err(failed(&self.path))?;
        // What is sealed may not be dropped yet.
        let through = sealed::through(&self.connection).map_err(failed(&self.path))?;
        let first = (which.after as i64)
            .saturating_sub(MOST_AT_ONCE)
            .max(through);
        let mut rows = statement
            .query(params![first, which.subscriber])
            .map_err(failed(&self.path))?;
        let mut terms = HashMap::new();
        let mut found = Vec::new();
        while found.len() < which.limit {
            let Some(row) = rows.next().map_err(failed(&self.path))? else {
                break;
            };
            let stored = self.stored(row, &mut terms)?;
            let records = (|| {
                let subscriber: String = row.get(16)?;
                let session: i64 = row.get(17)?;
                let addresses: String = row.get(18)?;
                Ok((subscriber, session as u64, addresses))
            })();
            let (subscriber, session, addresses) = records.map_err(failed(&self.path))?;
            let addresses = self.understood(prefixes(&addresses))?;
            let records = stored.records(&subscriber, session, &addresses);
            let behind = records
                .into_iter()
                .filter(|record| record.seq > which.after);
            found.extend(behind.map(|record| AnyRecord::Usage(Box::new(record))));
        }
        Ok(found)
    }

    /// A row of the table `usage`.
    pub(super) fn stored(
        &self,
        row: &Row<'_>,
        known: &mut HashMap<i64, Arc<Terms>>,
    ) -> Result<Stored> {
        let read = || {
            let moved = codec::moved(row.get_ref(13)?.as_blob()?);
            let number: i64 = row.get(4)?;
            let gap: Option<i64> = row.get(14)?;
            let stored = |terms, moved, cause, gap| {
                Ok(Stored {
                    seq: Some(row.get::<_, i64>(0)? as u64),
                    session_seq: row.get::<_, i64>(3)? as u64,
                    terms,
                    cause,
                    suspended: row.get(6)?,
                    start: timestamp(row.get(7)?),
                    end: timestamp(row.get(8)?),
                    last: timestamp(row.get(9)?),
                    active: row.get::<_, i64>(10)? as u64,
                    peak_up_bps: row.get::<_, i64>(11)? as u64,
                    peak_down_bps: row.get::<_, i64>(12)? as u64,
                    moved,
                    gap,
                    clock_step: row.get(15)?,
                })
            };
            let (cause, seq): (u8, i64) = (row.get(5)?, row.get(0)?);
            Ok((moved, number, Cause::of_number(cause), seq, gap, stored))
        };
        let (moved, number, cause, seq, gap, stored) =
            read().map_err(|error| failed(&self.path)(error))?;
        let terms = match known.get(&number) {
            Some(terms) => Arc::clone(terms),
            None => {
                let terms = Arc::new(self.terms(number)?);
                known.insert(number, Arc::clone(&terms));
                terms
            }
        };
        let unreadable = || self.damaged(format!("usage record {seq} cannot be read"));
        let (Some(moved), Some(cause)) = (moved, cause) else {
            return Err(unreadable());
        };
        if moved.iter().any(|moved| moved.meter >= terms.meters.len()) {
            return Err(unreadable());
        }
        let gap = gap.map(|gap| self.gap(gap)).transpose()?;
        stored(terms, moved, cause, gap).map_err(|error| failed(&self.path)(error))
    }

    fn gap(&self, number: i64) -> Result<Gap> {
        let find = "SELECT start, ended, reason FROM gap WHERE number = ?1";
        let gap = self
            .connection
            .prepare_cached(find)
            .and_then(|mut find| {
                find.query_row([number], |row| {
                    let reason = row.get_ref(2)?.as_str()?;
                    Ok(super::gaps::gap_of(row.get(0)?, row.get(1)?, reason))
                })
                .optional()
            })
            .map_err(failed(&self.path))?;
        gap.flatten()
            .ok_or_else(|| self.damaged(format!("gap {number} cannot be read")))
    }

    pub(in crate::ledger) fn terms(&self, number: i64) -> Result<Terms> {
        let content = self.terms_content(number)?;
        self.understood(serde_json::from_str(&content))
    }

    /// The same, as they are written.
    pub(in crate::ledger) fn terms_content(&self, number: i64) -> Result<String> {
        self.connection
            .prepare_cached("SELECT content FROM terms WHERE number = ?1")
            .and_then(|mut find| find.query_row([number], |row| row.get(0)))
            .map_err(failed(&self.path))
    }

    /// What was recorded of the row at a line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn taken(&self, line: u32) -> Result<Option<Taken>> {
        let taken = super::write::taken(&self.connection, line).map_err(failed(&self.path))?;
        taken.map_err(|_| self.untaken(line))
    }

    /// What was recorded of every row: `each` is given its line and all of it.
    pub(in crate::ledger) fn each_taken(&self, mut each: impl FnMut(u32, &Taken)) -> Result<()> {
        let query = "SELECT * FROM taken ORDER BY line";
        let mut statement = self.connection.prepare(query).map_err(failed(&self.path))?;
        let mut rows = statement.query([]).map_err(failed(&self.path))?;
        while let Some(row) = rows.next().map_err(failed(&self.path))? {
            let line = row.get(0).map_err(failed(&self.path))?;
            let taken = super::write::taken_of(row).map_err(failed(&self.path))?;
            each(line, &taken.map_err(|_| self.untaken(line))?);
        }
        Ok(())
    }

    fn untaken(&self, line: u32) -> LedgerError {
        self.damaged(format!(
            "what was recorded of the row at line {line} cannot be read"
        ))
    }

    /// What was recorded of every row that has been recorded and counts: `each` is given its line and its meters, by line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn all_taken(&self, mut each: impl FnMut(u32, &[Meter])) -> Result<()> {
        let query = "SELECT line, counters FROM taken ORDER BY line";
        let mut statement = self.connection.prepare(query).map_err(failed(&self.path))?;
        let mut rows = statement.query([]).map_err(failed(&self.path))?;
        let mut counters = Vec::new();
        while let Some(row) = rows.next().map_err(failed(&self.path))? {
            let line = row.get(0).map_err(failed(&self.path))?;
            let bytes = row.get_ref(1).map_err(failed(&self.path))?;
            let read = bytes.as_blob().ok();
            let read = read.and_then(|bytes| codec::counters(bytes, &mut counters));
            read.ok_or_else(|| self.untaken(line))?;
            each(line, &counters);
        }
        Ok(())
    }

    /// Rows that ended and whose last records have not been written.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn closings(&self) -> Result<Vec<Closing>> {
        let rows = self.rows("SELECT * FROM closing ORDER BY line", |row| {
            let (subscriber, addresses): (String, String) = (row.get(3)?, row.get(6)?);
            let cause: u8 = row.get(9)?;
            let closing = Closing {
                line: row.get(0)?,
                layout: row.get(1)?,
                row_start: timestamp(row.get(2)?),
                subscriber: subscriber.into(),
                session: row.get::<_, i64>(4)? as u64,
                session_start: timestamp(row.get(5)?),
                addresses: Vec::new().into(),
                suspended: row.get(7)?,
                at: timestamp(row.get(8)?),
                cause: Cause::of_number(cause).unwrap_or(Cause::Recovered),
                next_line: row.get(10)?,
                serial: row.get(11)?,
            };
            Ok((closing, addresses))
        })?;
        rows.into_iter()
            .map(|(closing, addresses)| {
                Ok(Closing {
                    addresses: self.understood(prefixes(&addresses))?.into(),
                    ..closing
                })
            })
            .collect()
    }

    /// What the image with a serial number was compiled from.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn judged(&self, serial: u32) -> Result<Option<Judged>> {
        let find = "SELECT content FROM image WHERE serial = ?1";
        let content: Option<String> = self
            .connection
            .query_row(find, [serial], |row| row.get(0))
            .optional()
            .map_err(failed(&self.path))?;
        content
            .map(|content| self.understood(serde_json::from_str(&content)))
            .transpose()
    }
}
