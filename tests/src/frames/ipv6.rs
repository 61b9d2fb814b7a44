//! IPv6 packets, with extension headers, in fragments, or with any field wrong.

use std::net::Ipv6Addr;

use super::transport::{echo, tcp, transport_checksum, udp};
use super::{FRAGMENT, ICMPV6, IPV6, Payload, TCP, UDP, length};

/// An IPv6 packet.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    /// Version, 6.
    pub version: u8,
    /// Differentiated services and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Payload length, where it is not what it is.
    pub payload_length: Option<u16>,
    /// The fixed header's next header, where it is not what follows.
    pub next_header: Option<u8>,
    /// Hop limit.
    pub hop_limit: u8,
    /// Sender.
    pub source: Ipv6Addr,
    /// Receiver.
    pub destination: Ipv6Addr,
    /// Extension headers: each its number, and its bytes after the next header field.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// What the payload is.
    pub protocol: u8,
    /// What follows the last header.
    pub payload: Vec<u8>,
}

impl Ipv6 {
    /// A packet with nothing in it.
    #[must_use]
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            version: 6,
            traffic_class: 0,
            flow_label: 0,
            payload_length: None,
            next_header: None,
            hop_limit: 64,
            source,
            destination,
            extensions: Vec::new(),
            protocol: UDP,
            payload: Vec::new(),
        }
    }

    /// Carries a UDP datagram.
    #[must_use]
    pub fn udp(self, source_port: u16, destination_port: u16, data: &[u8]) -> Self {
        let ends = (self.source.into(), self.destination.into());
        self.carrying(UDP, udp(ends, source_port, destination_port, data))
    }

    /// Carries a TCP segment with the given flags.
    #[must_use]
    pub fn tcp(self, source_port: u16, destination_port: u16, flags: u8, data: &[u8]) -> Self {
        let ends = (self.source.into(), self.destination.into());
        self.carrying(TCP, tcp(ends, source_port, destination_port, flags, data))
    }

    /// Carries an ICMPv6 echo request.
    #[must_use]
    pub fn echo(self, data: &[u8]) -> Self {
        let ends = (self.source.into(), self.destination.into());
        self.carrying(
            ICMPV6,
            echo(128, data, |message| {
                transport_checksum(ends, ICMPV6, message)
            }),
        )
    }

    /// Carries anything.
    #[must_use]
    pub fn carrying(mut self, protocol: u8, payload: Vec<u8>) -> Self {
        self.protocol = protocol;
        self.payload = payload;
        self
    }

    /// Adds an extension header of the usual shape (hop-by-hop, routing, destination options) that
    /// is `8 * (1 + units)` bytes long, filled with options to be ignored by who does not know them.
    #[must_use]
    pub fn extension(mut self, number: u8, units: u8) -> Self {
        // Padding would be ignored too, but Linux takes more than seven bytes of it for an attack.
        const EXPERIMENT: u8 = 0x1e;
        let size = 7 + 8 * usize::from(units);
        let mut body = vec![units];
        while body.len() < size {
            let data = (size - body.len() - 2).min(250) as u8;
            body.extend([EXPERIMENT, data]);
            body.resize(body.len() + usize::from(data), 0);
        }
        self.extensions.push((number, body));
        self
    }

    /// Adds a fragment header; `offset` in units of eight bytes.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool, identification: u32) -> Self {
        let mut body = vec![0];
        body.extend((offset << 3 | u16::from(more)).to_be_bytes());
        body.extend(identification.to_be_bytes());
        self.extensions.push((FRAGMENT, body));
        self
    }

    /// The packet's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        let following = self.extensions.iter().skip(1).map(|(number, _)| *number);
        let next_headers = following.chain(std::iter::once(self.protocol));
        for ((_, body), next) in self.extensions.iter().zip(next_headers) {
            rest.push(next);
            rest.extend(body);
        }
        rest.extend(&self.payload);
        let first = self
            .extensions
            .first()
            .map_or(self.protocol, |(number, _)| *number);
        let word = u32::from(self.version) << 28
            | u32::from(self.traffic_class) << 20
            | self.flow_label & 0xf_ffff;
        let mut packet = word.to_be_bytes().to_vec();
        packet.extend(
            self.payload_length
                .unwrap_or_else(|| length(rest.len()))
                .to_be_bytes(),
        );
        packet.extend([self.next_header.unwrap_or(first), self.hop_limit]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(rest);
        packet
    }
}

impl From<Ipv6> for Payload {
    fn from(packet: Ipv6) -> Self {
        Self {
            ether_type: IPV6,
            ppp_protocol: 0x0057,
            bytes: packet.build(),
        }
    }
}
