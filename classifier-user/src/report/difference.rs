//! What two policies charge otherwise, as rows for people and programs: one for each subscriber, class and charge under the
//! one and under the other, and one for all that was compared.

use std::io::{self, Write};

use serde::Serialize;

use super::table::{self, grouped};
use super::{DROPPED, Format, Traffic, rows};

/// What was compared, and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Sorted by subscriber, who has none first, then by class and charge.
    pub rows: Vec<(DifferenceRow, Traffic)>,
    /// All of it.
    pub compared: Compared,
}

/// Traffic of one subscriber that two policies do not charge alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DifferenceRow {
    /// Id of the subscriber; none where it is unknown.
    pub subscriber: Option<String>,
    /// What it is under each policy.
    #[serde(flatten)]
    pub sides: Sides,
}

/// Class and charge under the old policy and under the new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sides {
    /// Name of the plan; empty where the subscriber is unknown.
    pub plan: String,
    /// Service class under the old policy.
    pub old_class: String,
    /// The number billing knows it by.
    pub old_rating_group: u32,
    /// Who paid under the old policy.
    pub old_charged: String,
    /// Service class under the new policy.
    pub new_class: String,
    /// The number billing knows it by.
    pub new_rating_group: u32,
    /// Who would have paid under the new policy.
    pub new_charged: String,
}

/// All that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Compared {
    /// Packets, IP or not.
    pub packets: u64,
    /// IP bytes.
    pub ip_bytes: u64,
    /// Packets that are charged otherwise.
    pub packets_otherwise: u64,
    /// Their IP bytes.
    pub bytes_otherwise: u64,
    /// Subscribers that have such packets.
    pub subscribers_otherwise: u64,
}

/// A row of any kind, as it is printed.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Row<'a> {
    Difference {
        #[serde(flatten)]
        row: &'a DifferenceRow,
        #[serde(flatten)]
        traffic: &'a Traffic,
    },
    Compared(&'a Compared),
}

/// Every field any row has, in the order rows have them.
const COLUMNS: [&str; 18] = [
    "kind",
    "subscriber",
    "plan",
    "old_class",
    "old_rating_group",
    "old_charged",
    "new_class",
    "new_rating_group",
    "new_charged",
    "bytes_up",
    "packets_up",
    "bytes_down",
    "packets_down",
    "packets",
    "ip_bytes",
    "packets_otherwise",
    "bytes_otherwise",
    "subscribers_otherwise",
];

impl Sides {
    /// Class, rating group, plan and charge under the one and under the other.
    #[must_use]
    pub fn of(old: (&str, u32, &str, &str), new: (&str, u32, &str, &str)) -> Self {
        Self {
            plan: new.2.to_owned(),
            old_class: old.0.to_owned(),
            old_rating_group: old.1,
            old_charged: old.3.to_owned(),
            new_class: new.0.to_owned(),
            new_rating_group: new.1,
            new_charged: new.3.to_owned(),
        }
    }

    /// Whether billing sees another thing.
    #[must_use]
    pub fn is_difference(&self) -> bool {
        (&self.old_class, self.old_rating_group, &self.old_charged)
            != (&self.new_class, self.new_rating_group, &self.new_charged)
    }

    /// What it means to whoever pays.
    fn means(&self) -> Means {
        let (old, new) = (self.old_charged.as_str(), self.new_charged.as_str());
        match (old, new) {
            _ if old == new => Means::Class,
            (DROPPED, _) => Means::Passes,
            (_, DROPPED) => Means::Dropped,
            (_, "free") => Means::Free,
            ("free", _) => Means::Paid,
            _ => Means::Payer,
        }
    }
}

/// What a difference means to whoever pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Free,
    Paid,
    Payer,
    Passes,
    Dropped,
    Class,
}

/// Each, and what tables call it.
const MEANINGS: [(Means, &str); 6] = [
    (Means::Free, "becomes free"),
    (Means::Paid, "is no longer free"),
    (Means::Payer, "paid from elsewhere"),
    (Means::Passes, "passes, and was dropped"),
    (Means::Dropped, "is dropped, and passed"),
    (Means::Class, "of another class, paid alike"),
];

impl Difference {
    /// Prints it.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        let of = self.rows.iter();
        let of = of.map(|(row, traffic)| Row::Difference { row, traffic });
        let mut all = of.chain([Row::Compared(&self.compared)]);
        match format {
            Format::Table => self.write_table(out),
            Format::Csv => rows::write(out, &COLUMNS, all),
            Format::Json => all.try_for_each(|row| {
                serde_json::to_writer(&mut *out, &row)?;
                out.write_all(b"\n")
            }),
        }
    }

    fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let compared = &self.compared;
        if self.rows.is_empty() {
            writeln!(out, "Charged otherwise: nothing")?;
        } else {
            let names = ["subscriber", "plan", "class was", "is", "charged was", "is"];
            let mut table = table::table(&names, &table::TRAFFIC);
            for (row, traffic) in &self.rows {
                let sides = &row.sides;
                let cells = [
                    row.subscriber.as_deref().unwrap_or("(unknown)"),
                    &sides.plan,
                    &sides.old_class,
                    &sides.new_class,
                    &sides.old_charged,
                    &sides.new_charged,
                ];
                table.add_row(table::traffic_row(cells, traffic));
            }
            writeln!(out, "Charged otherwise\n{}\n", table.trim_fmt())?;
            let mut sums = table::table(&["altogether"], &table::TRAFFIC);
            for (means, name) in MEANINGS {
                let rows = self
                    .rows
                    .iter()
                    .filter(|(row, _)| row.sides.means() == means);
                let sum = rows.fold(Traffic::default(), |sum, (_, traffic)| sum.plus(traffic));
                if !sum.is_empty() {
                    sums.add_row(table::traffic_row([name], &sum));
                }
            }
            writeln!(out, "{}", sums.trim_fmt())?;
        }
        let number = |n: u64| grouped(n.into());
        writeln!(
            out,
            "\n{} of {} IP bytes are charged otherwise ({} of {} packets), of {} {}",
            number(compared.bytes_otherwise),
            number(compared.ip_bytes),
            number(compared.packets_otherwise),
            number(compared.packets),
            number(compared.subscribers_otherwise),
            match compared.subscribers_otherwise {
                1 => "subscriber",
                _ => "subscribers",
            },
        )
    }
}
