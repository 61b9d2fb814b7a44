//! What an agent says was used, as numbers to hold against the wires'.

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::counters::Volume;

/// Traffic of a subscriber, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// What it sent.
    pub up: Volume,
    /// What it received.
    pub down: Volume,
}

/// Everything `zerorate usage` tells, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// By subscriber, class, and who was charged, whatever the plan.
    pub usage: BTreeMap<(String, String, String), Flow>,
    /// Of unknown subscribers, by class.
    pub unattributed: BTreeMap<String, Flow>,
    /// A line for each interface and direction, and one over all.
    pub books: Vec<Books>,
}

/// A line of the books, in IP bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the public contract")]
pub struct Books {
    pub interface: Option<String>,
    pub direction: Option<String>,
    pub packets: u64,
    pub ip_packets: u64,
    pub ip_bytes: u64,
    pub non_ip_packets: u64,
    pub malformed_packets: u64,
    pub attributed_bytes: u64,
    pub unattributed_bytes: u64,
    pub dropped_bytes: u64,
    pub difference_bytes: i64,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Usage {
        subscriber: String,
        class: String,
        charged: String,
        #[serde(flatten)]
        counts: Counts,
    },
    Unattributed {
        class: String,
        #[serde(flatten)]
        counts: Counts,
    },
    Books(Books),
}

#[derive(Deserialize)]
struct Counts {
    bytes_up: u64,
    packets_up: u64,
    bytes_down: u64,
    packets_down: u64,
}

impl Bill {
    /// Reads the lines of `usage --format json`.
    ///
    /// # Errors
    /// If one of them is of an unknown kind, or lacks a field.
    pub fn parse(lines: Vec<Value>) -> Result<Self> {
        let mut bill = Self::default();
        for line in lines {
            let text = line.to_string();
            match serde_json::from_value(line).with_context(|| format!("no such line: {text}"))? {
                Line::Usage {
                    subscriber,
                    class,
                    charged,
                    counts,
                } => {
                    let key = (subscriber, class, charged);
                    *bill.usage.entry(key).or_default() += counts.into();
                }
                Line::Unattributed { class, counts } => {
                    *bill.unattributed.entry(class).or_default() += counts.into();
                }
                Line::Books(books) => bill.books.push(books),
            }
        }
        Ok(bill)
    }

    /// What one account paid for one class of one subscriber.
    #[must_use]
    pub fn charged(&self, subscriber: &str, class: &str, charged: &str) -> Flow {
        let key = (subscriber.to_owned(), class.to_owned(), charged.to_owned());
        self.usage.get(&key).copied().unwrap_or_default()
    }

    /// Everything counted for one subscriber, what was dropped included.
    #[must_use]
    pub fn of(&self, subscriber: &str) -> Flow {
        self.sum(|(owner, _, _)| owner == subscriber)
    }

    /// The sum of the lines that are wanted, each known by its subscriber, class and charge.
    #[must_use]
    pub fn sum(&self, wanted: impl Fn(&(String, String, String)) -> bool) -> Flow {
        let lines = self.usage.iter().filter(|(key, _)| wanted(key));
        lines.fold(Flow::default(), |sum, (_, flow)| sum + *flow)
    }

    /// The line over all interfaces.
    #[must_use]
    pub fn total(&self) -> Books {
        let found = self.books.iter().find(|books| books.interface.is_none());
        found.cloned().unwrap_or_default()
    }

    /// The line of an interface, which counts one way only.
    #[must_use]
    pub fn interface(&self, name: &str) -> Books {
        let found = self
            .books
            .iter()
            .find(|books| books.interface.as_deref() == Some(name));
        found.cloned().unwrap_or_default()
    }

    /// Whether every line of the books closes: to the byte, and to the packet.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.books.iter().all(|books| {
            books.difference_bytes == 0
                && books.packets
                    == books.ip_packets + books.non_ip_packets + books.malformed_packets
        })
    }
}

impl From<Counts> for Flow {
    fn from(counts: Counts) -> Self {
        Self {
            up: Volume {
                packets: counts.packets_up,
                bytes: counts.bytes_up,
            },
            down: Volume {
                packets: counts.packets_down,
                bytes: counts.bytes_down,
            },
        }
    }
}

impl Add for Flow {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            up: self.up + other.up,
            down: self.down + other.down,
        }
    }
}

impl AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
