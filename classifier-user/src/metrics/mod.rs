//! Metrics for Prometheus: `/metrics` on the API's socket and, if it is asked for, by plain HTTP with nothing else on it.
//!
//! A scrape adds up all rows, in pieces between which others have the node, and is answered from memory if the last one is
//! less than a checkpoint old. Counters are those of the kernel: they go on where they were when the agent is started again,
//! and begin at zero when the kernel's do, which Prometheus knows for a reset.

mod family;
mod tell;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use self::tell::Read;
use crate::agent::measures::Sums;
use crate::api::server::{Shared, with};
use crate::config::{Config, Subscribers};
use crate::ledger::{LedgerError, Reader};

/// What OpenMetrics calls itself.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a scrape needs of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    ledger: PathBuf,
    checkpoint: Duration,
    by_name: Subscribers,
}

impl Settings {
    /// Taken from the agent's.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            ledger: config.ledger.clone(),
            checkpoint: config.records.checkpoint,
            by_name: config.metrics.subscribers.clone(),
        }
    }
}

/// Where metrics are read. Clones are the same.
#[derive(Debug, Clone)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: Shared,
    settings: Settings,
    started: Timestamp,
    durations: Durations,
    /// One scrape at a time; whoever comes meanwhile gets what it found.
    kept: Mutex<Kept>,
}

/// How long things take. Clones are the same.
#[derive(Debug, Clone)]
pub struct Durations {
    /// A look over all rows.
    pub look: Histogram,
    /// Writing down the records of all rows that were due.
    pub record: Histogram,
}

impl Default for Durations {
    fn default() -> Self {
        // From a millisecond to half a minute.
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        Self {
            look: histogram(),
            record: histogram(),
        }
    }
}

/// What is kept from one scrape to the next.
#[derive(Debug)]
struct Kept {
    sums: Sums,
    records: Records,
    text: String,
    at: Option<Instant>,
}

/// Records that were written since the agent started.
#[derive(Debug)]
struct Records {
    ledger: PathBuf,
    reader: Option<Reader>,
    /// Number of the last that is counted.
    last: u64,
    by_kind: BTreeMap<String, u64>,
}

impl Records {
    /// Begins to count behind the last record there is.
    fn new(ledger: PathBuf) -> Result<Self, LedgerError> {
        let reader = Reader::open(&ledger)?;
        Ok(Self {
            last: reader.last_seq()?,
            reader: Some(reader),
            ledger,
            by_kind: BTreeMap::new(),
        })
    }

    /// Counts what was written since.
    fn go_on(&mut self) -> Result<(), LedgerError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.ledger)?,
        };
        let (last, counts) = reader.counts(self.last)?;
        self.reader = Some(reader);
        self.last = last;
        for (kind, count) in counts {
            *self.by_kind.entry(kind).or_default() += count;
        }
        Ok(())
    }
}

impl Source {
    /// Metrics of a node.
    ///
    /// # Errors
    /// When its ledger cannot be read.
    pub fn new(node: Shared, settings: Settings) -> Result<Self, LedgerError> {
        let records = Records::new(settings.ledger.clone())?;
        Ok(Self(Arc::new(Inner {
            node,
            settings,
            started: Timestamp::now(),
            durations: Durations::default(),
            kept: Mutex::new(Kept {
                sums: Sums::default(),
                records,
                text: String::new(),
                at: None,
            }),
        })))
    }

    /// Where it is noted how long things take.
    #[must_use]
    pub fn durations(&self) -> Durations {
        self.0.durations.clone()
    }

    /// The metrics, as text.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn text(&self) -> Result<String, String> {
        let inner = &self.0;
        let mut kept = inner.kept.lock().await;
        let fresh = inner.settings.checkpoint;
        if kept.at.is_some_and(|at| at.elapsed() < fresh) {
            return Ok(kept.text.clone());
        }
        let begun = Instant::now();
        loop {
            let mut sums = std::mem::take(&mut kept.sums);
            let (sums, more) = with(Arc::clone(&inner.node), move |node| {
                let more = node.add_up(&mut sums);
                (sums, more)
            })
            .await;
            kept.sums = sums;
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
        let by_name = inner.settings.by_name.clone();
        let measures = with(Arc::clone(&inner.node), move |node| node.measures(&by_name))
            .await
            .map_err(|error| error.to_string())?;
        // A question to the ledger that is answered in no time; where it is not, `status` says why.
        let counted = tokio::task::block_in_place(|| kept.records.go_on());
        if let Err(error) = &counted {
            tracing::warn!("metrics do not know how many records there are: {error}");
        }
        let told = tell::tell(&Read {
            sums: &kept.sums,
            measures: &measures,
            records: &kept.records.by_kind,
            last_record: kept.records.last,
            ledger_is_read: counted.is_ok(),
            started: inner.started,
            took: begun.elapsed(),
        });
        let mut registry = Registry::default();
        let durations = &inner.durations;
        for (name, help, histogram) in [
            (
                "zerorate_checkpoint_duration",
                "Time a look over all rows took",
                &durations.look,
            ),
            (
                "zerorate_recording_duration",
                "Time it took to write down the records of all rows that were due",
                &durations.record,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        registry.register_collector(Box::new(told));
        let mut out = String::new();
        text::encode(&mut out, &registry).map_err(|error| error.to_string())?;
        kept.text.clone_from(&out);
        kept.at = Some(Instant::now());
        Ok(out)
    }

    /// `/metrics`, and nothing else.
    fn routes(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }

    /// Answers by plain HTTP until `shutdown` is done.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(listener, self.routes())
            .with_graceful_shutdown(shutdown)
            .await
    }
}

async fn metrics(State(source): State<Source>) -> Response {
    answer(&source).await
}

/// The answer to a scrape.
pub(crate) async fn answer(source: &Source) -> Response {
    match source.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}
