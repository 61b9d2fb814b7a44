//! When records are added to roll-ups: a task beside the agent's loop. They are read and added up without the node; it is held
//! only to put some of them where they belong.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::time::sleep;

use super::trouble::Trouble;
use crate::agent::activation::blocking;
use crate::api::server::{Shared, with};
use crate::config::Config;
use crate::ledger::rollups::Gathered;
use crate::ledger::{LedgerError, Reader};

/// Between two steps: whoever waits for the node has it then.
const PAUSE: Duration = Duration::from_millis(1);

/// How often it is looked whether there are new records.
const OFTEN: Duration = Duration::from_secs(1);

/// What it needs of the configuration.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Settings {
    ledger: PathBuf,
    zone: TimeZone,
}

impl Settings {
    pub(in crate::agent) fn of(config: &Config) -> Self {
        Self {
            ledger: config.ledger.clone(),
            zone: config.timezone.clone(),
        }
    }

    /// Adds up what comes next, where blocking is allowed.
    fn gather(&self) -> Result<Option<Gathered>, LedgerError> {
        Reader::open(&self.ledger)?.gather(&self.zone)
    }
}

/// Adds records to roll-ups as they come, until it is told to stop. What is left then is for the next agent.
pub(in crate::agent) async fn run(
    node: Shared,
    settings: Settings,
    mut stopped: watch::Receiver<bool>,
) {
    let mut trouble = Trouble::new(
        "hours and days cannot be rolled up; records are kept",
        "hours and days are rolled up again",
    );
    loop {
        trouble.after(work(&node, &settings, &stopped).await);
        tokio::select! {
            // The sender is gone only when the agent ends.
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = sleep(OFTEN) => {}
        }
    }
}

async fn work(
    node: &Shared,
    settings: &Settings,
    stopped: &watch::Receiver<bool>,
) -> Result<(), LedgerError> {
    while !*stopped.borrow() {
        let of = settings.clone();
        let Some(gathered) = blocking(move || of.gather()).await? else {
            break;
        };
        with(Arc::clone(node), move |node| node.ledger.roll_up(&gathered)).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}
