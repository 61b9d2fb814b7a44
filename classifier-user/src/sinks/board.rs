//! How far each sink is, and what is in its way: written by the sink, read by `status` and metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Sink;
use crate::ledger::Reader;

/// All sinks of an agent. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<[Arc<Post>]>);

/// One sink on the board.
#[derive(Debug)]
pub struct Post {
    name: String,
    kind: &'static str,
    state: Mutex<State>,
}

/// What a sink has told of itself.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Number of the last record that is where it belongs; `None` while the sink does not know.
    pub position: Option<u64>,
    /// Records it has brought there since the agent started.
    pub records: u64,
    /// Times something was in its way since the agent started.
    pub errors: u64,
    /// What is in its way now, and since when.
    pub failing: Option<(Timestamp, String)>,
}

/// A sink in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SinkStatus {
    /// What it is called.
    pub name: String,
    /// `files` or `postgres`.
    pub kind: String,
    /// Number of the last record that is where it belongs; null while the sink does not know.
    pub position: Option<u64>,
    /// Records it does not have yet; all there are, while it does not know.
    pub lag_records: u64,
    /// Since when the oldest of these waits.
    pub waiting_since: Option<Timestamp>,
    /// Records it was brought since the agent started.
    pub records: u64,
    /// Times something was in its way since the agent started.
    pub errors: u64,
    /// Since when something is in its way.
    pub failing_since: Option<Timestamp>,
    /// What that is.
    pub error: Option<String>,
}

impl Board {
    /// A post for each sink that is configured.
    #[must_use]
    pub fn new(sinks: &[Sink]) -> Self {
        let post = |sink: &Sink| {
            Arc::new(Post {
                name: sink.name().to_owned(),
                kind: sink.kind(),
                state: Mutex::default(),
            })
        };
        Self(sinks.iter().map(post).collect())
    }

    /// The posts, in the order of the configuration.
    #[must_use]
    pub fn posts(&self) -> &[Arc<Post>] {
        &self.0
    }

    /// How far each sink is behind a ledger. Where the ledger cannot be read, that is what is in the way.
    #[must_use]
    pub fn status(&self, ledger: &Reader) -> Vec<SinkStatus> {
        let status = |post: &Arc<Post>| {
            let state = post.state().clone();
            let position = state.position.unwrap_or(0);
            let read = ledger
                .last_seq()
                .and_then(|last| Ok((last, ledger.waiting_since(position)?)));
            let (read, unreadable) = match read {
                Ok(read) => (read, None),
                Err(error) => ((position, None), Some(error.to_string())),
            };
            let (failing_since, error) = state.failing.unzip();
            SinkStatus {
                name: post.name.clone(),
                kind: post.kind.to_owned(),
                position: state.position,
                lag_records: read.0.saturating_sub(position),
                waiting_since: read.1,
                records: state.records,
                errors: state.errors,
                failing_since,
                error: error.or(unreadable),
            }
        };
        self.0.iter().map(status).collect()
    }
}

impl Post {
    /// What the sink is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the sink has told.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
