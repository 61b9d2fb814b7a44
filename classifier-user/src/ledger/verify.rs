//! Whether a ledger holds what was recorded: every number once, sums that are totals, a chain of hashes over all of it, and a
//! file without a page out of place. It reads all there is, as it stands at one moment, beside the agent or without one.

mod batches;

use std::collections::HashMap;

use classifier::layout::Meter;
use rusqlite::Rows;
use serde::Serialize;

use super::chain::{self, Hash, Head, NOTHING, Seal, Written, WrittenUsage};
use super::endowments::Content;
use super::records::Entry;
use super::usage::account::checked_plus;
use super::usage::{Cause, UsageRecord, codec};
use super::walk::{Reference, Whose, walk};
use super::{LedgerError, Reader, Result, failed};

/// Problems that are told one by one.
const TOLD: usize = 100;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// How many batches they were written in.
    pub batches: u64,
    /// Number of the last record and hash over all of them, `SEQ:HASH`; `null` where there are none.
    pub head: Option<String>,
    /// Sums over all usage records.
    pub sums: Sums,
    /// What is wrong, each with the number of the record it was found at: the first hundred.
    pub problems: Vec<String>,
    /// How many problems there are.
    pub found: usize,
}

/// Sums over usage records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sums {
    /// IP bytes sent.
    pub bytes_up: u128,
    /// IP bytes received.
    pub bytes_down: u128,
    /// Packets sent.
    pub packets_up: u128,
    /// Packets received.
    pub packets_down: u128,
}

impl Sums {
    /// Adds what a record counts.
    pub fn add_record(&mut self, record: &UsageRecord) {
        self.add(&Meter {
            bytes_up: record.bytes_up,
            packets_up: record.packets_up,
            bytes_down: record.bytes_down,
            packets_down: record.packets_down,
        });
    }

    fn add(&mut self, counted: &Meter) {
        self.bytes_up += u128::from(counted.bytes_up);
        self.bytes_down += u128::from(counted.bytes_down);
        self.packets_up += u128::from(counted.packets_up);
        self.packets_down += u128::from(counted.packets_down);
    }
}

impl Reader {
    /// Looks at everything. With `noted`, a head that was printed before, also whether that is still one of this chain.
    ///
    /// # Errors
    /// When the file cannot be read, or holds what no record can.
    pub fn verify(&self, noted: Option<Head>) -> Result<Verified> {
        // One moment for all questions.
        let moment = self
            .connection
            .unchecked_transaction()
            .map_err(failed(&self.path))?;
        let query = "SELECT first, last, content, chain FROM batch ORDER BY first";
        let mut batches = self.connection.prepare(query).map_err(failed(&self.path))?;
        let mut found = Found {
            reader: self,
            rows: batches.query([]).map_err(failed(&self.path))?,
            batch: None,
            batches: 0,
            seal: None,
            chain: NOTHING,
            noted,
            next: 1,
            epoch: None,
            terms: HashMap::new(),
            labels: HashMap::new(),
            sessions: HashMap::new(),
            sums: Sums::default(),
            problems: Vec::new(),
            found: 0,
        };
        found.next_batch()?;
        found.look_at_pages()?;
        walk(&self.connection, &self.path, |written, reference| {
            found.look_at(&written, reference)
        })?;
        found.end()?;
        let verified = Verified {
            records: found.next as u64 - 1,
            batches: found.batches,
            head: self.head()?.map(|head| head.to_string()),
            sums: found.sums,
            problems: found.problems,
            found: found.found,
        };
        drop(found.rows);
        drop(moment);
        Ok(verified)
    }

    /// The head of the chain; `None` where nothing is recorded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head(&self) -> Result<Option<Head>> {
        let head = chain::head(&self.connection).map_err(failed(&self.path))?;
        Ok(head.map(|(seq, hash)| Head {
            seq: seq as u64,
            hash,
        }))
    }
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    first: i64,
    last: i64,
    content: Hash,
    chain: Hash,
}

/// What is known of a session that may have more records.
struct Session {
    session_seq: i64,
    /// By number of the label.
    totals: HashMap<usize, Meter>,
}

/// What has been found so far.
struct Found<'a> {
    reader: &'a Reader,
    /// Batches that come,
    rows: Rows<'a>,
    /// the one that is next,
    batch: Option<Batch>,
    /// what of it has been read,
    seal: Option<Seal>,
    /// and how many have come.
    batches: u64,
    chain: Hash,
    /// A head that was noted, until the batch that ends with it.
    noted: Option<Head>,
    next: i64,
    epoch: Option<i64>,
    /// Numbers of the labels of terms.
    terms: HashMap<i64, Vec<usize>>,
    labels: HashMap<(String, String), usize>,
    sessions: HashMap<i64, Session>,
    sums: Sums,
    problems: Vec<String>,
    found: usize,
}

impl Found<'_> {
    fn problem(&mut self, what: String) {
        self.found += 1;
        if self.problems.len() < TOLD {
            self.problems.push(what);
        }
    }

    fn look_at_pages(&mut self) -> Result<()> {
        let query = format!("PRAGMA integrity_check({TOLD})");
        for said in self.reader.rows(&query, |row| row.get::<_, String>(0))? {
            if said != "ok" {
                self.problem(format!("the file is damaged: {said}"));
            }
        }
        Ok(())
    }

    fn look_at(&mut self, written: &Written<'_>, reference: Reference<'_>) -> Result<()> {
        let seq = written.seq();
        if seq > self.next {
            let last = seq - 1;
            self.problem(format!("records {} to {last} are missing", self.next));
        } else if seq < self.next {
            self.problem(format!("record {seq} is there twice"));
        }
        match (written, reference) {
            (Written::Usage(usage), Reference::Whose(whose)) => self.look_at_usage(usage, whose)?,
            (Written::Other { content, .. }, Reference::Subscriber(subscriber)) => {
                match serde_json::from_str::<Entry>(content) {
                    Ok(entry) if entry.subscriber == subscriber => {}
                    Ok(entry) => self.problem(format!(
                        "record {seq} is of `{}`, and is found under `{subscriber}`",
                        entry.subscriber
                    )),
                    Err(error) => self.problem(format!("record {seq} cannot be read: {error}")),
                }
            }
            (
                Written::Endowment {
                    records,
                    content,
                    subscribers,
                    ..
                },
                Reference::Nothing,
            ) => match serde_json::from_str::<Content>(content) {
                Ok(content) => {
                    let found = content.grants.len() * subscribers.split('\n').count();
                    if found as i64 != *records {
                        self.problem(format!(
                            "record {seq} says that it is {records} records, and is {found}"
                        ));
                    }
                }
                Err(error) => self.problem(format!("record {seq} cannot be read: {error}")),
            },
            _ => unreachable!("each kind comes with its own"),
        }
        self.look_at_batch(written)?;
        self.next = seq + written.records();
        Ok(())
    }

    fn look_at_usage(&mut self, usage: &WrittenUsage<'_>, whose: Whose) -> Result<()> {
        let seq = usage.seq;
        let Some(moved) = codec::moved(usage.meters) else {
            self.problem(format!("record {seq} cannot be read"));
            return Ok(());
        };
        if moved.len() as i64 != usage.records {
            let n = moved.len();
            self.problem(format!(
                "record {seq} says that it is {} records, and is {n}",
                usage.records
            ));
        }
        if usage.start > usage.ended {
            self.problem(format!("record {seq} ends before it begins"));
        }
        // Sessions of counters that are gone have no further records.
        if self.epoch != Some(whose.epoch) {
            self.epoch = Some(whose.epoch);
            self.sessions.clear();
        }
        let Ok(labels) = self.labels_of(whose.terms)? else {
            self.problem(format!(
                "record {seq}: the terms {} cannot be read",
                whose.terms
            ));
            return Ok(());
        };
        let session = self.sessions.entry(whose.session).or_insert(Session {
            session_seq: 1,
            totals: HashMap::new(),
        });
        let mut problems = Vec::new();
        if usage.session_seq != session.session_seq {
            problems.push(format!(
                "record {seq} is number {} of session {} of `{}`, and number {} is next",
                usage.session_seq, usage.session, usage.subscriber, session.session_seq
            ));
        }
        session.session_seq = usage.session_seq + moved.len() as i64;
        for (seq, moved) in (seq..).zip(&moved) {
            let Some(label) = labels.get(moved.meter) else {
                problems.push(format!(
                    "record {seq} is of a meter that its terms do not have"
                ));
                continue;
            };
            let total = session.totals.entry(*label).or_default();
            let sum = checked_plus(total, &moved.delta);
            if sum != Some(moved.total) {
                problems.push(format!(
                    "record {seq}: the records of its meter in session {} of `{}` do not add up to its total",
                    usage.session, usage.subscriber
                ));
            }
            *total = moved.total;
            self.sums.add(&moved.delta);
        }
        let cause = u8::try_from(usage.cause).ok().and_then(Cause::of_number);
        match cause {
            None => problems.push(format!("record {seq} has no cause there is")),
            Some(cause) if cause.is_final() => _ = self.sessions.remove(&whose.session),
            Some(_) => {}
        }
        for problem in problems {
            self.problem(problem);
        }
        Ok(())
    }

    /// Numbers of what the meters of terms count, which are the same where class and charge are.
    fn labels_of(&mut self, number: i64) -> Result<std::result::Result<Vec<usize>, LedgerError>> {
        if let Some(labels) = self.terms.get(&number) {
            return Ok(Ok(labels.clone()));
        }
        let terms = match self.reader.terms(number) {
            Ok(terms) => terms,
            Err(error @ LedgerError::Damaged { .. }) => return Ok(Err(error)),
            Err(error) => return Err(error),
        };
        let labels: Vec<usize> = terms
            .meters
            .into_iter()
            .map(|label| {
                let new = self.labels.len();
                *self
                    .labels
                    .entry((label.class, label.charged))
                    .or_insert(new)
            })
            .collect();
        self.terms.insert(number, labels.clone());
        Ok(Ok(labels))
    }

    /// What there is to be said when all records have been read.
    fn end(&mut self) -> Result<()> {
        while let Some(batch) = self.batch {
            let Batch { first, last, .. } = batch;
            if last >= self.next {
                let first = first.max(self.next);
                self.problem(format!("records {first} to {last} are missing"));
                self.next = last + 1;
            }
            self.end_of_batch(batch)?;
        }
        if let Some(noted) = self.noted {
            self.problem(format!(
                "there is no batch that ends with record {}, and the head {noted} was noted",
                noted.seq
            ));
        }
        // Of the counters that are there, what has been taken is what records say.
        let reader = self.reader;
        reader.each_taken(|line, taken| {
            // Known of it is what rows before it counted, and nothing is recorded.
            if taken.session == 0 {
                return;
            }
            let recorded = self.sessions.remove(&taken.session);
            let totals = recorded.as_ref().map(|session| {
                let mut totals = session.totals.values();
                totals.try_fold(Meter::default(), |sum, total| checked_plus(&sum, total))
            });
            let session_seq = recorded.map_or(1, |session| session.session_seq);
            if totals.unwrap_or(Some(Meter::default())) != taken.sum() || session_seq - 1 != taken.session_seq as i64 {
                self.problem(format!(
                    "what was taken of the row at line {line} is not what the records of its session say"
                ));
            }
        })?;
        let current = reader.number("epoch")?.map(|epoch| epoch as i64);
        if self.epoch == current {
            let mut left: Vec<i64> = self.sessions.keys().copied().collect();
            left.sort_unstable();
            for session in left {
                self.problem(format!("what was taken of session {session} is missing"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
