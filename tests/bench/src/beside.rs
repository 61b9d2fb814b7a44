//! Worlds side by side: the same program over two worlds in the same rounds. What is a ratio of two worlds is measured here:
//! between their turns in the main table minutes pass, in which the machine becomes another.

use anyhow::Result;

use crate::course::Course;
use crate::lab::Lab;
use crate::packets::{Pattern, headers};
use crate::results::Results;
use crate::rounds::{Contender, Effort, Timing, measure};
use crate::tables::Tables;
use crate::world::{Charging, Size, World};

/// Two worlds with their labs, each before its headers.
struct Pair {
    worlds: [World; 2],
    labs: Vec<Lab>,
}

impl Pair {
    fn new(worlds: [World; 2], pattern: Pattern, course: &Course, cpu: usize) -> Result<Self> {
        let mut labs = Vec::new();
        for world in &worlds {
            let mut lab = Lab::with_image(world, world.source().compile()?, 1)?;
            lab.show(&headers(world, pattern, course.headers), &[cpu])?;
            labs.push(lab);
        }
        Ok(Self { worlds, labs })
    }

    /// What `floor` and `ours` take in each of them, and that all packets were counted.
    fn measure(&self, effort: Effort, cpu: usize) -> Result<[[Timing; 2]; 2]> {
        let run = |lab: usize, name: &'static str| {
            Contender::new(move |_, packets| self.labs[lab].run(name, packets))
        };
        let contenders = [
            run(0, "floor"),
            run(1, "floor"),
            run(0, "ours"),
            run(1, "ours"),
        ];
        let timings = measure(&contenders, &[cpu], effort)?;
        for (world, lab) in self.worlds.iter().zip(&self.labs) {
            lab.check_books(world, 0)?;
        }
        Ok([[timings[0], timings[2]], [timings[1], timings[3]]])
    }
}

fn over_floor([floor, ours]: [Timing; 2]) -> f64 {
    ours.ns - floor.ns
}

/// Measures what a gate and chains of two buckets add, rows being of the same size.
pub(crate) fn buckets(
    course: &Course,
    tables: &Tables,
    cpu: usize,
    results: &mut Results,
) -> Result<()> {
    let worlds =
        [Charging::PlainWide, Charging::Buckets].map(|how| World::new(tables, course.middle, how));
    let pair = Pair::new(worlds, Pattern::Uniform, course, cpu)?;
    let [plain, buckets] = pair.measure(course.effort, cpu)?;
    results.figure("bucket_ratio", over_floor(buckets) / over_floor(plain));
    Ok(())
}

/// Measures what more prefixes cost packets of many flows by Zipf's law: what a packet takes among the many over what it takes
/// among the few, over the floor and with the floor in both.
pub(crate) fn growth(
    course: &Course,
    tables: &Tables,
    cpu: usize,
    results: &mut Results,
) -> Result<()> {
    let Some(sizes) = course.growth else {
        return Ok(());
    };
    let worlds = sizes.map(|size: Size| World::new(tables, size, Charging::Plain));
    let pair = Pair::new(worlds, Pattern::Zipf, course, cpu)?;
    let [few, many] = pair.measure(course.effort.longer(), cpu)?;
    results.figure("zipf_growth", over_floor(many) / over_floor(few));
    results.figure("zipf_growth_whole", many[1].ns / few[1].ns);
    Ok(())
}
