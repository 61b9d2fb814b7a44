//! pcapng: sections of blocks. Interfaces are described before their packets, and a new section forgets them
//! and may have another byte order.
//!
//! Of each block only what a frame needs is read; names, statistics, secrets and comments are passed over.

use jiff::Timestamp;

use super::input::Input;
use super::link::LinkType;
use super::{CaptureError, Order, Record, instant};

/// Type of the block that begins a section: the same bytes in either order, and the first of every file.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
/// The oldest packet block: obsolete, and still met.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Option of an interface: [`Clock::resolution`].
const OPTION_RESOLUTION: u16 = 9;
/// Option of an interface: [`Clock::offset`].
const OPTION_OFFSET: u16 = 14;

/// Bytes of a block around its body: type, length, length again.
const ENVELOPE: u32 = 12;

/// A pcapng file inside a section.
#[derive(Debug)]
pub(super) struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
}

/// What the section says of an interface.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: u16,
    /// Bytes captured of a frame at most; 0 for no limit. Only Simple Packet Blocks need it.
    snapshot: u32,
    clock: Clock,
}

/// How an interface tells the time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Units a second: 10 to the power of it, or, with the highest bit set, 2 to the power of the others.
    resolution: u8,
    /// Seconds to add.
    offset: i64,
}

impl PcapNg {
    /// Reads the first section header, of which the block type has been consumed.
    pub(super) fn open(input: &mut Input) -> Result<Self, CaptureError> {
        let mut pcapng = Self {
            order: Order::Little,
            interfaces: Vec::new(),
        };
        pcapng.section(input)?;
        Ok(pcapng)
    }

    /// The next block that holds a frame; `None` after the last block.
    pub(super) fn record<'a>(
        &mut self,
        input: &'a mut Input,
    ) -> Result<Option<Record<'a>>, CaptureError> {
        while input.begin_record()? {
            let kind: [u8; 4] = input.array()?;
            if kind == SECTION_HEADER {
                self.section(input)?;
                continue;
            }
            let length: [u8; 4] = input.array()?;
            match self.order.u32(kind) {
                INTERFACE_DESCRIPTION => self.describe(input, length)?,
                ENHANCED_PACKET => return self.packet(input, length, Order::u32).map(Some),
                PACKET => return self.packet(input, length, old_interface).map(Some),
                SIMPLE_PACKET => return self.simple_packet(input, length).map(Some),
                _ => self.pass_over(input, length, 0)?,
            }
        }
        Ok(None)
    }

    /// Reads a section header after its block type.
    fn section(&mut self, input: &mut Input) -> Result<(), CaptureError> {
        const FIXED: u32 = 16;
        let length: [u8; 4] = input.array()?;
        let fixed: [u8; FIXED as usize] = input.array()?;
        let [m0, m1, m2, m3, a, b, c, d, ..] = fixed;
        self.order = [Order::Little, Order::Big]
            .into_iter()
            .find(|order| order.u32([m0, m1, m2, m3]) == BYTE_ORDER)
            .ok_or_else(|| damaged(input.start(), "a section header without byte order"))?;
        let (major, minor) = (self.order.u16([a, b]), self.order.u16([c, d]));
        if major != 1 {
            let (format, known) = ("pcapng", "1.x");
            return Err(CaptureError::Version {
                format,
                major,
                minor,
                known,
            });
        }
        self.interfaces.clear();
        self.pass_over(input, length, FIXED)
    }

    /// Reads an interface description.
    fn describe(&mut self, input: &mut Input, length: [u8; 4]) -> Result<(), CaptureError> {
        let start = input.start();
        let order = self.order;
        let body = self.body(input, length)?;
        let Some((fixed, options)) = body.split_first_chunk::<8>() else {
            return Err(damaged(
                start,
                "an interface description without its fields",
            ));
        };
        let mut clock = Clock {
            resolution: 6,
            offset: 0,
        };
        for (code, value) in options_of(options, order) {
            match (code, value) {
                (OPTION_RESOLUTION, [resolution, ..]) => clock.resolution = *resolution,
                (OPTION_OFFSET, &[a, b, c, d, e, f, g, h]) => {
                    clock.offset = order.u64([a, b, c, d, e, f, g, h]).cast_signed();
                }
                _ => {}
            }
        }
        self.interfaces.push(Interface {
            link: order.u16([fixed[0], fixed[1]]),
            snapshot: order.nth_u32(fixed, 1),
            clock,
        });
        Ok(())
    }

    /// Reads an Enhanced Packet Block or its predecessor, which differ in the field that names the interface.
    fn packet<'a>(
        &self,
        input: &'a mut Input,
        length: [u8; 4],
        interface_id: fn(Order, [u8; 4]) -> u32,
    ) -> Result<Record<'a>, CaptureError> {
        let start = input.start();
        let body = self.body(input, length)?;
        let Some((fixed, data)) = body.split_first_chunk::<20>() else {
            return Err(damaged(start, "a packet block without its fields"));
        };
        let [a, b, c, d, ..] = *fixed;
        let (interface, link) = self.interface(start, interface_id(self.order, [a, b, c, d]))?;
        let [high, low, captured_len, original_len] =
            [1, 2, 3, 4].map(|field| self.order.nth_u32(fixed, field));
        let Some(captured) = data.get(..captured_len as usize) else {
            return Err(damaged(start, BLOCK_TOO_SMALL));
        };
        let time = interface.clock.time(u64::from(high) << 32 | u64::from(low));
        Ok(Record {
            link,
            time,
            captured,
            original_len,
        })
    }

    /// Reads a Simple Packet Block: a packet of the first interface, without a time.
    fn simple_packet<'a>(
        &self,
        input: &'a mut Input,
        length: [u8; 4],
    ) -> Result<Record<'a>, CaptureError> {
        let start = input.start();
        let body = self.body(input, length)?;
        let Some((fixed, data)) = body.split_first_chunk::<4>() else {
            return Err(damaged(start, "a packet block without its fields"));
        };
        let (interface, link) = self.interface(start, 0)?;
        let original_len = self.order.u32(*fixed);
        let captured_len = match interface.snapshot {
            0 => original_len,
            snapshot => original_len.min(snapshot),
        };
        let Some(captured) = data.get(..captured_len as usize) else {
            return Err(damaged(start, BLOCK_TOO_SMALL));
        };
        Ok(Record {
            link,
            time: Timestamp::UNIX_EPOCH,
            captured,
            original_len,
        })
    }

    /// An interface of the section and its link type. Only an interface that has packets must be supported.
    fn interface(&self, start: u64, id: u32) -> Result<(&Interface, LinkType), CaptureError> {
        let Some(interface) = self.interfaces.get(id as usize) else {
            let what = format!("a packet of interface {id}, which its section does not describe");
            return Err(damaged(start, what));
        };
        match LinkType::of(interface.link) {
            Some(link) => Ok((interface, link)),
            None => Err(CaptureError::LinkType(interface.link)),
        }
    }

    /// The body of a block, read to the block's end.
    fn body<'a>(&self, input: &'a mut Input, length: [u8; 4]) -> Result<&'a [u8], CaptureError> {
        let start = input.start();
        let size = self.body_len(start, length)?;
        let rest = input.bytes(size + 4)?;
        match rest.split_last_chunk::<4>() {
            Some((body, trailer)) if *trailer == length => Ok(body),
            _ => Err(damaged(start, LENGTHS_DIFFER)),
        }
    }

    /// Goes to the end of a block of whose body `read` bytes have been consumed.
    fn pass_over(&self, input: &mut Input, length: [u8; 4], read: u32) -> Result<(), CaptureError> {
        let start = input.start();
        let Some(left) = self.body_len(start, length)?.checked_sub(read) else {
            return Err(damaged(start, "a block shorter than its fields"));
        };
        input.skip(left)?;
        let trailer: [u8; 4] = input.array()?;
        if trailer != length {
            return Err(damaged(start, LENGTHS_DIFFER));
        }
        Ok(())
    }

    /// Bytes of a block's body. Some writers leave the padding out of the length but not out of the file.
    fn body_len(&self, start: u64, length: [u8; 4]) -> Result<u32, CaptureError> {
        match self.order.u32(length).checked_sub(ENVELOPE) {
            Some(body) => Ok(body.next_multiple_of(4)),
            None => Err(damaged(start, "a block shorter than its own envelope")),
        }
    }
}

const LENGTHS_DIFFER: &str = "the block's length at its beginning and at its end differ";
const BLOCK_TOO_SMALL: &str = "a packet block smaller than the packet it holds";

fn damaged(start: u64, what: impl Into<String>) -> CaptureError {
    CaptureError::Damaged {
        start,
        what: what.into(),
    }
}

/// The interface of the oldest packet block: 16 bits, then a count of drops.
fn old_interface(order: Order, [a, b, ..]: [u8; 4]) -> u32 {
    u32::from(order.u16([a, b]))
}

/// Codes and values of a block's options, up to the end mark or to what is no option any more.
fn options_of(mut rest: &[u8], order: Order) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([a, b, c, d], values) = rest.split_first_chunk::<4>()?;
        let (code, len) = (order.u16([*a, *b]), usize::from(order.u16([*c, *d])));
        let value = values.get(..len)?;
        rest = values.get(len.next_multiple_of(4)..).unwrap_or_default();
        (code != 0).then_some((code, value))
    })
}

impl Clock {
    /// The instant `units` stand for.
    fn time(self, units: u64) -> Timestamp {
        const NANOSECONDS: u128 = 1_000_000_000;
        let units = u128::from(units);
        let exponent = u32::from(self.resolution & 0x7f);
        // 2^64 units times 10^9 stay below 2^94, so neither product overflows.
        let nanoseconds = if self.resolution & 0x80 != 0 {
            (units * NANOSECONDS) >> exponent
        } else {
            // 10^39 and more a second: 2^64 units are no time at all.
            10u128
                .checked_pow(exponent)
                .map_or(0, |a_second| units * NANOSECONDS / a_second)
        };
        instant(nanoseconds as i128 + i128::from(self.offset) * NANOSECONDS as i128)
    }
}
