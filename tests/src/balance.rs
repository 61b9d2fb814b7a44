//! A subscriber's bucket under test: what billing did to it, and whether the books of it close. Whatever happens, drawn is
//! what was granted and not taken back or left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::netns::Endpoint;
use crate::traffic::udp;

/// A bucket, and what its plan granted it at first, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// The subscriber.
    pub subscriber: &'static str,
    /// The bucket's name.
    pub name: &'static str,
    /// The first grant.
    pub granted: i128,
}

impl Bucket {
    /// An order on it: `["grant", "1MB"]`.
    ///
    /// # Errors
    /// If it is refused.
    pub fn order(&self, agent: &Agent, id: &str, words: &[&str]) -> Result<Value> {
        let [action, amount @ ..] = words else {
            anyhow::bail!("no action");
        };
        let mut arguments = vec!["bucket", action, self.subscriber, self.name];
        arguments.extend(amount);
        arguments.extend(["--id", id]);
        agent.ask_json(&arguments)?.pop().context("no answer")
    }

    /// What is left in it, in bytes.
    ///
    /// # Errors
    /// If the agent does not say.
    pub fn left(&self, agent: &Agent) -> Result<i64> {
        agent.left(self.subscriber, self.name)
    }

    /// The records of it since its plan granted what it has at first, the oldest first.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub fn records(&self, agent: &Agent) -> Result<Vec<Value>> {
        let mut records = self.all_records(agent)?;
        records.retain(|record| !is_first(record));
        Ok(records)
    }

    fn all_records(&self, agent: &Agent) -> Result<Vec<Value>> {
        let all = agent.ask_json(&["record", "list", "--subscriber", self.subscriber])?;
        // Usage is what it was drawn for, not what was done to it.
        let of_it = |record: &Value| record["bucket"] == self.name && record["kind"] != "usage";
        Ok(all.into_iter().filter(of_it).collect())
    }

    /// What was booked of it in all: granted, at first and later, and written off, less everything taken back.
    fn booked(&self, agent: &Agent) -> Result<i128> {
        let mut sum = 0;
        for record in self.all_records(agent)? {
            let bytes = i128::from(record["bytes"].as_u64().context("no bytes")?);
            sum += match record["kind"].as_str() {
                Some("grant" | "write_off") => bytes,
                Some("debit" | "return" | "expire") => -bytes,
                kind => anyhow::bail!("a record of kind {kind:?}"),
            };
        }
        Ok(sum)
    }

    /// What packets drew from it.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub fn drawn(&self, agent: &Agent) -> Result<u64> {
        let bill = agent.bill()?;
        let of_it = bill.sum(|(of, _, charged)| of == self.subscriber && charged == self.name);
        Ok(of_it.up.bytes + of_it.down.bytes)
    }

    /// The sum of `bytes_drawn` over the subscriber's usage.
    fn recorded(&self, agent: &Agent) -> Result<i128> {
        let statement = agent.ask_json(&["usage", "--subscriber", self.subscriber])?;
        let of_it = |line: &&Value| line["kind"] == "usage" && line["charged"] == self.name;
        let drawn = statement.iter().filter(of_it).map(|line| {
            let bytes = line["bytes_drawn"].as_u64().context("no bytes_drawn")?;
            Ok(i128::from(bytes))
        });
        drawn.sum()
    }

    /// Sees that all of it adds up, when traffic rests; and that the agent is in order.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(&self, agent: &Agent) -> Result<()> {
        self.check_with(agent, 0)
    }

    /// The same, of counters that began anew when so much was drawn.
    ///
    /// # Errors
    /// If it does not add up.
    pub fn check_with(&self, agent: &Agent, before: u64) -> Result<()> {
        let left = i128::from(self.left(agent)?);
        let drawn = i128::from(self.drawn(agent)?) + i128::from(before);
        let booked = self.booked(agent)?;
        ensure!(
            drawn == booked - left,
            "{drawn} were drawn, {booked} booked, {left} are left"
        );
        let records = self.all_records(agent)?;
        let first = records.iter().filter(|record| is_first(record));
        let granted: u64 = first.filter_map(|record| record["bytes"].as_u64()).sum();
        ensure!(
            i128::from(granted) == self.granted,
            "{granted} are recorded as granted at first, and the plan says {}",
            self.granted
        );
        // The same by what billing reads: records of all epochs, and what is not recorded yet.
        let recorded = self.recorded(agent)?;
        ensure!(
            recorded == drawn,
            "{drawn} were drawn, and records say {recorded}"
        );
        agent.check_order()
    }
}

/// Whether a record is of what a plan granted at first.
fn is_first(record: &Value) -> bool {
    let reason = record["reason"].as_str();
    reason.is_some_and(|reason| reason.starts_with("granted at first"))
}

/// Does something while datagrams leave for each pair's second end all the time, whatever becomes of them.
///
/// # Errors
/// With those of `work`, or if nothing can be sent.
pub fn busy<T>(pairs: &[(Endpoint, Endpoint)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let senders: Vec<_> = pairs
            .iter()
            .map(|(from, to)| {
                scope.spawn(move || -> Result<()> {
                    while !done.load(Ordering::Relaxed) {
                        udp(from, to, 500, 972)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let worked = work();
        done.store(true, Ordering::Relaxed);
        for sender in senders {
            sender
                .join()
                .map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        worked
    })
}
