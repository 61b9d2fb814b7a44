//! The chain, batch by batch, held against the records that are there.

use super::super::chain::{self, Batch, Seal, Written};
use super::super::{Result, failed};
use super::Found;

impl Found<'_> {
    /// Adds a row to its batch, and holds the batch against what it was when it ends with it.
    pub(super) fn look_at_batch(&mut self, written: &Written<'_>) -> Result<()> {
        let (seq, last) = (written.seq(), written.seq() + written.records() - 1);
        // Batches of which nothing is there.
        while let Some(batch) = self.batch
            && batch.last < seq
        {
            self.end_of_batch(batch)?;
        }
        let Some(batch) = self.batch else {
            self.problem(format!("records {seq} to {last} are in no batch"));
            return Ok(());
        };
        if batch.first > seq || batch.last < last {
            let (first, end) = (batch.first, batch.last);
            self.problem(format!(
                "records {seq} to {last} are not in the batch that is next, {first} to {end}"
            ));
            return Ok(());
        }
        let seal = self.seal.get_or_insert_with(|| Seal::from(batch.first));
        seal.add(written);
        if batch.last == last {
            self.end_of_batch(batch)?;
        }
        Ok(())
    }

    pub(super) fn next_batch(&mut self) -> Result<()> {
        let batch = self.rows.next();
        let batch = batch.and_then(|row| row.map(Batch::of).transpose());
        self.batch = batch.map_err(failed(&self.reader.path))?;
        Ok(())
    }

    pub(super) fn end_of_batch(&mut self, batch: Batch) -> Result<()> {
        self.hold_against(batch);
        self.next_batch()
    }

    /// Holds what has been read of a batch against what it was, and both against the chain.
    pub(super) fn hold_against(&mut self, batch: Batch) {
        self.batches += 1;
        let Batch {
            first,
            last,
            content,
            chain: claimed,
        } = batch;
        let seal = self.seal.take().unwrap_or_else(|| Seal::from(first));
        let (found, _) = seal.finish(&self.chain);
        if found != content {
            self.problem(format!(
                "records {first} to {last} are not those that were written: their hash is {}, and was {}",
                hex::encode(found),
                hex::encode(content)
            ));
        }
        let chained = chain::chained(&self.chain, first, last, &content);
        if chained != claimed {
            self.problem(format!(
                "the chain is broken at the batch of records {first} to {last}: its hash is {}, and was {}",
                hex::encode(chained),
                hex::encode(claimed)
            ));
        }
        // From here on as it was written: one break is told once.
        self.chain = claimed;
        if let Some(noted) = self.noted.take_if(|noted| noted.seq == last as u64)
            && noted.hash != claimed
        {
            let now = hex::encode(claimed);
            self.problem(format!(
                "what was recorded until {last} is not what it was when the head {noted} was noted: now it is {now}"
            ));
        }
    }
}
