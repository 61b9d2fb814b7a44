//! The kernel's half of [`Tables`]: maps, and how a verdict reads and counts in them.
//!
//! Every map is made and pinned by user space, which knows the sizes; the sizes here are the least there can
//! be. Indices into maps are masked with constants the loader sets, so that the verifier sees every access in
//! bounds and no packet pays for a check that can fail.

use core::cell::Cell;
use core::ptr;

use aya_ebpf::btf_maps::{Array, ArrayOfMaps, PerCpuArray, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::btf_map;
use classifier::books::{self, BOOKS_WORDS, Books};
use classifier::case::{Case, Ruling};
use classifier::charge::Direction;
use classifier::events::Event;
use classifier::image::Words;
use classifier::layout::{
    Aside, CHUNK_BYTES, CHUNK_LINES, HALF_BYTES, HALF_WORDS, HALVES_BYTES, MAX_CHUNKS,
    MAX_INTERFACES, Place, RowHead, bucket_word, meter_word,
};
use classifier::verdict::{Size, Tables};

use crate::constants::{CONFIG_IMAGE_MASK, CONFIG_INTERFACE};
use crate::{aside, batch};

pub(crate) const MMAPABLE: usize = 1024;

/// The policy image in force. Inner maps are one-element arrays whose value is a whole image.
#[btf_map]
static IMAGE: ArrayOfMaps<Array<[u64; 512], 1, MMAPABLE>, 1> = ArrayOfMaps::new();

/// Chunks of lines: rows and bucket blocks.
#[btf_map]
static ROWS: ArrayOfMaps<
    Array<[u64; CHUNK_BYTES as usize / 8], 1, MMAPABLE>,
    { MAX_CHUNKS as usize },
> = ArrayOfMaps::new();

/// One set of books per interface and direction.
#[btf_map]
static BOOKS: PerCpuArray<Books, { 2 * MAX_INTERFACES as usize }> = PerCpuArray::new();

/// What is news. Nothing is lost with an event but the event.
#[btf_map]
static EVENTS: RingBuf<Event, 4096> = RingBuf::new();

/// Hides a value from LLVM, so that the bounds the next instruction puts on it are put on the register that
/// is then used, not on a copy.
#[inline(always)]
#[cfg_attr(
    not(target_arch = "bpf"),
    expect(unused_mut, reason = "changed by the assembly only")
)]
pub(crate) fn opaque(mut value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: a move of a register onto itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) value);
    }
    value
}

/// `*at += n` for all CPUs.
///
/// # Safety
/// `at` is a counter in a map.
#[inline(always)]
pub(crate) unsafe fn atomic_add(at: *mut u64, n: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's; the instruction is BPF's atomic add without fetch.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) at, in(reg) n);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's; `u64` and `AtomicU64` have the same layout.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(at)
            .fetch_add(n, core::sync::atomic::Ordering::Relaxed);
    }
}

/// `*at += n` for all CPUs, and what was there before.
///
/// # Safety
/// `at` is a counter in a map.
#[inline(always)]
#[cfg_attr(
    not(target_arch = "bpf"),
    expect(unused_mut, reason = "changed by the assembly only")
)]
pub(crate) unsafe fn atomic_fetch_add(at: *mut u64, mut n: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's; the instruction is BPF's atomic add with fetch (Linux 5.12).
    unsafe {
        core::arch::asm!("{0} = atomic_fetch_add((u64 *)({1} + 0), {0})", inout(reg) n, in(reg) at);
        n
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's; `u64` and `AtomicU64` have the same layout.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(at)
            .fetch_add(n, core::sync::atomic::Ordering::SeqCst)
    }
}

/// The maps, with this CPU's books found.
pub(crate) struct KernelTables {
    pub(crate) books: *mut Books,
    first_unpriced: Cell<bool>,
}

impl KernelTables {
    #[inline(always)]
    pub(crate) fn get(direction: Direction) -> Option<Self> {
        let books = books::index(CONFIG_INTERFACE.load() as u32, direction);
        let books = BOOKS.get_ptr_mut(books)?;
        Some(Self {
            books,
            first_unpriced: Cell::new(false),
        })
    }

    /// Counts a packet that could not be given its tag.
    #[inline(always)]
    pub(crate) fn untagged(&self) {
        self.tally(books::Cell::UntaggedPackets.index(), 1);
    }

    /// Whether this packet is the first on this CPU and interface that could not be priced.
    #[inline(always)]
    pub(crate) fn first_unpriced(&self) -> bool {
        self.first_unpriced.get()
    }
}

/// A policy image in its map.
#[derive(Clone, Copy)]
pub(crate) struct MapWords {
    start: *const u8,
    /// Bytes of the map's value, less one.
    mask: u64,
}

impl MapWords {
    /// The image in force.
    #[inline(always)]
    pub(crate) fn in_force() -> Option<Self> {
        IMAGE.get_value_ptr_mut(0, &0).map(|value| Self {
            start: value.cast_const().cast(),
            mask: CONFIG_IMAGE_MASK.load(),
        })
    }
    /// Where the value of `1 << shift` bytes at `index`, counted in such values, stands. Hidden after it is masked,
    /// so that the mask's bounds are on the very register that is added.
    #[inline(always)]
    fn at<T>(self, index: u32, shift: u32) -> *const T {
        let offset = (u64::from(index) << shift) & (self.mask >> shift << shift);
        // SAFETY: the mask is the number of bytes in the map's value, less one.
        unsafe { self.start.add(opaque(offset) as usize).cast() }
    }
}

impl Words for MapWords {
    type Line = *const u32;

    #[inline(always)]
    fn head(self, index: u32) -> u32 {
        // SAFETY: a constant within the header, which is smaller than the smallest map.
        unsafe { ptr::read(self.start.cast::<u32>().add(index as usize)) }
    }
    #[inline(always)]
    fn long_head(self, index: u32) -> u64 {
        // SAFETY: as above.
        unsafe { ptr::read(self.start.cast::<u64>().add(index as usize)) }
    }
    #[inline(always)]
    fn word(self, index: u32) -> u32 {
        // SAFETY: in bounds, see `at`.
        unsafe { ptr::read(self.at(index, 2)) }
    }
    #[inline(always)]
    fn half(self, index: u32) -> u32 {
        // SAFETY: in bounds, see `at`.
        u32::from(unsafe { ptr::read::<u16>(self.at(index, 1)) })
    }
    #[inline(always)]
    fn long(self, index: u32) -> u64 {
        // SAFETY: in bounds, see `at`.
        unsafe { ptr::read(self.at(index, 3)) }
    }
    #[inline(always)]
    fn byte(self, index: u32) -> u32 {
        // SAFETY: in bounds, see `at`.
        u32::from(unsafe { ptr::read::<u8>(self.at(index, 0)) })
    }
    #[inline(always)]
    fn line(self, index: u32) -> *const u32 {
        self.at(index, 6)
    }
    #[inline(always)]
    fn in_line(self, line: *const u32, position: u32) -> u32 {
        // SAFETY: a line begins at a multiple of its size, and positions in it are constants below its length.
        unsafe { ptr::read(line.add(position as usize)) }
    }
    #[inline(always)]
    fn is_below(self, line: *const u32, position: u32, digit: u64) -> u64 {
        // The sign of the difference, hidden from LLVM: it would count comparisons the way of machines that have
        // an instruction for it.
        opaque(u64::from(self.in_line(line, position)).wrapping_sub(digit)) >> 63
    }
}

/// A line: its chunk, and where in the chunk its upper half begins.
#[derive(Clone, Copy)]
pub(crate) struct MapLine {
    chunk: *mut u8,
    offset: u32,
}

impl MapLine {
    /// The line of a number.
    #[inline(always)]
    pub(crate) fn find(line: u32) -> Option<Self> {
        let chunk = ROWS.get_value_ptr_mut(line / CHUNK_LINES, &0)?;
        Some(Self {
            chunk: chunk.cast(),
            offset: line % CHUNK_LINES * HALF_BYTES,
        })
    }

    /// The 64-bit word `word` words behind the beginning of the upper half. User space never lets a row cross its
    /// chunk's end, so the mask changes nothing; it is what the verifier knows. Hidden before it is masked:
    /// LLVM too sees that the mask changes nothing, would leave it out and add by OR, and the verifier of
    /// Linux 6.1 knows no bounds of an OR.
    #[inline(always)]
    pub(crate) fn at(self, word: u32) -> *mut u64 {
        let offset = self.offset.wrapping_add(word.wrapping_mul(8));
        let offset = opaque(u64::from(offset)) & u64::from(HALVES_BYTES - 8);
        // SAFETY: the chunk's value has more than HALVES_BYTES bytes.
        unsafe { self.chunk.add(offset as usize).cast() }
    }

    /// Tells of the first packet in a meter of the row that begins here, where it is one, and when it came.
    #[inline(always)]
    pub(crate) fn tell(self, place: Place, time: u64, books: *mut Books) {
        // SAFETY: `at` stays in the chunk. Volatile, because others count there meanwhile.
        let counted =
            |down| unsafe { ptr::read_volatile(self.at(meter_word(place.meter, down) + 1)) };
        if let Some(event) = place.first_use(counted) {
            report(Event { time, ..event }, books);
        }
    }

    /// Adds to a meter of the row that begins here. What it is news of is said before it is counted: whoever sees the
    /// count finds the event.
    #[inline(always)]
    pub(crate) fn add(
        self,
        place: Place,
        (bytes, packets): (u64, u64),
        time: u64,
        books: *mut Books,
    ) {
        self.tell(place, time, books);
        // SAFETY: `at` stays in the chunk.
        unsafe {
            atomic_add(self.at(place.bytes()), bytes);
            atomic_add(self.at(place.bytes() + 1), packets);
        }
    }

    /// The line's head.
    #[inline(always)]
    fn head(self) -> *mut u64 {
        let offset = opaque(u64::from(self.offset / HALF_WORDS)) & u64::from(CHUNK_LINES * 8 - 8);
        // SAFETY: the heads, eight bytes each, stand behind the halves.
        unsafe {
            self.chunk
                .add(HALVES_BYTES as usize + offset as usize)
                .cast()
        }
    }
}

/// Asks for the memory of a place, as it stands in a note.
#[inline(always)]
pub(crate) fn ask(place: u64) {
    let (chunk, bytes) = Place::spot(place);
    if let Some(chunk) = ROWS.get_value_ptr_mut(chunk, &0) {
        // SAFETY: below HALVES_BYTES, and the chunk's value has more.
        unsafe { ptr::read_volatile(chunk.cast::<u8>().add(bytes as usize)) };
    }
}

impl Tables for KernelTables {
    type Words = MapWords;
    type Line = MapLine;

    #[inline(always)]
    fn image(&self) -> Option<MapWords> {
        MapWords::in_force()
    }

    #[inline(always)]
    fn line(&self, line: u32) -> Option<MapLine> {
        MapLine::find(line)
    }

    #[inline(always)]
    fn approach_buckets(&self, line: MapLine) {
        // SAFETY: `head` and `at` stay in the chunk. Loads nobody waits for: the processor goes on.
        unsafe {
            ptr::read_volatile(line.head());
            ptr::read_volatile(line.at(0u32.wrapping_sub(HALF_WORDS)));
        }
    }

    #[inline(always)]
    fn row(&self, line: MapLine) -> RowHead {
        // SAFETY: `head` stays in the chunk.
        RowHead::of_word(unsafe { ptr::read(line.head()) })
    }

    #[inline(always)]
    fn add_again(&self, case: Case, size: Size) -> Option<Ruling> {
        batch::count_again(case, size)
    }

    #[inline(always)]
    fn defer(&self, case: Case, size: Size, watched: bool) -> bool {
        batch::defer(case, size, watched, self.books)
    }

    #[inline(always)]
    fn add(&self, place: Place, size: Size, decided: Option<(Case, Ruling)>) -> bool {
        batch::count(place, size, decided, self.books)
    }

    #[inline(always)]
    fn add_aside(&self, serial: u32, place: Place, size: Size) -> bool {
        let Place { line, meter, .. } = place;
        let key = Aside {
            serial,
            line,
            meter,
        };
        match aside::add(
            key.key(),
            u64::from(place.down),
            size.bytes.into(),
            size.packets,
        ) {
            aside::FIRST => {
                if let Some(row) = MapLine::find(line) {
                    row.tell(place, time(), self.books);
                }
                true
            }
            aside::MORE => true,
            _ => false,
        }
    }

    #[inline(always)]
    fn level(&self, block: MapLine, position: u32) -> i64 {
        let word = bucket_word(position);
        // SAFETY: `at` stays in the chunk. Volatile, because others may draw and grant meanwhile.
        let (drawn, granted) = unsafe {
            (
                ptr::read_volatile(block.at(word)),
                ptr::read_volatile(block.at(word + 1)),
            )
        };
        granted.wrapping_sub(drawn) as i64
    }

    #[inline(always)]
    fn draw(&self, block: MapLine, position: u32, bytes: u32) -> i64 {
        let word = bucket_word(position);
        // SAFETY: `at` stays in the chunk. What was granted is read after the draw: before it, a grant of that moment
        // could be missed, and with it that the bucket ran out.
        unsafe {
            let drawn = atomic_fetch_add(block.at(word), u64::from(bytes));
            ptr::read_volatile(block.at(word + 1)).wrapping_sub(drawn) as i64
        }
    }

    #[inline(always)]
    fn report(&self, event: Event) {
        let time = time();
        report(Event { time, ..event }, self.books);
    }

    #[inline(always)]
    fn tally(&self, cell: u32, n: u64) {
        let cell = cell as usize;
        if cell >= BOOKS_WORDS {
            return;
        }
        // SAFETY: in bounds, and this CPU's own: nothing else that counts runs on it until the program returns.
        unsafe {
            let counter = self.books.cast::<u64>().add(cell);
            let value = ptr::read(counter);
            if cell == books::Cell::UnpricedPackets as usize && value == 0 {
                self.first_unpriced.set(true);
            }
            ptr::write(counter, value + n);
        }
    }
}

/// CLOCK_MONOTONIC_COARSE (Linux 5.11), in nanoseconds: as good as the kernel's tick, and read in a few of them.
#[inline(always)]
pub(crate) fn time() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Keeps an event. One that finds no room is counted as lost: atomically, because notes are also added where packets of
/// these books can be in the middle of counting.
#[inline(always)]
fn report(event: Event, books: *mut Books) {
    if EVENTS.output(event, 0).is_err() {
        // SAFETY: a counter of the books.
        unsafe {
            let lost = books.cast::<u64>().add(books::Cell::EventsLost as usize);
            atomic_add(lost, 1);
        }
    }
}
