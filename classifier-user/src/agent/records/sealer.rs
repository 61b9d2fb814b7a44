//! When records leave the database for sealed files: a task beside the agent's loop. Files are written and read back without
//! the node; it is held only to take one, and for each of the small steps in which what is sealed is dropped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use super::trouble::Trouble;
use crate::agent::activation::blocking;
use crate::agent::node::Node;
use crate::api::server::{Shared, with};
use crate::config::{Age, Config};
use crate::ledger::sealed::{Due, SealError, Sealed, Sealer};
use crate::ledger::{LedgerError, Reader};

/// Between two steps: whoever waits for the node has it then.
const PAUSE: Duration = Duration::from_millis(1);

/// A file is worth writing when this part of the time has come together for which originals stay, but a day at most.
const PARTS: i32 = 14;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How often it is looked, at most and at least.
const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(900);

/// What it needs of the configuration.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Settings {
    ledger: PathBuf,
    directory: PathBuf,
    originals: Age,
    zone: TimeZone,
}

impl Settings {
    pub(in crate::agent) fn of(config: &Config) -> Self {
        Self {
            ledger: config.ledger.clone(),
            directory: config.sealed(),
            originals: config.records.originals,
            zone: config.timezone.clone(),
        }
    }

    /// What comes together in one file.
    fn worth(&self, now: Timestamp) -> SignedDuration {
        let kept = now.duration_since(self.originals.before(now, &self.zone));
        (kept / PARTS).min(DAY)
    }

    fn due(&self, now: Timestamp) -> Due {
        let until = self.originals.before(now, &self.zone);
        let from = until.checked_sub(self.worth(now));
        Due {
            from: from.unwrap_or(Timestamp::MIN),
            until,
            now,
        }
    }

    fn pause(&self, now: Timestamp) -> Duration {
        let part = Duration::try_from(self.worth(now) / 4);
        part.unwrap_or(OFTEN).clamp(OFTEN, SELDOM)
    }

    /// Writes the next file, where blocking is allowed.
    fn seal(&self) -> Result<Option<Sealed>, SealError> {
        let reader = Reader::open(&self.ledger)?;
        Sealer::new(self.directory.clone()).seal(&reader, self.due(Timestamp::now()))
    }
}

/// Seals what is due every now and then, until it is told to stop.
pub(in crate::agent) async fn run(
    node: Shared,
    settings: Settings,
    mut stopped: watch::Receiver<bool>,
) {
    let mut trouble = Trouble::new(
        "records cannot be sealed; they stay in the ledger",
        "records are sealed again",
    );
    loop {
        let wrong = trouble.after(work(&node, &settings, &stopped).await);
        let wrong = wrong.map(str::to_owned);
        with(Arc::clone(&node), |node| node.unsealed = wrong).await;
        tokio::select! {
            // The sender is gone only when the agent ends.
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = sleep(settings.pause(Timestamp::now())) => {}
        }
    }
}

async fn work(
    node: &Shared,
    settings: &Settings,
    stopped: &watch::Receiver<bool>,
) -> Result<(), SealError> {
    // What an earlier process left, first.
    drop_all(node, stopped).await?;
    with(Arc::clone(node), |node| node.ledger.remove_pruned()).await?;
    while !*stopped.borrow() {
        let of = settings.clone();
        let Some(sealed) = blocking(move || of.seal()).await? else {
            break;
        };
        info!(
            file = sealed.file(),
            bytes = sealed.size(),
            records = sealed.records(),
            "records are sealed"
        );
        with(Arc::clone(node), move |node| {
            node.ledger.take_sealed(&sealed)
        })
        .await?;
        drop_all(node, stopped).await?;
    }
    Ok(())
}

/// Drops what is in sealed files from the database, step by step.
async fn drop_all(node: &Shared, stopped: &watch::Receiver<bool>) -> Result<(), LedgerError> {
    let step = |node: &mut Node| node.ledger.drop_sealed();
    while with(Arc::clone(node), step).await? && !*stopped.borrow() {
        sleep(PAUSE).await;
    }
    Ok(())
}
