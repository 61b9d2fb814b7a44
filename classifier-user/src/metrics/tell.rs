//! Which metrics there are, and what each says. docs/metrics.md lists them for whoever asks questions.

use std::collections::BTreeMap;
use std::time::Duration;

use classifier::books::Cell;
use classifier::layout::Meter;
use jiff::Timestamp;
use prometheus_client::registry::Unit::{Bytes, Seconds};

use super::family::Number::{Count, Level, Sum};
use super::family::{Labels, Told};
use crate::agent::measures::{Measures, Sums};
use crate::agent::views::Counted;
use crate::report::Direction;

/// What was read for a scrape.
pub(super) struct Read<'a> {
    pub(super) sums: &'a Sums,
    pub(super) measures: &'a Measures,
    /// Records since the agent started, by kind.
    pub(super) records: &'a BTreeMap<String, u64>,
    pub(super) last_record: u64,
    pub(super) ledger_is_read: bool,
    pub(super) started: Timestamp,
    /// How long reading took.
    pub(super) took: Duration,
}

const DIRECTIONS: [Direction; 2] = [Direction::Up, Direction::Down];

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

const fn bytes_of(meter: &Meter, direction: Direction) -> u64 {
    match direction {
        Direction::Up => meter.bytes_up,
        Direction::Down => meter.bytes_down,
    }
}

const fn packets_of(meter: &Meter, direction: Direction) -> u64 {
    match direction {
        Direction::Up => meter.packets_up,
        Direction::Down => meter.packets_down,
    }
}

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    labels.map(|(name, value)| (name, value.to_owned())).into()
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Seconds since 1970.
fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// Seconds since a time; none where there is no time, or it is ahead.
fn age(since: Option<Timestamp>) -> f64 {
    since.map_or(0.0, |since| {
        Timestamp::now()
            .duration_since(since)
            .as_secs_f64()
            .max(0.0)
    })
}

/// All metrics but for histograms.
pub(super) fn tell(read: &Read<'_>) -> Told {
    let mut told = Told::default();
    told_of_usage(&mut told, read);
    told_of_interfaces(&mut told, read.measures);
    told_of_node(&mut told, read);
    told_of_ledger(&mut told, read);
    told_of_sinks(&mut told, read.measures);
    told
}

type Of = fn(&Meter, Direction) -> u64;

fn told_of_usage(told: &mut Told, read: &Read<'_>) {
    let families: [(_, _, _, Of); 2] = [
        (
            "zerorate_usage",
            Some(Bytes),
            "IP bytes of all subscribers, by class and by who was charged; dropped: not let through",
            bytes_of,
        ),
        (
            "zerorate_usage_packets",
            None,
            "IP packets of all subscribers, by class and by who was charged; dropped: not let through",
            packets_of,
        ),
    ];
    for (name, unit, help, of) in families {
        told.family(name, unit, help);
        for ((class, charged), meter) in read.sums.told() {
            for direction in DIRECTIONS {
                let labels = labels([
                    ("class", class),
                    ("charged", charged),
                    ("direction", word(direction)),
                ]);
                told.sample(labels, Count(of(meter, direction)));
            }
        }
    }
    // Only of those who were asked for.
    let of_row = |row: &crate::report::UsageRow, direction| match direction {
        Direction::Up => row.traffic.bytes_up,
        Direction::Down => row.traffic.bytes_down,
    };
    let mut by_name: BTreeMap<_, u64> = BTreeMap::new();
    for row in &read.measures.usage {
        for direction in DIRECTIONS {
            let key = (&row.subscriber, &row.class, &row.charged, direction);
            *by_name.entry(key).or_default() += of_row(row, direction);
        }
    }
    told.family(
        "zerorate_subscriber",
        Some(Bytes),
        "IP bytes of the subscribers that are named under [metrics], by class and by who was charged",
    );
    for ((subscriber, class, charged, direction), bytes) in by_name {
        let labels = labels([
            ("subscriber", subscriber),
            ("class", class),
            ("charged", charged),
            ("direction", word(direction)),
        ]);
        told.sample(labels, Count(bytes));
    }
}

fn at(counted: &Counted) -> Labels {
    labels([
        ("interface", &counted.interface),
        ("direction", word(counted.direction)),
    ])
}

fn told_of_interfaces(told: &mut Told, measures: &Measures) {
    let cells = [
        (
            "zerorate_interface_packets",
            None,
            Cell::Packets,
            "Packets seen",
        ),
        (
            "zerorate_interface_ip_packets",
            None,
            Cell::IpPackets,
            "IP packets seen",
        ),
        (
            "zerorate_interface_ip",
            Some(Bytes),
            Cell::IpBytes,
            "IP bytes seen",
        ),
        (
            "zerorate_interface_non_ip_packets",
            None,
            Cell::NonIp,
            "Packets seen that are no IP",
        ),
        (
            "zerorate_interface_malformed_packets",
            None,
            Cell::Malformed,
            "Packets seen that announce IP and are not",
        ),
        (
            "zerorate_interface_attributed",
            Some(Bytes),
            Cell::AttributedBytes,
            "IP bytes charged to subscribers",
        ),
        (
            "zerorate_interface_dropped",
            Some(Bytes),
            Cell::DroppedBytes,
            "IP bytes of subscribers that were not let through",
        ),
        (
            "zerorate_interface_unknown_dropped",
            Some(Bytes),
            Cell::UnknownDroppedBytes,
            "Unattributed IP bytes that were not let through",
        ),
        (
            "zerorate_interface_marked_packets",
            None,
            Cell::MarkedPackets,
            "Packets charged dropped that were passed with a mark",
        ),
        (
            "zerorate_interface_untagged_packets",
            None,
            Cell::UntaggedPackets,
            "Packets that could not be given their tag",
        ),
        (
            "zerorate_interface_unpriced_packets",
            None,
            Cell::UnpricedPackets,
            "IP packets that passed without a verdict",
        ),
        (
            "zerorate_interface_lost_events",
            None,
            Cell::EventsLost,
            "Events that found no room in the ring",
        ),
    ];
    for (name, unit, cell, help) in cells {
        told.family(name, unit, help);
        for counted in &measures.counted {
            told.sample(at(counted), Count(counted.cell(cell)));
        }
    }
    let unattributed: [(_, _, fn((u64, u64)) -> u64, _); 2] = [
        (
            "zerorate_unattributed_packets",
            None,
            |(packets, _)| packets,
            "IP packets of unknown subscribers",
        ),
        (
            "zerorate_unattributed",
            Some(Bytes),
            |(_, bytes)| bytes,
            "IP bytes of unknown subscribers",
        ),
    ];
    for (name, unit, of, help) in unattributed {
        told.family(name, unit, help);
        for counted in &measures.counted {
            for (number, class) in (0..).zip(&measures.classes) {
                let both = counted.unattributed(number);
                if both != (0, 0) {
                    let mut labels = at(counted);
                    labels.push(("class", class.clone()));
                    told.sample(labels, Count(of(both)));
                }
            }
        }
    }
    told.family(
        "zerorate_books_difference",
        Some(Bytes),
        "IP bytes seen less those that are attributed, unattributed and dropped; zero when traffic rests",
    );
    for counted in &measures.counted {
        told.sample(at(counted), Level(counted.difference() as f64));
    }
    told.family(
        "zerorate_interface_attached",
        None,
        "Whether packets are counted on a hook where they are to be",
    );
    for interface in &measures.interfaces {
        let labels = labels([
            ("interface", &interface.name),
            ("role", &interface.role),
            ("hook", &interface.hook),
        ]);
        told.sample(labels, Level(flag(interface.is_in_order())));
    }
}

fn told_of_node(told: &mut Told, read: &Read<'_>) {
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
        "Lines of counters that are given out, to rows and bucket blocks",
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
        "Whether the latest reload was refused",
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

fn told_of_ledger(told: &mut Told, read: &Read<'_>) {
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

fn told_of_sinks(told: &mut Told, measures: &Measures) {
    let sinks = &measures.sinks;
    let mut family =
        |name,
         unit,
         help,
         of: &dyn Fn(&crate::sinks::board::SinkStatus) -> super::family::Number| {
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
