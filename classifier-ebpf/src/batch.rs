//! What this CPU counted and has not added to the rows yet.
//!
//! Adding to a row is atomic, and whoever adds atomically waits for the row's memory, and makes everything behind it wait.
//! So packets are noted here, in memory of the CPU's own, and added to their rows some dozens at a time, which come near
//! at the same time; what follows each other in one meter is one note, and the next packet of the same [`Case`] is added to
//! it without a decision of its own. Whoever wants to read the rows has [`flush`] run on every CPU before.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::btf_map;
use classifier::books::Books;
use classifier::case::{Case, Ruling};
use classifier::layout::{BATCH_NOTES, Batch, Note, Place};
use classifier::verdict::Size;

use crate::maps::{MMAPABLE, MapLine, ask, opaque, time};

/// The batch of each CPU, by its number: user space sees at a glance which ones are empty.
#[btf_map]
static BATCHES: Array<Batch, 1, MMAPABLE> = Array::new();

/// This CPU's batch.
#[inline(always)]
fn own() -> Option<*mut Batch> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    BATCHES.get_ptr_mut(cpu)
}

/// Counts a packet in the note before, if the packet before was the same case, and says what was decided in it. The packet is
/// somebody's: a case whose binding is 0 stands for none.
#[inline(always)]
pub(crate) fn count_again(case: Case, size: Size) -> Option<Ruling> {
    let batch = own()?;
    let [binding, upper, lower, image] = words(case);
    // SAFETY: as in `count`.
    unsafe {
        if ptr::read_volatile(&raw const (*batch).busy) != 0 {
            return None;
        }
        ptr::write_volatile(&raw mut (*batch).busy, 1);
        let before = |word: usize| ptr::read_volatile(&raw const (*batch).case[word]);
        let again = before(0) == binding
            && (before(1) ^ upper) | (before(2) ^ lower) | (before(3) ^ image) == 0;
        let ruling = if again {
            add_to_last(batch, size);
            Some(Ruling::of_word(ptr::read_volatile(
                &raw const (*batch).ruling,
            )))
        } else {
            None
        };
        ptr::write_volatile(&raw mut (*batch).busy, 0);
        ruling
    }
}

/// A case as it stands in a batch.
#[inline(always)]
const fn words(case: Case) -> [u64; 4] {
    let [upper, lower] = case.remote;
    [case.binding.word(), upper, lower, case.image]
}

/// Adds a packet to the last note.
///
/// # Safety
/// `batch` is this CPU's own, kept busy, and has a note.
#[inline(always)]
unsafe fn add_to_last(batch: *mut Batch, size: Size) {
    // SAFETY: the caller's.
    unsafe {
        let used = ptr::read_volatile(&raw const (*batch).used);
        let note = at(batch, used.wrapping_sub(1));
        let counted = ptr::read_volatile(&raw const (*note).bytes);
        ptr::write_volatile(&raw mut (*note).bytes, counted + u64::from(size.bytes));
        let counted = ptr::read_volatile(&raw const (*note).packets);
        ptr::write_volatile(&raw mut (*note).packets, counted + size.packets);
    }
}

/// Counts a packet: in the note before, if that is of the same place, or in a new one. `false` where there is no such row.
/// `decided` is kept for the next packet, `None` is that nothing can be told by this one; `books` are those that hear of news
/// nobody has room for.
#[inline(always)]
pub(crate) fn count(
    place: Place,
    size: Size,
    decided: Option<(Case, Ruling)>,
    books: *mut Books,
) -> bool {
    let (bytes, packets) = (u64::from(size.bytes), size.packets);
    let Some(batch) = own() else {
        return add(place, (bytes, packets), time(), books);
    };
    let word = place.word();
    // SAFETY: this CPU's own value. What interrupts the program here and looks at it is `flush`, which `busy` keeps away;
    // volatile, so that all that is done stands between the two stores.
    unsafe {
        if ptr::read_volatile(&raw const (*batch).busy) != 0 {
            return add(place, (bytes, packets), time(), books);
        }
        ptr::write_volatile(&raw mut (*batch).busy, 1);
        let found = if ptr::read_volatile(&raw const (*batch).last) == word {
            add_to_last(batch, size);
            true
        } else if MapLine::find(place.line).is_some() {
            if ptr::read_volatile(&raw const (*batch).used) >= BATCH_NOTES {
                add_all(batch, books);
            }
            let used = ptr::read_volatile(&raw const (*batch).used);
            let note = at(batch, used);
            ptr::write_volatile(&raw mut (*note).place, word);
            ptr::write_volatile(&raw mut (*note).bytes, bytes);
            ptr::write_volatile(&raw mut (*note).packets, packets);
            if place.news.is_some() {
                ptr::write_volatile(&raw mut (*note).time, time());
            }
            ptr::write_volatile(&raw mut (*batch).used, used + 1);
            ptr::write_volatile(&raw mut (*batch).last, word);
            true
        } else {
            false
        };
        if found {
            if let Some((case, ruling)) = decided {
                ptr::write_volatile(&raw mut (*batch).case, words(case));
                ptr::write_volatile(&raw mut (*batch).ruling, ruling.word());
            } else {
                ptr::write_volatile(&raw mut (*batch).case[0], 0);
            }
        }
        ptr::write_volatile(&raw mut (*batch).busy, 0);
        found
    }
}

/// Adds bytes and packets to a row.
#[inline(always)]
fn add(place: Place, counted: (u64, u64), time: u64, books: *mut Books) -> bool {
    MapLine::find(place.line)
        .map(|row| row.add(place, counted, time, books))
        .is_some()
}

/// The note of a number.
///
/// # Safety
/// `batch` is a value of the map.
#[inline(always)]
unsafe fn at(batch: *mut Batch, number: u32) -> *mut Note {
    const BYTES: u64 = size_of::<Note>() as u64;
    let offset = opaque(u64::from(number) * BYTES) & (u64::from(BATCH_NOTES - 1) * BYTES);
    // SAFETY: a note of the batch, whichever number it was.
    unsafe {
        (&raw mut (*batch).notes)
            .cast::<u8>()
            .add(offset as usize)
            .cast()
    }
}

/// Adds what is noted to the rows. A function of its own: one packet of many comes here.
#[inline(never)]
fn add_all(batch: *mut Batch, books: *mut Books) -> u64 {
    // SAFETY: a value of the map, and whoever calls has kept others away.
    unsafe {
        let used = ptr::read_volatile(&raw const (*batch).used);
        // All are asked for before the first one is waited for: in few instructions each, because the processor asks for as
        // many at a time as it has room for theirs.
        for number in 0..BATCH_NOTES {
            if number >= used {
                break;
            }
            ask(ptr::read_volatile(&raw const (*at(batch, number)).place));
        }
        let mut adding = Adding { batch, books };
        // The kernel's own loop: its verifier follows the body once, and not once for each note and all that it may find.
        bpf_loop(
            used,
            add_one as *const () as *mut c_void,
            (&raw mut adding).cast(),
            0,
        );
        ptr::write_volatile(&raw mut (*batch).used, 0);
        ptr::write_volatile(&raw mut (*batch).last, 0);
        ptr::write_volatile(&raw mut (*batch).case[0], 0);
    }
    0
}

/// What a note is added of, and who hears of news nobody has room for.
struct Adding {
    batch: *mut Batch,
    books: *mut Books,
}

/// Adds one note to its row.
unsafe extern "C" fn add_one(number: u32, adding: *mut Adding) -> u64 {
    // SAFETY: `add_all`'s, and as there.
    unsafe {
        let Adding { batch, books } = ptr::read(adding);
        let note = at(batch, number);
        let place = Place::of_word(ptr::read_volatile(&raw const (*note).place));
        let bytes = ptr::read_volatile(&raw const (*note).bytes);
        let packets = ptr::read_volatile(&raw const (*note).packets);
        let time = ptr::read_volatile(&raw const (*note).time);
        // It is there: chunks are never taken away, and it was when the note was made.
        add(place, (bytes, packets), time, books);
    }
    0
}

/// Adds what a CPU has noted to the rows: 0, or 1 where it is about to note something. To be run on that CPU.
#[inline(always)]
pub(crate) fn flush(cpu: u32, books: *mut Books) -> i32 {
    let Some(batch) = BATCHES.get_ptr_mut(cpu) else {
        return 0;
    };
    // SAFETY: as in `count`.
    unsafe {
        if ptr::read_volatile(&raw const (*batch).busy) != 0 {
            return 1;
        }
        ptr::write_volatile(&raw mut (*batch).busy, 1);
        add_all(batch, books);
        ptr::write_volatile(&raw mut (*batch).busy, 0);
    }
    0
}
