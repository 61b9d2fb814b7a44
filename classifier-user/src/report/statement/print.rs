//! A statement as people and programs read it.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{Head, OutageRow, SessionRow, Statement, StatementRow};
use crate::ledger::records::{Record, What};
use crate::report::table::grouped;
use crate::report::{Format, Traffic, rows};

/// A line of a statement.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Own(Own<'a>),
    Record(&'a Record),
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Own<'a> {
    Statement(&'a Head),
    Session(&'a SessionRow),
    Usage(&'a StatementRow),
    Outage(&'a OutageRow),
}

/// Every field a line has.
const COLUMNS: [&str; 52] = [
    "kind",
    "subscriber",
    "node",
    "timezone",
    "from",
    "to",
    "complete_until",
    "pruned_until",
    "recorded_until",
    "epoch",
    "session",
    "start",
    "end",
    "last_activity",
    "addresses",
    "connected_seconds",
    "touched_seconds",
    "creditable_seconds",
    "active_seconds",
    "average_up_bps",
    "average_down_bps",
    "peak_up_bps",
    "peak_down_bps",
    "plan",
    "state",
    "class",
    "rating_group",
    "charged",
    "price",
    "bytes_up",
    "packets_up",
    "bytes_down",
    "packets_down",
    "bytes_drawn",
    "dropped_bytes_up",
    "dropped_packets_up",
    "dropped_bytes_down",
    "dropped_packets_down",
    "seq",
    "time",
    "bucket",
    "bytes",
    "amount",
    "left",
    "id",
    "reason",
    "scope",
    "interface",
    "cause",
    "fault",
    "corrects",
    "approver",
];

impl Statement {
    /// Prints it. JSON is a line for the whole, one for each session, each class and charge, and each record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        match format {
            Format::Table => self.table(out),
            Format::Csv => rows::write(out, &COLUMNS, self.flat()?),
            Format::Json => self.lines().try_for_each(|line| {
                serde_json::to_writer(&mut *out, &line)?;
                writeln!(out)
            }),
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let head = std::iter::once(Own::Statement(&self.head));
        let sessions = self.sessions.iter().map(Own::Session);
        let usage = self.usage.iter().chain(&self.dropped).map(Own::Usage);
        let outages = self.outages.iter().map(Own::Outage);
        let own = head.chain(sessions).chain(usage).chain(outages);
        let own = own.map(Line::Own);
        own.chain(self.records.iter().map(Line::Record))
    }

    /// Lines without fields in fields.
    fn flat(&self) -> io::Result<Vec<serde_json::Value>> {
        let mut flat = Vec::new();
        for line in self.lines() {
            let mut line = serde_json::to_value(line)?;
            if let Some(fields) = line.as_object_mut()
                && let Some(serde_json::Value::Object(mut total)) = fields.remove("total")
            {
                if let Some(serde_json::Value::Object(dropped)) = total.remove("dropped") {
                    let dropped = dropped.into_iter();
                    fields.extend(dropped.map(|(name, n)| (format!("dropped_{name}"), n)));
                }
                fields.extend(total);
            }
            flat.push(line);
        }
        Ok(flat)
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let head = &self.head;
        let zone = TimeZone::get(&head.timezone).unwrap_or(TimeZone::UTC);
        let time = |time: Timestamp| {
            let zoned = time.to_zoned(zone.clone());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        writeln!(
            out,
            "Statement of {}, {} to {} ({})",
            head.subscriber,
            time(head.from),
            time(head.to),
            head.timezone
        )?;
        let recorded = match head.recorded_until {
            Some(recorded) => format!("recorded until {}", time(recorded)),
            None => "nothing recorded yet".to_owned(),
        };
        let complete = time(head.complete_until);
        writeln!(out, "complete until {complete}, {recorded}")?;
        if let Some(pruned) = head.pruned_until {
            let pruned = time(pruned);
            writeln!(
                out,
                "but for what was pruned: records until {pruned} are gone, all or some of them"
            )?;
        }
        match &head.plan {
            Some(plan) => writeln!(out, "{}, plan {plan}", head.state)?,
            None => writeln!(out, "{}", head.state)?,
        }
        writeln!(out, "\nTime and speed")?;
        writeln!(out, "{}", self.sessions(&time).trim_fmt())?;
        writeln!(out, "\nVolume")?;
        writeln!(out, "{}", volume(&self.usage, true).trim_fmt())?;
        if !self.dropped.is_empty() {
            writeln!(out, "\nDropped, not charged")?;
            writeln!(out, "{}", volume(&self.dropped, false).trim_fmt())?;
        }
        if !self.outages.is_empty() {
            let creditable = duration(head.total.creditable_seconds);
            writeln!(out, "\nOutages, {creditable} creditable")?;
            writeln!(out, "{}", self.outages(&time).trim_fmt())?;
        }
        if !self.records.is_empty() {
            writeln!(out, "\nOrders and changes")?;
            writeln!(out, "{}", self.changes(&time).trim_fmt())?;
        }
        Ok(())
    }

    fn sessions(&self, time: &impl Fn(Timestamp) -> String) -> Table {
        const HEADS: [&str; 10] = [
            "session",
            "start",
            "end",
            "last activity",
            "connected",
            "active",
            "mean up bit/s",
            "mean down bit/s",
            "peak up bit/s",
            "peak down bit/s",
        ];
        let mut table = table(&HEADS[..4], &HEADS[4..]);
        let used = |connected: f64, used: &super::Used| {
            let rates = [
                used.average_up_bps,
                used.average_down_bps,
                used.peak_up_bps,
                used.peak_down_bps,
            ];
            [duration(connected), duration(used.active_seconds)]
                .into_iter()
                .chain(rates.map(|rate| grouped(rate.into())))
        };
        for session in &self.sessions {
            let ago = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), time);
            let names = [
                session.session.to_string(),
                time(session.start),
                ago(session.end),
                ago(session.last_activity),
            ];
            let numbers = used(session.connected_seconds, &session.used);
            table.add_row(names.into_iter().chain(numbers));
        }
        let names = ["all", "", "", ""].map(str::to_owned);
        let total = &self.head.total;
        let numbers = used(total.connected_seconds, &total.used);
        table.add_row(names.into_iter().chain(numbers));
        table
    }

    fn outages(&self, time: &impl Fn(Timestamp) -> String) -> Table {
        let names = ["seq", "from", "to", "what", "cause", "fault"];
        let mut table = table(&names, &["touched", "creditable"]);
        for outage in &self.outages {
            table.add_row([
                outage.seq.to_string(),
                time(outage.from),
                time(outage.to),
                outage.scope.to_string(),
                outage.cause.clone(),
                outage.fault.as_str().to_owned(),
                duration(outage.touched_seconds),
                duration(outage.creditable_seconds),
            ]);
        }
        table
    }

    fn changes(&self, time: &impl Fn(Timestamp) -> String) -> Table {
        let mut table = table(&["seq", "time", "kind", "what", "id", "reason"], &[]);
        for record in &self.records {
            let entry = &record.entry;
            let what = match &entry.what {
                What::Bucket {
                    bucket,
                    bytes,
                    amount,
                    left,
                } => format!(
                    "{bucket}: {} bytes{}, {} left",
                    grouped((*bytes).into()),
                    amount
                        .as_ref()
                        .map_or_else(String::new, |amount| format!(", {amount}")),
                    grouped((*left).into())
                ),
                What::State { plan, state, .. } => format!("{state}, plan {plan}"),
                What::Outage(outage) => outage.to_string(),
                What::Correction(correction) => correction.to_string(),
                What::Gap { from, to, .. } => format!("{} to {}", time(*from), time(*to)),
                What::Prune {
                    first_seq,
                    last_seq,
                    ..
                } => {
                    format!("records {first_seq} to {last_seq}")
                }
            };
            table.add_row([
                record.seq.to_string(),
                time(record.time),
                entry.kind.clone(),
                what,
                entry.id.clone().unwrap_or_default(),
                entry.reason.clone().unwrap_or_default(),
            ]);
        }
        table
    }
}

fn volume(rows: &[StatementRow], drawn: bool) -> Table {
    let names = ["class", "group", "charged", "plan"];
    let numbers = [
        "bytes up",
        "packets up",
        "bytes down",
        "packets down",
        "drawn",
    ];
    let numbers = &numbers[..if drawn { 5 } else { 4 }];
    let mut table = table(&names, numbers);
    let line = |names: [&str; 4], traffic: &Traffic, bytes_drawn: u64| {
        let counts = [
            traffic.bytes_up,
            traffic.packets_up,
            traffic.bytes_down,
            traffic.packets_down,
            bytes_drawn,
        ];
        let counts = counts.into_iter().take(numbers.len());
        let cells = names.map(str::to_owned).into_iter();
        cells
            .chain(counts.map(|count| grouped(count.into())))
            .collect::<Vec<_>>()
    };
    let (mut total, mut all_drawn) = (Traffic::default(), 0);
    for row in rows {
        let group = row.rating_group.to_string();
        let names = [&*row.class, &group, &row.charged, &row.plan];
        table.add_row(line(names, &row.traffic, row.bytes_drawn));
        total = total.plus(&row.traffic);
        all_drawn += row.bytes_drawn;
    }
    table.add_row(line(["total", "", "", ""], &total, all_drawn));
    table
}

/// A table without borders: columns of names, then columns of numbers.
fn table(names: &[&str], numbers: &[&str]) -> Table {
    let right = |name: &&str| Cell::new(name).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(names.iter().map(Cell::new).chain(numbers.iter().map(right)));
    for column in table.column_iter_mut() {
        if column.index >= names.len() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Hours, minutes and seconds.
fn duration(seconds: f64) -> String {
    let seconds = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    let (hours, rest) = (seconds / 3600, seconds % 3600);
    format!("{hours}:{:02}:{:02}", rest / 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_in_every_format_with_the_time_that_is_creditable() {
        let used = serde_json::json!({
            "active_seconds": 0.0, "average_up_bps": 0, "average_down_bps": 0, "peak_up_bps": 0, "peak_down_bps": 0,
            "bytes_up": 0, "packets_up": 0, "bytes_down": 0, "packets_down": 0
        });
        let mut total = used.clone();
        total["connected_seconds"] = 7_200.into();
        total["creditable_seconds"] = 3_600.into();
        total["dropped"] = used;
        let statement = serde_json::json!({
            "subscriber": "ann", "node": "gw", "timezone": "Asia/Almaty", "from": "2026-03-01T00:00:00Z",
            "to": "2026-03-01T02:00:00Z", "complete_until": "2026-03-01T02:00:00Z", "recorded_until": null,
            "plan": "a", "state": "active", "total": total, "sessions": [], "usage": [], "dropped": [],
            "outages": [{
                "seq": 9, "subscriber": "ann", "scope": "interface", "interface": "core0",
                "from": "2026-03-01T00:30:00Z", "to": "2026-03-01T01:30:00Z", "cause": "digger", "fault": "operator",
                "touched_seconds": 3_600.0, "creditable_seconds": 3_600.0
            }],
            "records": [{
                "seq": 12, "time": "2026-03-01T01:45:00Z", "kind": "correction", "subscriber": "ann", "id": "c-1",
                "reason": "counted twice", "corrects": 4, "approver": "boss", "bytes_up": 10, "bytes_down": 20,
                "packets_up": 1, "packets_down": 1
            }]
        });
        let statement: Statement = serde_json::from_value(statement).unwrap();
        let printed = |format| {
            let mut out = Vec::new();
            statement.write(&mut out, format).unwrap();
            String::from_utf8(out).unwrap()
        };
        let table = printed(Format::Table);
        for expected in [
            "Outages, 1:00:00 creditable",
            "interface core0",
            "digger",
            "2026-03-01 05:30:00",
        ] {
            assert!(table.contains(expected), "{table}");
        }
        assert!(
            table.contains("of 4: 10 bytes up, 20 down; approved by boss"),
            "{table}"
        );
        let json = printed(Format::Json);
        let outage = json
            .lines()
            .find(|line| line.contains(r#""kind":"outage""#));
        assert!(
            outage.is_some_and(|line| line.contains(r#""creditable_seconds":3600.0"#)),
            "{json}"
        );
        let csv = printed(Format::Csv);
        assert!(csv.contains("core0,digger,operator"), "{csv}");
        assert!(csv.contains("counted twice"), "{csv}");
    }
}
