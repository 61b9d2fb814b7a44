//! Classes that are found later: where packets of a plan pass whatever their class is, a CPU notes the remote's address, and
//! finds the classes of all it noted at a time. What of the image is far away is then asked for together, and not waited for
//! packet by packet.
//!
//! All of them are decided by the image they were judged by. It is the one in force: only that of one number may be deferred
//! by, which user space writes into each batch when no program reads another one any more, and takes out again, and has the
//! batches flushed, before it puts another one in force.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::helpers::generated::bpf_loop;
use classifier::case::Deferred;
use classifier::image::Image;
use classifier::layout::{BATCH_NOTES, Batch};

use crate::batch::at;
use crate::maps::{MapWords, opaque};

/// The remote's address that belongs to a note.
///
/// # Safety
/// `batch` is a value of the map.
#[inline(always)]
pub(crate) unsafe fn remote(batch: *mut Batch, number: u32) -> *mut u32 {
    let offset = opaque(u64::from(number) * 4) & (u64::from(BATCH_NOTES - 1) * 4);
    // SAFETY: one of the batch, whichever number it was.
    unsafe {
        (&raw mut (*batch).remotes)
            .cast::<u8>()
            .add(offset as usize)
            .cast()
    }
}

/// Finds the places of all that is deferred. `false` where the image in force is not the one of that number: they are as they
/// were.
///
/// # Safety
/// `batch` is a value of the map, and others are kept away.
#[inline(always)]
pub(crate) unsafe fn decide_all(batch: *mut Batch, used: u32, serial: u32) -> bool {
    let Some(image) = MapWords::in_force().and_then(Image::new) else {
        return false;
    };
    if image.serial() != serial {
        return false;
    }
    let mut deciding = Deciding { batch, image };
    let context = (&raw mut deciding).cast();
    // SAFETY: the kernel's own loop, with functions of its kind.
    unsafe {
        // In few instructions each, because the processor asks for as much at a time as it has room for theirs.
        bpf_loop(used, approach_one as *const () as *mut c_void, context, 0);
        bpf_loop(used, decide_one as *const () as *mut c_void, context, 0);
    }
    true
}

struct Deciding {
    batch: *mut Batch,
    image: Image<MapWords>,
}

/// Asks for what is far away of a note's remote.
unsafe extern "C" fn approach_one(number: u32, deciding: *mut Deciding) -> u64 {
    // SAFETY: `decide_all`'s.
    unsafe {
        let Deciding { batch, image } = ptr::read(deciding);
        let remote = ptr::read_volatile(remote(batch, number));
        // Nobody wants it; LLVM is not to know.
        opaque(image.approach_remote4(remote).into());
    }
    0
}

/// Finds where a note is counted, if that was deferred.
unsafe extern "C" fn decide_one(number: u32, deciding: *mut Deciding) -> u64 {
    // SAFETY: as above.
    unsafe {
        let Deciding { batch, image } = ptr::read(deciding);
        let note = at(batch, number);
        if let Some(deferred) = Deferred::of_word(ptr::read_volatile(&raw const (*note).place)) {
            let place = deferred.decide(image, ptr::read_volatile(remote(batch, number)));
            ptr::write_volatile(&raw mut (*note).place, place.word());
        }
    }
    0
}
