//! A captured frame read by the parsing rules: IP, not IP, or malformed.

use super::prefix::Address;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It announces no IP, or is cut off before its type is known.
    NonIp,
    /// It announces IP and breaks a rule.
    Malformed,
    /// An IP packet.
    Ip(IpPacket),
}

/// The outermost IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// IP bytes: IPv4 total length, IPv6 payload length + 40.
    pub bytes: u64,
}

/// The capture was taken on a kind of link that replay does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("link type {0} is not supported")]
pub struct UnsupportedLink(pub u32);

/// What a header says comes next, and where.
enum Next {
    Ethertype(u16, usize),
    V4(usize),
    V6(usize),
    NonIp,
    Malformed,
}

/// Reads a frame of which `captured` was kept out of `original` bytes.
///
/// What was captured decides what can be read; the original length, how much room the packet has.
///
/// # Errors
/// When the link type is none of those replay reads.
pub fn read_frame(link: u32, captured: &[u8], original: u64) -> Result<Reading, UnsupportedLink> {
    let next = match link {
        1 => ethertype_at(captured, 12),
        // Nothing says which of the two it is. Link types 228 and 229 say it themselves.
        12 | 14 | 101 if captured.is_empty() => Next::NonIp,
        12 | 14 | 101 => match captured.first().map(|byte| byte >> 4) {
            Some(4) => Next::V4(0),
            Some(6) => Next::V6(0),
            _ => Next::Malformed,
        },
        228 => Next::V4(0),
        229 => Next::V6(0),
        0 => family(captured, &[u32::from_be_bytes, u32::from_le_bytes]),
        108 => family(captured, &[u32::from_be_bytes]),
        113 => ethertype_at(captured, 14),
        276 if captured.len() < 20 => Next::NonIp,
        276 => match ethertype_at(captured, 0) {
            Next::Ethertype(ethertype, _) => Next::Ethertype(ethertype, 20),
            other => other,
        },
        other => return Err(UnsupportedLink(other)),
    };
    let next = match next {
        Next::Ethertype(ethertype, at) => behind_ethertype(captured, ethertype, at),
        other => other,
    };
    Ok(match next {
        Next::V4(at) => ipv4(captured, at, original),
        Next::V6(at) => ipv6(captured, at, original),
        Next::Malformed => Reading::Malformed,
        Next::NonIp | Next::Ethertype(..) => Reading::NonIp,
    })
}

/// The big-endian number of two bytes at a place, if it was captured.
fn u16_at(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]))
}

fn ethertype_at(frame: &[u8], at: usize) -> Next {
    match u16_at(frame, at) {
        Some(ethertype) => Next::Ethertype(ethertype, at + 2),
        None => Next::NonIp,
    }
}

/// The address family before the packet on NULL and loopback links: 4 bytes.
fn family(frame: &[u8], orders: &[fn([u8; 4]) -> u32]) -> Next {
    let Some(&[a, b, c, d]) = frame.get(..4) else {
        return Next::NonIp;
    };
    for number in orders.iter().map(|order| order([a, b, c, d])) {
        match number {
            2 => return Next::V4(4),
            10 | 24 | 28 | 30 => return Next::V6(4),
            _ => {}
        }
    }
    Next::NonIp
}

/// At most two tags, then IPv4, IPv6, or a PPPoE session carrying one of them.
fn behind_ethertype(frame: &[u8], mut ethertype: u16, mut at: usize) -> Next {
    for _ in 0..2 {
        if matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            let Some(inner) = u16_at(frame, at + 2) else {
                return Next::NonIp;
            };
            ethertype = inner;
            at += 4;
        }
    }
    match ethertype {
        0x0800 => Next::V4(at),
        0x86dd => Next::V6(at),
        0x8864 => match (frame.get(at), frame.get(at + 1), u16_at(frame, at + 6)) {
            (Some(0x11), Some(0), Some(0x0021)) => Next::V4(at + 8),
            (Some(0x11), Some(0), Some(0x0057)) => Next::V6(at + 8),
            _ => Next::NonIp,
        },
        _ => Next::NonIp,
    }
}

/// How many bytes the frame has left from a place on, captured or not.
fn room(original: u64, at: usize) -> u64 {
    original.saturating_sub(at as u64)
}

fn ipv4(frame: &[u8], at: usize, original: u64) -> Reading {
    let Some(header) = frame.get(at..at + 20) else {
        return Reading::Malformed;
    };
    let header_length = u64::from(header[0] & 0x0f) * 4;
    let total_length = u64::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4
        || header_length < 20
        || total_length < header_length
        || total_length > room(original, at)
    {
        return Reading::Malformed;
    }
    Reading::Ip(IpPacket {
        source: Address {
            v6: false,
            bits: number(&header[12..16]),
        },
        destination: Address {
            v6: false,
            bits: number(&header[16..20]),
        },
        bytes: total_length,
    })
}

fn ipv6(frame: &[u8], at: usize, original: u64) -> Reading {
    let Some(header) = frame.get(at..at + 40) else {
        return Reading::Malformed;
    };
    let payload_length = u64::from(u16::from_be_bytes([header[4], header[5]]));
    let jumbogram = payload_length == 0 && header[6] == 0;
    let bytes = payload_length + 40;
    if header[0] >> 4 != 6 || jumbogram || bytes > room(original, at) {
        return Reading::Malformed;
    }
    Reading::Ip(IpPacket {
        source: Address {
            v6: true,
            bits: number(&header[8..24]),
        },
        destination: Address {
            v6: true,
            bits: number(&header[24..40]),
        },
        bytes,
    })
}

/// Bytes in network order as one number.
fn number(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}
