//! Frames put together by hand, byte by byte: right ones, which a test then cuts or patches.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What [`ipv4`] writes into a header, besides the addresses.
#[derive(Clone, Debug, Default)]
pub struct V4Header {
    /// Options, a multiple of 4 bytes, at most 40.
    pub options: Vec<u8>,
    /// Flags and fragment offset as they stand in the header.
    pub fragment: u16,
    /// Protocol number of the payload.
    pub protocol: u8,
}

/// An IPv4 packet with a payload of so many bytes.
#[must_use]
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, header: &V4Header, payload: usize) -> Vec<u8> {
    let header_length = 20 + header.options.len();
    let words = (header_length / 4) as u8;
    let mut packet = vec![0x40 | words, 0];
    packet.extend(((header_length + payload) as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(header.fragment.to_be_bytes());
    packet.extend([64, header.protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(&header.options);
    packet.extend(filler(payload));
    packet
}

/// An IPv6 packet; extension headers are part of its payload.
#[must_use]
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A payload of so many bytes, none of them zero.
#[must_use]
pub fn filler(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 + 1).collect()
}

/// An Ethernet II frame.
#[must_use]
pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    tagged(&[], ethertype, payload)
}

/// An Ethernet II frame with tags, given by their TPID, outermost first.
#[must_use]
pub fn tagged(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02];
    frame.extend(behind_tags(tags, ethertype, payload));
    frame
}

/// What follows the addresses of a tagged frame: the tags, the type and the payload.
#[must_use]
pub fn behind_tags(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, tpid) in tags.iter().enumerate() {
        bytes.extend(tpid.to_be_bytes());
        bytes.extend((100 + place as u16).to_be_bytes());
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What follows the type 0x8864: a PPPoE session header and a PPP frame of this protocol.
#[must_use]
pub fn pppoe(protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x11, 0x00, 0x00, 0x07];
    bytes.extend((payload.len() as u16 + 2).to_be_bytes());
    bytes.extend(protocol.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The bytes with some of them replaced from a place on.
#[must_use]
pub fn patched(mut bytes: Vec<u8>, at: usize, replacement: &[u8]) -> Vec<u8> {
    bytes[at..at + replacement.len()].copy_from_slice(replacement);
    bytes
}

/// The first bytes only.
#[must_use]
pub fn cut(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.truncate(length);
    bytes
}

/// The bytes and so many more after them.
#[must_use]
pub fn padded(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
    bytes.resize(bytes.len() + by, 0xee);
    bytes
}
