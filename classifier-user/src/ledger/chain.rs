//! The chain over all records: each transaction that appends records seals them as a batch, with a hash over what they say
//! and over the batch before. Nothing in front of a noted head can be changed, left out or put in without the head
//! becoming another one.
//!
//! What is hashed is what is stored, in the form `Written::put` gives it: it determines every byte of the records as they
//! are handed out, and a fifth of the work is enough.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sha2::{Digest as _, Sha256};

use super::sealed;

/// The tables.
pub(super) const TABLES: &str = "
CREATE TABLE batch (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, content BLOB NOT NULL, chain BLOB NOT NULL
);
";

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What the first batch is chained to.
pub(super) const NOTHING: Hash = [0; 32];

/// Where a chain stands: the last record it covers, and the hash over all until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record; 0 where there is none.
    pub seq: u64,
    /// The hash.
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex::encode(self.hash))
    }
}

impl FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let read = || {
            let (seq, digits) = text.split_once(':')?;
            let mut hash = NOTHING;
            hex::decode_to_slice(digits, &mut hash).ok()?;
            let seq = seq.parse().ok()?;
            Some(Self { seq, hash })
        };
        read().ok_or_else(|| InvalidHead(text.to_owned()))
    }
}

/// What is not a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no head: write the number of a record, a colon and 64 hex digits, as `ledger verify` prints them"
)]
pub struct InvalidHead(String);

/// What one transaction appended, or what is claimed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// Number of its first record,
    pub(super) first: i64,
    /// and of its last.
    pub(super) last: i64,
    /// Hash over what is in it.
    pub(super) content: Hash,
    /// The chain's, with it.
    pub(super) chain: Hash,
}

impl Batch {
    /// A row of the table, or of a query for its columns.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            first: row.get(0)?,
            last: row.get(1)?,
            content: row.get(2)?,
            chain: row.get(3)?,
        })
    }
}

/// Records as they are stored: all of one row of counters at one moment, one of another kind,
/// or first grants of many.
#[derive(Debug)]
pub(super) enum Written<'a> {
    Usage(&'a WrittenUsage<'a>),
    Other {
        seq: i64,
        time: i64,
        content: &'a str,
    },
    /// First grants of many.
    Endowment {
        seq: i64,
        records: i64,
        time: i64,
        content: &'a str,
        /// A line each.
        subscribers: &'a str,
    },
}

/// A row of the table `usage`, with what it refers to.
#[derive(Debug)]
pub(super) struct WrittenUsage<'a> {
    pub(super) seq: i64,
    pub(super) records: i64,
    pub(super) subscriber: &'a str,
    pub(super) session: i64,
    pub(super) addresses: &'a str,
    pub(super) session_seq: i64,
    /// Of the terms' JSON.
    pub(super) terms: Hash,
    pub(super) cause: i64,
    pub(super) suspended: i64,
    pub(super) start: i64,
    pub(super) ended: i64,
    pub(super) last: i64,
    pub(super) active: i64,
    pub(super) peak_up: i64,
    pub(super) peak_down: i64,
    pub(super) meters: &'a [u8],
    pub(super) gap: Option<(i64, i64, &'a str)>,
    pub(super) clock: i64,
}

impl Written<'_> {
    pub(super) const fn seq(&self) -> i64 {
        match self {
            Self::Usage(usage) => usage.seq,
            Self::Other { seq, .. } | Self::Endowment { seq, .. } => *seq,
        }
    }

    /// How many records it is.
    pub(super) const fn records(&self) -> i64 {
        match self {
            Self::Usage(usage) => usage.records,
            Self::Other { .. } => 1,
            Self::Endowment { records, .. } => *records,
        }
    }

    /// Appends it in the form it is hashed in: numbers as eight bytes, the highest first; texts and bytes behind their
    /// length, written likewise. `docs/ledger.md` has the order for those who want to compute it elsewhere.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, number: i64| out.extend(number.to_be_bytes());
        let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend((bytes.len() as u64).to_be_bytes());
            out.extend(bytes);
        };
        match self {
            Self::Usage(usage) => {
                bytes(out, b"usage");
                number(out, usage.seq);
                number(out, usage.records);
                bytes(out, usage.subscriber.as_bytes());
                number(out, usage.session);
                bytes(out, usage.addresses.as_bytes());
                number(out, usage.session_seq);
                out.extend(usage.terms);
                for value in [
                    usage.cause,
                    usage.suspended,
                    usage.start,
                    usage.ended,
                    usage.last,
                    usage.active,
                    usage.peak_up,
                    usage.peak_down,
                ] {
                    number(out, value);
                }
                bytes(out, usage.meters);
                number(out, i64::from(usage.gap.is_some()));
                if let Some((start, ended, reason)) = usage.gap {
                    number(out, start);
                    number(out, ended);
                    bytes(out, reason.as_bytes());
                }
                number(out, usage.clock);
            }
            Self::Other { seq, time, content } => {
                bytes(out, b"record");
                number(out, *seq);
                number(out, *time);
                bytes(out, content.as_bytes());
            }
            Self::Endowment {
                seq,
                records,
                time,
                content,
                subscribers,
            } => {
                bytes(out, b"endowment");
                number(out, *seq);
                number(out, *records);
                number(out, *time);
                bytes(out, content.as_bytes());
                bytes(out, subscribers.as_bytes());
            }
        }
    }
}

/// A batch that is being written, or held against the one that was.
#[derive(Debug)]
pub(super) struct Seal {
    first: i64,
    next: i64,
    content: Sha256,
    /// Reused for each row.
    row: Vec<u8>,
}

impl Seal {
    /// One that begins with a record.
    pub(super) fn from(first: i64) -> Self {
        Self {
            first,
            next: first,
            content: Sha256::new(),
            row: Vec::new(),
        }
    }

    /// Adds what is written next.
    pub(super) fn add(&mut self, written: &Written<'_>) {
        self.row.clear();
        written.put(&mut self.row);
        self.content.update(&self.row);
        self.next = written.seq() + written.records();
    }

    /// How many records are in it.
    pub(super) const fn records(&self) -> i64 {
        self.next - self.first
    }

    /// The hash over what is in it, and the chain's with it.
    pub(super) fn finish(self, before: &Hash) -> (Hash, Hash) {
        let content: Hash = self.content.finalize().into();
        (
            content,
            chained(before, self.first, self.next - 1, &content),
        )
    }

    /// Writes the batch down, unless nothing is in it.
    pub(super) fn close(self, connection: &Connection) -> rusqlite::Result<()> {
        if self.records() == 0 {
            return Ok(());
        }
        let (first, last) = (self.first, self.next - 1);
        let before = head(connection)?.map_or(NOTHING, |(_, hash)| hash);
        let (content, chain) = self.finish(&before);
        connection
            .prepare_cached("INSERT INTO batch VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![first, last, content, chain])
            .map(drop)
    }
}

/// The chain's hash with one more batch.
pub(super) fn chained(before: &Hash, first: i64, last: i64, content: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(first.to_be_bytes());
    hash.update(last.to_be_bytes());
    hash.update(content);
    hash.finalize().into()
}

/// Number of the last record in the chain, and its hash.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Option<(i64, Hash)>> {
    let last = connection
        .prepare_cached("SELECT last, chain FROM batch ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match last {
        Some(head) => Ok(Some(head)),
        // All there is has left the database.
        None => sealed::end(connection),
    }
}

/// The hash of terms, by which batches know them.
pub(super) fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_printed() {
        let head = Head {
            seq: 4711,
            hash: hash("x"),
        };
        assert_eq!(head.to_string().parse(), Ok(head));
        for wrong in [
            "",
            "4711",
            "4711:abcd",
            "x:00",
            &format!("{head}0"),
            &format!("1:{}", "é".repeat(32)),
        ] {
            assert!(wrong.parse::<Head>().is_err(), "{wrong}");
        }
    }

    /// Computed elsewhere, from the description in docs/ledger.md.
    #[test]
    fn the_form_that_is_hashed_is_the_documented_one() {
        let mut row = Vec::new();
        let content = r#"{"kind":"grant"}"#;
        let other = Written::Other {
            seq: 1,
            time: 2,
            content,
        };
        other.put(&mut row);
        let expected = [
            &[0, 0, 0, 0, 0, 0, 0, 6][..],
            b"record",
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 0, 16],
            content.as_bytes(),
        ];
        assert_eq!(row, expected.concat());
    }
}
