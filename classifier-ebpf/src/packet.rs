//! From a frame to its outermost IP header: addresses and IP bytes, or the reason there are none.
//!
//! Ethernet II, at most two VLAN tags, then IPv4, IPv6 or a PPPoE session with either. Whatever else is there
//! is not guessed at: it is non-IP, or malformed when it announced IP and is not.
//!
//! What the stack sends may still be a train of segments in one piece ([`train`](crate::train)): its IP bytes
//! are those of all packets it becomes.

use crate::train::Train;

/// A frame, however it is held. Reads come back as big-endian bytes leave the wire: in memory order.
pub trait Packet {
    /// Bytes the frame had on the wire, which may be more than can be read.
    fn room(&self) -> u32;
    /// Whether it had at least `bytes` bytes on the wire.
    #[inline(always)]
    fn has(&self, bytes: u32) -> bool {
        bytes <= self.room()
    }
    /// Two bytes at `offset` as a number in network order, if both were captured.
    fn half(&self, offset: u32) -> Option<u16>;
    /// `N` 32-bit words at `offset`, each a number in network order, if all were captured.
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]>;
    /// `N` 64-bit words at `offset`, likewise.
    fn longs<const N: usize>(&self, offset: u32) -> Option<[u64; N]>;
    /// What the frame becomes on the wire; a frame from a wire is one packet.
    #[inline(always)]
    fn train(&self) -> Train {
        Train::ONE
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// No IP packet, or none this parser follows: ARP, LLC, a third tag, MPLS, PPP control, ...
    NonIp,
    /// It announces IP, but its header cannot be true.
    Malformed,
    /// IPv4.
    V4(Ip<u32>),
    /// IPv6.
    V6(Ip<[u64; 2]>),
}

/// An IP packet: addresses in host order (IPv6 as upper and lower half) and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// IPv4 total length, or IPv6 payload length plus 40; of a train, the sum over its packets.
    pub bytes: u32,
}

const ETHERNET: u32 = 14;
const VLAN: u32 = 4;
/// PPPoE header and the PPP protocol behind it.
const PPPOE: u32 = 8;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
const PPPOE_SESSION: u16 = 0x8864;
/// PPPoE version 1, type 1, code 0 (session data): RFC 2516.
const PPPOE_DATA: u16 = 0x1100;
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const HOP_BY_HOP: u32 = 0;
/// Hop-by-hop header with the jumbo payload option and nothing else.
const JUMBO_OPTION: u32 = 8;

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

/// Finds the outermost IP header of a frame.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P) -> Parsed {
    match network(packet) {
        Some((IPV4, offset)) => ipv4(packet, offset),
        Some((IPV6, offset)) => ipv6(packet, offset),
        _ => Parsed::NonIp,
    }
}

/// What a frame says it carries, as an EtherType, and where that begins. `None` for what is not followed.
#[inline(always)]
pub(crate) fn network<P: Packet>(packet: &P) -> Option<(u16, u32)> {
    let mut offset = ETHERNET;
    let mut kind = packet.half(offset - 2)?;
    if kind != IPV4 && kind != IPV6 {
        // Twice, written out: the verifier likes it better than a loop, and there is no third.
        if is_tag(kind) {
            offset += VLAN;
            kind = packet.half(offset - 2)?;
            if is_tag(kind) {
                offset += VLAN;
                kind = packet.half(offset - 2)?;
            }
        }
        if kind == PPPOE_SESSION {
            if packet.half(offset)? != PPPOE_DATA {
                return None;
            }
            kind = match packet.half(offset + PPPOE - 2)? {
                PPP_IPV4 => IPV4,
                PPP_IPV6 => IPV6,
                _ => return None,
            };
            offset += PPPOE;
        }
    }
    Some((kind, offset))
}

#[inline(always)]
fn ipv4<P: Packet>(packet: &P, offset: u32) -> Parsed {
    let Some([first, _, _, source, destination]) = packet.words::<5>(offset) else {
        return Parsed::Malformed;
    };
    let version = first >> 28;
    let header = ((first >> 24) & 15) * 4;
    let train = packet.train();
    let bytes = match first & 0xffff {
        // Longer than the field can say, as only a train can be ("BIG TCP", Linux 6.3).
        0 if train.is_many() => packet.room().saturating_sub(offset),
        total => total,
    };
    if version != 4 || header < 20 || bytes < header || !packet.has(offset + bytes) {
        return Parsed::Malformed;
    }
    Parsed::V4(Ip {
        source,
        destination,
        bytes: train.bytes(bytes, offset),
    })
}

#[inline(always)]
fn ipv6<P: Packet>(packet: &P, offset: u32) -> Parsed {
    let Some([first, s0, s1, d0, d1]) = packet.longs::<5>(offset) else {
        return Parsed::Malformed;
    };
    let payload = (first >> 16) as u32 & 0xffff;
    let train = packet.train();
    let mut bytes = payload + 40;
    let mut option = 0;
    if payload == 0 {
        // A jumbogram (RFC 2675) says its length in an option; it cannot pass a link of ours. A train can: the stack
        // puts that option before long ones ("BIG TCP", Linux 5.19), and takes it out again when it cuts them apart.
        let jumbogram = (first >> 8) as u32 & 0xff == HOP_BY_HOP;
        if train.is_many() {
            option = if jumbogram { JUMBO_OPTION } else { 0 };
            bytes = packet.room().saturating_sub(offset + option);
        } else if jumbogram {
            return Parsed::Malformed;
        }
    }
    if first >> 60 != 6 || !packet.has(offset + bytes) {
        return Parsed::Malformed;
    }
    Parsed::V6(Ip {
        source: [s0, s1],
        destination: [d0, d1],
        bytes: train.bytes(bytes, offset + option),
    })
}

/// Bytes before the payload of a TCP or UDP packet that is not in a tunnel: what each packet of its train repeats.
/// As far as it can be followed otherwise.
#[inline(always)]
pub fn headers<P: Packet>(packet: &P) -> u32 {
    const TCP: u32 = 6;
    const UDP: u32 = 17;
    let mut offset = ETHERNET;
    let mut kind = packet.half(offset - 2);
    if kind.is_some_and(is_tag) {
        offset += VLAN;
        kind = packet.half(offset - 2);
        if kind.is_some_and(is_tag) {
            offset += VLAN;
            kind = packet.half(offset - 2);
        }
    }
    let protocol = match (kind, packet.words::<3>(offset)) {
        (Some(IPV4), Some([first, _, third])) => {
            offset += ((first >> 24) & 15) * 4;
            (third >> 16) & 0xff
        }
        (Some(IPV6), Some([_, second, _])) => {
            offset += 40;
            (second >> 8) & 0xff
        }
        _ => return offset,
    };
    match protocol {
        TCP => {
            offset
                + packet
                    .half(offset + 12)
                    .map_or(0, |half| u32::from(half >> 12) * 4)
        }
        UDP => offset + 8,
        _ => offset,
    }
}

/// A frame in a slice, for the host.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What was captured of it.
    pub captured: &'a [u8],
    /// Bytes it had on the wire.
    pub room: u32,
}

impl Frame<'_> {
    fn array<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let offset = offset as usize;
        self.captured.get(offset..offset + N)?.try_into().ok()
    }
}

impl Packet for Frame<'_> {
    fn room(&self) -> u32 {
        self.room
    }
    fn half(&self, offset: u32) -> Option<u16> {
        self.array(offset).map(u16::from_be_bytes)
    }
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let mut words = [0; N];
        for (word, at) in words.iter_mut().zip((offset..).step_by(4)) {
            *word = u32::from_be_bytes(self.array(at)?);
        }
        Some(words)
    }
    fn longs<const N: usize>(&self, offset: u32) -> Option<[u64; N]> {
        let mut longs = [0; N];
        for (long, at) in longs.iter_mut().zip((offset..).step_by(8)) {
            *long = u64::from_be_bytes(self.array(at)?);
        }
        Some(longs)
    }
}
