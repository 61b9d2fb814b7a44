//! Headers of many different packets that subscribers send, laid out as the bench's programs read them.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use serde::Serialize;
use zerorate::datapath::sys::Mapping;

use crate::random::{Random, Zipf, mix};
use crate::world::World;

/// Bytes of a slot of the table.
pub(crate) const SLOT_BYTES: usize = 64;
/// Bytes of a slot that are the header.
pub(crate) const CAPTURED: usize = 56;
/// Where in a slot the length of the frame stands.
const ROOM: usize = 60;
/// Slots the programs' table has.
pub(crate) const MOST: usize = 1 << 20;

/// Hosts the subscribers talk to. Their number is the same however many prefixes they are in, so that only the
/// look-up differs.
const HOSTS: usize = 1 << 20;
/// Zipf's exponent.
const S: f64 = 1.1;

/// Which packets follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pattern {
    /// One flow.
    Hot,
    /// Subscribers and remotes, independently, by Zipf's law.
    Zipf,
    /// Any subscriber with any prefix.
    Uniform,
}

impl Pattern {
    pub(crate) const ALL: [Self; 3] = [Self::Hot, Self::Zipf, Self::Uniform];
}

/// One header in its slot.
pub(crate) type Slot = [u8; SLOT_BYTES];

/// `count` headers of a pattern, a power of two; one for a single flow.
pub(crate) fn headers(world: &World, pattern: Pattern, count: usize) -> Vec<Slot> {
    let mut random = Random::new(0x7061_636b);
    match pattern {
        Pattern::Hot => {
            let subscriber = world.subscribers.len() / 2;
            let remote = address_in(&world.prefixes[0].0, &mut random);
            vec![header(world, subscriber, remote, &mut random)]
        }
        Pattern::Uniform => (0..count)
            .map(|_| {
                let subscriber = random.below(world.subscribers.len());
                let prefix = random.below(world.prefixes.len());
                let remote = address_in(&world.prefixes[prefix].0, &mut random);
                header(world, subscriber, remote, &mut random)
            })
            .collect(),
        Pattern::Zipf => {
            let mut by_rank: Vec<usize> = (0..world.subscribers.len()).collect();
            random.shuffle(&mut by_rank);
            let subscribers = Zipf::new(by_rank.len(), S);
            static REMOTES: LazyLock<Zipf> = LazyLock::new(|| Zipf::new(HOSTS, S));
            (0..count)
                .map(|_| {
                    let subscriber = by_rank[subscribers.draw(&mut random)];
                    let remote = host(world, REMOTES.draw(&mut random));
                    header(world, subscriber, remote, &mut random)
                })
                .collect()
        }
    }
}

/// The host of a rank: it has the same address whenever it is asked for, in any of the prefixes.
fn host(world: &World, rank: usize) -> IpAddr {
    let mut random = Random::new(mix(rank as u64));
    let prefix = random.below(world.prefixes.len());
    address_in(&world.prefixes[prefix].0, &mut random)
}

/// An address a prefix covers, any of them.
pub(crate) fn address_in(net: &IpNet, random: &mut Random) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let host = random.next() as u32 & net.hostmask().to_bits();
            IpAddr::V4((net.network().to_bits() | host).into())
        }
        IpNet::V6(net) => {
            let host = random.wide() & net.hostmask().to_bits();
            IpAddr::V6((net.network().to_bits() | host).into())
        }
    }
}

fn header(world: &World, subscriber: usize, remote: IpAddr, random: &mut Random) -> Slot {
    let source = address_in(&world.subscribers[subscriber].0, random);
    let mut slot = frame(source, remote, 60 + random.below(1_400) as u16);
    let room = u16::from_be_bytes(match remote {
        IpAddr::V4(_) => [slot[16], slot[17]],
        IpAddr::V6(_) => [slot[18], slot[19]],
    });
    let fixed = if remote.is_ipv4() { 14 } else { 54 };
    slot[ROOM..].copy_from_slice(&(u32::from(room) + fixed).to_ne_bytes());
    slot
}

/// An Ethernet frame's first bytes: an IP header that says it is `bytes` long, 40 at the least.
pub(crate) fn frame(source: IpAddr, destination: IpAddr, bytes: u16) -> Slot {
    const UDP: u8 = 17;
    let mut slot = [0; SLOT_BYTES];
    slot[..12].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            slot[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
            slot[16..18].copy_from_slice(&bytes.to_be_bytes());
            slot[22..24].copy_from_slice(&[64, UDP]);
            slot[26..30].copy_from_slice(&source.octets());
            slot[30..34].copy_from_slice(&destination.octets());
        }
        (source, destination) => {
            let octets = |address| match address {
                IpAddr::V4(address) => std::net::Ipv4Addr::to_ipv6_mapped(&address).octets(),
                IpAddr::V6(address) => address.octets(),
            };
            slot[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            slot[18..20].copy_from_slice(&(bytes - 40).to_be_bytes());
            slot[20..22].copy_from_slice(&[UDP, 64]);
            slot[22..38].copy_from_slice(&octets(source));
            slot[38..54].copy_from_slice(&octets(destination));
        }
    }
    slot
}

/// How long the frame of a slot is on the wire.
pub(crate) fn room(slot: &Slot) -> u32 {
    let [.., a, b, c, d] = *slot;
    u32::from_ne_bytes([a, b, c, d])
}

/// Writes headers into the programs' table.
pub(crate) fn write(table: &Mapping, headers: &[Slot]) {
    let words = headers.iter().flat_map(|slot| slot.chunks_exact(8));
    for (to, from) in table.words().iter().zip(words) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(from);
        to.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}
