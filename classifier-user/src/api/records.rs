//! Records, read beside the node and given out piece by piece: as much memory as a piece takes, however many are asked for.
//!
//! What a page holds is settled before its first byte is sent, so that where the next one begins can stand in a header.
//! Records are never changed, and their numbers have no gaps: whoever asks for the same range again is sent the same bytes.

use std::io;
use std::num::NonZero;
use std::sync::{Arc, LazyLock};
use std::thread;

use axum::body::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::server::LedgerPath;
use crate::agent::activation::blocking;
use crate::ledger::usage::{AnyRecord, Which};
use crate::ledger::{LedgerError, Reader};
use crate::report::record_rows;

/// Records that are read in one go.
const AT_ONCE: usize = 1_000;

/// The same of one subscriber, whose records have to be put in order for each piece.
const AT_ONCE_OF_ONE: usize = 10_000;

/// Which records are asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) after: u64,
    pub(super) subscriber: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) limit: u64,
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// How many records.
    pub(super) count: u64,
    /// The page ends with this number, and the next one begins behind it.
    pub(super) through: u64,
    /// The last record there was.
    pub(super) last: u64,
}

/// What records look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An array.
    Json,
    /// An object a line.
    Lines,
    /// A header, if it is wanted, and a line each.
    Csv { header: bool },
}

impl Asked {
    fn at_once(&self) -> usize {
        match self.subscriber {
            Some(_) => AT_ONCE_OF_ONE,
            None => AT_ONCE,
        }
    }

    /// Some of the records behind a number, at most `limit`.
    fn read(&self, reader: &Reader, after: u64, limit: u64) -> Result<Vec<AnyRecord>, LedgerError> {
        let at_once = self.at_once();
        reader.all_records(Which {
            after,
            subscriber: self.subscriber.as_deref(),
            kind: self.kind.as_deref(),
            limit: usize::try_from(limit).unwrap_or(at_once).min(at_once),
        })
    }

    /// Settles what the page holds of the records behind `from`.
    ///
    /// # Errors
    /// When records cannot be read.
    pub(super) fn page(&self, reader: &Reader, from: u64) -> Result<Page, LedgerError> {
        let last = reader.last_seq()?;
        // What was pruned is passed over.
        let from = from.max(reader.pruned_until()?);
        let behind = last.saturating_sub(from);
        if self.subscriber.is_none() && self.kind.is_none() {
            let count = behind.min(self.limit);
            return Ok(Page {
                count,
                through: from + count,
                last,
            });
        }
        let mut page = Page {
            count: 0,
            through: from,
            last,
        };
        while page.count < self.limit {
            let found = self.read(reader, page.through, self.limit - page.count)?;
            let known = found.iter().filter(|record| record.seq() <= last);
            let Some(end) = known.clone().next_back() else {
                // None of those that were looked through is missed.
                page.through = last.max(from);
                break;
            };
            page.count += known.count() as u64;
            page.through = end.seq();
        }
        Ok(page)
    }
}

impl Form {
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Csv { header: true } => "text/csv; charset=utf-8; header=present",
            Self::Csv { header: false } => "text/csv; charset=utf-8; header=absent",
        }
    }

    /// A piece of a page.
    fn write(self, records: &[AnyRecord], is_first: bool, is_last: bool) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Self::Lines => {
                for record in records {
                    serde_json::to_writer(&mut out, record)?;
                    out.push(b'\n');
                }
            }
            Self::Json => {
                if is_first {
                    out.push(b'[');
                }
                for (at, record) in records.iter().enumerate() {
                    if !is_first || at > 0 {
                        out.push(b',');
                    }
                    serde_json::to_writer(&mut out, record)?;
                }
                if is_last {
                    out.push(b']');
                }
            }
            Self::Csv { header } => record_rows::write(&mut out, header && is_first, records)?,
        }
        Ok(out)
    }
}

/// As many read at once as there are processors: whoever asks for years leaves the others room, and the node threads.
static READERS: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = thread::available_parallelism();
    Semaphore::new(processors.map_or(2, NonZero::get).max(2))
});

/// Works on the ledger where blocking is allowed, when it is one's turn. It is opened beside the node.
pub(super) async fn reading<T: Send + 'static>(
    ledger: LedgerPath,
    work: impl FnOnce(&Reader) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    // It is never closed.
    let turn = READERS.acquire().await.ok();
    blocking(move || {
        let _turn = turn;
        Reader::open(&ledger.0).and_then(|reader| work(&reader))
    })
    .await
}

/// Hands over a page, piece by piece, until the reader has it or is gone.
pub(super) async fn send(
    ledger: LedgerPath,
    asked: Asked,
    page: Page,
    form: Form,
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
) {
    let asked = Arc::new(asked);
    let (mut after, mut left) = (asked.after, page.count);
    let mut is_first = true;
    loop {
        let of = Arc::clone(&asked);
        let read = reading(ledger.clone(), move |reader| {
            let records = match left {
                0 => Vec::new(),
                _ => of.read(reader, after, left)?,
            };
            let rest = left.saturating_sub(records.len() as u64);
            let end = records.last().map(AnyRecord::seq);
            Ok((form.write(&records, is_first, rest == 0), end, rest))
        });
        let piece = match read.await {
            // Fewer than there were: whoever reads must not take it for all.
            Ok((_, None, rest)) if rest > 0 => Err(io::Error::other("records are missing")),
            Ok((Ok(piece), end, rest)) => {
                (after, left, is_first) = (end.unwrap_or(after), rest, false);
                Ok(piece)
            }
            Ok((Err(error), ..)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = &piece {
            tracing::error!("sending records: {error}");
        }
        let is_wrong = piece.is_err();
        if sender.send(piece.map(Into::into)).await.is_err() || is_wrong || left == 0 {
            return;
        }
    }
}
