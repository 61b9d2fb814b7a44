//! Captures as files: pcap and pcapng, in either byte order.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::policy::Nanoseconds;

/// One packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When it was seen.
    pub time: Nanoseconds,
    /// Link type number, as registered for capture files.
    pub link: u32,
    /// How long it was on the wire.
    pub original: u64,
    /// What was kept of it.
    pub bytes: Vec<u8>,
}

/// All packets of a capture file, in its order.
///
/// # Errors
/// When the file is neither pcap nor pcapng, or ends in the middle of a packet.
pub fn read_capture(path: &Path) -> Result<Vec<Captured>> {
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    let magic: [u8; 4] = file.get(..4).context("an empty file")?.try_into()?;
    let packets = match (u32::from_be_bytes(magic), u32::from_le_bytes(magic)) {
        (0x0a0d_0d0a, _) => read_pcapng(&file),
        (0xa1b2_c3d4, _) => read_pcap(
            Fields {
                bytes: &file,
                big: true,
            },
            1000,
        ),
        (0xa1b2_3c4d, _) => read_pcap(
            Fields {
                bytes: &file,
                big: true,
            },
            1,
        ),
        (_, 0xa1b2_c3d4) => read_pcap(
            Fields {
                bytes: &file,
                big: false,
            },
            1000,
        ),
        (_, 0xa1b2_3c4d) => read_pcap(
            Fields {
                bytes: &file,
                big: false,
            },
            1,
        ),
        _ => bail!("neither pcap nor pcapng"),
    };
    packets.with_context(|| path.display().to_string())
}

/// Numbers at places of a piece of a file.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl<'a> Fields<'a> {
    fn slice(self, at: usize, length: usize) -> Result<&'a [u8]> {
        let end = at
            .checked_add(length)
            .context("a length out of all bounds")?;
        self.bytes.get(at..end).context("the file ends too early")
    }

    fn u16(self, at: usize) -> Result<u16> {
        let bytes = self.slice(at, 2)?.try_into()?;
        Ok(if self.big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn u32(self, at: usize) -> Result<u32> {
        let bytes = self.slice(at, 4)?.try_into()?;
        Ok(if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn size(self, at: usize) -> Result<usize> {
        Ok(usize::try_from(self.u32(at)?)?)
    }
}

/// <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/>
fn read_pcap(file: Fields<'_>, fraction: Nanoseconds) -> Result<Vec<Captured>> {
    // The upper bits of the field speak of frame check sequences.
    let link = file.u32(20)? & 0xffff;
    let mut packets = Vec::new();
    let mut at = 24;
    while at < file.bytes.len() {
        let seconds = Nanoseconds::from(file.u32(at)?) * 1_000_000_000;
        let time = seconds + Nanoseconds::from(file.u32(at + 4)?) * fraction;
        let length = file.size(at + 8)?;
        let original = u64::from(file.u32(at + 12)?);
        let bytes = file.slice(at + 16, length)?.to_vec();
        packets.push(Captured {
            time,
            link,
            original,
            bytes,
        });
        at += 16 + length;
    }
    Ok(packets)
}

/// An interface of a pcapng section.
#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    snap_length: usize,
    units_per_second: u128,
    offset_seconds: i64,
}

impl Interface {
    /// A time stamp of this interface; what is finer than a nanosecond is cut off, which changes no
    /// comparison with a time in whole nanoseconds.
    fn time(&self, units: u64) -> Nanoseconds {
        let whole = u128::from(units) / self.units_per_second;
        let rest = u128::from(units) % self.units_per_second;
        let nanoseconds = whole * 1_000_000_000 + rest * 1_000_000_000 / self.units_per_second;
        nanoseconds as Nanoseconds + Nanoseconds::from(self.offset_seconds) * 1_000_000_000
    }
}

/// <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>
fn read_pcapng(file: &[u8]) -> Result<Vec<Captured>> {
    let mut packets = Vec::new();
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut big = false;
    let mut at = 0;
    while at < file.len() {
        let kind = file.get(at..at + 4).context("the file ends in a block")?;
        if kind == [0x0a, 0x0d, 0x0d, 0x0a] {
            big = match file
                .get(at + 8..at + 12)
                .context("the file ends in a section header")?
            {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                other => bail!("byte order {other:x?}"),
            };
            interfaces.clear();
        }
        let rest = Fields {
            bytes: &file[at..],
            big,
        };
        let length = rest.size(4)?;
        ensure!(
            length >= 12 && length.is_multiple_of(4),
            "a block of {length} bytes"
        );
        let block = Fields {
            bytes: rest.slice(8, length - 12)?,
            big,
        };
        match rest.u32(0)? {
            1 => interfaces.push(read_interface(block)?),
            2 => packets.push(read_packet(block, &interfaces, usize::from(block.u16(0)?))?),
            3 => packets.push(read_simple_packet(block, &interfaces)?),
            6 => packets.push(read_packet(block, &interfaces, block.size(0)?)?),
            _ => {}
        }
        at += length;
    }
    Ok(packets)
}

fn read_interface(block: Fields<'_>) -> Result<Interface> {
    let mut interface = Interface {
        link: u32::from(block.u16(0)?),
        snap_length: block.size(4)?,
        units_per_second: 1_000_000,
        offset_seconds: 0,
    };
    let mut at = 8;
    while at < block.bytes.len() {
        let (code, length) = (block.u16(at)?, usize::from(block.u16(at + 2)?));
        let value = block.slice(at + 4, length)?;
        match (code, value) {
            (0, _) => break,
            (9, [power]) if power & 0x80 != 0 => {
                interface.units_per_second = 1u128
                    .checked_shl(u32::from(power & 0x7f))
                    .context("if_tsresol")?;
            }
            (9, [power]) => {
                interface.units_per_second = 10u128
                    .checked_pow(u32::from(*power))
                    .context("if_tsresol")?;
            }
            (14, value) => {
                let value: [u8; 8] = value.try_into()?;
                interface.offset_seconds = if block.big {
                    i64::from_be_bytes(value)
                } else {
                    i64::from_le_bytes(value)
                };
            }
            _ => {}
        }
        at += 4 + length.next_multiple_of(4);
    }
    Ok(interface)
}

/// The enhanced and the obsolete packet block, which differ in how the interface is written.
fn read_packet(block: Fields<'_>, interfaces: &[Interface], number: usize) -> Result<Captured> {
    let interface = interfaces
        .get(number)
        .context("an interface nobody described")?;
    let units = u64::from(block.u32(4)?) << 32 | u64::from(block.u32(8)?);
    Ok(Captured {
        time: interface.time(units),
        link: interface.link,
        original: u64::from(block.u32(16)?),
        bytes: block.slice(20, block.size(12)?)?.to_vec(),
    })
}

/// A simple packet block has no time stamp: it counts as seen in 1970.
fn read_simple_packet(block: Fields<'_>, interfaces: &[Interface]) -> Result<Captured> {
    let interface = interfaces
        .first()
        .context("an interface nobody described")?;
    let original = block.size(0)?;
    let kept = match interface.snap_length {
        0 => original,
        limit => original.min(limit),
    };
    let bytes = block.slice(4, kept)?.to_vec();
    Ok(Captured {
        time: 0,
        link: interface.link,
        original: original as u64,
        bytes,
    })
}
