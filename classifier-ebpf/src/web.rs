//! Whether a packet is web traffic, by the remote's port: what an interface with `on_block = "mark"` passes with a mark
//! where it would drop everything else. Asked only of packets that are to be dropped.
//!
//! Known is what can be read: the first fragment of a packet, with its ports in the frame, and in IPv6 directly behind
//! the fixed header or behind up to two extension headers. Nothing is guessed: everything else is no web traffic.

use crate::charge::Direction;
use crate::packet::{IPV4, IPV6, Packet, network};

const TCP: u32 = 6;
const UDP: u32 = 17;
const HOP_BY_HOP: u32 = 0;
const FRAGMENT: u32 = 44;
const DESTINATION: u32 = 60;

const HTTP: u32 = 80;
const HTTPS: u32 = 443;

/// Whether the remote's port is one of the web's: TCP 80 or 443, UDP 443.
#[inline(always)]
pub fn is_web<P: Packet>(packet: &P, direction: Direction) -> bool {
    let transport = match network(packet) {
        Some((IPV4, offset)) => behind4(packet, offset),
        Some((IPV6, offset)) => behind6(packet, offset),
        _ => None,
    };
    let Some(transport) = transport else {
        return false;
    };
    let Some([ports]) = packet.words::<1>(transport.offset) else {
        return false;
    };
    let remote = match direction {
        Direction::Up => ports & 0xffff,
        Direction::Down => ports >> 16,
    };
    match transport.protocol {
        TCP => remote == HTTP || remote == HTTPS,
        UDP => remote == HTTPS,
        _ => false,
    }
}

/// What an IP packet carries.
struct Transport {
    protocol: u32,
    /// Where it begins in the frame; a pair of ports is there.
    offset: u32,
}

/// Bytes of a pair of ports.
const PORTS: u32 = 4;

#[inline(always)]
fn behind4<P: Packet>(packet: &P, offset: u32) -> Option<Transport> {
    const LATER_FRAGMENT: u32 = 0x1fff;
    let [first, second, third] = packet.words::<3>(offset)?;
    if second & LATER_FRAGMENT != 0 {
        return None;
    }
    let header = ((first >> 24) & 15) * 4;
    let total = first & 0xffff;
    // A train may be longer than the field can say.
    if total < header + PORTS && !(total == 0 && packet.train().is_many()) {
        return None;
    }
    Some(Transport {
        protocol: (third >> 16) & 0xff,
        offset: offset + header,
    })
}

#[inline(always)]
fn behind6<P: Packet>(packet: &P, offset: u32) -> Option<Transport> {
    let [_, second] = packet.words::<2>(offset)?;
    let payload = second >> 16;
    let mut protocol = (second >> 8) & 0xff;
    let mut before = 0;
    // Twice, written out, as in the parser.
    if is_extension(protocol) {
        let (next, length) = extension(packet, protocol, offset + 40)?;
        protocol = next;
        before = length;
        if is_extension(protocol) {
            let (next, length) = extension(packet, protocol, offset + 40 + before)?;
            protocol = next;
            before += length;
        }
    }
    if payload < before + PORTS && !(payload == 0 && packet.train().is_many()) {
        return None;
    }
    Some(Transport {
        protocol,
        offset: offset + 40 + before,
    })
}

#[inline(always)]
const fn is_extension(protocol: u32) -> bool {
    matches!(protocol, HOP_BY_HOP | DESTINATION | FRAGMENT)
}

/// What stands behind an extension header, and how long that is. A later fragment's header has nothing behind it.
#[inline(always)]
fn extension<P: Packet>(packet: &P, kind: u32, offset: u32) -> Option<(u32, u32)> {
    const LATER_FRAGMENT: u32 = 0xfff8;
    let [word] = packet.words::<1>(offset)?;
    let next = word >> 24;
    match kind {
        FRAGMENT if word & LATER_FRAGMENT != 0 => None,
        FRAGMENT => Some((next, 8)),
        _ => Some((next, ((word >> 16) & 0xff) * 8 + 8)),
    }
}
