//! How long the agent takes to start with many subscribers, when it begins and when it takes over, how much memory they
//! take at rest, the kernel's and its own, and how many sessions it changes in a second.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{ArrayOfMaps, Map, MapData, MapError};
use zerorate_tests::agent::{Agent, BINARY_VARIABLE};
use zerorate_tests::interrupt;
use zerorate_tests::memory::{self, Memory};
use zerorate_tests::netns::NetNs;
use zerorate_tests::veth::Veth;

use super::active;
use crate::course::Course;
use crate::results::Results;

/// Eight meters: (essential, free), (social, social bonus dropped), (internet, main balance dropped) and
/// (local, free). Four buckets.
const POLICY: &str = r#"name = "bench"
default_class = "internet"
[classes.internet]
rating_group = 1
[classes.essential]
rating_group = 2
essential = true
[classes.local]
rating_group = 3
essential = true
[classes.social]
rating_group = 4
[[sets]]
name = "essential"
class = "essential"
prefixes = ["10.255.0.0/24"]
[[sets]]
name = "local"
class = "local"
prefixes = ["10.255.1.0/24"]
[[sets]]
name = "social"
class = "social"
prefixes = ["10.255.2.0/24"]
[plans.bench]
count = "both"
[plans.bench.buckets]
main = "3GB"
balance = "1GB"
social = "1GB"
bonus = "1GB"
[plans.bench.charge]
essential = "free"
local = "free"
social = ["social", "bonus", "drop"]
"*" = ["main", "balance", "drop"]
"#;

const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the real agent, twice.
pub(crate) fn run(course: &Course, results: &mut Results) -> Result<()> {
    if env::var_os(BINARY_VARIABLE).is_none() {
        println!(
            "SKIPPED: the agent's start: {BINARY_VARIABLE} does not name the zerorate to start"
        );
        return Ok(());
    }
    let [_, _, subscribers] = course.largest;
    let gateway = NetNs::new("gateway")?;
    let wire = Veth::new((&gateway, "beyond"), (&gateway, "access0"), 1_500)?;
    let lines = list(subscribers, |_| false);
    let mut agent = Agent::builder(&gateway)
        .policy(POLICY)
        .subscribers(&lines)
        .interface("access0", "access", "")
        .setting("watch = false")
        .prepare()?;
    results.figure("start_seconds", start(&mut agent)?);
    let bytes = pinned_bytes(agent.pin_dir())?;
    results.figure("kernel_bytes", bytes as f64);
    results.figure(
        "kernel_bytes_per_subscriber",
        bytes as f64 / subscribers as f64,
    );
    results.figure("agent_bytes", at_rest(&agent, course)?);
    results.figure("agent_peak_bytes", most(&agent)?);
    // Killed, not asked: what is taken over is then what the kernel has, and nothing else.
    agent.kill9()?;
    results.figure("restart_seconds", start(&mut agent)?);
    results.figure("agent_bytes_taken_over", at_rest(&agent, course)?);
    active::run(&agent, &wire, course, address, results).context("subscribers at work")?;
    // Every second subscriber moves to another address: as many sessions end and begin.
    agent.write_subscribers(&list(subscribers, |number| number % 2 == 0))?;
    let begun = Instant::now();
    let said = agent.reload()?;
    let seconds = begun.elapsed().as_secs_f64();
    let moved = subscribers.div_ceil(2);
    ensure!(
        said.contains(&format!("{moved} with other addresses")),
        "the agent says: {said}"
    );
    results.figure("session_changes_per_second", moved as f64 / seconds);
    results.figure("agent_bytes_changed", at_rest(&agent, course)?);
    results.figure("agent_peak_bytes_changed", most(&agent)?);
    agent.kill9()?;
    Ok(())
}

/// Subscribers of consecutive addresses; those that moved have one in the next sixteenth of the network.
fn list(subscribers: usize, moved: impl Fn(usize) -> bool) -> String {
    let mut lines = String::with_capacity(subscribers * 40);
    for number in 0..subscribers {
        let place = if moved(number) {
            number + (16 << 16)
        } else {
            number
        };
        let _ = writeln!(lines, "s{number},bench,active,{}/32", address(place));
    }
    lines
}

/// The address in 10.0.0.0/8 of that number.
fn address(number: usize) -> Ipv4Addr {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    Ipv4Addr::new(10, a, b, c)
}

/// From the start of the process to its first answer that all is in order.
fn start(agent: &mut Agent) -> Result<f64> {
    let begun = Instant::now();
    agent.spawn()?;
    while begun.elapsed() < PATIENCE {
        interrupt::check()?;
        if agent.ask(&["status"]).is_ok() {
            return Ok(begun.elapsed().as_secs_f64());
        }
        ensure!(
            agent.exited()?.is_none(),
            "the agent ended:\n{}",
            agent.log()
        );
        sleep(Duration::from_millis(20));
    }
    anyhow::bail!("the agent does not answer:\n{}", agent.log())
}

/// Bytes the agent has of its own, besides the kernel's maps, when it has done what there was to do and given back what it
/// does not need any more.
fn at_rest(agent: &Agent, course: &Course) -> Result<f64> {
    let process = agent.id().context("the agent has ended")?;
    let mut before = Memory::of(process)?.own;
    let begun = Instant::now();
    let mut still = 0;
    // Records of half of them are written meanwhile.
    while still < 5 && begun.elapsed() < PATIENCE {
        interrupt::check()?;
        sleep(course.rest);
        let now = Memory::of(process)?.own;
        let same = now.abs_diff(before) <= before / 200;
        still = if same { still + 1 } else { 0 };
        before = now;
    }
    Ok(before as f64)
}

/// The most it ever had of its own, or less: what it has of maps was not there all the time.
fn most(agent: &Agent) -> Result<f64> {
    let process = agent.id().context("the agent has ended")?;
    let maps = Memory::of(process)?.maps;
    Ok(memory::peak(process)?.saturating_sub(maps) as f64)
}

/// What the kernel says all pinned maps take, and the maps inside them that are not pinned.
fn pinned_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += pinned_bytes(&path)?;
        } else if let Ok(map) = MapData::from_pin(&path) {
            bytes += taken(&map)?;
            let image = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("image"));
            if image {
                bytes += inner(map).with_context(|| path.display().to_string())?;
            }
        }
    }
    Ok(bytes)
}

/// Bytes of a map; of a link, which is pinned beside the maps, none.
fn taken(map: &MapData) -> Result<u64> {
    let fd = map.fd().as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.map_or(Ok(0), |bytes| bytes.trim().parse())?)
}

/// What the map in an array of maps takes. A larger one may have been made in which nothing is published yet.
fn inner(outer: MapData) -> Result<u64> {
    let outer = ArrayOfMaps::<_, MapData>::try_from(Map::from_map_data(outer)?)?;
    match outer.get(&0, 0) {
        Ok(map) => taken(&map),
        Err(MapError::KeyNotFound) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
