//! What billing and those who watch over the agent ask of it, other than by orders: who has acknowledged records, whether
//! the agent can do its work, which session runs.

use std::path::Path;
use std::sync::Arc;

use super::node::Node;
use crate::ledger::consumers::{Consumer, ConsumerError};
use crate::ledger::usage::PastSession;

impl Node {
    /// Where the ledger is, for readers beside the node.
    #[must_use]
    pub fn ledger_path(&self) -> Arc<Path> {
        self.config.ledger.as_path().into()
    }

    /// Name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.node
    }

    /// Why the agent cannot do all of its work, a sentence each; nothing if it can.
    #[must_use]
    pub fn in_the_way(&self) -> Vec<String> {
        let refused = self.refused.iter();
        let refused = refused.map(|why| format!("the latest reload or start was refused: {why}"));
        let unrecorded = self.recording.in_the_way().into_iter();
        let unrecorded = unrecorded.map(|why| format!("usage cannot be recorded: {why}"));
        let unpublished = self.unpublished.then(|| {
            "a change is written down and not in force yet; it is tried again all the time"
                .to_owned()
        });
        let without = self
            .in_force
            .is_none()
            .then(|| "no policy is in force".to_owned());
        let down = self
            .interfaces
            .states()
            .filter(|(_, attached)| attached.is_none());
        let down = down.map(|(place, _)| {
            format!(
                "interface `{}` is not attached: nothing is counted on it",
                place.interface
            )
        });
        refused
            .chain(unrecorded)
            .chain(unpublished)
            .chain(without)
            .chain(down)
            .collect()
    }

    /// The running session of a subscriber.
    #[must_use]
    pub fn running_session(&self, id: &str) -> Option<PastSession> {
        let session = self.accounts.subscribers.get(id)?.session.as_ref()?;
        Some(PastSession::unrecorded(
            self.maps.epoch(),
            session.number,
            session.start.time(),
            None,
            session.addresses.to_vec(),
        ))
    }

    /// Notes how far a consumer of records has come.
    ///
    /// # Errors
    /// When it cannot have come there, or it cannot be written down.
    pub fn acknowledge(
        &mut self,
        name: &str,
        seq: u64,
        rewind: bool,
    ) -> Result<Consumer, ConsumerError> {
        self.ledger.acknowledge(name, seq, rewind)
    }

    /// Forgets a consumer of records; whether there was one.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn forget_consumer(&mut self, name: &str) -> Result<bool, ConsumerError> {
        self.ledger.forget_consumer(name)
    }
}
