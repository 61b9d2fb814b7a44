//! An agent at work: each second a fifth of the most subscribers send something, in turn all of them, and checkpoints come
//! every second. How long one takes by the agent's own clock, and how much memory the agent has meanwhile.

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use zerorate_tests::agent::Agent;
use zerorate_tests::memory::Memory;
use zerorate_tests::raw::send_fast;
use zerorate_tests::veth::Veth;
use zerorate_tests::{api, interrupt};

use crate::course::Course;
use crate::packets::{self, Slot};
use crate::results::Results;

/// In how many parts all subscribers take their turns.
const PARTS: usize = 5;
/// Where the plan draws from a bucket.
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
const BYTES: u16 = 50;

/// Sends over the wire at whose far end the agent counts. `address` is where a subscriber is, by its number.
pub(crate) fn run(
    agent: &Agent,
    wire: &Veth,
    course: &Course,
    address: impl Fn(usize) -> Ipv4Addr,
    results: &mut Results,
) -> Result<()> {
    let [_, _, subscribers] = course.largest;
    let seconds = course.turns * PARTS;
    let parts: Vec<Vec<Slot>> = (0..PARTS)
        .map(|part| {
            let numbers = (part..subscribers).step_by(PARTS);
            let sources = numbers.map(|number| IpAddr::V4(address(number)));
            sources
                .map(|source| packets::frame(source, REMOTE, BYTES))
                .collect()
        })
        .collect();
    let process = agent.id().context("the agent has ended")?;
    let before = checkpoints(agent)?;
    let (mut most, mut arrived) = (0, 0);
    for second in 0..seconds {
        interrupt::check()?;
        let begun = Instant::now();
        arrived += send_fast(&wire.near, &parts[second % PARTS])?;
        most = most.max(Memory::of(process)?.own);
        sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    }
    let after = checkpoints(agent)?;
    let sent: usize = (0..seconds).map(|second| parts[second % PARTS].len()).sum();
    ensure!(
        arrived * 10 >= sent as u64 * 9,
        "of {sent} packets only {arrived} arrived"
    );
    ensure!(after.count > before.count, "there was no checkpoint");
    let each = (after.seconds - before.seconds) / (after.count - before.count);
    results.figure("checkpoint_working_seconds", each);
    results.figure("agent_bytes_working", most as f64);
    Ok(())
}

/// How many checkpoints there have been, and how long they took.
struct Checkpoints {
    count: f64,
    seconds: f64,
}

fn checkpoints(agent: &Agent) -> Result<Checkpoints> {
    let metrics = api::ask::<&str>(agent, "/metrics", &[])?;
    let metrics = String::from_utf8(metrics.body)?;
    let value = |suffix: &str| -> Result<f64> {
        let name = format!("zerorate_checkpoint_duration_seconds_{suffix} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        let value = value.with_context(|| format!("no {name}in the metrics"))?;
        Ok(value.trim().parse()?)
    };
    Ok(Checkpoints {
        count: value("count")?,
        seconds: value("sum")?,
    })
}
