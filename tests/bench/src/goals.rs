//! What is to be reached, and what was.

use crate::packets::Pattern::{self, Hot, Uniform};
use crate::results::Program::{self, Floor, Nftables, Ours, Reference};
use crate::results::{Line, Results};

/// A goal and what came of it.
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    /// The bound in words.
    pub(crate) bound: &'static str,
    /// What was measured; nothing if this run does not measure it.
    pub(crate) reached: Option<f64>,
    pub(crate) met: bool,
}

/// Which way a bound holds.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}
use Bound::{AtLeast, AtMost};

/// A row of the table: like [`Line`], without figures.
#[derive(Clone, Copy)]
struct Row(u8, usize, usize, Pattern, usize);

const K: usize = 1_000;
const M: usize = 1_000_000;

impl Row {
    fn is(self, line: &Line) -> bool {
        let Self(family, prefixes, subscribers, pattern, cpus) = self;
        // The largest real table of IPv6 has what it has.
        let same_prefixes = if prefixes == ALL6 {
            line.prefixes > 150 * K
        } else {
            line.prefixes == prefixes
        };
        same_prefixes
            && (line.family, line.subscribers, line.pattern) == (family, subscribers, pattern)
            && line.cpus == cpus
    }
}

/// Stands for as many IPv6 prefixes as there are.
const ALL6: usize = 200 * K;

struct Measured<'a>(&'a Results);

impl Measured<'_> {
    fn ns(&self, program: Program, row: Row) -> Option<f64> {
        let lines = &self.0.lines;
        let mut found = lines
            .iter()
            .filter(|line| line.program == program && row.is(line));
        found.next().map(|line| line.ns)
    }

    fn over_floor(&self, program: Program, row: Row) -> Option<f64> {
        Some(self.ns(program, row)? - self.ns(Floor, row)?)
    }

    /// Ours over another program, both over the floor.
    fn ratio(&self, to: Program, row: Row) -> Option<f64> {
        let ratio = self.over_floor(Ours, row)? / self.over_floor(to, row)?;
        // Below the floor is noise: a run so disturbed says nothing.
        Some(ratio).filter(|ratio| *ratio > 0.0)
    }

    fn figure(&self, name: &str) -> Option<f64> {
        self.0.value(name)
    }

    /// Throughput of all CPUs over one CPU's, as a share of what the CPUs could do.
    fn scaling(&self, row: Row) -> Option<(f64, f64)> {
        let all = self
            .0
            .lines
            .iter()
            .filter(|line| line.cpus > 1)
            .map(|line| line.cpus)
            .max()?;
        let Row(family, prefixes, subscribers, pattern, _) = row;
        let many = Row(family, prefixes, subscribers, pattern, all);
        let ratio = all as f64 * self.ns(Ours, row)? / self.ns(Ours, many)?;
        Some((ratio, all as f64))
    }
}

/// All goals, in the order they are shown.
pub(crate) fn goals(results: &Results) -> Vec<Goal> {
    let measured = Measured(results);
    let goal = |what, bound, limit: Bound, reached: Option<f64>| Goal {
        what,
        bound,
        reached,
        met: reached.is_some_and(|reached| match limit {
            AtMost(limit) => reached <= limit,
            AtLeast(limit) => reached >= limit,
        }),
    };
    let large4 = Row(4, M, M, Uniform, 1);
    let middle = Row(4, 10 * K, 100 * K, Uniform, 1);
    let hot = |family| Row(family, K, K, Hot, 1);
    let share = |row| {
        let (ratio, cpus) = measured.scaling(row)?;
        Some(ratio / cpus)
    };
    let figure = |name| measured.figure(name);
    vec![
        goal(
            "ours / reference over floor, uniform, 1 M IPv4 prefixes, 1 M subscribers",
            "≤ 1/12",
            AtMost(1.0 / 12.0),
            measured.ratio(Reference, large4),
        ),
        goal(
            "the same, all IPv6 prefixes, 1 M subscribers by /56",
            "≤ 1/6",
            AtMost(1.0 / 6.0),
            measured.ratio(Reference, Row(6, ALL6, M, Uniform, 1)),
        ),
        goal(
            "the same, 10 k IPv4 prefixes, 100 k subscribers",
            "≤ 1/6",
            AtMost(1.0 / 6.0),
            measured.ratio(Reference, middle),
        ),
        goal(
            "ours over floor, one hot flow, IPv4, ns",
            "≤ 30",
            AtMost(30.0),
            measured.over_floor(Ours, hot(4)),
        ),
        goal(
            "ours over floor, one hot flow, IPv6, ns",
            "≤ 45",
            AtMost(45.0),
            measured.over_floor(Ours, hot(6)),
        ),
        goal(
            "ours over floor, 1 M prefixes / 1 k prefixes, Zipf",
            "≤ 1.3",
            AtMost(1.3),
            figure("zipf_growth"),
        ),
        goal(
            "ours / nftables over floor, uniform, 1 k prefixes",
            "≤ 1/5",
            AtMost(1.0 / 5.0),
            measured.ratio(Nftables, Row(4, K, K, Uniform, 1)),
        ),
        goal(
            "ours / nftables over floor, uniform, 1 M prefixes, 1 M subscribers",
            "≤ 1/8",
            AtMost(1.0 / 8.0),
            measured.ratio(Nftables, large4),
        ),
        goal(
            "packets a second over a wire, one flow, ours / a program that passes",
            "≥ 0.9",
            AtLeast(0.9),
            figure("veth_ratio"),
        ),
        goal(
            "throughput of all CPUs / (CPUs × one CPU), many subscribers",
            "≥ 0.9",
            AtLeast(0.9),
            share(middle),
        ),
        goal(
            "throughput of all CPUs / one CPU, one subscriber",
            "≥ 1",
            AtLeast(1.0),
            measured
                .scaling(Row(4, 10 * K, 100 * K, Hot, 1))
                .map(|(ratio, _)| ratio),
        ),
        goal(
            "compiling the largest node's prefixes, s",
            "≤ 1",
            AtMost(1.0),
            figure("compile_seconds"),
        ),
        goal(
            "zerorate check of these prefixes, s",
            "≤ 3",
            AtMost(3.0),
            figure("check_seconds"),
        ),
        goal(
            "zerorate diff of two such policies, s",
            "≤ 3",
            AtMost(3.0),
            figure("diff_seconds"),
        ),
        goal(
            "its image, MB",
            "≤ 48",
            AtMost(48.0),
            figure("image_bytes").map(|bytes| bytes / 1e6),
        ),
        goal(
            "publishing such an image under load, median, s",
            "≤ 0.050",
            AtMost(0.050),
            figure("publish_seconds"),
        ),
        goal(
            "the same, 99th percentile, s",
            "≤ 0.150",
            AtMost(0.150),
            figure("publish_seconds_p99"),
        ),
        goal(
            "packets without a policy meanwhile",
            "0",
            AtMost(0.0),
            figure("publish_unpriced_packets"),
        ),
        goal(
            "packets under a mix of policies meanwhile",
            "0",
            AtMost(0.0),
            figure("publish_mixed_packets"),
        ),
        goal(
            "reading all counters of the most subscribers, s",
            "≤ 0.100",
            AtMost(0.100),
            figure("read_seconds"),
        ),
        goal(
            "looking at all of them, as every checkpoint does, s",
            "≤ 0.500",
            AtMost(0.500),
            figure("checkpoint_seconds"),
        ),
        goal(
            "the same when a fifth of them moved, what they drew written down, s",
            "≤ 1",
            AtMost(1.0),
            figure("checkpoint_active_seconds"),
        ),
        goal(
            "a checkpoint of an agent whose subscribers send, a fifth of them each second, s",
            "≤ 1",
            AtMost(1.0),
            figure("checkpoint_working_seconds"),
        ),
        goal(
            "recording a fifth of them, as every interval does, s",
            "≤ 10",
            AtMost(10.0),
            figure("record_seconds"),
        ),
        goal(
            "agent's start with the most subscribers, s",
            "≤ 5",
            AtMost(5.0),
            figure("start_seconds"),
        ),
        goal(
            "agent's take-over with the most subscribers, s",
            "≤ 5",
            AtMost(5.0),
            figure("restart_seconds"),
        ),
        goal(
            "sessions changed a second, every second of the most subscribers at once",
            "≥ 50,000",
            AtLeast(50_000.0),
            figure("session_changes_per_second"),
        ),
        goal(
            "kernel memory of them, 8 meters and 4 buckets each, MB",
            "≤ 512",
            AtMost(512.0),
            figure("kernel_bytes").map(|bytes| bytes / 1e6),
        ),
        goal(
            "the agent's own memory with them after its start, MB",
            "≤ 512",
            AtMost(512.0),
            figure("agent_bytes").map(|bytes| bytes / 1e6),
        ),
        goal(
            "the same while a fifth of them send something each second, MB",
            "≤ 512",
            AtMost(512.0),
            figure("agent_bytes_working").map(|bytes| bytes / 1e6),
        ),
        goal(
            "the same after half of them moved at once, MB",
            "≤ 512",
            AtMost(512.0),
            figure("agent_bytes_changed").map(|bytes| bytes / 1e6),
        ),
    ]
}
