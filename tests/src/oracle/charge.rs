//! Who pays for a packet, and the ledger of one replay.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::frame::{IpPacket, Reading};
use super::policy::{Nanoseconds, Policy};
use super::subscribers::Subscribers;

/// How replay finds the subscriber's side of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Subscribers are behind the interface: the source, up.
    Access,
    /// Subscribers are on the other side: the destination, down.
    Core,
    /// The source if it is a subscriber's, else the destination if it is.
    Auto,
}

impl Role {
    /// The name it has on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Core => "core",
            Self::Auto => "auto",
        }
    }
}

/// Which way a packet goes, seen from the subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the subscriber.
    Up,
    /// To the subscriber.
    Down,
}

/// Bytes and packets, up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) bytes_up: u128,
    pub(super) packets_up: u128,
    pub(super) bytes_down: u128,
    pub(super) packets_down: u128,
}

impl Tally {
    fn add(&mut self, direction: Direction, bytes: u64) {
        let (total, packets) = match direction {
            Direction::Up => (&mut self.bytes_up, &mut self.packets_up),
            Direction::Down => (&mut self.bytes_down, &mut self.packets_down),
        };
        *total += u128::from(bytes);
        *packets += 1;
    }
}

/// What the interface saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    pub(super) packets: u128,
    pub(super) ip_packets: u128,
    pub(super) ip_bytes: u128,
    pub(super) non_ip_packets: u128,
    pub(super) malformed_packets: u128,
}

/// Everything one replay counts.
pub(super) struct Ledger<'a> {
    policy: &'a Policy,
    subscribers: &'a Subscribers,
    /// What is left in each subscriber's buckets; granted once, before the first packet.
    buckets: Vec<BTreeMap<String, i128>>,
    /// By subscriber's place in the file, class, and who paid.
    pub(super) usage: BTreeMap<(usize, String, String), Tally>,
    pub(super) unattributed: BTreeMap<String, Tally>,
    pub(super) books: Books,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(policy: &'a Policy, subscribers: &'a Subscribers) -> Result<Self> {
        let granted = subscribers.0.iter().map(|subscriber| {
            let plan = policy.plans.get(&subscriber.plan);
            Ok(plan
                .with_context(|| format!("no plan {}", subscriber.plan))?
                .buckets
                .clone())
        });
        Ok(Self {
            policy,
            subscribers,
            buckets: granted.collect::<Result<_>>()?,
            usage: BTreeMap::new(),
            unattributed: BTreeMap::new(),
            books: Books::default(),
        })
    }

    pub(super) fn count(&mut self, role: Role, time: Nanoseconds, reading: &Reading) -> Result<()> {
        self.books.packets += 1;
        let packet = match reading {
            Reading::NonIp => {
                self.books.non_ip_packets += 1;
                return Ok(());
            }
            Reading::Malformed => {
                self.books.malformed_packets += 1;
                return Ok(());
            }
            Reading::Ip(packet) => packet,
        };
        self.books.ip_packets += 1;
        self.books.ip_bytes += u128::from(packet.bytes);

        let (owner, direction) = self.side(role, packet);
        let remote = match direction {
            Direction::Up => packet.destination,
            Direction::Down => packet.source,
        };
        let class = self.policy.class_of(remote, time)?;
        let tally = match owner {
            None => self.unattributed.entry(class.to_owned()).or_default(),
            Some(place) => {
                let charged = self.charge(place, class, direction, packet.bytes)?;
                self.usage
                    .entry((place, class.to_owned(), charged))
                    .or_default()
            }
        };
        tally.add(direction, packet.bytes);
        Ok(())
    }

    fn side(&self, role: Role, packet: &IpPacket) -> (Option<usize>, Direction) {
        let sender = self.subscribers.owner_of(packet.source);
        let receiver = self.subscribers.owner_of(packet.destination);
        match role {
            Role::Access => (sender, Direction::Up),
            Role::Core => (receiver, Direction::Down),
            Role::Auto if sender.is_none() && receiver.is_some() => (receiver, Direction::Down),
            Role::Auto => (sender, Direction::Up),
        }
    }

    /// The four rules, in their order.
    fn charge(
        &mut self,
        place: usize,
        class: &str,
        direction: Direction,
        bytes: u64,
    ) -> Result<String> {
        let subscriber = &self.subscribers.0[place];
        let plan = self.policy.plans.get(&subscriber.plan).context("no plan")?;
        let essential = self
            .policy
            .classes
            .get(class)
            .context("no class")?
            .essential;
        let buckets = &mut self.buckets[place];
        let dropped = if essential { "free" } else { "dropped" };

        if subscriber.suspended && !essential && !plan.ignores_suspension {
            return Ok("dropped".to_owned());
        }
        let chain = plan.chain(class)?;
        if chain == ["free"] {
            return Ok("free".to_owned());
        }
        if !plan.gate.is_empty() && plan.gate.iter().all(|bucket| buckets[bucket] <= 0) {
            return Ok(dropped.to_owned());
        }
        let counts = match direction {
            Direction::Up => plan.counts_up,
            Direction::Down => plan.counts_down,
        };
        for link in chain {
            match link.as_str() {
                "metered" if plan.limited => {
                    let left = buckets.get_mut("limit").context("no limit")?;
                    if *left <= 0 {
                        return Ok(dropped.to_owned());
                    }
                    if counts {
                        *left -= i128::from(bytes);
                    }
                    return Ok("metered".to_owned());
                }
                "free" | "metered" => return Ok(link.clone()),
                "drop" => return Ok(dropped.to_owned()),
                bucket => {
                    let left = buckets.get_mut(bucket).context("no bucket")?;
                    if *left > 0 {
                        if counts {
                            *left -= i128::from(bytes);
                        }
                        return Ok(bucket.to_owned());
                    }
                }
            }
        }
        anyhow::bail!("a chain without an end")
    }
}
