//! Waiting for what runs in the kernel at this moment: programs, and the polls of drivers that call them.

use super::maps::{MapsError, array, doing};
use super::sys::{self, Kind};

/// Returns when all programs and polls have ended that were under way: a grace period. It is what the kernel waits for when an
/// array of maps is changed (`synchronize_rcu` in `map_update_elem` of maps in maps, Linux 5.0); of this one nothing is
/// read.
///
/// # Errors
/// When the kernel refuses the maps.
pub fn wait() -> Result<(), MapsError> {
    let what = || "waiting for a grace period";
    let inner = array(c"zr_wait", Kind::Plain, 8, 1)?;
    let outer = sys::create_array_of_maps(c"zr_waits", 1, &inner).map_err(doing(what()))?;
    sys::set_inner(&outer, 0, &inner).map_err(doing(what()))
}
