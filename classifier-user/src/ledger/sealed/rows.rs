//! What stands in a block of a sealed file: rows in the very form the chain hashes, each behind its length. Beside records
//! there are two more rows: terms, in front of the first usage of a block that refers to them, and the batch, behind the
//! last of its records. So whoever reads a file needs nothing else to know what its records say, and that they are those
//! that were written.

use super::super::chain::{Batch, Hash, Written, WrittenUsage};

/// One row.
#[derive(Debug)]
pub(in crate::ledger) enum Item<'a> {
    /// JSON of terms.
    Terms(&'a str),
    /// Records of usage.
    Usage(WrittenUsage<'a>),
    /// Any other records.
    Other(Written<'a>),
    /// What ends here.
    Batch(Batch),
}

/// Appends records.
pub(in crate::ledger) fn put(out: &mut Vec<u8>, written: &Written<'_>) {
    behind_length(out, |out| written.put(out));
}

/// Appends terms.
pub(in crate::ledger) fn put_terms(out: &mut Vec<u8>, content: &str) {
    behind_length(out, |out| {
        put_text(out, "terms");
        put_text(out, content);
    });
}

/// Appends the end of a batch.
pub(in crate::ledger) fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    behind_length(out, |out| {
        put_text(out, "batch");
        out.extend(batch.first.to_be_bytes());
        out.extend(batch.last.to_be_bytes());
        out.extend(batch.content);
        out.extend(batch.chain);
    });
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_be_bytes());
    out.extend(text.as_bytes());
}

fn behind_length(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; 8]);
    put(out);
    let length = (out.len() - at - 8) as u64;
    out[at..at + 8].copy_from_slice(&length.to_be_bytes());
}

/// The rows of a block, one after the other; `None` in place of one that is none, which is the last then.
pub(in crate::ledger) struct Items<'a>(Fields<'a>);

impl<'a> Items<'a> {
    pub(in crate::ledger) const fn new(block: &'a [u8]) -> Self {
        Self(Fields(block))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Option<Item<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let item = self.0.bytes().and_then(item);
        if item.is_none() {
            self.0.0 = &[];
        }
        Some(item)
    }
}

/// The reverse of what is put.
fn item(row: &[u8]) -> Option<Item<'_>> {
    let mut fields = Fields(row);
    let found = match fields.text()? {
        "terms" => Item::Terms(fields.text()?),
        "batch" => Item::Batch(Batch {
            first: fields.number()?,
            last: fields.number()?,
            content: fields.hash()?,
            chain: fields.hash()?,
        }),
        "usage" => Item::Usage(WrittenUsage {
            seq: fields.number()?,
            records: fields.number()?,
            subscriber: fields.text()?,
            session: fields.number()?,
            addresses: fields.text()?,
            session_seq: fields.number()?,
            terms: fields.hash()?,
            cause: fields.number()?,
            suspended: fields.number()?,
            start: fields.number()?,
            ended: fields.number()?,
            last: fields.number()?,
            active: fields.number()?,
            peak_up: fields.number()?,
            peak_down: fields.number()?,
            meters: fields.bytes()?,
            gap: match fields.number()? {
                0 => None,
                1 => Some((fields.number()?, fields.number()?, fields.text()?)),
                _ => return None,
            },
            clock: fields.number()?,
        }),
        "record" => Item::Other(Written::Other {
            seq: fields.number()?,
            time: fields.number()?,
            content: fields.text()?,
        }),
        "endowment" => Item::Other(Written::Endowment {
            seq: fields.number()?,
            records: fields.number()?,
            time: fields.number()?,
            content: fields.text()?,
            subscribers: fields.text()?,
        }),
        _ => return None,
    };
    fields.0.is_empty().then_some(found)
}

/// What is left of a row, or of a block.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i64> {
        let bytes = self.take(8)?.try_into().ok()?;
        Some(i64::from_be_bytes(bytes))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn hash(&mut self) -> Option<Hash> {
        self.take(32)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_put_and_none_that_is_cut_short() {
        let usage = WrittenUsage {
            seq: 1,
            records: 2,
            subscriber: "anna",
            session: 3,
            addresses: "10.0.0.1/32",
            session_seq: 4,
            terms: [5; 32],
            cause: 6,
            suspended: 0,
            start: -7,
            ended: 8,
            last: 9,
            active: 10,
            peak_up: 11,
            peak_down: 12,
            meters: &[13, 14],
            gap: Some((15, 16, "counters_lost")),
            clock: -17,
        };
        let rows = [
            Written::Usage(&usage),
            Written::Other {
                seq: 3,
                time: 4,
                content: "{}",
            },
            Written::Endowment {
                seq: 4,
                records: 2,
                time: 5,
                content: "{}",
                subscribers: "a\nb",
            },
        ];
        let batch = Batch {
            first: 1,
            last: 5,
            content: [1; 32],
            chain: [2; 32],
        };
        let mut block = Vec::new();
        put_terms(&mut block, "{\"terms\"}");
        for row in &rows {
            put(&mut block, row);
        }
        put_batch(&mut block, &batch);
        let mut again = Vec::new();
        for item in Items::new(&block) {
            match item.unwrap() {
                Item::Terms(content) => put_terms(&mut again, content),
                Item::Usage(usage) => put(&mut again, &Written::Usage(&usage)),
                Item::Other(written) => put(&mut again, &written),
                Item::Batch(batch) => put_batch(&mut again, &batch),
            }
        }
        assert_eq!(again, block);
        for length in 0..block.len() {
            let whole = Items::new(&block[..length]).flatten().count();
            assert!(whole < 5, "{length}");
        }
    }
}
