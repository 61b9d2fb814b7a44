//! Writing usage records down, with what has been taken of each row, in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::accounts::{nanoseconds, timestamp};
use super::super::chain::{self, Hash, Seal, Written, WrittenUsage};
use super::super::{Ledger, Reader, Result, failed, sealed, set_number, to_json};
use super::account::Carried;
use super::gaps::{lost_before, put_gap};
use super::past;
use super::read::addresses;
use super::{Accounted, Backwards, Cut, End, Gap, GapReason, Judged, Taken, Terms, codec};
use crate::accounts::usage::{ByLayout, add_meters};
use crate::fault::{self, Point};

/// Why cuts could not be written.
enum Failed {
    Sqlite(rusqlite::Error),
    Unreadable(u32),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Ledger {
    /// Records what cuts add to what was recorded before, in their order: all of them, or none. Where counters are below what
    /// was recorded, which it returns, the record declares the time in between a gap.
    ///
    /// `numbers` remembers the numbers of terms that were written before. With `seen` it is noted that, of what moved
    /// until then, nothing is left to be recorded.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn record(
        &mut self,
        cuts: &[Cut],
        numbers: &mut TermsNumbers,
        seen: Option<Timestamp>,
    ) -> Result<Vec<Backwards>> {
        // Should the machine go down, the counters go with it, and it matters little which of the records since the last
        // full write were kept: one wait for the disk at the end will do. That the process dies is no matter at all.
        let careful = seen.is_some() || cuts.is_empty();
        self.careful(careful)?;
        let result = self.record_now(cuts, numbers, seen);
        self.careful(true)?;
        result
    }

    /// Whether the end of a transaction waits for the disk.
    pub(in crate::ledger) fn careful(&self, careful: bool) -> Result<()> {
        let level = if careful { "FULL" } else { "NORMAL" };
        self.connection
            .pragma_update(None, "synchronous", level)
            .map_err(failed(&self.path))
    }

    fn record_now(
        &mut self,
        cuts: &[Cut],
        numbers: &mut TermsNumbers,
        seen: Option<Timestamp>,
    ) -> Result<Vec<Backwards>> {
        let path = &self.reader.path;
        let epoch = self.number("epoch")?.unwrap_or(0) as i64;
        fault::at(Point::BeforeRecords);
        let transaction = self.reader.connection.transaction().map_err(failed(path))?;
        let written = write(&transaction, cuts, numbers, epoch);
        let written = written.and_then(|wrong| {
            if let Some(seen) = seen {
                set_number(&transaction, SEEN, nanoseconds(seen) as u64)?;
            }
            Ok(wrong)
        });
        match written {
            Ok(wrong) => {
                fault::at(Point::BeforeRecordsCommit);
                if let Err(error) = transaction.commit() {
                    // So do those of one that could not be committed.
                    numbers.0.clear();
                    return Err(failed(path)(error));
                }
                fault::at(Point::AfterRecordsCommit);
                Ok(wrong)
            }
            Err(error) => {
                drop(transaction);
                // Numbers given in a transaction that is undone mean nothing.
                numbers.0.clear();
                Err(match error {
                    Failed::Sqlite(error) => failed(path)(error),
                    Failed::Unreadable(line) => self.damaged(format!(
                        "what was recorded of the row at line {line} cannot be read"
                    )),
                })
            }
        }
    }

    /// Notes what an image is compiled from, before it is published.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_image(&mut self, serial: u32, judged: &Judged) -> Result<()> {
        self.write(|transaction| {
            let put = "INSERT OR REPLACE INTO image VALUES (?1, ?2)";
            transaction
                .execute(put, params![serial, to_json(judged)?])
                .map(drop)
        })
    }
}

impl Reader {
    /// Until when all that moved has been recorded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn seen(&self) -> Result<Option<Timestamp>> {
        Ok(self.number(SEEN)?.map(|seen| timestamp(seen as i64)))
    }
}

/// Name of the number that says until when all that moved has been recorded.
pub(super) const SEEN: &str = "seen";

/// Numbers that terms have in the ledger.
#[derive(Debug, Default)]
pub struct TermsNumbers(HashMap<usize, (Arc<Terms>, (i64, Hash))>);

impl TermsNumbers {
    /// The number of terms, and the hash the chain knows them by.
    fn of(
        &mut self,
        transaction: &Transaction<'_>,
        terms: &Arc<Terms>,
    ) -> rusqlite::Result<(i64, Hash)> {
        // By where they are: there is one of each, and it is kept here.
        let key = Arc::as_ptr(terms) as usize;
        if let Some((_, number)) = self.0.get(&key) {
            return Ok(*number);
        }
        let content = to_json(&**terms)?;
        let put = "INSERT INTO terms (content) VALUES (?1) ON CONFLICT DO NOTHING";
        transaction.execute(put, [&content])?;
        let find = "SELECT number FROM terms WHERE content = ?1";
        let number = transaction.query_row(find, [&content], |row| row.get(0))?;
        let number = (number, chain::hash(&content));
        if self.0.len() >= 1 << 14 {
            self.0.clear();
        }
        self.0.insert(key, (Arc::clone(terms), number));
        Ok(number)
    }
}

fn write(
    transaction: &Transaction<'_>,
    cuts: &[Cut],
    numbers: &mut TermsNumbers,
    epoch: i64,
) -> std::result::Result<Vec<Backwards>, Failed> {
    let mut wrong = Vec::new();
    let mut seq = next_seq(transaction)?;
    let mut seal = Seal::from(seq);
    let mut ended = ByLayout::new();
    for cut in cuts {
        let before = taken(transaction, cut.line)?;
        let before = before.map_err(|Unreadable| Failed::Unreadable(cut.line))?;
        let Accounted {
            start,
            end,
            backwards,
            last,
            active,
            moved,
            taken: mut after,
        } = cut.account(before.as_ref());
        let known = before.as_ref();
        let mut gap = None;
        if let (Some(backwards), Some(before)) = (backwards, known) {
            wrong.push(backwards);
            let reason = GapReason::CountersBackwards;
            let (from, to) = (before.ended.min(end), end);
            gap = Some(put_gap(transaction, Gap { from, to, reason })?);
        }
        if !moved.is_empty() || cut.cause.is_final() {
            after.session = match known {
                Some(before) => before.session,
                None => {
                    gap = lost_before(transaction, &cut.subscriber)?;
                    session(transaction, cut, epoch)?
                }
            };
        }
        if !moved.is_empty() {
            let (number, hash) = numbers.of(transaction, &cut.terms)?;
            let activity = cut.activity.as_ref();
            let peaks = activity.map_or((0, 0), |activity| {
                (activity.peak_up_bps, activity.peak_down_bps)
            });
            let (gap_number, gap) = gap.unzip();
            let usage = WrittenUsage {
                seq,
                records: moved.len() as i64,
                subscriber: &cut.subscriber,
                session: cut.session as i64,
                addresses: &addresses(&cut.addresses),
                session_seq: known.map_or(0, |before| before.session_seq) as i64 + 1,
                terms: hash,
                cause: cut.cause.number().into(),
                suspended: cut.suspended.into(),
                start: nanoseconds(start),
                ended: nanoseconds(end),
                last: nanoseconds(last),
                active: active as i64,
                peak_up: rate(peaks.0),
                peak_down: rate(peaks.1),
                meters: &codec::put_moved(&moved),
                gap: gap.map(|Gap { from, to, reason }| {
                    (nanoseconds(from), nanoseconds(to), reason.as_str())
                }),
                clock: cut.clock_step,
            };
            put_usage(transaction, &usage, after.session, number, gap_number)?;
            seq += usage.records;
            seal.add(&Written::Usage(&usage));
        }
        match cut.ends {
            None if moved.is_empty() => {}
            None => put_taken(transaction, cut.line, &after)?,
            Some(End { layout, next_line }) => {
                let note_end = "UPDATE session SET ended = ?1 WHERE number = ?2";
                if cut.cause.is_final() {
                    transaction
                        .prepare_cached(note_end)?
                        .execute(params![nanoseconds(end), after.session])?;
                }
                // Nothing to carry where nothing was ever recorded.
                if let Some(next) = next_line
                    && (known.is_some() || !moved.is_empty())
                {
                    put_taken(transaction, next, &cut.carry(after))?;
                }
                past::add(transaction, cut, layout)?;
                add_meters(&mut ended, layout, cut.meters.iter().copied());
                // Its lines are others' from now on.
                for table in ["taken", "closing", "ended"] {
                    transaction
                        .prepare_cached(&format!("DELETE FROM {table} WHERE line = ?1"))?
                        .execute([cut.line])?;
                }
            }
        }
    }
    past::add_sums(transaction, &ended)?;
    seal.close(transaction)?;
    Ok(wrong)
}

fn put_usage(
    transaction: &Transaction<'_>,
    usage: &WrittenUsage<'_>,
    session: i64,
    terms: i64,
    gap: Option<i64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            usage.seq,
            usage.records,
            session,
            usage.session_seq,
            terms,
            usage.cause,
            usage.suspended,
            usage.start,
            usage.ended,
            usage.last,
            usage.active,
            usage.peak_up,
            usage.peak_down,
            usage.meters,
            gap,
            usage.clock,
        ])
        .map(drop)
}

/// SQLite's numbers have a sign.
fn rate(bits_a_second: u64) -> i64 {
    i64::try_from(bits_a_second).unwrap_or(i64::MAX)
}

/// The number of a cut's session, which is noted when there is something to be said of it.
fn session(transaction: &Transaction<'_>, cut: &Cut, epoch: i64) -> rusqlite::Result<i64> {
    let put = "INSERT INTO session (epoch, session, subscriber, start, addresses) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT DO NOTHING";
    transaction.prepare_cached(put)?.execute(params![
        epoch,
        cut.session,
        &*cut.subscriber,
        nanoseconds(cut.session_start),
        addresses(&cut.addresses),
    ])?;
    transaction
        .prepare_cached("SELECT number FROM session WHERE epoch = ?1 AND session = ?2")?
        .query_row(params![epoch, cut.session], |row| row.get(0))
}

pub(super) struct Unreadable;

/// What was taken of the row at a line.
pub(super) fn taken(
    connection: &Connection,
    line: u32,
) -> rusqlite::Result<std::result::Result<Option<Taken>, Unreadable>> {
    let found = connection
        .prepare_cached("SELECT * FROM taken WHERE line = ?1")?
        .query_row([line], taken_of)
        .optional()?;
    Ok(found.transpose())
}

/// What a row of the table `taken` says.
pub(super) fn taken_of(
    row: &rusqlite::Row<'_>,
) -> rusqlite::Result<std::result::Result<Taken, Unreadable>> {
    let carried = match row.get_ref(9)?.as_str_or_null()? {
        None => Some(Vec::new()),
        Some(text) => serde_json::from_str::<Vec<Carried>>(text).ok(),
    };
    let mut counters = Vec::new();
    let read = codec::counters(row.get_ref(8)?.as_blob()?, &mut counters);
    let (Some(carried), Some(())) = (carried, read) else {
        return Ok(Err(Unreadable));
    };
    Ok(Ok(Taken {
        session: row.get(1)?,
        session_seq: row.get::<_, i64>(2)? as u64,
        ended: timestamp(row.get(3)?),
        last: timestamp(row.get(4)?),
        active: row.get::<_, i64>(5)? as u64,
        peak_up_bps: row.get::<_, i64>(6)? as u64,
        peak_down_bps: row.get::<_, i64>(7)? as u64,
        counters,
        carried,
    }))
}

fn put_taken(transaction: &Transaction<'_>, line: u32, taken: &Taken) -> rusqlite::Result<()> {
    let carried = match &*taken.carried {
        [] => None,
        carried => Some(to_json(&carried)?),
    };
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO taken VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            line,
            taken.session,
            taken.session_seq as i64,
            nanoseconds(taken.ended),
            nanoseconds(taken.last),
            taken.active as i64,
            rate(taken.peak_up_bps),
            rate(taken.peak_down_bps),
            codec::put_counters(&taken.counters),
            carried,
        ])
        .map(drop)
}

/// The number of the next record, of whatever kind.
pub(in crate::ledger) fn next_seq(connection: &Connection) -> rusqlite::Result<i64> {
    let last = "SELECT max(coalesce((SELECT max(seq) FROM record), 0),
        coalesce((SELECT seq + records - 1 FROM usage ORDER BY seq DESC LIMIT 1), 0),
        coalesce((SELECT seq + records - 1 FROM endowment ORDER BY seq DESC LIMIT 1), 0),
        coalesce((SELECT last FROM batch ORDER BY first DESC LIMIT 1), 0))";
    let last: i64 = connection.query_row(last, [], |row| row.get(0))?;
    Ok(last.max(sealed::through(connection)?) + 1)
}
