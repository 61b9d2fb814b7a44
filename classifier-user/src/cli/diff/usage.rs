//! What a change weighs in traffic: bytes a day that change price, and how many subscribers they are of.
//!
//! Two kinds of file say what was used. A summary of flows (`flows`) has remote addresses, and is exact about them. A ledger's
//! records (`records`) have classes instead: what a change of terms does is exact, what a change of addresses does has a
//! lower and an upper bound, and both are said.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::policy::Paid;

/// What was used, and what of it changes price.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// By plan, class and who pays.
    changes: BTreeMap<Change, Sum>,
    /// Bytes of all that was weighed.
    bytes: u64,
    /// What could not be weighed, by why not.
    left_out: BTreeMap<&'static str, u64>,
    /// What changes price for certain, and what may.
    least: Sum,
    most: Sum,
}

/// One way in which traffic changes price.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) plan: String,
    /// The class it is of, and the one it comes to be of.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) was: Paid,
    pub(super) is: Paid,
    pub(super) sure: Sure,
}

/// How well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sure {
    /// All of it changes price.
    Exact,
    /// Any part of it may, or none.
    UpTo,
}

#[derive(Debug, Default)]
struct Sum {
    bytes: u64,
    subscribers: BTreeSet<String>,
}

/// What was weighed, and over how long.
pub(super) struct Weighed {
    pub(super) usage: Usage,
    pub(super) days: f64,
    /// What the figures are, and what they are not.
    pub(super) notes: Vec<&'static str>,
}

impl Usage {
    /// Counts traffic that was weighed, whether or not it changes price.
    pub(super) fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Counts traffic that could not be weighed.
    pub(super) fn leave_out(&mut self, why: &'static str, bytes: u64) {
        *self.left_out.entry(why).or_default() += bytes;
    }

    /// Counts traffic of a subscriber of which some changes price, in one of these ways; `all` says whether all of it does.
    pub(super) fn changes(
        &mut self,
        changes: Vec<Change>,
        all: bool,
        subscriber: &str,
        bytes: u64,
    ) {
        if bytes == 0 || changes.is_empty() {
            return;
        }
        self.most.add(subscriber, bytes);
        if all {
            self.least.add(subscriber, bytes);
        }
        for change in changes {
            self.changes
                .entry(change)
                .or_default()
                .add(subscriber, bytes);
        }
    }
}

impl Sum {
    fn add(&mut self, subscriber: &str, bytes: u64) {
        self.bytes += bytes;
        if !self.subscribers.contains(subscriber) {
            self.subscribers.insert(subscriber.to_owned());
        }
    }
}

impl Weighed {
    fn a_day(&self, bytes: u64) -> u64 {
        (bytes as f64 / self.days).round() as u64
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let usage = &self.usage;
        for (change, sum) in &usage.changes {
            let Change {
                plan,
                from,
                to,
                was,
                is,
                sure,
            } = change;
            let bytes = grouped(self.a_day(sum.bytes));
            let subscribers = of_subscribers(sum.subscribers.len(), None);
            let most = match sure {
                Sure::Exact => "",
                Sure::UpTo => "at most ",
            };
            let classes = match from == to {
                true => from.clone(),
                false => format!("{from} to {to}"),
            };
            writeln!(
                out,
                "usage: plan {plan}, {classes}: {most}{bytes} bytes a day {subscribers}: {was}; becomes {is}"
            )?;
        }
        let [least, most] = [&usage.least, &usage.most].map(|sum| self.a_day(sum.bytes));
        let bytes = match least == most {
            true => grouped(least),
            false => format!("{} to {}", grouped(least), grouped(most)),
        };
        let all = grouped(self.a_day(usage.bytes));
        let subscribers = of_subscribers(
            usage.least.subscribers.len(),
            Some(usage.most.subscribers.len()),
        );
        writeln!(
            out,
            "usage: {bytes} of {all} bytes a day change price, {subscribers} ({} days of traffic)",
            (self.days * 100.0).round() / 100.0
        )?;
        for (why, bytes) in &usage.left_out {
            writeln!(out, "usage: left out: {} bytes {why}", grouped(*bytes))?;
        }
        for note in &self.notes {
            writeln!(out, "usage: {note}")?;
        }
        Ok(())
    }

    /// As rows: one for each change, one for all of it.
    pub(super) fn rows(&self) -> impl Iterator<Item = Value> {
        let changes = self.usage.changes.iter().map(|(change, sum)| {
            json!({
                "kind": "usage",
                "plan": change.plan,
                "from": change.from,
                "to": change.to,
                "was": change.was.to_string(),
                "is": change.is.to_string(),
                "exact": change.sure == Sure::Exact,
                "bytes": sum.bytes,
                "bytes_a_day": self.a_day(sum.bytes),
                "subscribers": sum.subscribers.len(),
            })
        });
        let Usage { least, most, .. } = &self.usage;
        let all = json!({
            "kind": "usage-all",
            "days": self.days,
            "bytes": self.usage.bytes,
            "bytes_a_day": self.a_day(self.usage.bytes),
            "changed_bytes_least": least.bytes,
            "changed_bytes_most": most.bytes,
            "changed_bytes_a_day_least": self.a_day(least.bytes),
            "changed_bytes_a_day_most": self.a_day(most.bytes),
            "subscribers_least": least.subscribers.len(),
            "subscribers_most": most.subscribers.len(),
            "left_out_bytes": self.usage.left_out.values().sum::<u64>(),
            "notes": self.notes,
        });
        changes.chain([all])
    }
}

/// As in `of 3 subscribers`, `of 0 to 3 subscribers`.
fn of_subscribers(least: usize, most: Option<usize>) -> String {
    let most = most.unwrap_or(least);
    let noun = if most == 1 {
        "subscriber"
    } else {
        "subscribers"
    };
    match least == most {
        true => format!("of {} {noun}", grouped(least as u64)),
        false => format!(
            "of {} to {} {noun}",
            grouped(least as u64),
            grouped(most as u64)
        ),
    }
}

fn grouped(number: u64) -> String {
    crate::report::grouped(number.into())
}
