//! What was counted, as people and billing read it: the rows `replay` and `usage` print.
//!
//! A row is the same in all three formats. JSON is the contract: one object a line, `kind` first. CSV has the
//! same fields under one header for all kinds of row; the table is for people and may change.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

mod csv_rows;
pub mod difference;
pub mod record_rows;
pub mod rows;
pub mod statement;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use table::grouped;

/// What a report looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns with totals, for people.
    #[default]
    Table,
    /// Comma-separated values, one header for all rows.
    Csv,
    /// One JSON object a line.
    Json,
}

/// What was counted, over whatever time the one who made it says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    /// What subscribers used, and what of theirs was dropped.
    pub usage: Vec<UsageRow>,
    /// What no subscriber was known for.
    pub unattributed: Vec<UnattributedRow>,
    /// The books: of a capture one row, of an agent one for each interface and direction.
    pub books: Vec<BooksRow>,
}

/// One subscriber's traffic with one service class, charged to one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageRow {
    /// Id of the subscriber.
    pub subscriber: String,
    /// Name of the plan it was charged under.
    pub plan: String,
    /// Name of the service class.
    pub class: String,
    /// The number billing knows the class by.
    pub rating_group: u32,
    /// `free`, `metered`, a bucket's name, or `dropped`.
    pub charged: String,
    /// Packets and IP bytes.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// Traffic of unknown subscribers with one service class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UnattributedRow {
    /// Name of the service class.
    pub class: String,
    /// The number billing knows the class by.
    pub rating_group: u32,
    /// Packets and IP bytes.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// Packets and IP bytes in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Traffic {
    /// IP bytes sent by the subscriber.
    pub bytes_up: u64,
    /// Packets sent by the subscriber.
    pub packets_up: u64,
    /// IP bytes received by the subscriber.
    pub bytes_down: u64,
    /// Packets received by the subscriber.
    pub packets_down: u64,
}

/// Everything that was seen in one place, whoever it belonged to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BooksRow {
    /// Where it was seen; `None` for a capture.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// All packets: IP, non-IP and malformed.
    pub packets: u64,
    /// IP packets.
    pub ip_packets: u64,
    /// Their IP bytes.
    pub ip_bytes: u64,
    /// Packets that are no IP, or none that is followed.
    pub non_ip_packets: u64,
    /// Packets that announce IP and are not.
    pub malformed_packets: u64,
    /// Where the IP bytes went; `None` for a capture, whose rows say it all.
    #[serde(flatten)]
    pub closing: Option<Closing>,
    /// What of them was refused, closer looked at; `None` for a capture.
    #[serde(flatten)]
    pub refused: Option<Refused>,
}

/// An interface and a direction on it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = BooksPlace)]
pub struct Place {
    /// Name of the interface.
    pub interface: String,
    /// Which way, seen from the subscriber.
    pub direction: Direction,
}

/// Which way traffic goes, seen from the subscriber.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The subscriber sends.
    Up,
    /// The subscriber receives.
    Down,
}

impl From<classifier::charge::Direction> for Direction {
    fn from(direction: classifier::charge::Direction) -> Self {
        match direction {
            classifier::charge::Direction::Up => Self::Up,
            classifier::charge::Direction::Down => Self::Down,
        }
    }
}

/// Where the IP bytes of a place went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = BooksClosing)]
pub struct Closing {
    /// Charged to subscribers.
    pub attributed_bytes: u64,
    /// Of unknown subscribers.
    pub unattributed_bytes: u64,
    /// Of subscribers, and not let through.
    pub dropped_bytes: u64,
    /// Seen less all of these. Zero when traffic rests: the books close.
    pub difference_bytes: i64,
}

/// Of what was dropped, or to be: what is in other figures of the books already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = BooksRefused)]
pub struct Refused {
    /// Packets among the dropped that were to pass with a mark (`on_block = "mark"`).
    pub marked_packets: u64,
    /// Their IP bytes.
    pub marked_bytes: u64,
    /// Packets among the unattributed that were dropped (`unknown = "drop"`).
    pub unknown_dropped_packets: u64,
    /// Their IP bytes.
    pub unknown_dropped_bytes: u64,
}

/// A row of any kind, as it is printed.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Row<'a> {
    Usage(&'a UsageRow),
    Unattributed(&'a UnattributedRow),
    Books(&'a BooksRow),
}

/// `charged` of what was not let through.
const DROPPED: &str = "dropped";

impl Traffic {
    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets_up == 0 && self.packets_down == 0
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            bytes_up: self.bytes_up + other.bytes_up,
            packets_up: self.packets_up + other.packets_up,
            bytes_down: self.bytes_down + other.bytes_down,
            packets_down: self.packets_down + other.packets_down,
        }
    }
}

impl Report {
    /// Puts rows in the order of the contract: usage by subscriber, class and charge, unattributed by class,
    /// books by interface and direction. Names are compared byte by byte.
    pub fn sort(&mut self) {
        fn key(row: &UsageRow) -> [&str; 4] {
            [&row.subscriber, &row.class, &row.charged, &row.plan]
        }
        self.usage.sort_by(|a, b| key(a).cmp(&key(b)));
        self.unattributed.sort_by(|a, b| a.class.cmp(&b.class));
        self.books.sort_by(|a, b| a.place.cmp(&b.place));
    }

    /// Prints the report as it stands, without the usage and unattributed rows that have no packets. Books are
    /// printed also when they are empty. `out` is written to in small pieces: buffer it.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        match format {
            Format::Table => table::write(self, out),
            Format::Csv => csv_rows::write(self, out),
            Format::Json => self.rows().try_for_each(|row| {
                serde_json::to_writer(&mut *out, &row)?;
                out.write_all(b"\n")
            }),
        }
    }

    fn used(&self) -> impl Iterator<Item = &UsageRow> {
        self.usage.iter().filter(|row| !row.traffic.is_empty())
    }

    fn unknown(&self) -> impl Iterator<Item = &UnattributedRow> {
        self.unattributed
            .iter()
            .filter(|row| !row.traffic.is_empty())
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let usage = self.used().map(Row::Usage);
        let unattributed = self.unknown().map(Row::Unattributed);
        usage
            .chain(unattributed)
            .chain(self.books.iter().map(Row::Books))
    }
}
