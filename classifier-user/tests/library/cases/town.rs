//! The subscribers of these tests and their packets: who has which addresses, what the remotes are, as frames and as an image.

use std::net::Ipv6Addr;

use classifier::image::Binding;
use ipnet::IpNet;
use zerorate::image::{ChainEntry, Compiled, Labels, PlanEntry, Source};

pub(super) const SUBSCRIBERS: u32 = 3;
pub(super) const REMOTES: u32 = 4;
/// Classes, and meters of a row: two for each.
pub(super) const CLASSES: u32 = 3;
/// A block, then a row of two lines.
pub(super) const LINES_EACH: u32 = 3;

/// A packet: of whom, with which remote, in which direction and family, whether it is tagged, of how many IP bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) own: u32,
    pub(super) remote: u32,
    pub(super) down: bool,
    pub(super) v6: bool,
    pub(super) tagged: bool,
    pub(super) bytes: u16,
}

pub(super) fn block(number: u32) -> u32 {
    1 + number * LINES_EACH
}

pub(super) fn row(number: u32) -> u32 {
    block(number) + 1
}

pub(super) fn own4(number: u32) -> [u8; 4] {
    [10, 0, 0, number as u8]
}

pub(super) fn remote4(number: u32) -> [u8; 4] {
    [198, 51, 100, number as u8]
}

pub(super) fn own6(number: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, number as u16, 0, 0, 0, 7)
}

/// Of the same bits as the IPv4 address, and another class.
pub(super) fn remote6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(u32::from_be_bytes(remote4(number))))
}

pub(super) fn nets(number: u32) -> [IpNet; 2] {
    [
        IpNet::new(own4(number).into(), 32).unwrap(),
        IpNet::new(own6(number).into(), 64).unwrap().trunc(),
    ]
}

pub(super) fn frame(packet: Packet) -> Vec<u8> {
    let (own, remote) = (packet.own, packet.remote);
    let mut frame = vec![0; 14 + usize::from(packet.bytes)];
    let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
    let ends = |source, destination| {
        if packet.down {
            (destination, source)
        } else {
            (source, destination)
        }
    };
    if packet.v6 {
        let (own_at, remote_at) = ends(22, 38);
        put(12, &[0x86, 0xdd, 0x60]);
        put(18, &(packet.bytes - 40).to_be_bytes());
        put(20, &[17]);
        put(own_at, &own6(own).octets());
        put(remote_at, &remote6(remote).octets());
    } else {
        let (own_at, remote_at) = ends(26, 30);
        put(12, &[0x08, 0x00, 0x45]);
        put(16, &packet.bytes.to_be_bytes());
        put(own_at, &own4(own));
        put(remote_at, &remote4(remote));
    }
    frame
}

/// The DSCP of a frame.
pub(super) fn dscp_of(frame: &[u8]) -> u32 {
    let class = match frame[14] >> 4 {
        4 => frame[15],
        _ => frame[14] << 4 | frame[15] >> 4,
    };
    u32::from(class >> 2)
}

/// Who has which addresses, who is suspended, which class the remotes are.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) serial: u32,
    pub(super) turned: u32,
    pub(super) has: [u32; SUBSCRIBERS as usize],
    pub(super) suspended: [bool; SUBSCRIBERS as usize],
    pub(super) nobodys: [bool; SUBSCRIBERS as usize],
}

impl State {
    /// Who is counted for addresses; the last subscriber's plan has a bucket.
    pub(super) fn binding(&self, addresses: u32) -> Binding {
        let who = self.has[addresses as usize];
        let plan = u32::from(who == SUBSCRIBERS - 1);
        let binding = Binding::new(row(who), plan, self.suspended[who as usize]);
        if plan == 1 {
            binding.with_block_before()
        } else {
            binding
        }
    }

    /// Of the subscriber's own addresses now.
    pub(super) fn nets_of(&self, who: u32) -> Vec<IpNet> {
        self.somebodys()
            .filter(|addresses| self.has[*addresses as usize] == who)
            .flat_map(nets)
            .collect()
    }

    /// Addresses that are somebody's.
    pub(super) fn somebodys(&self) -> impl Iterator<Item = u32> {
        (0..SUBSCRIBERS).filter(|addresses| !self.nobodys[*addresses as usize])
    }

    /// Some of them, and whose they are.
    pub(super) fn bound(&self, some: &[u32]) -> Vec<(IpNet, Binding)> {
        let some = self
            .somebodys()
            .filter(|addresses| some.contains(addresses));
        some.flat_map(|addresses| nets(addresses).map(|net| (net, self.binding(addresses))))
            .collect()
    }

    pub(super) fn source(&self) -> Source {
        let end = |class: u32, free| ChainEntry {
            free,
            end_free: free,
            end: Some(2 * class as u8),
            dropped: Some(2 * class as u8 + 1),
            ..ChainEntry::default()
        };
        let essential = ChainEntry {
            essential: true,
            rescued: Some(2),
            ..end(1, true)
        };
        let drawing = ChainEntry {
            steps: vec![(0, 0)],
            dropped: Some(1),
            ..ChainEntry::default()
        };
        let plan = |first| PlanEntry {
            count_up: true,
            count_down: true,
            chains: vec![Some(first), Some(essential.clone()), Some(end(2, false))],
            ..PlanEntry::default()
        };
        let class = |remote| (remote + self.turned) % CLASSES;
        Source {
            serial: self.serial,
            classes: (0..REMOTES)
                .flat_map(|remote| {
                    let v4 = IpNet::new(remote4(remote).into(), 32).unwrap();
                    let v6 = IpNet::new(remote6(remote).into(), 128).unwrap();
                    [(v4, class(remote)), (v6, class(remote + 1))]
                })
                .collect(),
            subscribers: self.bound(&[0, 1, 2]),
            plans: vec![(0, plan(end(0, false))), (1, plan(drawing))],
            labels: Labels {
                mask: 0x0fff_0000,
                classes: (1..=CLASSES).map(|class| Some(10 * class)).collect(),
            },
            ..Source::default()
        }
    }

    pub(super) fn compile(&self) -> Compiled {
        self.source().compile().expect("it fits")
    }
}
