//! All records in their order, as they are stored: for those who seal, verify and move them.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, Row, Statement};

use super::chain::{self, Hash, Written, WrittenUsage};
use super::{LedgerError, failed};

/// What a row of the table `usage` refers to, besides what is in its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose {
    /// Number of the session in the ledger.
    pub(super) session: i64,
    /// Its epoch.
    pub(super) epoch: i64,
    /// Number of the terms.
    pub(super) terms: i64,
}

const USAGE: &str = "
SELECT usage.seq, usage.records, usage.session_seq, usage.cause, usage.suspended, usage.start, usage.ended, usage.last,
    usage.active, usage.peak_up, usage.peak_down, usage.meters, usage.clock, usage.session, usage.terms, usage.gap,
    session.epoch, session.session, session.subscriber, session.addresses, gap.start, gap.ended, gap.reason
FROM usage LEFT JOIN session ON session.number = usage.session LEFT JOIN gap ON gap.number = usage.gap
WHERE usage.seq > ?1 AND usage.seq <= ?2 ORDER BY usage.seq";

const ENDOWMENTS: &str = "SELECT seq, records, time, content, subscribers FROM endowment
WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";

const RECORDS: &str = "SELECT seq, time, content, subscriber, kind FROM record
WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";

/// Gives all records behind a number, until another, to `each`, in the order of their numbers; those of usage with whose they are, others with
/// what they are found under.
pub(super) fn walk<E: From<LedgerError>>(
    connection: &Connection,
    path: &Path,
    (after, last): (i64, i64),
    mut each: impl FnMut(Written<'_>, Reference<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let sql = |error| E::from(failed(path)(error));
    let mut usage = connection.prepare(USAGE).map_err(sql)?;
    let mut records = connection.prepare(RECORDS).map_err(sql)?;
    let mut endowments = connection.prepare(ENDOWMENTS).map_err(sql)?;
    let mut terms = Terms::new(connection).map_err(sql)?;
    let mut usage = usage.query([after, last]).map_err(sql)?;
    let mut records = records.query([after, last]).map_err(sql)?;
    let mut endowments = endowments.query([after, last]).map_err(sql)?;
    let seq = |row: &Option<&Row<'_>>| {
        let seq = row.map(|row| row.get::<_, i64>(0)).transpose();
        // What is not there comes last.
        seq.map(|seq| seq.unwrap_or(i64::MAX)).map_err(sql)
    };
    let mut next_usage = usage.next().map_err(sql)?;
    let mut next_record = records.next().map_err(sql)?;
    let mut next_endowment = endowments.next().map_err(sql)?;
    loop {
        let (of_usage, of_record) = (seq(&next_usage)?, seq(&next_record)?);
        let of_endowment = seq(&next_endowment)?;
        let least = of_usage.min(of_record).min(of_endowment);
        match (next_usage, next_record, next_endowment) {
            (Some(row), _, _) if of_usage == least => {
                one_usage(row, path, &mut terms, &mut each)?;
                next_usage = usage.next().map_err(sql)?;
            }
            (_, Some(row), _) if of_record == least => {
                let read = (|| {
                    let written = Written::Other {
                        seq: row.get(0)?,
                        time: row.get(1)?,
                        content: row.get_ref(2)?.as_str()?,
                    };
                    let under = Reference::Under {
                        subscriber: row.get_ref(3)?.as_str()?,
                        kind: row.get_ref(4)?.as_str()?,
                    };
                    Ok((written, under))
                })();
                let (written, under) = read.map_err(sql)?;
                each(written, under)?;
                next_record = records.next().map_err(sql)?;
            }
            (_, _, Some(row)) => {
                let read = (|| {
                    Ok(Written::Endowment {
                        seq: row.get(0)?,
                        records: row.get(1)?,
                        time: row.get(2)?,
                        content: row.get_ref(3)?.as_str()?,
                        subscribers: row.get_ref(4)?.as_str()?,
                    })
                })();
                each(read.map_err(sql)?, Reference::Nothing)?;
                next_endowment = endowments.next().map_err(sql)?;
            }
            _ => return Ok(()),
        }
    }
}

/// What is beside a record, and not in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reference<'a> {
    /// Of usage.
    Whose(Whose),
    /// Of any other kind: what it is found under.
    Under {
        /// Id of the subscriber.
        subscriber: &'a str,
        kind: &'a str,
    },
    /// Of first grants of many.
    Nothing,
}

fn one_usage<E: From<LedgerError>>(
    row: &Row<'_>,
    path: &Path,
    terms: &mut Terms<'_>,
    each: &mut impl FnMut(Written<'_>, Reference<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let sql = |error| E::from(failed(path)(error));
    let damaged = |what: String| LedgerError::Damaged {
        path: path.to_owned(),
        what,
    };
    let seq: i64 = row.get(0).map_err(sql)?;
    let (session, number): (i64, i64) = (|| Ok((row.get(13)?, row.get(14)?)))().map_err(sql)?;
    let epoch: Option<i64> = row.get(16).map_err(sql)?;
    let epoch = epoch.ok_or_else(|| {
        damaged(format!(
            "usage record {seq} is of session {session}, which is not there"
        ))
    })?;
    let hash = terms.hash(number).map_err(sql)?;
    let hash = hash.ok_or_else(|| {
        damaged(format!(
            "usage record {seq} is under the terms {number}, which are not there"
        ))
    })?;
    let read = || {
        let gap: Option<i64> = row.get(15)?;
        let gap = match gap {
            None => None,
            Some(_) => Some((row.get(20)?, row.get(21)?, row.get_ref(22)?.as_str()?)),
        };
        Ok(WrittenUsage {
            seq,
            records: row.get(1)?,
            session_seq: row.get(2)?,
            cause: row.get(3)?,
            suspended: row.get(4)?,
            start: row.get(5)?,
            ended: row.get(6)?,
            last: row.get(7)?,
            active: row.get(8)?,
            peak_up: row.get(9)?,
            peak_down: row.get(10)?,
            meters: row.get_ref(11)?.as_blob()?,
            clock: row.get(12)?,
            session: row.get(17)?,
            subscriber: row.get_ref(18)?.as_str()?,
            addresses: row.get_ref(19)?.as_str()?,
            terms: hash,
            gap,
        })
    };
    let usage = read().map_err(sql)?;
    let whose = Whose {
        session,
        epoch,
        terms: number,
    };
    each(Written::Usage(&usage), Reference::Whose(whose))
}

/// Hashes of terms by number.
struct Terms<'a> {
    find: Statement<'a>,
    known: HashMap<i64, Hash>,
}

impl<'a> Terms<'a> {
    fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            find: connection.prepare("SELECT content FROM terms WHERE number = ?1")?,
            known: HashMap::new(),
        })
    }

    fn hash(&mut self, number: i64) -> rusqlite::Result<Option<Hash>> {
        if let Some(hash) = self.known.get(&number) {
            return Ok(Some(*hash));
        }
        let mut rows = self.find.query([number])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let hash = chain::hash(row.get_ref(0)?.as_str()?);
        self.known.insert(number, hash);
        Ok(Some(hash))
    }
}
