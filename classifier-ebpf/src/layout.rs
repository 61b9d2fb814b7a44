//! Numbers and shapes the kernel programs and user space must agree on. Any change here that changes what
//! a pinned map means, and any change of what a [`Case`](crate::case::Case) depends on, must raise [`LAYOUT_VERSION`]: the pin directory carries it, the object carries it, and
//! every policy image carries it, so that old and new never read each other's memory.

use core::mem::offset_of;

use crate::events::{Event, Kind};

/// Version of everything in this module and in [`crate::image`]'s format.
pub const LAYOUT_VERSION: u32 = 9;

/// Bytes of half a line: one cache line.
pub const HALF_BYTES: u32 = 64;
/// Bytes of a line, the unit rows and bucket blocks are allocated in: a half for what goes up, a half for what comes
/// down, and a head.
pub const LINE_BYTES: u32 = 2 * HALF_BYTES + 8;
/// Lines in a chunk. A chunk is one mmapable map (17 MiB): the upper halves of all its lines, then the lower halves,
/// then the heads, so that packets of one direction meet in as little memory as can be. A row never crosses from one
/// chunk into the next. The kernel takes some 10 ms to add one, whatever its size.
pub const CHUNK_LINES: u32 = 1 << 17;
/// Bytes of a chunk.
pub const CHUNK_BYTES: u32 = CHUNK_LINES * LINE_BYTES;
/// Bytes of a chunk's halves; its heads stand behind them.
pub const HALVES_BYTES: u32 = CHUNK_LINES * HALF_BYTES * 2;
/// Most chunks there can be (8.5 GiB of lines). They are created when they are needed.
pub const MAX_CHUNKS: u32 = 512;

/// Service classes a node can know during the life of its pins, the default one included. Six bits of a
/// remote's value.
pub const MAX_CLASSES: u32 = 64;
/// Interfaces a node can count on during the life of its pins.
pub const MAX_INTERFACES: u32 = 64;
/// Buckets of one subscriber: what one line has room for.
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

/// What an XDP program puts before a packet for the tc program behind it: the packet's mark. A magic number first, because
/// drivers and other programs may put things of their own there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Metadata {
    /// [`Metadata::MAGIC`].
    pub magic: u32,
    /// Bits of the mark that are set or cleared.
    pub mask: u32,
    /// What they are set to.
    pub mark: u32,
}
const _: () = assert!(size_of::<Metadata>() == 12);

impl Metadata {
    /// `ZRTG`.
    pub const MAGIC: u32 = 0x5a52_5447;
}

/// Head of a row, in the head of its first line. The row's lines hold the counters of four meters each, in the upper
/// halves what the subscriber sent and in the lower halves what it received. The plan says what the meters are;
/// packets know it from the image, and read the head for the buckets only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowHead {
    /// Line of the subscriber's bucket block; line 0, which stays all zero, for who has no buckets.
    pub bucket_line: u32,
    /// Where in the block the plan's buckets 0 to 7 stand, four bits each.
    pub bucket_map: u32,
}

impl RowHead {
    /// As it stands in memory.
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.bucket_map as u64) << 32 | self.bucket_line as u64
    }
    /// From how it stands in memory.
    #[inline(always)]
    #[must_use]
    pub const fn of_word(word: u64) -> Self {
        Self {
            bucket_line: word as u32,
            bucket_map: (word >> 32) as u32,
        }
    }
}

/// One (class, charged) pair of a row: what was counted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
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

/// Where a packet is counted while its row is kept still: which image says so, and which meter of which row it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aside {
    /// Serial number of the image, as many bits of it as a key has.
    pub serial: u32,
    /// The row's first line.
    pub line: u32,
    /// The meter.
    pub meter: u32,
}

impl Aside {
    const SERIAL_BITS: u32 = 24;

    /// As it stands in memory: the key of a map.
    #[inline(always)]
    #[must_use]
    pub const fn key(self) -> u64 {
        let serial = self.serial & ((1 << Self::SERIAL_BITS) - 1);
        (serial as u64) << 40 | ((self.meter & 255) as u64) << 32 | self.line as u64
    }
    /// From how it stands in memory.
    #[inline(always)]
    #[must_use]
    pub const fn of_key(key: u64) -> Self {
        Self {
            serial: (key >> 40) as u32,
            line: key as u32,
            meter: (key >> 32) as u32 & 255,
        }
    }
    /// Whether an image of this serial number says so.
    #[must_use]
    pub const fn is_of(self, serial: u32) -> bool {
        self.serial == serial & ((1 << Self::SERIAL_BITS) - 1)
    }
}
const _: () = assert!(MAX_METERS <= 255);

/// Meters that packets can count in aside at the same time. The table takes 16 bytes of each, and what is in it.
pub const ASIDE_ENTRIES: u32 = 1 << 20;

/// Notes that a CPU makes before it adds them to the rows, each of one packet or of several in a row: a power of two.
pub const BATCH_NOTES: u32 = 32;

/// What a CPU counted and has not added to the rows yet.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Batch {
    /// So that nothing of it is at the beginning of a page, as the frames are: see [`at`](crate::image::at).
    before: [u64; 96],
    /// Whether it is being changed.
    pub busy: u16,
    /// Notes in it.
    pub used: u16,
    /// Serial number of the image by which its [deferred](crate::case::Deferred) notes are decided; 0 if there is none.
    pub deferred: u32,
    /// Place of the last one; 0 if there is none.
    pub last: u64,
    /// The case of the last packet in the last note: a [`Case`](crate::case::Case). Its first word is 0 if the next packet
    /// cannot be told by it; it is where there is no note.
    pub case: [u64; 4],
    /// What was decided in that case, a [`Ruling`](crate::case::Ruling); nothing that means anything if it was deferred.
    pub ruling: u64,
    /// The image whose packets may be deferred, as [`Batch::deferring`] says; 0 if none may be. User space writes it.
    pub deferring: u64,
    /// The notes.
    pub notes: [Note; BATCH_NOTES as usize],
    /// The remotes' IPv4 addresses, of those that are deferred.
    pub remotes: [u32; BATCH_NOTES as usize],
    behind: [u64; 8],
}

impl Batch {
    /// Which of its words says whether there is a note in it.
    pub const STATE: usize = offset_of!(Self, busy) / 8;
    /// Which of them says whose packets may be deferred.
    pub const DEFERRING: usize = offset_of!(Self, deferring) / 8;

    /// What the program that flushes one says of it: it is empty,
    pub const FLUSHED: u32 = 0;
    /// it is being changed, or
    pub const BUSY: u32 = 1;
    /// it holds what was judged by an image that is not the one in force.
    pub const UNDECIDED: u32 = 2;

    /// What stands there where packets of an image may be deferred, and there are notes of such.
    #[inline(always)]
    #[must_use]
    pub const fn deferring(serial: u32) -> u64 {
        1 << 32 | serial as u64
    }
    /// Whether there is a note in it: `state` is that word.
    #[must_use]
    pub const fn is_pending(state: u64) -> bool {
        state as u32 >> 16 != 0
    }
}
// No two CPUs meet in a cache line, nor in two that the processor fetches together.
const _: () = assert!(size_of::<Batch>() == 2048);
const _: () = assert!(offset_of!(Batch, busy) % 64 == 0 && offset_of!(Batch, notes) % 64 == 0);

/// What one packet counted, or several that followed each other in one meter.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Note {
    /// Where: a [`Place`], or a [`Deferred`](crate::case::Deferred) packet's row.
    pub place: u64,
    /// IP bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// When the first of them came, where that may be news: nanoseconds of CLOCK_MONOTONIC_COARSE.
    pub time: u64,
}

/// Where a packet is counted: a meter, and one of its directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The row's first line, which is not line 0.
    pub line: u32,
    /// The meter.
    pub meter: u32,
    /// Whether it is what the subscriber receives.
    pub down: bool,
    /// What it is news of if the meter has counted nothing, where somebody wants to know.
    pub news: Option<Kind>,
}

impl Place {
    /// Bits of where in its chunk it is counted, in [`Place::SPOT_BYTES`]: the last of them says which half.
    const SPOT_BITS: u32 = (2 * CHUNK_LINES * METERS_EACH).ilog2();
    const DOWN: u32 = 1 << (Self::SPOT_BITS - 1);
    /// Bytes and packets.
    const SPOT_BYTES: u32 = HALF_BYTES / METERS_EACH;
    const METER: u32 = 36;
    const NEWS: u32 = 48;

    /// As it stands in a note; never 0. Where to count comes first, for whoever wants no more of it than [`Place::spot`].
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        let news = match self.news {
            Some(kind) => kind as u64,
            None => 0,
        };
        let down = if self.down { Self::DOWN } else { 0 };
        let spot = self.line % CHUNK_LINES * METERS_EACH + self.meter + down;
        let chunk = self.line / CHUNK_LINES;
        news << Self::NEWS
            | ((self.meter & 255) as u64) << Self::METER
            | (chunk as u64) << Self::SPOT_BITS
            | spot as u64
    }
    /// From how it stands in a note.
    #[inline(always)]
    #[must_use]
    pub const fn of_word(word: u64) -> Self {
        let spot = word as u32 & (2 * Self::DOWN - 1);
        let meter = (word >> Self::METER) as u32 & 255;
        let (chunk, _) = Self::spot(word);
        Self {
            line: chunk * CHUNK_LINES + (spot % Self::DOWN).wrapping_sub(meter) / METERS_EACH,
            meter,
            down: spot & Self::DOWN != 0,
            news: match (word >> Self::NEWS) as u16 {
                0 => None,
                news if news == Kind::Blocked as u16 => Some(Kind::Blocked),
                _ => Some(Kind::Used),
            },
        }
    }
    /// The chunk of a place in a note, and where in it its bytes stand, in bytes: below [`HALVES_BYTES`].
    #[inline(always)]
    #[must_use]
    pub const fn spot(word: u64) -> (u32, u32) {
        let chunk = (word >> Self::SPOT_BITS) as u32 & (MAX_CHUNKS - 1);
        (
            chunk,
            (word as u32 & (2 * Self::DOWN - 1)) * Self::SPOT_BYTES,
        )
    }
    /// Where its bytes stand, in 64-bit words from the upper half of the line; its packets stand behind them.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> u32 {
        meter_word(self.meter, self.down)
    }
    /// The event that a packet is, if it is the first in its meter: `packets` of a direction say what was counted. Of
    /// several CPUs that count their first there at the same time each may tell of it.
    #[inline(always)]
    pub fn first_use(self, packets: impl Fn(bool) -> u64) -> Option<Event> {
        let kind = self.news?;
        (packets(self.down) == 0 && packets(!self.down) == 0)
            .then(|| Event::new(kind, self.line, self.meter, 0))
    }
}

/// Keys that are merged by one run of the program for it.
pub const MERGED_AT_ONCE: u32 = 128;

/// 64-bit words of half a line.
pub const HALF_WORDS: u32 = HALF_BYTES / 8;
/// From a line's upper half to its lower one, in 64-bit words.
pub const LOWER_HALF: u32 = CHUNK_LINES * HALF_WORDS;
/// Meters a line counts for: bytes and packets.
const METERS_EACH: u32 = HALF_WORDS / 2;

/// Lines a row of `meters` meters takes.
#[must_use]
pub const fn row_lines(meters: u32) -> u32 {
    meters.div_ceil(METERS_EACH)
}

/// Position, in 64-bit words from the upper half of the row's first line, of a meter's bytes in one direction; its
/// packets stand behind them.
#[inline(always)]
#[must_use]
pub const fn meter_word(meter: u32, down: bool) -> u32 {
    2 * meter + if down { LOWER_HALF } else { 0 }
}
const _: () = assert!(METERS_EACH * 2 == HALF_WORDS);

/// Position, in 64-bit words from the upper half of a bucket block, of what was drawn from a bucket; what was granted to
/// it stands behind that. The first four buckets are in the upper half, the others in the lower one.
///
/// Both only ever mean their difference, which is what is left. Packets add to the one and the agent alone stores the
/// other, so that nothing they do at the same time is lost, and storing what was granted a second time changes nothing.
#[inline(always)]
#[must_use]
pub const fn bucket_word(position: u32) -> u32 {
    2 * (position % METERS_EACH)
        + if position < METERS_EACH {
            0
        } else {
            LOWER_HALF
        }
}
const _: () = assert!(MAX_BUCKETS == 2 * METERS_EACH);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_out_of_a_note_as_it_went_in() {
        let last = MAX_CHUNKS * CHUNK_LINES - 1;
        for line in [
            1,
            2,
            CHUNK_LINES - 1,
            CHUNK_LINES,
            5 * CHUNK_LINES + 77,
            last,
        ] {
            // A row does not cross its chunk's end.
            let room = (CHUNK_LINES - line % CHUNK_LINES) * METERS_EACH;
            for meter in [0, 1, 3, 4, 17, 254, 255]
                .into_iter()
                .filter(|meter| *meter < room)
            {
                for down in [false, true] {
                    for news in [None, Some(Kind::Used), Some(Kind::Blocked)] {
                        let place = Place {
                            line,
                            meter,
                            down,
                            news,
                        };
                        let word = place.word();
                        assert_ne!(word, 0);
                        assert_eq!(Place::of_word(word), place);
                        let bytes = line % CHUNK_LINES * HALF_BYTES + 8 * place.bytes();
                        assert_eq!(Place::spot(word), (line / CHUNK_LINES, bytes));
                        assert!(bytes + 16 <= HALVES_BYTES);
                    }
                }
            }
        }
    }
}
