//! The product's own program on a real frame, one flow: a cross-check of the table's `hot` figures, which are
//! measured with frames from a table.

use anyhow::Result;

use crate::course::Course;
use crate::lab::Lab;
use crate::packets::{Pattern, Slot, headers};
use crate::results::Results;
use crate::rounds::{Contender, measure};
use crate::world::World;

/// Measures `access` over a program that only passes.
pub(crate) fn run(
    world: &World,
    lab: &Lab,
    course: &Course,
    cpu: usize,
    results: &mut Results,
) -> Result<()> {
    let frame = real_frame(&headers(world, Pattern::Hot, 1)[0]);
    let contenders = [
        Contender::new(|_, packets| lab.run_on("pass", &frame, packets)),
        Contender::new(|_, packets| lab.run_product(&frame, packets)),
    ];
    let timings = measure(&contenders, &[cpu], course.effort)?;
    results.figure(
        &format!("hot_access_ns_v{}", world.size.family.number()),
        timings[1].ns - timings[0].ns,
    );
    Ok(())
}

/// A frame as long as its header says.
fn real_frame(slot: &Slot) -> Vec<u8> {
    let mut frame = slot[..54].to_vec();
    frame.resize(crate::packets::room(slot) as usize, 0);
    frame
}
