//! `cargo xtask bench`: what a packet costs with the product's verdict, beside an empty program, a program that
//! only parses, what one writes first, and nftables; and what everything around it costs.
//!
//! One run measures all of it, each figure beside what it is held against, in round after round. Before a time is
//! taken the programs are seen to do the same: they count the same packets alike, and each packet once.

#![forbid(unsafe_code)]

mod beside;
mod chart;
mod course;
mod figures;
mod goals;
mod lab;
mod lookups;
mod machine;
mod nftables;
mod packets;
mod random;
mod reference;
mod results;
mod rounds;
mod show;
mod tables;
mod wire;
mod world;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use nix::unistd::geteuid;
use zerorate_tests::interrupt::{self, Interrupted};

use crate::course::Course;
use crate::lab::Lab;
use crate::results::Results;
use crate::tables::Tables;
use crate::world::{Charging, World};

/// Measures zerorate's verdict beside an empty program, a first attempt, and nftables.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Under a minute: smaller tables, fewer rounds.
    #[arg(long)]
    quick: bool,
    /// Seconds: only shows that everything works. The figures mean nothing.
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,
    /// Writes the figures to a file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the costs of a packet into a file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Interrupted>() {
            // As a shell reports a program that a signal has ended.
            Some(Interrupted(signal)) => ExitCode::from(128 + *signal as u8),
            None => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "the bench loads kernel programs and makes network namespaces: run it as root"
    );
    interrupt::watch().context("cannot wait for signals")?;
    let begun = Instant::now();
    let course = match (arguments.quick, arguments.smoke) {
        (true, _) => Course::quick(),
        (_, true) => Course::smoke(),
        _ => Course::full(),
    };
    let mut results = Results::default();
    let tables = Tables::find(course.largest[0].max(course.largest[1]))?;
    println!("{}", machine::describe()?);
    println!("Prefixes: {}.", tables.origin);
    measure(&course, &tables, &mut results)?;
    show::print(&results);
    println!("It took {:.0} s.", begun.elapsed().as_secs_f64());
    if let Some(path) = &arguments.json {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        results.write(BufWriter::new(file))?;
    }
    if let Some(path) = &arguments.svg {
        fs::write(path, chart::draw(&results))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn measure(course: &Course, tables: &Tables, results: &mut Results) -> Result<()> {
    let cpus = rounds::cpus()?;
    for size in &course.worlds {
        let begun = Instant::now();
        let world = World::new(tables, *size, Charging::Plain);
        let mut lab = Lab::new(&world, lookups::packets(course))?;
        reference::fill(&mut lab, &world)?;
        let used = if course.all_cpus.contains(size) {
            &cpus
        } else {
            &cpus[..1]
        };
        lookups::run(&world, &mut lab, course, used, results)?;
        let smallest = course.worlds[0];
        if (size.prefixes, size.subscribers) == (smallest.prefixes, smallest.subscribers) {
            figures::access::run(&world, &lab, course, cpus[0], results)?;
        }
        if course.middle == *size {
            wire::run(&world, &mut lab, course, cpus[0], results)?;
        }
        if course.nftables.contains(size) {
            nftables::run(&world, &mut lab, course, cpus[0], results)?;
        }
        if size.subscribers == course.largest[2] && results.value("read_seconds").is_none() {
            figures::read::run(&world, &lab, course, results)?;
            figures::checkpoint::run(&world, &lab, course, results).context("checkpoints")?;
        }
        eprintln!(
            "IPv{}, {} prefixes, {} subscribers: {:.1} s",
            size.family.number(),
            world.size.prefixes,
            size.subscribers,
            begun.elapsed().as_secs_f64()
        );
    }
    beside::growth(course, tables, cpus[0], results).context("the cost of more prefixes")?;
    beside::buckets(course, tables, cpus[0], results).context("the cost of buckets")?;
    figures::compile::run(tables, course, results).context("compiling")?;
    figures::check::run(tables, course, results).context("checking and comparing")?;
    figures::swap::run(tables, course, &cpus, results).context("publishing")?;
    figures::start::run(course, results).context("the agent's start")
}
