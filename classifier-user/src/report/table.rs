//! Rows as tables for people: a section for each kind, numbers right-aligned and in groups of three, totals
//! below. Bytes are never rounded.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent};

use super::{DROPPED, Direction, Refused, Report, Traffic};

pub(super) const TRAFFIC: [&str; 4] = ["bytes up", "packets up", "bytes down", "packets down"];
const BOOKS: [&str; 9] = [
    "packets",
    "IP packets",
    "IP bytes",
    "non-IP",
    "malformed",
    "attributed",
    "unattributed",
    "dropped",
    "difference",
];
/// Bytes of a column.
type Bytes = fn(&Refused) -> u64;
/// Further columns, shown only where there is something in them.
const REFUSED: [(&str, Bytes); 2] = [
    ("marked", |refused| refused.marked_bytes),
    ("unknown dropped", |refused| refused.unknown_dropped_bytes),
];
/// Columns of [`BOOKS`] a capture's books have.
const BOOKS_OF_A_CAPTURE: usize = 5;

pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    section(out, "Usage", usage(report))?;
    writeln!(out)?;
    section(out, "Unattributed", unattributed(report))?;
    writeln!(out)?;
    section(out, "Books", books(report))
}

fn section(out: &mut impl Write, title: &str, table: Option<Table>) -> io::Result<()> {
    match table {
        Some(table) => writeln!(out, "{title}\n{}", table.trim_fmt()),
        None => writeln!(out, "{title}: none"),
    }
}

fn usage(report: &Report) -> Option<Table> {
    let names = ["subscriber", "plan", "class", "group", "charged"];
    let mut table = table(&names, &TRAFFIC);
    let (mut charged, mut dropped) = (Traffic::default(), None);
    for row in report.used() {
        let group = row.rating_group.to_string();
        let cells = [&row.subscriber, &row.plan, &row.class, &group, &row.charged];
        table.add_row(traffic_row(cells, &row.traffic));
        if row.charged == DROPPED {
            dropped = Some(dropped.unwrap_or(Traffic::default()).plus(&row.traffic));
        } else {
            charged = charged.plus(&row.traffic);
        }
    }
    if table.row_count() == 0 {
        return None;
    }
    table.add_row(traffic_row(["total charged", "", "", "", ""], &charged));
    if let Some(dropped) = dropped {
        table.add_row(traffic_row(["total dropped", "", "", "", ""], &dropped));
    }
    Some(table)
}

fn unattributed(report: &Report) -> Option<Table> {
    let mut table = table(&["class", "group"], &TRAFFIC);
    let mut total = Traffic::default();
    for row in report.unknown() {
        table.add_row(traffic_row(
            [&row.class, &row.rating_group.to_string()],
            &row.traffic,
        ));
        total = total.plus(&row.traffic);
    }
    if table.row_count() == 0 {
        return None;
    }
    table.add_row(traffic_row(["total", ""], &total));
    Some(table)
}

fn books(report: &Report) -> Option<Table> {
    let mut names: &[&str] = &["interface", "direction"];
    let mut counts = BOOKS.to_vec();
    if report.books.iter().all(|row| row.place.is_none()) {
        names = &[];
    }
    if report.books.iter().all(|row| row.closing.is_none()) {
        counts.truncate(BOOKS_OF_A_CAPTURE);
    }
    let mut refused = REFUSED.to_vec();
    refused.retain(|(_, bytes)| {
        let mut rows = report.books.iter().filter_map(|row| row.refused.as_ref());
        rows.any(|refused| bytes(refused) != 0)
    });
    counts.extend(refused.iter().map(|(name, _)| *name));
    let mut table = table(names, &counts);
    for row in &report.books {
        let place = match &row.place {
            Some(place) => vec![place.interface.clone(), place.direction.to_string()],
            // A sum over all places.
            None if !names.is_empty() => vec!["all".to_owned(), String::new()],
            None => Vec::new(),
        };
        let seen = [
            row.packets,
            row.ip_packets,
            row.ip_bytes,
            row.non_ip_packets,
            row.malformed_packets,
        ];
        let went = row.closing.iter().flat_map(|closing| {
            [
                closing.attributed_bytes,
                closing.unattributed_bytes,
                closing.dropped_bytes,
            ]
            .map(i128::from)
            .into_iter()
            .chain([closing.difference_bytes.into()])
        });
        let refused = refused.iter().map(|(_, bytes)| {
            let refused = row.refused.unwrap_or_default();
            i128::from(bytes(&refused))
        });
        let seen = seen.map(i128::from).into_iter();
        table.add_row(
            place
                .into_iter()
                .chain(seen.chain(went).chain(refused).map(grouped)),
        );
    }
    (table.row_count() > 0).then_some(table)
}

/// A table without borders: columns of names, then columns of numbers.
pub(super) fn table(names: &[&str], numbers: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '-')
        .set_style(TableComponent::MiddleHeaderIntersections, '-')
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(
            names.iter().map(Cell::new).chain(
                numbers
                    .iter()
                    .map(|name| Cell::new(name).set_alignment(CellAlignment::Right)),
            ),
        );
    for column in table.column_iter_mut() {
        if column.index >= names.len() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

pub(super) fn traffic_row<const N: usize>(
    names: [&(impl AsRef<str> + ?Sized); N],
    traffic: &Traffic,
) -> Vec<String> {
    let counts = [
        traffic.bytes_up,
        traffic.packets_up,
        traffic.bytes_down,
        traffic.packets_down,
    ];
    names
        .map(|name| name.as_ref().to_owned())
        .into_iter()
        .chain(counts.map(|count| grouped(count.into())))
        .collect()
}

/// A whole number with a comma before every three digits.
pub(crate) fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}
