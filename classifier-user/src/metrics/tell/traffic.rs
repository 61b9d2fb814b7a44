//! What is counted: by class and charge over all subscribers, and by interface.

use std::collections::BTreeMap;

use classifier::books::Cell;
use classifier::layout::Meter;
use prometheus_client::registry::Unit::Bytes;

use super::super::family::Number::{Count, Level};
use super::super::family::{Labels, Told};
use super::{Read, flag, labels};
use crate::agent::measures::Measures;
use crate::agent::views::Counted;
use crate::report::{Direction, UsageRow};

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

type Of = fn(&Meter, Direction) -> u64;

pub(super) fn told_of_usage(told: &mut Told, read: &Read<'_>) {
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
    let of_row = |row: &UsageRow, direction| match direction {
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

/// Packets, or bytes, of unknown subscribers, by class.
fn told_of_unknown(told: &mut Told, measures: &Measures, of: fn((u64, u64)) -> u64) {
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

pub(super) fn told_of_interfaces(told: &mut Told, measures: &Measures) {
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
            "zerorate_interface_unsplit_packets",
            None,
            Cell::UnsplitPackets,
            "Packets recorded under the policy before the one that judged them",
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
    told.family(
        "zerorate_unattributed_packets",
        None,
        "IP packets of unknown subscribers",
    );
    told_of_unknown(told, measures, |(packets, _)| packets);
    told.family(
        "zerorate_unattributed",
        Some(Bytes),
        "IP bytes of unknown subscribers",
    );
    told_of_unknown(told, measures, |(_, bytes)| bytes);
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
