//! What is counted aside while rows are kept still, so that what another policy counted in them can be read: packets add to
//! it, and a program that user space runs adds it to the rows.

use core::ptr;

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use classifier::layout::{ASIDE_ENTRIES, Aside, Meter, meter_word};

use crate::maps::{MapLine, atomic_add};

/// What packets count while rows are kept still. Takes memory for what is in it only.
#[btf_map]
static ASIDE: HashMap<u64, Meter, { ASIDE_ENTRIES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// What became of a packet: its meter has others there,
pub(crate) const MORE: u64 = 0;
/// it is the first there, or
pub(crate) const FIRST: u64 = 1;
/// there is no room.
const FULL: u64 = 2;

/// Counts a packet aside. A function of its own: few packets come here, and those that do not must not make way for it.
#[inline(never)]
pub(crate) fn add(key: u64, down: u64, bytes: u64, packets: u64) -> u64 {
    let mut was = MORE;
    let meter = match ASIDE.get_ptr_mut(key) {
        Some(meter) => meter,
        None => {
            let empty = Meter::default();
            // Of several CPUs that come first one is.
            if ASIDE.insert(key, empty, u64::from(BPF_NOEXIST)).is_ok() {
                was = FIRST;
            }
            match ASIDE.get_ptr_mut(key) {
                Some(meter) => meter,
                None => return FULL,
            }
        }
    };
    let meter = meter.cast::<u64>();
    let at = if down == 0 { 0 } else { 2 };
    // SAFETY: a meter is four counters, two for what goes up and two for what comes down.
    unsafe {
        atomic_add(meter.add(at), bytes);
        atomic_add(meter.add(at + 1), packets);
    }
    was
}

/// Adds what stands aside in a meter to its row, and takes it away there: in one go, whoever ends the process that asks
/// for it.
#[inline(always)]
pub(crate) fn merge(key: u64) {
    let place = Aside::of_key(key);
    let Some(meter) = ASIDE.get_ptr_mut(key) else {
        return;
    };
    let Some(line) = MapLine::find(place.line) else {
        return;
    };
    let meter = meter.cast::<u64>();
    for (at, down) in [(0, false), (2, true)] {
        let word = meter_word(place.meter, down);
        for i in 0..2 {
            // SAFETY: as in `add`; packets may still count there. `at` stays in the chunk.
            unsafe {
                let from = meter.add(at + i as usize);
                let n = ptr::read_volatile(from);
                atomic_add(line.at(word + i), n);
                atomic_add(from, n.wrapping_neg());
            }
        }
    }
}
