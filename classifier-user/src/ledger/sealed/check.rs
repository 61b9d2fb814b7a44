//! Reading a sealed file from its first row to its last: whoever wrote it does, before it counts for anything, and whoever
//! verifies a ledger.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::super::chain::{self, Batch, Hash, Seal, Written};
use super::super::usage::codec;
use super::super::verify::Sums;
use super::file::Opened;
use super::rows::{Item, Items};

/// What a file holds.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) batches: u64,
    pub(super) blocks: usize,
    pub(super) earliest: i64,
    pub(super) latest: i64,
    pub(super) sums: Sums,
    pub(super) size: u64,
    pub(super) sha256: Hash,
    /// The chain in front of it,
    pub(super) before: Hash,
    /// and with it.
    pub(super) after: Hash,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Length and hash of a file.
pub(in crate::ledger) fn summed(path: &Path) -> io::Result<(u64, Hash)> {
    let mut file = File::open(path)?;
    // From the disk, not from memory, as far as the kernel can be told.
    let _ = nix::fcntl::posix_fadvise(
        &file,
        0,
        0,
        nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    );
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 17];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, hash.finalize().into()));
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

/// When records of a row ended.
pub(super) const fn time_of(written: &Written<'_>) -> i64 {
    match written {
        Written::Usage(usage) => usage.ended,
        Written::Other { time, .. } | Written::Endowment { time, .. } => *time,
    }
}

/// Reads all of a file that begins with record `first`, behind the chain `before`: every batch in it is the one that its
/// rows were written as, and all of them hang together.
///
/// # Errors
/// When it cannot be read, or anything in it is not as it should be.
pub(super) fn examine(path: &Path, first: i64, before: Hash) -> io::Result<Facts> {
    let (size, sha256) = summed(path)?;
    let opened = Opened::open(path)?;
    let mut reading = Reading {
        facts: Facts {
            first,
            last: first - 1,
            batches: 0,
            blocks: opened.blocks.len(),
            earliest: i64::MAX,
            latest: i64::MIN,
            sums: Sums::default(),
            size,
            sha256,
            before,
            after: before,
        },
        seal: Seal::from(first),
        terms: Vec::new(),
    };
    for block in &opened.blocks {
        let rows = opened.read(block)?;
        reading.terms.clear();
        reading.comes_next(block.first)?;
        for item in Items::new(&rows) {
            reading.item(item.ok_or_else(|| wrong("a row cannot be read"))?)?;
        }
        reading.comes_next(block.last + 1)?;
    }
    if reading.seal.records() > 0 || reading.facts.batches == 0 {
        return Err(wrong("its last batch has no end"));
    }
    Ok(reading.facts)
}

/// A file that is read, so far.
struct Reading {
    facts: Facts,
    /// What of a batch has been read,
    seal: Seal,
    /// and terms of the block.
    terms: Vec<Hash>,
}

impl Reading {
    fn comes_next(&self, seq: i64) -> io::Result<()> {
        let next = self.facts.last + 1;
        match seq == next {
            true => Ok(()),
            false => Err(wrong(format!("record {next} comes next, and {seq} does"))),
        }
    }

    fn item(&mut self, item: Item<'_>) -> io::Result<()> {
        match item {
            Item::Terms(content) => self.terms.push(chain::hash(content)),
            Item::Usage(usage) => {
                let seq = usage.seq;
                if !self.terms.contains(&usage.terms) {
                    return Err(wrong(format!("the terms of record {seq} are missing")));
                }
                let moved = codec::moved(usage.meters);
                let moved = moved.ok_or_else(|| wrong(format!("record {seq} cannot be read")))?;
                for moved in moved {
                    self.facts.sums.add(&moved.delta);
                }
                self.add(&Written::Usage(&usage))?;
            }
            Item::Other(written) => self.add(&written)?,
            Item::Batch(batch) => self.end(&batch)?,
        }
        Ok(())
    }

    fn add(&mut self, written: &Written<'_>) -> io::Result<()> {
        self.comes_next(written.seq())?;
        self.seal.add(written);
        let facts = &mut self.facts;
        facts.last = written.seq() + written.records() - 1;
        facts.earliest = facts.earliest.min(time_of(written));
        facts.latest = facts.latest.max(time_of(written));
        Ok(())
    }

    fn end(&mut self, batch: &Batch) -> io::Result<()> {
        let facts = &mut self.facts;
        let first = facts.last + 1 - self.seal.records();
        let seal = std::mem::replace(&mut self.seal, Seal::from(facts.last + 1));
        let found = seal.finish(&facts.after);
        if (batch.first, batch.last) != (first, facts.last) || found != (batch.content, batch.chain)
        {
            return Err(wrong(format!(
                "records {first} to {} are not those that were written",
                facts.last
            )));
        }
        facts.after = batch.chain;
        facts.batches += 1;
        Ok(())
    }
}
