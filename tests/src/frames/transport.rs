//! UDP, TCP and ICMP messages with right checksums, for [`super`]'s packets to carry.

use std::net::IpAddr;

use super::{TCP, UDP, length};

type Ends = (IpAddr, IpAddr);

pub(super) fn udp(ends: Ends, source_port: u16, destination_port: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source_port.to_be_bytes());
    datagram.extend(destination_port.to_be_bytes());
    datagram.extend(length(8 + data.len()).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(data);
    // Zero would mean that there is no checksum.
    let sum = match transport_checksum(ends, UDP, &datagram) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

pub(super) fn tcp(
    ends: Ends,
    source_port: u16,
    destination_port: u16,
    flags: u8,
    data: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source_port.to_be_bytes());
    segment.extend(destination_port.to_be_bytes());
    segment.extend([0; 8]);
    segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(data);
    let sum = transport_checksum(ends, TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

pub(super) fn echo(kind: u8, data: &[u8], sum: impl Fn(&[u8]) -> u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 1, 0, 1];
    message.extend(data);
    let sum = sum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The checksum over the pseudo-header of either IP version and a message.
pub(super) fn transport_checksum(ends: Ends, protocol: u8, message: &[u8]) -> u16 {
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    // IPv4 gives the length 16 bits and IPv6 32: the sum is the same.
    let length = (message.len() as u32).to_be_bytes();
    checksum(&[
        &octets(ends.0),
        &octets(ends.1),
        &length,
        &[0, protocol],
        message,
    ])
}

/// The Internet checksum (RFC 1071) over parts, each of which but the last is even in length.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for word in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u32::from(low));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
