//! The two sides that have to agree: what the senders' interfaces say they have sent, and what
//! zerorate has in its books and on its accounts.

use std::collections::BTreeMap;
use std::ops::{Add, Sub};

use anyhow::{Result, bail};
use serde::Deserialize;
use zerorate_tests::agent::Agent;
use zerorate_tests::counters::{Reading, Volume};
use zerorate_tests::topology::Lab;
use zerorate_tests::veth::Veth;

/// `charged` of bytes whose subscriber is unknown.
pub(crate) const UNATTRIBUTED: &str = "unattributed";

/// Where bytes are put.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Account {
    /// Empty if nobody is known.
    pub(crate) subscriber: String,
    pub(crate) class: String,
    /// `free`, `metered`, a bucket, `dropped` or [`UNATTRIBUTED`].
    pub(crate) charged: String,
}

/// Packets and IP bytes up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) bytes_up: u64,
    pub(crate) packets_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) packets_down: u64,
}

/// An interface of the gateway, and the one direction it counts in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) interface: String,
    pub(crate) direction: &'static str,
}

/// What zerorate has in the books of one point.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Books {
    pub(crate) seen: Volume,
    /// Bytes charged to subscribers, free or not.
    pub(crate) charged: u64,
    /// Bytes of subscribers that were not let through.
    pub(crate) dropped: u64,
    /// Bytes nobody is known for.
    pub(crate) unattributed: u64,
}

/// Everything since the agent was started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// By the senders' own counters.
    pub(crate) sent: BTreeMap<Point, Volume>,
    pub(crate) books: BTreeMap<Point, Books>,
    pub(crate) accounts: BTreeMap<Account, Traffic>,
}

/// What came to pass between two readings.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Accounts that have grown.
    pub(crate) accounts: Vec<(Account, Traffic)>,
    /// By the senders' own counters.
    pub(crate) sent: Traffic,
}

/// The senders' counters as they were when the agent had been started.
#[derive(Debug)]
pub(crate) struct Gauge(Vec<Reading>);

impl Gauge {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        lab.settle()?;
        Ok(Self(read(lab)?))
    }

    /// Reads both sides when nothing moves.
    pub(crate) fn read(&self, lab: &Lab, agent: &Agent) -> Result<Figures> {
        const ATTEMPTS: usize = 10;
        for _ in 0..ATTEMPTS {
            lab.settle()?;
            let before = read(lab)?;
            let rows = agent.usage_json()?;
            // A late packet would be on one side only.
            if read(lab)? != before {
                continue;
            }
            let mut figures = Figures::default();
            let points = lab.access.iter().map(up).chain([down(lab)]);
            for (point, (now, start)) in points.zip(before.iter().zip(&self.0)) {
                let wire = now.since(start)?;
                let sent = if point.direction == "up" {
                    wire.near_sent
                } else {
                    wire.far_sent
                };
                figures.sent.insert(point, sent);
            }
            for row in rows {
                figures.add(serde_json::from_value(row)?);
            }
            return Ok(figures);
        }
        bail!("the wires do not fall silent")
    }
}

/// The access wires in their order, then the core's.
fn read(lab: &Lab) -> Result<Vec<Reading>> {
    lab.access
        .iter()
        .chain([&lab.core])
        .map(Veth::read)
        .collect()
}

fn up(access: &Veth) -> Point {
    Point {
        interface: access.far.name.clone(),
        direction: "up",
    }
}

fn down(lab: &Lab) -> Point {
    Point {
        interface: lab.core.near.name.clone(),
        direction: "down",
    }
}

/// A line of `zerorate usage --format json`.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Row {
    Usage {
        subscriber: String,
        class: String,
        charged: String,
        #[serde(flatten)]
        traffic: Traffic,
    },
    Unattributed {
        class: String,
        #[serde(flatten)]
        traffic: Traffic,
    },
    Books {
        /// Absent in the row over all of them.
        interface: Option<String>,
        direction: Option<String>,
        packets: u64,
        ip_bytes: u64,
        attributed_bytes: u64,
        dropped_bytes: u64,
        unattributed_bytes: u64,
    },
}

impl Figures {
    fn add(&mut self, row: Row) {
        let (subscriber, class, charged, traffic) = match row {
            Row::Usage {
                subscriber,
                class,
                charged,
                traffic,
            } => (subscriber, class, charged, traffic),
            Row::Unattributed { class, traffic } => {
                (String::new(), class, UNATTRIBUTED.to_owned(), traffic)
            }
            Row::Books {
                interface,
                direction,
                packets,
                ip_bytes,
                attributed_bytes,
                dropped_bytes,
                unattributed_bytes,
            } => {
                let Some(interface) = interface else { return };
                let down = direction.as_deref() == Some("down");
                let direction = if down { "down" } else { "up" };
                let books = Books {
                    seen: Volume {
                        packets,
                        bytes: ip_bytes,
                    },
                    charged: attributed_bytes,
                    dropped: dropped_bytes,
                    unattributed: unattributed_bytes,
                };
                let point = Point {
                    interface,
                    direction,
                };
                self.books.insert(point, books);
                return;
            }
        };
        let account = Account {
            subscriber,
            class,
            charged,
        };
        let sum = self.accounts.entry(account).or_default();
        *sum = *sum + traffic;
    }

    /// What was added since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Change {
        let grown = self.accounts.iter().map(|(account, now)| {
            let before = earlier.accounts.get(account).copied().unwrap_or_default();
            (account.clone(), *now - before)
        });
        Change {
            accounts: grown
                .filter(|(_, more)| *more != Traffic::default())
                .collect(),
            sent: self.sent() - earlier.sent(),
        }
    }

    /// What the senders have sent, over all wires.
    pub(crate) fn sent(&self) -> Traffic {
        self.sent
            .iter()
            .fold(Traffic::default(), |mut sum, (point, sent)| {
                if point.direction == "up" {
                    sum.bytes_up += sent.bytes;
                    sum.packets_up += sent.packets;
                } else {
                    sum.bytes_down += sent.bytes;
                    sum.packets_down += sent.packets;
                }
                sum
            })
    }

    /// What is on all accounts.
    pub(crate) fn counted(&self) -> Traffic {
        total(self.accounts.values())
    }
}

impl Change {
    /// What was put on all accounts.
    pub(crate) fn counted(&self) -> Traffic {
        total(self.accounts.iter().map(|(_, traffic)| traffic))
    }

    /// What was put on accounts with one charge.
    pub(crate) fn charged(&self, charged: &str) -> Traffic {
        let alike = |account: &Account| account.charged == charged;
        let rows = self.accounts.iter().filter(|(account, _)| alike(account));
        total(rows.map(|(_, traffic)| traffic))
    }
}

fn total<'a>(traffic: impl Iterator<Item = &'a Traffic>) -> Traffic {
    traffic.fold(Traffic::default(), |sum, more| sum + *more)
}

impl Traffic {
    /// Bytes in both directions.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_up + self.bytes_down
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes_up: self.bytes_up + other.bytes_up,
            packets_up: self.packets_up + other.packets_up,
            bytes_down: self.bytes_down + other.bytes_down,
            packets_down: self.packets_down + other.packets_down,
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            bytes_up: self.bytes_up - earlier.bytes_up,
            packets_up: self.packets_up - earlier.packets_up,
            bytes_down: self.bytes_down - earlier.bytes_down,
            packets_down: self.packets_down - earlier.packets_down,
        }
    }
}
