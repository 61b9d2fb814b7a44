//! How long it takes to read every counter of all subscribers, and how much memory a subscriber's counters take.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;

use crate::course::Course;
use crate::lab::Lab;
use crate::results::Results;
use crate::rounds::Timing;
use crate::world::World;

/// Reads bytes and packets, up and down, of eight meters each.
pub(crate) fn run(world: &World, lab: &Lab, course: &Course, results: &mut Results) -> Result<()> {
    let mut samples = Vec::new();
    for _ in 0..course.effort.rounds {
        let begun = Instant::now();
        lab.flush()?;
        let mut sum = 0_u64;
        for (_, row) in &world.subscribers {
            for meter in lab.lines.meters(*row, crate::world::CLASSES) {
                sum = sum
                    .wrapping_add(meter.bytes_up ^ meter.bytes_down)
                    .wrapping_add(meter.packets_up ^ meter.packets_down);
            }
        }
        black_box(sum);
        samples.push(begun.elapsed().as_secs_f64());
    }
    results.figure("read_seconds", Timing::of(samples).ns);
    Ok(())
}
