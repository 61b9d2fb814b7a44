//! Traffic that goes on for hours: some thousand packets a second, no more, which can be held up for a moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::deeds::{CROWD, address};
use crate::dice::Dice;
use crate::netns::Endpoint;
use crate::topology::Lab;
use crate::town;
use crate::traffic::{tcp, udp};

/// Between two bursts of datagrams of one sender,
const PAUSE: Duration = Duration::from_millis(30);
/// and between two connections.
const BETWEEN: Duration = Duration::from_millis(250);
const DATAGRAMS: usize = 20;
/// Bytes of a connection, each way.
const CONNECTION: u64 = 200_000;

/// Senders that go on until they are stopped.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Shared {
    /// Senders hold it while they send.
    gate: RwLock<()>,
    done: AtomicBool,
}

impl Traffic {
    /// Between subscribers and remotes of all classes, both ways, by UDP and TCP, and to and from whoever has the
    /// crowd's addresses.
    pub(super) fn start(lab: &Lab) -> Self {
        let mut traffic = Self {
            shared: Arc::default(),
            senders: Vec::new(),
        };
        let (alice, bob) = (lab.subscriber("alice"), lab.subscriber("bob"));
        for (near, far) in [
            (alice.v4(), lab.remote(town::INTERNET)),
            (alice.v4(), lab.remote(town::MESSENGERS)),
            (bob.v6(), lab.remote(town::GOVERNMENT6)),
        ] {
            traffic.datagrams(&near, &far);
            traffic.datagrams(&far, &near);
            traffic.connections(near, far);
        }
        // What is dropped when the bucket is empty, and nobody's when bob has no IPv4.
        traffic.datagrams(&bob.v4(), &lab.remote(town::INTERNET));
        let crowd = (0..CROWD).map(|one| lab.subscriber("crowd").at(&address(one)));
        traffic.crowd(crowd.collect(), lab.remote(town::GOVERNMENT));
        traffic
    }

    /// Does something while nothing is sent.
    ///
    /// # Errors
    /// With its own, or if a sender has ended.
    pub(super) fn at_rest<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let _closed = self
            .shared
            .gate
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Whether somebody has ceased to send, which nobody may.
    pub(super) fn has_failed(&self) -> bool {
        self.senders.iter().any(JoinHandle::is_finished)
    }

    /// Stops all senders.
    ///
    /// # Errors
    /// If one of them could not send, or nothing arrived that should have.
    pub(super) fn stop(mut self) -> Result<()> {
        self.shared.done.store(true, Ordering::Relaxed);
        self.senders.drain(..).try_for_each(|sender| {
            let ended = sender.join();
            ended.map_err(|_| anyhow!("a sender panicked")).flatten()
        })
    }

    fn datagrams(&mut self, from: &Endpoint, to: &Endpoint) {
        let (from, to) = (from.clone(), to.clone());
        self.send(PAUSE, move || udp(&from, &to, DATAGRAMS, 400).map(drop));
    }

    fn connections(&mut self, from: Endpoint, to: Endpoint) {
        self.send(BETWEEN, move || {
            tcp(&from, &to, CONNECTION, CONNECTION).map(drop)
        });
    }

    fn crowd(&mut self, crowd: Vec<Endpoint>, remote: Endpoint) {
        let mut dice = Dice::new();
        self.send(PAUSE, move || {
            let one = &crowd[dice.below(crowd.len())];
            udp(one, &remote, DATAGRAMS, 200)?;
            udp(&remote, one, DATAGRAMS, 900).map(drop)
        });
    }

    fn send(&mut self, pause: Duration, mut once: impl FnMut() -> Result<()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.senders.push(thread::spawn(move || {
            while !shared.done.load(Ordering::Relaxed) {
                let open = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
                once()?;
                drop(open);
                sleep(pause);
            }
            Ok(())
        }));
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // Where something else has failed: what it sends goes nowhere.
        self.shared.done.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            let _ = sender.join();
        }
    }
}
