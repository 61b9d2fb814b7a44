//! Measuring programs side by side: round after round, each in turn, so that whatever else the machine does meets
//! all of them alike. The figure is the median over the rounds.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use zerorate_tests::interrupt;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds.
    pub(crate) rounds: usize,
    /// Time one program takes in a round, about.
    pub(crate) sample: Duration,
}

impl Effort {
    /// More rounds: for what is near its goal.
    pub(crate) const fn longer(self) -> Self {
        Self {
            rounds: 7 * self.rounds,
            ..self
        }
    }
}

/// Something that is measured: runs so many packets on the CPU of the calling thread, the n-th of those in use.
pub(crate) struct Contender<'a> {
    run: Box<dyn Fn(usize, u32) -> Result<()> + Sync + 'a>,
    prepare: Option<Box<dyn Fn() -> Result<()> + 'a>>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(run: impl Fn(usize, u32) -> Result<()> + Sync + 'a) -> Self {
        Self {
            run: Box::new(run),
            prepare: None,
        }
    }

    /// What has to be done before each run, outside of the measured time.
    pub(crate) fn prepared(mut self, prepare: impl Fn() -> Result<()> + 'a) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }
}

/// What a packet costs a CPU, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timing {
    /// Median over the rounds.
    pub(crate) ns: f64,
    /// Between the lower and the upper quartile.
    pub(crate) spread: f64,
}

impl Timing {
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self {
            ns: quantile(&samples, 0.5),
            spread: quantile(&samples, 0.75) - quantile(&samples, 0.25),
        }
    }
}

/// The sample below which a share of all samples lie.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted[(share * last as f64).round() as usize]
}

/// The CPUs this process may use.
pub(crate) fn cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the CPUs")?;
    Ok((0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect())
}

pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot use CPU {cpu}"))
}

/// Fewest and most packets of a run.
const FEWEST: u32 = 1 << 13;
const MOST: u32 = 1 << 23;

/// Measures the contenders on these CPUs, all of them at once for each contender.
pub(crate) fn measure(
    contenders: &[Contender<'_>],
    cpus: &[usize],
    effort: Effort,
) -> Result<Vec<Timing>> {
    let mut samples = vec![Vec::new(); contenders.len()];
    let mut packets = Vec::new();
    for contender in contenders {
        // Once to get ready, once to see how long it takes.
        once(contender, cpus, FEWEST)?;
        let ns = once(contender, cpus, FEWEST)?;
        let wanted = effort.sample.as_nanos() as f64 / ns.max(1.0);
        packets.push((wanted as u32).clamp(FEWEST, MOST));
    }
    for _ in 0..effort.rounds {
        for ((contender, packets), samples) in contenders.iter().zip(&packets).zip(&mut samples) {
            samples.push(once(contender, cpus, *packets)?);
        }
    }
    Ok(samples.into_iter().map(Timing::of).collect())
}

/// Nanoseconds a packet costs each CPU, over all of them: the time the threads had a CPU, so that what other
/// processes take does not count. Another run of the same length goes before it, so that the caches hold what it
/// uses, and not what the program before it did; a run of a single packet goes after it, and what that takes (the
/// kernel gets ready for some 0.1 ms) is no packet's cost.
fn once(contender: &Contender<'_>, cpus: &[usize], packets: u32) -> Result<f64> {
    interrupt::check()?;
    if let Some(prepare) = &contender.prepare {
        prepare()?;
    }
    let start = Barrier::new(cpus.len());
    let run = &contender.run;
    let results: Vec<Result<f64>> = thread::scope(|scope| {
        let threads: Vec<_> = cpus
            .iter()
            .enumerate()
            .map(|(share, cpu)| {
                let start = &start;
                scope.spawn(move || {
                    let ready = pin(*cpu).and_then(|()| run(share, packets));
                    start.wait();
                    ready?;
                    let before = now()?;
                    run(share, packets)?;
                    let after = now()?;
                    run(share, 1)?;
                    let one = now()?.saturating_sub(after);
                    let took = after.saturating_sub(before).saturating_sub(one);
                    Ok(took.as_nanos() as f64 / f64::from(packets - 1))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => bail!("a measuring thread panicked"),
            })
            .collect()
    });
    let mut throughput = 0.0;
    for result in results {
        throughput += 1.0 / result?.max(0.01);
    }
    Ok(cpus.len() as f64 / throughput)
}

fn now() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
