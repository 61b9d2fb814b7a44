//! `zerorate events`: buckets that run low or out, first drops, classes used for the first time.

use std::io::{self, Write};
use std::process::ExitCode;

use super::agent::Socket;
use crate::agent::events::{Event, Gap};
use crate::api::client::{self, escape};
use crate::api::routes::Line;
use crate::report::Format;

/// Shows what packets had to tell: buckets that ran low or out, first drops, classes used for the first time.
///
/// The agent keeps the latest events. What an earlier agent had told already is not shown again; what happened while none
/// was running is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Goes on with those that come, until the agent stops.
    #[arg(long)]
    follow: bool,
    /// Only of this subscriber.
    #[arg(long, value_name = "ID")]
    subscriber: Option<String>,
    /// Only those behind this number; if some of them are kept no longer, it is said how many.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Columns, and how wide each is at least in a table.
const COLUMNS: [(&str, usize); 8] = [
    ("seq", 16),
    ("time", 30),
    ("event", 16),
    ("subscriber", 15),
    ("plan", 12),
    ("bucket", 12),
    ("class", 12),
    ("left", 0),
];

/// Runs the command. Exits with 1 when it was to follow and the agent stopped.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut path = format!("/v1/events?after={}&follow={}", args.after, args.follow);
    if let Some(id) = &args.subscriber {
        path += &format!("&subscriber={}", escape(id));
    }
    let mut lines = client::lines(&args.socket.socket, &path)?;
    let mut out = io::stdout().lock();
    if args.format != Format::Json {
        print(
            &mut out,
            args.format,
            &COLUMNS.map(|(name, _)| name.to_owned()),
        )?;
        out.flush()?;
    }
    while let Some(text) = lines.wait()? {
        if args.format == Format::Json {
            writeln!(out, "{text}")?;
        } else {
            match client::parse(&text)? {
                Line::Event(event) => print(&mut out, args.format, &cells(&event))?,
                Line::Gap { gap, .. } => eprintln!("zerorate: {}", told(gap)),
            }
        }
        out.flush()?;
    }
    if args.follow {
        eprintln!("zerorate: the agent has stopped");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(event: &Event) -> [String; COLUMNS.len()] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        event.seq.to_string(),
        event.time.to_string(),
        event.event.as_str().to_owned(),
        event.subscriber.clone(),
        event.plan.clone(),
        text(&event.bucket),
        text(&event.class),
        event.left.map_or_else(String::new, |left| left.to_string()),
    ]
}

fn told(gap: Gap) -> String {
    let missed = match gap.missed {
        1 => "1 event is kept no longer".to_owned(),
        missed => format!("{missed} events are kept no longer"),
    };
    if gap.restarted {
        format!("the agent was started since; {missed} of those it has told")
    } else {
        missed
    }
}

/// Prints a row as it comes: nobody knows how long the next ones will be.
fn print(out: &mut impl Write, format: Format, cells: &[String; COLUMNS.len()]) -> io::Result<()> {
    if format == Format::Csv {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(cells).map_err(io::Error::other)?;
        return csv.flush();
    }
    let mut line = String::new();
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        line += &format!("{cell:<width$}  ");
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::EventKind;

    fn printed(format: Format, event: &Event) -> String {
        let mut out = Vec::new();
        print(&mut out, format, &cells(event)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_stand_below_each_other() {
        let low = Event {
            seq: 1_764_110_133_123_456,
            time: Timestamp::UNIX_EPOCH,
            event: EventKind::Low,
            subscriber: "anna".to_owned(),
            plan: "small".to_owned(),
            bucket: Some("main".to_owned()),
            class: None,
            left: Some(99_800),
        };
        let used = Event {
            event: EventKind::ClassFirstUsed,
            subscriber: "somebody with a, long name".to_owned(),
            bucket: None,
            class: Some("internet".to_owned()),
            left: None,
            ..low.clone()
        };
        assert_eq!(
            printed(Format::Table, &low),
            "1764110133123456  1970-01-01T00:00:00Z            low               anna             small         main                        99800\n"
        );
        assert_eq!(
            printed(Format::Table, &used),
            "1764110133123456  1970-01-01T00:00:00Z            class_first_used  somebody with a, long name  small                       internet\n"
        );
        assert_eq!(
            printed(Format::Csv, &used),
            "1764110133123456,1970-01-01T00:00:00Z,class_first_used,\"somebody with a, long name\",small,,internet,\n"
        );
    }

    #[test]
    fn gaps_are_told_in_words() {
        let gap = |missed, restarted| told(Gap { missed, restarted });
        assert_eq!(gap(1, false), "1 event is kept no longer");
        assert_eq!(
            gap(0, true),
            "the agent was started since; 0 events are kept no longer of those it has told"
        );
    }
}
