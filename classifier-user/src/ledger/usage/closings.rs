//! Rows that end with a change: noted with it, so that their last records are written whoever lives to see them final.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Transaction, params};

use super::super::accounts::nanoseconds;
use super::read::addresses;
use super::{Cause, Closing};
use crate::accounts::{Accounts, Change};

/// Notes which rows end with a change: their last records are written when their counters are final.
pub(in crate::ledger) fn put_closings(
    transaction: &Transaction<'_>,
    before: &Accounts,
    change: &Change,
) -> rusqlite::Result<()> {
    if change.ended.is_empty() {
        return Ok(());
    }
    let serial = "SELECT coalesce((SELECT value FROM number WHERE name = 'serial'), 0)";
    let serial: i64 = transaction.query_row(serial, [], |row| row.get(0))?;
    let mut put = transaction.prepare(
        "INSERT OR REPLACE INTO closing VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for closing in closings(before, change) {
        put.execute(params![
            closing.line,
            closing.layout,
            nanoseconds(closing.row_start),
            &*closing.subscriber,
            closing.session,
            nanoseconds(closing.session_start),
            addresses(&closing.addresses),
            closing.suspended,
            nanoseconds(closing.at),
            closing.cause.number(),
            closing.next_line,
            serial,
        ])?;
    }
    Ok(())
}

/// The rows that end with a change, as they were before it.
pub(crate) fn closings(before: &Accounts, change: &Change) -> Vec<Closing> {
    if change.ended.is_empty() {
        return Vec::new();
    }
    let after: HashMap<&str, _> = change
        .subscribers
        .iter()
        .map(|(id, account)| (&**id, account.session.as_ref()))
        .collect();
    let closing = |ended: &crate::accounts::EndedRow| {
        let session = before
            .subscribers
            .get(&ended.subscriber)?
            .session
            .as_ref()?;
        let plan = |layout: u32| &change.catalog.layouts[layout as usize].plan;
        let (cause, next_line) = match after.get(&*ended.subscriber).copied().flatten() {
            None => (Cause::Leave, None),
            Some(next) if next.number != session.number => (Cause::Reassign, None),
            Some(next) if plan(next.row.layout) != plan(ended.row.layout) => {
                (Cause::Plan, Some(next.row.line))
            }
            // The plan is the same, and reaches what it did not before.
            Some(next) => (Cause::Policy, Some(next.row.line)),
        };
        Some(Closing {
            line: ended.row.line,
            layout: ended.row.layout,
            row_start: ended.row.start.time(),
            subscriber: Arc::clone(&ended.subscriber),
            session: session.number,
            session_start: session.start.time(),
            addresses: session.addresses.clone(),
            suspended: session.suspended,
            at: ended.end,
            cause,
            next_line,
            serial: None,
        })
    };
    change.ended.iter().filter_map(closing).collect()
}
