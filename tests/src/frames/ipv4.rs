//! IPv4 packets, with options, in fragments, or with any field wrong.

use std::net::Ipv4Addr;

use super::transport::{checksum, echo, tcp, udp};
use super::{ICMP, IPV4, Payload, TCP, UDP, length};

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    /// Version, 4.
    pub version: u8,
    /// Header length in words of four bytes, where it is not that of the options.
    pub header_words: Option<u8>,
    /// Differentiated services and ECN.
    pub traffic_class: u8,
    /// Total length, where it is not what it is.
    pub total_length: Option<u16>,
    /// Identification.
    pub identification: u16,
    /// Flags and fragment offset, as they stand in the header.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: u8,
    /// Header checksum, where it is to be wrong.
    pub checksum: Option<u16>,
    /// Sender.
    pub source: Ipv4Addr,
    /// Receiver.
    pub destination: Ipv4Addr,
    /// Options; filled up to a multiple of four bytes with zeroes.
    pub options: Vec<u8>,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Ipv4 {
    /// A packet with nothing in it.
    #[must_use]
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            version: 4,
            header_words: None,
            traffic_class: 0,
            total_length: None,
            identification: 0,
            fragment: 0,
            ttl: 64,
            protocol: UDP,
            checksum: None,
            source,
            destination,
            options: Vec::new(),
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

    /// Carries an ICMP echo request.
    #[must_use]
    pub fn echo(self, data: &[u8]) -> Self {
        self.carrying(ICMP, echo(8, data, |message| checksum(&[message])))
    }

    /// Carries anything.
    #[must_use]
    pub fn carrying(mut self, protocol: u8, payload: Vec<u8>) -> Self {
        self.protocol = protocol;
        self.payload = payload;
        self
    }

    /// Adds options.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options.extend(options);
        self
    }

    /// The packet cut into fragments with at most `size` bytes of payload, a multiple of eight.
    ///
    /// # Panics
    /// If `size` is not a multiple of eight, or zero.
    #[must_use]
    pub fn fragments(&self, size: usize) -> Vec<Self> {
        assert!(
            size > 0 && size.is_multiple_of(8),
            "fragments come in units of eight bytes"
        );
        let count = self.payload.len().div_ceil(size).max(1);
        (0..count)
            .map(|index| {
                let start = index * size;
                let end = self.payload.len().min(start + size);
                let more = if index + 1 < count { 0x2000 } else { 0 };
                let fragment = more | length(start / 8);
                Self {
                    fragment,
                    payload: self.payload[start..end].to_vec(),
                    ..self.clone()
                }
            })
            .collect()
    }

    /// The packet's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let header_length = 20 + options.len();
        let words = self.header_words.unwrap_or((header_length / 4) as u8);
        let total = self
            .total_length
            .unwrap_or_else(|| length(header_length + self.payload.len()));
        let mut packet = vec![self.version << 4 | words & 0xf, self.traffic_class];
        packet.extend(total.to_be_bytes());
        packet.extend(self.identification.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(options);
        let sum = self.checksum.unwrap_or_else(|| checksum(&[&packet]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(&self.payload);
        packet
    }
}

impl From<Ipv4> for Payload {
    fn from(packet: Ipv4) -> Self {
        Self {
            ether_type: IPV4,
            ppp_protocol: 0x0021,
            bytes: packet.build(),
        }
    }
}
