//! Pruning, as somebody asks for it.

use jiff::Timestamp;

use crate::agent::node::Node;
use crate::history::By;
use crate::ledger::records::Record;
use crate::ledger::sealed::{Prune, PruneError, Pruned};
use tracing::warn;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Records that ended before this, or at it; those that `retention` does not keep any longer, where nothing is said.
    pub before: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// Also what has to be kept, and what has not been brought everywhere.
    pub force: bool,
    /// Only to say what would be pruned.
    pub dry_run: bool,
}

impl Node {
    /// Prunes sealed files, oldest first: what, and the record that says so, unless it was only asked.
    ///
    /// # Errors
    /// When there is a reason to keep them, or it cannot be written.
    pub fn prune(&mut self, asked: Asked, by: &By) -> Result<(Pruned, Option<Record>), PruneError> {
        let now = Timestamp::now();
        let kept = self.config.records.retention;
        let kept = kept.before(now, &self.config.timezone);
        let who = match (&by.user, by.uid) {
            (Some(user), _) => user.clone(),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => by.how.clone(),
        };
        let prune = Prune {
            before: asked.before.unwrap_or(kept),
            kept,
            reason: asked.reason,
            by: who,
            force: asked.force,
        };
        let pruned = self.ledger.to_be_pruned(&prune)?;
        if !asked.force {
            for sink in self.sinks.status(&self.ledger) {
                // One that does not know how far it is may have none of them.
                let has = sink.position.unwrap_or(0);
                if has < pruned.last {
                    return Err(PruneError::Behind {
                        who: format!("sink {}", sink.name),
                        has,
                        last: pruned.last,
                    });
                }
            }
        }
        if asked.dry_run {
            return Ok((pruned, None));
        }
        let (pruned, record) = self.ledger.prune(&prune, now)?;
        warn!(
            first = pruned.first,
            last = pruned.last,
            files = pruned.files,
            by = prune.by,
            record = record.seq,
            "records are pruned: {}",
            prune.reason
        );
        Ok((pruned, Some(record)))
    }
}
