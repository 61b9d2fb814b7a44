//! How long it takes to put another image in force while every CPU is busy with packets, and whether each packet
//! was judged by one image, whole.
//!
//! Between two short runs of packets every CPU judges one more, alone, and looks at the meter it was counted in: so it
//! is known to half a millisecond when a CPU's last packet was judged by the image before.
//!
//! Two images take turns. Under the first every packet used here is of class 1 and its plan counts that class in
//! meter 1; under the second it is of class 2, and the plan counts that in meter 10. Whatever is counted elsewhere
//! was judged by the classes of one image and the plan of the other.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use classifier::books::Cell;
use ipnet::IpNet;
use zerorate::image::Source;
use zerorate_tests::interrupt;

use crate::course::Course;
use crate::figures::compile;
use crate::lab::Lab;
use crate::packets::{self, Pattern, address_in, headers};
use crate::random::Random;
use crate::results::Results;
use crate::rounds::{pin, quantile};
use crate::tables::Tables;
use crate::world::{CLASSES, Charging, World};

/// Class and meter of every packet under the first image, and under the second.
const FIRST: (u32, u32) = (1, 1);
const SECOND: (u32, u32) = (2, CLASSES + 2);

/// Publishes images under load.
pub(crate) fn run(
    tables: &Tables,
    course: &Course,
    cpus: &[usize],
    results: &mut Results,
) -> Result<()> {
    let (mut world, mut first) = compile::largest(tables, course, Charging::PlainWide);
    let probes = probes(&world);
    first.classes.extend(&probes);
    world.prefixes = probes;
    let second = turned(&mut first);
    let headers = headers(&world, Pattern::Uniform, course.headers);
    let (first, second) = (first.compile()?, second.compile()?);
    let mut lab = Lab::with_image(&world, first.clone(), 1)?;
    lab.show(&headers, cpus)?;
    let lab = &lab;
    let stop = &AtomicBool::new(false);
    let world = &world;
    let (commands, seen) = thread::scope(|scope| -> Result<_> {
        let load: Vec<_> = cpus
            .iter()
            .zip(&world.subscribers)
            .map(|(cpu, subscriber)| {
                scope.spawn(move || {
                    pin(*cpu)?;
                    load(world, lab, subscriber, stop)
                })
            })
            .collect();
        let mut commands = Vec::with_capacity(course.changes);
        let published = (0..course.changes).try_for_each(|change| -> Result<()> {
            interrupt::check()?;
            let image = if change % 2 == 0 { &second } else { &first };
            let begun = Instant::now();
            lab.publish(image)?;
            commands.push((begun, Instant::now()));
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        for thread in load {
            let thread = thread.join();
            seen.push(thread.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        published.map(|()| (commands, seen))
    })?;
    results.figure("changes", commands.len() as f64);
    let until = |end: &dyn Fn(usize) -> Instant| {
        let took = |(change, (begun, _)): (usize, &(Instant, Instant))| {
            end(change).duration_since(*begun).as_secs_f64()
        };
        let mut seconds: Vec<f64> = commands.iter().enumerate().map(took).collect();
        seconds.sort_by(f64::total_cmp);
        [0.5, 0.99].map(|share| quantile(&seconds, share))
    };
    let [median, most] = until(&|change| last_packet(&commands, &seen, change));
    results.figure("publish_seconds", median);
    results.figure("publish_seconds_p99", most);
    let [median, most] = until(&|change| commands[change].1);
    results.figure("publish_grace_seconds", median);
    results.figure("publish_grace_seconds_p99", most);
    let (unpriced, mixed) = misjudged(world, lab)?;
    results.figure("publish_unpriced_packets", unpriced as f64);
    results.figure("publish_mixed_packets", mixed as f64);
    Ok(())
}

/// Judges packets until it is told to stop. Says when it was first seen that another image judges.
fn load(
    world: &World,
    lab: &Lab,
    (address, row): &(IpNet, u32),
    stop: &AtomicBool,
) -> Result<Vec<Instant>> {
    const RUN: u32 = 1 << 11;
    let (probe, _) = world.prefixes[0];
    let frame = packets::frame(address.network(), probe.network(), 50);
    let mut seen = Vec::new();
    let under_second = || -> Result<_> {
        lab.flush()?;
        Ok(lab.lines.meter(*row, SECOND.1).packets_up)
    };
    let mut before = None;
    while !stop.load(Ordering::Relaxed) {
        lab.run("ours", RUN)?;
        let counted = under_second()?;
        lab.run_product(&frame, 1)?;
        let now = Some(under_second()? != counted);
        if before.is_some() && before != now {
            seen.push(Instant::now());
        }
        before = now;
    }
    Ok(seen)
}

/// When the last CPU was seen to have left the image before a change. A CPU that was seen to leave it only later had
/// no packet meanwhile.
fn last_packet(commands: &[(Instant, Instant)], seen: &[Vec<Instant>], change: usize) -> Instant {
    let (begun, published) = commands[change];
    let next = commands.get(change + 1).map(|(begun, _)| *begun);
    let left = seen.iter().filter_map(|seen| {
        let first = seen.iter().find(|at| **at >= begun)?;
        next.is_none_or(|next| *first < next).then_some(*first)
    });
    // No later than when the grace period was over.
    left.max().unwrap_or(published).min(published)
}

/// The same image with every class one further, and counted in another half of the meters. The first image's own
/// plan is made to count class by class in the lower half.
fn turned(first: &mut Source) -> Source {
    let turn = |class: u32| (class + 1) % CLASSES;
    for (_, plan) in &mut first.plans {
        for (class, chain) in plan.chains.iter_mut().enumerate() {
            if let Some(chain) = chain {
                chain.end = Some(class as u8);
            }
        }
    }
    let mut plans = first.plans.clone();
    for (_, plan) in &mut plans {
        for (class, chain) in plan.chains.iter_mut().enumerate() {
            if let Some(chain) = chain {
                chain.end = Some((CLASSES as usize + class) as u8);
            }
        }
    }
    Source {
        serial: first.serial + 1,
        default_class: turn(first.default_class),
        classes: first
            .classes
            .iter()
            .map(|(net, class)| (*net, turn(*class)))
            .collect(),
        subscribers: first.subscribers.clone(),
        gateway: first.gateway.clone(),
        labels: first.labels.clone(),
        plans,
        watch: first.watch,
    }
}

/// Remotes packets are sent to: single addresses, so that nothing more specific has another class.
fn probes(world: &World) -> Vec<(IpNet, u32)> {
    const PROBES: usize = 4_096;
    let taken: HashSet<IpNet> = world.prefixes.iter().map(|(net, _)| *net).collect();
    let mut random = Random::new(0x7377_6170);
    let mut probes = BTreeMap::new();
    while probes.len() < PROBES {
        let (net, _) = &world.prefixes[random.below(world.prefixes.len())];
        let probe = IpNet::from(address_in(net, &mut random));
        if !taken.contains(&probe) {
            probes.insert(probe, FIRST.0);
        }
    }
    probes.into_iter().collect()
}

/// Packets that were not judged at all, and packets counted where neither image counts them.
fn misjudged(world: &World, lab: &Lab) -> Result<(u64, u64)> {
    let judged = lab.judged.load(Ordering::Relaxed);
    let books = lab.books()?;
    let seen = books[Cell::Packets as usize];
    ensure!(seen == judged, "of {judged} packets {seen} were seen");
    lab.flush()?;
    let packets = |meter: u32| -> u64 {
        let rows = world.subscribers.iter();
        rows.map(|(_, row)| lab.lines.meter(*row, meter).packets_up)
            .sum()
    };
    let counted = [FIRST, SECOND].map(|(_, meter)| packets(meter));
    ensure!(
        counted.iter().all(|packets| *packets > 0),
        "an image was never in force: {counted:?}"
    );
    let unpriced = books[Cell::UnpricedPackets as usize];
    let mixed = judged - unpriced - counted.iter().sum::<u64>();
    Ok((unpriced, mixed))
}
