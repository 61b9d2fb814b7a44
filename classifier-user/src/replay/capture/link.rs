//! Link types, and how a frame of each would look behind an Ethernet header.
//!
//! Numbers and headers are those of the registry at <https://www.tcpdump.org/linktypes.html>.

/// What [`LinkType::of`] knows, for error messages.
pub(super) const SUPPORTED: &str = "Ethernet (1), raw IP (12, 14, 101, 228, 229), \
     NULL and loopback (0, 108) and Linux cooked (113, 276)";

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// No protocol has this EtherType: numbers below 0x0600 are lengths.
const NOT_IP: u16 = 0;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// A link type that can be read as Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkType {
    Ethernet,
    /// IP without a link header; the version nibble says which.
    RawIp,
    RawIpv4,
    RawIpv6,
    /// BSD loopback: an address family in the byte order of the machine that captured.
    Null,
    /// OpenBSD loopback: an address family in network byte order.
    Loop,
    /// Linux "any" interface.
    Cooked,
    /// Linux "any" interface, second version.
    Cooked2,
}

/// What a link header says.
struct Announced {
    ethertype: u16,
    /// Bytes of the link header.
    header: usize,
}

impl LinkType {
    pub(super) fn of(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            12 | 14 | 101 => Self::RawIp,
            108 => Self::Loop,
            113 => Self::Cooked,
            228 => Self::RawIpv4,
            229 => Self::RawIpv6,
            276 => Self::Cooked2,
            _ => return None,
        })
    }

    /// The captured bytes and the original length behind an Ethernet header instead of their own.
    pub(super) fn as_ethernet(self, captured: &[u8], original_len: u32) -> (Vec<u8>, u32) {
        if self == Self::Ethernet {
            return (captured.to_vec(), original_len);
        }
        let Announced { ethertype, header } = self.announced(captured);
        let payload = captured.get(header..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(ETHERNET + payload.len());
        bytes.extend_from_slice(&[0; ETHERNET - 2]);
        bytes.extend_from_slice(&ethertype.to_be_bytes());
        bytes.extend_from_slice(payload);
        let room = original_len
            .saturating_sub(header as u32)
            .saturating_add(ETHERNET as u32);
        (bytes, room)
    }

    fn announced(self, captured: &[u8]) -> Announced {
        let header = self.header();
        let ethertype = match captured.get(..header) {
            // A link header that is not all there announces nothing.
            None => NOT_IP,
            Some(link) => match self {
                Self::Ethernet => NOT_IP,
                Self::RawIpv4 => IPV4,
                Self::RawIpv6 => IPV6,
                // Anything that is not IPv6 claims to be IPv4; the parser will find that it lies.
                Self::RawIp => match captured.first() {
                    None => NOT_IP,
                    Some(first) if first >> 4 == 6 => IPV6,
                    Some(_) => IPV4,
                },
                Self::Null | Self::Loop => self.family(link),
                Self::Cooked => u16::from_be_bytes([link[14], link[15]]),
                Self::Cooked2 => u16::from_be_bytes([link[0], link[1]]),
            },
        };
        Announced { ethertype, header }
    }

    fn header(self) -> usize {
        match self {
            Self::Ethernet => ETHERNET,
            Self::RawIp | Self::RawIpv4 | Self::RawIpv6 => 0,
            Self::Null | Self::Loop => 4,
            Self::Cooked => 16,
            Self::Cooked2 => 20,
        }
    }

    /// The EtherType an address family stands for. 2 is IPv4 everywhere; IPv6 has a number of its own on Linux,
    /// NetBSD and OpenBSD, FreeBSD, and macOS.
    fn family(self, link: &[u8]) -> u16 {
        let ethertype = |family| match family {
            2 => Some(IPV4),
            10 | 24 | 28 | 30 => Some(IPV6),
            _ => None,
        };
        let bytes = [link[0], link[1], link[2], link[3]];
        let network = ethertype(u32::from_be_bytes(bytes));
        let swapped = ethertype(u32::from_le_bytes(bytes)).filter(|_| self == Self::Null);
        network.or(swapped).unwrap_or(NOT_IP)
    }
}

/// Number and, where it is a common one, name of a link type.
pub(super) fn describe(number: u16) -> String {
    let name = match number {
        9 => "PPP",
        50 => "PPP in HDLC-like framing",
        51 => "PPPoE without Ethernet",
        104 => "Cisco HDLC",
        105 => "802.11",
        107 => "frame relay",
        127 => "802.11 with radiotap",
        147..=162 => "user-defined",
        189 | 220 | 249 => "USB",
        192 => "PPI",
        195 | 230 => "802.15.4",
        201 => "Bluetooth",
        239 => "NFLOG",
        252 => "Wireshark upper PDU",
        253 => "netlink",
        _ => return number.to_string(),
    };
    format!("{number} ({name})")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EtherType, what follows the Ethernet header, and the room, of a frame captured whole.
    fn read(number: u16, captured: &[u8]) -> (u16, Vec<u8>, u32) {
        let link = LinkType::of(number).unwrap();
        let (bytes, room) = link.as_ethernet(captured, captured.len() as u32);
        assert_eq!(bytes[..12], [0; 12], "addresses");
        (
            u16::from_be_bytes([bytes[12], bytes[13]]),
            bytes[14..].to_vec(),
            room,
        )
    }

    #[test]
    fn ethernet_stays_as_it_is() {
        for captured in [&[][..], &[1, 2, 3], &[7; 60]] {
            let read = LinkType::Ethernet.as_ethernet(captured, 61);
            assert_eq!(read, (captured.to_vec(), 61));
        }
    }

    #[test]
    fn raw_ip_is_named_by_its_version() {
        for number in [12, 14, 101] {
            assert_eq!(read(number, &[0x45, 1]), (IPV4, vec![0x45, 1], 16));
            assert_eq!(read(number, &[0x60, 1]), (IPV6, vec![0x60, 1], 16));
            assert_eq!(
                read(number, &[0x51]),
                (IPV4, vec![0x51], 15),
                "announces IP, and lies"
            );
            assert_eq!(read(number, &[]), (NOT_IP, vec![], 14));
        }
    }

    #[test]
    fn raw_ip_of_one_version_is_named_by_its_link_type() {
        for captured in [&[][..], &[0x45], &[0x60], &[0xff]] {
            let room = 14 + captured.len() as u32;
            assert_eq!(read(228, captured), (IPV4, captured.to_vec(), room));
            assert_eq!(read(229, captured), (IPV6, captured.to_vec(), room));
        }
    }

    #[test]
    fn null_takes_a_family_in_either_byte_order() {
        for (family, ethertype) in [
            (2, IPV4),
            (10, IPV6),
            (24, IPV6),
            (28, IPV6),
            (30, IPV6),
            (7, NOT_IP),
            (0, NOT_IP),
        ] {
            assert_eq!(
                read(0, &[family, 0, 0, 0, 9]),
                (ethertype, vec![9], 15),
                "{family}"
            );
            assert_eq!(
                read(0, &[0, 0, 0, family, 9]),
                (ethertype, vec![9], 15),
                "{family}"
            );
        }
        assert_eq!(read(0, &[0, 2, 0, 0, 9]).0, NOT_IP);
    }

    #[test]
    fn loopback_takes_a_family_in_network_order_only() {
        assert_eq!(read(108, &[0, 0, 0, 2, 9]), (IPV4, vec![9], 15));
        assert_eq!(read(108, &[0, 0, 0, 24, 9]), (IPV6, vec![9], 15));
        assert_eq!(read(108, &[2, 0, 0, 0, 9]), (NOT_IP, vec![9], 15));
    }

    #[test]
    fn cooked_protocols_become_ethertypes() {
        for ethertype in [IPV4, IPV6, 0x8100, 0x8864, 0x0806, 0x0004] {
            let [upper, lower] = u16::to_be_bytes(ethertype);
            let mut cooked = vec![0xaa; 14];
            cooked.extend([upper, lower, 1, 2, 3]);
            assert_eq!(read(113, &cooked), (ethertype, vec![1, 2, 3], 17));
            let mut cooked = vec![upper, lower];
            cooked.extend([0xaa; 18]);
            cooked.extend([1, 2, 3]);
            assert_eq!(read(276, &cooked), (ethertype, vec![1, 2, 3], 17));
        }
    }

    #[test]
    fn a_link_header_cut_off_announces_nothing() {
        for (number, header) in [(0, 4), (108, 4), (113, 16), (276, 20)] {
            let link = LinkType::of(number).unwrap();
            let whole = [8; 20];
            for captured in 0..header {
                let (bytes, room) = link.as_ethernet(&whole[..captured], 100);
                assert_eq!(bytes, [0; 14], "link type {number}, {captured} bytes");
                assert_eq!(room, 114 - header as u32);
            }
        }
    }

    #[test]
    fn room_follows_the_original_length_and_does_not_wrap() {
        for (original, room) in [(0, 14), (16, 14), (17, 15), (u32::MAX, u32::MAX - 2)] {
            assert_eq!(LinkType::Cooked.as_ethernet(&[0; 40], original).1, room);
        }
        assert_eq!(LinkType::RawIp.as_ethernet(&[0x45], u32::MAX).1, u32::MAX);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for number in [9, 50, 104, 105, 107, 127, 147, 239, 65535] {
            assert_eq!(LinkType::of(number), None);
        }
        assert_eq!(describe(104), "104 (Cisco HDLC)");
        assert_eq!(describe(1000), "1000");
    }
}
