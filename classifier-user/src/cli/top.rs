//! `zerorate top`: who moves most now, and what goes over the interfaces.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use console::Term;
use hyper::Method;

use super::agent::Socket;
use crate::agent::top::{Fastest, Top};
use crate::agent::views::Status;
use crate::api::client::ask;
use crate::api::routes::MOST;
use crate::config::parse_duration;
use crate::report::Format;

/// Shows the subscribers that move most now, and what goes over the interfaces: again and again on a terminal, once elsewhere.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What makes a subscriber one of them.
    #[arg(long, value_enum, default_value_t = Fastest::All)]
    by: Fastest,
    /// How many at most; as many as fit on a terminal, 20 elsewhere.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST as u64))]
    limit: Option<u64>,
    /// How long to wait before they are shown again. Rates are those of the agent's checkpoints.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,
    /// How often to show them; without end on a terminal, once elsewhere.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Lines of a screen that are not subscribers: the node, two of sums, interfaces with their heads, the subscribers' heads, and what
/// the shell needs.
const BESIDE: u64 = 8;
/// Subscribers where nobody says how many fit.
const USUAL: u64 = 20;

/// Runs the command.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let terminal = Some(Term::stdout()).filter(|_| args.format == Format::Table);
    let screen = terminal.filter(Term::is_term);
    let times = args
        .count
        .unwrap_or(if screen.is_some() { u64::MAX } else { 1 });
    let mut before = None;
    for time in 0..times {
        if time > 0 {
            thread::sleep(args.interval);
        }
        let asked = Instant::now();
        let status: Status = ask(&args.socket.socket, Method::GET, "/v1/status")?;
        let beside = BESIDE + status.interfaces.len() as u64;
        let fits = |(rows, _)| u64::from(rows).saturating_sub(beside).clamp(1, MOST as u64);
        let limit = args.limit.unwrap_or_else(|| {
            let size = screen.as_ref().map(Term::size);
            size.map_or(USUAL, fits)
        });
        let by = clap::ValueEnum::to_possible_value(&args.by);
        let by = by.map_or_else(String::new, |by| by.get_name().to_owned());
        let path = format!("/v1/top?by={by}&limit={limit}");
        let top: Top = ask(&args.socket.socket, Method::GET, &path)?;
        let mut out = io::stdout().lock();
        match args.format {
            Format::Json => {
                serde_json::to_writer(&mut out, &top)?;
                writeln!(out)?;
            }
            Format::Csv => csv_rows(&mut out, &top, time == 0)?,
            Format::Table => {
                let frame = frame(
                    &top,
                    &status,
                    before.as_ref().map(|(at, old)| (asked - *at, old)),
                );
                match &screen {
                    Some(term) => out.write_all(painted(&frame, term.size().1).as_bytes())?,
                    None => writeln!(out, "{frame}")?,
                }
            }
        }
        out.flush()?;
        before = Some((asked, status));
    }
    Ok(ExitCode::SUCCESS)
}

fn csv_rows(out: &mut impl Write, top: &Top, heads: bool) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    if heads {
        csv.write_record([
            "time",
            "subscriber",
            "plan",
            "up_bps",
            "down_bps",
            "dropped_bps",
        ])?;
    }
    for one in &top.subscribers {
        csv.write_record([
            top.time.to_string(),
            one.subscriber.clone(),
            one.plan.clone(),
            one.speed.up_bps.to_string(),
            one.speed.down_bps.to_string(),
            one.speed.dropped_bps.to_string(),
        ])?;
    }
    Ok(csv.flush()?)
}

/// A frame in place of the one before, without a moment in which there is none.
fn painted(frame: &str, columns: u16) -> String {
    const HOME: &str = "\x1b[H";
    const REST_OF_LINE: &str = "\x1b[K\n";
    const BELOW: &str = "\x1b[J";
    let mut screen = HOME.to_owned();
    for line in frame.lines() {
        screen += &console::truncate_str(line, columns.into(), "");
        screen += REST_OF_LINE;
    }
    screen + BELOW
}

/// All there is to see; rates of interfaces need an earlier look at them.
fn frame(top: &Top, status: &Status, before: Option<(Duration, &Status)>) -> String {
    let books = match (status.unpriced_packets, status.books_difference_bytes) {
        (0, 0) => "books closed".to_owned(),
        (0, n) => format!("{n} bytes on their way"),
        (n, _) => format!("{n} PACKETS UNPRICED"),
    };
    let mut text = format!(
        "{}  {}  policy {} {}  {books}\n",
        status.node, top.time, status.policy, status.policy_version
    );
    let total = top.total;
    text += &format!(
        "{} subscribers, {} suspended, {} moving: up {}, down {}, dropped {}\n\n",
        status.subscribers,
        status.suspended,
        top.moving,
        rate(total.up_bps),
        rate(total.down_bps),
        rate(total.dropped_bps)
    );
    let mut interfaces = lines(&["interface", "role", "hook", "packets/s", "bit/s"], 3);
    for now in &status.interfaces {
        let earlier = before.and_then(|(time, before)| {
            let mut all = before.interfaces.iter();
            let was = all.find(|was| (&was.name, &was.hook) == (&now.name, &now.hook))?;
            let each = |n: u64, was: u64| n.saturating_sub(was) as f64 / time.as_secs_f64();
            Some((
                each(now.packets, was.packets),
                each(now.ip_bytes, was.ip_bytes),
            ))
        });
        let [packets, bits] = match earlier {
            Some((packets, bytes)) => [packets as u64, (8.0 * bytes) as u64].map(rate),
            None => ["-", "-"].map(str::to_owned),
        };
        let hook = if now.is_in_order() {
            now.hook.clone()
        } else {
            format!("{} NOT ATTACHED", now.hook)
        };
        interfaces.add_row([now.name.clone(), now.role.clone(), hook, packets, bits]);
    }
    text += &format!("{}\n\n", interfaces.trim_fmt());
    let mut fastest = lines(&["subscriber", "plan", "up", "down", "dropped"], 2);
    for one in &top.subscribers {
        let speeds = [one.speed.up_bps, one.speed.down_bps, one.speed.dropped_bps].map(rate);
        fastest.add_row([&[one.subscriber.clone(), one.plan.clone()][..], &speeds].concat());
    }
    text + &fastest.trim_fmt()
}

/// A table whose columns from one on are numbers.
fn lines(heads: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heads);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A number of which three digits matter: `950`, `1.23k`, `45.6M`.
fn rate(n: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if n < 1_000 {
        return n.to_string();
    }
    let mut value = n as f64;
    let mut unit = "";
    for next in UNITS {
        // What would be rounded to a thousand is one of the next.
        if value < 999.5 {
            break;
        }
        value /= 1_000.0;
        unit = next;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_matter() {
        let shown = [
            0,
            999,
            1_000,
            1_234,
            9_996,
            99_960,
            999_499,
            999_500,
            45_600_000,
            u64::MAX,
        ];
        assert_eq!(
            shown.map(rate),
            [
                "0", "999", "1.00k", "1.23k", "10.0k", "100k", "999k", "1.00M", "45.6M", "18.4E"
            ]
        );
    }

    #[test]
    fn a_frame_stands_where_the_one_before_stood() {
        let painted = painted("one\na longer line\n", 8);
        assert_eq!(painted, "\x1b[Hone\x1b[K\na longer\x1b[K\n\x1b[J");
    }
}
