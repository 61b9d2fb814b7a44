//! Setting the DSCP of a packet (RFC 2474) in place: in IPv4's header, whose checksum follows, or in IPv6's traffic
//! class. The two bits beside it, which say how congested the way is (ECN), stay as they are.

use crate::packet::{IPV4, IPV6, Packet, network};

/// A frame that can be changed.
pub trait Rewrite: Packet {
    /// Puts two bytes at `offset`, as a number in network order. `false` if they cannot be reached.
    fn put_half(&self, offset: u32, value: u16) -> bool;
}

/// Where IPv4's checksum stands in its header.
const CHECKSUM: u32 = 10;
/// Bits of the first half of an IPv4 header that are the DSCP, and how far up they stand.
const DSCP4: u16 = 0x00fc;
const SHIFT4: u32 = 2;
/// The same of an IPv6 header.
const DSCP6: u16 = 0x0fc0;
const SHIFT6: u32 = 6;

/// Sets the DSCP, 0 to 63, of an IP packet's outermost header. `false` if it cannot be reached; the packet is then as it
/// was.
#[inline(always)]
pub fn set<P: Rewrite>(packet: &P, dscp: u32) -> bool {
    let dscp = (dscp & 63) as u16;
    match network(packet) {
        Some((IPV4, offset)) => {
            // One after the other: the verifier follows no value that is there or not.
            let Some(old) = packet.half(offset) else {
                return false;
            };
            let Some(sum) = packet.half(offset + CHECKSUM) else {
                return false;
            };
            let new = old & !DSCP4 | dscp << SHIFT4;
            // The later one first: if it is in reach, so is the other.
            packet.put_half(offset + CHECKSUM, adjusted(sum, old, new))
                && packet.put_half(offset, new)
        }
        Some((IPV6, offset)) => packet
            .half(offset)
            .is_some_and(|old| packet.put_half(offset, old & !DSCP6 | dscp << SHIFT6)),
        _ => false,
    }
}

/// An Internet checksum after one of the halves it covers changed: RFC 1624, equation 3.
#[inline(always)]
#[must_use]
pub const fn adjusted(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 & 0xffff;
    let sum = sum + (!old as u32 & 0xffff) + new as u32;
    // Twice: folding may carry once more.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
