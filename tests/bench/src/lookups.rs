//! The main table: every program over the same headers in one world.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use classifier::charge::Direction;
use classifier::packet::Frame;
use classifier::verdict::{Hook, Plain};
use zerorate::engine::native::{HeapBooks, NativeTables};

use crate::course::Course;
use crate::lab::Lab;
use crate::packets::{CAPTURED, Pattern, Slot, headers, room};
use crate::reference;
use crate::results::{Place, Program, Results};
use crate::rounds::{self, Contender, Timing, measure, pin};
use crate::world::World;

/// Headers that are judged once by each program to compare what they counted.
const CHECKED: usize = 1 << 17;

/// Different packets a world meets: the checked ones, and two patterns of many flows.
pub(crate) fn packets(course: &Course) -> usize {
    CHECKED + 2 * course.headers
}

/// The host's engine over a lab's image and lines.
struct Host<'a> {
    lab: &'a Lab,
    headers: &'a [Slot],
    books: HeapBooks,
    judged: &'a AtomicU64,
}

impl Host<'_> {
    fn floor(&self, share: usize, packets: u32) {
        for slot in self.walk(share, packets) {
            black_box(&slot[..8]);
        }
    }

    fn run(&self, share: usize, packets: u32) {
        let tables = NativeTables {
            image: &self.lab.image,
            lines: &self.lab.lines,
            books: &self.books,
            raised: None,
        };
        let hook = Hook {
            direction: Direction::Up,
            from_gateway: false,
            settings: Plain::default(),
        };
        for slot in self.walk(share, packets) {
            let frame = Frame {
                captured: &slot[..CAPTURED],
                room: room(slot),
            };
            tables.judge(&frame, hook);
        }
        self.judged.fetch_add(u64::from(packets), Ordering::Relaxed);
    }

    fn walk(&self, share: usize, packets: u32) -> impl Iterator<Item = &Slot> {
        // Every run begins elsewhere, or it would find what the last one left in the caches.
        let begun = self.judged.load(Ordering::Relaxed) as usize;
        let mask = self.headers.len() - 1;
        (0..packets as usize).map(move |n| &self.headers[(begun + share + n) & mask])
    }
}

/// Sees that ours, in the kernel and on the host, and the reference count the same packets alike.
fn compare(world: &World, lab: &mut Lab, most: usize, host: &AtomicU64) -> Result<()> {
    let half = most.min(CHECKED) / 2;
    let mut checked = headers(world, Pattern::Uniform, half);
    checked.extend(headers(world, Pattern::Zipf, half));
    let cpu = rounds::cpus()?[0];
    let packets = checked.len() as u32;
    lab.show(&checked, &[cpu])?;
    let lab = &*lab;
    let run = |name: &str| {
        // A thread of its own, so that this one may go on using every CPU.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                pin(cpu)?;
                lab.run(name, packets)
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    };
    run("reference")?;
    let expected = reference::counted(lab)?;
    ensure!(
        expected.packets() == u64::from(packets),
        "the reference lost packets: {expected:?}"
    );
    lab.flush()?;
    let mut before = world.counted(&lab.lines);
    let mut check = |name: &str| {
        lab.flush()?;
        let after = world.counted(&lab.lines);
        let counted = after.since(&before);
        before = after;
        ensure!(
            counted == expected,
            "`{name}` counted {counted:?}, the reference {expected:?}"
        );
        Ok(())
    };
    run("ours")?;
    check("ours")?;
    run("tc_ours")?;
    check("ours-tc")?;
    let engine = Host {
        lab,
        headers: &checked,
        books: HeapBooks::default(),
        judged: host,
    };
    engine.run(0, packets);
    check("native")
}

/// Measures all programs on the first of these CPUs in a world whose reference is filled, and some of them on all of
/// these CPUs at once.
pub(crate) fn run(
    world: &World,
    lab: &mut Lab,
    course: &Course,
    cpus: &[usize],
    results: &mut Results,
) -> Result<()> {
    let host = AtomicU64::new(0);
    compare(world, lab, course.headers, &host)?;
    for pattern in Pattern::ALL {
        let headers = headers(world, pattern, course.headers);
        warm_up(lab, &headers, &rounds::cpus()?)?;
        let place = Place {
            size: world.size,
            pattern,
            cpus: 1,
        };
        one_cpu(lab, &headers, &cpus[..1], &host, course, place, results)?;
        if cpus.len() > 1 {
            let place = Place {
                cpus: cpus.len(),
                ..place
            };
            all_cpus(lab, &headers, cpus, course, place, results)?;
        }
    }
    lab.check_books(world, host.load(Ordering::Relaxed))
}

/// Lets the reference meet every pair of subscriber and class once: what it inserts is not what is measured.
fn warm_up(lab: &mut Lab, headers: &[Slot], cpus: &[usize]) -> Result<()> {
    lab.show(headers, cpus)?;
    let share = headers.len().div_ceil(cpus.len()) as u32;
    let lab = &*lab;
    std::thread::scope(|scope| {
        let threads: Vec<_> = cpus
            .iter()
            .map(|cpu| {
                scope.spawn(move || {
                    pin(*cpu)?;
                    lab.run("reference", share)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn one_cpu(
    lab: &mut Lab,
    headers: &[Slot],
    cpu: &[usize],
    host: &AtomicU64,
    course: &Course,
    place: Place,
    results: &mut Results,
) -> Result<()> {
    lab.rewind(headers.len(), cpu)?;
    let lab = &*lab;
    let engine = Host {
        lab,
        headers,
        books: HeapBooks::default(),
        judged: host,
    };
    let engine = &engine;
    let kernel = |name: &'static str| Contender::new(move |_, packets| lab.run(name, packets));
    let contenders = [
        kernel("floor"),
        kernel("parse"),
        kernel("reference"),
        kernel("ours"),
        kernel("tc_floor"),
        kernel("tc_ours"),
        Contender::new(|share, packets| {
            engine.floor(share, packets);
            Ok(())
        }),
        Contender::new(|share, packets| {
            engine.run(share, packets);
            Ok(())
        }),
    ];
    let timings = measure(&contenders, cpu, course.effort)?;
    let [
        floor,
        parse,
        reference,
        ours,
        tc_floor,
        tc_ours,
        host_floor,
        host,
    ] = timings[..]
    else {
        unreachable!("one timing for each contender");
    };
    results.line(Program::Floor, place, floor);
    results.line(Program::Parse, place, parse);
    results.line(Program::Reference, place, reference);
    results.line(Program::Ours, place, ours);
    results.line(Program::OursTc, place, moved(tc_ours, tc_floor, floor));
    results.line(Program::Native, place, moved(host, host_floor, floor));
    Ok(())
}

fn all_cpus(
    lab: &mut Lab,
    headers: &[Slot],
    cpus: &[usize],
    course: &Course,
    place: Place,
    results: &mut Results,
) -> Result<()> {
    lab.rewind(headers.len(), cpus)?;
    let lab = &*lab;
    let kernel = |name: &'static str| Contender::new(move |_, packets| lab.run(name, packets));
    let contenders = [kernel("floor"), kernel("reference"), kernel("ours")];
    let timings = measure(&contenders, cpus, course.effort)?;
    for (program, timing) in [Program::Floor, Program::Reference, Program::Ours]
        .into_iter()
        .zip(timings)
    {
        results.line(program, place, timing);
    }
    Ok(())
}

/// A timing over its own floor, put on the common one.
pub(crate) fn moved(timing: Timing, own: Timing, common: Timing) -> Timing {
    Timing {
        ns: timing.ns - own.ns + common.ns,
        spread: timing.spread,
    }
}
