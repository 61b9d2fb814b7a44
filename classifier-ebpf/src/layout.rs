//! Numbers and shapes the kernel programs and user space must agree on. Any change here that changes what
//! a pinned map means must raise [`LAYOUT_VERSION`]: the pin directory carries it, the object carries it, and
//! every policy image carries it, so that old and new never read each other's memory.

/// Version of everything in this module and in [`crate::image`]'s format.
pub const LAYOUT_VERSION: u32 = 2;

/// Bytes of a line, the unit rows and bucket blocks are allocated in: one cache line.
pub const LINE_BYTES: u32 = 64;
/// Lines in a chunk. A chunk is one mmapable map (16 MiB); a row never crosses from one into the next. The kernel
/// takes some 10 ms to add one, whatever its size.
pub const CHUNK_LINES: u32 = 1 << 18;
/// Bytes of a chunk.
pub const CHUNK_BYTES: u32 = CHUNK_LINES * LINE_BYTES;
/// Most chunks there can be (8 GiB of rows). They are created when they are needed.
pub const MAX_CHUNKS: u32 = 512;

/// Service classes a node can know during the life of its pins, the default one included. Six bits of a
/// remote's value.
pub const MAX_CLASSES: u32 = 64;
/// Interfaces a node can count on during the life of its pins.
pub const MAX_INTERFACES: u32 = 64;
/// Buckets of one subscriber: the eight signed 64-bit levels of one line.
pub const MAX_BUCKETS: u32 = 8;
/// Buckets of one charge chain, and of one gate.
pub const MAX_STEPS: u32 = 4;
/// Meters of one row; a meter number is a byte in a plan entry, 255 stands for none.
pub const MAX_METERS: u32 = 255;

/// Bytes of a frame the headers of interest can reach: Ethernet, two tags, PPPoE with its PPP protocol, and
/// the fixed IPv6 header make 70. A frame that is read from a map needs no more.
pub const HEAD_BYTES: u32 = 128;

/// A frame handed to the program through a map instead of by the network: what replay uses for frames the
/// kernel's test run refuses.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct FrameSlot {
    /// Bytes of `head` that were captured (at most [`HEAD_BYTES`]).
    pub captured: u32,
    /// Length of the frame on the wire.
    pub original: u32,
    /// The captured bytes, then room so that a masked read never leaves the value.
    pub head: [u32; (HEAD_BYTES as usize + 128) / 4],
}
const _: () = assert!(size_of::<FrameSlot>() == 8 + 256);

/// Head of a row, at the beginning of its first line. The lines behind hold the counters: one line what the
/// subscriber sent on the first four meters, one what it received, and so on for the next four, so that packets of one
/// direction meet in one line. The plan says what the meters are; packets know it from the image, and read the head
/// for the buckets only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct RowHead {
    /// Number of the plan layout whose meters the row holds: index into the image's plans.
    pub plan: u32,
    /// Zero.
    pub reserved: u32,
    /// Line of the subscriber's bucket block; line 0, which stays all zero, for who has no buckets.
    pub bucket_line: u32,
    /// Where in the block the plan's buckets 0 to 7 stand, four bits each.
    pub bucket_map: u32,
    /// Number of the session the row belongs to.
    pub session: u64,
    /// Zero.
    pub reserved_too: u64,
}
const _: () = assert!(size_of::<RowHead>() == 32);

/// One (class, charged) pair of a row: what was counted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meter {
    /// IP bytes the subscriber sent.
    pub bytes_up: u64,
    /// Packets the subscriber sent.
    pub packets_up: u64,
    /// IP bytes the subscriber received.
    pub bytes_down: u64,
    /// Packets the subscriber received.
    pub packets_down: u64,
}

/// 64-bit words of a line.
const LINE_LONGS: u32 = LINE_BYTES / 8;
/// Meters a pair of lines counts for: bytes and packets, up in the one, down in the other.
const METERS_EACH: u32 = LINE_LONGS / 2;

/// Lines a row of `meters` meters takes.
#[must_use]
pub const fn row_lines(meters: u32) -> u32 {
    1 + 2 * meters.div_ceil(METERS_EACH)
}

/// Position, in 64-bit words from the row's first line, of a meter's bytes in one direction; its packets stand behind
/// them.
#[inline(always)]
#[must_use]
pub const fn meter_word(meter: u32, down: bool) -> u32 {
    let line = 1 + 2 * (meter / METERS_EACH) + if down { 1 } else { 0 };
    line * LINE_LONGS + 2 * (meter % METERS_EACH)
}
