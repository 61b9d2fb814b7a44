//! Classic pcap: a header, then records one after the other.
//!
//! The header's time zone, accuracy and snapshot length are not used: the first two are ignored by every
//! reader, and a frame is as long as its own record says.

use super::input::Input;
use super::link::LinkType;
use super::{CaptureError, Order, Record, instant};

/// A pcap file after its header.
#[derive(Debug)]
pub(super) struct Pcap {
    flavour: Flavour,
    lengths: Lengths,
    link: LinkType,
}

/// What the first four bytes of a pcap file say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flavour {
    order: Order,
    /// Nanoseconds in the second field of a time.
    unit: u32,
    /// Records have eight more bytes (interface, protocol, packet type): Kuznetzov's "modified" pcap.
    modified: bool,
}

/// In which order a record's two lengths stand. Before version 2.3 the original one came first; writers of 2.3
/// disagree, so there the smaller one is what was captured.
#[derive(Debug, Clone, Copy)]
enum Lengths {
    CapturedFirst,
    OriginalFirst,
    Smaller,
}

impl Flavour {
    /// The flavour a file that begins with `magic` has, if it is a pcap file.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (unit, modified) = match order.u32(magic) {
                0xa1b2_c3d4 => (1000, false),
                0xa1b2_3c4d => (1, false),
                0xa1b2_cd34 => (1000, true),
                _ => return None,
            };
            Some(Self {
                order,
                unit,
                modified,
            })
        })
    }
}

impl Pcap {
    /// Reads the header, of which the magic number has been consumed.
    pub(super) fn open(input: &mut Input, flavour: Flavour) -> Result<Self, CaptureError> {
        let order = flavour.order;
        let header: [u8; 20] = input.array()?;
        let [a, b, c, d, ..] = header;
        let (major, minor) = (order.u16([a, b]), order.u16([c, d]));
        let lengths = match (major, minor) {
            (2, 0..=2) => Lengths::OriginalFirst,
            (2, 3) => Lengths::Smaller,
            (2, _) => Lengths::CapturedFirst,
            _ => {
                let (format, known) = ("pcap", "2.0 to 2.4");
                return Err(CaptureError::Version {
                    format,
                    major,
                    minor,
                    known,
                });
            }
        };
        // The upper half tells of a frame check sequence. Where there is one it ends the frame like padding.
        let number = order.nth_u32(&header, 4) as u16;
        let link = LinkType::of(number).ok_or(CaptureError::LinkType(number))?;
        Ok(Self {
            flavour,
            lengths,
            link,
        })
    }

    /// The next record; `None` after the last one.
    pub(super) fn record<'a>(
        &mut self,
        input: &'a mut Input,
    ) -> Result<Option<Record<'a>>, CaptureError> {
        if !input.begin_record()? {
            return Ok(None);
        }
        let header: [u8; 16] = input.array()?;
        if self.flavour.modified {
            input.skip(8)?;
        }
        let [seconds, fraction, first, second] =
            [0, 1, 2, 3].map(|field| self.flavour.order.nth_u32(&header, field));
        let (captured_len, original_len) = match self.lengths {
            Lengths::CapturedFirst => (first, second),
            Lengths::OriginalFirst => (second, first),
            Lengths::Smaller => (first.min(second), first.max(second)),
        };
        let time = instant(
            i128::from(seconds) * 1_000_000_000
                + i128::from(fraction) * i128::from(self.flavour.unit),
        );
        let captured = input.bytes(captured_len)?;
        Ok(Some(Record {
            link: self.link,
            time,
            captured,
            original_len,
        }))
    }
}
