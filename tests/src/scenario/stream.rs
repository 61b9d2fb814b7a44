//! Datagrams that go on while something happens, in step, so that it is known how many were on their way before a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::Timestamp;

use crate::netns::Endpoint;
use crate::traffic::udp;

/// Datagrams sent in a row; the next ones follow when they have arrived.
const BATCH: usize = 10;
const PAUSE: Duration = Duration::from_millis(2);

/// Datagrams of one size from one place to another.
pub(super) struct Stream {
    stop: Arc<AtomicBool>,
    worker: Option<Worker>,
}

type Worker = JoinHandle<Result<Vec<(Timestamp, Timestamp)>>>;

/// What a stream has sent; all of it has arrived.
pub(super) struct Sent {
    /// When each batch was begun, and had arrived, by the machine's clock.
    batches: Vec<(Timestamp, Timestamp)>,
}

impl Stream {
    /// Begins to send datagrams with so many bytes of payload.
    pub(super) fn start(from: &Endpoint, to: &Endpoint, payload: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (from, to, told) = (from.clone(), to.clone(), Arc::clone(&stop));
        let worker = thread::spawn(move || {
            let mut batches = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let begun = Timestamp::now();
                let arrived = udp(&from, &to, BATCH, payload)?;
                ensure!(
                    arrived == BATCH,
                    "only {arrived} of {BATCH} datagrams arrived"
                );
                batches.push((begun, Timestamp::now()));
                sleep(PAUSE);
            }
            Ok(batches)
        });
        Self {
            stop,
            worker: Some(worker),
        }
    }

    /// Stops it.
    ///
    /// # Errors
    /// If a datagram did not arrive.
    pub(super) fn stop(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let worker = self.worker.take().context("it has been stopped")?;
        let batches = worker
            .join()
            .map_err(|_| anyhow!("the sender panicked"))??;
        Ok(Sent { batches })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Where a scenario fails while it goes on.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Sent {
    /// All datagrams.
    pub(super) fn datagrams(&self) -> usize {
        self.batches.len() * BATCH
    }

    /// Those that had arrived before a moment.
    pub(super) fn before(&self, moment: Timestamp) -> usize {
        let batches = self.batches.iter();
        batches.filter(|(_, arrived)| *arrived < moment).count() * BATCH
    }

    /// When the first datagram after so many others was sent, at the earliest.
    pub(super) fn time_of(&self, datagram: usize) -> Option<Timestamp> {
        self.batches.get(datagram / BATCH).map(|&(begun, _)| begun)
    }
}
