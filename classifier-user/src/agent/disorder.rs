//! What of a node's status is not as it should be: why `zerorate status` exits with 1, and what the doctor finds of the agent.

use super::views::Status;

impl Status {
    /// What is not as it should be, in words; nothing on a node in order.
    #[must_use]
    pub fn disorder(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(refused) = &self.refused {
            all.push(format!("the latest reload or start was refused: {refused}"));
        }
        if let Some(unrecorded) = &self.unrecorded {
            all.push(format!("usage cannot be written down: {unrecorded}"));
        }
        if let Some(unaudited) = &self.unaudited {
            all.push(format!("the audit log: {unaudited}"));
        }
        if self.unpriced_packets != 0 {
            let n = self.unpriced_packets;
            all.push(format!("{n} packets passed without a verdict"));
        }
        for feed in &self.feeds {
            if let Some(error) = &feed.error {
                all.push(format!("the source of set {} is wrong: {error}", feed.set));
            } else if feed.stale {
                all.push(format!("the list of set {} is stale", feed.set));
            }
        }
        for sink in &self.sinks {
            if let Some(error) = &sink.error {
                all.push(format!("sink {}: {error}", sink.name));
            }
        }
        let missing = self.interfaces.iter().filter(|one| !one.is_in_order());
        all.extend(missing.map(|one| format!("nothing is counted on {} ({})", one.name, one.hook)));
        all
    }
}
