//! Whether a ledger holds what was recorded: every number once, sums that are totals, a chain of hashes over all of it, and a
//! file without a page out of place. It reads all there is, as it stands at one moment, beside the agent or without one.

mod batches;
mod rollups;
mod sealed;

use std::collections::HashMap;

use classifier::layout::Meter;
use rusqlite::Rows;
use serde::Serialize;

use self::rollups::Rolled;
use super::chain::{self, Batch, Hash, Head, NOTHING, Seal, Written, WrittenUsage};
use super::endowments::Content;
use super::records::{Entry, What};
use super::usage::account::checked_plus;
use super::usage::{Cause, Terms, UsageRecord, codec};
use super::walk::{Reference, walk};
use super::{LedgerError, Reader, Result, failed};

/// Problems that are told one by one.
const TOLD: usize = 100;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// How many of them are in sealed files, and how many files there are.
    pub sealed_records: u64,
    /// Of these.
    pub sealed_files: u64,
    /// Records up to this number are in the roll-ups of hours and days, which were held against them.
    pub rolled_through: u64,
    /// Records up to this number were pruned; 0 where none ever was.
    pub pruned_until: u64,
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

    pub(super) fn add(&mut self, counted: &Meter) {
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
        let through = super::sealed::through(&self.connection).map_err(failed(&self.path))?;
        let pruned = super::sealed::pruned(&self.connection).map_err(failed(&self.path))?;
        let (pruned_until, chain) = pruned.map_or((0, NOTHING), |(last, chain, _)| (last, chain));
        let query = "SELECT first, last, content, chain FROM batch WHERE first > ?1 ORDER BY first";
        let mut batches = self.connection.prepare(query).map_err(failed(&self.path))?;
        let mut found = Found {
            reader: self,
            rows: batches.query([through]).map_err(failed(&self.path))?,
            batch: None,
            batches: 0,
            seal: None,
            chain,
            noted,
            next: pruned_until + 1,
            pruned: pruned.map(|(last, chain, _)| (last, chain)),
            torn: pruned.is_some(),
            epoch: None,
            terms: HashMap::new(),
            labels: HashMap::new(),
            sessions: HashMap::new(),
            sums: Sums::default(),
            rolled: Rolled::of(self)?,
            problems: Vec::new(),
            found: 0,
        };
        found.look_at_pages()?;
        found.begin_behind_pruned();
        let (sealed_files, sealed_records) = found.look_at_sealed()?;
        found.next_batch()?;
        let path = &self.path;
        walk(
            &self.connection,
            path,
            (through, i64::MAX),
            |written, reference| found.look_at(&written, reference),
        )?;
        found.end()?;
        for wrong in found.rolled.end(self)? {
            found.problem(wrong);
        }
        let verified = Verified {
            records: (found.next - 1 - pruned_until).unsigned_abs(),
            sealed_records,
            sealed_files,
            rolled_through: self.rolled()?.through,
            pruned_until: pruned_until.unsigned_abs(),
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

/// What is known of a session that may have more records.
struct Session {
    session_seq: i64,
    /// Its first records are not there: where its totals begin is not known.
    begins_late: bool,
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
    /// The last record that was pruned, and the chain until there, as long as no record says so.
    pruned: Option<(i64, Hash)>,
    /// Some records are not there, for whatever reason: sessions may begin with any of theirs.
    torn: bool,
    epoch: Option<i64>,
    /// What the meters of terms count, by their hash: numbers of labels, and the epoch.
    terms: HashMap<Hash, (Vec<usize>, Option<i64>)>,
    labels: HashMap<(String, String), usize>,
    sessions: HashMap<i64, Session>,
    sums: Sums,
    rolled: Rolled,
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

    /// A row of the database.
    fn look_at(&mut self, written: &Written<'_>, reference: Reference<'_>) -> Result<()> {
        let seq = written.seq();
        self.look_at_number(seq);
        match (written, reference) {
            (Written::Usage(usage), Reference::Whose(whose)) => {
                if !self.terms.contains_key(&usage.terms) {
                    match self.reader.terms(whose.terms) {
                        Ok(terms) => self.learn(usage.terms, terms),
                        // Told by each record that refers to them.
                        Err(LedgerError::Damaged { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                self.look_at_usage(usage, whose.session, whose.epoch);
            }
            (Written::Other { content, .. }, Reference::Under { subscriber, kind }) => {
                if let Some(entry) = self.look_at_other(seq, content) {
                    for (is, under) in [(&entry.subscriber, subscriber), (&entry.kind, kind)] {
                        if is != under {
                            self.problem(format!(
                                "record {seq} is of `{is}`, and is found under `{under}`"
                            ));
                        }
                    }
                }
            }
            _ => self.look_at_endowment(written),
        }
        self.look_at_batch(written)?;
        self.next = seq + written.records();
        Ok(())
    }

    fn look_at_number(&mut self, seq: i64) {
        if seq > self.next {
            let last = seq - 1;
            self.problem(format!("records {} to {last} are missing", self.next));
        } else if seq < self.next {
            self.problem(format!("record {seq} is there twice"));
        }
    }

    fn look_at_other(&mut self, seq: i64, content: &str) -> Option<Entry> {
        match serde_json::from_str::<Entry>(content) {
            Ok(entry) => {
                self.look_for_pruning(&entry);
                Some(entry)
            }
            Err(error) => {
                self.problem(format!("record {seq} cannot be read: {error}"));
                None
            }
        }
    }

    fn look_at_endowment(&mut self, written: &Written<'_>) {
        let Written::Endowment {
            seq,
            records,
            content,
            subscribers,
            ..
        } = written
        else {
            return;
        };
        match serde_json::from_str::<Content>(content) {
            Ok(content) => {
                let found = content.grants.len() * subscribers.split('\n').count();
                if found as i64 != *records {
                    self.problem(format!(
                        "record {seq} says that it is {records} records, and is {found}"
                    ));
                }
            }
            Err(error) => self.problem(format!("record {seq} cannot be read: {error}")),
        }
    }

    fn look_at_usage(&mut self, usage: &WrittenUsage<'_>, number: i64, epoch: i64) {
        let seq = usage.seq;
        let Some(moved) = codec::moved(usage.meters) else {
            return self.problem(format!("record {seq} cannot be read"));
        };
        self.rolled.add(usage, &moved);
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
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.sessions.clear();
        }
        let Some((labels, _)) = self.terms.get(&usage.terms) else {
            return self.problem(format!("record {seq}: its terms cannot be read"));
        };
        let torn = self.torn;
        let session = self.sessions.entry(number).or_insert_with(|| {
            let begins_late = torn && usage.session_seq > 1;
            Session {
                session_seq: if begins_late { usage.session_seq } else { 1 },
                begins_late,
                totals: HashMap::new(),
            }
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
            let before = session.totals.insert(*label, moved.total);
            let before = before.or((!session.begins_late).then(Meter::default));
            let sum = before.map(|before| checked_plus(&before, &moved.delta));
            if sum.is_some_and(|sum| sum != Some(moved.total)) {
                problems.push(format!(
                    "record {seq}: the records of its meter in session {} of `{}` do not add up to its total",
                    usage.session, usage.subscriber
                ));
            }
            self.sums.add(&moved.delta);
        }
        let cause = u8::try_from(usage.cause).ok().and_then(Cause::of_number);
        match cause {
            None => problems.push(format!("record {seq} has no cause there is")),
            Some(cause) if cause.is_final() => _ = self.sessions.remove(&number),
            Some(_) => {}
        }
        for problem in problems {
            self.problem(problem);
        }
    }

    /// Numbers what the meters of terms count, which are the same where class and charge are.
    fn learn(&mut self, hash: Hash, terms: Terms) {
        self.rolled.learn(hash, &terms);
        let epoch = u64::from_str_radix(&terms.epoch, 16);
        let epoch = epoch.ok().map(|epoch| epoch as i64);
        let labels = terms.meters.into_iter().map(|label| {
            let new = self.labels.len();
            *self
                .labels
                .entry((label.class, label.charged))
                .or_insert(new)
        });
        let labels = labels.collect();
        self.terms.insert(hash, (labels, epoch));
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
        if let Some((last, _)) = self.pruned {
            self.problem(format!(
                "records until {last} are gone, and no record says that they were pruned"
            ));
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
            // What is not there is not held against it.
            let late = recorded.as_ref().map_or(self.torn, |session| session.begins_late);
            let totals = recorded.as_ref().map(|session| {
                let mut totals = session.totals.values();
                totals.try_fold(Meter::default(), |sum, total| checked_plus(&sum, total))
            });
            let session_seq = recorded.map(|session| session.session_seq);
            let sums_differ = !late && totals.unwrap_or(Some(Meter::default())) != taken.sum();
            let expected = taken.session_seq as i64 + 1;
            let numbers_differ = match session_seq {
                Some(session_seq) => session_seq != expected,
                None => !late && expected != 1,
            };
            if sums_differ || numbers_differ {
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
