//! Gaps: what is known to have been counted, perhaps, and to be in no record. Declared where counters were lost with a
//! machine, and where one stands below what was recorded of it.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::super::accounts::{nanoseconds, timestamp};
use super::super::records::{Entry, What, append};
use super::write::SEEN;
use super::{Gap, GapReason, OF_AN_EPOCH};

/// Ends what is known of the counters of an epoch that is over: its sessions, with the last moment at which an agent is
/// known to have looked.
/// What was counted after that is in no record: a gap until `now`, which is recorded, and named by the next record of each of
/// these subscribers.
pub(in crate::ledger) fn end_epoch(
    transaction: &Transaction<'_>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let number = |name: &str| {
        let find = "SELECT value FROM number WHERE name = ?1";
        let found = transaction.query_row(find, [name], |row| row.get::<_, i64>(0));
        found.optional()
    };
    let Some(epoch) = number("epoch")? else {
        return Ok(());
    };
    let seen = number(SEEN)?;
    let gap = lost(transaction, epoch, seen, now)?;
    let seen = seen.unwrap_or(0);
    transaction.execute(
        "INSERT INTO session (epoch, session, subscriber, start, addresses)
         SELECT ?1, session, id, start, addresses FROM subscriber WHERE session IS NOT NULL
         ON CONFLICT DO NOTHING",
        [epoch],
    )?;
    transaction.execute(
        "UPDATE session SET lost = ?3, ended = max(start, ?2,
             coalesce((SELECT max(ended) FROM usage WHERE usage.session = session.number), 0))
         WHERE epoch = ?1 AND ended IS NULL",
        params![epoch, seen, gap],
    )?;
    for table in OF_AN_EPOCH {
        transaction.execute(&format!("DELETE FROM {table}"), [])?;
    }
    Ok(())
}

/// Declares what the counters of an epoch counted and no record has, if anybody had a session.
fn lost(
    transaction: &Transaction<'_>,
    epoch: i64,
    seen: Option<i64>,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let first = "SELECT min(start) FROM subscriber WHERE session IS NOT NULL";
    let first: Option<i64> = transaction.query_row(first, [], |row| row.get(0))?;
    let Some(first) = first else {
        return Ok(None);
    };
    let gap = Gap {
        from: timestamp(seen.unwrap_or(first)).min(now),
        to: now,
        reason: GapReason::CountersLost,
    };
    let entry = Entry {
        kind: "gap".to_owned(),
        subscriber: String::new(),
        id: None,
        reason: Some(gap.reason.as_str().to_owned()),
        what: What::Gap {
            from: gap.from,
            to: gap.to,
            epoch: format!("{epoch:016x}"),
        },
    };
    append(transaction, &[entry], now)?;
    Ok(Some(put_gap(transaction, gap)?.0))
}

/// Notes a gap: its number, and itself.
pub(super) fn put_gap(transaction: &Transaction<'_>, gap: Gap) -> rusqlite::Result<(i64, Gap)> {
    transaction
        .prepare_cached("INSERT INTO gap (start, ended, reason) VALUES (?1, ?2, ?3)")?
        .execute(params![
            nanoseconds(gap.from),
            nanoseconds(gap.to),
            gap.reason.as_str()
        ])?;
    Ok((transaction.last_insert_rowid(), gap))
}

/// The gap a subscriber's first session of an epoch begins with: its latest one did not end, its counters did.
pub(super) fn lost_before(
    transaction: &Transaction<'_>,
    subscriber: &str,
) -> rusqlite::Result<Option<(i64, Gap)>> {
    let find = "SELECT gap.number, gap.start, gap.ended, gap.reason FROM gap WHERE number =
        (SELECT lost FROM session WHERE subscriber = ?1 ORDER BY number DESC LIMIT 1)";
    transaction
        .prepare_cached(find)?
        .query_row([subscriber], |row| {
            let reason = row.get_ref(3)?.as_str()?;
            let gap = gap_of(row.get(1)?, row.get(2)?, reason);
            let gap = gap.ok_or(rusqlite::Error::InvalidParameterName(format!(
                "the reason `{reason}` of a gap"
            )))?;
            Ok((row.get(0)?, gap))
        })
        .optional()
}

/// A gap as it is stored; `None` where its reason is none.
pub(super) fn gap_of(start: i64, ended: i64, reason: &str) -> Option<Gap> {
    Some(Gap {
        from: timestamp(start),
        to: timestamp(ended),
        reason: GapReason::of(reason)?,
    })
}

#[cfg(test)]
mod tests;
