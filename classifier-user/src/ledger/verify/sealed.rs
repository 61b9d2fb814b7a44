//! Sealed files, held against what the ledger knows of them and against the chain; and what was pruned, against the record
//! that says so.

use rusqlite::{OptionalExtension as _, params};

use super::super::chain::{self, Seal, Written};
use super::super::records::Entry;
use super::super::sealed::check::summed;
use super::super::sealed::file::{Block, Opened};
use super::super::sealed::rows::{Item, Items};
use super::super::sealed::{PRUNE, Sealed};
use super::super::{Result, failed};
use super::{Found, What};

impl Found<'_> {
    /// A head that was noted of records that are gone can only be that of the last of them.
    pub(super) fn begin_behind_pruned(&mut self) {
        let Some((last, chain)) = self.pruned else {
            return;
        };
        let last = last.unsigned_abs();
        let Some(noted) = self.noted.take_if(|noted| noted.seq <= last) else {
            return;
        };
        if noted.seq < last {
            self.problem(format!(
                "records until {last} were pruned, and with them what the head {noted} was noted of"
            ));
        } else if noted.hash != chain {
            self.problem(format!(
                "what was recorded until {last}, and was pruned, is not what it was when the head {noted} was noted"
            ));
        }
    }

    /// Whether a record is the one that says what was pruned last.
    pub(super) fn look_for_pruning(&mut self, entry: &Entry) {
        let What::Prune {
            last_seq,
            chain,
            before,
            ..
        } = &entry.what
        else {
            return;
        };
        if entry.kind == PRUNE {
            self.rolled.prune(*before);
            self.pruned.take_if(|(last, until)| {
                last.unsigned_abs() == *last_seq && hex::encode(until) == **chain
            });
        }
    }

    /// Looks at all sealed files: how many there are, and how many records are in them.
    pub(super) fn look_at_sealed(&mut self) -> Result<(u64, u64)> {
        let files = self.reader.all_sealed()?;
        for file in &files {
            self.look_at_file(file)?;
        }
        let records = files.iter().map(Sealed::records).sum();
        Ok((files.len() as u64, records))
    }

    fn look_at_file(&mut self, sealed: &Sealed) -> Result<()> {
        let (first, last) = (sealed.first, sealed.last);
        self.look_at_number(first);
        if sealed.before != self.chain {
            self.problem(format!(
                "the chain is broken in front of record {first}, with which {} begins",
                sealed.file()
            ));
        }
        self.next = first;
        self.chain = sealed.before;
        let path = self.reader.place_of(sealed.file());
        let found = summed(&path).and_then(|sum| Ok((sum, Opened::open(&path)?)));
        match found {
            Ok(((size, hash), opened)) => {
                if (size, hash) != (sealed.size, sealed.sha256) {
                    let (now, then) = (hex::encode(hash), hex::encode(sealed.sha256));
                    self.problem_of(sealed, &format!("its hash is {now}, and was {then}"));
                }
                for block in &opened.blocks {
                    self.look_at_block(sealed, &opened, block)?;
                }
                if self.next != last + 1 {
                    let seq = last + 1;
                    self.look_at_number(seq);
                }
                if self.chain != sealed.after {
                    self.problem_of(sealed, "the chain is not what it was at its end");
                }
            }
            Err(error) => {
                self.problem_of(sealed, &format!("it cannot be read: {error}"));
                self.tear();
            }
        }
        self.seal = None;
        self.next = last + 1;
        self.chain = sealed.after;
        Ok(())
    }

    fn problem_of(&mut self, sealed: &Sealed, what: &str) {
        let path = self.reader.place_of(sealed.file());
        self.problem(format!(
            "records {} to {} are in {}: {what}",
            sealed.first,
            sealed.last,
            path.display()
        ));
    }

    /// Some records cannot be looked at. Nothing is said about sums that they are missing in.
    fn tear(&mut self) {
        self.torn = true;
        self.rolled.tear();
        self.sessions.clear();
        self.seal = None;
    }

    fn look_at_block(&mut self, sealed: &Sealed, opened: &Opened, block: &Block) -> Result<()> {
        let rows = match opened.read(block) {
            Ok(rows) => rows,
            Err(error) => {
                let (first, last) = (block.first, block.last);
                let what = format!("records {first} to {last} of it cannot be read: {error}");
                self.problem_of(sealed, &what);
                self.tear();
                self.next = last + 1;
                return Ok(());
            }
        };
        for item in Items::new(&rows) {
            match item {
                Some(item) => self.look_at_item(&item)?,
                None => {
                    self.problem_of(sealed, "a row of it cannot be read");
                    self.tear();
                    self.next = block.last + 1;
                }
            }
        }
        Ok(())
    }

    fn look_at_item(&mut self, item: &Item<'_>) -> Result<()> {
        match item {
            Item::Terms(content) => {
                let hash = chain::hash(content);
                if !self.terms.contains_key(&hash)
                    && let Ok(terms) = serde_json::from_str(content)
                {
                    self.learn(hash, terms);
                }
            }
            Item::Usage(usage) => {
                self.look_at_number(usage.seq);
                let epoch = self.terms.get(&usage.terms).and_then(|(_, epoch)| *epoch);
                let epoch = epoch.unwrap_or_default();
                let session = self.number_of_session(epoch, usage.session)?;
                self.look_at_usage(usage, session, epoch);
                self.seal_row(&Written::Usage(usage));
            }
            Item::Other(written) => {
                self.look_at_number(written.seq());
                match written {
                    Written::Other { seq, content, .. } => {
                        self.look_at_other(*seq, content);
                    }
                    _ => self.look_at_endowment(written),
                }
                self.seal_row(written);
            }
            Item::Batch(batch) => self.hold_against(*batch),
        }
        Ok(())
    }

    fn seal_row(&mut self, written: &Written<'_>) {
        let seq = written.seq();
        let seal = self.seal.get_or_insert_with(|| Seal::from(seq));
        seal.add(written);
        self.next = seq + written.records();
    }

    /// The number a session has in the ledger, by which records in the database know it.
    fn number_of_session(&self, epoch: i64, session: i64) -> Result<i64> {
        let find = "SELECT number FROM session WHERE epoch = ?1 AND session = ?2";
        let found = self
            .reader
            .connection
            .prepare_cached(find)
            .and_then(|mut find| {
                find.query_row(params![epoch, session], |row| row.get(0))
                    .optional()
            })
            .map_err(failed(&self.reader.path))?;
        // One that was over long ago has none any more, and needs none.
        Ok(found.unwrap_or(-1 - session))
    }
}
