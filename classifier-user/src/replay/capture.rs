//! Capture files: pcap and pcapng, read as a stream of frames, each as if it had been seen on Ethernet.
//!
//! A file has one answer only, so what is odd but readable is read and nothing is guessed: a frame longer than
//! the file's snapshot length is taken whole, and a recorded original length is believed even where it is
//! smaller than what was captured. What cannot be read ends the capture with an error that says where; every
//! frame before it has been returned by then.
//!
//! Formats: `draft-ietf-opsawg-pcap` and `draft-ietf-opsawg-pcapng`. The readers are ours because no kept crate
//! follows odd files as far as Wireshark does (modified and byte-swapped records, binary time resolutions,
//! interface time offsets, packets of the oldest block type) and says at which byte it stopped.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;

use input::Input;
use link::{LinkType, SUPPORTED};
use pcap::Pcap;
use pcapng::PcapNg;

mod input;
mod link;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

/// No frame and no description of an interface is longer, in bytes. A record that claims to be is damaged, and
/// believing it would read the rest of the file into memory.
const MAX_RECORD: u32 = 16 << 20;

/// One captured frame, as if seen on Ethernet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the file, from 1, over all sections and interfaces.
    pub number: u64,
    /// When it was captured; the Unix epoch where the file does not say (pcapng's Simple Packet Blocks).
    pub time: Timestamp,
    /// What was captured of it: an Ethernet header, and what follows. Where the file has another link header,
    /// or none, it is replaced by 14 bytes with zero MAC addresses and the EtherType it stood for, or EtherType
    /// 0 (which is no IP) where it stood for none or was itself cut off.
    pub bytes: Vec<u8>,
    /// Bytes it had on the wire as the file states them, with the link header counted as Ethernet's. It may be
    /// smaller than what was captured: it says how much room there was, `bytes` what can be read.
    pub original_len: u32,
}

/// Why a capture cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot open the capture")]
    Open(#[source] io::Error),
    /// The system failed to deliver the file's bytes.
    #[error("reading failed at byte {offset}")]
    Read {
        /// Where in the file.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in the file.
    #[error("the file is empty; a capture has at least a header")]
    Empty,
    /// The file is compressed.
    #[error("the file is compressed with {0}; decompress it first")]
    Compressed(&'static str),
    /// The file begins like neither pcap nor pcapng.
    #[error("not a pcap or pcapng capture: the file begins with {}", hex(.0))]
    NotACapture(Vec<u8>),
    /// A version of the format that has never been seen.
    #[error("{format} version {major}.{minor} is not known; versions {known} can be read")]
    Version {
        /// `pcap` or `pcapng`.
        format: &'static str,
        /// What the file says.
        major: u16,
        /// What the file says.
        minor: u16,
        /// What can be read.
        known: &'static str,
    },
    /// Frames of a link type that has no reading as Ethernet.
    #[error("link type {} is not supported; supported are {SUPPORTED}", link::describe(*.0))]
    LinkType(
        /// Its number in the tcpdump.org registry.
        u16,
    ),
    /// The file ends inside a record. All frames before it have been returned.
    #[error(
        "the file is cut off: it ends at byte {end}, inside the record that begins at byte {start}"
    )]
    Truncated {
        /// Offset of the record's first byte.
        start: u64,
        /// Length of the file.
        end: u64,
    },
    /// A record contradicts itself or the file. All frames before it have been returned.
    #[error("the record that begins at byte {start} is damaged: {what}")]
    Damaged {
        /// Offset of the record's first byte.
        start: u64,
        /// What is wrong with it.
        what: String,
    },
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// An open capture: an iterator over its frames, which ends after the last one or after the first error.
///
/// The file is read as it is iterated; memory holds one frame and a read buffer.
#[derive(Debug)]
pub struct Capture {
    input: Input,
    format: Format,
    frames: u64,
    ended: bool,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// A frame as it stands in the file.
#[derive(Debug)]
struct Record<'a> {
    link: LinkType,
    time: Timestamp,
    captured: &'a [u8],
    original_len: u32,
}

/// Byte order of numbers in a file or section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
    fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
    /// The `index`th of the 32-bit numbers `bytes` begins with; the caller knows that it is there.
    fn nth_u32(self, bytes: &[u8], index: usize) -> u32 {
        let at = index * 4;
        self.u32([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }
}

/// The instant so many nanoseconds after the Unix epoch, or the last one that can be told.
fn instant(nanoseconds: i128) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds).unwrap_or(if nanoseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

impl Capture {
    /// Opens a capture file and reads its header.
    ///
    /// # Errors
    /// When the file cannot be opened or is no capture; the error does not name the file.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        Self::read(File::open(path).map_err(CaptureError::Open)?)
    }

    /// Reads a capture from anywhere, for instance a pipe; buffering is done here.
    ///
    /// # Errors
    /// When what comes is no capture.
    pub fn read(source: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let mut input = Input::new(source);
        let format = Format::recognise(&mut input)?;
        Ok(Self {
            input,
            format,
            frames: 0,
            ended: false,
        })
    }
}

impl Format {
    fn recognise(input: &mut Input) -> Result<Self, CaptureError> {
        if !input.begin_record()? {
            return Err(CaptureError::Empty);
        }
        let magic: [u8; 4] = match input.array() {
            Err(CaptureError::Truncated { .. }) => {
                return Err(CaptureError::NotACapture(input.last().to_vec()));
            }
            other => other?,
        };
        if magic == pcapng::SECTION_HEADER {
            return PcapNg::open(input).map(Self::PcapNg);
        }
        if let Some(flavour) = pcap::Flavour::of(magic) {
            return Pcap::open(input, flavour).map(Self::Pcap);
        }
        Err(match magic {
            [0x1f, 0x8b, ..] => CaptureError::Compressed("gzip"),
            [0x28, 0xb5, 0x2f, 0xfd] => CaptureError::Compressed("zstd"),
            [0xfd, b'7', b'z', b'X'] => CaptureError::Compressed("xz"),
            [b'B', b'Z', b'h', _] => CaptureError::Compressed("bzip2"),
            [0x04, 0x22, 0x4d, 0x18] => CaptureError::Compressed("lz4"),
            _ => CaptureError::NotACapture(magic.to_vec()),
        })
    }
}

impl Iterator for Capture {
    type Item = Result<Frame, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = match &mut self.format {
            Format::Pcap(pcap) => pcap.record(&mut self.input),
            Format::PcapNg(pcapng) => pcapng.record(&mut self.input),
        };
        self.ended = !matches!(record, Ok(Some(_)));
        let record = record.transpose()?;
        Some(record.map(|record| {
            self.frames += 1;
            let (bytes, original_len) = record
                .link
                .as_ethernet(record.captured, record.original_len);
            Frame {
                number: self.frames,
                time: record.time,
                bytes,
                original_len,
            }
        }))
    }
}

impl std::iter::FusedIterator for Capture {}
