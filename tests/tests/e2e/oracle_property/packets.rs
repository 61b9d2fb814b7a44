//! Random packets: good ones between addresses that matter, behind all encapsulations, then broken.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::Index;
use zerorate_tests::oracle::packets::{self, V4Header};
use zerorate_tests::oracle::{Address, Captured, Prefix};

use super::world::{NOON, Places, Seed, seeds};

/// A packet, as what it is made of.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    time: Time,
    /// When the same packet was seen again, right behind it in the capture: flows go on while the policy changes.
    again: Vec<Time>,
    from_subscriber: bool,
    subscriber: Pick,
    remote: Pick,
    tags: Vec<u16>,
    pppoe: bool,
    /// An EtherType that is not that of the packet.
    announced: Option<u16>,
    body: Body,
    breaks: Vec<Break>,
}

/// When a packet was seen: in tenths of a second since noon, and a little before or after.
#[derive(Clone, Copy, Debug)]
struct Time {
    tenths: u8,
    nanoseconds: i64,
}

/// An address of a packet.
#[derive(Clone, Debug)]
enum Pick {
    /// In one of the prefixes that matter, near one of its ends or anywhere in it.
    Inside(Index, Host),
    /// Just outside of one.
    Beside(Index, bool),
    /// Wherever.
    Near(Seed),
}

#[derive(Clone, Copy, Debug)]
enum Host {
    First,
    Last,
    Any(u128),
}

#[derive(Clone, Debug)]
struct Body {
    options: u8,
    fragment: u16,
    protocol: u8,
    payload: u16,
}

/// What is done to a good frame.
#[derive(Clone, Debug)]
enum Break {
    /// The wire carried only a part.
    Cut(Index),
    /// Only a part was captured.
    Snap(Index),
    /// The wire carried something behind it.
    Pad(u8),
    /// One of the first bytes is another one.
    Byte(u8, u8),
    /// The original length is wrong, in either direction.
    Original(i32),
}

/// All packets.
pub(crate) fn packets() -> impl Strategy<Value = Packet> {
    let tpid = prop::sample::select(vec![0x8100, 0x88a8, 0x9100]);
    let tags = prop_oneof![
        4 => Just(vec![]),
        3 => prop::collection::vec(tpid, 0..4),
    ];
    let announced = prop_oneof![
        12 => Just(None),
        1 => prop::sample::select(vec![0x0800, 0x86dd, 0x0806, 0x8847, 0x9200, 0x0026]).prop_map(Some),
        1 => any::<u16>().prop_map(Some),
    ];
    let breaks = prop_oneof![
        5 => Just(vec![]),
        4 => prop::collection::vec(breaks(), 1..3),
    ];
    let again = prop::collection::vec(times(), 0..4);
    (
        (times(), again),
        any::<bool>(),
        (picks(), picks()),
        tags,
        prop::bool::weighted(0.2),
        announced,
        bodies(),
        breaks,
    )
        .prop_map(
            |(
                (time, again),
                from_subscriber,
                (subscriber, remote),
                tags,
                pppoe,
                announced,
                body,
                breaks,
            )| {
                Packet {
                    time,
                    again,
                    from_subscriber,
                    subscriber,
                    remote,
                    tags,
                    pppoe,
                    announced,
                    body,
                    breaks,
                }
            },
        )
}

fn times() -> impl Strategy<Value = Time> {
    let near = prop_oneof![
        2 => Just(0),
        1 => Just(-1),
        1 => Just(1),
        2 => -50_000_000..50_000_000i64,
    ];
    (0..90u8, near).prop_map(|(tenths, nanoseconds)| Time {
        tenths,
        nanoseconds,
    })
}

fn picks() -> impl Strategy<Value = Pick> {
    let host = prop_oneof![
        Just(Host::First),
        Just(Host::Last),
        any::<u128>().prop_map(Host::Any),
    ];
    let place = || any::<Index>();
    prop_oneof![
        6 => (place(), host).prop_map(|(place, host)| Pick::Inside(place, host)),
        2 => (place(), any::<bool>()).prop_map(|(place, above)| Pick::Beside(place, above)),
        1 => seeds().prop_map(Pick::Near),
    ]
}

fn bodies() -> impl Strategy<Value = Body> {
    let options = prop_oneof![4 => Just(0), 1 => 0..=10u8];
    let fragment = prop_oneof![3 => Just(0x4000), 1 => any::<u16>()];
    let protocol = prop::sample::select(vec![17, 6, 1, 58, 59, 0, 43, 44, 60, 41, 4, 50, 51, 255]);
    let payload =
        prop_oneof![6 => 0..100u16, 2 => 0..1500u16, 1 => 1400..=1460u16, 1 => 0..=9000u16];
    (options, fragment, protocol, payload).prop_map(|(options, fragment, protocol, payload)| Body {
        options,
        fragment,
        protocol,
        payload,
    })
}

fn breaks() -> impl Strategy<Value = Break> {
    let place = || any::<Index>();
    prop_oneof![
        2 => place().prop_map(Break::Cut),
        2 => place().prop_map(Break::Snap),
        2 => (0..60u8).prop_map(Break::Pad),
        3 => (0..70u8, any::<u8>()).prop_map(|(at, value)| Break::Byte(at, value)),
        1 => (-100..100i32).prop_map(Break::Original),
        1 => Just(Break::Original(262_144)),
    ]
}

impl Pick {
    /// The address, among these prefixes and of this family; a fixed one if there is no such prefix.
    fn address(&self, prefixes: &[Prefix], v6: bool) -> Address {
        let (place, host) = match self {
            Self::Near(seed) if seed.address().v6 == v6 => return seed.address(),
            Self::Near(_) => {
                return Address {
                    v6,
                    bits: 0x0102_0304,
                };
            }
            Self::Inside(place, host) => (place, *host),
            Self::Beside(place, true) => (place, Host::Last),
            Self::Beside(place, false) => (place, Host::First),
        };
        let family: Vec<&Prefix> = prefixes
            .iter()
            .filter(|prefix| prefix.first.v6 == v6)
            .collect();
        if family.is_empty() {
            return Address {
                v6,
                bits: 0x0102_0304,
            };
        }
        let prefix = place.get(&family);
        let width = prefix.first.width();
        let all = u128::MAX >> (128 - width);
        let hosts = all.checked_shr(prefix.length).unwrap_or(0);
        let mut bits = match host {
            Host::First => prefix.first.bits,
            Host::Last => prefix.first.bits | hosts,
            Host::Any(any) => prefix.first.bits | (any & hosts),
        };
        if let Self::Beside(_, above) = self {
            bits = if *above {
                bits.wrapping_add(1)
            } else {
                bits.wrapping_sub(1)
            } & all;
        }
        Address { v6, bits }
    }

    /// The family of the prefix it is picked from.
    fn family(&self, prefixes: &[Prefix]) -> Option<bool> {
        match self {
            Self::Near(seed) => Some(seed.address().v6),
            Self::Inside(place, _) | Self::Beside(place, _) => {
                (!prefixes.is_empty()).then(|| place.get(prefixes).first.v6)
            }
        }
    }
}

impl Time {
    /// In nanoseconds.
    fn since_1970(self) -> i128 {
        let since_noon = i128::from(self.tenths) * 100_000_000 + i128::from(self.nanoseconds);
        NOON * 1_000_000_000 + since_noon
    }
}

impl Packet {
    /// The packet in a capture of this link type, as often as it was seen.
    pub(crate) fn captured(&self, link: u32, places: &Places) -> impl Iterator<Item = Captured> {
        let family = self.remote.family(&places.sets);
        let v6 = family
            .or_else(|| self.subscriber.family(&places.subscribers))
            .unwrap_or(false);
        let subscriber = self.subscriber.address(&places.subscribers, v6);
        let remote = self.remote.address(&places.sets, v6);
        let (source, destination) = if self.from_subscriber {
            (subscriber, remote)
        } else {
            (remote, subscriber)
        };
        let packet = self.body.packet(source, destination);
        let mut bytes = self.on_link(link, v6, packet);
        let mut original = bytes.len() as i64;
        for one in &self.breaks {
            match one {
                Break::Cut(place) => {
                    bytes.truncate(place.index(bytes.len() + 1));
                    original = bytes.len() as i64;
                }
                Break::Snap(place) => bytes.truncate(place.index(bytes.len() + 1)),
                Break::Pad(by) => {
                    bytes.resize(bytes.len() + usize::from(*by), 0);
                    original += i64::from(*by);
                }
                Break::Byte(at, value) => {
                    if let Some(byte) = bytes.get_mut(usize::from(*at)) {
                        *byte = *value;
                    }
                }
                Break::Original(by) => original = (original + i64::from(*by)).max(0),
            }
        }
        let times = [self.time].into_iter().chain(self.again.clone());
        times.map(move |time| Captured {
            time: time.since_1970(),
            link,
            original: original.unsigned_abs(),
            bytes: bytes.clone(),
        })
    }

    /// The IP packet behind the link's own header, tags and PPPoE where the link can have them.
    fn on_link(&self, link: u32, v6: bool, packet: Vec<u8>) -> Vec<u8> {
        let (ppp, ip) = if v6 {
            (0x0057, 0x86dd)
        } else {
            (0x0021, 0x0800)
        };
        let (ethertype, payload) = if self.pppoe {
            (
                0x8864,
                packets::pppoe(self.announced.unwrap_or(ppp), &packet),
            )
        } else {
            (self.announced.unwrap_or(ip), packet.clone())
        };
        let typed = packets::behind_tags(&self.tags, ethertype, &payload);
        match link {
            1 => packets::tagged(&self.tags, ethertype, &payload),
            113 => [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &typed].concat(),
            276 => [&typed[..2], &[0; 18], &typed[2..]].concat(),
            0 | 108 => {
                let family: u32 = match (self.announced, v6) {
                    (Some(other), _) => u32::from(other % 32),
                    (None, true) => [10, 24, 28, 30][usize::from(self.body.protocol % 4)],
                    (None, false) => 2,
                };
                let little = self.pppoe;
                let family = if little {
                    family.to_le_bytes()
                } else {
                    family.to_be_bytes()
                };
                [&family[..], &packet].concat()
            }
            _ => packet,
        }
    }
}

impl Body {
    fn packet(&self, source: Address, destination: Address) -> Vec<u8> {
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = V4Header {
                    options: vec![1; usize::from(self.options) * 4],
                    fragment: self.fragment,
                    protocol: self.protocol,
                };
                packets::ipv4(source, destination, &header, usize::from(self.payload))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let payload = packets::filler(usize::from(self.payload));
                packets::ipv6(source, destination, self.protocol, &payload)
            }
            _ => panic!("both addresses are of one family"),
        }
    }
}
