//! End to end: packets over a virtual wire into native XDP at its other end, and how many of them a second.
//!
//! The sender is a live test run that sends its frames out of the near end; the far end passes them to its stack,
//! which drops them, because they are addressed to another station.

use anyhow::{Context as _, Result, ensure};
use aya::programs::{Program as Loaded, ProgramFd};
use classifier::books::Cell;
use nix::net::if_::if_nametoindex;
use zerorate::datapath::sys::{self, XdpMode};
use zerorate_tests::netns::NetNs;
use zerorate_tests::veth::Veth;

use crate::course::Course;
use crate::lab::Lab;
use crate::nftables::carrier;
use crate::packets::{Pattern, headers};
use crate::results::Results;
use crate::rounds::{Contender, measure};
use crate::world::World;

const PROGRAMS: [(&str, &str); 3] = [
    ("pass", "pass"),
    ("reference", "reference_frame"),
    ("ours", "access"),
];

/// Measures packets a second in a world whose reference is filled: of one flow, and of all subscribers.
pub(crate) fn run(
    world: &World,
    lab: &mut Lab,
    course: &Course,
    cpu: usize,
    results: &mut Results,
) -> Result<()> {
    one(world, lab, course, cpu, (Pattern::Hot, ""), results)?;
    one(world, lab, course, cpu, (Pattern::Zipf, "_zipf"), results)
}

fn one(
    world: &World,
    lab: &mut Lab,
    course: &Course,
    cpu: usize,
    (pattern, suffix): (Pattern, &str),
    results: &mut Results,
) -> Result<()> {
    let (near, far) = (NetNs::new("sender")?, NetNs::new("gateway")?);
    let _wire = Veth::new((&near, "out"), (&far, "in"), 1_500)?;
    let headers = headers(world, pattern, course.headers);
    lab.show(&headers, &[cpu])?;
    let lab = &*lab;
    let first = fd(lab, "pass")?;
    let link = far.enter(|| -> Result<_> {
        let index = if_nametoindex("in")?;
        Ok(sys::create_xdp_link(first, index, XdpMode::Native)?)
    })?;
    let before = lab.books()?;
    let frame = carrier(world.size.family);
    let sent = std::sync::atomic::AtomicU64::new(0);
    let timings = near.enter(|| {
        let index = if_nametoindex("out")?;
        let contenders = PROGRAMS.map(|(name, program)| {
            let (link, frame, sent) = (&link, &frame, &sent);
            Contender::new(move |_, packets| {
                if name == "ours" {
                    sent.fetch_add(packets.into(), std::sync::atomic::Ordering::Relaxed);
                }
                lab.run_live("send", packets, frame, index)
            })
            .prepared(move || Ok(sys::update_link(link, fd(lab, program)?)?))
        });
        // The sender's thread also does the receiving: the kernel lets it between two batches.
        measure(&contenders, &[cpu], course.wire)
    })?;
    // Dropped links detach their programs.
    drop(link);
    let after = lab.books()?;
    let seen = after[Cell::Packets as usize] - before[Cell::Packets as usize];
    let sent = sent.into_inner();
    ensure!(seen == sent, "of {sent} packets {seen} arrived");
    lab.judged
        .fetch_add(sent, std::sync::atomic::Ordering::Relaxed);
    for ((name, _), timing) in PROGRAMS.iter().zip(&timings) {
        results.figure(&format!("veth_pps_{name}{suffix}"), 1e9 / timing.ns);
    }
    let ratio = timings[0].ns / timings[2].ns;
    results.figure(&format!("veth_ratio{suffix}"), ratio);
    Ok(())
}

fn fd<'a>(lab: &'a Lab, name: &str) -> Result<&'a ProgramFd> {
    match lab.program(name)? {
        Loaded::Xdp(program) => Ok(program.fd()?),
        _ => Err(anyhow::anyhow!("`{name}` is no XDP program")),
    }
    .with_context(|| format!("the program `{name}`"))
}
