//! Sessions of a subscriber, as they are and were, and what was recorded of each.

use std::collections::HashMap;

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::Stored;
use super::read::prefixes;
use crate::ledger::accounts::{bound, timestamp};
use crate::ledger::{Reader, Result, failed, sealed};

/// A session that is, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastSession {
    /// Its number in the ledger.
    pub(super) number: i64,
    /// Epoch of its counters.
    pub epoch: u64,
    /// Its number in that epoch.
    pub session: u64,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; `None` while it runs, and until its end has been recorded.
    pub end: Option<Timestamp>,
    /// Its prefixes.
    pub addresses: Vec<IpNet>,
}

/// Records of a subscriber that are in sealed files, by epoch and number of their session.
#[derive(Debug, Default)]
pub struct SealedUsage {
    /// Number of the last record that was in such a file then.
    through: i64,
    records: HashMap<(u64, u64), Vec<Stored>>,
}

impl PastSession {
    /// One of which nothing is recorded.
    #[must_use]
    pub const fn unrecorded(
        epoch: u64,
        session: u64,
        start: Timestamp,
        end: Option<Timestamp>,
        addresses: Vec<IpNet>,
    ) -> Self {
        Self {
            number: 0,
            epoch,
            session,
            start,
            end,
            addresses,
        }
    }
}

impl Reader {
    /// Sessions of a subscriber of which something is recorded, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sessions_of(&self, subscriber: &str) -> Result<Vec<PastSession>> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT number, epoch, session, start, ended, addresses FROM session WHERE subscriber = ?1
                 ORDER BY number",
            )
            .map_err(failed(&self.path))?;
        let rows = statement
            .query_map([subscriber], |row| {
                let session = PastSession {
                    number: row.get(0)?,
                    epoch: row.get::<_, i64>(1)? as u64,
                    session: row.get::<_, i64>(2)? as u64,
                    start: timestamp(row.get(3)?),
                    end: row.get::<_, Option<i64>>(4)?.map(timestamp),
                    addresses: Vec::new(),
                };
                Ok((session, row.get::<_, String>(5)?))
            })
            .map_err(failed(&self.path))?;
        rows.map(|row| {
            let (session, addresses) = row.map_err(failed(&self.path))?;
            let addresses = self.understood(prefixes(&addresses))?;
            Ok(PastSession {
                addresses,
                ..session
            })
        })
        .collect()
    }

    /// What is in sealed files of a subscriber's records that end after a time and not after another. There may be years of
    /// them: whoever has little time for [`Self::sessions_with_usage`] asks this before.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sealed_usage(
        &self,
        subscriber: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<SealedUsage> {
        self.at_once(|state| {
            let mut sealed = SealedUsage::default();
            self.follow(&mut sealed, state, subscriber, (bound(from), bound(to)))?;
            Ok(sealed)
        })
    }

    /// Reads what was sealed since.
    fn follow(
        &self,
        sealed: &mut SealedUsage,
        state: &Connection,
        subscriber: &str,
        during: (i64, i64),
    ) -> Result<()> {
        let through = sealed::through(state).map_err(failed(&self.path))?;
        if through > sealed.through {
            let more = self.sealed_usage_of(subscriber, sealed.through, during)?;
            for (session, records) in more {
                sealed.records.entry(session).or_default().extend(records);
            }
            sealed.through = through;
        }
        Ok(())
    }

    /// The sessions, each with its records that end after a time and not after another, oldest first. `sealed` is what
    /// was found of them in sealed files, for the same subscriber and times.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sessions_with_usage(
        &self,
        subscriber: &str,
        from: Timestamp,
        to: Timestamp,
        mut sealed: SealedUsage,
    ) -> Result<Vec<(PastSession, Vec<Stored>)>> {
        let during = (bound(from), bound(to));
        self.at_once(|state| {
            self.follow(&mut sealed, state, subscriber, during)?;
            let sessions = self.sessions_of(subscriber)?;
            sessions
                .into_iter()
                .map(|session| {
                    let key = (session.epoch, session.session);
                    let mut records = sealed.records.remove(&key).unwrap_or_default();
                    records.extend(self.kept_usage_of(&session, during, sealed.through)?);
                    Ok((session, records))
                })
                .collect()
        })
    }

    /// Those of them that are in the database, behind a number.
    fn kept_usage_of(
        &self,
        session: &PastSession,
        (from, to): (i64, i64),
        through: i64,
    ) -> Result<Vec<Stored>> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT * FROM usage INDEXED BY usage_of_session
                 WHERE session = ?1 AND ended > ?2 AND ended <= ?3 AND seq > ?4 ORDER BY seq",
            )
            .map_err(failed(&self.path))?;
        let mut rows = statement
            .query(params![session.number, from, to, through])
            .map_err(failed(&self.path))?;
        let mut terms = HashMap::new();
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed(&self.path))? {
            found.push(self.stored(row, &mut terms)?);
        }
        Ok(found)
    }
}
