//! What all sinks have in common: a thread each, which reads the ledger behind what the sink has, hands it over, and tries
//! again where something is in the way.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tracing::{error, info};

use super::board::{Board, Post};
use super::files::Files;
use super::postgres::Postgres;
use crate::config::{Config, Sink as Settings};
use crate::ledger::usage::AnyRecord;
use crate::ledger::{LedgerError, Reader};

/// Records that are handed over at once.
const BATCH: usize = 10_000;
/// First wait after something was in the way, and the longest.
const PATIENCE: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// How long the agent's end waits for a sink.
const LAST_CHANCE: Duration = Duration::from_secs(5);

/// Why records are not where they belong.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be written or read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// What is there was not brought from this ledger.
    #[error(
        "{place} has record {seq} of node `{node}`, and it is not the one in this ledger: the ledger was begun anew, \
         restored, or another gateway has this name. Give this gateway another `node` name, or restore the ledger"
    )]
    Strange {
        /// Where.
        place: String,
        /// Name of the gateway.
        node: String,
        /// The number.
        seq: u64,
    },
    /// Records are not where they should be in the ledger.
    #[error(
        "the ledger has no record {seq}, which comes next; it may have been pruned before it was brought here"
    )]
    Missing {
        /// Number of the first.
        seq: u64,
    },
    /// A file or table says something that cannot be.
    #[error("{place}: {what}")]
    Unreadable {
        /// Where.
        place: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The database refuses, or is away.
    #[error("{place}: {what}")]
    Database {
        /// Which database.
        place: String,
        /// What it said.
        what: String,
    },
}

/// A place records are brought to.
pub(super) trait Sink: Send {
    /// Finds out how far it is: the number of the last record that is there for good. Called first, and again after an
    /// error.
    fn resume(&mut self, ledger: &Reader) -> Result<u64, SinkError>;

    /// Takes records, which come next; returns the number of the last record that is there for good.
    fn take(&mut self, records: &[AnyRecord]) -> Result<u64, SinkError>;

    /// Time has passed, and no records came; or, at the end, none will.
    fn rest(&mut self, at_the_end: bool) -> Result<u64, SinkError>;
}

/// Running sinks.
#[derive(Debug)]
pub struct Running {
    threads: Vec<(Arc<Post>, JoinHandle<()>)>,
    told: Arc<Told>,
}

/// Whether sinks are to end.
#[derive(Debug, Default)]
struct Told {
    stop: Mutex<bool>,
    changed: Condvar,
}

impl Told {
    /// Waits; whether to end.
    fn wait(&self, time: Duration) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stop, time, |stop| !*stop);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn stop(&self) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

/// Starts a thread for each sink that is configured.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(config: &Config, board: &Board, runtime: &Handle) -> std::io::Result<Running> {
    let told = Arc::new(Told::default());
    let threads = config
        .sinks
        .iter()
        .zip(board.posts())
        .map(|(settings, post)| {
            let sink: Box<dyn Sink> = match settings {
                Settings::Files(files) => Box::new(Files::new(files, &config.node)),
                Settings::Postgres(postgres) => Box::new(Postgres::new(
                    postgres,
                    &config.node,
                    &config.timezone,
                    runtime.clone(),
                )),
            };
            let worker = Worker {
                sink,
                post: Arc::clone(post),
                ledger: config.ledger.clone(),
                every: config.records.checkpoint,
                told: Arc::clone(&told),
            };
            let thread = thread::Builder::new().name(format!("sink {}", post.name()));
            Ok((Arc::clone(post), thread.spawn(move || worker.run())?))
        });
    Ok(Running {
        threads: threads.collect::<std::io::Result<_>>()?,
        told,
    })
}

impl Running {
    /// Brings what there is where it belongs, if that is soon done, and ends.
    pub fn stop(self) {
        self.told.stop();
        let deadline = Instant::now() + LAST_CHANCE;
        for (post, thread) in self.threads {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
            if !thread.is_finished() {
                info!(
                    sink = post.name(),
                    "the rest is brought after the next start"
                );
            } else if thread.join().is_err() {
                error!(sink = post.name(), "the sink panicked");
            }
        }
    }
}

struct Worker {
    sink: Box<dyn Sink>,
    post: Arc<Post>,
    ledger: PathBuf,
    every: Duration,
    told: Arc<Told>,
}

impl Worker {
    fn run(mut self) {
        let mut patience = PATIENCE[0];
        loop {
            let Err(wrong) = self.bring() else {
                return;
            };
            if self.fails(&wrong) {
                patience = PATIENCE[0];
            }
            if self.told.wait(patience) {
                return;
            }
            patience = PATIENCE[1].min(patience * 2);
        }
    }

    /// Brings records until it is told to stop.
    fn bring(&mut self) -> Result<(), SinkError> {
        let reader = Reader::open(&self.ledger)?;
        let mut position = self.sink.resume(&reader)?;
        // Whether it goes on is seen when something was brought.
        self.post.state().position = Some(position);
        // What was handed over, some of which may not be there for good.
        let mut handed = position;
        let mut stop = false;
        loop {
            let records = reader.next_records(handed, BATCH)?;
            let expected = handed + 1..;
            if let Some((seq, _)) = expected
                .zip(&records)
                .find(|(seq, record)| record.seq() != *seq)
            {
                return Err(SinkError::Missing { seq });
            }
            let full = records.len() == BATCH;
            let brought = match records.last() {
                Some(last) => {
                    // Nobody is to have a record that a power cut can undo.
                    reader.secure()?;
                    handed = last.seq();
                    self.sink.take(&records)?
                }
                None => self.sink.rest(stop)?,
            };
            self.goes_on(brought, brought - position);
            position = brought;
            match (full, stop, records.is_empty()) {
                (true, ..) => stop = self.told.wait(Duration::ZERO),
                // What was recorded last was read, and the sink has been told that it is the end.
                (false, true, true) => return Ok(()),
                (false, true, false) => {}
                (false, false, _) => stop = self.told.wait(self.every),
            }
        }
    }

    fn goes_on(&self, position: u64, records: u64) {
        let mut state = self.post.state();
        state.position = Some(position);
        state.records += records;
        if let Some((since, _)) = state.failing.take() {
            info!(
                sink = self.post.name(),
                "goes on, after having failed since {since}"
            );
        }
    }

    /// Notes what is in the way; whether it is something else than before.
    fn fails(&self, wrong: &SinkError) -> bool {
        let text = wrong.to_string();
        let mut state = self.post.state();
        state.errors += 1;
        let since = match &state.failing {
            // Tried again and again, said once.
            Some((_, known)) if *known == text => return false,
            Some((since, _)) => *since,
            None => Timestamp::now(),
        };
        error!(
            sink = self.post.name(),
            "records cannot be brought; they stay in the ledger, and it is tried again: {text}"
        );
        state.failing = Some((since, text));
        true
    }
}
