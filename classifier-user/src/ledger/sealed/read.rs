//! Reading records where they are sealed, as they were handed out before.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::accounts::timestamp;
use super::super::chain::{Hash, Written, WrittenUsage, hash};
use super::super::endowments;
use super::super::records::{Entry, Record};
use super::super::usage::{AnyRecord, Stored, Terms, Which};
use super::super::{LedgerError, Reader, Result};
use super::Sealed;
use super::file::{Key, Opened};
use super::rows::{Item, Items};

/// What is sought in sealed files.
#[derive(Debug, Clone, Copy)]
struct Sought<'a> {
    /// Behind this number,
    after: i64,
    /// in blocks in which something has any of these keys; in all of them where there are none,
    keys: &'a [Key<'a>],
    /// and in files that have something after the one time, and something not after the other.
    during: Option<(i64, i64)>,
}

/// Terms by their hash.
type KnownTerms = HashMap<Hash, Arc<Terms>>;

impl Reader {
    /// Records of usage and of other kinds, as [`Reader::all_records`] has them.
    pub(in crate::ledger) fn sealed_records(&self, which: Which<'_>) -> Result<Vec<AnyRecord>> {
        let usage = matches!(which.kind, None | Some("usage"));
        let others = which.kind != Some("usage");
        let keys: &[Key<'_>] = match (which.subscriber, which.kind) {
            (None, None | Some("usage")) => &[],
            (None, Some(kind)) => &[Key::Kind(kind)],
            (Some(id), None) => &[Key::UsageOf(id), Key::OthersOf(id)],
            (Some(id), Some("usage")) => &[Key::UsageOf(id)],
            (Some(id), Some(_)) => &[Key::OthersOf(id)],
        };
        let mut found = Vec::new();
        self.each_sealed(self.sought(which, keys), |item, terms| {
            match item {
                Item::Usage(row)
                    if usage && which.subscriber.is_none_or(|id| id == row.subscriber) =>
                {
                    let records = self.spelled_out_usage(row, terms)?;
                    let behind = records
                        .into_iter()
                        .filter(|record| record.seq > which.after);
                    found.extend(behind.map(|record| AnyRecord::Usage(Box::new(record))));
                }
                Item::Other(written) if others => {
                    let left = which.limit.saturating_sub(found.len());
                    let records = self.spelled_out(written, which, left)?;
                    found.extend(records.into_iter().map(AnyRecord::Other));
                }
                _ => {}
            }
            Ok(match found.len() < which.limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        found.truncate(which.limit);
        Ok(found)
    }

    /// Records other than usage.
    pub(in crate::ledger) fn sealed_others(&self, which: Which<'_>) -> Result<Vec<Record>> {
        let keys: &[Key<'_>] = match (which.subscriber, which.kind) {
            (None, None) => &[Key::Others],
            (None, Some(kind)) => &[Key::Kind(kind)],
            (Some(id), _) => &[Key::OthersOf(id)],
        };
        let mut found = Vec::new();
        self.each_sealed(self.sought(which, keys), |item, _| {
            if let Item::Other(written) = item {
                let left = which.limit.saturating_sub(found.len());
                found.extend(self.spelled_out(written, which, left)?);
            }
            Ok(match found.len() < which.limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        Ok(found)
    }

    /// Usage of a subscriber that ends after a time and not after another, by epoch and session, oldest first.
    pub(in crate::ledger) fn sealed_usage_of(
        &self,
        subscriber: &str,
        after: i64,
        (from, to): (i64, i64),
    ) -> Result<HashMap<(u64, u64), Vec<Stored>>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        let sought = Sought {
            after,
            keys: &[Key::UsageOf(subscriber)],
            during: Some((from, to)),
        };
        self.each_sealed(sought, |item, terms| {
            if let Item::Usage(row) = item
                && row.subscriber == subscriber
                && row.ended > from
                && row.ended <= to
            {
                let stored = self.stored_usage(row, terms)?;
                let epoch = u64::from_str_radix(&stored.terms.epoch, 16);
                let session = (self.understood(epoch)?, row.session as u64);
                found.entry(session).or_default().push(stored);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Usage behind a number, oldest first, until `each` has enough.
    pub(in crate::ledger) fn sealed_usage_behind(
        &self,
        after: i64,
        mut each: impl FnMut(&WrittenUsage<'_>, &Arc<Terms>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let sought = Sought {
            after,
            keys: &[],
            during: None,
        };
        self.each_sealed(sought, |item, terms| match item {
            Item::Usage(row) => match terms.get(&row.terms) {
                Some(terms) => each(row, terms),
                None => {
                    let seq = row.seq;
                    Err(self.damaged(format!(
                        "usage record {seq} is under terms that are not there"
                    )))
                }
            },
            _ => Ok(ControlFlow::Continue(())),
        })
    }

    fn sought<'a>(&self, which: Which<'_>, keys: &'a [Key<'a>]) -> Sought<'a> {
        Sought {
            after: which.after as i64,
            keys,
            during: None,
        }
    }

    /// Gives what is sought to `each`, and more: whole blocks, but for what is not behind the number.
    fn each_sealed(
        &self,
        sought: Sought<'_>,
        mut each: impl FnMut(&Item<'_>, &KnownTerms) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut terms = KnownTerms::new();
        let mut after = sought.after;
        while let Some(sealed) = self.sealed_behind(after)? {
            after = sealed.last;
            let misses = |(from, to): (i64, i64)| sealed.latest <= from || sealed.earliest > to;
            if sought.during.is_some_and(misses) {
                continue;
            }
            if self
                .each_in(&sealed, sought, &mut terms, &mut each)?
                .is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn each_in(
        &self,
        sealed: &Sealed,
        sought: Sought<'_>,
        terms: &mut KnownTerms,
        each: &mut impl FnMut(&Item<'_>, &KnownTerms) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let unreadable = |error: std::io::Error| self.unreadable(sealed, error.to_string());
        let opened = Opened::open(&self.place_of(&sealed.file)).map_err(unreadable)?;
        let blocks = match sought.keys {
            // They are in order.
            [] => {
                let passed = |block: &super::file::Block| block.last <= sought.after;
                (opened.blocks.partition_point(passed)..opened.blocks.len()).collect()
            }
            keys => opened.with_keys(keys).map_err(unreadable)?,
        };
        for block in blocks.into_iter().map(|number| &opened.blocks[number]) {
            if block.last <= sought.after {
                continue;
            }
            let rows = opened.read(block).map_err(unreadable)?;
            for item in Items::new(&rows) {
                let item = item.ok_or_else(|| {
                    self.unreadable(sealed, "a row of it cannot be read".to_owned())
                })?;
                let last = match &item {
                    Item::Terms(content) => {
                        if let std::collections::hash_map::Entry::Vacant(entry) =
                            terms.entry(hash(content))
                        {
                            let read = self.understood(serde_json::from_str(content))?;
                            entry.insert(Arc::new(read));
                        }
                        continue;
                    }
                    Item::Batch(_) => continue,
                    Item::Usage(row) => row.seq + row.records - 1,
                    Item::Other(written) => written.seq() + written.records() - 1,
                };
                if last > sought.after && each(&item, terms)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What is said of a sealed file that cannot be read.
    pub(in crate::ledger) fn unreadable(&self, sealed: &Sealed, what: String) -> LedgerError {
        LedgerError::Sealed {
            file: self.place_of(&sealed.file),
            first: sealed.first,
            last: sealed.last,
            what,
        }
    }

    fn stored_usage(&self, row: &WrittenUsage<'_>, terms: &KnownTerms) -> Result<Stored> {
        let stored = terms
            .get(&row.terms)
            .and_then(|terms| Stored::of(row, Arc::clone(terms)));
        stored.ok_or_else(|| self.damaged(format!("usage record {} cannot be read", row.seq)))
    }

    fn spelled_out_usage(
        &self,
        row: &WrittenUsage<'_>,
        terms: &KnownTerms,
    ) -> Result<Vec<super::super::usage::UsageRecord>> {
        let stored = self.stored_usage(row, terms)?;
        let addresses = super::super::usage::prefixes(row.addresses);
        let addresses = self.understood(addresses)?;
        Ok(stored.records(row.subscriber, row.session as u64, &addresses))
    }

    /// Those of a row that are asked for.
    fn spelled_out(
        &self,
        written: &Written<'_>,
        which: Which<'_>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let wanted = |entry: &Entry| {
            which.subscriber.is_none_or(|id| id == entry.subscriber)
                && which.kind.is_none_or(|kind| kind == entry.kind)
        };
        match written {
            Written::Usage(_) => Ok(Vec::new()),
            Written::Other { seq, time, content } => {
                let entry: Entry = self.understood(serde_json::from_str(content))?;
                let record = Record {
                    seq: *seq as u64,
                    time: timestamp(*time),
                    entry,
                };
                Ok(Some(record)
                    .into_iter()
                    .filter(|record| wanted(&record.entry))
                    .collect())
            }
            Written::Endowment {
                seq,
                time,
                content,
                subscribers,
                ..
            } => {
                if which.kind.is_some_and(|kind| kind != endowments::KIND) {
                    return Ok(Vec::new());
                }
                let row = endowments::Row {
                    first: *seq as u64,
                    time: timestamp(*time),
                    content,
                    subscribers,
                };
                self.spelled_out_endowment(&row, which.after, which.subscriber, limit)
            }
        }
    }
}
