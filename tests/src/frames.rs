//! Frames built field by field: right by default, and wrong wherever a test wants them wrong.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use zerorate_tests::frames::{Frame, Ipv4};
//!
//! let packet = Ipv4::new(Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(203, 0, 113, 7))
//!     .udp(1000, 53, b"query");
//! let frame = Frame::new(packet).tag(0x88a8, 939).tag(0x8100, 744).build();
//! assert_eq!(frame.len(), 14 + 2 * 4 + 20 + 8 + 5);
//! ```

mod ipv4;
mod ipv6;
mod transport;

use crate::veth::Mac;

pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use transport::checksum;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a PPPoE session.
pub const PPPOE_SESSION: u16 = 0x8864;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of an IPv6 fragment header.
pub const FRAGMENT: u8 = 44;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// What stands behind the Ethernet header and its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its EtherType.
    pub ether_type: u16,
    /// Its PPP protocol, where it is carried in PPPoE.
    pub ppp_protocol: u16,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// A payload of any EtherType; its PPP protocol is none that carries IP.
    #[must_use]
    pub fn other(ether_type: u16, bytes: &[u8]) -> Self {
        Self {
            ether_type,
            ppp_protocol: 0xc021,
            bytes: bytes.to_vec(),
        }
    }
}

/// An Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Who it is for; all ones by default.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// Tags, outermost first: TPID and TCI.
    pub tags: Vec<(u16, u16)>,
    /// A PPPoE session header between the tags and the payload.
    pub pppoe: Option<Pppoe>,
    /// The EtherType after the tags, where it is not what follows.
    pub ether_type: Option<u16>,
    /// What it carries.
    pub payload: Payload,
    /// Bytes after the payload that do not belong to it.
    pub trailer: Vec<u8>,
}

impl Frame {
    /// An untagged frame from one made-up station to another.
    #[must_use]
    pub fn new(payload: impl Into<Payload>) -> Self {
        Self {
            destination: Mac([0x02, 0, 0, 0, 0, 2]),
            source: Mac([0x02, 0, 0, 0, 0, 1]),
            tags: Vec::new(),
            pppoe: None,
            ether_type: None,
            payload: payload.into(),
            trailer: Vec::new(),
        }
    }

    /// Sets source and destination.
    #[must_use]
    pub fn stations(mut self, source: Mac, destination: Mac) -> Self {
        self.source = source;
        self.destination = destination;
        self
    }

    /// Adds a tag inside those there are.
    #[must_use]
    pub fn tag(mut self, tpid: u16, tci: u16) -> Self {
        self.tags.push((tpid, tci));
        self
    }

    /// Puts the payload into a PPPoE session.
    #[must_use]
    pub fn pppoe(mut self, header: Pppoe) -> Self {
        self.pppoe = Some(header);
        self
    }

    /// Says another EtherType than the payload's.
    #[must_use]
    pub fn ether_type(mut self, ether_type: u16) -> Self {
        self.ether_type = Some(ether_type);
        self
    }

    /// Adds bytes after the payload.
    #[must_use]
    pub fn trailer(mut self, bytes: &[u8]) -> Self {
        self.trailer.extend(bytes);
        self
    }

    /// The frame's bytes, without a frame check sequence.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.destination.0);
        frame.extend(self.source.0);
        for (tpid, tci) in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        let natural = if self.pppoe.is_some() {
            PPPOE_SESSION
        } else {
            self.payload.ether_type
        };
        frame.extend(self.ether_type.unwrap_or(natural).to_be_bytes());
        if let Some(pppoe) = &self.pppoe {
            frame.extend(pppoe.build(&self.payload));
        }
        frame.extend(&self.payload.bytes);
        frame.extend(&self.trailer);
        frame
    }
}

/// A PPPoE session header (RFC 2516) and the PPP protocol after it.
#[derive(Clone, Debug)]
pub struct Pppoe {
    /// Version and type; 0x11.
    pub version_type: u8,
    /// 0 for session data.
    pub code: u8,
    /// The session.
    pub session: u16,
    /// The length field, where it is not the payload's and the protocol's.
    pub length: Option<u16>,
    /// The PPP protocol, where it is not the payload's.
    pub protocol: Option<u16>,
}

impl Pppoe {
    /// The header of data in a session.
    #[must_use]
    pub fn session(session: u16) -> Self {
        Self {
            version_type: 0x11,
            code: 0,
            session,
            length: None,
            protocol: None,
        }
    }

    fn build(&self, payload: &Payload) -> Vec<u8> {
        let length = self
            .length
            .unwrap_or_else(|| length(payload.bytes.len() + 2));
        let mut header = vec![self.version_type, self.code];
        header.extend(self.session.to_be_bytes());
        header.extend(length.to_be_bytes());
        header.extend(self.protocol.unwrap_or(payload.ppp_protocol).to_be_bytes());
        header
    }
}

/// A length field; more than 16 bits of length are for tests that set the field themselves.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}
