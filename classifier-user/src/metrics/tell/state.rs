//! How the node is: what is in force, what room there is, what is recorded and brought elsewhere.

use prometheus_client::registry::Unit::{Bytes, Seconds};

use super::super::family::Number::{self, Count, Level, Sum};
use super::super::family::Told;
use super::{Read, age, flag, labels, seconds};
use crate::agent::measures::Measures;
use crate::sinks::board::SinkStatus;

pub(super) fn told_of_node(told: &mut Told, read: &Read<'_>) {
    let Read { sums, measures, .. } = read;
    told.family("zerorate_build_info", None, "Version of the program");
    told.sample(labels([("version", env!("CARGO_PKG_VERSION"))]), Level(1.0));
    told.family(
        "zerorate_node_info",
        None,
        "Name of the node, and epoch of its counters",
    );
    told.sample(
        labels([("node", &measures.node), ("epoch", &measures.epoch)]),
        Level(1.0),
    );
    told.level(
        "zerorate_start_time",
        Some(Seconds),
        "When the agent started, since 1970",
        seconds(read.started),
    );
    if let Some(policy) = &measures.policy {
        told.family(
            "zerorate_policy_info",
            None,
            "Policy in force, and its version",
        );
        told.sample(
            labels([("policy", &policy.name), ("version", &policy.version)]),
            Level(1.0),
        );
        told.level(
            "zerorate_policy_in_force_since_timestamp",
            Some(Seconds),
            "Since when the policy is in force, since 1970",
            seconds(policy.since),
        );
        if let Some(until) = policy.until {
            told.level(
                "zerorate_policy_changes_timestamp",
                Some(Seconds),
                "When the policy changes by itself next, since 1970",
                seconds(until),
            );
        }
        told.level(
            "zerorate_image",
            Some(Bytes),
            "Size of the policy image in force",
            policy.image_bytes as f64,
        );
    }
    told.level(
        "zerorate_image_room",
        Some(Bytes),
        "Size of the kernel map the image is in; it grows",
        measures.image_room_bytes as f64,
    );
    told.level(
        "zerorate_image_limit",
        Some(Bytes),
        "Largest image there can be",
        measures.image_limit_bytes as f64,
    );
    told.family(
        "zerorate_sessions",
        None,
        "Running sessions, one a subscriber",
    );
    for (state, n) in [
        ("active", sums.found.active),
        ("suspended", sums.found.suspended),
    ] {
        told.sample(labels([("state", state)]), Level(n as f64));
    }
    told.level(
        "zerorate_subscribers",
        None,
        "Subscribers the node knows, those that left included",
        measures.known_subscribers as f64,
    );
    told.level(
        "zerorate_bucket_blocks",
        None,
        "Subscribers with buckets in the kernel",
        sums.found.blocks as f64,
    );
    told.level(
        "zerorate_lines",
        None,
        "Lines of counters that rows and bucket blocks have",
        measures.lines as f64,
    );
    told.level(
        "zerorate_lines_room",
        None,
        "Lines there is memory for; it grows",
        measures.line_room as f64,
    );
    told.level(
        "zerorate_lines_limit",
        None,
        "Most lines there can be",
        measures.line_limit as f64,
    );
    told.level(
        "zerorate_lines_memory",
        Some(Bytes),
        "Kernel memory of the lines there is memory for",
        (measures.line_room * measures.line_bytes) as f64,
    );
    told.count(
        "zerorate_events",
        None,
        "Events from packets since the agent started",
        measures.events,
    );
    told.level(
        "zerorate_reload_refused",
        None,
        "Whether the latest reload or start was refused",
        flag(measures.refused),
    );
    told.level(
        "zerorate_scrape_duration",
        Some(Seconds),
        "Time it took to read all this",
        read.took.as_secs_f64(),
    );
    if let Some(process) = Process::read() {
        told.family("process_cpu", Some(Seconds), "Processor time of the agent");
        told.sample(Vec::new(), Sum(process.cpu_seconds));
        told.level(
            "process_resident_memory",
            Some(Bytes),
            "Memory of the agent",
            process.resident_bytes as f64,
        );
    }
}

pub(super) fn told_of_ledger(told: &mut Told, read: &Read<'_>) {
    let measures = read.measures;
    told.count(
        "zerorate_ledger_records",
        None,
        "Records in the ledger: the number of the last one",
        read.last_record,
    );
    told.family(
        "zerorate_records",
        None,
        "Records that were written since the agent started, by kind",
    );
    for (kind, n) in read.records {
        told.sample(labels([("kind", kind)]), Count(*n));
    }
    told.level(
        "zerorate_ledger_lag",
        Some(Seconds),
        "Age of the oldest traffic that is counted and not recorded yet",
        age(measures.oldest_unrecorded),
    );
    told.level(
        "zerorate_ledger_size",
        Some(Bytes),
        "Size of the ledger's files",
        measures.ledger_bytes as f64,
    );
    told.level(
        "zerorate_sealed_size",
        Some(Bytes),
        "Size of the files records are sealed in",
        measures.sealed_bytes as f64,
    );
    told.level(
        "zerorate_unsealed",
        None,
        "Whether records that are old enough cannot be sealed, and stay in the ledger",
        flag(measures.unsealed),
    );
    told.level(
        "zerorate_ungathered",
        None,
        "Whether what CPUs counted cannot be added to the rows at present, and shows later",
        flag(measures.ungathered),
    );
    told.level(
        "zerorate_rollup_lag_records",
        None,
        "Records that are in the ledger and not yet in the roll-ups of hours and days",
        measures.unrolled as f64,
    );
    told.level(
        "zerorate_unrecorded",
        None,
        "Whether usage, or some of it, cannot be written down",
        flag(measures.unrecorded),
    );
    told.level(
        "zerorate_ledger_readable",
        None,
        "Whether the ledger could be read",
        flag(read.ledger_is_read),
    );
}

pub(super) fn told_of_sinks(told: &mut Told, measures: &Measures) {
    let sinks = &measures.sinks;
    let mut family = |name, unit, help, of: &dyn Fn(&SinkStatus) -> Number| {
        told.family(name, unit, help);
        for sink in sinks {
            told.sample(
                labels([("sink", &sink.name), ("kind", &sink.kind)]),
                of(sink),
            );
        }
    };
    family(
        "zerorate_sink_lag_records",
        None,
        "Records a sink does not have yet",
        &|sink| Level(sink.lag_records as f64),
    );
    family(
        "zerorate_sink_lag",
        Some(Seconds),
        "Age of the oldest record a sink does not have yet",
        &|sink| Level(age(sink.waiting_since)),
    );
    family(
        "zerorate_sink_records",
        None,
        "Records a sink was brought since the agent started",
        &|sink| Count(sink.records),
    );
    family(
        "zerorate_sink_errors",
        None,
        "Times something was in a sink's way since the agent started",
        &|sink| Count(sink.errors),
    );
    family(
        "zerorate_sink_failing",
        None,
        "Whether something is in a sink's way",
        &|sink| Level(flag(sink.error.is_some())),
    );
}

/// What the kernel says of this process.
struct Process {
    cpu_seconds: f64,
    resident_bytes: u64,
}

impl Process {
    fn read() -> Option<Self> {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeValLike as _;
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
        Some(Self {
            cpu_seconds: micros as f64 / 1e6,
            resident_bytes: pages * page as u64,
        })
    }
}
