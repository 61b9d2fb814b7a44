//! `zerorate status`: is everything in order?

use std::io::{self, Write};
use std::process::ExitCode;

use hyper::Method;

use super::agent::Socket;
use super::records::{self, Line};
use crate::agent::views::{InterfaceStatus, Status};
use crate::api::client::ask;
use crate::report::Format;

/// Shows the policy in force, the interfaces, and whether the books close.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Line for InterfaceStatus {
    const HEADS: &'static [&'static str] = &[
        "interface",
        "role",
        "mode",
        "attached",
        "ifindex",
        "packets",
        "ip_bytes",
        "hook",
    ];
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.role.clone(),
            self.mode.clone(),
            match (self.attached, self.is_in_order()) {
                (true, _) => "yes",
                (false, true) => "-",
                (false, false) => "no",
            }
            .into(),
            self.ifindex
                .map_or_else(String::new, |ifindex| ifindex.to_string()),
            self.packets.to_string(),
            self.ip_bytes.to_string(),
            self.hook.clone(),
        ]
    }
}

/// Runs the command. Exits with 1 when an interface is not counted on, packets passed unpriced, the latest reload was
/// refused, usage cannot be recorded, the audit log is not whole, a list that follows a source is stale or its source is wrong, or
/// something is in the way of a sink.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status: Status = ask(&args.socket.socket, Method::GET, "/v1/status")?;
    let mut out = io::stdout().lock();
    match args.format {
        Format::Json => {
            serde_json::to_writer(&mut out, &status)?;
            writeln!(out)?;
        }
        Format::Csv => records::write(&mut out, Format::Csv, &status.interfaces)?,
        Format::Table => table(&mut out, &status)?,
    }
    Ok(if status.disorder().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn table(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let until = status
        .policy_until
        .map_or_else(String::new, |until| format!(", until {until}"));
    let mut line = |name: &str, value: String| writeln!(out, "{name:<12} {value}");
    line(
        "node",
        format!("{} (zerorate {})", status.node, status.version),
    )?;
    line(
        "policy",
        format!(
            "{} version {}, in force since {}{until}; image {} bytes",
            status.policy, status.policy_version, status.policy_since, status.image_bytes
        ),
    )?;
    if let Some(chosen) = &status.policy_chosen {
        let reason = chosen.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        line(
            "",
            format!(
                "activated by command at {}, until the configured files change{reason}",
                chosen.since
            ),
        )?;
    }
    for scheduled in &status.policy_scheduled {
        line(
            "",
            format!("version {} comes at {}", scheduled.version, scheduled.at),
        )?;
    }
    line(
        "subscribers",
        format!(
            "{}, of these {} suspended; {} rows, {} bytes",
            status.subscribers, status.suspended, status.rows, status.row_bytes
        ),
    )?;
    line(
        "books",
        match (status.books_difference_bytes, status.unpriced_packets) {
            (0, _) => "closed: every byte seen is on an account".into(),
            (n, 0) => format!("{n} bytes on their way (zero when traffic rests)"),
            (n, _) => format!("{n} bytes on no account, those of unpriced packets among them"),
        },
    )?;
    if status.unpriced_packets != 0 {
        line(
            "UNPRICED",
            format!(
                "{} packets passed without a verdict",
                status.unpriced_packets
            ),
        )?;
    }
    if status.marked_packets != 0 {
        line(
            "marked",
            format!(
                "{} packets of web traffic that was to be dropped",
                status.marked_packets
            ),
        )?;
    }
    if status.untagged_packets != 0 {
        line(
            "UNTAGGED",
            format!(
                "{} packets could not be given their tag; those to be marked instead of dropped were dropped",
                status.untagged_packets
            ),
        )?;
    }
    if status.unsplit_packets != 0 {
        line(
            "UNSPLIT",
            format!(
                "{} packets are recorded under the policy before the one that judged them",
                status.unsplit_packets
            ),
        )?;
    }
    if status.events_lost != 0 {
        line(
            "events",
            format!("{} were lost: the ring was full", status.events_lost),
        )?;
    }
    if let Some(refused) = &status.refused {
        line(
            "REFUSED",
            format!("the latest reload or start, so this policy stayed in force:\n{refused}"),
        )?;
    }
    if let Some(unrecorded) = &status.unrecorded {
        line(
            "UNRECORDED",
            format!("usage is counted, and cannot be written down: {unrecorded}"),
        )?;
    }
    if let Some(unaudited) = &status.unaudited {
        line("AUDIT LOG", unaudited.clone())?;
    }
    for feed in &status.feeds {
        let fresh = match feed.fresh {
            Some(fresh) => format!("of {fresh}"),
            None => "nothing taken yet".into(),
        };
        let name = match feed.stale {
            true => "STALE FEED",
            false => "feed",
        };
        line(name, format!("{} from {}, {fresh}", feed.set, feed.feed))?;
        if let Some(error) = &feed.error {
            line(
                "FEED REFUSED",
                format!("the last good list of {} stays:\n{error}", feed.set),
            )?;
        }
    }
    for sink in &status.sinks {
        let behind = match (sink.lag_records, sink.waiting_since) {
            (0, _) => "has all records".to_owned(),
            (n, Some(since)) => format!("{n} records behind, the oldest of {since}"),
            (n, None) => format!("{n} records behind"),
        };
        let position = sink.position.map_or_else(
            || "not known yet how far".to_owned(),
            |position| format!("until record {position}"),
        );
        line(
            "sink",
            format!("{} ({}): {position}; {behind}", sink.name, sink.kind),
        )?;
        if let Some(error) = &sink.error {
            let since = sink
                .failing_since
                .map_or_else(String::new, |since| format!(" since {since}"));
            line("FAILING", format!("{}{since}: {error}", sink.name))?;
        }
    }
    writeln!(out)?;
    records::write(out, Format::Table, &status.interfaces)
}
