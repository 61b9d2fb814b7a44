//! What this CPU counted and has not added to the rows yet.
//!
//! Adding to a row is atomic, and whoever adds atomically waits for the row's memory, and makes everything behind it wait.
//! So packets are noted here, in memory of the CPU's own, and added to their rows some dozens at a time, which come near
//! at the same time; what follows each other in one meter is one note, and the next packet of the same [`Case`] is added to
//! it without a decision of its own. Whoever wants to read the rows has [`flush`] run on every CPU before.
//!
//! Where packets pass whatever their class is, it is found as late as that, too: see [`deferred`].

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::btf_map;
use classifier::books::{Books, Cell};
use classifier::case::{Case, Deferred, Ruling};
use classifier::layout::{BATCH_NOTES, Batch, Note, Place};
use classifier::verdict::Size;

use crate::deferred;
use crate::maps::{MMAPABLE, MapLine, ask, atomic_add, atomic_fetch_add, opaque, time};

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
        let note = at(batch, u32::from(used).wrapping_sub(1));
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
        let noted = if ptr::read_volatile(&raw const (*batch).last) == word {
            add_to_last(batch, size);
            true
        } else if MapLine::find(place.line).is_some()
            && note(batch, word, size, place.news.is_some(), books).is_some()
        {
            ptr::write_volatile(&raw mut (*batch).last, word);
            true
        } else {
            false
        };
        if noted {
            if let Some((case, ruling)) = decided {
                ptr::write_volatile(&raw mut (*batch).case, words(case));
                ptr::write_volatile(&raw mut (*batch).ruling, ruling.word());
            } else {
                ptr::write_volatile(&raw mut (*batch).case[0], 0);
            }
        }
        ptr::write_volatile(&raw mut (*batch).busy, 0);
        noted || add(place, (bytes, packets), time(), books)
    }
}

/// Notes a packet whose class is found later, by the image of its case; `watched`: it may be news. `false` where packets of that
/// image may not be noted so, or there is no such row.
#[inline(always)]
pub(crate) fn defer(case: Case, size: Size, watched: bool, books: *mut Books) -> bool {
    let Some(batch) = own() else {
        return false;
    };
    if MapLine::find(case.binding.line()).is_none() {
        return false;
    }
    // SAFETY: as in `count`.
    unsafe {
        if ptr::read_volatile(&raw const (*batch).busy) != 0 {
            return false;
        }
        ptr::write_volatile(&raw mut (*batch).busy, 1);
        // Asked for while the batch is kept busy: who forbids it and then has it flushed finds none, and none comes.
        let allowed = ptr::read_volatile(&raw const (*batch).deferring);
        let word = Deferred::of(case).word();
        let noted = if allowed == Batch::deferring(case.serial()) {
            note(batch, word, size, watched, books)
        } else {
            None
        };
        if let Some(number) = noted {
            let [_, remote] = case.remote;
            ptr::write_volatile(deferred::remote(batch, number), remote as u32);
            ptr::write_volatile(&raw mut (*batch).deferred, case.serial());
            // The next packet of this place may be of another image, or of none that is known yet.
            ptr::write_volatile(&raw mut (*batch).last, 0);
            // The next of this case needs to know nothing: none of it carries anything.
            ptr::write_volatile(&raw mut (*batch).case, words(case));
        }
        ptr::write_volatile(&raw mut (*batch).busy, 0);
        noted.is_some()
    }
}

/// Makes a note behind the last one, and says which it is. Where there is no room, what is noted is added to the rows before;
/// `None` where that cannot be done here.
///
/// # Safety
/// `batch` is this CPU's own, and kept busy.
#[inline(always)]
unsafe fn note(
    batch: *mut Batch,
    word: u64,
    size: Size,
    watched: bool,
    books: *mut Books,
) -> Option<u32> {
    // SAFETY: the caller's.
    unsafe {
        if u32::from(ptr::read_volatile(&raw const (*batch).used)) >= BATCH_NOTES
            && add_all(batch, books, STAY) == KEPT
        {
            return None;
        }
        let used = ptr::read_volatile(&raw const (*batch).used);
        let note = at(batch, used.into());
        ptr::write_volatile(&raw mut (*note).place, word);
        ptr::write_volatile(&raw mut (*note).bytes, size.bytes.into());
        ptr::write_volatile(&raw mut (*note).packets, size.packets);
        if watched {
            ptr::write_volatile(&raw mut (*note).time, time());
        }
        ptr::write_volatile(&raw mut (*batch).used, used + 1);
        Some(used.into())
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
pub(crate) unsafe fn at(batch: *mut Batch, number: u32) -> *mut Note {
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

/// What becomes of deferred notes where their image is not the one in force: they stay, and all others with them, for whoever
/// reads the right map, or
const STAY: u64 = 0;
/// they are counted as unpriced.
const GIVE_UP: u64 = 1;

/// What was noted was added to the rows,
const ADDED: u64 = 0;
/// or stays where it is.
const KEPT: u64 = 1;

/// Adds what is noted to the rows. A function of its own: one packet of many comes here.
#[inline(never)]
fn add_all(batch: *mut Batch, books: *mut Books, undecided: u64) -> u64 {
    // SAFETY: a value of the map, and whoever calls has kept others away.
    unsafe {
        let used = u32::from(ptr::read_volatile(&raw const (*batch).used));
        let serial = ptr::read_volatile(&raw const (*batch).deferred);
        if serial != 0 && !deferred::decide_all(batch, used, serial) && undecided == STAY {
            return KEPT;
        }
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
        // Who sees that there is nothing noted any more finds it in the rows: an atomic that fetches orders what was before it.
        atomic_fetch_add(&raw mut (*batch).last, 0);
        ptr::write_volatile(&raw mut (*batch).used, 0);
        ptr::write_volatile(&raw mut (*batch).deferred, 0);
        ptr::write_volatile(&raw mut (*batch).last, 0);
        ptr::write_volatile(&raw mut (*batch).case[0], 0);
    }
    ADDED
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
        let word = ptr::read_volatile(&raw const (*note).place);
        let bytes = ptr::read_volatile(&raw const (*note).bytes);
        let packets = ptr::read_volatile(&raw const (*note).packets);
        let time = ptr::read_volatile(&raw const (*note).time);
        if Deferred::of_word(word).is_some() {
            lost(bytes, packets, books);
        } else {
            // It is there: chunks are never taken away, and it was when the note was made.
            add(Place::of_word(word), (bytes, packets), time, books);
        }
    }
    0
}

/// What was deferred and can be decided no more shows in the books, which do not close with it; where packets are counted as
/// unpriced at this very moment it can show as less. Atomically, because it is not a packet's program that comes here.
#[inline(always)]
fn lost(bytes: u64, packets: u64, books: *mut Books) {
    for (cell, n) in [
        (Cell::UnpricedPackets, packets),
        (Cell::UnpricedBytes, bytes),
    ] {
        // SAFETY: a counter of the books.
        unsafe { atomic_add(books.cast::<u64>().add(cell as usize), n) };
    }
}

/// Adds what a CPU has noted to the rows, and says what came of it, as [`Batch`] has it. To be run on that CPU. What was judged
/// by an image that is not the one in force stays where it is, or is given up.
#[inline(always)]
pub(crate) fn flush(cpu: u32, give_up: bool, books: *mut Books) -> u32 {
    let Some(batch) = BATCHES.get_ptr_mut(cpu) else {
        return Batch::FLUSHED;
    };
    // SAFETY: as in `count`.
    unsafe {
        if ptr::read_volatile(&raw const (*batch).busy) != 0 {
            return Batch::BUSY;
        }
        // Nothing is touched then: of a CPU that is offline this may run elsewhere, and it may be coming back.
        if ptr::read_volatile(&raw const (*batch).used) == 0 {
            return Batch::FLUSHED;
        }
        ptr::write_volatile(&raw mut (*batch).busy, 1);
        let became = add_all(batch, books, if give_up { GIVE_UP } else { STAY });
        ptr::write_volatile(&raw mut (*batch).busy, 0);
        if became == KEPT {
            Batch::UNDECIDED
        } else {
            Batch::FLUSHED
        }
    }
}
