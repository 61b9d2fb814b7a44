//! How long the largest node's image takes to compile, and how large it is.

use std::time::Instant;

use anyhow::Result;
use zerorate::image::Source;

use crate::course::Course;
use crate::results::Results;
use crate::rounds::Timing;
use crate::tables::{Family, Tables};
use crate::world::{Charging, Size, World};

/// Prefixes of both families, and IPv4 subscribers, in one image.
pub(crate) fn largest(tables: &Tables, course: &Course, charging: Charging) -> (World, Source) {
    let [v4, v6, subscribers] = course.largest;
    let size = |family, prefixes, subscribers| Size {
        family,
        prefixes,
        subscribers,
    };
    let world = World::new(tables, size(Family::V4, v4, subscribers), charging);
    let other = World::new(tables, size(Family::V6, v6, 0), charging);
    let mut source = world.source();
    source.classes.extend(other.prefixes);
    (world, source)
}

/// Measures compiling without subscribers, and with them.
pub(crate) fn run(tables: &Tables, course: &Course, results: &mut Results) -> Result<()> {
    let (_, mut source) = largest(tables, course, Charging::Plain);
    let prefixes = source.classes.len();
    let (seconds, bytes) = compile(&source)?;
    results.figure("image_bytes_with_subscribers", bytes);
    results.figure("compile_seconds_with_subscribers", seconds);
    source.subscribers.clear();
    let (seconds, bytes) = compile(&source)?;
    results.figure("compile_seconds", seconds);
    results.figure("image_bytes", bytes);
    results.figure("image_bytes_per_prefix", bytes / prefixes as f64);
    Ok(())
}

fn compile(source: &Source) -> Result<(f64, f64)> {
    let mut bytes = 0;
    let mut samples = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let image = source.compile()?;
        samples.push(begun.elapsed().as_secs_f64());
        bytes = image.words().len() * 4;
    }
    Ok((Timing::of(samples).ns, bytes as f64))
}
