//! Holding the kernel's counters of interfaces against the books: read every interval, at the start and at the end, and
//! written down beside each other. Drivers add up what they took in when a poll ends, which programs saw packet by packet:
//! how far the one may be behind the other is read with them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use aya::util::online_cpus;
use classifier::books::{self, Books, Cell};
use classifier::charge;
use jiff::Timestamp;
use nix::sys::socket::SockProtocol;
use tracing::error;

use super::node::Node;
use super::views::hook;
use crate::datapath::grace;
use crate::datapath::links::{Attached, Place};
use crate::datapath::maps::MapsError;
use crate::datapath::object::Entry;
use crate::ledger::LedgerError;
use crate::netlink::{ACK, Netlink, attribute};
use crate::reconcile::{Counted, Reading, Reconciliation};
use crate::report::Direction;

/// `RTM_GETLINK` and `IFLA_STATS64` (rtnetlink(7), linux/if_link.h).
const GET_LINK: u16 = 18;
const STATS64: u16 = 23;
const HEAD: usize = 16;

/// Packets a driver takes in by one poll, at most (`NAPI_POLL_WEIGHT`, linux/netdevice.h).
const POLL: u64 = 64;

/// Packets in the books a grace period before interfaces are read, by place in the books.
#[derive(Debug)]
pub(crate) struct Before(BTreeMap<u32, u64>);

/// What has been read of interfaces.
#[derive(Debug, Default)]
pub(super) struct Readings {
    last: Vec<Reading>,
    /// What was in the way, said once.
    told: Option<String>,
}

impl Readings {
    /// Goes on from where the agent before this one left off.
    pub(super) const fn from(last: Vec<Reading>) -> Self {
        Self { last, told: None }
    }
}

/// Why interfaces were not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadingError {
    #[error("asking for the counters of {interface}: {error}")]
    Kernel { interface: String, error: io::Error },
    #[error(transparent)]
    Maps(#[from] MapsError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Node {
    /// Reads interfaces, and writes down what was counted since they were read before. What is in the way is logged once, and
    /// the next time makes up for it.
    pub(super) fn reconcile(&mut self) {
        match self.try_reconcile() {
            Ok(()) => self.readings.told = None,
            Err(error) => {
                let text = error.to_string();
                if self.readings.told.as_ref() != Some(&text) {
                    error!("interfaces are not held against the books; it is tried again: {text}");
                    self.readings.told = Some(text);
                }
            }
        }
    }

    fn try_reconcile(&mut self) -> Result<(), ReadingError> {
        let before = self.before_reading()?;
        grace::wait()?;
        let readings = self.read_interfaces(&before)?;
        let disturbed = self.interfaces.disturbed().clone();
        let rows = rows(&self.readings.last, &readings, &disturbed);
        self.ledger.reconcile(&readings, &rows)?;
        for reading in readings {
            let last = &mut self.readings.last;
            last.retain(|known| !is_of(known, &reading));
            last.push(reading);
        }
        self.interfaces.noted();
        Ok(())
    }

    /// What [`Self::unreconciled`] is to know, with a [grace period](grace::wait) between the two: drivers count a poll's packets
    /// at its end, and then every poll is over that was under way.
    pub(crate) fn before_reading(&self) -> Result<Before, MapsError> {
        let mut before = BTreeMap::new();
        for (place, _) in self.interfaces.states() {
            if let Some((direction, _)) = side(place) {
                let index = books::index(self.interfaces.numbers()[&place.interface], direction);
                before.insert(index, packets(&self.maps.books(index)?));
            }
        }
        Ok(Before(before))
    }

    /// What was counted since interfaces were read last, and is not written down.
    pub(crate) fn unreconciled(&self, before: &Before) -> anyhow::Result<Vec<Reconciliation>> {
        let readings = self.read_interfaces(before)?;
        Ok(rows(
            &self.readings.last,
            &readings,
            self.interfaces.disturbed(),
        ))
    }

    fn read_interfaces(&self, before: &Before) -> Result<Vec<Reading>, ReadingError> {
        let netlink =
            Netlink::open(SockProtocol::NetlinkRoute).map_err(|error| ReadingError::Kernel {
                interface: "interfaces".to_owned(),
                error,
            })?;
        let mut readings = Vec::new();
        for (place, attached) in self.interfaces.states() {
            if let (Some(attached), Some(side)) = (attached, side(place))
                && let Some(reading) =
                    self.read_interface(&netlink, (place, attached), side, before)?
            {
                readings.push(reading);
            }
        }
        Ok(readings)
    }

    /// `None` for an interface that has just gone.
    fn read_interface(
        &self,
        netlink: &Netlink,
        (place, attached): (&Place, &Attached),
        (direction, receives): (charge::Direction, bool),
        before: &Before,
    ) -> Result<Option<Reading>, ReadingError> {
        let index = books::index(self.interfaces.numbers()[&place.interface], direction);
        let ifindex = attached.ifindex();
        let before = before.0.get(&index).copied().unwrap_or(0);
        let then = packets(&self.maps.books(index)?);
        let kernel = match counters(netlink, ifindex, receives) {
            Ok(counted) => counted,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            Err(error) => {
                let interface = place.interface.clone();
                return Err(ReadingError::Kernel { interface, error });
            }
        };
        let books = self.maps.books(index)?;
        let cell = |cell: Cell| books[cell as usize];
        Ok(Some(Reading {
            time: Timestamp::now(),
            interface: place.interface.clone(),
            direction: Direction::from(direction),
            ifindex,
            hook: hook(attached.way(), place).to_owned(),
            kernel,
            books: Counted {
                packets: cell(Cell::Packets),
                bytes: cell(Cell::IpBytes),
            },
            stopped: cell(Cell::DroppedPackets) + cell(Cell::UnknownDroppedPackets),
            meanwhile: meanwhile(before, then, packets(&books)),
        }))
    }
}

/// How far the kernel's counter, read between `then` and `now`, may be from what the books have `now`: by what came while it was
/// read, and by what drivers had not added up, which came after `before`, a poll of each CPU at most.
fn meanwhile(before: u64, then: u64, now: u64) -> u64 {
    // Where nobody knows how many CPUs there are, as many as there were packets.
    let polled = online_cpus().map_or(u64::MAX, |cpus| cpus.len() as u64 * POLL);
    now - then + (then - before).min(polled)
}

const fn packets(books: &Books) -> u64 {
    books[Cell::Packets as usize]
}

/// What is counted at a place, and whether it is what the interface receives; nothing where marks are taken.
const fn side(place: &Place) -> Option<(charge::Direction, bool)> {
    match place.entry {
        Entry::Access | Entry::AccessWhole => Some((charge::Direction::Up, true)),
        Entry::Core | Entry::CoreWhole => Some((charge::Direction::Down, true)),
        Entry::Egress => Some((charge::Direction::Down, false)),
        Entry::Tag | Entry::Merge | Entry::Flush | Entry::AccessFrame | Entry::CoreFrame => None,
    }
}

fn is_of(known: &Reading, reading: &Reading) -> bool {
    (&known.interface, known.direction) == (&reading.interface, reading.direction)
}

/// What was counted between readings, where anything was.
fn rows(last: &[Reading], now: &[Reading], disturbed: &BTreeSet<String>) -> Vec<Reconciliation> {
    let row = |reading: &Reading| {
        let before = last.iter().find(|known| is_of(known, reading))?;
        let disturbed = disturbed.contains(&reading.interface);
        let row = Reconciliation::between(before, reading, disturbed);
        (!row.is_empty()).then_some(row)
    };
    now.iter().filter_map(row).collect()
}

/// What the kernel counts of an interface: what it received, or what it sent.
fn counters(netlink: &Netlink, ifindex: u32, receives: bool) -> io::Result<Counted> {
    let mut body = vec![0; HEAD];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let answers = netlink.ask(GET_LINK, ACK, &body)?;
    let stats = answers
        .first()
        .and_then(|answer| attribute(answer.get(HEAD..)?, STATS64));
    // rx_packets, tx_packets, rx_bytes, tx_bytes.
    let number = |at: usize| {
        let bytes = stats?.get(8 * at..8 * at + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let first = usize::from(!receives);
    match (number(first), number(first + 2)) {
        (Some(packets), Some(bytes)) => Ok(Counted { packets, bytes }),
        _ => Err(io::Error::other("the kernel does not say them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_has_not_added_up_is_no_more_than_came_lately_and_than_it_takes_at_once() {
        let polled = online_cpus().unwrap().len() as u64 * POLL;
        // Silence; three while it was read; three shortly before; many.
        assert_eq!(meanwhile(1_000, 1_000, 1_000), 0);
        assert_eq!(meanwhile(1_000, 1_000, 1_003), 3);
        assert_eq!(meanwhile(997, 1_000, 1_000), 3);
        assert_eq!(meanwhile(0, 1_000_000, 1_000_007), polled + 7);
    }

    #[test]
    fn the_kernel_says_what_an_interface_counted() -> io::Result<()> {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
        // The loopback receives what it sends.
        let (received, sent) = (counters(&netlink, 1, true)?, counters(&netlink, 1, false)?);
        assert!(received.packets.abs_diff(sent.packets) < 1_000);
        let error = counters(&netlink, i32::MAX as u32, true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        Ok(())
    }
}
